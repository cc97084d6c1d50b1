"""The cameras that are there, of those that come by a way that shows it: the link, a socket. Pure."""

from collections import OrderedDict
from dataclasses import dataclass

MAX_KNOWN = 10_000  # of which those that are gone are forgotten first


@dataclass(slots=True)
class _Known:
    checkpoint_id: str
    seen_s: float
    until_s: float  # by when it is gone unless it is seen again; 0 for one that is gone


class Presence:
    """Tells who is there. Times are in seconds."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._known)

    def see(self, camera_id: str, checkpoint_id: str, seen_s: float, until_s: float) -> bool:
        """Note that a camera is there until then, by a clock that nobody sets; return whether it was not
        before. `seen_s` is the wall's.
        """
        was_here = self.is_here(camera_id) is True
        self._known[camera_id] = _Known(checkpoint_id, seen_s, until_s)
        self._known.move_to_end(camera_id)
        if len(self._known) > MAX_KNOWN:
            gone = (name for name, known in self._known.items() if not known.until_s)
            del self._known[next(gone, next(iter(self._known)))]
        return not was_here

    def lose(self, camera_id: str) -> bool:
        """Note that a camera is gone, and return whether it was there."""
        was_here = self.is_here(camera_id) is True
        if was_here:
            self._known[camera_id].until_s = 0.0
        return was_here

    def expire(self, now_s: float) -> list[str]:
        """Return those that were silent for too long: they are gone now."""
        silent = [name for name, known in self._known.items() if 0.0 < known.until_s <= now_s]
        for name in silent:
            self.lose(name)
        return silent

    def due_s(self) -> float | None:
        """Return when the next one will have been silent for too long, None where nobody is there."""
        return min((known.until_s for known in self._known.values() if known.until_s), default=None)

    def is_here(self, camera_id: str) -> bool | None:
        """Tell whether a camera is there; None for one that has come by no such way."""
        known = self._known.get(camera_id)
        return None if known is None else known.until_s > 0.0

    def checkpoint_of(self, camera_id: str) -> str:
        """Return the checkpoint of a camera that is known here."""
        return self._known[camera_id].checkpoint_id

    def seen_s(self, camera_id: str) -> float:
        """Return when it was seen, by the wall's clock; 0 for one that is not known here."""
        known = self._known.get(camera_id)
        return 0.0 if known is None else known.seen_s
