"""`snyper gateway`: a hub, over HTTP."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from snyper.cli import extras
from snyper.cli.commands import HubOption, Json
from snyper.cli.output import err
from snyper.cli.serve_command import DEFAULT_LISTEN
from snyper.cli.serving import (
    Access,
    Certificate,
    CertificateKey,
    KeyFile,
    Limit,
    Open,
    addresses,
    limits_of,
    starting,
)
from snyper.client import DEFAULT_HUB
from snyper.system.streams import print_json


def gateway(
    hub: HubOption = DEFAULT_HUB,
    listen: Annotated[
        list[str],
        typer.Option(
            metavar="HOST:PORT",
            help="Where to serve; :PORT is every address. May be repeated.",
            callback=addresses,
        ),
    ] = [DEFAULT_LISTEN],  # noqa: B006 - which nobody changes
    arrays: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Store arrays in it, and serve them.", file_okay=False),
    ] = None,
    demo_signal: Annotated[
        bool, typer.Option("--demo-signal", help="Serve the demonstration signal at /ws/stream.")
    ] = False,
    key_file: KeyFile = None,
    is_open: Open = False,
    certificate: Certificate = None,
    certificate_key: CertificateKey = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Serve a hub over HTTP until Ctrl-C, to programs that do not speak its protocol."""
    extras.need("gateway", "serving over HTTP")
    if arrays is not None or demo_signal:
        extras.need("arrays", "storing arrays" if arrays is not None else "the demonstration signal")
    from snyper.gateway.app import Face
    from snyper.gateway.hub_routes import serving_hub
    from snyper.gateway.limits import ARRAY_LIMITS, LIMITS

    access = Access(key_file, is_open, certificate, certificate_key)
    with starting(listen, access, limits_of({**LIMITS, **ARRAY_LIMITS}, limit)) as server:

        def ready() -> None:
            if as_json:
                print_json({"urls": server.urls, "hub": hub})
            err.print(f"gateway: {' '.join(server.urls)} to the hub at {hub}; Ctrl-C stops it")

        faces: list[Face] = [partial(serving_hub, address=hub)]
        if arrays is not None:
            from snyper.gateway.array_routes import serving_arrays

            faces.append(partial(serving_arrays, folder=arrays))
        if arrays is not None or demo_signal:
            from snyper.gateway.stream_routes import serving_stream
            from snyper.streams.demonstration import DemonstrationSignal
            from snyper.streams.packet import NoSignal

            source = DemonstrationSignal() if demo_signal else NoSignal()
            faces.append(partial(serving_stream, source=source))
        server.run(faces, ready)
