"""Log what goes wrong because of a tab or a hub: a line that nobody else writes, and not every one."""

import logging
import time
import traceback

_BURST = 5
_LINE_S = 10.0  # between two lines after those

_logger = logging.getLogger("snyper")


class TokenBucket:
    """Lets through `rate` a second, and `burst` more at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at_s = 0.0

    def take(self, now_s: float) -> bool:
        """Take one; return whether there was one."""
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


_lines = TokenBucket(1 / _LINE_S, _BURST)


def log_fault(what: str, error: BaseException | None = None) -> None:
    """Log what happened, with the kind of the error and where it was raised, and not its text, which may be
    somebody else's. Its traceback is for who debugs. Of many in a short time some are left out.
    """
    if error is not None:
        _logger.debug("dashboard: %s", what, exc_info=error)
        at = traceback.extract_tb(error.__traceback__)
        where = f" in {at[-1].filename}:{at[-1].lineno}" if at else ""
        what = f"{what} ({type(error).__name__}{where})"
    log_line(what)


def log_line(what: str) -> None:
    """Log a line, unless there were many of them in a short time."""
    if _lines.take(time.monotonic()):
        _logger.warning("dashboard: %s", what)
