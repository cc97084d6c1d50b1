"""The reader of a stream: its blocks, as they come over a connection to a hub or over one after the other."""

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import numpy

from snyper.client.errors import NoHubError, TargetError
from snyper.client.hub_client import HubClient
from snyper.shared.clock import now_us
from snyper.shared.link import Link
from snyper.shared.link_core import error_of
from snyper.shared.runtime import MAX_CHUNK_BYTES
from snyper.shared.socket_protocol import (
    MAX_DURATION_MS,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
)
from snyper.shared.stream_spec import MAX_BLOCK_BYTES, READ_STREAM, STOP, checked_name
from snyper.shared.vocabulary import MAX_TIMEOUT_MS
from snyper.streams.block import Block, Mark
from snyper.streams.buffers import Buffers
from snyper.streams.link_clock import LinkClock
from snyper.streams.spec import StreamSpec
from snyper.system import block_lines

_MAX_EPOCHS = 64  # whose names are known
_MAX_MARKS = 64  # of blocks that were dropped, which come with the next
_PAUSE_S = 0.5  # until a hub that is back, or a source that it does not know yet, is asked again
_PASSING = (ErrorCode.BUSY, ErrorCode.TIMEOUT, ErrorCode.DISCONNECTED, ErrorCode.UNKNOWN_TARGET)


class StreamReader:
    """The blocks of a stream as they come, to iterate over (`async for`). Made by `HubClient.read_stream`.

    `spec` and `epoch` are those of the block that was given last, or known before the first; `is_gone` says
    that the source is away, `evicted` how many of the samples that were asked for the hub has no more,
    `lost` how many are missing so far, `blocks` and `samples` how many came.
    """

    spec: StreamSpec | None = None
    epoch = ""
    is_gone = False
    evicted = 0
    lost = 0
    blocks = 0
    samples = 0

    def __init__(
        self,
        hub: HubClient,
        name: str,
        from_seq: int | None,
        epoch: str | None,
        history: str | float | None,
        max_queued_bytes: int,
        wait: bool,
    ) -> None:
        self.name = name
        self._source, _, self._stream = name.rpartition("/")
        checked_name(self._stream)
        if not self._source:
            raise ValueError(f"{name!r} is no stream: SOURCE/STREAM")
        if epoch is not None and from_seq is None:
            raise ValueError("`epoch` says of which run of the source `from_seq` is: give both")
        self._hub = hub
        self._begin: dict[str, Any] = {}
        if history is not None:
            self._begin["history_ms"] = history_ms(history)
        if from_seq is not None:
            self._begin = {"from_seq": from_seq} | ({} if epoch is None else {"epoch": epoch})
        self._max_bytes = max_queued_bytes
        self._waits = wait
        self._has_begun = False
        self._queue: deque[_Arrived] = deque()
        self._queued_bytes = 0
        self._news = asyncio.Event()
        self._current: _Epoch | None = None  # of what comes
        self._epochs: dict[str, _Epoch] = {}  # the last by their names
        self._next_place = 0  # behind what was given last
        self._end: SocketMessage | ProtocolError | None = None

    def __aiter__(self) -> AsyncGenerator[Block, None]:
        return self._blocks()

    async def _blocks(self) -> AsyncGenerator[Block, None]:
        while True:
            try:
                before = self.blocks
                async with _Subscription(self._hub, self) as subscription:
                    while True:
                        while self._queue:
                            yield self._block(self._queue.popleft(), subscription.clock)
                        if self._has_ended():
                            break
                        self._news.clear()
                        await self._news.wait()
                if self.blocks != before:
                    continue  # a source that ends by itself goes on when it is asked again
            except ProtocolError as error:
                may_go_on = self._hub.reconnects and (self._has_begun or self._waits)
                if error.code not in _PASSING or not may_go_on or isinstance(error, NoHubError):
                    raise
                self.is_gone = True
            await asyncio.sleep(_PAUSE_S)

    def _has_ended(self) -> bool:
        """Tell whether it has, in an orderly way. Raises ProtocolError for another."""
        end, self._end = self._end, None
        if isinstance(end, ProtocolError):
            raise end
        if end is not None and end.type == MessageType.ERROR:
            error = error_of(end)
            if error.code in (
                ErrorCode.DISCONNECTED,
                ErrorCode.TIMEOUT,
            ):  # of its source: the hub has answered
                raise TargetError(self._source, error.code, error.message)
            raise error
        return end is not None

    def request(self) -> dict[str, Any]:
        """Return what to ask for: at first as told, then from where it has come to."""
        data: dict[str, Any] = {"stream": self._stream, "max_queued_bytes": self._max_bytes}
        data["timeout_ms"] = MAX_TIMEOUT_MS  # for a hub on a board, which forwards it as any command
        if self._waits or self._has_begun:
            data["wait"] = True
        if self._current is not None:
            return data | {"epoch": self._current.name, "from_seq": self._current.next_seq}
        return data | self._begin

    def take(self, message: SocketMessage) -> None:
        """Take an item."""
        try:
            if message.status == "streams":
                self._on_begun(message)
            elif message.status == "gone":
                self.is_gone = True
            elif message.attachment is not None and self._current is not None:
                queue = self._queue
                if not queue:
                    self._news.set()
                queue.append(_Arrived(self._current, message))
                self._queued_bytes += len(message.attachment)
                if self._queued_bytes > self._max_bytes:
                    self._drop_oldest()
                return
        except ValueError as error:
            self.end(ProtocolError(ErrorCode.BAD_MESSAGE, f"the hub answers what is no stream: {error}"))
        self._news.set()

    def _drop_oldest(self) -> None:
        """Drop the oldest blocks that are too many for a reader who has not come so far."""
        while self._queued_bytes > self._max_bytes and len(self._queue) > 1:
            dropped = self._queue.popleft()
            self._queued_bytes -= len(dropped.content)
            self._queue[0].marks = (dropped.marks + self._queue[0].marks)[-_MAX_MARKS:]

    def end(self, end: SocketMessage | ProtocolError) -> None:
        """Take the end of it."""
        self._end = end
        self._news.set()

    def _on_begun(self, message: SocketMessage) -> None:
        data: dict[str, Any] = message.data or {}
        spec = StreamSpec.from_data(data)
        name, seq = str(data.get("epoch")), block_lines.count(data, "seq")
        self.is_gone = False
        self._has_begun = True
        self.evicted += block_lines.count(data, "evicted", 0)
        before, same = self._current, self._epochs.get(name)
        if same is not None and same.spec != spec:
            raise ValueError(f"the epoch {name} has had another spec")
        if before is not None and before.name == name:
            return
        lost = block_lines.count(data, "lost", 0)
        if before is None:
            self.spec, self.epoch = spec, name
            self._current = _Epoch(name, spec, 0, seq)
            self._next_place = seq
        else:
            first = 0 if same is None else max(same.next_seq, seq)  # it comes again: its numbers have been
            self._current = _Epoch(name, spec, before.place + before.next_seq + lost - first, first)
        self._epochs.pop(name, None)
        self._epochs[name] = self._current
        if len(self._epochs) > _MAX_EPOCHS:
            del self._epochs[next(iter(self._epochs))]

    def _block(self, arrived: "_Arrived", clock: LinkClock) -> Block:
        self._queued_bytes -= len(arrived.content)
        epoch, seq = arrived.epoch, arrived.seq
        self.spec, self.epoch = epoch.spec, epoch.name
        content = memoryview(arrived.content).toreadonly()
        count = arrived.next_seq - seq
        samples = numpy.ndarray((count, *epoch.shape), epoch.dtype, content)
        lost = epoch.place + seq - self._next_place
        self._next_place = epoch.place + arrived.next_seq
        self.blocks += 1
        self.samples += count
        self.lost += lost
        at_us = arrived.stamps[0]
        lag_us = clock.hub_us(now_us()) - at_us if clock.is_set else 0
        return Block(epoch.name, seq, samples, *arrived.stamps, arrived.marks, lost, lag_us)


class _Epoch:
    """One run of a source. `place` is that of its sample 0 among all of the stream, those that are lost
    too; `next_seq` the number that follows on all that has come of it.
    """

    def __init__(self, name: str, spec: StreamSpec, place: int, next_seq: int) -> None:
        self.name = name
        self.spec = spec
        self.place = place
        self.next_seq = next_seq
        self.sample_bytes = spec.sample_bytes
        self.dtype = numpy.dtype(spec.dtype)
        self.shape = spec.shape


class _Arrived:
    """A block as it has come. Raises ValueError for what is none."""

    def __init__(self, epoch: _Epoch, message: SocketMessage) -> None:
        data: dict[str, Any] = message.data or {}
        self.seq, at_us, uncertainty_us, source_us = block_lines.numbers_of(data)
        self.stamps = at_us, uncertainty_us, source_us
        self.epoch = epoch
        self.content = message.attachment
        self.marks = _marks(data["marks"]) if "marks" in data else ()
        samples, rest = divmod(len(self.content), epoch.sample_bytes)
        if rest:
            raise ValueError("no whole samples")
        if self.seq < epoch.next_seq:
            raise ValueError(f"sample {self.seq} comes after {epoch.next_seq - 1}")
        self.next_seq = epoch.next_seq = self.seq + samples


def _marks(marks: Any) -> tuple[Mark, ...]:
    try:
        return tuple(Mark(str(name), int(at_us)) for name, at_us in marks)
    except (TypeError, OverflowError):
        raise ValueError("no `marks`") from None


class _Subscription:
    """One request for a stream, over one connection, for `async with`."""

    def __init__(self, hub: HubClient, reader: StreamReader) -> None:
        self._hub = hub
        self._reader = reader

    async def __aenter__(self) -> "_Subscription":
        self._connection = connection = await self._hub._live_connection()
        self._link: Link = connection._link
        self._id = self._link.new_id()
        if self._link.max_chunk_bytes != MAX_BLOCK_BYTES:
            block_lines.expect_blocks(self._link, Buffers())
        self.clock = LinkClock.of(self._link)
        self.clock.hold()
        data = self._reader.request()
        if self._link.peer_max_chunk_bytes >= MAX_CHUNK_BYTES:  # by a hub on a board it would be forwarded
            data["max_block_bytes"] = MAX_BLOCK_BYTES
        message = SocketMessage(READ_STREAM, self._id, self._reader._source, None, data)
        connection._streams[self._id] = self._reader.take
        self._link.start_request(self._id, message.to_line(), self._on_reply, None)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._connection._streams.pop(self._id, None)
        await self.clock.release()
        if self._is_open:
            self._link.cancel_request(self._id)
            with suppress(ProtocolError):
                self._link.send_nowait(SocketMessage(MessageType.ITEM, self._id, self._reader._source, STOP))

    _is_open = True

    def _on_reply(self, token: object, reply: SocketMessage | ProtocolError) -> None:
        self._is_open = False
        self._reader.end(reply)


_UNITS = {"ms": 1, "s": 1_000, "m": 60_000}


def history_ms(history: str | float) -> int:
    """Return a time such as 10, "10s", "500ms" or "5m" in milliseconds. Raises ValueError."""
    if isinstance(history, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)", history.strip())
        if found is None:
            raise ValueError(f"{history!r} is no time: such as 10s, 500ms, 5m")
        milliseconds = float(found[1]) * _UNITS[found[2]]
    else:
        milliseconds = history * 1000
    if not 0 <= milliseconds <= MAX_DURATION_MS:
        raise ValueError(f"a history is 0 to {MAX_DURATION_MS // 1000} s")
    return int(milliseconds)
