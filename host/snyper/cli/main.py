"""The `snyper` command.

Exit status: 0 all went well, 1 some target failed or the work broke off, 2 wrong usage, 3 no hub or
server there, 130 cut short by Ctrl-C. What runs until Ctrl-C (`hub`, `simulate`, `watch`) ends with 0 by it.
"""

import logging
import signal
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Annotated

import typer

from snyper.cli.help_page import App, CommandsByUse
from snyper.cli.output import PIPED_COLUMNS, out
from snyper.system import streams
from snyper.system.process import EXIT_INTERRUPTED, ending_signals, loading

# Where each command is, in this package. Only the one that is called is imported: all of them take as long
# as a command to a target, and what they need, from SQLite to a serial port, takes most of it.
COMMANDS = {
    "hub": "hub_command.hub",
    "keys": "keys_command.keys",
    "simulate": "simulate_command.simulate",
    "simulate-signal": "simulate_signal_command.simulate_signal",
    "cameras": "cameras_command.cameras",
    "simulate-cameras": "simulate_cameras_command.simulate_cameras",
    "targets": "target_commands.list_targets",
    "services": "services_command.services",
    "ping": "target_commands.ping",
    "stand-up": "target_commands.stand_up",
    "lay-down": "target_commands.lay_down",
    "activate": "target_commands.activate",
    "identify": "target_commands.identify",
    "send": "send_command.send",
    "push": "push_command.push",
    "outbox": "outbox_command.outbox",
    "serve": "serve_command.serve",
    "receive": "receive_command.receive",
    "gateway": "gateway_command.gateway",
    "arrays": "arrays_command.arrays",
    "recordings": "recordings_command.recordings",
    "stream": "stream_command.stream",
    "plot": "plot_command.plot",
    "call": "call_command.call",
    "stubs": "call_command.stubs",
    "log": "log_command.log",
    "cease-fire": "cease_fire_command.cease_fire",
    "calibrate": "piezo_commands.calibrate",
    "trace": "piezo_commands.trace",
    "watch": "watch_command.watch",
    "deploy": "deploy_commands.deploy",
    "boards": "deploy_commands.boards",
    "config": "deploy_commands.config",
    "board": "board_command.board",
    "history": "history_commands.history",
    "stats": "history_commands.stats",
    "export": "history_commands.export",
    "dashboard": "dashboard_command.dashboard",
    "game": "game_commands.game",
    "logs": "logs_command.logs",
    "demo": "demo_commands.demo",
    "play": "demo_commands.play",
}


def main() -> None:
    """Run the command line. SIGTERM and SIGHUP end a command as Ctrl-C does, with everything it started.
    Before the command begins, and once it has ended, a signal does what its default is.
    """
    with streams.guarded():
        if not sys.stdout.isatty():
            out.width = PIPED_COLUMNS
        # It warns of each line to a peer that has just gone, which a command itself says better.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        named = [word for word in sys.argv[1:2] if word in COMMANDS]
        with loading():
            app = app_with(named or COMMANDS)
        handled = [signal.SIGINT, *ending_signals()]
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            handled.remove(signal.SIGINT)
        for number in handled:
            signal.signal(number, signal.default_int_handler)
        try:
            app()
        except KeyboardInterrupt:  # another one, while the command puts away what it has
            sys.exit(EXIT_INTERRUPTED)
        finally:
            for number in handled:
                signal.signal(number, signal.SIG_DFL)


def app_with(names: Iterable[str] = COMMANDS) -> App:
    """Build the command line with these of its commands."""
    app = App(
        help="Run a range of pop-up targets: a hub, simulated targets, and commands to them.",
        epilog="Exit status: 0 all well, 1 some target failed, 2 wrong usage, 3 no hub or server there.",
        cls=CommandsByUse,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_snyper)
    for name in names:
        module, _, attribute = COMMANDS[name].partition(".")
        command = getattr(import_module(f"{__package__}.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"snyper {version('snyper')}")
        raise typer.Exit


def _snyper(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version, and end.")
    ] = False,
) -> None:
    """Take the options that are no command's."""
