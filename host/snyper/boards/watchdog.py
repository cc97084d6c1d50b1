"""The watchdog of a virtual board, which the process that runs the board enforces. Pure."""

LOOK_S = 0.05  # between two looks, where this process is not held up
_LOOK_NS = round(LOOK_S * 1e9)


class Watchdog:
    """Tells when a watchdog bites. A board stands still with the computer: time in which nobody could look is
    not its own, or a busy computer would reset boards that did nothing wrong.
    """

    def __init__(self) -> None:
        self._deadline_ns = 0
        self._looked_ns: int | None = None
        self._lost_ns = 0  # since it was fed last

    def bites(self, deadline_ns: int, now_ns: int) -> bool:
        """Tell whether it bites, by the deadline that the board gave it last. To be asked each LOOK_S."""
        lost_ns = 0 if self._looked_ns is None else max(0, now_ns - self._looked_ns - 2 * _LOOK_NS)
        self._looked_ns = now_ns
        if deadline_ns != self._deadline_ns:
            self._deadline_ns, self._lost_ns = deadline_ns, 0
        self._lost_ns += lost_ns
        return now_ns - self._lost_ns > deadline_ns
