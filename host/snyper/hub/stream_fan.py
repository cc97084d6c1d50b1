"""The fan-out of streams: one reader of each source for as many subscribers as there are.

A stream keeps its last blocks. A subscriber is a place in them: so a block is kept once however many read it,
and who reads too slowly loses the oldest, when they are dropped before he has come so far. Nobody waits for
anybody.
"""

import asyncio
import socket
import time
from collections import deque
from contextlib import suppress
from typing import Any

from snyper.firmware.master.registry import Registry
from snyper.firmware.master.server import SWEEP_MS
from snyper.hub.stream_blocks import Blocks, Buffers, Epoch, Kept, epoch_of, kept_of
from snyper.shared.clock import now_us
from snyper.shared.link import Link
from snyper.shared.link_core import CloseReason, error_of
from snyper.shared.log import log
from snyper.shared.runtime import call_later
from snyper.shared.socket_protocol import (
    ALL_TARGETS,
    DEAD_AFTER_BEATS,
    MAX_DURATION_MS,
    MAX_INTEGER,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    encode_json,
    integer_field,
    is_target_id,
    text_field,
)
from snyper.shared.stream_spec import MAX_BLOCK_BYTES, READ_STREAM, STOP, checked_name, joined_marks
from snyper.system import block_lines

MAX_SUBSCRIPTIONS = 64  # of one console
MAX_BLOCKS_PER_S = 4_000  # of one stream, that are no lines to the hub's limit of them
MAX_KEPT_BYTES = 256 << 20  # of all streams together
LINGER_S = 1.0  # that a source is read after its last subscriber has gone
LOST_LINGER_S = 10.0  # where that one was lost: back by then, as a recorder is, it has missed nothing
BEGIN_S = 5.0  # that a source may take to say what a stream is
RETRY_S = 1.0  # until a source that has refused is asked again
_NEXT_S = 0.1  # one that ends sooner has refused
SOURCE_DURATION_MS = 60_000  # that a source which ends by itself is asked for at a time
_BOUND_BLOCKS = 16  # of a stream, between two looks at how much all keep
_PER_TURN = 32  # items, before other tasks get their turn
_PER_TURN_BYTES = 1 << 20
_JOINED_BYTES = 16_384  # what is more is not copied behind its line
# That the system may hold for a subscriber, or a block: what he is told meanwhile waits behind it.
_UNSENT_BYTES = 16_384


class Subscriber:
    """One that reads a stream: how far he is, and what he has been told."""

    epoch: Epoch | None = None  # None until the stream is known
    told: Epoch | None = None
    is_told_gone = False
    is_ready = False  # to be fed
    at = 0  # the block that comes next
    next_seq = 0  # the sample
    evicted = 0  # samples that he has asked for and are kept no more
    lost = 0  # of an epoch before this, and not told yet
    reply: SocketMessage | None = None  # that ends it

    def __init__(self, stream: "Stream", link: Link, message: SocketMessage) -> None:
        data = message.data or {}
        self.stream = stream
        self.link = link
        self.message = message
        self.from_seq = integer_field(data, "from_seq", -1, 0, MAX_INTEGER) if "from_seq" in data else None
        self.from_epoch = text_field(data, "epoch", "")
        self.history_ms = integer_field(data, "history_ms", 0, 0, MAX_DURATION_MS)
        self.wants_past = self.from_seq is not None or self.history_ms > 0
        self.max_bytes = integer_field(data, "max_queued_bytes", MAX_INTEGER, 0, MAX_INTEGER)
        duration_ms = integer_field(data, "duration_ms", 0, 0, MAX_DURATION_MS)
        self.until_s = time.monotonic() + duration_ms / 1000 if duration_ms else float("inf")
        self.waits = data.get("wait") is True
        limit = link.peer_max_chunk_bytes
        self.max_block_bytes = integer_field(data, "max_block_bytes", limit, 0, MAX_BLOCK_BYTES)
        id, source = encode_json(message.id), stream.source.encode()
        self.head = b'{"type":"item","id":%s,"target_id":"%s",' % (id, source)

    def item(self, status: str, data: dict[str, Any]) -> SocketMessage:
        """Make an item that says something of the stream."""
        return SocketMessage(MessageType.ITEM, self.message.id, self.stream.source, status, data)


class Stream:
    """A stream of a source: what is kept of it, and who reads it."""

    epoch: Epoch | None = None
    link: Link | None = None  # over which it is read
    id = ""  # under which it is
    is_gone = False
    has_begun = False  # since it was last asked for: it has said what it is, and nothing wrong since
    problem = ""  # with what it said
    asked_s = 0.0  # when it was last asked for
    wanted_s = 0.0  # until when it is read though nobody does
    refused = 0  # blocks that were none
    lost = 0  # samples that the source has not sent
    sent = 0  # blocks, to all subscribers
    _second = 0
    _second_blocks = 0

    def __init__(self, source: str, name: str, buffers: Buffers) -> None:
        self.source = source
        self.name = name
        self.blocks = Blocks(buffers)
        self.epochs: dict[str, Epoch] = {}
        self.subscribers: list[Subscriber] = []

    def may_come_free(self) -> bool:
        """Count a block; tell whether it is no line to the limit of them."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._second_blocks = second, 0
        self._second_blocks += 1
        return self._second_blocks <= MAX_BLOCKS_PER_S

    def place(self, subscriber: Subscriber, next_seq: int = 0) -> None:
        """Have a subscriber begin where he wants to, as far as that is kept, else with what comes next:
        `next_seq`, where the source says so, or what follows on what has come.
        """
        assert self.epoch is not None
        blocks, asked = self.blocks, self.epochs.get(subscriber.from_epoch or self.epoch.name)
        first: Kept | None = None
        if subscriber.from_seq is not None:
            first = blocks.find(subscriber.from_epoch or self.epoch.name, subscriber.from_seq, asked)
        elif subscriber.history_ms:
            from_s = time.monotonic() - subscriber.history_ms / 1000
            first, subscriber.evicted = blocks.since(from_s), blocks.dropped_since(from_s)
        if first is None:
            subscriber.at, subscriber.epoch = blocks.end, self.epoch
            begin = max(self.epoch.next_seq, next_seq)
        else:
            subscriber.at, subscriber.epoch = first.number, first.epoch
            begin = first.seq
        subscriber.next_seq = begin
        if subscriber.from_seq is None:
            return
        epoch, wanted = subscriber.epoch, subscriber.epoch.place  # by the place in the stream
        if asked is epoch:
            wanted += subscriber.from_seq
        elif asked is not None:  # it has ended
            wanted = asked.place + min(subscriber.from_seq, asked.next_seq)
        subscriber.lost = max(0, epoch.place + epoch.first - wanted)
        subscriber.evicted = max(0, epoch.place + begin - wanted)
        if asked is epoch and first is not None and epoch.rate_hz:
            # Without a rate nobody could say when that sample was taken.
            subscriber.next_seq = max(begin, subscriber.from_seq)


class StreamFan:
    """All streams that somebody reads, or may read."""

    def __init__(self, registry: Registry, id_prefix: str) -> None:
        self._registry = registry
        self._id_prefix = id_prefix
        self._ids = 0
        self._streams: dict[tuple[str, str], Stream] = {}
        self._by_id: dict[str, Stream] = {}
        self._buffers = Buffers()
        self._announced: dict[str, dict[str, dict[str, Any]]] = {}
        self._subscribers: dict[Link, dict[str | int, Subscriber]] = {}
        self._ready: deque[Subscriber] = deque()
        self._blocked: dict[Link, list[Subscriber]] = {}
        self._unsent_bytes: dict[Link, int] = {}
        self._is_turn_due = False

    # --- what consoles ask

    def subscribe(self, link: Link, message: SocketMessage) -> None:
        """Begin to answer `read_stream`.

        Raises ProtocolError: `bad_message`, `unknown_target`, `disconnected` where the source is not there,
        `busy` for too many.
        """
        if link.close_error is not None:
            return  # it ended before this began
        source = message.target_id or ""
        if not is_target_id(source) or source == ALL_TARGETS:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "a stream is read from one peer: `target_id`")
        name = _stream_name(message)
        here = self._subscribers.setdefault(link, {})
        assert message.id is not None
        if message.id in here:
            raise ProtocolError(ErrorCode.BUSY, "a request with this id is under way", message.id)
        if len(here) >= MAX_SUBSCRIPTIONS:
            raise ProtocolError(ErrorCode.BUSY, f"a console reads {MAX_SUBSCRIPTIONS} streams at once")
        stream = self._streams.get((source, name)) or Stream(source, name, self._buffers)
        subscriber = Subscriber(stream, link, message)
        peer = self._registry.named.get(source)
        if not subscriber.waits:
            if peer is None:
                raise ProtocolError(ErrorCode.UNKNOWN_TARGET, f"no source is {source}")
            if peer.link is None:
                raise ProtocolError(ErrorCode.DISCONNECTED, f"the {peer.role} is away")
        self._streams[source, name] = stream
        here[message.id] = subscriber
        stream.subscribers.append(subscriber)
        link.reads_always = True  # what is to be read may be that he wants no more
        link.on_drained = self._on_drained
        self._bound_unsent(link, _UNSENT_BYTES)
        if stream.link is not None and stream.has_begun:
            stream.place(subscriber)
            self._make_ready(subscriber)
        else:
            self._ask(stream)

    def stop(self, link: Link, id: str | int | None) -> bool:
        """End a subscription; tell whether there is one of this id."""
        subscriber = self._subscribers.get(link, {}).get(id)  # type: ignore[arg-type]
        if subscriber is None:
            return False
        self._end(subscriber, "stopped")
        return True

    def drop_link(self, link: Link) -> None:
        """Drop the subscriptions of a link that has ended."""
        for subscriber in self._subscribers.pop(link, {}).values():
            self._remove(subscriber, LOST_LINGER_S)
        self._blocked.pop(link, None)
        self._unsent_bytes.pop(link, None)

    def list(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what is known of each stream, with the name of its source."""
        found = {
            (source, name): {"stream": name, **spec}
            for source, streams in self._announced.items()
            for name, spec in streams.items()
        }
        for key, stream in self._streams.items():
            about = found.setdefault(key, {"stream": stream.name})
            if stream.epoch is not None:
                about |= stream.epoch.brief() | {"epoch": stream.epoch.name, "seq": stream.epoch.next_seq}
            about |= {"subscribers": len(stream.subscribers), "lost": stream.lost, "refused": stream.refused}
            about |= {"kept_bytes": stream.blocks.size, "kept_ms": stream.blocks.kept_ms()}
        for (source, _), about in found.items():
            peer = self._registry.named.get(source)
            about["connected"] = peer is not None and peer.link is not None
        return [(source, about) for (source, _), about in sorted(found.items())]

    def subscriptions(self) -> int:
        """Return how many there are, those included that have still to be told their end."""
        return sum(len(here) for here in self._subscribers.values())

    # --- what sources say

    def announce(self, source: str, streams: dict[str, dict[str, Any]]) -> None:
        """Take which streams a source has."""
        self._announced[source] = streams
        self.on_registered(source)

    def on_registered(self, source: str) -> None:
        """Ask a source that is here for what is wanted of it."""
        for stream in list(self._streams.values()):
            if stream.source == source and stream.subscribers:
                self._ask(stream)

    def take(self, link: Link, message: SocketMessage) -> bool:
        """Take an item of a source; tell whether it is of a stream that is read."""
        stream = self._by_id.get(message.id)  # type: ignore[arg-type]
        if stream is None or stream.link is not link:
            return False
        try:
            if message.status == "streams":
                self._on_begun(stream, message)
            elif message.attachment is not None:
                self._on_block(stream, message)
                if stream.may_come_free():
                    link.lines -= 1
        except ValueError as error:
            stream.refused += 1
            if stream.refused == 1:
                log("hub", f"a block of {stream.source}/{stream.name} is none: {error}")
            if message.status == "streams":
                stream.problem = f": {error}"
        self._turn_now()  # what has just come is in the processor's cache
        return True

    # ---

    def sweep(self) -> None:
        """Do what is due now and then: end who has had his time, stop what nobody reads, ask again."""
        now_s = time.monotonic()
        for key, stream in list(self._streams.items()):
            for subscriber in list(stream.subscribers):
                if now_s >= subscriber.until_s and subscriber.reply is None:
                    self._end(subscriber, "ended")
            stream.blocks.drop_old()
            if stream.link is not None and not stream.has_begun and now_s - stream.asked_s >= BEGIN_S:
                self._leave(stream)
                stream.link.cancel_request(stream.id)
                why = f"{stream.source} does not say what {stream.name} is{stream.problem}"
                self._on_reply(stream, ProtocolError(ErrorCode.TIMEOUT, why))
            if stream.subscribers:
                if stream.link is None and now_s - stream.asked_s >= RETRY_S:
                    self._ask(stream)
            elif now_s >= stream.wanted_s:
                self._leave(stream)
                if not stream.blocks.size:
                    del self._streams[key]
        for link in self._subscribers:
            self._end_deaf(link)
        for source in list(self._announced):
            if source not in self._registry.named:
                del self._announced[source]

    def _end_deaf(self, link: Link) -> None:
        """End a link whose peer takes nothing of what waits for it for as long as a dead one is silent. What
        it says, which is read all the same, is no sign that it reads.
        """
        if link.writable or link.close_error is not None:
            return
        stream = _stream_of(link)
        if stream is None:
            return
        deaf_ms = (now_us() - stream.taken_us) // 1000
        left_ms = DEAD_AFTER_BEATS * link._heartbeat_ms - deaf_ms
        if left_ms <= 0:
            why = ProtocolError(ErrorCode.TIMEOUT, f"it has taken nothing for {deaf_ms} ms")
            link.close(why, reason=CloseReason.SILENT)
        elif left_ms < SWEEP_MS:  # before the next sweep
            call_later(left_ms, lambda: self._end_deaf(link))

    def _ask(self, stream: Stream) -> None:
        """Begin to read a source, if it is there and is not read already."""
        if stream.link is not None:
            return
        peer = self._registry.named.get(stream.source)
        link = None if peer is None else peer.link
        stream.asked_s = time.monotonic()
        if link is None or peer is None:
            self._on_gone(stream)
            return
        self._ids += 1
        id = f"{self._id_prefix}{self._ids}"
        data: dict[str, Any] = {"stream": stream.name, "max_block_bytes": MAX_BLOCK_BYTES}
        block_lines.expect_blocks(link, self._buffers)
        if peer.is_target:
            data["duration_ms"] = SOURCE_DURATION_MS
        if stream.epoch is not None:
            data |= {"epoch": stream.epoch.name, "from_seq": stream.epoch.next_seq}
        message = SocketMessage(READ_STREAM, id, None, None, data)
        stream.link, stream.id, stream.has_begun, stream.problem = link, id, False, ""
        self._by_id[id] = stream
        try:
            link.start_request(id, message.to_line(), self._on_reply, stream)
        except ProtocolError as error:
            self._on_reply(stream, error)

    def _leave(self, stream: Stream) -> None:
        """Tell a source that nobody reads it any more."""
        if stream.link is None:
            return
        with suppress(ProtocolError):  # the next sweep tells it again
            stream.link.send_nowait(SocketMessage(MessageType.ITEM, stream.id, None, STOP))

    def _on_reply(self, stream: Stream, reply: SocketMessage | ProtocolError) -> None:
        """Take that a source has ended a stream, has refused it, or is gone."""
        del self._by_id[stream.id]
        stream.link = None
        if isinstance(reply, SocketMessage) and reply.type == MessageType.ERROR:
            reply = error_of(reply)
            if reply.code == ErrorCode.UNKNOWN_TYPE:
                why = f"no stream of {stream.source} is {stream.name}"
                reply = ProtocolError(ErrorCode.UNKNOWN_TARGET, why)
        if isinstance(reply, ProtocolError):
            is_final = reply.code == ErrorCode.UNSUPPORTED  # which no waiting changes
            for subscriber in list(stream.subscribers):
                if subscriber.epoch is None and (is_final or not subscriber.waits):
                    self._end(subscriber, "", reply)
        elif stream.subscribers and time.monotonic() - stream.asked_s > _NEXT_S:
            self._ask(stream)  # it may go on: one that cannot says so
            return
        self._on_gone(stream)

    def _on_gone(self, stream: Stream) -> None:
        stream.is_gone = True
        for subscriber in stream.subscribers:
            if subscriber.epoch is None and subscriber.wants_past and stream.blocks.size:
                stream.place(subscriber)
            self._make_ready(subscriber)

    def _on_begun(self, stream: Stream, message: SocketMessage) -> None:
        stream.has_begun = False
        stream.epoch, seq = epoch_of(message, stream.epochs)
        if all(subscriber.epoch is None for subscriber in stream.subscribers):
            stream.epoch.next_seq = max(seq, stream.epoch.next_seq)  # what nobody wanted is not lost
        stream.is_gone, stream.has_begun = False, True
        for subscriber in stream.subscribers:
            if subscriber.epoch is None:
                stream.place(subscriber, seq)
            self._make_ready(subscriber)

    def _on_block(self, stream: Stream, message: SocketMessage) -> None:
        epoch = stream.epoch
        if epoch is None or not stream.has_begun:
            raise ValueError("it has not said what the stream is")
        block = kept_of(epoch, message)
        stream.lost += block.seq - epoch.next_seq
        epoch.next_seq = block.seq + block.count
        stream.blocks.add(block)
        if not block.number % _BOUND_BLOCKS:
            self._bound()
        for subscriber in stream.subscribers:
            self._queue(subscriber)

    def _bound(self) -> None:
        """Drop the oldest of the largest stream while all together keep too much."""
        while sum(stream.blocks.size for stream in self._streams.values()) > MAX_KEPT_BYTES:
            max(self._streams.values(), key=lambda stream: stream.blocks.size).blocks.drop()

    # --- to the subscribers

    def _end(self, subscriber: Subscriber, status: str, error: ProtocolError | None = None) -> None:
        message = subscriber.message
        if error is not None:
            subscriber.reply = error.to_message(message.id, message.target_id)
        else:
            subscriber.reply = message.reply(MessageType.REPLY, status)
        self._remove(subscriber, LINGER_S)
        self._make_ready(subscriber)

    def _remove(self, subscriber: Subscriber, linger_s: float) -> None:
        stream = subscriber.stream
        if subscriber in stream.subscribers:
            stream.subscribers.remove(subscriber)
            stream.wanted_s = max(stream.wanted_s, time.monotonic() + linger_s)

    def _queue(self, subscriber: Subscriber) -> None:
        if not subscriber.is_ready and subscriber.link.close_error is None:
            subscriber.is_ready = True
            self._ready.append(subscriber)

    def _make_ready(self, subscriber: Subscriber) -> None:
        self._queue(subscriber)
        self._turn_later()

    def _turn_now(self) -> None:
        if self._ready and not self._is_turn_due:  # else others are first
            self._turn()

    def _turn_later(self) -> None:
        if self._ready and not self._is_turn_due:
            self._is_turn_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Feed some of those who are ready, one item each, in turn."""
        self._is_turn_due = False
        ready = self._ready
        size = 0
        for _ in range(_PER_TURN):
            if not ready or size >= _PER_TURN_BYTES:
                break
            subscriber = ready.popleft()
            link = subscriber.link
            if link.close_error is not None:
                subscriber.is_ready = False
            elif not link.writable:
                self._blocked.setdefault(link, []).append(subscriber)
            else:
                try:
                    sent = self._feed(subscriber)
                except ProtocolError as error:
                    link.connection_lost(error)
                    continue
                if sent:
                    size += sent
                    ready.append(subscriber)
                else:
                    subscriber.is_ready = False
        self._turn_later()

    def _on_drained(self, link: Link) -> None:
        """Feed those again for whom the network takes more now."""
        for subscriber in self._blocked.pop(link, ()):
            subscriber.is_ready = False
            self._queue(subscriber)
        if link._drained is None:
            self._turn_now()
        else:  # who has waited to say something to him is first
            self._turn_later()

    def _feed(self, subscriber: Subscriber) -> int:
        """Send the next item to a subscriber. Returns its bytes; 0 where there is none."""
        stream, link = subscriber.stream, subscriber.link
        if subscriber.reply is not None:
            self._subscribers.get(link, {}).pop(subscriber.message.id, None)  # type: ignore[arg-type]
            link.send_nowait(subscriber.reply)
            return 0
        if subscriber.epoch is None:
            if not stream.is_gone or subscriber.is_told_gone:
                return 0
            return self._tell_gone(subscriber)
        if subscriber.is_told_gone and not stream.is_gone:
            subscriber.is_told_gone, subscriber.told = False, None
        if subscriber.told is not subscriber.epoch:
            return self._tell_epoch(subscriber)
        block = stream.blocks.next_for(subscriber.at, subscriber.max_bytes)
        if block is None:
            subscriber.at = stream.blocks.end
            if stream.is_gone:
                return 0 if subscriber.is_told_gone else self._tell_gone(subscriber)
            if stream.epoch is not None and subscriber.epoch is not stream.epoch:
                self._change(subscriber, stream.epoch)
                return self._tell_epoch(subscriber)
            return 0
        if block.epoch is not subscriber.epoch:
            self._change(subscriber, block.epoch)
            return self._tell_epoch(subscriber)
        return self._send_block(subscriber, block)

    def _bound_unsent(self, link: Link, size: int) -> None:
        """Have the system take no more for a subscriber than so many bytes that it cannot send now, or what
        was allowed before.
        """
        if size <= self._unsent_bytes.get(link, 0):
            return
        self._unsent_bytes[link] = size
        stream = _stream_of(link)
        sock = None if stream is None else stream._transport.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)

    def _change(self, subscriber: Subscriber, epoch: Epoch) -> None:
        if subscriber.epoch is not None and subscriber.epoch is not epoch:
            come_to = subscriber.epoch.place + subscriber.next_seq
            subscriber.lost += max(0, epoch.place + epoch.first - come_to)
            subscriber.next_seq = epoch.first
        subscriber.epoch = epoch

    def _tell_gone(self, subscriber: Subscriber) -> int:
        subscriber.is_told_gone = True
        subscriber.link.send_nowait(subscriber.item("gone", {}))
        return 1

    def _tell_epoch(self, subscriber: Subscriber) -> int:
        epoch = subscriber.epoch
        assert epoch is not None
        limit = subscriber.max_block_bytes
        if epoch.sample_bytes > limit:
            why = f"a sample has {epoch.sample_bytes} bytes, and you take {limit}"
            self._end(subscriber, "", ProtocolError(ErrorCode.UNSUPPORTED, why))
            return 1
        data = {
            "stream": subscriber.stream.name,
            **epoch.spec,
            "epoch": epoch.name,
            "seq": subscriber.next_seq,
        }
        if subscriber.evicted:
            data["evicted"] = subscriber.evicted
        if subscriber.lost:
            data["lost"] = subscriber.lost
        subscriber.told = epoch
        subscriber.evicted = subscriber.lost = 0
        try:
            subscriber.link.send_nowait(subscriber.item("streams", data))
        except ProtocolError as error:
            if error.code != ErrorCode.LINE_TOO_LONG:
                raise
            del data["names"], data["units"]
            subscriber.link.send_nowait(subscriber.item("streams", data))
        return 1

    def _send_block(self, subscriber: Subscriber, block: Kept) -> int:
        stream, link = subscriber.stream, subscriber.link
        skipped = max(0, subscriber.next_seq - block.seq)
        count = min(block.count - skipped, subscriber.max_block_bytes // block.epoch.sample_bytes)
        whole = count == block.count
        lost = 0 if skipped else block.seq - subscriber.next_seq
        extra = b',"lost":%d' % lost if lost else b""
        marks = b"" if skipped else block.marks
        if block.number > subscriber.at:
            marks = joined_marks(stream.blocks.marks_between(subscriber.at, block.number), marks)
        if marks:
            extra += b',"marks":[%s]' % marks
        head, data = (block.head, block.data) if whole else block.part(skipped, count)
        line = b"".join((subscriber.head, head, extra, b'},"bytes":%d}\n' % len(data)))
        subscriber.next_seq = block.seq + skipped + count
        if skipped + count == block.count:
            subscriber.at = block.number + 1
        stream.sent += 1
        self._bound_unsent(link, len(data))
        if len(data) <= _JOINED_BYTES:
            link.transmit(line + data)
        else:
            link.transmit(line, data)
        return len(line) + len(data)


def _stream_name(message: SocketMessage) -> str:
    try:
        return checked_name((message.data or {}).get("stream"))
    except ValueError as error:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, str(error)) from None


def _stream_of(link: Link) -> Any:
    """Return the connection below seals and TLS; None where there is none."""
    stream: Any = link._stream
    while stream is not None and not hasattr(stream, "_transport"):
        stream = getattr(stream, "_stream", None)
    return stream
