"""The bad network that tests and `make skew` use: late but in order, cut, held, doubled."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.integration.harness import DEADLINE_S, HOST
from tools.impaired_link import ImpairedLink

LINES = [b"%d\n" % number for number in range(40)]


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A port that says everything back."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.CancelledError):  # it was cut, or is when the test ends
            while line := await reader.readline():
                writer.write(line)
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def said_back(link: ImpairedLink, lines: list[bytes]) -> list[bytes]:
    """What comes back of these lines, up to the end of the connection."""
    reader, writer = await asyncio.open_connection(HOST, link.port)
    writer.write(b"".join(lines))
    writer.write_eof()
    try:
        return [line async for line in reader]
    finally:
        writer.transport.abort()


async def test_lines_are_late_and_in_order() -> None:
    async with echo() as port, ImpairedLink(port, seed=3, to_hub_ms=(50, 60), from_hub_ms=(1, 30)) as link:
        began = time.monotonic()
        assert await said_back(link, LINES) == LINES
        assert time.monotonic() - began >= 0.05
        assert link.connections == 1


async def test_lines_can_be_lost_and_doubled() -> None:
    def twice_or_never(to_hub: bool, line: bytes) -> int:
        return 1 if not to_hub else int(line) % 3

    async with echo() as port, ImpairedLink(port, on_line=twice_or_never) as link:
        expected = [line for line in LINES for _ in range(int(line) % 3)]
        assert await said_back(link, LINES) == expected


async def test_a_link_that_is_held_delivers_later() -> None:
    async with echo() as port, ImpairedLink(port) as link:
        link.is_held = True
        reader, writer = await asyncio.open_connection(HOST, link.port)
        writer.write(LINES[0])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readline(), 0.2)
        link.is_held = False
        assert await asyncio.wait_for(reader.readline(), DEADLINE_S) == LINES[0]
        writer.transport.abort()


@pytest.mark.parametrize("by", ["hand", "line"])
async def test_a_cut_ends_both_sides_and_a_new_connection_is_whole(by: str) -> None:
    async with echo() as port, ImpairedLink(port) as link:
        if by == "line":

            def cut_at_the_second(to_hub: bool, line: bytes) -> int:
                if to_hub and line == LINES[1]:
                    link.cut()
                return 1

            link.on_line = cut_at_the_second
        reader, writer = await asyncio.open_connection(HOST, link.port)
        writer.write(LINES[0])
        assert await asyncio.wait_for(reader.readline(), DEADLINE_S) == LINES[0]
        if by == "hand":
            link.cut()
        else:
            writer.write(LINES[1])
        with suppress(ConnectionError):  # or rudely, as such things go
            assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b""
        writer.transport.abort()
        assert await said_back(link, LINES[2:]) == LINES[2:]
        link.is_refusing = True
        with suppress(ConnectionError):
            assert await said_back(link, LINES) == []


async def test_a_connection_is_cut_that_has_not_reached_the_hub_yet() -> None:
    async with echo() as port, ImpairedLink(port) as link:
        reader, writer = await asyncio.open_connection(HOST, link.port)
        while not link.connections:  # noqa: ASYNC110 (the very step is wanted)
            await asyncio.sleep(0)
        link.cut()
        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b""
        writer.transport.abort()
