"""The tries of a client to reach its server: how long, how often."""

import logging
import socket
import time

from snyper.services.remote_exceptions import Refused, Unreachable
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from snyper.system.text import one_line

IDLE_S = 5.0  # after which a connection is tried before it is used
ALIVE_S = 2.0  # for an answer to who asks for a sign of life
_DIAL_S = 3.0  # that a server may take to answer, before it is dialled anew
_RETRY_S = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)
_SAY_S = 2.0  # after which a caller that waits for a server is told so
_log = logging.getLogger("snyper")


class Dialling:
    """The tries to reach a server, until `until_s` by `time.monotonic`, or for ever."""

    def __init__(self, where: str, until_s: float | None) -> None:
        self.why = "it has not answered yet"  # it is not reached
        self._where = where
        self._until_s = until_s
        self._began_s = time.monotonic()
        self._tries = 0
        self._said = False

    def timeout_s(self) -> float:
        """Return how long the next try may take."""
        if self._until_s is None:
            return _DIAL_S
        return max(0.001, min(_DIAL_S, self._until_s - time.monotonic()))

    def delay_s(self, unanswered: int) -> float:
        """Return how long to wait before the first, after so many connections that broke unanswered.

        Raises Unreachable at the deadline.
        """
        delay_s = _pause_s(unanswered)
        if self._until_s is None:
            return delay_s
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise Unreachable(self._where, "it hangs up on whoever calls" if unanswered else self.why)
        return min(delay_s, left_s)

    def pause_s(self, error: Exception) -> float:
        """Take what a try has raised, and return how long to wait before the next.

        Raises Unreachable, Refused where there is no next one.
        """
        if isinstance(error, socket.gaierror):
            raise Unreachable(self._where, f"no computer is known by that name ({error.strerror})") from None
        if isinstance(error, ProtocolError):
            if error.code != ErrorCode.DISCONNECTED:
                raise Refused(f"{self._where}: {one_line(error.message)}", error.code) from None
            self.why = one_line(error.message)
        elif not (isinstance(error, TimeoutError) and self._tries):  # what came before says more
            self.why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        now_s = time.monotonic()
        if self._until_s is not None and now_s >= self._until_s:
            raise Unreachable(self._where, self.why) from None
        if not self._said and now_s - self._began_s >= _SAY_S:
            self._said = True
            _log.warning("nobody serves at %s yet (%s): waiting", self._where, self.why)
        self._tries += 1
        pause_s = _pause_s(self._tries - 1)
        return pause_s if self._until_s is None else min(pause_s, self._until_s - now_s)


def _pause_s(tries: int) -> float:
    return _RETRY_S[min(tries, len(_RETRY_S) - 1)]
