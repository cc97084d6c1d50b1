"""A source of streams over a link: what it sends, to whom, and what becomes of it where nobody takes it."""

import asyncio
import gc
from array import array

from snyper.shared.socket_protocol import MessageType, ProtocolError, SocketMessage
from snyper.shared.stream_source import Sources, SourceStream
from tests.portable.loopback import LinkPair
from tests.portable.support import within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CHUNK_BYTES = 1_024  # a board's, on both runtimes


class _Reading:
    """A reader's end of a link to `sources`, and what has come to it. For `async with`."""

    def __init__(self, max_queued_bytes: int = 65_536, **spec: "Any") -> None:
        self.sources = Sources()
        self.stream: "SourceStream" = self.sources.open("s", spec, max_queued_bytes)
        self.items: "list[SocketMessage]" = []
        self.samples = 0  # that have come
        self.lost = 0  # that it was told of
        self.reply: "SocketMessage | None" = None
        self._changed = asyncio.Event()
        self._item_bytes = self.stream.sample_bytes
        self.keeps = True
        self.marks: "list[Any]" = []

    async def __aenter__(self) -> "_Reading":
        self._pair = LinkPair({"read_stream": self.sources.answer})
        await self._pair.__aenter__()
        self.near, self.far = self._pair.near, self._pair.far
        self.far.peer_max_chunk_bytes = CHUNK_BYTES
        self.far.on_stream = self.sources.on_item
        self.far.on_close = self.sources.on_close
        self.near.on_stream = self._take
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pair.__aexit__()

    async def read(self, **data: object) -> None:
        """Ask for the stream, and return once it has begun."""
        about: "dict[str, object]" = {"stream": "s"}
        about.update(data)
        line = SocketMessage("read_stream", 7, data=about).to_line()
        self.near.start_request(7, line, self._on_reply, None)
        await self.until(lambda: self.items or self.reply)

    def stop(self) -> None:
        self.near.send_nowait(SocketMessage(MessageType.ITEM, 7, None, "stop"))

    async def until(self, condition: "Any") -> None:
        while not condition():
            self._changed.clear()
            await within(self._changed.wait())

    def _take(self, message: SocketMessage) -> None:
        if message.attachment is not None:
            self.samples += len(message.attachment) // self._item_bytes
            self.lost += (message.data or {}).get("lost", 0)  # type: ignore[operator]
            self.marks += (message.data or {}).get("marks", [])  # type: ignore[arg-type]
        if self.keeps or message.attachment is None:
            self.items.append(message)
        self._changed.set()

    def _on_reply(self, token: object, reply: "Any") -> None:
        if not isinstance(reply, ProtocolError):
            self.reply = reply
        self._changed.set()


def data_of(message: SocketMessage) -> "Any":
    return message.data or {}


async def test_a_reader_is_told_what_the_stream_is_and_gets_its_bytes() -> None:
    async with _Reading(dtype="<i2", rate_hz=1_000, names=["force"], units=["N"]) as reading:
        await reading.stream.send(array("h", [1, 2, 3]))  # which nobody reads
        await reading.read()
        samples = array("h", range(-100, 100))
        await reading.stream.send(samples, 5_000_000)
        samples[0] = 7  # it is the caller's again
        await reading.stream.send(memoryview(array("h", [8, 9])), 6_000_000)
        await reading.stream.send(bytes(4))
        await reading.until(lambda: len(reading.items) == 4)
        begun, first, second, third = reading.items
    assert begun.status == "streams"
    about = data_of(begun)
    assert about["stream"] == "s"
    assert about["dtype"] == "<i2"
    assert about["shape"] == []
    assert about["rate_hz"] == 1_000
    assert about["names"] == ["force"]
    assert about["units"] == ["N"]
    assert about["seq"] == 3
    assert about["epoch"] == reading.stream.epoch
    assert first.attachment == bytes(array("h", range(-100, 100)))
    assert second.attachment == bytes(array("h", [8, 9]))
    assert third.attachment == bytes(4)
    assert [data_of(item)["seq"] for item in (first, second, third)] == [3, 203, 205]
    assert data_of(first)["source_us"] == 5_000_000
    assert "lost" not in data_of(first)


async def test_what_is_more_than_a_reader_takes_comes_in_blocks_of_whole_samples() -> None:
    async with _Reading(dtype="<u2", shape=[3], rate_hz=1_000) as reading:
        await reading.read()
        samples = array("H", range(1_200))
        await reading.stream.send(samples, 1_000_000)
        await reading.until(lambda: reading.samples == 400)
        blocks = reading.items[1:]
    sizes = [len(block.attachment) for block in blocks]
    assert sizes == [1_020, 1_020, 360]
    assert b"".join([bytes(block.attachment) for block in blocks]) == bytes(samples)
    assert [data_of(block)["seq"] for block in blocks] == [0, 170, 340]
    assert [data_of(block)["source_us"] for block in blocks] == [1_000_000, 1_170_000, 1_340_000]


async def test_a_block_that_the_network_takes_needs_no_memory_for_its_samples() -> None:
    """A board has no large piece of it for each, and to find one takes longer than all the rest."""
    if not hasattr(gc, "mem_alloc"):
        return
    async with _Reading(dtype="<f4") as reading:
        reading.keeps = False
        reading.far.peer_max_chunk_bytes = 65_536
        reading.near.max_chunk_bytes = reading.near._parser.max_chunk_bytes = 4_096
        await reading.read(max_block_bytes=4_096)
        samples = array("f", bytes(4_096))
        await reading.stream.send(samples)
        await reading.until(lambda: reading.samples == 1_024)
        gc.collect()
        gc.disable()
        try:
            before = gc.mem_alloc()
            await reading.stream.send(samples)
            taken = gc.mem_alloc() - before
        finally:
            gc.enable()
        await reading.until(lambda: reading.samples == 2_048)
    assert taken < 2_048, taken


async def test_the_bytes_of_an_array_are_right_after_a_write_that_was_cut() -> None:
    """`Stream.write` of MicroPython's asyncio counts bytes, and goes on at that item."""
    async with _Reading(max_queued_bytes=1 << 30, dtype="<u2") as reading:
        reading.keeps = False
        wrong: "list[object]" = []

        def check(message: SocketMessage) -> None:
            content = message.attachment
            if content is not None and content[:2] + content[-2:] != bytes(array("H", [0, 999])):
                wrong.append(content)
            reading._take(message)

        reading.near.max_chunk_bytes = reading.near._parser.max_chunk_bytes = 2_000
        reading.far.peer_max_chunk_bytes = 65_536
        await reading.read(max_block_bytes=2_000)
        reading.near.on_stream = check
        reading.near._stream.pause_reading()
        sent = 0
        samples = array("H", range(1_000))
        while reading.far.writable:
            await reading.stream.send(samples)
            sent += 1_000
        samples[0] = samples[999] = 7
        samples = array("H", range(1_000))
        for _ in range(5):
            await reading.stream.send(samples)
            sent += 1_000
        assert reading.samples < sent
        reading.near._stream.resume_reading()
        await reading.until(lambda: reading.samples + reading.lost == sent)
    assert wrong == []


async def test_a_reader_that_takes_nothing_loses_the_oldest_and_holds_up_nobody() -> None:
    async with _Reading(max_queued_bytes=2_000, dtype="<u2") as reading:
        reading.keeps = False
        await reading.read()
        reading.near._stream.pause_reading()
        sent = 0
        samples = array("H", range(300))
        while reading.far.writable:
            await reading.stream.send(samples)
            sent += 300
        reading.stream.mark("dropped", 1)
        for _ in range(50):
            await within(reading.stream.send(samples))
            sent += 300
        assert reading.stream.seq == sent
        reading.near._stream.resume_reading()
        await reading.until(lambda: reading.samples + reading.lost == sent)
    # Three blocks of 600 bytes wait, and no fourth.
    assert reading.lost == 47 * 300
    assert reading.marks == [["dropped", 1]]  # comes with what is left


async def test_a_reader_that_wants_no_more_is_told_where_it_ended() -> None:
    async with _Reading(dtype="|u1") as reading:
        await reading.read()
        assert reading.stream.is_read
        await reading.stream.send(b"abc")
        reading.stop()
        await reading.until(lambda: reading.reply)
        assert not reading.stream.is_read
        await reading.stream.send(b"def")
        assert reading.samples == 3
        assert reading.reply is not None
        assert reading.reply.status == "stopped"
        assert data_of(reading.reply)["seq"] == 3


async def test_blocks_carry_any_id_back() -> None:
    async with _Reading(dtype="|u1") as reading:
        id = 'a%d"%s'
        reading.near.start_request(
            id, SocketMessage("read_stream", id, data={"stream": "s"}).to_line(), reading._on_reply, None
        )
        await reading.until(lambda: reading.items)
        for size in (1, 1, 2):
            await reading.stream.send(bytes(size))
        await reading.until(lambda: reading.samples == 4)
    assert [item.id for item in reading.items] == [id] * 4


async def test_memory_of_a_block_that_had_to_wait_is_used_again() -> None:
    if not hasattr(gc, "mem_alloc"):
        return  # a computer joins none
    from snyper.shared import runtime_micropython as runtime

    async with _Reading(dtype="|u1") as reading:
        reading.keeps = False
        await reading.read()
        reading.near._stream.pause_reading()
        sent = 0
        while reading.far.writable:
            await reading.stream.send(bytes(1_000))
            sent += 1_000
        assert runtime._joined is None
        reading.near._stream.resume_reading()
        await reading.until(lambda: reading.samples == sent and reading.far.writable)
        assert runtime._joined is not None


async def test_the_end_of_a_stream_comes_after_all_that_it_has_sent() -> None:
    async with _Reading(dtype="|u1") as reading:
        reading.keeps = False
        await reading.read()
        reading.near._stream.pause_reading()
        sent = 0
        while reading.far.writable:
            await reading.stream.send(bytes(1_000))
            sent += 1_000
        await reading.stream.send(b"the last")
        reading.near._stream.resume_reading()
        await within(reading.stream.close())
        await reading.until(lambda: reading.reply)
        assert reading.samples == sent + 8
        assert reading.reply is not None
        assert reading.reply.status == "ended"
        await reading.stream.close()
        refusal = ""
        try:
            await reading.stream.send(b"more")
        except ValueError as error:
            refusal = str(error)
        assert "closed" in refusal


async def test_marks_come_with_the_next_samples_and_the_oldest_gives_way() -> None:
    async with _Reading(dtype="|u1") as reading:
        await reading.read()
        reading.stream.mark("door 100 %d opened", 5)
        await reading.stream.send(b"a")
        for at in range(100):
            reading.stream.mark("mark %d" % at, at)
        await reading.stream.send(b"b")
        await reading.stream.send(b"c")
        await reading.until(lambda: reading.samples == 3)
        first, second, third = reading.items[1:]
    assert data_of(first)["marks"] == [["door 100 %d opened", 5]]
    assert data_of(second)["marks"][-1] == ["mark 99", 99]
    assert 8 < len(data_of(second)["marks"]) < 40
    assert "marks" not in data_of(third)


async def test_a_board_that_forwards_gets_no_larger_blocks_than_it_takes() -> None:
    async with _Reading(dtype="|u1") as reading:
        await reading.read(max_block_bytes=65_536)
        await reading.stream.send(bytes(3_000))
        await reading.until(lambda: reading.samples == 3_000)
        assert max([len(block.attachment) for block in reading.items[1:]]) == CHUNK_BYTES


async def test_what_is_no_sample_is_refused_where_it_is_sent() -> None:
    async with _Reading(dtype="<i4", shape=[2]) as reading:
        for samples, kind in ((bytes(7), ValueError), (array("i", [1, 2, 3]), ValueError)):
            refused = False
            try:
                await reading.stream.send(samples)
            except kind:
                refused = True
            assert refused, samples
        assert reading.stream.seq == 0


async def test_who_takes_no_sample_whole_is_refused() -> None:
    async with _Reading(dtype="<f8", shape=[64, 3]) as reading:
        await reading.read()
        assert reading.reply is not None
        assert data_of(reading.reply)["code"] == "unsupported"
        assert not reading.stream.is_read


async def test_a_link_that_has_ended_reads_no_more() -> None:
    async with _Reading(dtype="|u1") as reading:
        await reading.read()
        reading.far.close(ProtocolError("disconnected", "the test wants it"))
        assert not reading.stream.is_read
        await reading.stream.send(b"abc")
        assert reading.stream.seq == 3


async def test_a_reader_may_change_its_mind_in_one_piece() -> None:
    async with _Reading(dtype="|u1") as reading:
        request = SocketMessage("read_stream", 7, data={"stream": "s"})
        reading.near.start_request(7, request.to_line(), reading._on_reply, None)
        reading.stop()
        await reading.until(lambda: reading.reply)
        assert reading.reply is not None
        assert reading.reply.status == "stopped"
        assert not reading.stream.is_read


async def test_an_instant_or_a_mark_that_is_none_changes_nothing() -> None:
    async with _Reading(dtype="|u1") as reading:
        await reading.read()
        wrong: "list[tuple[Any, Any]]" = [("x", TypeError), (float("nan"), TypeError), (5.5, TypeError)]
        wrong += [(1 << 70, ValueError), (-(1 << 70), ValueError)]
        for instant, kind in wrong:
            refused = ""
            try:
                await reading.stream.send(b"lost", instant)
            except kind as error:
                refused = str(error)
            assert "source_us" in refused, instant
            refused = ""
            try:
                reading.stream.mark("door", instant)
            except kind as error:
                refused = str(error)
            assert "source_us" in refused, instant
        no_name: "Any" = 5
        refused = ""
        try:
            reading.stream.mark(no_name)
        except TypeError as error:
            refused = str(error)
        assert "a mark's name is text" in refused
        await reading.stream.send(b"a", -5)
        await reading.until(lambda: reading.samples == 1)
        assert (reading.stream.seq, reading.lost, reading.marks) == (1, 0, [])


async def test_a_sample_that_no_block_holds_is_refused() -> None:
    refused = ""
    try:
        Sources().open("s", {"dtype": "<c16", "shape": [32_769]}, 0)
    except ValueError as error:
        refused = str(error)
    assert "524288" in refused
    Sources().open("s", {"dtype": "<c16", "shape": [32_768]}, 0)
