"""A stopwatch that stands while the computer does: what a stall lengthens is no slower for it."""

import threading
import time
from types import TracebackType
from typing import Self

_TICK_S = 0.005
_MAX_TICK_S = 0.05  # of what lies between two ticks so much counts: in the rest this process did not run


class Stopwatch:
    """Measures, for an upper bound, how long a block takes that waits; neither a moment in which this process
    stood still counts, nor one in which a single function held the interpreter.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._ends = threading.Event()
        self._ticking = threading.Thread(target=self._tick, name="stopwatch", daemon=True)

    def __enter__(self) -> Self:
        self._ticking.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        self._ticking.join()

    def _tick(self) -> None:
        last_s = time.monotonic()
        while not self._ends.wait(_TICK_S):
            now_s = time.monotonic()
            self.seconds += min(now_s - last_s, _MAX_TICK_S)
            last_s = now_s
