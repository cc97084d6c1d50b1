"""The faces of cameras together: opened, served over REST and Socket.IO, closed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from snyper.cameras.retention_file import FILE, read_retention
from snyper.cameras.rules import Rules
from snyper.cameras.service import Cameras, opened
from snyper.cameras.silence import read_expectations
from snyper.client import ReconnectingClient
from snyper.device.addresses import is_loopback
from snyper.device.serving.exchange import Refusal
from snyper.gateway.app import Gateway
from snyper.gateway.camera_events import CameraEvents, overloaded
from snyper.gateway.camera_keys import CameraKeys
from snyper.gateway.camera_routes import CameraRoutes
from snyper.gateway.camera_rules import CameraRules
from snyper.gateway.log_routes import LogRoutes
from snyper.gateway.record_routes import RecordRoutes
from snyper.gateway.socket_io import PATH, SocketServer
from snyper.shared.runtime import end_task
from snyper.system.process import give_memory_back

T = TypeVar("T")
ANY_PAGE = "*"
EXPECTED = "cameras.toml"
_UNANSWERED = "does not answer"


@asynccontextmanager
async def serving_cameras(
    gateway: Gateway,
    folder: Path,
    database: str | None,
    zone: str,
    origins: Collection[str],
    keys: CameraKeys,
    ruled: tuple[Rules, ReconnectingClient] | None = None,
) -> AsyncIterator[Cameras]:
    """Serve cameras for the block, to pages of `origins` too: ANY_PAGE for any; without any of them, to pages
    of this computer. What `keys` may do is judged by them. `zone` has today. What is expected of single
    cameras stands in EXPECTED in `folder`, how long all is kept in FILE. `ruled` are rules, and the hub that
    they have cease fire. Raises OSError, ValueError.
    """
    give_memory_back()
    expected = await asyncio.to_thread(_read, folder / EXPECTED, read_expectations)
    retention = await asyncio.to_thread(_read, folder / FILE, read_retention)
    async with opened(folder, database, zone=zone, expectations=expected, retention=retention) as cameras:
        server = SocketServer(gateway, overloaded)
        events = CameraEvents(cameras, server, keys)
        server.add_to(gateway)
        CameraRoutes(gateway, cameras, keys, lambda: server.count).add_to(gateway)
        RecordRoutes(gateway, cameras, keys).add_to(gateway)
        if keys.has_keys:
            gateway.guard.take_more_keys(keys.name_of)
        gateway.guard.confine(keys.is_limited, _is_ours)
        gateway.guard.welcome(lambda path, origin: _is_ours(path) and _is_welcome(origin, origins))
        gateway.add_state(
            lambda: {
                "clients": server.count,
                "packets_dropped": server.dropped,
                **({} if cameras.is_answered else {"database": _UNANSWERED}),
                **({} if cameras.clock_doubt is None else {"clock": cameras.clock_doubt}),
            },
            partial(_ready, cameras),
        )
        tasks = [asyncio.create_task(events.tell()), asyncio.create_task(server.watch())]
        tasks.append(asyncio.create_task(keys.watch(server.cut)))
        rules = None
        if ruled is not None:
            rules = CameraRules(ruled[0], cameras, ruled[1])
            cameras.judge = rules.judge
            tasks.append(asyncio.create_task(rules.watch()))
        LogRoutes(cameras, keys, () if rules is None else rules.rules).add_to(gateway)
        try:
            yield cameras
        finally:
            await server.end()
            for task in tasks:
                await end_task(task)


async def _ready(cameras: Cameras) -> dict[str, object]:
    if not await cameras.answers():
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"the database of the cameras {_UNANSWERED}")
    return {}


def _read(file: Path, read: Callable[[str], T]) -> T:
    """Read a file of settings; one that is not there is as an empty one."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    try:
        return read(text)
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"{file}: {error}") from None


def _is_ours(path: str) -> bool:
    return path == "/" or path.startswith(("/api/", PATH.rstrip("/")))


def _is_welcome(origin: str, origins: Collection[str]) -> bool:
    if origins:
        return ANY_PAGE in origins or origin in origins
    try:
        return is_loopback(urlsplit(origin).hostname or "")
    except ValueError:
        return False
