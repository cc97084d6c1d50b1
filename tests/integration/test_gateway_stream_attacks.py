"""The signal's WebSocket under clients that are deaf, slow, flood it, or come and go, and as it ends."""

import asyncio
import base64
import json
import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.harness import DEADLINE_S, HOST, free_port, snyper, until
from tests.integration.signal_harness import (
    PING,
    START,
    STOP,
    STOPPED,
    STREAMING,
    demonstration,
    health,
    hear,
    listening,
    say,
    timestamps_of,
)

_TEXT, _CLOSE, _PING_FRAME, _CONT = 1, 8, 9, 0


def frame(opcode: int, content: bytes, is_last: bool = True) -> bytes:
    """Return a frame as a client sends it, masked with zeros."""
    size = struct.pack("!BH", 0xFE, len(content)) if len(content) > 125 else bytes([0x80 | len(content)])
    return bytes([opcode | (0x80 if is_last else 0)]) + size + bytes(4) + content


def text(value: object) -> bytes:
    return frame(_TEXT, json.dumps(value).encode())


@contextmanager
def raw(address: str, receive_bytes: int = 4_096) -> Iterator[socket.socket]:
    """Open the WebSocket over a socket that reads only what the test does."""
    host, _, port = address.rpartition(":")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.settimeout(DEADLINE_S)
        sock.connect((host, int(port)))
        key = base64.b64encode(os.urandom(16)).decode()
        sock.sendall(
            f"GET /ws/stream HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        assert b" 101 " in head
        yield sock


async def connections(address: str) -> int:
    count: int = (await health(address))["connections"]
    return count


async def until_health(address: str, **wanted: object) -> None:
    """Wait until `/health` says all of this."""
    async with asyncio.timeout(DEADLINE_S):
        while not wanted.items() <= (await health(address)).items():
            pass


async def until_connections(address: str, count: int) -> None:
    await until_health(address, connections=count)


async def until_some_are_dropped(address: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not (await health(address))["dropped"]:
            pass


async def test_a_deaf_client_loses_the_oldest_and_holds_nobody_up() -> None:
    async with demonstration() as address, listening(address) as client:
        await say(client, START)
        assert await hear(client) == STREAMING
        with raw(address):
            async with timestamps_of(client) as heard:
                await until_some_are_dropped(address)
                count = len(heard) + 20
                await until(lambda: len(heard) >= count, "the other one goes on")
            assert heard == [index / 10 for index in range(len(heard))]
            assert await connections(address) == 2
        await until_connections(address, 1)


async def test_a_client_that_takes_nothing_is_ended() -> None:
    async with demonstration("--limit", "answer_ms=500") as address:
        with raw(address) as deaf:
            deaf.sendall(text(START))
            await until_connections(address, 1)
            await until_connections(address, 0)
        assert (await health(address))["streaming"] is True


async def test_a_client_that_answers_no_ping_is_ended() -> None:
    async with demonstration("--limit", "ping_s=1") as address, listening(address) as client:
        with raw(address) as gone:
            await until_connections(address, 2)
            await until_connections(address, 1)
            assert bytes([0x80 | _PING_FRAME]) in gone.recv(4_096)
        await say(client, PING)
        assert await hear(client) == {"type": "pong"}


async def test_what_a_slow_client_gets_after_its_stop_is_little() -> None:
    """It has been asleep for as long as it took to lose some, and then hears of its stop soon."""
    async with demonstration() as address:
        with raw(address) as slow:
            slow.sendall(text(START))
            await until_some_are_dropped(address)
            slow.sendall(text(STOP))
            await until_health(address, streaming=False)
            heard = bytearray()
            while not heard.endswith(json.dumps(STOPPED).encode()):
                heard += await asyncio.to_thread(slow.recv, 65_536)
            assert heard.count(b'"type":"data"') < 60


async def test_hundreds_come_and_go() -> None:
    async with demonstration() as address, listening(address) as stays:
        await say(stays, START)
        assert await hear(stays) == STREAMING

        async def come_and_go(number: int) -> None:
            for _ in range(20):
                async with listening(address) as client:
                    if number % 2:
                        await say(client, PING)
                    if number % 5 == 0:
                        client.transport.abort()

        async with timestamps_of(stays) as heard:
            await asyncio.gather(*(come_and_go(number) for number in range(20)))
            await until_connections(address, 1)
            count = len(heard) + 3
            await until(lambda: len(heard) >= count, "the one that stays goes on")
        assert heard == [index / 10 for index in range(len(heard))]


async def test_connections_are_counted_exactly() -> None:
    """Each answer of `/health` after a join or a leave has it, with no wait."""
    async with demonstration() as address, AsyncExitStack() as stack:
        clients = []
        for count in range(1, 6):
            clients.append(await stack.enter_async_context(listening(address)))
            assert await connections(address) == count
        for count in range(4, -1, -1):
            await clients.pop().close()
            assert await connections(address) == count


@pytest.mark.parametrize(
    "content",
    [
        frame(_PING_FRAME, b"") * 20_000,
        frame(_TEXT, b"", is_last=False) + frame(_CONT, b"", is_last=False) * 20_000,
        b"\xff" * 100,
        frame(3, b""),
        frame(_TEXT, b"\xff\xff"),
        bytes([0x81, 0xFF]) + struct.pack("!Q", 2**62) + bytes(4),
        bytes([0x81, 0x05]) + b"plain",
    ],
    ids=["pings", "pieces", "noise", "an unknown kind", "no UTF-8", "4 EB", "not masked"],
)
async def test_who_breaks_the_protocol_is_ended(content: bytes) -> None:
    async with demonstration() as address, listening(address) as client:
        with raw(address) as other:
            with suppress(ConnectionError):
                other.sendall(content)
            await until_connections(address, 1)
        await say(client, PING)
        assert await hear(client) == {"type": "pong"}


async def test_a_flood_of_messages_holds_nobody_up() -> None:
    async with demonstration() as address, listening(address) as client:
        await say(client, START)
        assert await hear(client) == STREAMING
        with raw(address, 1 << 20) as flood:
            flood.setblocking(False)
            messages, loop = text(PING) * 2_000, asyncio.get_running_loop()

            async def send() -> None:
                while True:
                    await loop.sock_sendall(flood, messages)

            async def receive() -> None:
                while True:
                    await loop.sock_recv(flood, 65_536)

            flooding = [asyncio.create_task(send()), asyncio.create_task(receive())]
            async with timestamps_of(client) as heard:
                await until(lambda: len(heard) > 40, "the other one is served")
            assert heard == [index / 10 for index in range(len(heard))]
            for task in flooding:
                task.cancel()
            await asyncio.wait(flooding)
        await until_connections(address, 1)


async def test_so_many_listen_and_no_more() -> None:
    async with demonstration("--limit", "listeners=2") as address, listening(address):
        async with listening(address):
            with pytest.raises(InvalidStatus) as caught:
                await listening(address)
            assert caught.value.response.status_code == 503
            assert await connections(address) == 2
        async with listening(address) as client:
            await say(client, PING)
            assert await hear(client) == {"type": "pong"}


async def test_who_listens_leaves_its_address_room_for_requests() -> None:
    async with demonstration("--limit", "per_address=8") as address, AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(listening(address))
        with pytest.raises(InvalidStatus) as caught:
            await listening(address)
        assert caught.value.response.status_code == 503
        assert await connections(address) == 4


async def test_a_message_that_is_too_long_ends_its_connection() -> None:
    async with demonstration("--limit", "message_bytes=1024") as address:
        async with listening(address) as client:
            await client.send("x" * 1025)
            with pytest.raises(ConnectionClosed) as caught:
                await client.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1009
        await until_connections(address, 0)


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "ended"])
async def test_a_gateway_starts_again_in_the_middle_of_it(end: signal.Signals) -> None:
    port = free_port()
    arguments = ("--demo-signal", "--hub", f"{HOST}:{free_port()}", "--listen", f"{HOST}:{port}", "--json")
    address = f"{HOST}:{port}"
    for _ in range(2):
        async with snyper("gateway", *arguments) as command:
            await command.says_json()
            assert await connections(address) == 0
            async with listening(address) as client, AsyncExitStack() as stack:
                stack.enter_context(raw(address)).sendall(text(START))
                assert (await hear(client))["timestamp"] == 0.0
                await until_some_are_dropped(address)
                await command.interrupt(end)
                with pytest.raises(ConnectionClosed):
                    await read_all(client)


async def read_all(client: ClientConnection) -> None:
    while True:
        await client.recv()
