"""Records a stream as it comes: every sample of it is stored, or is in one gap that is."""

import asyncio
import errno
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy

from snyper.recordings import records
from snyper.recordings.continuation import Continuation
from snyper.recordings.layout import RESERVE
from snyper.recordings.segment import MAX_NUMBER, MAX_US
from snyper.recordings.spill import Spill
from snyper.recordings.writer import SEGMENT_BYTES, RecordingWriter
from snyper.shared.clock import now_us
from snyper.streams import Block, Mark, StreamSpec

MEMORY_BYTES = 64 << 20  # of blocks that wait for the disk; what is beyond goes into files elsewhere
SPILL_BYTES = 1 << 30
CLOCK_S = 10.0  # between two readings of the clocks
RETRY_S = 1.0  # after a disk that took nothing
LOST = "lost on the way to the recorder"
NOT_KEPT = "not kept: the disk was full or slow"
NOT_STORABLE = "not kept: a block no recording can have"
AWAY = "not recorded: the recorder was away"
_RESERVE_BYTES = 64 << 10
_MOST_EPOCHS = 1_000  # that are recorded, and may come again
_EARLIER_US = 1_000_000  # that a stream's mark may be before the press of its key, by two clocks
_UNSURE_US = 10_000_000  # after which a stream has not a mark of which nobody knows
_LAST_MARKS = 64  # that are known, so that the stream's and those that are told are recorded once
_ITEM_BYTES = 500  # of an item beside its samples

_logger = logging.getLogger("snyper")


@dataclass(frozen=True)
class Progress:
    """The state of a recorder: counts of samples, and why it stores nothing now, or nothing."""

    stored: int
    gaps: int
    waiting_bytes: int
    failing: str


@dataclass(frozen=True)
class _Item:
    """A block that waits, and what is to be recorded with it."""

    block: Block
    spec: StreamSpec
    base_us: int
    hub_id: str
    clock: tuple[int, int, int] | None
    closed: tuple[tuple[str, int], ...]  # epochs that have ended before it, and the numbers after their last


@dataclass
class _Offered:
    """The numbers of an epoch that came or are lost: those from `next_seq` on are not recorded yet."""

    spec: StreamSpec
    base_us: int
    hub_id: str
    next_seq: int
    end: int


def _may_be(mark: Mark, other: Mark) -> bool:
    """Tell whether a mark that the stream may have is that one of it, which comes later if at all."""
    return mark.name == other.name and -_EARLIER_US <= other.at_us - mark.at_us <= _UNSURE_US


class Recorder:
    """A recorder of one stream into a folder that is new or empty, for `async with`; or on into the recording
    there that ended as `after` says: what it missed is a gap of an epoch that it knows.

    `put` takes a block and never waits for the disk of the recording: what that does not take in time waits
    in memory, then in files in `spill`, a folder of its own. What there is no room for is recorded as a gap.
    Raises InUse where another recorder has the folder, OSError.
    """

    def __init__(
        self,
        folder: Path,
        source: str,
        stream: str,
        spill: Path,
        *,
        memory_bytes: int = MEMORY_BYTES,
        spill_bytes: int = SPILL_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
        clock_s: float = CLOCK_S,
        after: Continuation | None = None,
        on_change: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self._writer = RecordingWriter(folder, source, stream, segment_bytes, after is not None)
        self._after = after  # until the first block
        self._folder = folder
        self.name = f"{source}/{stream}"
        self.continues = after is not None
        self._on_change = on_change
        self._memory_bytes = memory_bytes
        self._changed = threading.Condition()  # guards all below
        self._memory: deque[_Item] = deque()
        self._waiting_bytes = 0  # in memory
        self._spill = Spill(spill, spill_bytes)
        self._offered: dict[str, _Offered] = {}  # by their epochs
        self._dropped: dict[str, deque[list[Any]]] = {}  # first, last, why: of each epoch, rising
        self._marks: list[Mark] = []
        self._told: deque[Mark] = deque(maxlen=_LAST_MARKS)  # by `mark`
        self._unsure: list[Mark] = []  # which the stream may have, too
        self._came: deque[Mark] = deque(maxlen=_LAST_MARKS)  # with blocks
        self._is_ending = False
        self._stored = 0
        self._gaps = 0
        self._failing = ""
        self._warned: set[str] = set()
        # Of the side that puts.
        self._last_epoch = ""
        if after is not None:
            for epoch in after.epochs.values():
                self._last_epoch = epoch.id
                self._offered[epoch.id] = _Offered(
                    epoch.spec, after.base_us, after.hub_id, epoch.end, epoch.end
                )
        self._was_away = after is not None  # while what comes was captured
        self._back_us = 0  # by the hub's clock
        self._closed: list[tuple[str, int]] = []  # that no item has told the thread of
        self._hub_id: str | None = None
        self._base_us = 0
        self._is_sure = False
        self._ahead_us = 0  # how far this recording's time is ahead of the steady clock here
        self._clock_us = int(clock_s * 1_000_000)
        self._clock_due_us = 0
        # Of the thread.
        self._begun: tuple[str, StreamSpec, int, str] | None = None
        self._defect: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"recorder of {self.name}")

    async def __aenter__(self) -> "Recorder":
        with suppress(OSError):
            (self._folder / RESERVE).write_bytes(bytes(_RESERVE_BYTES))
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def progress(self) -> Progress:
        """Return how far it is."""
        with self._changed:
            waiting = self._waiting_bytes + self._spill.bytes
            return Progress(self._stored, self._gaps, waiting, self._failing)

    async def put(self, block: Block, spec: StreamSpec, hub_id: str = "") -> None:
        """Take a block as it came from the hub of that boot id. Raises what has ended the recorder."""
        if self._defect is not None:
            raise self._defect
        item = self._item(block, spec, hub_id)
        if item is None:
            return
        if not _is_storable(item.block) or spec != self._offered[block.epoch].spec:
            self._drop(item, NOT_STORABLE)
        elif self._keep(item) or await asyncio.to_thread(self._keep_elsewhere, item):
            self._closed = []
        else:
            self._drop(item, NOT_KEPT)

    def now_us(self) -> int:
        """Return what the hub's clock says now, nearly. Raises ValueError before the first block."""
        if self._hub_id is None:
            raise ValueError("nothing is recorded yet")
        return now_us() + self._ahead_us - self._base_us

    def mark(self, name: str, at_us: int | None = None, is_sure: bool = True) -> None:
        """Record a named instant of the hub's clock: if it is left out, now. A mark that the stream has too
        is recorded once; where it may have that, at an instant that is not known, it is not `is_sure`.
        Raises ValueError before the first block.
        """
        mark = Mark(name, self.now_us() if at_us is None else at_us)
        with self._changed:
            if not is_sure:
                if not any(_may_be(mark, other) for other in self._came):
                    self._unsure.append(mark)
            elif mark not in self._came:
                self._told.append(mark)
                self._marks.append(mark)
                self._changed.notify()

    async def stop(self) -> None:
        """Record what waits, and end. Raises what has ended the recorder before."""
        with self._changed:
            self._marks += self._unsure
            self._unsure = []
            self._is_ending = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)
        if self._defect is not None:
            raise self._defect

    # --- the side that puts

    def _item(self, block: Block, spec: StreamSpec, hub_id: str) -> _Item | None:
        """Note which numbers a block brings, and which are missing before it; without what came already."""
        if not 0 <= block.seq <= block.next_seq <= MAX_NUMBER:
            self._warn("a block has a number that no recording can have")
            return None
        clock = self._read_clocks(block, hub_id)
        with self._changed:
            offered = self._offer(block, spec)
            self._after = None
            if self._was_away:
                self._miss(block.epoch, offered.end, block.seq)
                self._was_away = block.at_us < self._back_us
            fresh = _without(block, spec, offered.end)
            if fresh is None:
                return None
            offered.end = fresh.next_seq
            self._came += block.marks
            self._marks += [mark for mark in block.marks if mark not in self._told]
            self._look_for_unsure(block)
        return _Item(replace(fresh, marks=()), spec, self._base_us, hub_id, clock, tuple(self._closed))

    def _look_for_unsure(self, block: Block) -> None:
        """Forget the marks that the stream has after all, and record those that it has not by now."""
        for mark in block.marks:
            found = next((one for one in self._unsure if _may_be(one, mark)), None)
            if found is not None:
                self._unsure.remove(found)
        due = [mark for mark in self._unsure if block.at_us > mark.at_us + _UNSURE_US]
        self._marks += due
        self._unsure = [mark for mark in self._unsure if mark not in due]

    def _read_clocks(self, block: Block, hub_id: str) -> tuple[int, int, int] | None:
        """Return what the clocks say, if that is to be recorded now."""
        steady_us, hub_us, is_sure = now_us(), block.at_us + block.lag_us, block.lag_us > 0
        if self._hub_id is None:
            self._clock_due_us = steady_us
            if self._after is not None:
                self._back_us = hub_us - (steady_us - self._after.read_us)
                self._base_us = self._after.base_us
                if hub_id != self._after.hub_id:
                    after_the_last_us = self._after.latest_us - block.at_us
                    self._base_us = max(self._after.now_us() - hub_us, after_the_last_us)
        if self._hub_id is None or (is_sure and not self._is_sure and hub_id == self._hub_id):
            self._ahead_us, self._is_sure = hub_us + self._base_us - steady_us, is_sure
        elif hub_id != self._hub_id:  # its clock began anew
            self._was_away = False
            self._base_us = steady_us + self._ahead_us - hub_us
        self._hub_id = hub_id
        # While it is not known how old a block is, its stamp tells little of what the hub's clock says now.
        if steady_us < self._clock_due_us + (0 if is_sure else self._clock_us):
            return None
        self._clock_due_us = steady_us + self._clock_us
        return hub_us, steady_us, time.time_ns() // 1_000

    def _offer(self, block: Block, spec: StreamSpec) -> _Offered:
        epoch, last = block.epoch, self._offered.get(self._last_epoch)
        if self._after is not None:
            last = None  # nobody knows of what was between
        if last is not None and epoch != self._last_epoch:
            known = self._offered.get(epoch)
            first = 0 if known is None else known.end
            missing = max(0, block.lost - max(0, block.seq - first))  # at the end of the one before
            before, last.end = last.end, min(last.end + missing, MAX_NUMBER)
            if self._was_away:
                self._miss(self._last_epoch, before, last.end)
            self._closed.append((self._last_epoch, last.end))
        self._last_epoch = epoch
        if epoch not in self._offered:
            first = 0 if last is not None else max(0, block.seq - max(0, block.lost))
            self._offered[epoch] = _Offered(spec, self._base_us, self._hub_id or "", first, first)
        offered = self._offered[epoch]
        offered.base_us, offered.hub_id = self._base_us, self._hub_id or ""
        return offered

    def _miss(self, epoch: str, first: int, end: int) -> None:
        """Note why numbers are missing that were captured before this recorder was there."""
        if first < end:
            self._dropped.setdefault(epoch, deque()).append([first, end - 1, AWAY])

    def _keep(self, item: _Item) -> bool:
        """Put an item into memory, if there is room and no other is to go before it."""
        with self._changed:
            size = item.block.samples.nbytes + _ITEM_BYTES
            if len(self._spill) or self._waiting_bytes + size > self._memory_bytes:
                return False
            self._memory.append(item)
            self._waiting_bytes += size
            self._changed.notify()
            return True

    def _keep_elsewhere(self, item: _Item) -> bool:
        try:
            is_kept = self._spill.put(_packed(item))
        except OSError as error:
            self._warn(f"{_reason(error)} where blocks wait, too")
            return False
        with self._changed:
            self._changed.notify()
        return is_kept

    def _drop(self, item: _Item, why: str) -> None:
        block = item.block
        with self._changed:
            ranges = self._dropped.setdefault(block.epoch, deque())
            if ranges and ranges[-1][1] == block.seq - 1 and ranges[-1][2] == why:
                ranges[-1][1] = block.next_seq - 1
            else:
                ranges.append([block.seq, block.next_seq - 1, why])

    # --- the thread

    def _run(self) -> None:
        try:
            self._record_all()
        except BaseException as error:
            _logger.exception("a defect: recorder of %s", self.name)
            self._defect = error
        finally:
            self._close()

    def _record_all(self) -> None:
        item: _Item | None = None
        while True:
            if item is None:
                item = self._next_item()
            if item is None and self._is_ending and not self._has_more():
                break
            try:
                if item is not None:
                    self._store(item)
                    item = None
                self._store_marks()
                self._writer.sync_if_due()
                self._say("")
            except OSError as error:
                self._say(_reason(error))
                if self._is_ending:
                    break
                with self._changed:
                    self._changed.wait_for(lambda: self._is_ending, RETRY_S)
        self._end(item)

    def _has_more(self) -> bool:
        return bool(self._memory or len(self._spill) or (self._marks and self._begun))

    def _next_item(self) -> _Item | None:
        """Wait for an item until something is to be put onto the disk, or the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_ending or self._has_more(),
                self._writer.sync_in_s,
            )
            if self._memory:
                item = self._memory.popleft()
                self._waiting_bytes -= item.block.samples.nbytes + _ITEM_BYTES
                return item
            if not len(self._spill):
                return None
        try:
            return _unpacked(self._spill.get())
        except (OSError, ValueError) as error:
            self._warn(f"blocks that waited are lost: {type(error).__name__}")
            return None

    def _store(self, item: _Item) -> None:
        """Record an item; what is done of it, should the disk be full, is not done again."""
        block = item.block
        for epoch, end in item.closed:
            self._close_epoch(epoch, end)
        if item.closed:
            self._forget_epochs()
        self._begin(block.epoch, item.spec, item.base_us, item.hub_id)
        if item.clock is not None:
            self._writer.write_clock(*item.clock)
        self._store_gap(block.epoch, block.seq)
        self._writer.write_block(
            block.seq, block.samples, block.source_us, block.offset_us, block.uncertainty_us
        )
        with self._changed:
            self._offered[block.epoch].next_seq = block.next_seq
            self._stored += len(block.samples)

    def _begin(self, epoch: str, spec: StreamSpec, base_us: int, hub_id: str) -> None:
        if self._begun != (epoch, spec, base_us, hub_id):
            self._writer.begin(epoch, spec, base_us, hub_id)
            self._begun = (epoch, spec, base_us, hub_id)

    def _close_epoch(self, epoch: str, end: int, why: str = LOST) -> None:
        """Record what is missing at its end."""
        with self._changed:
            offered = self._offered.get(epoch)
        if offered is not None and offered.next_seq < end:
            self._begin(epoch, offered.spec, offered.base_us, offered.hub_id)
            self._store_gap(epoch, end, why)

    def _forget_epochs(self) -> None:
        """Forget the oldest of very many epochs, each once all of it is recorded."""
        with self._changed:
            for epoch in list(self._offered)[:-_MOST_EPOCHS]:
                if self._offered[epoch].next_seq >= self._offered[epoch].end and epoch != self._last_epoch:
                    del self._offered[epoch]
                    self._dropped.pop(epoch, None)

    def _store_gap(self, epoch: str, end: int, otherwise: str = LOST) -> None:
        """Record the numbers of an epoch until `end` as gaps, each with its reason."""
        while True:
            with self._changed:
                first = self._offered[epoch].next_seq
                if first >= end:
                    return
                ranges = self._dropped.get(epoch, deque())
                while ranges and ranges[0][1] < first:
                    ranges.popleft()
                last, why = end - 1, otherwise
                if ranges and ranges[0][0] <= first:
                    last, why = min(last, ranges[0][1]), ranges[0][2]
                elif ranges:
                    last = min(last, ranges[0][0] - 1)
            self._writer.write_gap(first, last, why)
            with self._changed:
                self._offered[epoch].next_seq = last + 1
                self._gaps += last + 1 - first

    def _store_marks(self) -> None:
        while self._begun is not None:
            with self._changed:
                if not self._marks:
                    return
                mark = self._marks[0]
            self._writer.write_mark(max(-MAX_US, min(mark.at_us, MAX_US)), mark.name)
            with self._changed:
                del self._marks[0]

    def _end(self, item: _Item | None) -> None:
        """Record as gaps what is not stored by now, in room that was kept for them."""
        try:
            (self._folder / RESERVE).unlink(missing_ok=True)
            why = LOST if item is None and not self._has_more() else NOT_KEPT
            for epoch, offered in list(self._offered.items()):
                self._close_epoch(epoch, offered.end, why)
            self._writer.sync()
        except OSError as error:
            _logger.error("recorder of %s: its last gap is not recorded: %s", self.name, _reason(error))

    def _close(self) -> None:
        try:
            (self._folder / RESERVE).unlink(missing_ok=True)
            self._writer.close()
        except OSError as error:
            self._say(_reason(error))

    def _warn(self, text: str) -> None:
        """Log what may be so of each block from now on, once."""
        if text not in self._warned:
            self._warned.add(text)
            _logger.warning("recorder of %s: %s", self.name, text)

    def _say(self, failing: str) -> None:
        with self._changed:
            is_news = bool(failing) != bool(self._failing)
            self._failing = failing
        if is_news:
            if failing:
                _logger.warning("recorder of %s: %s. It goes on when there is room", self.name, failing)
            else:
                _logger.warning("recorder of %s: it records again", self.name)
            self._on_change(self.progress)


def _without(block: Block, spec: StreamSpec, end: int) -> Block | None:
    """Return a block without the samples whose numbers are before `end`, or None where none are left."""
    known = end - block.seq
    if known <= 0:
        return block if len(block.samples) else None
    if known >= len(block.samples):
        return None
    later_us = int(known * 1_000_000 / spec.rate_hz) if spec.rate_hz else 0
    return replace(
        block,
        seq=end,
        samples=block.samples[known:],
        at_us=block.at_us + later_us,
        source_us=block.source_us + later_us,
    )


def _is_storable(block: Block) -> bool:
    instants = (block.at_us, block.source_us, block.offset_us, block.uncertainty_us)
    is_large = block.samples.nbytes > records.MAX_BODY_BYTES - records.BLOCK_HEAD.size
    return not is_large and block.next_seq <= MAX_NUMBER and all(-MAX_US <= us <= MAX_US for us in instants)


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "the disk is full"
    return f"the disk takes nothing: {error.strerror or error}"


def _packed(item: _Item) -> list[records.Buffer]:
    block = item.block
    about = {
        "epoch": block.epoch,
        "spec": item.spec.to_data(),
        "block": [block.seq, block.at_us, block.uncertainty_us, block.source_us],
        "base_us": item.base_us,
        "hub_id": item.hub_id,
        "clock": item.clock,
        "closed": item.closed,
    }
    samples = numpy.ascontiguousarray(block.samples).reshape(-1).view(numpy.uint8).data
    return [json.dumps(about).encode(), b"\n", samples]


def _unpacked(data: bytes) -> _Item:
    text, _, content = data.partition(b"\n")
    about = json.loads(text)
    spec = StreamSpec.from_data(about["spec"])
    seq, at_us, uncertainty_us, source_us = about["block"]
    samples = numpy.frombuffer(content, spec.dtype).reshape(-1, *spec.shape)
    block = Block(about["epoch"], seq, samples, at_us, uncertainty_us, source_us)
    closed = tuple((epoch, end) for epoch, end in about["closed"])
    return _Item(
        block, spec, about["base_us"], about["hub_id"], about["clock"] and tuple(about["clock"]), closed
    )
