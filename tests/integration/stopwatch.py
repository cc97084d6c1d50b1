"""A clock that goes as fast as the computer: neither a stall nor what else runs makes anything take longer by
it.
"""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

_LOAD = Path("/proc/loadavg")
_TICK_S = 0.01
_MAX_TICK_S = 0.05  # of what lies between two ticks so much counts: in the rest this process did not run
_ran_s = 0.0


def running_s() -> float:
    """Return for how long this process has run, in seconds, to hold a wait below an upper bound.

    Neither a moment in which it stood still counts, nor one in which a single function held the interpreter;
    and while more wants to run than there are processors, what counts is the share that each has of them.
    """
    return _ran_s


class Stopwatch:
    """Measures how long a block takes, by `running_s`: `seconds`, from its beginning or of all of it."""

    def __enter__(self) -> Self:
        self._began_s, self._took_s = running_s(), -1.0
        return self

    def __exit__(self, *error: object) -> None:
        self._took_s = self.seconds

    @property
    def seconds(self) -> float:
        """Return how long it has taken."""
        return self._took_s if self._took_s >= 0 else running_s() - self._began_s


def _share() -> float:
    """Return which part of a processor everything that wants to run has, 1 where that is not known."""
    with suppress(OSError):
        running, _, _ = _LOAD.read_text().split()[3].partition("/")
        return min((os.cpu_count() or 1) / max(int(running), 1), 1.0)
    return 1.0


def _tick() -> None:
    global _ran_s
    last_s = time.monotonic()
    while True:
        time.sleep(_TICK_S)
        now_s = time.monotonic()
        _ran_s += min(now_s - last_s, _MAX_TICK_S) * _share()
        last_s = now_s


threading.Thread(target=_tick, name="stopwatch", daemon=True).start()
