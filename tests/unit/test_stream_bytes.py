"""Bytes after lines over a connection: all arrive in order, however cut, and however slow the peer is."""

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from snyper.shared import runtime_cpython
from snyper.shared.link import ITEMS_PER_TURN, Link
from snyper.shared.link_core import MAX_HANDLERS
from snyper.shared.runtime_cpython import Stream
from snyper.shared.socket_protocol import SocketMessage
from snyper.streams.buffers import Buffers
from snyper.system.block_lines import expect_blocks
from tests.portable.support import within

READ_BYTES = 4_096  # that a stream reads at least behind what it has a buffer for
READS_PER_TURN = 9
MESSAGES = 60
REQUEST_EVERY = MESSAGES // MAX_HANDLERS + 1  # as many as a link serves at once


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Stream, socket.socket]]:
    """Connect a stream to a socket."""
    here, there = socket.socketpair()
    there.setblocking(False)
    with there:
        _, stream = await asyncio.get_running_loop().create_connection(Stream, sock=here)
        try:
            yield stream, there
        finally:
            await stream.close()


def block(seq: int, data: bytes, id: int = 1, more: str = "") -> bytes:
    numbers = f'"seq":{seq},"at_us":{seq + 5},"uncertainty_us":1,"source_us":{seq}{more}'
    return f'{{"type":"item","id":{id},"data":{{{numbers}}},"bytes":{len(data)}}}\n'.encode() + data


MIXED = (0, 1, 2, 300, READ_BYTES - 200, READ_BYTES, 10_000, 70_000)
SMALL = (0, 4, 100, 1_000)
HUGE_AFTER_SMALL = (*(16_384,) * 9, 400_000)


def messages(rng: random.Random, sizes: tuple[int, ...]) -> tuple[list[bytes], list[tuple[Any, ...]]]:
    """Make blocks, other items, and as many requests as a link serves at once: as bytes, and what is to come
    of them.
    """
    kinds = ("block", *rng.choice((("marked", "other"), ("block",) * 6 + ("marked", "other"), ())))
    sent: list[bytes] = []
    expected: list[tuple[Any, ...]] = []
    for seq in range(MESSAGES):
        size = rng.choice(sizes)
        data = rng.randbytes(size)
        kind = "request" if not seq % REQUEST_EVERY else rng.choice(kinds)
        if kind == "other":
            sent.append(b'{"type":"item","id":%d,"status":"gone"}\n' % seq)
            expected.append((seq, "gone", None))
        elif kind == "request":
            sent.append(b'{"type":"store","id":%d,"bytes":%d}\n' % (seq, size) + data)
            expected.append((seq, None, data))
        else:
            sent.append(block(seq, data, seq, ',"marks":[["a",1]]' if kind == "marked" else ""))
            expected.append((seq, None, data))
    return sent, expected


@pytest.mark.parametrize("sizes", [MIXED, SMALL, HUGE_AFTER_SMALL], ids=["mixed", "small", "huge"])
@pytest.mark.parametrize("seed", range(20))
async def test_it_comes_to_the_same_wherever_it_is_cut(seed: int, sizes: tuple[int, ...]) -> None:
    rng = random.Random(seed)
    sent, expected = messages(rng, sizes)
    found: list[tuple[Any, ...]] = []
    served = asyncio.Event()

    def take(message: SocketMessage) -> None:
        data = None if message.attachment is None else bytes(message.attachment)
        found.append((message.id, message.status, data))
        if len(found) == len(expected):
            served.set()

    async def store(link: Link, message: SocketMessage) -> None:
        take(message)

    async with connected() as (stream, there):
        link = Link(stream, {"store": store}, "test")
        link.on_stream = take
        expect_blocks(link, Buffers())
        link.start(lambda link: None)
        loop = asyncio.get_running_loop()
        content = b"".join(sent)
        while content:
            before_end = content.find(b"}\n") + 1  # of a line
            count = rng.choice((1, 100, READ_BYTES, 50_000, 300_000, before_end or 1, before_end or 1))
            await loop.sock_sendall(there, content[:count])
            content = content[count:]
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
        await within(served.wait())
        assert link.close_error is None
        link.end()
        await link.let_go()
    # A request is served in a task, after what has come in one piece with it.
    assert sorted(found, key=lambda one: int(one[0])) == expected
    items = [id for id, _, _ in found if id % REQUEST_EVERY]
    assert items == sorted(items)


class Taken:
    """The items that a link has taken."""

    def __init__(self) -> None:
        self.items: list[SocketMessage] = []
        self._wanted = 0
        self._came = asyncio.Event()

    def take(self, message: SocketMessage) -> None:
        self.items.append(message)
        if len(self.items) == self._wanted:
            self._came.set()

    async def wait(self, count: int) -> None:
        self._wanted = count
        self._came.clear()
        if len(self.items) < count:
            await within(self._came.wait())


@asynccontextmanager
async def reading() -> AsyncIterator[tuple[Taken, socket.socket]]:
    """Connect a link that takes blocks to a socket."""
    taken = Taken()
    async with connected() as (stream, there):
        link = Link(stream, {}, "test")
        link.on_stream = taken.take
        expect_blocks(link, Buffers())
        link.start(lambda link: None)
        yield taken, there
        assert link.close_error is None
        link.end()
        await link.let_go()


@pytest.mark.parametrize("cut", range(0, 400, 7))
async def test_small_blocks_may_be_cut_at_any_byte(cut: int) -> None:
    rng = random.Random(cut)
    sent = [rng.randbytes(200) for _ in range(40)]
    blocks = [block(seq, data) for seq, data in enumerate(sent)]
    begun = sum(len(one) for one in blocks[:12])
    content = b"".join(blocks)
    loop = asyncio.get_running_loop()
    async with reading() as (taken, there):
        await loop.sock_sendall(there, content[: begun + cut])
        await taken.wait(12)
        await loop.sock_sendall(there, content[begun + cut :])
        await taken.wait(len(sent))
    found = [((item.data or {})["seq"], bytes(item.attachment)) for item in taken.items]
    assert found == list(enumerate(sent))


@pytest.mark.parametrize("size", [100, 1_000, 16_384])
async def test_many_small_blocks_take_few_reads_and_each_has_memory_of_its_own(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, reads = 65_536 // size, 0
    readv = os.readv

    def counted(descriptor: int, buffers: Any) -> int:
        nonlocal reads
        reads += 1
        return readv(descriptor, buffers)

    monkeypatch.setattr(runtime_cpython, "_readv", counted)
    loop = asyncio.get_running_loop()
    content = b"".join(block(seq, bytes(size)) for seq in range(count))
    async with reading() as (taken, there):
        await loop.sock_sendall(there, content)
        await taken.wait(count)
        reads = 0
        await loop.sock_sendall(there, content)
        await taken.wait(2 * count)
    assert reads <= count // 2
    contents = [item.attachment for item in taken.items]
    assert all(type(content) is bytearray and len(content) == size for content in contents)


async def test_others_get_their_turn_between_tiny_blocks_where_larger_ones_came() -> None:
    sent = [block(seq, bytes(16_384 if not seq % 400 else 4)) for seq in range(4_000)]
    before = longest = 0

    def turn() -> None:
        nonlocal before, longest
        longest, before = max(longest, len(taken.items) - before), len(taken.items)
        if before < len(sent):
            loop.call_soon(turn)

    loop = asyncio.get_running_loop()
    async with reading() as (taken, there):
        turn()
        await loop.sock_sendall(there, b"".join(sent))
        await taken.wait(len(sent))
    assert longest <= READS_PER_TURN * 2 * ITEMS_PER_TURN, "the short way, and after it the long one"


class Owner:
    """Whoever writes, and waits until that has left."""

    def __init__(self) -> None:
        self.has_left = asyncio.Event()
        self.error: Exception | None = None
        self.is_lost = asyncio.Event()

    def data_received(self, data: bytes | memoryview) -> None:
        raise AssertionError("nothing is said")

    def resume_writing(self) -> None:
        self.has_left.set()

    def write_progressed(self, at_us: int) -> None: ...

    def connection_lost(self, error: Exception | None) -> None:
        self.error = error
        self.is_lost.set()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_what_the_system_does_not_take_at_once_follows_in_order(kind: type) -> None:
    rng = random.Random(1)
    loop = asyncio.get_running_loop()
    owner, written, came = Owner(), bytearray(), bytearray()
    waited = 0
    async with connected() as (stream, there):
        stream.attach(owner)
        for number in range(12):
            line, data = b"line %d\n" % number, rng.randbytes((10, 40_000, 1_000_000)[number % 3])
            written += line + data
            lent = bytearray(data)
            owner.has_left.clear()
            has_left = stream.write(line, kind(lent))
            if kind is memoryview:  # it is the caller's again
                lent[:] = bytes(len(lent))
            waited += not has_left
            while not has_left and not owner.has_left.is_set():
                came += await within(loop.sock_recv(there, rng.choice((100, 5_000, 300_000))))
        while len(came) < len(written):
            came += await within(loop.sock_recv(there, 300_000))
        assert came == written
        assert waited >= 4
        assert owner.error is None


async def test_who_hangs_up_in_the_middle_is_lost() -> None:
    owner = Owner()
    async with connected() as (stream, there):
        stream.attach(owner)
        assert not stream.write(b"line\n", bytes(5_000_000))
        there.close()
        await within(owner.is_lost.wait())
        assert not owner.has_left.is_set()


async def test_who_hangs_up_as_it_could_go_on_is_lost_once() -> None:
    """asyncio ends a connection twice, and logs it, where a write fails while it says that one may write."""

    class Shut(Owner):
        def resume_writing(self) -> None:
            stream._transport.get_extra_info("socket").shutdown(socket.SHUT_WR)
            try:
                stream.write(b"more")
            except OSError as error:
                self.connection_lost(error)

    owner = Shut()
    loop = asyncio.get_running_loop()
    said: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: said.append(context))
    async with connected() as (stream, there):
        stream.attach(owner)
        assert not stream.write(b"line\n", bytes(1_000_000))
        while not owner.is_lost.is_set():
            await within(loop.sock_recv(there, 300_000))
        await stream.close()
    await asyncio.sleep(0)
    assert said == []
