"""Tries: which answers are worth another one, and how long to wait before it."""

import logging
import random
from typing import Callable, Optional, TypeVar

from snyper.device.errors import Refused, ServerFailed, Unreachable
from snyper.device.limits import Limits
from snyper.device.text import one_line

T = TypeVar("T")

TRIES = 3
_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 60.0

# A server that wants to be left alone for longer has its reason: whoever waits is told.
_PATIENCE_S = 120.0
_UNSAID_S = 5.0  # up to which a wait needs no word

_log = logging.getLogger("snyper.device")

_BUSY = (408, 425, 429)  # the 4xx that may be another answer the next time


def check(status: int, detail: Callable[[], str], retry_after_s: Optional[float] = None) -> None:
    """Raise Refused or ServerFailed for a status that is no success."""
    if 200 <= status < 300:
        return
    if status >= 500 or status in _BUSY:
        raise ServerFailed(status, detail(), retry_after_s)
    raise Refused(status, detail())


def delay_s(failures: int, retry_after_s: Optional[float] = None) -> float:
    """Choose how long to wait after so many failures in a row: twice as long each time, somewhere in the
    upper half, so that many devices do not come back at one instant. A server's own word is the least.
    """
    longest = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(failures - 1, 16))
    jittered = longest * random.uniform(0.5, 1.0)
    return jittered if retry_after_s is None else retry_after_s + random.uniform(0, 0.25) * longest


class Tries:
    """The tries of one piece of work. What has brought it on calls `succeeded`: they are counted anew."""

    def __init__(self, limits: Limits, tries: int = TRIES) -> None:
        self._limits = limits
        self._tries = tries
        self._failures = 0

    def succeeded(self) -> None:
        """Count the failures anew."""
        self._failures = 0

    def failed(self, error: Exception) -> None:
        """Wait before the next try, and log why where that takes long; raise `error` where there is none, or
        the server is away for long.
        """
        self._failures += 1
        retry_after_s = error.retry_after_s if isinstance(error, ServerFailed) else None
        if self._failures >= self._tries or (retry_after_s or 0) > _PATIENCE_S:
            raise error
        wait_s = delay_s(self._failures, retry_after_s)
        if wait_s > _UNSAID_S:
            _log.warning("%s; the next try is in %.0f s", one_line(str(error)), wait_s)
        self._limits.wait(wait_s)

    def run(self, attempt: Callable[[], T]) -> T:
        """Return what `attempt` returns, called again while it raises Unreachable or ServerFailed."""
        while True:
            try:
                return attempt()
            except (Unreachable, ServerFailed) as error:
                self.failed(error)
