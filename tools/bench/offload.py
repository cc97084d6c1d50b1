"""Files and JSON through `snyper serve`, over FastAPI as people write it, both asked by httpx.

The memory is that by which a server's peak grows over its start, while 10 MB go there and back.
"""

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx

from tools.bench.processes import PROGRAMS, line_of, on_cpython, running
from tools.bench.rounds import Row, alternate, percentile, row

FILE_BYTES = 10_000_000
FILE_AIM = "1.0"
MEMORY_AIM = "0.1"
JSON_AIM = "1.2"
HEALTH_AIM_MS = 50
_HOST = "http://127.0.0.1"


async def offload_rows(rounds: int, requests: int, file_bytes: int = FILE_BYTES) -> list[Row]:
    """Measure all of it in `rounds` alternating batches of `requests`. Raises OSError."""
    content = os.urandom(file_bytes)
    async with _plain() as (plain_url, plain), _ours() as (our_url, ours):
        servers = {"floor": (plain_url, plain.pid), "measured": (our_url, ours.pid)}
        async with httpx.AsyncClient(timeout=60) as client:
            for url, _ in servers.values():  # what is loaded with the first request is no one request's
                await _send_file(client, url, content[:1000])
                await _send_json(client, url)
            before = {name: _peak_kb(pid) for name, (_, pid) in servers.items()}
            files = await alternate(
                rounds,
                {
                    name: partial(_time, partial(_send_file, client, url, content))
                    for name, (url, _) in servers.items()
                },
            )
            grown = {
                name: [max(0.1, _peak_kb(pid) / 1000 - before[name] / 1000)]
                for name, (_, pid) in servers.items()
            }
            small = await alternate(
                rounds,
                {
                    name: partial(_times, partial(_send_json, client, url), requests)
                    for name, (url, _) in servers.items()
                },
            )
            health_ms = await _health_while_busy(client, our_url, requests)
    p50 = {name: [percentile(batch, 50) for batch in batches] for name, batches in small.items()}
    return [
        row(
            f"{file_bytes // 1_000_000} MB over HTTP there and back",
            files["measured"],
            files["floor"],
            "ms",
            1,
            FILE_AIM,
        ),
        row("its memory, of the server", grown["measured"], grown["floor"], "MB", 1, MEMORY_AIM),
        row("small JSON over HTTP, p50", p50["measured"], p50["floor"], "ms", 2, JSON_AIM),
        Row("/health, all workers busy, p99", "", f"{health_ms:.1f} ms", "", f"{HEALTH_AIM_MS} ms"),
    ]


@asynccontextmanager
async def _plain() -> AsyncIterator[tuple[str, Process]]:
    async with running(*on_cpython("plain_services")) as process:
        yield f"{_HOST}:{int(await line_of(process))}", process


@asynccontextmanager
async def _ours() -> AsyncIterator[tuple[str, Process]]:
    services = str(PROGRAMS / "services.py")
    listen = ("--listen", "127.0.0.1:0", "--workers", "2", "--json")
    async with running(sys.executable, "-m", "snyper.cli", "serve", services, *listen, quiet=True) as process:
        yield json.loads(await line_of(process))["urls"][0], process


async def _send_file(client: httpx.AsyncClient, url: str, content: bytes) -> None:
    files = {"file": ("sensor_data.bin", content, "application/octet-stream")}
    answer = await client.post(f"{url}/api/process/file", files=files, data={"options": "default"})
    answer.raise_for_status()
    assert answer.content == content


async def _send_json(client: httpx.AsyncClient, url: str) -> None:
    payload = {"data": {"temperature": 25.3, "humidity": 60.2}, "options": {}}
    answer = await client.post(f"{url}/api/process/data", json=payload)
    answer.raise_for_status()


async def _health_while_busy(client: httpx.AsyncClient, url: str, count: int) -> float:
    """Return the 99th percentile of `/health` in ms, while both workers compute."""
    busy = [
        asyncio.create_task(client.post(f"{url}/api/busy", json={"data": 3 + number / 1000}))
        for number in range(2)
    ]
    while (await client.get(f"{url}/health")).json()["busy"] < 2:
        pass
    times = await _times(partial(client.get, f"{url}/health"), count)
    await asyncio.gather(*busy)
    return percentile(times, 99)


async def _time(request: Callable[[], Awaitable[object]]) -> float:
    return (await _times(request, 1))[0]


async def _times(request: Callable[[], Awaitable[object]], count: int) -> list[float]:
    """Take the time of each of `count` requests, in ms."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        await request()
        times.append((time.perf_counter() - began) * 1000)
    return times


def _peak_kb(pid: int) -> int:
    """Return the most memory that a process has had. Linux only (proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
