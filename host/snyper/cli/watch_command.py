"""`snyper watch`: the range live."""

import asyncio
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated

import typer

from snyper.cli import screens
from snyper.cli.commands import HubOption, Json, run, warn_of_gap, warn_of_losses
from snyper.cli.output import can_redraw, out
from snyper.cli.range_screen import watch_live
from snyper.client import DEFAULT_HUB, NoHubError, ReconnectingClient, connect
from snyper.shared.socket_protocol import ProtocolError
from snyper.shared.vocabulary import MIN_TIMEOUT_MS
from snyper.system import streams
from snyper.system.streams import print_json


def watch(
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
    timeout: Annotated[
        float | None, typer.Option(min=MIN_TIMEOUT_MS / 1000, metavar="SECONDS", help="Stop after this long.")
    ] = None,
) -> None:
    """Show the range live until Ctrl-C: a table in a terminal, else a line an event.

    A hub that is lost is waited for, and what happened meanwhile is shown as far as the hub still has it.
    """

    async def follow(console: ReconnectingClient) -> None:
        if can_redraw(out) and not as_json:
            await watch_live(console, out, hub)
        warn_of_losses(console, hub)
        asking = asyncio.create_task(tell_safety(console))
        async for event in console.events(on_gap=warn_of_gap):
            if as_json:
                print_json(asdict(event))
            else:
                out.print(screens.event_line(event), soft_wrap=True)
        await asking

    async def tell_safety(console: ReconnectingClient) -> None:
        with suppress(ProtocolError):  # of a hub that is lost just now, which is said
            screens.tell_safety(await console.cease_fire_state())

    async def follow_for_a_while() -> None:
        is_connected = False
        try:
            async with asyncio.timeout(timeout):
                async with streams.noticing_its_end(), connect(hub, reconnect=True) as console:
                    is_connected = True
                    await follow(console)
        except TimeoutError:
            if not is_connected:
                raise NoHubError(f"nothing answers there within {timeout:g} s") from None

    run(follow_for_a_while(), hub, until_ctrl_c=True)
