"""The `snyper` command.

Exit status: 0 all went well, 1 some target failed or the work broke off, 2 wrong usage, 3 no hub there,
130 cut short by Ctrl-C. What runs until Ctrl-C (`hub`, `simulate`, `watch`) ends with 0 by it.
"""

import signal
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from snyper.cli import (
    board_command,
    dashboard_command,
    demo_commands,
    deploy_commands,
    game_commands,
    history_commands,
    hub_command,
    logs_command,
    piezo_commands,
    send_command,
    simulate_command,
    target_commands,
    watch_command,
)
from snyper.cli.help_page import App, CommandsByUse
from snyper.cli.output import PIPED_COLUMNS, out
from snyper.system import streams
from snyper.system.process import ending_signals

app = App(
    help="Run a range of pop-up targets: a hub, simulated targets, and commands to them.",
    epilog="Exit status: 0 all well, 1 some target failed, 2 wrong usage, 3 no hub there.",
    cls=CommandsByUse,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line. SIGTERM and SIGHUP end a command as Ctrl-C does, with everything it started."""
    for number in ending_signals():
        signal.signal(number, signal.default_int_handler)
    with streams.guarded():
        if not sys.stdout.isatty():
            out.width = PIPED_COLUMNS
        app()


def _version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"snyper {version('snyper')}")
        raise typer.Exit


@app.callback()
def snyper(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version, and end.")
    ] = False,
) -> None:
    """Take the options that are no command's."""


app.command()(hub_command.hub)
app.command()(simulate_command.simulate)
app.command(name="targets")(target_commands.list_targets)
app.command()(target_commands.ping)
app.command()(target_commands.stand_up)
app.command()(target_commands.lay_down)
app.command()(target_commands.activate)
app.command()(target_commands.identify)
app.command()(send_command.send)
app.command()(piezo_commands.calibrate)
app.command()(piezo_commands.trace)
app.command()(watch_command.watch)
app.command()(deploy_commands.deploy)
app.command()(deploy_commands.boards)
app.command()(deploy_commands.config)
app.command()(board_command.board)
app.command()(history_commands.history)
app.command()(history_commands.stats)
app.command()(history_commands.export)
app.command()(dashboard_command.dashboard)
app.add_typer(game_commands.game, name="game")
app.command()(logs_command.logs)
app.command()(demo_commands.demo)
app.command()(demo_commands.play)
