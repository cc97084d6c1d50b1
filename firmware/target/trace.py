"""The trace of a piezo: its samples around the last hit. Pure: no pin, no task."""

from array import array

from snyper.shared.clock import now_us, ticks_us

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TRACE_SAMPLES = 256  # a power of two; 1.5 kB: some 70 ms before a hit, and what is read in the 5 ms after it

_HALF = TRACE_SAMPLES // 2
_ENDLESS = 1 << 29
_TICKS = (1 << 30) - 1  # where a board's counter of microseconds wraps; 18 minutes


class Trace:
    """A ring of samples with the time of each. It is made once, and turns from `begin` until half of it is
    what came after a hit.
    """

    def __init__(self) -> None:
        self._values = array("H", bytes(2 * TRACE_SAMPLES))
        self._ticks = array("i", bytes(4 * TRACE_SAMPLES))
        self.begin()
        self.remaining = 0  # so many samples more are kept

    def begin(self) -> None:
        """Discard all samples, and record from now on."""
        self._next = 0
        self._is_full = False
        self.remaining = _ENDLESS
        self._hit = -1
        self.threshold = 0  # what the hit had to reach

    def end(self) -> None:
        """Stop recording; the samples stay."""
        self.remaining = 0

    def read(self, read_u16: "Callable[[], int]", burst: int) -> int:
        """Take `burst` samples into the ring, and return the greatest."""
        values, ticks, at, remaining = self._values, self._ticks, self._next, self.remaining
        greatest = 0
        for _ in range(burst):
            value = read_u16()
            if value > greatest:
                greatest = value
            if remaining:
                values[at] = value
                ticks[at] = ticks_us() & _TICKS  # type: ignore[operator, unused-ignore]
                at = (at + 1) % TRACE_SAMPLES
                self._is_full = self._is_full or not at
                remaining -= 1
        self._next, self.remaining = at, remaining
        return greatest

    def least(self, burst: int) -> int:
        """Return the least of the last `burst` samples."""
        return min([self._values[(self._next - 1 - at) % TRACE_SAMPLES] for at in range(burst)])

    def mark(self, threshold: int, burst: int) -> int:
        """Mark the hit at the first of the last `burst` samples that reached `threshold`. Returns when that
        was, by `now_us()`.
        """
        at = (self._next - burst) % TRACE_SAMPLES
        while self._values[at] < threshold:
            at = (at + 1) % TRACE_SAMPLES
        self._hit = at
        self.threshold = threshold
        self.remaining = _HALF
        ahead: int = ticks_us() - self._ticks[at]  # type: ignore[operator, unused-ignore]
        return now_us() - (ahead & _TICKS)

    def __len__(self) -> int:
        """Return how many samples there are; none without a hit."""
        if self._hit < 0:
            return 0
        return TRACE_SAMPLES if self._is_full else self._next

    def sample(self, number: int) -> "tuple[int, int]":
        """Return when sample `number` was taken, in microseconds after the hit, and its value; 0 is the
        oldest.
        """
        at = (number + self._next if self._is_full else number) % TRACE_SAMPLES
        ahead = (self._ticks[at] - self._ticks[self._hit]) & _TICKS
        return ahead if ahead <= _TICKS >> 1 else ahead - _TICKS - 1, self._values[at]
