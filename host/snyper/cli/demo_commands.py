"""`snyper demo` and `play`: the whole system on this machine."""

from typing import Annotated

import typer

from snyper.cli import extras
from snyper.cli.commands import address, run
from snyper.cli.output import err, out


def demo() -> None:
    """Show everything on this machine: a hub, four real MicroPython targets, commands, hits, a power cut."""
    from snyper.cli import demonstration

    raise typer.Exit(run(demonstration.run(out)))


def play(
    targets: Annotated[int, typer.Option(min=1, max=16, metavar="N", help="How many.")] = 4,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the dashboard listens.", callback=address)
    ] = "127.0.0.1:8088",
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open it in your browser.")] = True,
) -> None:
    """Run a hub, simulated targets, a signal, an instrument, cameras and the dashboard until Ctrl-C, to click
    through.
    """
    extras.need("dashboard", "play")
    from snyper.cli import play

    err.print("play: starting; Ctrl-C ends everything")
    run(play.run(targets, listen, browser, lambda line: err.print(line)), until_ctrl_c=True)
