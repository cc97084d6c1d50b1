"""Bodies of the last minute, among which equal ones are looked for. Pure."""

from collections import OrderedDict

WINDOW_S = 60.0  # within which the document's client sends by REST what it has sent by Socket.IO
_MAX_BODIES = 20_000  # 300 a second


class RecentBodies:
    """The digests of bodies without an id, each with the id that its first one was given."""

    def __init__(self) -> None:
        self._bodies: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def first(self, digest: str, now_s: float) -> str | None:
        """Return the id of an equal body within the last minute."""
        found = self._bodies.get(digest)
        return found[0] if found and now_s - found[1] <= WINDOW_S else None

    def add(self, digest: str, first: str, now_s: float) -> None:
        """Remember a body that came now. `first` is the id of the first one that is equal."""
        self._bodies[digest] = (first, now_s)
        self._bodies.move_to_end(digest)
        while len(self._bodies) > _MAX_BODIES:
            self._bodies.popitem(last=False)

    def clear(self) -> None:
        """Know of none."""
        self._bodies.clear()
