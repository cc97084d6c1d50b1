"""The gateway that stores arrays, as options of a command say which."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snyper.cli import extras, transfers
from snyper.cli.commands import hub_address

if TYPE_CHECKING:
    from snyper.arrays import NumpyClient

DEFAULT_GATEWAY = "http://127.0.0.1:8000"
Gateway = Annotated[
    str,
    typer.Option(
        "--to", envvar="SNYPER_GATEWAY", metavar="URL|NAME", help="The gateway, or its name at the hub."
    ),
]
GatewayHub = Annotated[
    str | None,
    typer.Option(
        "--hub",
        metavar="[tls://]HOST:PORT",
        help="Reach it through this hub.",
        callback=lambda text: text and hub_address(text),
    ),
]


@contextmanager
def gateway_client(to: str, hub: str | None, timeout: float) -> Iterator["NumpyClient"]:
    """Make a client for the block, and end the command with what goes wrong in it."""
    extras.need("arrays", "a command for arrays")
    from snyper.arrays import NumpyClient

    if hub is not None and "://" in to:
        raise typer.BadParameter("--hub needs --to NAME, which `snyper services` lists")
    place: dict[str, Any] = {"base_url": to} if hub is None else {"hub": hub, "name": to}
    with transfers.transferring():
        try:
            client = NumpyClient(timeout=timeout, **place)
        except ValueError as error:
            at_hub = "" if hub is not None or "://" in to else "; a name at a hub needs --hub HOST:PORT"
            raise typer.BadParameter(f"{error}{at_hub}") from None
        with client:
            yield client
