"""`snyper receive`: files and data that others push, into a folder."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snyper.cli import extras
from snyper.cli.commands import Json, hub_address
from snyper.cli.output import err, fail, out
from snyper.cli.serving import (
    Access,
    Certificate,
    CertificateKey,
    KeyFile,
    Limit,
    Open,
    addresses,
    check_hub,
    limits_of,
    places,
    starting,
)
from snyper.client.labels import plural
from snyper.client.service_session import check_name
from snyper.device.serving.limits import RECEIVER_LIMITS, check_accepted, inbox_limits
from snyper.shared.config import Integer
from snyper.shared.session import SessionState
from snyper.system.files import shown
from snyper.system.process import EXIT_FAILED, ended_by_signals
from snyper.system.streams import print_json
from snyper.system.text import json_text, one_line

if TYPE_CHECKING:
    from snyper.device.inbox.inbox import Inbox

DEFAULT_LISTEN = "127.0.0.1:8001"  # the port of the document's CLIENT_SERVER_URL
_LIMITS = {name: Integer(*bounds) for name, bounds in RECEIVER_LIMITS.items()}


def _name(text: str | None) -> str | None:
    try:
        if text is not None:
            check_name(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return text


def _accepted(given: list[str] | None) -> list[str] | None:
    try:
        check_accepted(given or ())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return given


Into = Annotated[Path, typer.Option(metavar="FOLDER", help="Where they are kept.", file_okay=False)]
Listen = Annotated[
    list[str],
    typer.Option(
        metavar="HOST:PORT",
        help=f"Where to listen; :PORT is every address. May be repeated; without --hub {DEFAULT_LISTEN}.",
        callback=addresses,
    ),
]
Handlers = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Call the functions in it, on_file_received and on_data_received.",
        dir_okay=False,
    ),
]
ReceivingHub = Annotated[
    str | None,
    typer.Option(
        metavar="[tls://]HOST:PORT",
        help="Receive through this hub, with no port open here unless --listen opens one.",
        callback=lambda text: text and hub_address(text),
    ),
]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="The name at the hub.", callback=_name)]
Accept = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Take only files of this type (image/*) or suffix (.jpg); may be repeated.",
        callback=_accepted,
    ),
]
IsList = Annotated[bool, typer.Option("--list", help="Show what is only partly here, and end.")]


def receive(
    into: Into = Path("received"),
    listen: Listen = [],  # noqa: B006 - which nobody changes
    handlers: Handlers = None,
    hub: ReceivingHub = None,
    name: Name = None,
    accept: Accept = None,
    is_list: IsList = False,
    key_file: KeyFile = None,
    is_open: Open = False,
    certificate: Certificate = None,
    certificate_key: CertificateKey = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Receive files and data that others push, until Ctrl-C: over HTTP, through a hub, or both.

    Each file is there whole under a name of its own, or not at all; what is sent again is kept once.
    """
    if is_list:
        _list_parts(into, as_json)
        return
    check_hub(hub, name)
    if hub is None:
        listen = listen or [DEFAULT_LISTEN]
    if listen:
        extras.need("gateway", "receiving over HTTP")
    from snyper.device.inbox.handlers import make_bus
    from snyper.device.inbox.inbox import Inbox
    from snyper.gateway.limits import LIMITS

    limits = limits_of({**LIMITS, **_LIMITS}, limit)
    access = Access(key_file, is_open, certificate, certificate_key)
    with starting(listen, access, limits, logging.WARNING) as server:
        show = _shown(as_json) if handlers is None or as_json else None
        bus = make_bus(handlers, limits["handler_s"], show)
        inbox = Inbox(into, inbox_limits(limits, accept or ()), bus)
        at_hub = partial(_at_hub, inbox, hub, name)
        ready = partial(_say, inbox, server.urls, places(server.urls, hub, name), as_json)
        if listen:
            from snyper.device.serving.receive_routes import serving_inbox

            server.run([partial(serving_inbox, inbox=inbox), at_hub], ready)
        else:
            asyncio.run(ended_by_signals(_receive_only(inbox, at_hub, ready)))


async def _receive_only(
    inbox: "Inbox", at_hub: Callable[[], AbstractAsyncContextManager[None]], ready: Callable[[], None]
) -> None:
    """Receive through a hub alone, until cancelled."""
    async with inbox, at_hub():
        ready()
        await asyncio.Event().wait()


@asynccontextmanager
async def _at_hub(inbox: "Inbox", hub: str | None, name: str | None, *_: object) -> AsyncIterator[None]:
    """Receive through a hub for the block, if there is to be one; it is said when that goes and comes."""
    if hub is None or name is None:
        yield
        return
    from snyper.gateway.hub_receiver import receiving_from

    is_lost = False

    def on_change(state: str) -> None:
        nonlocal is_lost
        if state == SessionState.WAITING and not is_lost:
            is_lost = True
            why = one_line(session.error().message)
            err.print(f"the hub at {hub} is not there ({why}): this goes on when it is")
        elif state == SessionState.CONNECTED and is_lost:
            is_lost = False
            err.print(f"the hub at {hub} is there")

    async with receiving_from(hub, name, inbox, on_change=on_change) as session:
        await session.wait_until_tried()
        yield


def _say(inbox: "Inbox", urls: Sequence[str], where: str, as_json: bool) -> None:
    if as_json:
        print_json({"urls": urls, "into": shown(inbox.folder)})
    err.print(f"receive: {where}, into {shown(inbox.folder)}; Ctrl-C stops it")
    counts = inbox.counts()
    if counts["parts"]:
        err.print(f"receive: {plural(counts['parts'], 'file')} only partly here, which --list shows")


def _shown(as_json: bool) -> Callable[[dict[str, Any]], None]:
    """Return what shows an event."""

    def show(event: dict[str, Any]) -> None:
        if as_json:
            print_json(event)
        else:
            text = event["path"] if "path" in event else json_text(event["data"])
            out.print(one_line(text), highlight=False, soft_wrap=True)

    return show


def _list_parts(into: Path, as_json: bool) -> None:
    from snyper.device.inbox.listing import parts_in

    try:
        parts = parts_in(into)
    except OSError as error:
        fail(str(error), EXIT_FAILED)
    if as_json:
        print_json([part._asdict() for part in parts])
        return
    for part in parts:
        length = "?" if part.length is None else f"{part.length:,}"
        line = f"{part.filename}: {part.received:,} of {length} bytes, silent for {part.silent_s:,.0f} s"
        out.print(one_line(line), soft_wrap=True)
    err.print(f"{plural(len(parts), 'file')} partly here")
