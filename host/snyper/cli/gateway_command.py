"""`snyper gateway`: a hub, arrays, a signal and cameras, over HTTP."""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snyper.cli import extras
from snyper.cli.commands import Json, hub_address, stream_name
from snyper.cli.output import err, fail
from snyper.cli.serve_command import DEFAULT_LISTEN, Name
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
from snyper.client import DEFAULT_HUB, ReconnectingClient
from snyper.shared.socket_protocol import is_target_id
from snyper.system.process import EXIT_USAGE, loading
from snyper.system.streams import print_json
from snyper.system.text import one_line

if TYPE_CHECKING:
    from snyper.cameras.rules import Rules
    from snyper.cameras.service import Cameras
    from snyper.gateway.app import Face, Gateway
    from snyper.gateway.camera_keys import CameraKeys
    from snyper.streams.packet import PacketSource


_ORIGIN = re.compile(r"(([a-z][a-z0-9+.-]*)://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+))(:\d+)?/?")
_OWN_PORTS = {"http": ":80", "https": ":443"}  # which browsers leave out

ServedHub = Annotated[
    str | None,
    typer.Option(
        "--hub",
        envvar="SNYPER_HUB",
        metavar="[tls://]HOST:PORT",
        help=f"The hub; without --arrays, --demo-signal and --cameras {DEFAULT_HUB}.",
        callback=lambda text: text and hub_address(text),
        show_default=False,
    ),
]
Listen = Annotated[
    list[str],
    typer.Option(
        metavar="HOST:PORT",
        help="Where to serve; :PORT is every address. May be repeated.",
        callback=addresses,
    ),
]
Arrays = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Store arrays in it, and serve them.", file_okay=False),
]
DemoSignal = Annotated[
    bool, typer.Option("--demo-signal", help="Serve the demonstration signal at /ws/stream.")
]
Stream = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE/STREAM", help="Serve this stream of the hub at /ws/stream.", parser=stream_name
    ),
]
Channel = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Which of the stream's channels, or all; by default the first."),
]
CamerasFolder = Annotated[
    Path | None,
    typer.Option(
        "--cameras", metavar="FOLDER", help="Keep what cameras send in it, and serve it.", file_okay=False
    ),
]
Database = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Keep the records of cameras in postgresql://…, not in SQLite."),
]
Zone = Annotated[
    str,
    typer.Option(
        metavar="ZONE", help="Where it is 'today' for cameras, and what stamps without a zone mean."
    ),
]


def _origin(text: str) -> str:
    """Return an origin as browsers send it, or end with wrong usage."""
    found = _ORIGIN.fullmatch(text.lower())
    if found is None and text not in ("*", "null"):
        example = "https://lab.example or http://10.0.0.7:8080"
        fail(f"--origin is a scheme and a host, such as {example}, not {one_line(text)}", EXIT_USAGE)
    if found is None:
        return text
    return found[1] + ("" if found[3] in (None, _OWN_PORTS.get(found[2])) else found[3])


Origin = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ORIGIN",
        help="Pages of other sites that may use the cameras, such as https://lab.example, or '*'. May be"
        " repeated. By default any page where there is a key or --open, else those of this computer.",
        callback=lambda given: given and [_origin(one) for one in given],
    ),
]

Grant = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=CAMERA",
        help="A camera that the hub's device key NAME speaks for, beside NAME and NAME/…. May be repeated.",
    ),
]
RulesFile = Annotated[
    Path | None,
    typer.Option(
        "--rules",
        metavar="FILE",
        help="Rules by which what cameras tell has the hub cease fire (TOML).",
        dir_okay=False,
    ),
]


def gateway(
    hub: ServedHub = None,
    listen: Listen = [DEFAULT_LISTEN],  # noqa: B006 - which nobody changes
    arrays: Arrays = None,
    demo_signal: DemoSignal = False,
    stream: Stream = None,
    channel: Channel = None,
    cameras: CamerasFolder = None,
    database: Database = None,
    zone: Zone = "UTC",
    origin: Origin = None,
    grant: Grant = None,
    rules: RulesFile = None,
    name: Name = None,
    key_file: KeyFile = None,
    is_open: Open = False,
    certificate: Certificate = None,
    certificate_key: CertificateKey = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Serve a hub, arrays, a signal and cameras over HTTP until Ctrl-C, to programs that do not speak its
    protocol.
    """
    if cameras is not None:
        extras.need("cameras", "serving cameras")  # which brings that of a gateway, too
    extras.need("gateway", "serving over HTTP")
    if stream is not None and demo_signal:
        fail("one signal: --stream or --demo-signal", EXIT_USAGE)
    if channel is not None and stream is None:
        fail("--channel is one of --stream SOURCE/STREAM", EXIT_USAGE)
    if name is not None and arrays is None:
        fail("--name is what --arrays FOLDER is called at the hub", EXIT_USAGE)
    if cameras is None and (database is not None or origin or grant or rules is not None):
        fail("--database, --origin, --grant and --rules are of --cameras FOLDER", EXIT_USAGE)
    if rules is not None and hub is None:
        fail("--rules have a hub cease fire: say which with --hub HOST:PORT", EXIT_USAGE)
    serves_itself = arrays is not None or demo_signal or cameras is not None
    if hub is None and (stream is not None or name is not None or not serves_itself):
        hub = DEFAULT_HUB
    if database is not None:
        extras.need("postgresql", "keeping records in PostgreSQL")
    if arrays is not None or demo_signal or stream is not None:
        extras.need("arrays", "storing arrays" if arrays is not None else "serving a signal")
    from snyper.gateway.limits import ARRAY_LIMITS, CAMERA_LIMITS, LIMITS

    camera_keys = _camera_keys(cameras, grant or ())
    has_more_keys = camera_keys is not None and camera_keys.has_keys
    access = Access(key_file, is_open, certificate, certificate_key, has_more_keys)
    with starting(listen, access, limits_of({**LIMITS, **ARRAY_LIMITS, **CAMERA_LIMITS}, limit)) as server:

        def ready() -> None:
            if as_json:
                print_json({"urls": server.urls, "hub": hub})
            to_hub = f" to the hub at {hub}" if hub else ""
            as_name = f" as {name}" if name else ""
            err.print(f"gateway: {' '.join(server.urls)}{to_hub}{as_name}; Ctrl-C stops it")

        faces: list[Face] = []
        client = None
        if hub is not None:
            from snyper.gateway.hub_routes import serving_hub

            client = ReconnectingClient(hub)
            faces.append(partial(serving_hub, hub=client, address=hub))
        if arrays is not None or demo_signal or stream is not None:
            source = _source(client, stream, channel, demo_signal)
            faces.append(partial(_arrays_face, folder=arrays, source=source, hub=hub, name=name))
        if cameras is not None and camera_keys is not None:
            with loading():
                from snyper.gateway.cameras import ANY_PAGE, serving_cameras

            pages = origin or ([ANY_PAGE] if server.keys or has_more_keys or is_open else [])
            kept = partial(
                serving_cameras,
                folder=cameras,
                database=database,
                zone=zone,
                origins=pages,
                keys=camera_keys,
                ruled=_ruled(rules, client),
            )
            faces.append(partial(_cameras_face, serving=kept, hub=hub, grants=camera_keys))
        server.run(faces, ready)


def _ruled(file: Path | None, client: ReconnectingClient | None) -> "tuple[Rules, ReconnectingClient] | None":
    """Return the rules of a file with the hub that they have cease fire, or end with wrong usage."""
    from snyper.cameras.rules import read_rules

    if file is None or client is None:
        return None
    try:
        return read_rules(file.read_text(encoding="utf-8")), client
    except OSError as error:
        fail(f"{file}: {error.strerror}", EXIT_USAGE)
    except ValueError as error:  # UnicodeDecodeError is one
        fail(f"{file}: {error}", EXIT_USAGE)


def _camera_keys(folder: Path | None, given: Sequence[str]) -> "CameraKeys | None":
    """Return the keys of the cameras in a folder with what was granted beside, or end with wrong usage."""
    if folder is None:
        return None
    from snyper.cameras.grants import FILE
    from snyper.gateway.camera_keys import CameraKeys

    try:
        return CameraKeys(folder / FILE, _grants(given))
    except (OSError, ValueError) as error:
        fail(one_line(str(error)), EXIT_USAGE)


def _grants(given: Iterable[str]) -> dict[str, list[str]]:
    """Return the cameras that each key speaks for, or end with wrong usage."""
    grants: dict[str, list[str]] = {}
    for one in given:
        name, _, camera = one.partition("=")
        if not is_target_id(name) or not camera:
            fail(f"--grant is NAME=CAMERA, a key of the hub and a camera, not {one}", EXIT_USAGE)
        grants.setdefault(name, []).append(camera)
    return grants


@asynccontextmanager
async def _cameras_face(
    gateway: "Gateway",
    serving: "Callable[[Gateway], AbstractAsyncContextManager[Cameras]]",
    hub: str | None,
    grants: "CameraKeys",
) -> AsyncIterator[None]:
    """Serve cameras for the block, over HTTP and, where there is one, through a hub."""
    from snyper.gateway.camera_link import cameras_at_hub

    async with AsyncExitStack() as stack:
        cameras = await stack.enter_async_context(serving(gateway))
        if hub is not None:
            await stack.enter_async_context(cameras_at_hub(gateway, cameras, hub, grants=grants))
        yield


def _source(
    client: ReconnectingClient | None, stream: str | None, channel: str | None, demo_signal: bool
) -> "PacketSource":
    from snyper.streams.demonstration import DemonstrationSignal
    from snyper.streams.link_signal import LinkSignal
    from snyper.streams.packet import NoSignal

    if client is not None and stream is not None:
        return LinkSignal(client, stream, channel)
    return DemonstrationSignal() if demo_signal else NoSignal()


@asynccontextmanager
async def _arrays_face(
    gateway: "Gateway", folder: Path | None, source: "PacketSource", hub: str | None, name: str | None
) -> AsyncIterator[None]:
    """Serve arrays and a signal for the block, over HTTP and, with a name there, through a hub."""
    from snyper.gateway.array_routes import serving_arrays
    from snyper.gateway.stream_routes import serving_stream

    async with AsyncExitStack() as stack:
        delivery = await stack.enter_async_context(serving_stream(gateway, source))
        if folder is not None:
            stored = await stack.enter_async_context(serving_arrays(gateway, folder))
            if hub is not None and name is not None:
                from snyper.gateway.array_service import arrays_at_hub

                await stack.enter_async_context(arrays_at_hub(gateway, stored, delivery, hub, name))
        yield
