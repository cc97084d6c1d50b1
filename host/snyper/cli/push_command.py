"""`snyper push`: a file or JSON to a device that receives it."""

from pathlib import Path
from typing import Annotated

import typer

from snyper.cli import transfers
from snyper.cli.commands import hub_address, run
from snyper.cli.output import fail
from snyper.cli.transfers import SERVER_TIMEOUT_S, FileOrJson, ServerTimeout
from snyper.client import HubClient, connect
from snyper.client.pushing import push_data, push_file
from snyper.device import ClientPush
from snyper.shared.session import SessionState
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from snyper.system.process import EXIT_NO_HUB
from snyper.system.streams import print_json


def push(
    what: FileOrJson,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="URL|NAME",
            help="The device, or its name at the hub; else the variable CLIENT_SERVER_URL says it.",
        ),
    ] = None,
    hub: Annotated[
        str | None,
        typer.Option(
            metavar="[tls://]HOST:PORT",
            help="Push through this hub.",
            callback=lambda text: text and hub_address(text),
        ),
    ] = None,
    timeout: ServerTimeout = SERVER_TIMEOUT_S,
) -> None:
    """Push a file or JSON to a device that receives it, and show what that answers.

    A large file goes on after a cut where it was. `snyper push song.wav --to http://192.168.6.2:8001`
    """
    value = transfers.parse(what)
    if hub is not None:
        if to is None:
            raise typer.BadParameter("--hub needs --to NAME, which `snyper services` lists")
        print_json(run(_push_through(hub, to, value, round(timeout * 1000)), hub))
        return
    with transfers.transferring():
        device = ClientPush(to, timeout)
        if isinstance(value, Path):
            with transfers.progress(value.name) as on_sent:
                answer = device.push_file_sync(value, on_sent=on_sent)
        else:
            answer = device.push_data_sync(value[0])
        print_json(answer)


async def _push_through(hub: str, name: str, value: Path | tuple[object], stall_ms: int) -> dict[str, object]:
    """Push to a name at a hub; return what the device would answer over HTTP."""
    async with connect(hub, reconnect=True) as client:
        try:
            return await _push_to(client, name, value, stall_ms)
        except ProtocolError as error:
            if error.code == ErrorCode.DISCONNECTED and client.state == SessionState.CONNECTED:
                fail(f"{name} is away from the hub at {hub}", EXIT_NO_HUB)
            raise


async def _push_to(
    client: HubClient, name: str, value: Path | tuple[object], stall_ms: int
) -> dict[str, object]:
    if not isinstance(value, Path):
        await push_data(client, name, value[0], stall_ms=stall_ms)
        return {"status": "ok", "message": "Data received"}
    size = value.stat().st_size  # noqa: ASYNC240
    with transfers.progress(value.name) as on_sent:

        def on_progress(received: int) -> None:
            on_sent(received, size)

        path = await push_file(client, name, value, on_progress=on_progress, stall_ms=stall_ms)
    return {"status": "ok", "message": "File received", "path": path}
