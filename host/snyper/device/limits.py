"""The time that a piece of work may take, all its tries included, and its end from another thread."""

import contextlib
import socket
import threading
import time
from typing import Optional

from snyper.device.errors import Stopped, TimedOut


class Limits:
    """The limits of one piece of work.

    Its thread asks here before each step and waits here; `stop`, from any other thread, ends the step that it
    is in.
    """

    def __init__(self, total_s: Optional[float] = None) -> None:
        self._total_s = total_s
        self._end = None if total_s is None else time.monotonic() + total_s
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._socket: Optional[socket.socket] = None

    def stop(self) -> None:
        """Call the work off: whatever it waits for raises Stopped."""
        with self._lock:
            self._stopped.set()
            if self._socket is not None:
                _shut(self._socket)

    def remaining_s(self) -> Optional[float]:
        """Return the seconds that are left, or None without an end. Raises Stopped, TimedOut."""
        if self._stopped.is_set():
            raise Stopped("called off")
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimedOut(f"not done within {self._total_s or 0:g} s")
        return left

    def wait(self, seconds: float) -> None:
        """Wait for so long. Raises Stopped, and TimedOut at once where less time is left."""
        left = self.remaining_s()
        if left is not None and left < seconds:
            raise TimedOut(f"not done within {self._total_s or 0:g} s")
        self._stopped.wait(seconds)
        self.remaining_s()  # which raises when that was an end

    def guard(self, connected: Optional[socket.socket]) -> "_Guard":
        """Have a socket shut down within a block when the work is called off or its time is over: then
        whatever waits for it fails.
        """
        return _Guard(self, connected)


class _Guard:
    def __init__(self, limits: Limits, connected: Optional[socket.socket]) -> None:
        self._limits = limits
        self._connected = connected
        self._timer: Optional[threading.Timer] = None

    def __enter__(self) -> None:
        left = self._limits.remaining_s()
        if self._connected is None:
            return
        with self._limits._lock:
            self._limits._socket = self._connected
        if left is not None:
            self._timer = threading.Timer(left, _shut, (self._connected,))
            self._timer.daemon = True
            self._timer.start()

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._limits._lock:
            self._limits._socket = None


def _shut(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Not the method of a TLS socket, after which its reader would take what is encrypted for the answer.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
