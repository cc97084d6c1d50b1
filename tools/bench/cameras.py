"""Cameras: detections with pictures, acknowledged once they are on the disk, over plain servers of
python-socketio that keep the same promise and commit each by itself; on a disk that syncs slowly; the
same beside a dashboard that does not read; health checks of many cameras.

Servers and senders have all CPUs here, which is what threads that write pictures are for.
"""

import asyncio
import base64
import json
import os
import socket
import sys
import time
import uuid
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from websockets.asyncio.client import ClientConnection, connect

from snyper.boards.temporary import temporary_directory
from snyper.services.async_caller import AsyncCaller
from snyper.services.through_hub import ThroughHub
from tools.bench.processes import cpu_seconds, line_of, on_all_cpus, on_cpython, running
from tools.bench.rounds import Row, alternate, percentile, row
from tools.bench.slow_disk import find_compiler, slower_syncs
from tools.loopback import free_port
from tools.postgresql import Cluster, find_programs

SENDERS = 32
DETECTIONS = 200  # a round
EVENTLET_PART = 5  # which takes a fifth of them: it unmasks a message byte by byte, in Python
SLOW_SYNC_MS = 5  # that of a consumer's SSD with no capacitor, or an SD card
PICTURE_BYTES = 200_000
SPEED_AIM = "3.0"
DEAF_AIM = "2.0"
HEALTH_AIM = "0.25"
HEALTH_EVERY_S = 10.0
_WEB_SOCKET = "/socket.io/?EIO=4&transport=websocket"
_DEAF_PONG_S = 2.0
_DEAF_UPDATES, _DEAF_UPDATE_BYTES = 20, 100_000  # which fill what the system keeps, and half of the queue
_OPENING = 50  # connections at a time


@dataclass(frozen=True)
class Server:
    """A server of cameras. `hub` is empty where there is none, `thumbnails` where none are made."""

    process: Process
    url: str
    hub: str = ""
    folder: Path | None = None

    def wait_until_idle(self) -> None:
        """Wait until the thumbnails of all pictures are there: they are to be in nobody else's way."""
        folder = self.folder
        while folder is not None and _count(folder / "thumbnails") < _count(folder / "pictures"):
            time.sleep(0.05)


@dataclass(frozen=True)
class Taken:
    """Figures of a round: detections a second, and the time of each in ms."""

    rate: float
    times: Sequence[float]


async def camera_rows(rounds: int, cameras: int, seconds: float, detections: int = DETECTIONS) -> list[Row]:
    """Measure detections in `rounds` alternating batches, then the health of so many cameras for so long.
    Linux only. Raises OSError.
    """
    pictures = Pictures(PICTURE_BYTES)
    with on_all_cpus():
        rows = await _detection_rows(rounds, detections, pictures)
        if find_compiler() is None:
            rows.append(Row("the same, on a disk that syncs slowly", "", "there is no C compiler (cc)", ""))
        else:
            rows += await _detection_rows(rounds, detections, pictures, SLOW_SYNC_MS)
        rows.append(await _deaf_row(rounds, detections, pictures))
        rows.append(await _health_row(cameras, seconds))
    return rows


async def _detection_rows(
    rounds: int, detections: int, pictures: "Pictures", sync_ms: float | None = None
) -> list[Row]:
    """Measure both ways into either database, where each sync takes so much longer."""
    disk = "" if sync_ms is None else f", a sync taking {sync_ms:.0f} ms more"
    async with AsyncExitStack() as stack:
        if sync_ms is not None:
            stack.enter_context(slower_syncs(sync_ms))
        plain = await stack.enter_async_context(_plain("plain_cameras"))
        ours = {"SQLite": await stack.enter_async_context(_ours())}
        postgresql = stack.enter_context(cluster())
        if postgresql is not None:
            ours["PostgreSQL"] = await stack.enter_async_context(_ours(postgresql.new_database()))
        measures = {"plain": partial(_round, plain, _emit, detections, pictures)}
        for name, server in ours.items():
            measures[f"{name}, Socket.IO"] = partial(_round, server, _emit, detections, pictures)
            measures[f"{name}, link"] = partial(_round, server, _tell, detections, pictures)
        if sync_ms is None:
            on_eventlet = await stack.enter_async_context(_plain("eventlet_cameras"))
            few = max(1, detections // EVENTLET_PART)
            measures["eventlet"] = partial(_round, on_eventlet, _emit, few, pictures)
        for measure in measures.values():  # what is made with the first is no one's
            await measure()
        taken = await alternate(rounds, measures)
    if sync_ms is not None:
        fastest_ms = min(min(one.times) for each in taken.values() for one in each)
        assert fastest_ms >= 2 * sync_ms, "a server's syncs are no slower"  # a picture's, then a commit's
    rates = {name: [one.rate for one in each] for name, each in taken.items()}
    what = f"detections with a {PICTURE_BYTES // 1_000} kB picture of {SENDERS} cameras"
    rows = [
        row(f"{what}: {name}{disk}{over}", rates[name], rates[floor], "/s", 0, SPEED_AIM)
        for floor, over in (("plain", ""), ("eventlet", ", over eventlet"))
        for name in rates
        if floor in rates and "," in name
    ]
    if postgresql is None:
        rows.append(Row(f"the same: PostgreSQL{disk}", "", "PostgreSQL is not installed", ""))
    return rows


async def _deaf_row(rounds: int, detections: int, pictures: "Pictures") -> Row:
    async with _ours() as server:
        alone = partial(_round, server, _emit, detections, pictures)
        await alone()
        beside = partial(_round_beside_the_deaf, server, detections, pictures)
        taken = await alternate(rounds, {"alone": alone, "beside": beside})
    p99 = {name: [percentile(one.times, 99) for one in each] for name, each in taken.items()}
    what = "their answer beside a dashboard that does not read, over without it, p99"
    return row(what, p99["beside"], p99["alone"], "ms", 1, DEAF_AIM)


# --- what is sent


class Pictures:
    """Pictures of a size, of which no two are the same: a comment in a JPEG differs."""

    def __init__(self, size: int) -> None:
        noise = Image.frombytes("RGB", (640, 360), os.urandom(640 * 360 * 3)).resize((1_280, 720))
        for quality in range(95, 5, -3):
            shown = BytesIO()
            noise.save(shown, "JPEG", quality=quality)
            if shown.tell() <= size:
                break
        content = shown.getvalue()
        self._begin = content[:2] + b"\xff\xfe\x00\x1a"  # a comment of 24 bytes
        self._rest = content[2:]
        self._encoded_rest = base64.b64encode(self._rest).decode()
        self._count = 0

    def next(self) -> bytes:
        """Return the next one."""
        self._count += 1
        return self._begin + b"%24d" % self._count + self._rest

    def next_encoded(self) -> str:
        """Return the next one as base64, of which all but the begin was made before."""
        self._count += 1
        return base64.b64encode(self._begin + b"%24d" % self._count).decode() + self._encoded_rest


def _detection(camera: str) -> dict[str, object]:
    return {
        "type": "detection_result",
        "camera_id": camera,
        "checkpoint_id": "gate",
        "timestamp": "2026-12-01T10:00:00Z",
        "detection_id": str(uuid.uuid4()),
        "vehicles_count": 1,
        "plates_count": 1,
        "ocr_results": [f"AB{os.urandom(2).hex()}"],
        "vehicle_detections": [{"bbox": [100, 100, 200, 200], "confidence": 0.95, "class": "car"}],
        "plate_detections": [{"bbox": [150, 150, 180, 170], "confidence": 0.92}],
    }


def _health(camera: str, message: str = "", details: str = "") -> str:
    body = {
        "type": "health_check",
        "camera_id": camera,
        "checkpoint_id": "gate",
        "component": "camera",
        "status": "healthy",
        "message": message or "Camera working normally",
        "timestamp": "2026-12-01T10:00:00Z",
        "details": {"cpu_usage": 45.2, "memory_usage": 67.8, "note": details},
    }
    return json.dumps(body)


class Sender:
    """A client of Socket.IO on a WebSocket, which says one thing after the other."""

    def __init__(self, web_socket: ClientConnection) -> None:
        self.web_socket = web_socket
        self._count = 0

    async def call(self, event: str, body: str) -> dict[str, Any]:
        """Emit an event with a body of JSON, and return what it is acknowledged with."""
        self._count += 1
        await self.web_socket.send(f'42{self._count}["{event}",{body}]')
        begin = f"43{self._count}["
        while True:
            said = await self.web_socket.recv()
            if said == "2":
                await self.web_socket.send("3")
            elif isinstance(said, str) and said.startswith(begin):
                answer: dict[str, Any] = json.loads(said[len(begin) - 1 :])[0]
                assert answer["success"], answer
                return answer


@asynccontextmanager
async def _sender(url: str, receive_bytes: int | None = None) -> AsyncIterator[Sender]:
    host, port = url.partition("://")[2].split(":")
    own = socket.socket()
    if receive_bytes is not None:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    own.setblocking(False)
    await asyncio.get_running_loop().sock_connect(own, (host, int(port)))
    async with connect(
        f"ws://{host}:{port}{_WEB_SOCKET}",
        sock=own,
        compression=None,
        proxy=None,
        ping_interval=None,
        close_timeout=0.1,
    ) as web_socket:
        await web_socket.recv()
        await web_socket.send("40")
        await web_socket.recv()
        yield Sender(web_socket)


# --- rounds

Work = Callable[[Server, list[int], Pictures, str, list[float]], Awaitable[None]]


async def _round(server: Server, work: Work, detections: int, pictures: Pictures) -> Taken:
    """Have all senders send together until so many detections are taken."""
    times: list[float] = []
    left = [detections]
    began = time.perf_counter()
    await asyncio.gather(
        *(work(server, left, pictures, f"camera_{number}", times) for number in range(SENDERS))
    )
    rate = len(times) / (time.perf_counter() - began)
    await asyncio.to_thread(server.wait_until_idle)
    return Taken(rate, times)


async def _emit(server: Server, left: list[int], pictures: Pictures, camera: str, times: list[float]) -> None:
    async with _sender(server.url) as sender:
        while left[0] > 0:
            left[0] -= 1
            head = json.dumps(_detection(camera))[:-1]
            body = f'{head}, "annotated_image": "{pictures.next_encoded()}"}}'
            began = time.perf_counter()
            await sender.call("lpr_data", body)
            times.append((time.perf_counter() - began) * 1000)


async def _tell(server: Server, left: list[int], pictures: Pictures, camera: str, times: list[float]) -> None:
    caller = AsyncCaller(ThroughHub(server.hub, "cameras", "", device=camera), None, None)
    try:
        while left[0] > 0:
            left[0] -= 1
            told = [
                str(uuid.uuid4()),
                "detection",
                _detection(camera),
                [["annotated_image", pictures.next()]],
            ]
            began = time.perf_counter()
            answers: Any = await caller.call("tell", ([told], True), {})
            assert [answer["outcome"] for answer in answers] == ["taken"], answers
            times.append((time.perf_counter() - began) * 1000)
    finally:
        await caller.close()


async def _round_beside_the_deaf(server: Server, detections: int, pictures: Pictures) -> Taken:
    async with _deaf_dashboard(server.url):
        return await _round(server, _emit, detections, pictures)


@asynccontextmanager
async def _deaf_dashboard(url: str) -> AsyncIterator[None]:
    """Join as a dashboard does, then read nothing more, when megabytes wait in the server's queue."""
    async with _sender(url, receive_bytes=4_096) as deaf, _sender(url) as teller:
        await deaf.call("join_dashboard", "{}")
        await deaf.call("join_health_room", "{}")
        deaf.web_socket.transport.pause_reading()
        ponging = asyncio.create_task(_pong(deaf.web_socket))
        for number in range(_DEAF_UPDATES):
            update = _health("talkative", f"{number}", "x" * _DEAF_UPDATE_BYTES)
            await teller.call("health_status", update)
        try:
            yield
            assert not ponging.done(), "the dashboard was cut off in the middle"
        finally:
            ponging.cancel()
            await asyncio.gather(ponging, return_exceptions=True)
            deaf.web_socket.transport.abort()


async def _pong(web_socket: ClientConnection) -> None:
    while True:
        await web_socket.send("3")
        await asyncio.sleep(_DEAF_PONG_S)


async def _health_row(cameras: int, seconds: float) -> Row:
    """Have cameras on connections of their own report every 10 s, evenly, and see what the gateway takes."""
    limits = [f"sio_clients={2 * cameras + 2}", f"connections={2 * cameras}", f"per_address={2 * cameras}"]
    words = [word for limit in limits for word in ("--limit", limit)]
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(temporary_directory("snyper-bench-"))
        process, url = await stack.enter_async_context(gateway(folder, *words))
        opening = asyncio.Semaphore(_OPENING)
        begin_s = time.perf_counter() + cameras / 200
        reporting = [
            asyncio.create_task(
                _report(url, opening, f"camera_{number}", begin_s + number * HEALTH_EVERY_S / cameras)
            )
            for number in range(cameras)
        ]
        try:
            await asyncio.sleep(begin_s + HEALTH_EVERY_S - time.perf_counter())  # all have reported once
            began_s, cpu_s = time.perf_counter(), cpu_seconds(process.pid)
            await asyncio.sleep(seconds)
            share = (cpu_seconds(process.pid) - cpu_s) / (time.perf_counter() - began_s)
            for task in reporting:
                assert not task.done(), task.exception()
        finally:
            for task in reporting:
                task.cancel()
            await asyncio.gather(*reporting, return_exceptions=True)
    what = f"share of a CPU that the health of {cameras:,} cameras takes, every {HEALTH_EVERY_S:.0f} s"
    return Row(what, "", f"{share * 100:.1f} %", f"{share:.2f}", HEALTH_AIM)


async def _report(url: str, opening: asyncio.Semaphore, camera: str, at_s: float) -> None:
    async with AsyncExitStack() as stack:
        async with opening:
            sender = await stack.enter_async_context(_sender(url))
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(at_s - time.perf_counter()):
                    while True:
                        if await sender.web_socket.recv() == "2":
                            await sender.web_socket.send("3")
            await sender.call("health_status", _health(camera))
            at_s += HEALTH_EVERY_S


# --- servers


@asynccontextmanager
async def _plain(program: str) -> AsyncIterator[Server]:
    with temporary_directory("snyper-bench-") as folder:
        async with running(*on_cpython(program, folder)) as process:
            yield Server(process, f"http://127.0.0.1:{int(await line_of(process))}")


@asynccontextmanager
async def _ours(database: str | None = None) -> AsyncIterator[Server]:
    hub = f"127.0.0.1:{free_port()}"
    words = ["--hub", hub, *(["--database", database] if database else [])]
    listen = ("hub", "--listen", hub, "--no-journal", "--json")
    with temporary_directory("snyper-bench-") as folder:
        async with running(sys.executable, "-m", "snyper.cli", *listen, quiet=True) as hub_process:
            await line_of(hub_process)
            async with gateway(folder, *words) as (process, url):
                yield Server(process, url, hub, folder)


@asynccontextmanager
async def gateway(folder: Path, *words: str) -> AsyncIterator[tuple[Process, str]]:
    """Run a gateway of the cameras in a folder; give it with its URL."""
    command = ("gateway", "--cameras", str(folder), *words, "--listen", "127.0.0.1:0", "--json")
    async with running(sys.executable, "-m", "snyper.cli", *command, quiet=True) as process:
        yield process, json.loads(await line_of(process))["urls"][0]


@contextmanager
def cluster() -> Iterator[Cluster | None]:
    """Run PostgreSQL for the block, if it is installed."""
    programs = find_programs()
    if programs is None:
        yield None
        return
    running_cluster = Cluster(programs)
    try:
        yield running_cluster
    finally:
        running_cluster.stop()


def _count(folder: Path) -> int:
    return sum(len(list(hour.iterdir())) for hour in folder.glob("*"))
