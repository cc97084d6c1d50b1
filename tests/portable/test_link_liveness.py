"""Silent, slow and broken peers of a link, over a real loopback connection."""

import asyncio

from snyper.shared.clock import now_ms
from snyper.shared.link import MAX_QUEUED_CHUNKS, MAX_QUEUED_LINES, Link
from snyper.shared.runtime import Stream, call_later, sleep_ms
from snyper.shared.socket_protocol import (
    DEAD_AFTER_BEATS,
    HEARTBEAT_MS,
    MAX_LINE_BYTES,
    MIN_HEARTBEAT_MS,
    ErrorCode,
    MessageLineParser,
    ProtocolError,
    SocketMessage,
)
from tests.portable.loopback import LinkAndPeer, LinkPair, RawPeer, connected_streams, echo, never
from tests.portable.support import begin, failed, raises, run_link, within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.shared.runtime import StreamOwner

TIMEOUT_MS = 5_000  # of requests that are answered


async def test_heartbeats_keep_two_idle_links_alive() -> None:
    async with LinkPair() as pair:
        pongs: "list[SocketMessage]" = []
        enough = asyncio.Event()

        def count(pong: SocketMessage) -> None:
            pongs.append(pong)
            if len(pongs) == DEAD_AFTER_BEATS + 2:
                enough.set()

        pair.far.health = lambda: b'{"state":"down"}'
        pair.near.on_health = count
        pair.near.start_heartbeat(HEARTBEAT_MS, HEARTBEAT_MS)
        pair.far.start_heartbeat(HEARTBEAT_MS, HEARTBEAT_MS * 3 // 2)
        await within(enough.wait())
        assert pongs[0].data == {"state": "down"}
        assert pair.near.round_trip_us is not None
        assert pair.near.round_trip_us >= 0
        assert pair.far.round_trip_us is None, "one side's pings serve both"
        assert pair.near.close_error is None
        assert pair.far.close_error is None


async def test_a_silent_peer_is_given_up() -> None:
    async with LinkAndPeer() as both:
        request = begin(both.link.request(SocketMessage("hit", "h"), 60_000))
        begun_ms = now_ms()
        both.link.start_heartbeat(MIN_HEARTBEAT_MS, MIN_HEARTBEAT_MS)
        error = await within(both.run)
        assert error.code == ErrorCode.TIMEOUT
        assert now_ms() - begun_ms >= DEAD_AFTER_BEATS * MIN_HEARTBEAT_MS
        assert (await failed(ErrorCode.DISCONNECTED, request)).unknown_fate
        types = []
        message = await both.peer.next()
        while message is not None:
            types.append(message.type)
            message = await both.peer.next()
        assert types[0] == "hit"
        assert types[1:] == ["ping"] * (len(types) - 1)
        assert 1 <= len(types) - 1 <= DEAD_AFTER_BEATS, "it was asked before it was given up"


async def test_whatever_a_peer_says_is_a_sign_of_life() -> None:
    async with LinkAndPeer() as both:
        both.link.start_heartbeat(MIN_HEARTBEAT_MS, 2 * MIN_HEARTBEAT_MS)
        begun_ms = now_ms()
        while now_ms() - begun_ms < 2 * DEAD_AFTER_BEATS * MIN_HEARTBEAT_MS:
            await both.peer.send(b"\n")
            await sleep_ms(100)  # this is the peer's pace, not a wait
            assert both.link.close_error is None
        assert (await within(both.run)).code == ErrorCode.TIMEOUT


async def test_a_request_with_any_id_does_not_stop_the_heartbeat() -> None:
    async with LinkAndPeer() as both:
        requests = [begin(both.link.request(SocketMessage("hit", number), 60_000)) for number in range(1, 11)]
        for _ in requests:
            message = await both.peer.next()
            assert message is not None
            assert message.type == "hit"
        both.link.start_heartbeat(MIN_HEARTBEAT_MS, MIN_HEARTBEAT_MS)
        ping = await both.peer.next()
        assert ping is not None
        assert ping.type == "ping"
        both.link.close(ProtocolError(ErrorCode.DISCONNECTED, "enough"))
        for request in requests:
            await failed(ErrorCode.DISCONNECTED, request)


class _BadStream:
    """A stream that never gets rid of what it was given, or breaks."""

    def __init__(self, stream: Stream, in_write: "Exception | None", in_drain: "Exception | None") -> None:
        self._stream = stream
        self._in_write = in_write
        self._in_drain = in_drain

    def attach(self, owner: "StreamOwner") -> None:
        self.owner = owner
        self._stream.attach(owner)

    def write(self, data: bytes) -> bool:
        if self._in_write is not None:
            raise self._in_write
        call_later(0, lambda: self.owner.connection_lost(self._in_drain))
        return False

    def pause_reading(self) -> None:
        self._stream.pause_reading()

    def resume_reading(self) -> None:
        self._stream.resume_reading()

    async def close(self) -> None:
        await self._stream.close()


async def _end_of_link_with(in_write: "Exception | None", in_drain: Exception) -> ProtocolError:
    """What `run` returns over such a stream, once the heartbeat has used it; its socket is closed then."""
    near, far = await connected_streams()
    peer = RawPeer(far)
    link = Link(_BadStream(near, in_write, in_drain), {}, "broken")  # type: ignore[arg-type]
    link.start_heartbeat(MIN_HEARTBEAT_MS, 1)
    error = await within(run_link(link))
    try:
        assert await peer.next() is None
    except OSError:
        pass  # a reset is an end too
    await peer.close()
    assert isinstance(error, ProtocolError)
    return error


async def test_a_write_that_fails_ends_the_link() -> None:
    """The first to see a broken connection may be the heartbeat's own write."""
    assert (await _end_of_link_with(OSError(104, "reset"), OSError(104))).code == ErrorCode.DISCONNECTED


async def test_a_drain_that_fails_ends_the_link() -> None:
    assert (await _end_of_link_with(None, OSError(104, "reset"))).code == ErrorCode.DISCONNECTED


async def test_a_drain_without_memory_ends_the_link() -> None:
    assert (await _end_of_link_with(None, MemoryError())).code in (ErrorCode.INTERNAL, ErrorCode.DISCONNECTED)


class _HeldStream(_BadStream):
    """Takes what it is given, and gets rid of it once it is `free`."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream, None, None)
        self.written: "list[bytes]" = []
        self.is_free = False

    def write(self, data: bytes) -> bool:
        self.written.append(bytes(data))
        return self.is_free

    def free(self) -> None:
        self.is_free = True
        self.owner.resume_writing()


async def test_a_queue_is_never_copied_whole() -> None:
    """A board's heap has no piece as long as all that may wait for a slow peer."""
    near, far = await connected_streams()
    stream = _HeldStream(near)
    link = Link(stream, {}, "held")  # type: ignore[arg-type]
    run = asyncio.create_task(run_link(link))
    try:
        await sleep_ms(0)
        for number in range(1 + MAX_QUEUED_LINES):
            link.send_nowait(SocketMessage("event", number, data={"x": "x" * 1_500}))
        stream.free()
        await within(link.send(SocketMessage("event", "last")))  # there is space when all has left
    finally:
        link.close(ProtocolError(ErrorCode.DISCONNECTED, "enough"))
        await within(run)
        await RawPeer(far).close()
    assert max(len(data) for data in stream.written) <= MAX_LINE_BYTES
    parser = MessageLineParser()
    ids = []
    for data in stream.written:
        ids += [message.id for message in parser.feed(data)]
    assert ids == list(range(1 + MAX_QUEUED_LINES)) + ["last"]


async def test_who_takes_what_waits_is_not_silent() -> None:
    near, far = await connected_streams()
    stream = _HeldStream(near)
    link = Link(stream, {}, "held")  # type: ignore[arg-type]
    run = asyncio.create_task(run_link(link))
    try:
        await sleep_ms(0)
        link.start_heartbeat(MIN_HEARTBEAT_MS, MIN_HEARTBEAT_MS)
        link.send_nowait(SocketMessage("event", 1))
        dead_us = DEAD_AFTER_BEATS * MIN_HEARTBEAT_MS * 1_000
        link.received_us -= dead_us
        stream.free()
        link.check(link.due_us)
        assert link.close_error is None
        link.received_us -= dead_us
        link.check(link.due_us)
        assert (await within(run)).code == ErrorCode.TIMEOUT
    finally:
        await RawPeer(far).close()


async def test_few_messages_with_bytes_wait_for_a_slow_peer() -> None:
    """Lines still find a place behind them."""
    near, far = await connected_streams()
    stream = _HeldStream(near)
    link = Link(stream, {}, "held")  # type: ignore[arg-type]
    link.peer_max_chunk_bytes = 1_024
    run = asyncio.create_task(run_link(link))
    chunk = bytes(range(256)) * 4
    try:
        await sleep_ms(0)
        for number in range(1 + MAX_QUEUED_CHUNKS):
            link.send_nowait(SocketMessage("chunk", number, attachment=chunk))
        raises(ErrorCode.BUSY, link.send_nowait, SocketMessage("chunk", "refused", attachment=chunk))
        for number in range(1 + MAX_QUEUED_CHUNKS, 1 + MAX_QUEUED_LINES):
            link.send_nowait(SocketMessage("event", number))
        raises(ErrorCode.BUSY, link.send_nowait, SocketMessage("event", "refused"))
        stream.free()
    finally:
        link.close(ProtocolError(ErrorCode.DISCONNECTED, "enough"))
        await within(run)
        await RawPeer(far).close()
    parser = MessageLineParser(max_chunk_bytes=1_024)
    ids = []
    chunks = []
    for data in stream.written:
        for message in parser.feed(data):
            ids.append(message.id)
            if message.attachment is not None:
                chunks.append(message.attachment)
    assert ids == list(range(1 + MAX_QUEUED_LINES))
    assert chunks == [chunk] * (1 + MAX_QUEUED_CHUNKS)


def _is_sent(link: Link, line: bytes) -> bool:
    """Whether the link took the line; else it was `busy`."""
    try:
        link.send_line_nowait(line)
    except ProtocolError as error:
        if error.code != ErrorCode.BUSY or error.unknown_fate:
            raise
        return False
    return True


async def _send_for_ever(link: Link, message: SocketMessage) -> None:
    while True:
        await link.send(message)


async def test_a_peer_that_never_reads_is_bounded_then_given_up() -> None:
    async with LinkAndPeer() as both:
        message = SocketMessage("event", 1, data={"x": "x" * 4_000})
        line = message.to_line()
        for _ in range(100_000):
            if not _is_sent(both.link, line):
                break
        else:
            raise AssertionError("the queue has no end")
        assert both.link._queue is not None
        assert len(both.link._queue) == MAX_QUEUED_LINES
        raises(ErrorCode.BUSY, both.link.send_nowait, SocketMessage("ping", 1))
        assert both.link.close_error is None
        waits = begin(_send_for_ever(both.link, message))
        both.link.start_heartbeat(MIN_HEARTBEAT_MS, MIN_HEARTBEAT_MS)
        assert (await within(both.run)).code == ErrorCode.TIMEOUT
        await failed(ErrorCode.DISCONNECTED, waits)


async def test_a_slow_reader_gets_everything_in_order() -> None:
    async with LinkAndPeer() as both:
        count = 0
        while _is_sent(both.link, SocketMessage("event", count, data={"x": "x" * 1_000}).to_line()):
            count += 1

        async def more() -> None:
            for number in range(count, count + 2 * MAX_QUEUED_LINES):
                await both.link.send(SocketMessage("event", number, data={"x": "y" * 1_000}))

        waits = asyncio.create_task(more())
        for number in range(count + 2 * MAX_QUEUED_LINES):
            message = await both.peer.next()
            assert message is not None
            assert message.id == number, (message.id, number, count)
        await within(waits)
        # The way is free again.
        both.link.send_nowait(SocketMessage("ping", "p"))
        assert await both.peer.next() == SocketMessage("ping", "p")


async def test_a_peer_that_asks_and_never_reads_is_held_up_itself() -> None:
    """It asks for pongs without end; this side stops reading instead of keeping them."""
    async with LinkAndPeer() as both:
        both.link.health = lambda: b'{"x":"%s"}' % (b"x" * 3_000)
        both.link.start_heartbeat(MIN_HEARTBEAT_MS, MIN_HEARTBEAT_MS)
        pings = SocketMessage("ping", 1).to_line() * 100

        async def flood() -> None:
            while await both.peer.send(pings):
                pass

        flooding = asyncio.create_task(flood())
        error = await within(both.run)
        assert error.code == ErrorCode.TIMEOUT
        assert both.link._queue is not None
        assert len(both.link._queue) <= MAX_QUEUED_LINES
        await within(flooding)


async def test_a_handler_that_hangs_holds_up_nobody() -> None:
    async with LinkPair({"hit": never, "miss": echo}) as pair:
        hung = begin(pair.near.request(SocketMessage("hit", "hung"), 60_000))
        pongs = asyncio.Event()
        pair.near.on_health = lambda _: pongs.set()
        pair.far.health = lambda: b'{"state":"down"}'
        pair.near.start_heartbeat(MIN_HEARTBEAT_MS, MIN_HEARTBEAT_MS)
        pair.far.start_heartbeat(MIN_HEARTBEAT_MS, MIN_HEARTBEAT_MS)
        for _ in range(DEAD_AFTER_BEATS + 1):  # by then a link without heartbeat would be dead
            pongs.clear()
            await within(pongs.wait())
            assert (await pair.near.request(SocketMessage("miss", "other"), TIMEOUT_MS)).type == "ack"
        assert not hung.done()
        assert pair.near.close_error is None
        pair.near.close(ProtocolError(ErrorCode.DISCONNECTED, "enough"))
        await failed(ErrorCode.DISCONNECTED, hung)
