"""Files and JSON to and from servers, in a terminal: a bar that shows how far they are, and how they end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from snyper.cli.output import can_redraw, err, fail, out
from snyper.device.connection import TIMEOUT_S
from snyper.device.errors import TransferError
from snyper.device.jobs import standing
from snyper.device.outcomes import file_or_json, message_of, status_of
from snyper.system.files import shown
from snyper.system.process import EXIT_FAILED, EXIT_INTERRUPTED
from snyper.system.streams import print_json

FileOrJson = Annotated[str, typer.Argument(metavar="FILE|JSON", help="A file that is there, else JSON.")]
ServerTimeout = Annotated[
    float, typer.Option(min=0.1, metavar="SECONDS", help="How long the connection, and each wait, may take.")
]
SERVER_TIMEOUT_S = TIMEOUT_S


@contextmanager
def transferring() -> Iterator[None]:
    """End the command with a message and an exit status for what goes wrong in a block."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("stopped")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except TransferError as error:
        fail(str(error), status_of(error))
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            fail(f"{shown(Path(error.filename))}: {error.strerror}", EXIT_FAILED)
        fail(message_of(error), EXIT_FAILED)


def parse(text: str) -> Path | tuple[object]:
    """Parse FILE|JSON: return the path of a file, or the value alone in a tuple; or end with wrong usage."""
    try:
        return file_or_json(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


class Bar:
    """A bar in the terminal for something that is sent, and perhaps worked on then."""

    def __init__(self, bar: Progress, title: str) -> None:
        self._bar = bar
        self._task = bar.add_task(title, total=None)

    def on_sent(self, sent: int, total: int) -> None:
        """Show how many bytes of how many are out."""
        self._bar.update(self._task, completed=sent, total=total)

    def on_progress(self, share: float, place: int | None) -> None:
        """Show how the work on it stands."""
        self._bar.update(self._task, description=standing(share, place))


@contextmanager
def bar_of(title: str) -> Iterator[Bar]:
    """Show how far something is, where stderr is a terminal."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not can_redraw(err)) as bar:
        yield Bar(bar, title)


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many bytes of how many are out, where stderr is a terminal."""
    with bar_of(title) as bar:
        yield bar.on_sent


def show_file(result: object) -> None:
    """Print what comes of a file: the path of another one as it is, or JSON."""
    if isinstance(result, str):
        out.print(result, soft_wrap=True)
    else:
        print_json(result)
