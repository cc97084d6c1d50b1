"""`snyper serve`: a person's functions, over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from snyper.cli import extras
from snyper.cli.commands import Json, address, hub_address
from snyper.cli.output import err
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
from snyper.offload.declarations import Service
from snyper.system.streams import print_json

DEFAULT_LISTEN = "127.0.0.1:8000"


def _workers(given: str) -> int | str:
    if given.startswith("dask+tls://"):
        extras.need("dask", "a cluster of workers")
        address(given.removeprefix("dask+tls://"))
        return given
    if not given.isdecimal() or not 1 <= int(given[:9]) <= 1_000:
        raise typer.BadParameter(f"it is a number from 1 to 1000, or dask+tls://HOST:PORT, not {given!r}")
    return int(given)


ServeListen = Annotated[
    list[str],
    typer.Option(
        metavar="HOST:PORT",
        help=f"Where to serve; :PORT is every address. May be repeated; without --hub {DEFAULT_LISTEN}.",
        callback=addresses,
        show_default=False,
    ),
]
ServiceHub = Annotated[
    str | None,
    typer.Option(
        "--hub",
        metavar="[tls://]HOST:PORT",
        help="The hub to serve at, with the key that this computer has for it; needs --name.",
        callback=lambda text: text and hub_address(text),
    ),
]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="What the service is called at the hub.")]
Workers = Annotated[
    Any,
    typer.Option(
        metavar="N",
        help="Processes that work, by default one a processor; or dask+tls://HOST:PORT of a Dask scheduler.",
        parser=_workers,
    ),
]


def serve(
    services: Annotated[
        Path, typer.Argument(metavar="FILE", help="The functions, with their decorators.", dir_okay=False)
    ],
    listen: ServeListen = [],  # noqa: B006 - which nobody changes
    hub: ServiceHub = None,
    name: Name = None,
    workers: Workers = None,
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder for results that wait for a repeat.", file_okay=False),
    ] = None,
    key_file: KeyFile = None,
    is_open: Open = False,
    certificate: Certificate = None,
    certificate_key: CertificateKey = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Serve the functions in a file until Ctrl-C, in processes of their own: over HTTP, and through a hub."""
    extras.need("gateway", "serving over HTTP")
    check_hub(hub, name)
    from snyper.gateway.limits import LIMITS

    found: list[Service] = []
    if not listen and hub is None:
        listen = [DEFAULT_LISTEN]
    access = Access(key_file, is_open, certificate, certificate_key)
    with starting(listen, access, limits_of(LIMITS, limit)) as server:
        from snyper.gateway import run
        from snyper.gateway.app import Gateway
        from snyper.gateway.link import at_hub
        from snyper.gateway.service_routes import serving

        folder = state or (run.state_folder(server.socks, listen) if listen else None)

        @asynccontextmanager
        async def services_face(gateway: Gateway) -> AsyncIterator[None]:
            async with serving(gateway, services, workers, folder) as served:
                found.extend(served.services)
                async with at_hub(gateway, served, hub, name) if hub and name else nullcontext():
                    yield

        def ready() -> None:
            if as_json:
                print_json({"urls": server.urls, "services": [one.path for one in found]})
            for one in found:
                err.print(f"serve: {one.name}" + (f" at {server.urls[0]}{one.path}" if listen else ""))
            err.print(f"serve: {places(server.urls, hub, name)}; Ctrl-C stops it")

        server.run([services_face], ready)
