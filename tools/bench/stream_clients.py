"""The demonstration signal to stock clients of its WebSocket: what a packet to one of them takes of the
server's CPU, over a server as people write it with FastAPI. Both serve at the same time.
"""

import asyncio
import json
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tools.bench.processes import cpu_seconds, line_of, on_cpython, running
from tools.bench.rounds import Row, row

CLIENTS = 50
AIM = "0.5"
_ROUND_S = 1.0


async def stream_client_rows(clients: int, rounds: int) -> list[Row]:
    """Measure `rounds` seconds of it. Linux only. Raises OSError."""
    async with AsyncExitStack() as stack:
        sides = [await stack.enter_async_context(side(clients)) for side in (_ours, _plain)]
        taken: list[list[float]] = [[], []]
        before = [await _state(*side) for side in sides]
        for _ in range(rounds):
            await asyncio.sleep(_ROUND_S)
            after = [await _state(*side) for side in sides]
            for times, (cpu_s, packets), (cpu_before_s, packets_before) in zip(
                taken, after, before, strict=True
            ):
                times.append((cpu_s - cpu_before_s) / (packets - packets_before) * 1e6)
            before = after
    measured, floor = taken
    what = f"server CPU for a packet to each of {clients} WebSockets, over FastAPI"
    return [row(what, measured, floor, "µs", 0, AIM)]


async def _state(server: Process, clients: Process) -> tuple[float, int]:
    """Return the CPU time of a server so far, and how many packets its clients have."""
    assert clients.stdin is not None
    clients.stdin.write(b"\n")
    return cpu_seconds(server.pid), int(await line_of(clients))


@asynccontextmanager
async def _ours(clients: int) -> AsyncIterator[tuple[Process, Process]]:
    listen = ("--demo-signal", "--listen", "127.0.0.1:0", "--json")
    async with running(sys.executable, "-m", "snyper.cli", "gateway", *listen, quiet=True) as server:
        url = json.loads(await line_of(server))["urls"][0]
        async with _clients(url.replace("http", "ws"), clients) as listening:
            yield server, listening


@asynccontextmanager
async def _plain(clients: int) -> AsyncIterator[tuple[Process, Process]]:
    async with running(*on_cpython("plain_stream")) as server:
        port = int(await line_of(server))
        async with _clients(f"ws://127.0.0.1:{port}", clients) as listening:
            yield server, listening


@asynccontextmanager
async def _clients(url: str, count: int) -> AsyncIterator[Process]:
    async with running(*on_cpython("stream_clients", f"{url}/ws/stream", count)) as process:
        await line_of(process)
        yield process
