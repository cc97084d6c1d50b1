"""Bytes that follow a line, through hubs of both runtimes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from snyper.shared.handshake_client import Registered, register_message
from snyper.shared.link import Link
from snyper.shared.runtime import dial, end_task
from snyper.shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage
from tests.integration.harness import HOST, HubUnderTest, each_engine, running_hub

if TYPE_CHECKING:
    from snyper.shared.link import Handler

CHUNK = bytes(range(256)) * 4
TIMEOUT_MS = 10_000


@asynccontextmanager
async def registered_link(
    hub: HubUnderTest, role: str, name: str, handlers: "dict[str, Handler]", is_old: bool = False
) -> AsyncIterator[Link]:
    """A link to the hub; one that `is_old` announces no bytes."""
    link = Link(await dial(HOST, hub.port, 5_000), handlers, name)
    running = asyncio.create_task(link.run())
    try:
        limit = 0 if is_old else link.max_chunk_bytes
        message = register_message(0, "", {"role": role}, name, limit)
        Registered(await link.request(message, TIMEOUT_MS)).apply_to(link)
        yield link
    finally:
        await end_task(running)


async def reversed_bytes(link: Link, message: SocketMessage) -> SocketMessage:
    assert message.attachment is not None
    reply = message.reply("reply", "ok", {"offset": (message.data or {})["offset"]})
    reply.attachment = bytes(reversed(message.attachment))
    return reply


@each_engine
async def test_a_hub_passes_bytes_on_with_their_message(engine: str, tmp_path: Path) -> None:
    async with (
        running_hub(engine, tmp_path) as hub,
        registered_link(hub, "service", "store", {"chunk": reversed_bytes}),
        registered_link(hub, "console", "c", {}) as console,
    ):
        assert console.peer_max_chunk_bytes == (1_024 if engine == "micropython" else 65_536)
        for offset in range(40):
            message = SocketMessage("chunk", offset, "store", None, {"offset": offset}, CHUNK)
            reply = await console.request(message, TIMEOUT_MS)
            assert reply.attachment == bytes(reversed(CHUNK))
            assert (reply.data or {})["offset"] == offset


@each_engine
async def test_an_old_peer_gets_no_bytes(engine: str, tmp_path: Path) -> None:
    async with (
        running_hub(engine, tmp_path) as hub,
        registered_link(hub, "service", "store", {"chunk": reversed_bytes}, is_old=True) as store,
        registered_link(hub, "console", "c", {}) as console,
    ):
        message = SocketMessage("chunk", 1, "store", None, {"offset": 0}, CHUNK)
        with pytest.raises(ProtocolError, match="then 0") as refused:
            await console.request(message, TIMEOUT_MS)
        assert refused.value.code == ErrorCode.LINE_TOO_LONG
        assert not refused.value.unknown_fate
        # Both are as well as before.
        assert (await console.request(SocketMessage("ping", 2), TIMEOUT_MS)).status == "alive"
        assert (await store.request(SocketMessage("ping", 1), TIMEOUT_MS)).status == "alive"


@each_engine
async def test_an_old_console_gets_the_answer_without_its_bytes(engine: str, tmp_path: Path) -> None:
    async with (
        running_hub(engine, tmp_path) as hub,
        registered_link(hub, "service", "store", {"chunk": reversed_bytes}),
        registered_link(hub, "console", "c", {}, is_old=True) as console,
    ):
        message = SocketMessage("chunk", 1, "store", None, {"offset": 0}, CHUNK)
        reply = await console.request(message, TIMEOUT_MS)
        assert reply.attachment is None
        assert (reply.data or {})["left_out"] is True
