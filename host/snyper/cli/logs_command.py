"""`snyper logs`: a board's log, over USB or through the hub."""

from typing import Annotated

import typer

from snyper.boards.usb import Connection
from snyper.cli.board_ports import at_prompt, board_errors, connected
from snyper.cli.commands import HubOption, run
from snyper.cli.output import err, fail, out
from snyper.client import DEFAULT_HUB, connect
from snyper.system.process import EXIT_USAGE

_FILES = ("/snyper.log.old", "/snyper.log")


def logs(
    port: Annotated[
        str | None, typer.Option(metavar="PORT", help="Over USB: the board's port, such as /dev/ttyACM0.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="NAME", help="Through the hub: the target's name.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Over USB: what it says from now on, without disturbing it.")
    ] = False,
    hub: HubOption = DEFAULT_HUB,
) -> None:
    """Show a board's log: boots, crashes, faults.

    Over USB that interrupts the firmware, and the board starts anew after it; through the hub it does not.
    """

    async def ask(target_id: str) -> None:
        is_empty = True
        async with connect(hub) as console:
            async for page in console.log(target_id):
                is_empty = is_empty and not page
                out.print(page, end="", soft_wrap=True)
        if is_empty:
            err.print(f"{target_id}: its log is empty")

    if (port is None) == (target is None) or (follow and port is None):
        fail("name one: --port PORT (with or without --follow), or --target NAME", EXIT_USAGE)
    if port is not None:
        _show_usb_log(port, follow)
    elif target is not None:
        run(ask(target), hub)


def _show_usb_log(port: str, follow: bool) -> None:
    """Print a board's log over USB; with `follow` what it says from now on, without disturbing it.

    The log is read from its flash: that interrupts the firmware, and the board starts anew after it.
    """

    def read(connection: Connection) -> str:
        return b"".join(connection.read(path) or b"" for path in _FILES).decode(errors="replace")

    with board_errors(port):
        if follow:
            with connected(port) as connection:
                while True:
                    line = connection.line(0.5)
                    if line is not None:
                        out.print(line, soft_wrap=True)
        said = at_prompt(port, read)
    err.print(f"{port}: the board was interrupted and starts anew")
    if said:
        out.print(said, end="", soft_wrap=True)
    else:
        err.print(f"{port}: the board has no log yet")
