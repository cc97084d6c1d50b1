"""A process that ends the workers with the pool's process, however that ends."""

import contextlib
import os
import subprocess
import sys

# Whatever a worker is at, and all that it has started. A group that ended by itself was told of before its
# number can be another's.
_GUARD = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""
_END_LIMIT_S = 1.0


class Guard:
    """Kills the process groups that it has been told of, once this process is gone. Does nothing where there
    are no process groups.
    """

    def __init__(self) -> None:
        self._process = None
        if hasattr(os, "killpg"):
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _GUARD],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )

    def add(self, group: int) -> None:
        """Kill the group once this process is gone."""
        self._tell(f"+{group}\n")

    def discard(self, group: int) -> None:
        """Leave the group alone: it has ended, and its leader is not reaped yet."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """Kill what is left, and end the guard."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_LIMIT_S)
            self._process.kill()
            self._process.wait()

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # it was killed, or is closed
                self._process.stdin.write(line.encode())
                self._process.stdin.flush()
