"""Streams of a device: what it samples, for whoever reads it. Loaded with the first: see `Device.stream`.

A reader has sent `read_stream`, and gets items until it says `stop` or the stream ends: first what the stream
is, then its blocks, each with the raw bytes of its samples.
"""

import asyncio
import os
import sys
from binascii import hexlify

from snyper.shared.clock import now_ms, now_us
from snyper.shared.clock_sync import ClockSync
from snyper.shared.hub_clock import HubClock
from snyper.shared.link_core import CloseReason
from snyper.shared.runtime import MAX_CHUNK_BYTES, sleep_ms
from snyper.shared.socket_protocol import (
    MAX_INTEGER,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    encode_json,
    integer_field,
    text_field,
)
from snyper.shared.stream_spec import (
    ANNOUNCE_STREAMS,
    MAX_BLOCK_BYTES,
    MAX_MARKS_BYTES,
    MAX_STREAMS,
    MAX_TEXT_BYTES,
    STOP,
    brief,
    checked_name,
    checked_spec,
    joined_marks,
    sample_bytes,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snyper.shared.handshake_client import Registered
    from snyper.shared.link import Link

MAX_QUEUED_BYTES = 64 * MAX_CHUNK_BYTES  # of a reader that the network does not let through
CLOSE_MS = 1_000  # that the end of a stream waits for what is queued
_COMPUTER_BYTES = 65_536  # after a line, that a computer takes
_SENDS_PER_TURN = 8  # before others get their turn
_LOOK_MS = 10  # between two looks at that
# A block's line but for its numbers, which are all that differs from one to the next.
_ITEM = (
    b'{"type":"item","id":%s,"data":'
    b'{"seq":%%d,"at_us":%%d,"uncertainty_us":%%d,"source_us":%%d%s},"bytes":%d}\n'
)
_LOST = b',"lost":%d'
# What a buffer says of its items, where the runtime knows.
_KINDS = {"?": "b", "e": "f", "f": "f", "d": "f", "Zf": "c", "Zd": "c"}
_BYTES = ("b", "B", "c")
_INTEGERS = "hHiIlLqQnN"
# A board's `memoryview` says nothing of what is in it, and can be no view of bytes of another.
_uctypes: "Any" = None if hasattr(memoryview, "nbytes") else __import__("uctypes")
_NATIVE = "<" if sys.byteorder == "little" else ">"


class Sources:
    """The streams of one peer, by their names. `clock` is the hub's, as this side knows it: not at all where
    there is none, and then a block's `at_us` is the source's own.
    """

    def __init__(self) -> None:
        self.streams: "dict[str, SourceStream]" = {}
        self.clock = HubClock()
        self._readers: "list[_Reader]" = []
        self._stopped_id: "str | int | None" = None
        self._hub_boot_id = ""
        self._link: "Link | None" = None  # to the hub
        self._task: "asyncio.Task[None] | None" = None

    # --- what the owner calls

    def open(self, name: str, data: "dict[str, Any]", max_queued_bytes: int) -> "SourceStream":
        """Begin a stream. Raises ValueError: for what is no name or spec, for one that there is already, for
        samples that no block holds.
        """
        if checked_name(name) in self.streams:
            raise ValueError("there is a stream %s already" % name)
        if len(self.streams) >= MAX_STREAMS:
            raise ValueError("a source has at most %d streams" % MAX_STREAMS)
        spec = checked_spec(_plain_spec(data) if _uctypes is None else data)
        if sample_bytes(spec) > MAX_BLOCK_BYTES:
            raise ValueError("a sample of `dtype` and `shape` has more than %d bytes" % MAX_BLOCK_BYTES)
        stream = self.streams[name] = SourceStream(self, name, spec, max_queued_bytes)
        self.announce()
        return stream

    def begin(self, link: "Link") -> None:
        """Begin with a live link to the hub, of which the clock is not known yet."""
        link.on_stream = self.on_item
        link.on_close = self.on_close
        self._link = link
        self.announce()
        self._task = asyncio.create_task(self.attend(link))

    def on_registered(self, link: "Link", registered: "Registered", asked_us: int) -> None:
        """Take the first round of the hub's clock, clearing that of another hub."""
        link.on_stream = self.on_item
        link.on_close = self.on_close
        self._link = link
        if registered.boot_id != self._hub_boot_id:
            self._hub_boot_id = registered.boot_id
            self.clock.reset()
        if registered.hub_us >= 0:
            self.clock.add(asked_us, registered.hub_us, link.received_us)
        self.announce()

    async def attend(self, link: "Link") -> None:
        """Keep measuring the hub's clock for as long as `link` lives."""
        await ClockSync(self.clock).run(link)

    def announce(self) -> None:
        """Tell the hub of all streams that there are. One that is older does not know the word."""
        link = self._link
        if link is None or link.close_error is not None:
            return
        streams = {name: brief(self.streams[name].spec) for name in self.streams}
        message = SocketMessage(ANNOUNCE_STREAMS, link.new_id(), data={"streams": streams})
        assert message.id is not None
        try:
            link.start_request(message.id, message.to_line(), _ignore, None)
        except ProtocolError as error:
            link.log("its streams are not announced: %s" % error)

    # --- what a link calls

    async def answer(self, link: "Link", message: SocketMessage) -> None:
        """Begin to answer `read_stream`.

        Raises ProtocolError: `unknown_target` for no stream of that name, `unsupported` where a sample is
        more than the reader takes.
        """
        stream = self._named(message)
        limit = link.peer_max_chunk_bytes
        if limit >= _COMPUTER_BYTES:  # a hub on a board forwards what others say they take
            limit = integer_field(message.data or {}, "max_block_bytes", limit, 0, MAX_BLOCK_BYTES)
        if stream.sample_bytes > limit:
            why = "a sample has %d bytes, and who asks takes %d" % (stream.sample_bytes, limit)
            raise ProtocolError(ErrorCode.UNSUPPORTED, why)
        reader = _Reader(stream, link, message, limit // stream.sample_bytes)
        link.reads_always = True  # what is to be read may be that it wants no more
        stream.readers += (reader,)
        self._readers.append(reader)
        if message.id == self._stopped_id:
            reader.end("stopped")
            return
        reader.begin()

    async def mark(self, link: "Link", message: SocketMessage) -> SocketMessage:
        """Answer `mark_stream`: name an instant of a stream, for all who read it.

        Raises ProtocolError: `unknown_target` for no stream of that name, `bad_message` for no name.
        """
        stream = self._named(message)
        data = message.data or {}
        source_us = now_us()
        at_us = self.clock.hub_us(source_us) if self.clock.is_set else source_us
        if link is not self._link:  # it knows the device's own clock
            answer_us = source_us
        elif self.clock.is_set and "at_us" in data:
            answer_us = at_us = integer_field(data, "at_us", 0, 0, MAX_INTEGER)
            source_us = self.clock.local_us(at_us)
        else:
            answer_us = at_us
        try:
            stream.note(text_field(data, "name", ""), at_us, source_us)
        except ValueError as error:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, str(error))
        return message.reply(MessageType.REPLY, "marked", {"at_us": answer_us})

    def _named(self, message: SocketMessage) -> "SourceStream":
        name = text_field(message.data or {}, "stream", "")
        stream = self.streams.get(name)
        if stream is None:
            raise ProtocolError(ErrorCode.UNKNOWN_TARGET, "no stream here is %s" % (name or "without a name"))
        return stream

    def on_item(self, message: SocketMessage) -> None:
        """Take that a reader wants no more."""
        for reader in self._readers:
            if reader.id == message.id and message.status in (STOP, "gone"):
                reader.end("stopped")
                return
        if message.status == STOP:  # in one piece with its request, which is served in a task
            self._stopped_id = message.id

    def on_close(self, link: "Link", error: ProtocolError) -> None:
        """Let go of the readers of a link that has ended, and of its clock."""
        if link is self._link and self._task is not None:
            self._task.cancel()
            self._task = None
        for reader in self._readers[:]:
            if reader.link is link:
                self.drop(reader)

    def drop(self, reader: "_Reader") -> None:
        """Forget a reader."""
        if reader in self._readers:
            self._readers.remove(reader)
            stream = reader.stream
            stream.readers = tuple([other for other in stream.readers if other is not reader])


class SourceStream:
    """A stream of this device, for `async with`. Made by `Device.stream`."""

    _is_closed = False

    def __init__(self, sources: Sources, name: str, spec: "dict[str, Any]", max_queued_bytes: int) -> None:
        self.name = name
        self.spec = spec
        self.epoch = hexlify(os.urandom(8)).decode()
        self.seq = 0  # of the sample that comes next
        self.sample_bytes = sample_bytes(spec)
        self.max_queued_bytes = max_queued_bytes
        self.readers: "tuple[_Reader, ...]" = ()  # a new one where one comes or goes, also in a loop over it
        self._item_bytes = int(spec["dtype"][2:])
        self._sources = sources
        self._marks: "list[list[Any]]" = []
        self._own_marks: "list[list[Any]]" = []  # the same by the device's own clock
        self._turns = 0  # without one for others

    async def __aenter__(self) -> "SourceStream":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def is_read(self) -> bool:
        """Return whether somebody reads it: else nothing is sent, and a source may as well not sample."""
        return bool(self.readers)

    async def send(self, samples: "Any", source_us: "int | None" = None) -> None:
        """Send samples that follow those before without a gap, the first of which was taken at `source_us` of
        `now_us()`; if that is left out the last was taken now.

        `samples` is what has a buffer: an array of numpy of the stream's type and shape, `array`,
        `memoryview`, bytes. It is the caller's again when this returns, and that is at once: for a reader
        that the network does not let through they are kept, and of those the oldest dropped.

        Raises TypeError for another type of items or of `source_us`, ValueError for another shape, for an
        instant beyond what a line holds, and once it is closed.
        """
        view, count = self._checked(samples)
        if self._is_closed:
            raise ValueError("the stream is closed")
        if source_us is not None:
            source_us = _checked_instant(source_us)
        else:
            rate = self.spec["rate_hz"]
            source_us = now_us() - (int((count - 1) * 1_000_000 / rate) if rate else 0)
        seq = self.seq
        self.seq += count
        if self.readers and count:
            clock = self._sources.clock
            own_stamps = stamps = source_us, 0, source_us
            if clock.is_set:
                stamps = clock.hub_us(source_us), clock.uncertainty_us(source_us), source_us
            marks = own_marks = b""
            if self._marks:
                marks, own_marks = encode_json(self._marks)[1:-1], encode_json(self._own_marks)[1:-1]
                self._marks, self._own_marks = [], []
            for reader in self.readers:
                if reader.is_direct:
                    reader.take(seq, count, own_stamps, own_marks, view)
                else:
                    reader.take(seq, count, stamps, marks, view)
        self._turns += 1
        if self._turns >= _SENDS_PER_TURN:
            self._turns = 0
            await sleep_ms(0)

    async def flush(self) -> None:
        """Wait until each reader has been sent what there was, for a source that has the time."""
        for reader in self.readers:
            if reader.is_behind:
                await reader.flush()

    def mark(self, name: str, source_us: "int | None" = None) -> None:
        """Give the instant `source_us` of `now_us()`, or now, a name of at most MAX_TEXT_BYTES. It goes with
        the next samples; of more than MAX_MARKS_BYTES that wait for them the oldest are dropped. Raises
        TypeError, ValueError.
        """
        source_us = now_us() if source_us is None else _checked_instant(source_us)
        clock = self._sources.clock
        self.note(name, clock.hub_us(source_us) if clock.is_set else source_us, source_us)

    def note(self, name: str, at_us: int, source_us: int) -> None:
        """Name an instant as both clocks have it: the hub's and the device's own. Raises TypeError,
        ValueError.
        """
        if not isinstance(name, str):
            raise TypeError("a mark's name is text, no %s" % type(name).__name__)
        if not 0 < len(name.encode()) <= MAX_TEXT_BYTES:
            raise ValueError("a mark's name has 1 to %d bytes" % MAX_TEXT_BYTES)
        self._marks.append([name, at_us])
        self._own_marks.append([name, source_us])
        while max(len(encode_json(marks)) for marks in (self._marks, self._own_marks)) > MAX_MARKS_BYTES:
            self._marks.pop(0)
            self._own_marks.pop(0)

    async def close(self) -> None:
        """End the stream, once what is queued has left or after CLOSE_MS. May be repeated."""
        if self._is_closed:
            return
        self._is_closed = True
        del self._sources.streams[self.name]
        self._sources.announce()
        until_ms = now_ms() + CLOSE_MS
        while now_ms() < until_ms and self._is_behind():
            await sleep_ms(_LOOK_MS)
        for reader in self.readers:
            reader.end("ended")

    def _is_behind(self) -> bool:
        return bool([reader for reader in self.readers if reader.is_behind])

    def _checked(self, samples: "Any") -> "tuple[memoryview, int]":
        """Return the bytes of samples, and how many there are. Raises TypeError, ValueError."""
        view: "Any" = memoryview(samples)
        if _uctypes is None:
            self._check_items(view)
            if not view.c_contiguous:
                view = memoryview(view.tobytes())
            view = view.cast("B") if view.nbytes else memoryview(b"")
        else:
            item = len(bytes(view[:1]))
            if item and self._item_bytes % item:
                raise TypeError("items of %d bytes in a stream of %s" % (item, self.spec["dtype"]))
            view = _uctypes.bytearray_at(_uctypes.addressof(view), len(view) * item)
        size = len(view)
        count = size // self.sample_bytes
        if count * self.sample_bytes != size:
            raise ValueError("%d bytes are no whole number of samples of %d" % (size, self.sample_bytes))
        return view, count

    def _check_items(self, view: "Any") -> None:
        code = view.format.lstrip("<>!=@")
        if view.itemsize > 1 or code not in _BYTES:  # bytes may be anything
            wanted = self.spec["dtype"]
            if code not in _KINDS and (len(code) != 1 or code not in _INTEGERS):
                raise TypeError("items are %r, and a stream takes numbers: here %s" % (view.format, wanted))
            dtype = _dtype_of(view, code)
            if dtype != wanted:
                advice = "with numpy, `samples.astype(%r)`" % wanted
                raise TypeError("items are %s, the stream's %s: %s" % (dtype, wanted, advice))
        shape = self.spec["shape"]
        if view.ndim > 1 and list(view.shape[1:]) != shape and list(view.shape) != shape:
            raise ValueError("samples have the shape %s, the stream's %s" % (list(view.shape[1:]), shape))


class _Reader:
    """One that reads a stream over a link."""

    def __init__(self, stream: SourceStream, link: "Link", message: SocketMessage, step: int) -> None:
        self.stream = stream
        self._step = step  # samples in a block, at most
        self.link = link
        self.is_direct = link is not stream._sources._link  # it knows the device's own clock
        self.id = message.id
        self._message = message
        self._id = encode_json(message.id).replace(b"%", b"%%")
        self._item = b""  # _ITEM of a block like the last
        self._item_bytes = -1  # that follow it; -1 where it says more than most
        self._next_seq = stream.seq
        self._lost_marks = b""  # of blocks that were dropped
        self._first_line = b""  # while that could not be sent
        # While the network does not take what was written: what `_write` takes, the oldest first.
        self._queue: "list[tuple[Any, ...]]" = []
        self._queued_bytes = 0
        self._task: "asyncio.Task[None] | None" = None  # which waits for that

    def begin(self) -> None:
        """Say what the stream is. Raises ProtocolError."""
        stream = self.stream
        data = dict(stream.spec)
        data.update({"stream": stream.name, "epoch": stream.epoch, "seq": stream.seq})
        first = SocketMessage(MessageType.ITEM, self.id, None, "streams", data)
        line = first.to_line()
        if len(line) > self.link.peer_max_line_bytes:
            del data["names"], data["units"]
            line = first.to_line()
        if self.link.writable:
            self.link.transmit(line)
        else:
            self._first_line = line
            self._wait()

    def take(self, seq: int, count: int, stamps: "tuple[int, int, int]", marks: bytes, view: "Any") -> None:
        """Send samples, in as many blocks as the reader needs, or keep a copy for later."""
        step = self._step
        if count > step:
            items = len(view) // count  # of a sample
            rate = self.stream.spec["rate_hz"]
            view = memoryview(view)
            for at in range(0, count, step):
                later_us = int(at * 1_000_000 / rate) if rate else 0
                shifted = stamps[0] + later_us, stamps[1], stamps[2] + later_us
                piece = view[at * items : (at + step) * items]
                self.take(seq + at, min(step, count - at), shifted, b"" if at else marks, piece)
            return
        if self.link.writable and not self._queue and not self._first_line:
            self._write(seq, count, stamps, marks, view)
            return
        try:
            kept = bytes(view)
        except MemoryError:  # of a board: this one is lost, and the next has more
            self._lost_marks = joined_marks(self._lost_marks, marks)
            if self._queue:
                self._drop_oldest()
            return
        self._queue.append((seq, count, stamps, marks, kept))
        self._queued_bytes += len(kept)
        while self._queued_bytes > self.stream.max_queued_bytes:
            self._drop_oldest()
        self._wait()

    def _drop_oldest(self) -> None:
        block = self._queue.pop(0)
        self._queued_bytes -= len(block[4])
        self._lost_marks = joined_marks(self._lost_marks, block[3])

    def _write(self, seq: int, count: int, stamps: "tuple[int, int, int]", marks: bytes, view: "Any") -> None:
        size = count * self.stream.sample_bytes
        if marks or self._lost_marks:
            marks = b',"marks":[' + joined_marks(self._lost_marks, marks).replace(b"%", b"%%") + b"]"
            self._lost_marks = b""
        if seq != self._next_seq:
            marks += _LOST % (seq - self._next_seq)
        if marks or size != self._item_bytes:
            self._item_bytes = -1 if marks else size
            self._item = _ITEM % (self._id, marks, size)
        self._next_seq = seq + count
        self._send_line(self._item % (seq, stamps[0], stamps[1], stamps[2]), view)

    def _send_line(self, line: bytes, view: "Any" = None) -> None:
        try:
            self.link.transmit(line, view)
        except ProtocolError as error:
            self.link.connection_lost(error)

    def _wait(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._send_queue())

    async def _send_queue(self) -> None:
        link = self.link
        while (self._queue or self._first_line) and link.close_error is None:
            await link.drain()
            if self._first_line and link.writable:
                self._send_line(self._first_line)
                self._first_line = b""
            while self._queue and link.writable and link.close_error is None:
                block = self._queue.pop(0)
                self._queued_bytes -= len(block[4])
                self._write(*block)
        self._task = None

    @property
    def is_behind(self) -> bool:
        """Return whether something has not left yet that may still do so."""
        return bool(self._queue or not self.link.writable) and self.link.close_error is None

    async def flush(self) -> None:
        """Wait until what was queued has left, or the reader is gone."""
        while self.is_behind:
            await self.link.drain()
            await sleep_ms(0)

    def end(self, status: str) -> None:
        """Tell it that nothing more comes."""
        self.stream._sources.drop(self)
        self._queue = []
        try:
            self.link.send_nowait(self._message.reply(MessageType.REPLY, status, {"seq": self.stream.seq}))
        except ProtocolError as error:
            self.link.log("the end of a stream is not told: %s" % error)
            self.link.end(error, CloseReason.BROKEN)


def _dtype_of(view: "Any", code: str) -> str:
    """Return numpy's text for the numbers that a buffer holds."""
    order = view.format[0] if view.format[0] in "<>" else ">" if view.format[0] == "!" else _NATIVE
    kind = _KINDS.get(code) or ("i" if code.islower() else "u")
    return "%s%s%d" % ("|" if view.itemsize == 1 else order, kind, view.itemsize)


def _checked_instant(source_us: "Any") -> int:
    """Return an instant in µs as a line holds it. Raises TypeError, ValueError."""
    if type(source_us) is not int and not hasattr(source_us, "__index__"):  # which numpy's integers have
        raise TypeError("`source_us` is an integer of µs, no %s" % type(source_us).__name__)
    us = int(source_us)
    if not -MAX_INTEGER <= us <= MAX_INTEGER:
        raise ValueError("`source_us` is at most %d" % MAX_INTEGER)
    return us


def _plain_spec(data: "dict[str, Any]") -> "dict[str, Any]":
    """Return a spec with what numpy has for texts and numbers as those."""
    dtype, shape, rate_hz = data.get("dtype"), data.get("shape", ()), data.get("rate_hz", 0)
    if isinstance(dtype, type) and hasattr(dtype, "dtype"):  # such as numpy.float32
        dtype = dtype().dtype
    if isinstance(shape, (list, tuple)):
        shape = [_plain(length) for length in shape]
    elif type(_plain(shape)) is int:
        shape = [_plain(shape)]
    rate_hz = _plain(rate_hz)
    if type(rate_hz) is not bool and hasattr(rate_hz, "__float__"):
        rate_hz = rate_hz if type(rate_hz) is int else float(rate_hz)
    plain = dict(data)
    plain.update({"dtype": getattr(dtype, "str", dtype), "shape": shape, "rate_hz": rate_hz})
    return plain


def _plain(number: "Any") -> "Any":
    """Return another's integer as one, and all else as it is."""
    return int(number) if type(number) is not bool and hasattr(number, "__index__") else number


def _ignore(token: object, reply: object) -> None:
    """Take the answer to what may not be known."""
