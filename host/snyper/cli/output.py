"""The terminal that every command draws on: results on stdout, all else on stderr."""

import os
import sys
from collections.abc import Iterable
from typing import NoReturn

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from snyper.system.text import harmless, one_line

PIPED_COLUMNS = 10_000  # more than a row of any table takes: what a program reads is never wrapped
DRAWN_COLUMNS = 80  # of what is drawn where there is no terminal


class _Console(Console):
    """A terminal on which only this program draws, whatever control characters are in what it shows. No text
    on it is markup.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else harmless(text), style, control)


err = _Console(stderr=True, highlight=False, soft_wrap=True, emoji=False, markup=False)
out = _Console(highlight=False, emoji=False, markup=False)


def drawn_columns() -> int:
    """Choose the width in columns of a drawing on stdout, which has none of its own."""
    return out.width if sys.stdout.isatty() else DRAWN_COLUMNS


def can_redraw(console: Console) -> bool:
    """Tell whether a picture on `console` can be drawn again and again: not into a pipe, on a terminal that
    only adds lines (TERM=dumb), or into the log of a continuous integration (CI is set).
    """
    return console.file.isatty() and not console.is_dumb_terminal and not os.environ.get("CI")


def fail(message: str, status: int) -> NoReturn:
    """End the command with a line on stderr, which is one whoever has a word in it."""
    err.print(f"snyper: {one_line(message)}")
    raise typer.Exit(status)
