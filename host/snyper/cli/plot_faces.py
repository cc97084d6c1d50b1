"""The places where a plot is drawn: a window, the terminal, a file."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snyper.cli.output import err, fail, out
from snyper.system.files import shown
from snyper.system.process import EXIT_FAILED, ended_by_signals

if TYPE_CHECKING:
    from snyper.streams.plot import Plot, StillPlot


def png_file(path: Path | None) -> Path | None:
    """Return the path; raise typer.BadParameter where its ending is another picture's, or where there is no
    folder for it, before anything is waited for.
    """
    if path is not None and path.suffix.lower() not in ("", ".png"):  # such as /dev/stdout
        raise typer.BadParameter(f"{path} does not end with .png, which is what is written")
    if path is not None and not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {path.parent} for {path.name}: make it first")
    return path


Png = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Draw it into a PNG file once, and end.", callback=png_file),
]
Terminal = Annotated[
    bool, typer.Option("--terminal", help="Draw in the terminal, also where a window could be.")
]
_ATTEND_S = 0.05  # between looks at what a person does to a window
_STILL_LINES = 30  # of a plot that is printed, at most


def save(plot: "Plot", path: Path) -> None:
    """Draw it into a file, or end the command with what went wrong."""
    from snyper.cli.stream_picture import save_png

    try:
        save_png(plot, path)
    except OSError as error:
        fail(f"{path}: {error.strerror or error}", EXIT_FAILED)
    err.print(f"{plot.name} is in {shown(path)}", markup=False, highlight=False, soft_wrap=True)


def live_face(plot: "Plot", terminal: bool) -> Any:
    """Return what draws it again and again: a window where there can be one, else the terminal."""
    window = None if terminal else _window(plot)
    if window is not None:
        return window
    if not sys.stdout.isatty():
        fail("there is neither a window nor a terminal to draw in: --png FILE draws a picture", EXIT_FAILED)
    from snyper.cli.stream_terminal import StreamTerminal

    return StreamTerminal(plot)


def show_still(plot: "StillPlot", terminal: bool) -> None:
    """Show it in a window until somebody closes that, where there can be one; else print it."""
    window = None if terminal else _window(plot)
    if window is None:
        from snyper.cli.stream_terminal import picture

        out.print(picture(plot, out.width, min(out.height, _STILL_LINES)))
        return

    async def attend() -> None:
        is_open = window.draw()
        while is_open:
            await asyncio.sleep(_ATTEND_S)
            is_open = window.attend()

    try:
        # Not by KeyboardInterrupt: what it comes upon may be a callback of the window, which leaves it out.
        asyncio.run(ended_by_signals(attend()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        pass
    finally:
        window.close()


def _window(plot: "Plot") -> Any:
    from snyper.cli.stream_window import StreamWindow, is_possible

    return StreamWindow(plot) if is_possible() else None
