"""A service's end of what goes through a hub, with a link that only keeps what is sent."""

import asyncio
import socket
from typing import Any

import pytest

from snyper.services.carrying import ClientEnd
from snyper.services.hub_service import MAX_UNTAKEN_BYTES, _Carried
from snyper.shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage

CHUNK_BYTES = 1 << 16


class Kept:
    """What a service says to its hub."""

    peer_max_chunk_bytes = CHUNK_BYTES

    def __init__(self) -> None:
        self.sent: asyncio.Queue[SocketMessage] = asyncio.Queue()

    async def send(self, message: SocketMessage) -> None:
        self.sent.put_nowait(message)


async def test_what_the_server_does_not_read_is_bounded_though_it_has_much_to_say() -> None:
    link: Any = Kept()
    carried = _Carried(link)
    client = ClientEnd("c" * 32, "lab1", CHUNK_BYTES)
    carried.take(client.begin())
    near, server = socket.socketpair()
    server.setblocking(False)
    running = asyncio.create_task(carried.run(near))
    loop = asyncio.get_running_loop()
    sent_bytes = 0

    async def send_without_end() -> None:
        nonlocal sent_bytes
        while True:
            carried.take(client.exchange(b"x" * CHUNK_BYTES))
            sent_bytes += CHUNK_BYTES
            await loop.sock_sendall(server, b"y")
            await link.sent.get()

    with pytest.raises(ProtocolError) as caught:
        await send_without_end()
    assert caught.value.code == ErrorCode.BUSY
    assert not caught.value.unknown_fate
    assert sent_bytes < 4 * MAX_UNTAKEN_BYTES  # the system's own buffers have some of it
    received = 0
    while received < sent_bytes:
        received += len(await loop.sock_recv(server, CHUNK_BYTES))
    server.close()
    await running
    while not link.sent.empty():
        last = link.sent.get_nowait()
    assert last.data["end"] is True
