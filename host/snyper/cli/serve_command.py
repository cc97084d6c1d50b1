"""`snyper serve`: a person's functions, over HTTP."""

import asyncio
import logging
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from snyper.cli import extras
from snyper.cli.commands import Json, address, hub_address
from snyper.cli.output import err, fail
from snyper.client.addresses import is_loopback
from snyper.client.environment import line_of, secret
from snyper.services import Refused
from snyper.shared.address import parse_address
from snyper.system.logs import log_to_stderr
from snyper.system.process import EXIT_FAILED, EXIT_USAGE, ended_by_signals
from snyper.system.streams import print_json

KEY_VARIABLE = "SNYPER_SERVICE_KEY"
DEFAULT_LISTEN = "127.0.0.1:8000"


def _listen(given: list[str]) -> list[str]:
    return [address(one) for one in given]


def _workers(given: str) -> int | str:
    if given.startswith("dask+tls://"):
        extras.need("dask", "a cluster of workers")
        address(given.removeprefix("dask+tls://"))
        return given
    if not given.isdecimal() or not 1 <= int(given[:9]) <= 1_000:
        raise typer.BadParameter(f"it is a number from 1 to 1000, or dask+tls://HOST:PORT, not {given!r}")
    return int(given)


ListenOption = Annotated[
    list[str],
    typer.Option(
        metavar="HOST:PORT",
        help="Where to serve; :PORT is every address. May be repeated.",
        callback=_listen,
    ),
]
ServeListen = Annotated[
    list[str],
    typer.Option(
        metavar="HOST:PORT",
        help=f"Where to serve; :PORT is every address. May be repeated; without --hub {DEFAULT_LISTEN}.",
        callback=_listen,
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
KeyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Serve only who sends the key in this file; by default that in SNYPER_SERVICE_KEY.",
        dir_okay=False,
    ),
]
Open = Annotated[bool, typer.Option("--open", help="Let everybody in who reaches it, without a key.")]
Certificate = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Serve HTTPS with this certificate (PEM).", dir_okay=False),
]
CertificateKey = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="The certificate's key, if it is in a file of its own.", dir_okay=False
    ),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=NUMBER", help="Another limit than the default; may be repeated."),
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
    if (hub is None) != (name is None):
        fail("at a hub: --hub HOST:PORT and --name NAME, both", EXIT_USAGE)
    if not listen and hub is None:
        listen = [DEFAULT_LISTEN]
    keys = service_keys(listen, key_file, is_open)
    if certificate is None and certificate_key is not None:
        fail("--certificate-key needs --certificate", EXIT_USAGE)
    from snyper.gateway import run
    from snyper.gateway.app import Gateway, serving
    from snyper.gateway.limits import complete_limits
    from snyper.gateway.link import at_hub
    from snyper.offload.declarations import Service
    from snyper.offload.loading import ServicesError
    from snyper.web.listening import load_certificate

    log_to_stderr(logging.INFO)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    try:
        limits = complete_limits(limit or ())
    except ValueError as error:
        fail(f"--limit: {error}", EXIT_USAGE)
    try:
        with ExitStack() as stack:
            tls = load_certificate(certificate, certificate_key) if certificate else None
            socks = run.open_sockets(listen, stack)
            urls = run.urls(socks, tls)
            folder = state or (run.state_folder(socks, listen) if listen else None)

            def ready() -> None:
                if as_json:
                    print_json({"urls": urls, "services": [one.path for one in found]})
                for one in found:
                    err.print(f"serve: {one.name}" + (f" at {urls[0]}{one.path}" if urls else ""))
                places = [*urls, *([f"{name} at the hub {hub}"] if hub else [])]
                err.print(f"serve: {' '.join(places)}; Ctrl-C stops it")

            async def work() -> None:
                gateway = Gateway(limits, keys)
                async with AsyncExitStack() as serves:
                    served = await serves.enter_async_context(serving(gateway, services, workers, folder))
                    found.extend(served.services)
                    if hub is not None and name is not None:
                        await serves.enter_async_context(at_hub(served, hub, name))
                    listening = run.Listening(socks, tls, limits)
                    await run.serve(gateway, listening, ready, served.jobs.drop_queued)

            found: list[Service] = []
            asyncio.run(ended_by_signals(work()))  # until `run.serve` takes them
    except (KeyboardInterrupt, asyncio.CancelledError):
        err.print("stopped")
    except (ServicesError, Refused, OSError, ValueError) as error:
        fail(str(error), EXIT_FAILED)


def service_keys(listen: list[str], key_file: Path | None, is_open: bool) -> dict[str, str]:
    """Return the keys that a server asks for, by name. Ends the command where others reach it without any."""
    try:
        key = secret(KEY_VARIABLE) if key_file is None else line_of(key_file, "--key-file", "key")
    except ValueError as error:
        fail(str(error), EXIT_USAGE)
    if key and is_open:
        fail("--open lets everybody in, and there is a key: give one of them", EXIT_USAGE)
    far = [one for one in listen if not is_loopback(parse_address(one)[0])]
    if far and not key and not is_open:
        fail(
            f"a server on {far[0]} can be reached by others, so it needs a key: set {KEY_VARIABLE}, or"
            " --key-file FILE, or --open for a network where everybody may, or listen on 127.0.0.1",
            EXIT_USAGE,
        )
    return {"key": key} if key else {}
