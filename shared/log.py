"""The log: one line for each thing that a person wants to know later. Never a secret in it."""

import sys

from snyper.shared.clock import now_ms
from snyper.shared.runtime import MICROPYTHON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_keeper: "Callable[[str], None] | None" = None


def set_keeper(keeper: "Callable[[str], None]") -> None:
    """From now on `keeper` gets every entry that is to outlive a reset; it raises nothing."""
    global _keeper
    _keeper = keeper


def keep(who: str, text: str) -> None:
    """Like `log`, and kept where there is a keeper: for what is rare and worth a write to the flash."""
    if _keeper is not None:
        _keeper(entry(who, text))  # first: a terminal that holds the port and reads nothing delays the other
    log(who, text)


def entry(who: str, text: str) -> str:
    """`text` of `who`, after the seconds since boot."""
    ms = now_ms()
    return "%d.%03d %s: %s" % (ms // 1000, ms % 1000, who, text)


if MICROPYTHON:
    import io

    def log(who: str, text: str) -> None:
        """Says `text` of `who`, after the seconds since boot."""
        print(entry(who, text))

    def log_exception(who: str, error: BaseException) -> None:
        """A defect, with its traceback. It is kept, unless there is no memory for that."""
        try:
            traceback = io.StringIO()
            sys.print_exception(error, traceback)
            keep(who, "unexpected %r\n%s" % (error, traceback.getvalue().rstrip()))
        except MemoryError:  # whoever goes on after a defect must be able to
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
