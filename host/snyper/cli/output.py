"""How every command speaks: results on stdout, all else on stderr, and the exit status."""

import json
import logging
import os
import sys
from collections.abc import Iterable
from typing import NoReturn

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from snyper.shared.names import UNSEEN

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NO_HUB = 3
EXIT_INTERRUPTED = 130
EXIT_GONE = 141  # 128 + SIGPIPE: what a shell says of a command whose reader has left
DRAWN_COLUMNS = 80  # of what is drawn where there is no terminal

# What would move the cursor, set a colour or the window's title, or turn or hide what is around it: boards
# and people may say such things too. Left out, and no sign in their place: in a table they are nothing wide.
_CONTROLS = {
    code: None for first, last in UNSEEN for code in range(first, last + 1) if chr(code) not in "\n\t"
}
_JSON_CONTROLS = {
    code: json.dumps(chr(code))[1:-1] for code in _CONTROLS if code > 0x7E
}  # JSON has the others


class _Console(Console):
    """A terminal on which only this program draws, whatever control characters are in what it shows."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else harmless(text), style, control)


err = _Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
out = _Console(highlight=False, emoji=False)


def drawn_columns() -> int:
    """How wide a drawing on stdout is, which has no width of its own."""
    return out.width if sys.stdout.isatty() else DRAWN_COLUMNS


def can_redraw(console: Console) -> bool:
    """Whether a picture on `console` can be drawn again and again: not into a pipe, on a terminal that only
    adds lines (TERM=dumb), or into the log of a continuous integration (CI is set).
    """
    return console.file.isatty() and not console.is_dumb_terminal and not os.environ.get("CI")


def harmless(text: str) -> str:
    """`text` without control characters (ECMA-48) and Unicode's unseen ones, but for the ends of lines, tabs,
    and what joins letters and emoji.
    """
    return text.translate(_CONTROLS)


def one_line(text: str) -> str:
    """`harmless` text in which no line ends: nobody else begins one of ours."""
    return harmless(" ".join(text.splitlines())).rstrip()


class _Formatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        return harmless(super().format(record))


def log_to_stderr(level: int) -> None:
    """From now on what is logged with `level` or more is a line on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level, handlers=[handler])


def fail(message: str, status: int) -> NoReturn:
    """Ends the command with a line on stderr."""
    err.print(f"snyper: {message}", markup=False)
    raise typer.Exit(status)


def json_text(value: object) -> str:
    """A line of JSON without its end, in which every control character and every unseen one is escaped."""
    return json.dumps(value, ensure_ascii=False).translate(_JSON_CONTROLS)


def print_json(value: object) -> None:
    """A line of JSON on stdout, at once."""
    sys.stdout.write(json_text(value) + "\n")
    sys.stdout.flush()
