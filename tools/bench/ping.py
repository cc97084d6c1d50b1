"""One PING to a MicroPython target, over the least that asyncio's streams can do with one.

The floor: a line out of CPython's streams, and the same line back from MicroPython's. Above it, on the same
CPU and in the same rounds: the leanest JSON Lines reply, the same reply over microdot's WebSocket, and a
`ping` by the router of a running hub to a target, with all that both check and keep; then the same where both
have a key and seal each line.
"""

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from snyper.boards.board import BoardProcess
from snyper.boards.temporary import temporary_directory
from snyper.firmware.master.server import Hub
from snyper.shared.keys import KEY_BYTES
from snyper.shared.socket_protocol import MessageType
from tools.bench.hubs import until_connected
from tools.bench.processes import on_micropython, open_streams, package_for_micropython, running
from tools.bench.rounds import Row, alternate, percentile, row, time_each
from tools.loopback import free_port

Exchange = Callable[[], Awaitable[object]]

COMMAND_TIMEOUT_MS = 10_000
MESSAGE = {"type": "ping", "id": "0123abcd-1234"}
LINE = json.dumps(MESSAGE).encode() + b"\n"
PING_AIM = "2.0"
SEALED_AIM = "1.5"

_UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
_FINAL_TEXT = 0x81  # RFC 6455, section 5.2
_MASKED = 0x80


async def ping_rows(rounds: int, pings: int) -> list[Row]:
    """Measure all five in `rounds` alternating batches of `pings`. Raises OSError, ModuleNotFoundError."""
    async with AsyncExitStack() as stack:
        exchanges: dict[str, Exchange] = {
            "floor": await stack.enter_async_context(_raw_echo()),
            "json": await stack.enter_async_context(_json_lines()),
            "websocket": await stack.enter_async_context(_microdot_websocket()),
            "snyper": await stack.enter_async_context(_snyper()),
            "sealed": await stack.enter_async_context(_snyper(f"fleet:{os.urandom(KEY_BYTES).hex()}")),
        }
        measures = {name: partial(time_each, call, pings) for name, call in exchanges.items()}
        times = await alternate(rounds, measures)
    p50 = {name: [percentile(batch, 50) for batch in batches] for name, batches in times.items()}
    p99 = {name: [percentile(batch, 99) for batch in batches] for name, batches in times.items()}
    return [
        row("leanest JSON Lines reply, p50", p50["json"], p50["floor"], "µs", 0),
        row("the same over microdot's WebSocket, p50", p50["websocket"], p50["floor"], "µs", 0),
        row("PING, p50", p50["snyper"], p50["floor"], "µs", 0, PING_AIM),
        row("PING, p99", p99["snyper"], p99["floor"], "µs", 0, PING_AIM),
        row("PING with a key, over one without, p50", p50["sealed"], p50["snyper"], "µs", 0, SEALED_AIM),
    ]


@asynccontextmanager
async def _raw_echo() -> AsyncIterator[Exchange]:
    port = free_port()
    async with running(*on_micropython("echo", port)):
        reader, writer = await open_streams(port)

        async def exchange() -> None:
            writer.write(LINE)
            await reader.readline()

        yield exchange
        writer.close()


@asynccontextmanager
async def _json_lines() -> AsyncIterator[Exchange]:
    port = free_port()
    async with running(*on_micropython("json_lines", port)):
        reader, writer = await open_streams(port)

        async def exchange() -> object:
            writer.write(json.dumps(MESSAGE).encode() + b"\n")
            return json.loads(await reader.readline())

        yield exchange
        writer.close()


@asynccontextmanager
async def _microdot_websocket() -> AsyncIterator[Exchange]:
    port = free_port()
    with package_for_micropython("microdot") as folder:
        command = on_micropython("microdot_websocket", port)
        async with running(*command, env={"MICROPYPATH": f"{folder}{os.pathsep}.frozen"}):
            reader, writer = await open_streams(port)
            writer.write(_UPGRADE)
            await reader.readuntil(b"\r\n\r\n")

            async def exchange() -> object:
                writer.write(text_frame(json.dumps(MESSAGE).encode()))
                _, length = await reader.readexactly(2)
                return json.loads(await reader.readexactly(length))

            yield exchange
            writer.close()


def text_frame(payload: bytes) -> bytes:
    """Encode a client's WebSocket frame of at most 125 bytes, masked as RFC 6455 wants it (section 5.3)."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes((_FINAL_TEXT, _MASKED | len(payload))) + mask + masked


@asynccontextmanager
async def _snyper(key: str = "") -> AsyncIterator[Exchange]:
    hub = Hub("127.0.0.1", 0, 4, 1, key)
    hub.lines_at_once = 1_000_000
    await hub.start()
    with temporary_directory("snyper-bench-") as directory:
        board = BoardProcess(directory, "target", {"hub": [f"127.0.0.1:{hub.port}"], "key": key})
        board.start()

        async def exchange() -> None:
            peers = hub.router.registry.select("target_1")
            command = hub.router.send(MessageType.PING, peers, None, COMMAND_TIMEOUT_MS)
            [result] = await command.results()
            assert result.ok, result

        try:
            await until_connected(hub, 1)
            yield exchange
        finally:
            await hub.shut_down()
            board.kill()
