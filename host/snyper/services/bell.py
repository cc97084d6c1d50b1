"""A bell that one thread waits for and another rings, where Ctrl-C may come at any step of either."""

import contextlib
import threading

SLICE_S = 0.3  # Windows ends no wait for Ctrl-C


class Bell:
    """One thread waits for it to ring; that it has rung already is heard too.

    It is a lock alone. What Python writes in Python, such as Condition and Event, does not bear an interrupt
    between two of its lines: it stays locked, or is unlocked twice.
    """

    __slots__ = ("_silence",)

    def __init__(self) -> None:
        self._silence = threading.Lock()
        self._silence.acquire()

    def wait(self, wait_s: float) -> None:
        """Wait until it rings, or for so long."""
        self._silence.acquire(timeout=wait_s)

    def ring(self) -> None:
        """Have who waits look. Any thread may do so."""
        with contextlib.suppress(RuntimeError):  # it has rung already
            self._silence.release()
