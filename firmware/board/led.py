"""The board's light, and the patterns that it plays."""

from snyper.shared.runtime import call_later

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from snyper.shared.runtime import Timer


class Pattern:
    """The patterns of the light."""

    BOOTING = "booting"
    JOINING = "joining"
    WRONG_PASSWORD = "wrong_password"
    SEEKING = "seeking"
    REGISTERED = "registered"
    STANDING = "standing"
    HIT = "hit"
    IDENTIFY = "identify"
    SAFE_MODE = "safe_mode"


# Milliseconds on, off, on, off, and so on, over and over.
PATTERNS = {
    Pattern.BOOTING: (60_000, 1),
    Pattern.JOINING: (100, 100),
    Pattern.WRONG_PASSWORD: (150, 150, 150, 150, 150, 150, 150, 950),
    Pattern.SEEKING: (100, 150, 100, 650),
    Pattern.REGISTERED: (50, 2_950),
    Pattern.STANDING: (900, 100),
    Pattern.HIT: (50, 50),
    Pattern.IDENTIFY: (30, 30),
    Pattern.SAFE_MODE: (600, 200, 600, 200, 200, 800),
}
HIT_MS = 800


class Led:
    """A light that plays patterns through `switch`, which is called with true for on. `shown` is the one it
    plays.

    Needs a running event loop.
    """

    def __init__(self, switch: "Callable[[bool], None]") -> None:
        self._switch = switch
        self._base = Pattern.BOOTING
        self._is_fixed = False
        self._flashing = False
        self.shown = self._base
        self._steps = PATTERNS[self._base]
        self._at = 0
        self._next: "Timer | None" = None
        self._end: "Timer | None" = None

    def show(self, pattern: str, fixed: bool = False) -> None:
        """Show `pattern` from now on. A `fixed` one stays, whatever is to be shown later."""
        if self._is_fixed or pattern == self._base:
            return
        self._is_fixed = fixed
        self._base = pattern
        if not self._flashing:
            self._play(pattern)

    def flash(self, pattern: str, duration_ms: int) -> None:
        """Show `pattern` for so long, then again what was shown."""
        if self._end is not None:
            self._end.cancel()
        self._flashing = True
        self._play(pattern)
        self._end = call_later(duration_ms, self._end_flash)

    def stop(self) -> None:
        """Switch it off; no timer is left."""
        for timer in (self._next, self._end):
            if timer is not None:
                timer.cancel()
        self._switch(False)

    def _end_flash(self) -> None:
        self._end = None
        self._flashing = False
        self._play(self._base)

    def _play(self, pattern: str) -> None:
        if self._next is not None:
            self._next.cancel()
        self.shown = pattern
        self._steps = PATTERNS[pattern]
        self._at = 0
        self._step()

    def _step(self) -> None:
        self._switch(self._at % 2 == 0)
        self._next = call_later(self._steps[self._at], self._step)
        self._at = (self._at + 1) % len(self._steps)
