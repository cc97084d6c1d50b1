"""A gateway with a signal, and clients of its WebSocket as they exist."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from tests.integration.harness import DEADLINE_S, HOST, free_port, snyper

START, STOP, PING = ({"action": word} for word in ("start", "stop", "ping"))
STREAMING = {"type": "status", "streaming": True}
STOPPED = {"type": "status", "streaming": False}


@asynccontextmanager
async def demonstration(*arguments: str, **environment: str) -> AsyncIterator[str]:
    """Run a gateway with the demonstration signal and without a hub; give its HOST:PORT."""
    away = ("--demo-signal", "--hub", f"{HOST}:{free_port()}")
    async with gateway(*away, *arguments, **environment) as address:
        yield address


@asynccontextmanager
async def gateway(*arguments: str, **environment: str) -> AsyncIterator[str]:
    """Run a gateway, which ends well; give its HOST:PORT."""
    async with snyper("gateway", "--listen", f"{HOST}:0", "--json", *arguments, **environment) as command:
        yield (await command.says_json())["urls"][0].partition("://")[2]
        assert await command.interrupt() == 0


def listening(address: str, **options: Any) -> connect:
    """Open the WebSocket as existing clients do, who say nothing of what they take."""
    return connect(f"ws://{address}/ws/stream", **options)


async def say(web_socket: ClientConnection, value: object) -> None:
    await web_socket.send(json.dumps(value))


async def hear(web_socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE_S):
        message: dict[str, Any] = json.loads(await web_socket.recv())
        return message


async def late_packets(
    web_socket: ClientConnection, stop: Callable[[], Awaitable[object]]
) -> tuple[dict[str, Any], int]:
    """Stop the signal; return the first message that is no packet, and how many packets came before it. What
    came before `stop` was called is read first: it is not late.
    """
    await say(web_socket, PING)
    assert (await until_not_data(web_socket))[0] == {"type": "pong"}
    await stop()
    return await until_not_data(web_socket)


async def until_not_data(web_socket: ClientConnection) -> tuple[dict[str, Any], int]:
    """Return the next message that is no packet, and how many packets came before it."""
    packets = 0
    while (message := await hear(web_socket))["type"] == "data":
        packets += 1
    return message, packets


async def health(address: str) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://{address}/health")
        assert answer.status_code == 200
        told: dict[str, Any] = answer.json()
        return told


async def control(address: str, word: str) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        return await control_by(client, address, word)


async def control_by(client: httpx.AsyncClient, address: str, word: str) -> dict[str, Any]:
    answer = await client.post(f"http://{address}/control/{word}")
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()
    return told


@asynccontextmanager
async def timestamps_of(client: ClientConnection) -> AsyncIterator[list[float]]:
    """Read what comes to a client for the block, as it comes."""
    heard: list[float] = []

    async def read() -> None:
        async for message in client:
            heard.append(json.loads(message).get("timestamp"))

    reading = asyncio.create_task(read())
    try:
        yield heard
    finally:
        reading.cancel()
        await asyncio.wait([reading])
