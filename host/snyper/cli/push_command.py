"""`snyper push`: a file or JSON to a device that receives it."""

from pathlib import Path
from typing import Annotated

import typer

from snyper.cli import transfers
from snyper.cli.transfers import SERVER_TIMEOUT_S, FileOrJson, ServerTimeout
from snyper.device import ClientPush
from snyper.system.streams import print_json


def push(
    what: FileOrJson,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="URL", help="The device; else the variable CLIENT_SERVER_URL says it."),
    ] = None,
    timeout: ServerTimeout = SERVER_TIMEOUT_S,
) -> None:
    """Push a file or JSON to a device that receives it, and show what that answers.

    A large file goes on after a cut where it was. `snyper push song.wav --to http://192.168.6.2:8001`
    """
    value = transfers.parse(what)
    with transfers.transferring():
        device = ClientPush(to, timeout)
        if isinstance(value, Path):
            with transfers.progress(value.name) as on_sent:
                answer = device.push_file_sync(value, on_sent=on_sent)
        else:
            answer = device.push_data_sync(value[0])
        print_json(answer)
