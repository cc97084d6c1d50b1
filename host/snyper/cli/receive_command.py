"""`snyper receive`: files and data that others push, into a folder."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from snyper.cli import extras
from snyper.cli.commands import Json, address, hub_address
from snyper.cli.output import err, fail, out
from snyper.cli.serve_command import (
    Certificate,
    CertificateKey,
    KeyFile,
    Limit,
    Open,
    service_keys,
)
from snyper.client.labels import plural
from snyper.client.service_session import check_name
from snyper.shared.config import Integer
from snyper.shared.session import SessionState
from snyper.system.files import shown
from snyper.system.limits import complete_limits
from snyper.system.loading import LoadingError, load_file
from snyper.system.logs import log_to_stderr
from snyper.system.process import EXIT_FAILED, EXIT_USAGE, ended_by_signals
from snyper.system.streams import print_json
from snyper.system.text import json_text, one_line

DEFAULT_LISTEN = "127.0.0.1:8001"  # the port of the document's CLIENT_SERVER_URL
_MB = 1_000_000
_LIMITS = {
    "file_mb": Integer(1_000, 1, 1_000_000),
    "data_kb": Integer(1_000, 1, 100_000),
    "keep_free_mb": Integer(64, 0, 1_000_000),  # of the disk
    "part_s": Integer(86_400, 60, 31_536_000),  # without another byte, until a part is removed
    "parts": Integer(64, 1, 10_000),
    "waiting": Integer(100_000, 1, 10_000_000),  # events that handlers have not finished
    "handler_s": Integer(300, 1, 86_400),
}


def _addresses(given: list[str]) -> list[str]:
    return [address(one) for one in given]


def _accepted(given: list[str] | None) -> list[str] | None:
    for pattern in given or ():
        if "/" not in pattern and not pattern.startswith("."):
            raise typer.BadParameter(f"{pattern} is no type such as image/* and no suffix such as .jpg")
    return given


def receive(
    into: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where they are kept.", file_okay=False)
    ] = Path("received"),
    listen: Annotated[
        list[str],
        typer.Option(
            metavar="HOST:PORT",
            help=f"Where to listen; :PORT is every address. May be repeated; without --hub {DEFAULT_LISTEN}.",
            callback=_addresses,
        ),
    ] = [],  # noqa: B006 - which nobody changes
    handlers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Call the functions in it, on_file_received and on_data_received.",
            dir_okay=False,
        ),
    ] = None,
    hub: Annotated[
        str | None,
        typer.Option(
            metavar="[tls://]HOST:PORT",
            help="Receive through this hub, with no port open here unless --listen opens one.",
            callback=lambda text: text and hub_address(text),
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The name at the hub.")] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Take only files of this type (image/*) or suffix (.jpg); may be repeated.",
            callback=_accepted,
        ),
    ] = None,
    is_list: Annotated[bool, typer.Option("--list", help="Show what is only partly here, and end.")] = False,
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
    if (hub is None) != (name is None):
        fail("--hub and --name go together: a hub, and the name there", EXIT_USAGE)
    if hub is None:
        listen = listen or [DEFAULT_LISTEN]
    if listen:
        extras.need("gateway", "receiving over HTTP")
    keys = service_keys(listen, key_file, is_open)
    if certificate is None and certificate_key is not None:
        fail("--certificate-key needs --certificate", EXIT_USAGE)
    log_to_stderr(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    from snyper.gateway.limits import LIMITS
    from snyper.inbox.inbox import Inbox

    try:
        limits = complete_limits({**LIMITS, **_LIMITS}, limit or ())
        if name is not None:
            check_name(name)
    except ValueError as error:
        fail(str(error), EXIT_USAGE)
    try:
        inbox = Inbox(into, _inbox_limits(limits, accept or ()), _bus(handlers, limits, as_json))
        if listen:
            _serve(inbox, listen, (certificate, certificate_key), keys, limits, (hub, name), as_json)
        else:
            asyncio.run(ended_by_signals(_receive_only(inbox, (hub, name), as_json)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        err.print("stopped")
    except (LoadingError, OSError, ValueError) as error:
        fail(str(error), EXIT_FAILED)


def _serve(
    inbox: Any,
    listen: Sequence[str],
    certificate: tuple[Path | None, Path | None],
    keys: dict[str, str],
    limits: dict[str, int],
    hub: tuple[str | None, str | None],
    as_json: bool,
) -> None:
    from snyper.gateway import run
    from snyper.gateway.app import Gateway
    from snyper.gateway.receive_routes import add_receive_routes
    from snyper.web.listening import load_certificate

    with ExitStack() as stack:
        tls = load_certificate(certificate[0], certificate[1]) if certificate[0] else None
        socks = run.open_sockets(listen, stack)
        urls = run.urls(socks, tls)

        async def work() -> None:
            async with _open(inbox, hub):
                gateway = Gateway(limits, keys)
                add_receive_routes(gateway, inbox)
                listening = run.Listening(socks, tls, limits)
                ready = partial(_say, inbox, urls, hub, as_json)
                await run.serve(gateway, listening, ready, inbox.uploads.end_appends)

        asyncio.run(work())


async def _receive_only(inbox: Any, hub: tuple[str | None, str | None], as_json: bool) -> None:
    """Receive through a hub alone, until cancelled."""
    async with _open(inbox, hub):
        _say(inbox, [], hub, as_json)
        await asyncio.Event().wait()


@asynccontextmanager
async def _open(inbox: Any, hub: tuple[str | None, str | None]) -> AsyncIterator[None]:
    """Open the inbox, and be known to the hub, if there is to be one."""
    from snyper.inbox.hub_receiver import receiving_from

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(inbox)
        hub_at, name = hub
        if hub_at is not None and name is not None:
            is_lost = False

            def on_change(state: str) -> None:
                nonlocal is_lost
                if state == SessionState.WAITING and not is_lost:
                    is_lost = True
                    why = one_line(session.error().message)
                    err.print(f"the hub at {hub_at} is not there ({why}): this goes on when it is")
                elif state == SessionState.CONNECTED and is_lost:
                    is_lost = False
                    err.print(f"the hub at {hub_at} is there")

            receiving = receiving_from(hub_at, name, inbox, on_change=on_change)
            session = await stack.enter_async_context(receiving)
            await session.wait_until_tried()
        yield


def _say(inbox: Any, urls: Sequence[str], hub: tuple[str | None, str | None], as_json: bool) -> None:
    if as_json:
        print_json({"urls": urls, "into": shown(inbox.folder)})
    places = [*urls, *([f"{hub[1]} at the hub {hub[0]}"] if hub[0] else [])]
    err.print(f"receive: {', '.join(places)}, into {shown(inbox.folder)}; Ctrl-C stops it")
    counts = inbox.counts()
    if counts["parts"]:
        err.print(f"receive: {plural(counts['parts'], 'file')} only partly here, which --list shows")


def _inbox_limits(limits: dict[str, int], accept: Sequence[str]) -> Any:
    from snyper.inbox.limits import Limits

    return Limits(
        max_file_bytes=limits["file_mb"] * _MB,
        max_data_bytes=limits["data_kb"] * 1_000,
        keep_free_bytes=limits["keep_free_mb"] * _MB,
        max_age_s=limits["part_s"],
        max_parts=limits["parts"],
        max_waiting=limits["waiting"],
        types=tuple(one for one in accept if "/" in one),
        suffixes=tuple(one for one in accept if "/" not in one),
    )


def _bus(handlers: Path | None, limits: dict[str, int], as_json: bool) -> Any:
    """Make the bus, with a person's own handlers, or what shows each event. Raises LoadingError."""
    from snyper.inbox.bus import Bus
    from snyper.inbox.handlers import subscribe_handlers
    from snyper.inbox.store import DATA_RECEIVED, FILE_RECEIVED

    def show(event: dict[str, Any]) -> None:
        if as_json:
            print_json(event)
        else:
            text = event["path"] if "path" in event else json_text(event["data"])
            out.print(one_line(text), highlight=False, soft_wrap=True)

    bus = Bus(limits["handler_s"])
    if handlers is None or as_json:
        for kind in (FILE_RECEIVED, DATA_RECEIVED):
            bus.subscribe(kind, show)
    if handlers is not None:
        module = load_file(handlers)
        try:
            subscribe_handlers(bus, module)
        except ValueError as error:
            raise LoadingError(f"{handlers.name}: {error}") from None
    return bus


def _list_parts(into: Path, as_json: bool) -> None:
    from snyper.inbox.listing import parts_in

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
