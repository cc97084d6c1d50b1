"""Streams of numbers over the link, beside what sockets can: direct, through a hub, from a board."""

import asyncio
import os
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import snyper
from snyper.boards import image
from snyper.boards.temporary import temporary_directory
from snyper.client import HubClient
from snyper.shared.link import Link
from snyper.shared.runtime import MAX_CHUNK_BYTES, Stream, close_server, listen
from snyper.streams.subscriber import StreamReader
from tools.bench.processes import PROGRAMS, line_of, on_cpython, on_micropython, running, take_precedence
from tools.bench.rounds import Row, alternate, row

BLOCK_BYTES = 524_288
BOARD_BLOCK_BYTES = 16_384  # 4,096 samples
Command = Callable[..., list[str]]


async def stream_rows(rounds: int, size: int = 64 << 20, board_size: int = 16 << 20) -> list[Row]:
    """Measure in `rounds` alternating repetitions. Raises OSError."""
    rows = []
    gaps: list[float] = []
    async with _hub() as hub:
        port = int(await line_of(hub))

        async def through_hub() -> float:
            await _longest_gap(hub)  # that of what the others did
            found = await _through_hub(port, size)
            gaps.append(await _longest_gap(hub))
            return found

        taken = await alternate(
            rounds,
            {
                "raw": lambda: _raw(on_cpython, {}, size, BLOCK_BYTES),
                "direct": lambda: _direct(on_cpython, {}, size, BLOCK_BYTES),
                "hub": through_hub,
                "proxy": lambda: _raw_through_proxy(size),
            },
        )
    what = f"{size >> 20} MiB of a stream"
    rows.append(row(f"{what}, over a raw socket", taken["direct"], taken["raw"], "MB/s", 0, "0.5"))
    rows.append(row("the same through a hub, over direct", taken["hub"], taken["direct"], "MB/s", 0, "0.5"))
    what = "the same, over a proxy that keeps as much"
    rows.append(row(what, taken["hub"], taken["proxy"], "MB/s", 0))
    rows.append(row("its 20 ms tick meanwhile, longest gap", [max(gaps)], [20.0], "ms", 1, "1.25"))
    with temporary_directory("snyper-bench-") as directory:
        image.stage("target", directory, {}, PROGRAMS / "stream_source.py")
        env = {"MICROPYPATH": f"{directory / 'lib'}{os.pathsep}.frozen"}
        board = await alternate(
            rounds,
            {
                "raw": lambda: _raw(on_micropython, env, board_size, BOARD_BLOCK_BYTES),
                "asyncio": lambda: _over_asyncio(env, board_size),
                "direct": lambda: _direct(on_micropython, env, board_size, BOARD_BLOCK_BYTES),
            },
        )
    what = "4,096 samples at a time from a board, over its raw socket"
    rows.append(row(what, board["direct"], board["raw"], "MB/s", 0, "0.7"))
    what = "the same, over asyncio's streams at both ends"
    rows.append(row(what, board["direct"], board["asyncio"], "MB/s", 0))
    return rows


async def _raw(on_engine: Command, env: dict[str, str], size: int, block_bytes: int) -> float:
    """Return the MB/s at which raw bytes come."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = on_engine("stream_source", "raw", server.getsockname()[1], size, block_bytes)
        async with running(*command, env=env):
            return await asyncio.to_thread(_read_raw, server, size)


async def _raw_through_proxy(size: int) -> float:
    """Return the MB/s at which raw bytes come through a process that keeps the last of them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        async with running(*on_cpython("stream_proxy", server.getsockname()[1], BLOCK_BYTES)) as proxy:
            take_precedence(proxy.pid)
            command = on_cpython("stream_source", "raw", int(await line_of(proxy)), size, BLOCK_BYTES)
            async with running(*command):
                return await asyncio.to_thread(_read_raw, server, size)


async def _over_asyncio(env: dict[str, str], size: int) -> float:
    """Return the MB/s at which blocks come from a board to who reads each by asyncio's own streams."""
    found: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(BOARD_BLOCK_BYTES)
        began = time.perf_counter()
        for _ in range(size // BOARD_BLOCK_BYTES - 1):
            await reader.readexactly(BOARD_BLOCK_BYTES)
        found.set_result(size / (time.perf_counter() - began) / 1e6)
        writer.close()

    server = await asyncio.start_server(read, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with running(*on_micropython("stream_source", "raw", port, size, BOARD_BLOCK_BYTES), env=env):
            return await asyncio.wait_for(found, 60)


def _read_raw(server: socket.socket, size: int) -> float:
    server.settimeout(60)
    sock = server.accept()[0]
    with sock:
        buffer = bytearray(BLOCK_BYTES)
        came = sock.recv_into(buffer)
        began = time.perf_counter()
        while came < size:
            came += sock.recv_into(buffer)
        took_s = time.perf_counter() - began
        sock.send(b".")
    return size / took_s / 1e6


async def _direct(on_engine: Command, env: dict[str, str], size: int, block_bytes: int) -> float:
    """Return the MB/s at which samples come over a link to their source."""
    found: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def read(stream: Stream) -> None:
        link = Link(stream, {}, "source")
        link.is_quiet = True
        link.peer_max_chunk_bytes = MAX_CHUNK_BYTES
        client = HubClient(link, "")
        link.start(lambda link: None)
        try:
            found.set_result(await _speed_of(client.read_stream("source/numbers"), size))
        finally:
            link.end()
            await link.let_go()

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    listening = await listen(read, "127.0.0.1", port, 1, lambda: True)
    try:
        async with running(*on_engine("stream_source", "direct", port, size, block_bytes), env=env):
            return await asyncio.wait_for(found, 60)
    finally:
        await close_server(listening)


async def _through_hub(port: int, size: int) -> float:
    """Return the MB/s at which samples come through a hub."""
    async with snyper.connect(f"127.0.0.1:{port}", "") as client:
        reader = client.read_stream("source/numbers", wait=True)
        coming = asyncio.create_task(_speed_of(reader, size))
        async with running(*on_cpython("stream_source", "hub", port, size, BLOCK_BYTES)):
            return await asyncio.wait_for(coming, 60)


async def _speed_of(reader: StreamReader, size: int) -> float:
    came, began = 0, 0.0
    async for block in reader:
        if not came:
            began = time.perf_counter()
        came += block.samples.nbytes
        assert not block.lost, f"{block.lost} samples are lost"
        if came >= size:
            break
    return size / (time.perf_counter() - began) / 1e6


async def _longest_gap(hub: Process) -> float:
    assert hub.stdin is not None
    hub.stdin.write(b"\n")
    return float(await line_of(hub))


@asynccontextmanager
async def _hub() -> AsyncIterator[Process]:
    command = (sys.executable, "-m", "tools.bench.programs.stream_hub")
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    take_precedence(process.pid)  # its tick waits for itself, and not for who sends and reads
    try:
        yield process
    finally:
        process.kill()
        await process.communicate()
