"""How every command speaks: results on stdout, all else on stderr, and the exit status."""

import logging
import os
import sys
from collections.abc import Iterable
from typing import NoReturn

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from snyper.system.text import harmless, json_text, one_line

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NO_HUB = 3
EXIT_INTERRUPTED = 130
EXIT_GONE = 141  # 128 + SIGPIPE: what a shell says of a command whose reader has left
DRAWN_COLUMNS = 80  # of what is drawn where there is no terminal


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


def print_json(value: object) -> None:
    """A line of JSON on stdout, at once."""
    sys.stdout.write(json_text(value) + "\n")
    sys.stdout.flush()
