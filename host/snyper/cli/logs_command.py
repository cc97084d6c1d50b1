"""`snyper logs`: a board's log, over USB or through the hub."""

from typing import Annotated

import typer

from snyper.cli import deploy_commands
from snyper.cli.commands import HubOption, run
from snyper.cli.output import err, fail, out
from snyper.client import DEFAULT_HUB, connect
from snyper.system.process import EXIT_USAGE


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
                out.print(page, end="", markup=False, soft_wrap=True)
        if is_empty:
            err.print(f"{target_id}: its log is empty", markup=False)

    if (port is None) == (target is None) or (follow and port is None):
        fail("name one: --port PORT (with or without --follow), or --target NAME", EXIT_USAGE)
    if port is not None:
        deploy_commands.show_log(port, follow)
    elif target is not None:
        run(ask(target), hub)
