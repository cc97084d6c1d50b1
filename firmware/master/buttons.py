"""Push buttons: debounces their contacts, and tells a press from a hold. Pure."""

DEBOUNCE_SAMPLES = 2  # 20 ms apart: a push button bounces for some 5 ms
HOLD_MS = 1_000

PRESSED = "pressed"
HELD = "held"


class Button:
    """One button, debounced; sampled again and again. `is_down` is how it is."""

    def __init__(self) -> None:
        self.is_down = False
        self._differs = 0  # samples in a row
        self._down_ms = -1  # since when; -1 where it does not matter

    def sample(self, is_down: bool, now_ms: int) -> str:
        """Take a sample of its contacts. Return what it shows: PRESSED once for each press, HELD once if it
        lasts HOLD_MS more, or nothing ("").
        """
        if is_down == self.is_down:
            self._differs = 0
        else:
            self._differs += 1
            if self._differs >= DEBOUNCE_SAMPLES:
                self._differs = 0
                self.is_down = is_down
                self._down_ms = now_ms if is_down else -1
                return PRESSED if is_down else ""
        if self._down_ms >= 0 and now_ms - self._down_ms >= HOLD_MS:
            self._down_ms = -1
            return HELD
        return ""
