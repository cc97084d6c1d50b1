"""The log: one line for each thing that a person wants to know later. Never a secret in it."""

import sys

from shared.clock import now_ms
from shared.runtime import MICROPYTHON

if MICROPYTHON:

    def log(who: str, text: str) -> None:
        """Says `text` of `who`, after the seconds since boot."""
        ms = now_ms()
        print("%d.%03d %s: %s" % (ms // 1000, ms % 1000, who, text))

    def log_exception(who: str, error: BaseException) -> None:
        """A defect, with its traceback."""
        log(who, "unexpected " + repr(error))
        sys.print_exception(error)

else:
    import logging

    _logger = logging.getLogger("snyper")

    def log(who: str, text: str) -> None:
        """Says `text` of `who`, to the logger `snyper`."""
        _logger.info("%s: %s", who, text)

    def log_exception(who: str, error: BaseException) -> None:
        """A defect, with its traceback."""
        _logger.error("%s: unexpected %r", who, error, exc_info=error)
