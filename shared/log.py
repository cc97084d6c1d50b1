"""The log: one line for each thing that is worth knowing later, without a secret; and the status line."""

import json

from snyper.shared.clock import now_ms
from snyper.shared.runtime import print_traceback, traceback_of, write_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

STATUS_PREFIX = "snyper: "  # an entry begins with the seconds since boot, and so never like this

_sink: "Callable[[str], None] | None" = None
_status_line = ""


def set_sink(sink: "Callable[[str], None]") -> None:
    """Pass every entry that is to outlive a reset to `sink` from now on; it raises nothing."""
    global _sink
    _sink = sink


def keep(who: str, text: str) -> None:
    """Log `text` of `who`, and keep it where there is a sink: for what is rare and worth a write to the
    flash.
    """
    if _sink is not None:
        _sink(entry(who, text))  # first: a terminal that holds the port and reads nothing delays the other
    log(who, text)


def entry(who: str, text: str) -> str:
    """Format a line of the log: the seconds since boot, `who`, `text`. What a peer has said may be in it, and
    begins no line of its own: control characters are escaped.
    """
    if min(text or " ") < " ":
        text = repr(text)[1:-1]
    ms = now_ms()
    return "%d.%03d %s: %s" % (ms // 1000, ms % 1000, who, text)


def log(who: str, text: str) -> None:
    """Log `text` of `who`."""
    write_log(entry(who, text))


def log_again(who: str, text: str) -> None:
    """Log `text` of `who`, which was logged before and is still so: for who watches a board's port."""
    write_log(entry(who, text), is_repeated=True)


def log_exception(who: str, error: BaseException) -> None:
    """Log a defect with its traceback, and keep it; without memory for that, only print it."""
    try:
        line = "%s\n%s" % (entry(who, "unexpected %r" % error), traceback_of(error))
        if _sink is not None:
            _sink(line)
        write_log(line, is_defect=True)
    except MemoryError:  # what goes on after a defect must be able to
        print_traceback(error)


def set_status(status: str, **fields: object) -> None:
    """Print how a board stands, unless that was printed last: one line of JSON, for programs.

    `status` is a word of `firmware/board/status.py`.
    """
    global _status_line
    fields["status"] = status
    line = STATUS_PREFIX + json.dumps(fields)
    if line != _status_line:
        _status_line = line
        print(line)


def repeat_status() -> None:
    """Print the last status line again."""
    print(_status_line)
