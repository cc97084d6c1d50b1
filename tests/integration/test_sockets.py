"""The sockets of a link on a computer."""

import asyncio
import socket

import pytest

from snyper.shared.runtime import Stream, bound_port, close_server, dial, listen
from tests.integration.harness import HOST


@pytest.mark.parametrize("host", [HOST, ""])
async def test_both_ends_send_at_once(host: str) -> None:
    """Else a second line would wait 40 ms for a peer's delayed acknowledgement of the first."""
    accepted: asyncio.Queue[Stream] = asyncio.Queue()
    server = await listen(accepted.put, host, 0, 1, lambda: True)
    dialled = await dial(HOST, bound_port(server, 0), 5_000)
    taken = await accepted.get()
    try:
        for stream in (dialled, taken):
            sock = stream._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        for stream in (dialled, taken):
            await stream.close()
        await close_server(server)


async def test_loops_in_several_threads_read_into_memory_of_their_own() -> None:
    """A program's own loop and that of calls read at once: one would overwrite what the other has read."""

    async def buffer_of_a_stream() -> object:
        accepted: asyncio.Queue[Stream] = asyncio.Queue()
        server = await listen(accepted.put, HOST, 0, 1, lambda: True)
        dialled = await dial(HOST, bound_port(server, 0), 5_000)
        taken = await accepted.get()
        try:
            assert dialled.get_buffer(-1).obj is taken.get_buffer(-1).obj
            return dialled.get_buffer(-1).obj
        finally:
            for stream in (dialled, taken):
                await stream.close()
            await close_server(server)

    here = await buffer_of_a_stream()
    there = await asyncio.to_thread(asyncio.run, buffer_of_a_stream())
    assert here is not there
