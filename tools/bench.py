"""Measures the link against the least that could do the job, in one run, as ratios: `make bench`.

Both ends are pinned to one CPU where the system allows it; baseline and SNYPER alternate, and medians count.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from snyper.boards.board import BoardProcess, find_micropython
from snyper.boards.temporary import temporary_directory
from snyper.firmware.master.router import Result
from snyper.firmware.master.server import Hub
from snyper.shared.socket_protocol import ALL_TARGETS, MessageType
from tools.loopback import free_port

COMMAND_TIMEOUT_MS = 10_000
T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[1]
LINE = b'{"type":"ping","id":"0123abcd-1234"}\n'
HANGING = 4
VANISHING = 2
ANSWERING = 2

_ECHO = """
import asyncio
async def serve(reader, writer):
    writer.s.setsockopt(6, 1, 1)
    while True:
        data = await reader.read(512)
        if not data:
            break
        writer.write(data)
        await writer.drain()
async def main():
    await asyncio.start_server(serve, "127.0.0.1", PORT)
    await asyncio.Event().wait()
asyncio.run(main())
"""

_ECHO_PEERS = """
import asyncio, sys
class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)
async def main():
    loop = asyncio.get_running_loop()
    for _ in range(int(sys.argv[2])):
        await loop.create_connection(Echo, "127.0.0.1", int(sys.argv[1]))
    await asyncio.Event().wait()
asyncio.run(main())
"""

_TARGETS = """
import asyncio, sys
from snyper.boards.simulator import simulate
asyncio.run(simulate(int(sys.argv[2]), "cpython", "127.0.0.1:" + sys.argv[1]))
"""


class RawPeer(asyncio.Protocol):
    """The least: a line out, the same line back."""

    def __init__(self, on_line: Callable[[], None]) -> None:
        self._on_line = on_line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._on_line()


def percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


# --- (a) one PING


async def _ping(hub: Hub, target: str) -> list[Result]:
    return await hub.controller.start(MessageType.PING, target, None, COMMAND_TIMEOUT_MS).results()


async def ping_ratios(rounds: int, pings: int) -> list[tuple[str, str, str, str]]:
    """p50 and p99 of a PING to a MicroPython target over a raw asyncio echo on MicroPython."""
    async with _raw_echo() as raw, _hub_with_target() as hub:
        times: dict[str, list[list[float]]] = {"raw": [], "snyper": []}
        for _ in range(rounds):
            times["raw"].append(await _time_each(raw, pings))
            times["snyper"].append(await _time_each(lambda: _ping(hub, "target_1"), pings))
    rows = []
    for percent in (50, 99):
        raw_us = [percentile(batch, percent) for batch in times["raw"]]
        snyper_us = [percentile(batch, percent) for batch in times["snyper"]]
        ratio = statistics.median(ours / theirs for ours, theirs in zip(snyper_us, raw_us, strict=True))
        rows.append(
            (
                f"PING p{percent}, over a raw asyncio echo",
                f"{statistics.median(raw_us):.0f} µs",
                f"{statistics.median(snyper_us):.0f} µs",
                f"{ratio:.2f}",
            )
        )
    return rows


async def _time_each(call: Callable[[], Awaitable[object]], count: int) -> list[float]:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        await call()
        times.append((time.perf_counter() - began) * 1e6)
    return times


@asynccontextmanager
async def _raw_echo() -> AsyncIterator[Callable[[], Awaitable[object]]]:
    port = free_port()
    loop = asyncio.get_running_loop()
    answered = loop.create_future()

    def on_line() -> None:
        answered.set_result(None)

    async def call() -> None:
        nonlocal answered
        answered = loop.create_future()
        peer.transport.write(LINE)
        await answered

    script = _ECHO.replace("PORT", str(port))
    async with _running(find_micropython(), "-X", "heapsize=180K", "-c", script):
        _, peer = await _when_up(lambda: loop.create_connection(lambda: RawPeer(on_line), "127.0.0.1", port))
        try:
            yield call
        finally:
            peer.transport.close()


@asynccontextmanager
async def _running(*command: str | Path, env: dict[str, str] | None = None) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, cwd=ROOT, env=env
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _when_up(dial: Callable[[], Awaitable[T]]) -> T:
    """What `dial` returns, once whoever it dials listens."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return await dial()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)


@asynccontextmanager
async def _hub_with_target() -> AsyncIterator[Hub]:
    hub = Hub("127.0.0.1", 0, 4, 1)
    await hub.start()
    with temporary_directory("snyper-bench-") as directory:
        board = BoardProcess(Path(directory), "target", {"hub": [f"127.0.0.1:{hub.port}"]})
        registered = asyncio.Event()
        stop_listening = hub.controller.events.listen(lambda *event: registered.set())
        board.start()
        try:
            await asyncio.wait_for(registered.wait(), 10)
            stop_listening()
            yield hub
        finally:
            await hub.stop()
            board.kill()


# --- (b) the tick of the hub's screen


def tick_row(engine: str, seconds: int) -> tuple[str, str, str, str]:
    """The longest gap of the hub's 20 ms tick while most of its targets hang or vanish."""
    result = measure_tick(engine, seconds)
    return (
        f"20 ms tick of a {engine} hub, {result['commands']} commands to 8 targets of which 6 are dead",
        "20 ms",
        f"{result['longest_gap_ms']:.1f} ms",
        f"{result['longest_gap_ms'] / 20:.2f}",
    )


def measure_tick(engine: str, seconds: int) -> dict[str, float]:
    """Runs `hub_ticker` with two targets that answer, four that accept and never do, two that vanish.

    Returns what it prints. Raises OSError, TimeoutError.
    """
    return asyncio.run(_measure_tick(engine, seconds))


async def _measure_tick(engine: str, seconds: int) -> dict[str, float]:
    port = free_port()
    if engine == "micropython":
        command: list[str | Path] = [find_micropython(), "-X", "heapsize=180K", "tools/hub_ticker.py"]
    else:
        command = [sys.executable, "-m", "tools.hub_ticker"]
    targets = ANSWERING + HANGING + VANISHING
    env = {**os.environ, "MICROPYPATH": f"{ROOT / 'host'}{os.pathsep}.frozen"}
    async with _running(*command, str(port), str(targets), str(seconds), env=env) as process:
        peers = [
            asyncio.create_task(_play_target(port, number, number < ANSWERING, number < ANSWERING + HANGING))
            for number in range(targets)
        ]
        try:
            async with asyncio.timeout(seconds + 30):
                output, _ = await process.communicate()
        finally:
            for peer in peers:
                peer.cancel()
            await asyncio.gather(*peers, return_exceptions=True)
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


async def _play_target(port: int, number: int, answers: bool, lives: bool) -> None:
    """A target that answers everything, or only PING ("hangs"), or after registering nothing ("vanishes")."""
    reader, writer = await _when_up(lambda: asyncio.open_connection("127.0.0.1", port))
    writer.write(json.dumps({"type": "register", "id": 0, "target_id": f"t{number}"}).encode() + b"\n")
    try:
        while line := await reader.readline():
            message = json.loads(line)
            if message["type"] == "ping" and lives:
                reply = {"type": "pong", "id": message["id"]}
            elif message["type"] == "stand_up" and answers:
                reply = {"type": "standing", "id": message["id"]}
            else:
                continue
            writer.write(json.dumps(reply).encode() + b"\n")
    except ConnectionResetError:
        return
    finally:
        writer.close()


# --- (c) one command to many


async def fan_out_row(targets: int, rounds: int) -> tuple[str, str, str, str]:
    """The hub's CPU time from one command to `targets` until the last reply, over raw echoes."""
    async with _raw_peers(targets) as raw, _hub_with_targets(targets) as hub:

        async def command() -> None:
            results = await _ping(hub, ALL_TARGETS)
            assert sum(result.ok for result in results) == targets

        raw_ms, snyper_ms = [], []
        for _ in range(rounds):
            raw_ms.append(await _cpu_ms(raw))
            snyper_ms.append(await _cpu_ms(command))
    ratio = statistics.median(ours / theirs for ours, theirs in zip(snyper_ms, raw_ms, strict=True))
    return (
        f"hub CPU for one command to {targets} targets, over raw echoes",
        f"{statistics.median(raw_ms):.1f} ms",
        f"{statistics.median(snyper_ms):.1f} ms",
        f"{ratio:.2f}",
    )


async def _cpu_ms(call: Callable[[], Awaitable[object]]) -> float:
    began = time.process_time()
    await call()
    return (time.process_time() - began) * 1000


@asynccontextmanager
async def _raw_peers(count: int) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    loop = asyncio.get_running_loop()
    peers: list[RawPeer] = []
    waiting = 0
    done = asyncio.Event()

    def on_line() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            done.set()

    def make() -> RawPeer:
        peer = RawPeer(on_line)
        peers.append(peer)
        if len(peers) == count:
            done.set()
        return peer

    server = await loop.create_server(make, "127.0.0.1", 0, backlog=count)
    port = server.sockets[0].getsockname()[1]
    async with _running(sys.executable, "-c", _ECHO_PEERS, str(port), str(count)):
        try:
            await asyncio.wait_for(done.wait(), 30)

            async def call() -> None:
                nonlocal waiting
                waiting = count
                done.clear()
                for peer in peers:
                    peer.transport.write(LINE)
                await done.wait()

            yield call
        finally:
            server.close()


@asynccontextmanager
async def _hub_with_targets(count: int) -> AsyncIterator[Hub]:
    hub = Hub("127.0.0.1", 0, count, 1)
    await hub.start()
    all_here = asyncio.Event()

    def on_event(*event: object) -> None:
        if len(hub.controller.registry.connected()) == count:
            all_here.set()

    stop_listening = hub.controller.events.listen(on_event)
    async with _running(sys.executable, "-c", _TARGETS, str(hub.port), str(count)):
        try:
            await asyncio.wait_for(all_here.wait(), 60)
            stop_listening()
            yield hub
        finally:
            await hub.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure SNYPER against raw asyncio, as ratios.")
    parser.add_argument("--rounds", type=int, default=15, help="alternating repetitions (15)")
    parser.add_argument("--targets", type=int, default=1000, help="for the fan-out (1000)")
    parser.add_argument("--seconds", type=int, default=10, help="for each tick measurement (10)")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    console = Console()
    table = Table("what", "baseline", "SNYPER", "ratio", title="medians of alternating repetitions")
    console.print("bench: one PING")
    for row in asyncio.run(ping_ratios(arguments.rounds, 300)):
        table.add_row(*row)
    for engine in ("micropython", "cpython"):
        console.print(f"bench: the tick of a {engine} hub, {arguments.seconds} s")
        table.add_row(*tick_row(engine, arguments.seconds))
    console.print(f"bench: one command to {arguments.targets} targets")
    table.add_row(*asyncio.run(fan_out_row(arguments.targets, arguments.rounds)))
    console.print(table)


if __name__ == "__main__":
    main()
