"""The last blocks of a stream, as a hub keeps them. Pure, but for the time."""

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from snyper.shared.socket_protocol import (
    MAX_DURATION_MS,
    MAX_ID_CHARS,
    MAX_INTEGER,
    SocketMessage,
    encode_json,
)
from snyper.shared.stream_spec import MAX_MARKS_BYTES, brief, checked_spec, joined_marks, sample_bytes
from snyper.system.block_lines import count, numbers_of

MAX_STREAM_BYTES = 64 << 20
MAX_STREAM_S = 60.0
MAX_EPOCHS = 64  # of a stream, whose names are known
_MARKED = 64  # of the last blocks with marks: who has lost the block is told them with the next
_BLOCK_BYTES = 512  # of memory that a block takes beside its samples
_LARGE_BYTES = 32_768  # a smaller buffer is made at once
_MAX_FREE = 8
_OURS = 2  # references to a buffer that nobody else has: the variable, and the argument that counts them

_HEAD = b'"data":{"seq":%d,"at_us":%d,"uncertainty_us":%d,"source_us":%d'


class Epoch:
    """One run of a source, as far as its samples have come."""

    def __init__(
        self, name: str, spec: dict[str, Any], next_seq: int, order: int = 0, place: int = 0
    ) -> None:
        self.name = name
        self.order = order  # among those of its stream
        self.place = place  # of its sample 0 among those of the stream
        self.first = 0  # the sample that it begins with: another, where its name has been before
        self.spec = spec
        self.sample_bytes = sample_bytes(spec)
        self.rate_hz = spec["rate_hz"]
        self.next_seq = next_seq

    def brief(self) -> dict[str, Any]:
        """Return what its samples are, without names and units."""
        return brief(self.spec)


class Kept:
    """A block: its line but for what differs from reader to reader, and its bytes."""

    __slots__ = ("begin", "came_s", "count", "data", "epoch", "head", "marks", "number", "seq", "stamps")

    def __init__(self, epoch: Epoch, seq: int, stamps: tuple[int, int, int], marks: bytes, data: Any) -> None:
        self.epoch = epoch
        self.seq = seq
        self.count = len(data) // epoch.sample_bytes
        self.stamps = stamps
        self.head = _HEAD % (seq, *stamps)
        self.marks = marks  # as JSON without brackets
        self.data = data
        self.came_s = time.monotonic()
        self.number = 0  # in the stream
        self.begin = 0  # how many bytes the stream had before it

    @property
    def next_seq(self) -> int:
        """Return the number of the sample after it."""
        return self.seq + self.count

    def later_us(self, count: int) -> int:
        """Return how long after its first sample the one that many later was taken."""
        rate = self.epoch.rate_hz
        return int(count * 1_000_000 / rate) if rate else 0

    def part(self, skipped: int, count: int) -> tuple[bytes, Any]:
        """Return some of its samples, as a head and bytes."""
        size = self.epoch.sample_bytes
        data = memoryview(self.data)[skipped * size : (skipped + count) * size]
        if not skipped:
            return self.head, data
        later_us = self.later_us(skipped)
        at_us, uncertainty_us, source_us = self.stamps
        stamps = (at_us + later_us, uncertainty_us, source_us + later_us)
        return _HEAD % (self.seq + skipped, *stamps), data


class Buffers:
    """A maker of buffers for blocks, out of those of blocks that are kept no more: memory that is new costs a
    page fault for each 4 KiB, and the time to clear it.
    """

    def __init__(self) -> None:
        self._free: list[bytearray] = []

    def __call__(self, size: int) -> bytearray:
        while self._free:
            buffer = self._free.pop()
            is_ours = sys.getrefcount(buffer) == _OURS  # else it is still being sent
            if is_ours and len(buffer) == size:
                return buffer
        return bytearray(size)

    def give(self, buffer: Any) -> None:
        """Take the buffer of a block that is kept no more."""
        if type(buffer) is bytearray and len(buffer) >= _LARGE_BYTES and len(self._free) < _MAX_FREE:
            self._free.append(buffer)


class Blocks:
    """The last blocks of a stream, each with a number that it keeps: at most MAX_STREAM_BYTES, and those of
    MAX_STREAM_S. Their buffers go back to `buffers`.
    """

    def __init__(self, buffers: Buffers | None = None) -> None:
        self._buffers = buffers or Buffers()
        self._blocks: deque[Kept] = deque()
        self._first = 0
        self.size = 0
        self._end_bytes = 0
        self._marked: deque[tuple[int, bytes]] = deque(maxlen=_MARKED)
        self._dropped: deque[list[int]] = deque(maxlen=MAX_DURATION_MS // 1000)  # a second, samples of it
        self._dropped_s = float("-inf")  # when the last of them came

    @property
    def end(self) -> int:
        """Return the number of the block that comes next."""
        return self._first + len(self._blocks)

    def add(self, block: Kept) -> None:
        """Keep a block, and drop those that are too many or too old."""
        size = len(block.data) + _BLOCK_BYTES
        block.number, block.begin = self.end, self._end_bytes
        self._end_bytes += size
        self.size += size
        self._blocks.append(block)
        if block.marks:
            self._marked.append((block.number, block.marks))
        while self.size > MAX_STREAM_BYTES and len(self._blocks) > 1:
            self.drop()
        self.drop_old()

    def drop(self) -> None:
        """Drop the oldest block, if there is one."""
        if self._blocks:
            block = self._blocks.popleft()
            self.size -= len(block.data) + _BLOCK_BYTES
            self._first += 1
            self._buffers.give(block.data)
            self._dropped_s, second = block.came_s, int(block.came_s)
            if not self._dropped or self._dropped[-1][0] != second:
                self._dropped.append([second, 0])
            self._dropped[-1][1] += block.count

    def drop_old(self) -> None:
        """Drop what is too old."""
        until_s = time.monotonic() - MAX_STREAM_S
        while self._blocks and self._blocks[0].came_s < until_s:
            self.drop()

    def kept_ms(self) -> int:
        """Return how far back it goes."""
        return int((time.monotonic() - self._blocks[0].came_s) * 1000) if self._blocks else 0

    def next_for(self, at: int, max_bytes: int) -> Kept | None:
        """Return the block of this number, or the first after it that is kept and with which no more than
        `max_bytes` wait; None where there is none yet.
        """
        place = max(0, at - self._first)
        if place >= len(self._blocks):
            return None
        block = self._blocks[place]
        if self._end_bytes - block.begin > max_bytes:
            from_bytes = self._end_bytes - max_bytes
            block = self._blocks[min(self._place(lambda one: one.begin >= from_bytes), len(self._blocks) - 1)]
        return block

    def marks_between(self, first: int, end: int) -> bytes:
        """Return the marks of blocks from one number on, to another: also of those that are kept no more."""
        found = b""
        for number, marks in self._marked:
            if first <= number < end:
                found = joined_marks(found, marks)
        return found

    def find(self, epoch: str, seq: int, known: Epoch | None = None) -> Kept | None:
        """Return the first block after those that end before this sample of an epoch; where nothing of that
        is kept, the first after the epoch that is `known` by its name, or the oldest of all. None where there
        is none yet.
        """
        place = len(self._blocks) - 1
        while place >= 0:
            of = self._blocks[place].epoch
            if of.name == epoch:
                return self._at(self._place_after(of, seq))
            place = self._place_after(of, -1) - 1
        return self._at(0 if known is None else self._place_after(known, seq))

    def _place_after(self, epoch: Epoch, seq: int) -> int:
        """Return the place of the first block that has a later sample than those before `seq`."""
        return self._place(lambda one: (one.epoch.order, one.next_seq) > (epoch.order, seq))

    def since(self, from_s: float) -> Kept | None:
        """Return the first block that has come since then; None where there is none."""
        return self._at(self._place(lambda one: one.came_s >= from_s))

    def dropped_since(self, from_s: float) -> int:
        """Return how many samples have come since then and are kept no more; with them those before of the
        same second.
        """
        if from_s > self._dropped_s:
            return 0
        return sum(count for second, count in self._dropped if second >= int(from_s))

    def _at(self, place: int) -> Kept | None:
        return self._blocks[place] if place < len(self._blocks) else None

    def _place(self, is_there: Callable[[Kept], bool]) -> int:
        """Return the place of the first block of which that is true: it is of all after it."""
        low, high = 0, len(self._blocks)
        while low < high:
            middle = (low + high) // 2
            if is_there(self._blocks[middle]):
                high = middle
            else:
                low = middle + 1
        return low


def epoch_of(message: SocketMessage, known: dict[str, Epoch]) -> tuple[Epoch, int]:
    """Return the epoch that a source says has begun, or goes on, and the number of the sample that comes
    next. `known` are the last by their names, the present one at the end; it is kept so. Raises ValueError,
    also for a name that has had another spec.
    """
    data = message.data or {}
    spec = checked_spec(data)
    name = data.get("epoch")
    if type(name) is not str or not 0 < len(name) <= MAX_ID_CHARS:
        raise ValueError(f"`epoch` is a text of at most {MAX_ID_CHARS} characters")
    seq = count(data, "seq")
    before = next(reversed(known.values()), None)
    same = known.get(name)
    if same is not None and same.spec != spec:
        raise ValueError(f"the epoch {name} has had another spec: what has another spec is another epoch")
    if same is None or same is not before:
        same = Epoch(name, spec, seq)
        if name in known:  # it comes again: its numbers have been
            same.first = same.next_seq = known.pop(name).next_seq
        if before is not None:
            same.order, same.place = before.order + 1, before.place + before.next_seq - same.first
        known[name] = same
        if len(known) > MAX_EPOCHS:
            del known[next(iter(known))]
    return same, seq


def kept_of(epoch: Epoch, message: SocketMessage) -> Kept:
    """Return a block that a source has sent. Raises ValueError for what is none."""
    data = message.data or {}
    content = message.attachment
    seq, at_us, uncertainty_us, source_us = numbers_of(data)
    if not content or len(content) % epoch.sample_bytes:
        raise ValueError(f"{len(content)} bytes are no samples of {epoch.sample_bytes}")
    if seq < epoch.next_seq or seq + len(content) > MAX_INTEGER:
        raise ValueError(f"sample {seq} comes after {epoch.next_seq - 1}")
    block = Kept(epoch, seq, (at_us, uncertainty_us, source_us), _marks(data.get("marks")), content)
    if max(block.stamps) + block.later_us(block.count) > MAX_INTEGER:
        raise ValueError("its last sample has an instant that no line can say")
    return block


def _marks(marks: Any) -> bytes:
    if marks is None:
        return b""
    if not isinstance(marks, list) or not all(map(_is_mark, marks)):
        raise ValueError("`marks` are each a name and an instant")
    encoded = encode_json(marks)
    if len(encoded) > MAX_MARKS_BYTES:
        raise ValueError(f"`marks` have at most {MAX_MARKS_BYTES} bytes")
    return encoded[1:-1]


def _is_mark(mark: Any) -> bool:
    return isinstance(mark, list) and len(mark) == 2 and type(mark[0]) is str and type(mark[1]) is int
