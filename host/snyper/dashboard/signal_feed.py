"""The signals that somebody looks at: each stream is read once for all tabs, and only meanwhile."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import aclosing
from itertools import islice
from typing import Any

import numpy

from snyper.client import HubClient
from snyper.client.labels import natural
from snyper.dashboard.faults import log_fault
from snyper.dashboard.model import Model
from snyper.shared.runtime import end_task
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from snyper.streams import Block, StreamSpec
from snyper.streams.info import StreamInfo
from snyper.streams.subscriber import StreamReader
from snyper.system import steady
from snyper.system.text import one_line

KEPT_S = 60.0  # of what came last, as long as a hub's own history
KEPT_BYTES = 8 << 20
KEPT_BLOCKS = 8_192
LIST_S = 2.0  # between two lists of the hub's
NAMES_S = 0.3  # between two sortings of it: there may be thousands
UNSEEN_S = 6.0  # after which nobody looks any more: a tab may take five for a frame
AGAIN_S = 2.0  # until a stream is asked for again that nobody sends
MOST_READ = 32  # streams at once, for all tabs
_PIEZO = "piezo"  # of every target, whether the hub has read it before or not
_MOST_CHARS = 200  # of what a hub says

Array = numpy.ndarray[Any, Any]


class Signal:
    """One stream as it comes: its last blocks, numbered from 0 on, each with the spec that it has."""

    def __init__(self, hub: HubClient, name: str, history_s: float) -> None:
        """Read it from `history_s` seconds ago on, as far as the hub still has that."""
        self.name = name
        self.problem = ""  # why there is nothing
        self.lost = 0
        self.seen_s = steady.now_s()
        self.first = 0  # the number of the oldest block that is kept
        self._kept: deque[tuple[StreamSpec, Block]] = deque()
        self._bytes = 0
        self._hub = hub
        self._history_s = history_s
        self._reader: StreamReader | None = None
        self.reading = asyncio.create_task(self._read())

    @property
    def next(self) -> int:
        """Return the number of the block that comes next."""
        return self.first + len(self._kept)

    @property
    def is_gone(self) -> bool:
        """Whether its source is away."""
        return self._reader is not None and self._reader.is_gone

    @property
    def last(self) -> tuple[StreamSpec, Block] | None:
        """Return the newest block, with its spec; None where nothing came yet."""
        return self._kept[-1] if self._kept else None

    def measured_hz(self) -> float:
        """Return how many samples came a second, of those that are kept; 0 where that is not known."""
        if len(self._kept) < 2:
            return 0.0
        (_, first), (_, last) = self._kept[0], self._kept[-1]
        count = sum(len(block.samples) for _, block in self._kept) - len(last.samples)
        return count * 1e6 / max(1, last.at_us - first.at_us)

    def since(self, number: int) -> list[tuple[StreamSpec, Block]]:
        """Return the blocks that are kept from that number on."""
        return list(islice(self._kept, max(0, number - self.first), None))

    @property
    def first_us(self) -> int | None:
        """Return when the oldest sample that is kept was captured; None where nothing came yet."""
        return self._kept[0][1].at_us if self._kept else None

    def samples(self, from_us: float, to_us: float) -> Iterator[tuple[StreamSpec, Array]]:
        """Yield the samples that are kept of that time of the hub's clock."""
        for spec, block in list(self._kept):
            step_us = 1e6 / spec.rate_hz if spec.rate_hz > 0 else 0.0
            times_us = block.at_us + (numpy.arange(len(block.samples)) * step_us).astype("i8")
            picked = block.samples[(times_us >= from_us) & (times_us < to_us)]
            if len(picked):
                yield spec, picked

    async def _read(self) -> None:
        while True:
            try:
                await self._read_once()
                self.problem = "It has ended"
            except ProtocolError as error:
                self.problem = problem_of(error)
            except ValueError as error:
                log_fault("a stream has no sense", error)
                self.problem = "What comes of it has no sense"
            await asyncio.sleep(AGAIN_S)

    async def _read_once(self) -> None:
        reader = self._hub.read_stream(self.name, history=self._history_s, max_queued_bytes=KEPT_BYTES)
        self._reader = reader
        async with aclosing(reader.__aiter__()) as blocks:
            async for block in blocks:
                assert reader.spec is not None
                self.problem = ""
                self._keep(reader.spec, block)

    def _keep(self, spec: StreamSpec, block: Block) -> None:
        self.lost += block.lost
        if self._kept and block.at_us < self._kept[0][1].at_us:  # by another clock: the hub's is a new one
            self.first += len(self._kept)
            self._kept.clear()
            self._bytes = 0
        self._kept.append((spec, block))
        self._bytes += block.samples.nbytes
        oldest_us = block.at_us - KEPT_S * 1e6
        while len(self._kept) > 1 and (
            self._bytes > KEPT_BYTES or len(self._kept) > KEPT_BLOCKS or self._kept[0][1].at_us < oldest_us
        ):
            self._bytes -= self._kept.popleft()[1].samples.nbytes
            self.first += 1


class SignalFeed:
    """The streams of one hub. Whoever shows them calls `refresh` and `want` again and again: what nobody
    looks at is neither listed nor read.
    """

    def __init__(self, hub: HubClient, model: Model) -> None:
        self.problem = ""  # why there is no list
        self.is_listed = False
        self._hub = hub
        self._model = model
        self._listed: dict[str, StreamInfo] = {}
        self._listed_s = 0.0
        self._listing: asyncio.Task[None] | None = None
        self._signals: dict[str, Signal] = {}
        self._names: dict[str, bool] = {}
        self._names_s = -NAMES_S
        self._closing: asyncio.Task[None] | None = None
        self._ahead: tuple[str, int] | None = None  # how far the time of day is, of the hub of that boot id

    def utc_ahead_us(self) -> int | None:
        """Return how far the time of day is ahead of the hub's clock, as it was when that was known first."""
        boot_id, hub_us = self._model.boot_id, self._model.hub_us(time.monotonic())
        if (self._ahead is None or self._ahead[0] != boot_id) and hub_us is not None:
            self._ahead = boot_id, time.time_ns() // 1000 - hub_us
        return None if self._ahead is None else self._ahead[1]

    def refresh(self) -> None:
        """Have listed, in the background, what is due."""
        is_due = steady.now_s() - self._listed_s >= LIST_S
        if self._listing is None and is_due and not self._hub.is_lost:
            self._listing = asyncio.create_task(self._list())

    def names(self) -> dict[str, bool]:
        """Return the streams that can be read, as people sort them, with whether their source is here."""
        if steady.now_s() - self._names_s < NAMES_S:
            return self._names
        online = self._model.online
        found = {name: info.connected and online for name, info in self._listed.items()}
        for name, target in self._model.targets.items():
            if target.info.connected:
                found.setdefault(f"{name}/{_PIEZO}", online)
        self._names = {name: found[name] for name in sorted(found, key=natural)}
        self._names_s = steady.now_s()
        return self._names

    def want(self, name: str) -> Signal | None:
        """Return a stream, which is read from now on if it was not; None where too many are."""
        signal = self._signals.get(name)
        if signal is None:
            if len(self._signals) >= MOST_READ:
                return None
            signal = self._signals[name] = Signal(self._hub, name, self._history_s(name))
            self._closing = self._closing or asyncio.create_task(self._close_unseen())
        signal.seen_s = steady.now_s()
        return signal

    def find(self, name: str) -> Signal | None:
        """Return a stream that is read now, None for any other."""
        return self._signals.get(name)

    def _history_s(self, name: str) -> float:
        """Return how long ago to begin, so that no more comes at once than is kept."""
        info = self._listed.get(name)
        if info is None or not info.kept_ms:
            return KEPT_S
        return min(KEPT_S, KEPT_BYTES * info.kept_ms / 1000 / max(1, info.kept_bytes))

    async def _list(self) -> None:
        try:
            self._listed = {info.name: info for info in await self._hub.streams()}
            self.problem = ""
        except ProtocolError as error:
            if error.code == ErrorCode.UNKNOWN_TYPE:  # a hub on a board, or an older one
                self._listed, self.problem = {}, ""
            else:
                self.problem = problem_of(error)
        finally:
            self.is_listed = True
            self._listed_s, self._listing = steady.now_s(), None

    async def _close_unseen(self) -> None:
        """Read no more what nobody looks at."""
        while self._signals:
            await asyncio.sleep(UNSEEN_S / 2)
            for name, signal in list(self._signals.items()):
                if steady.now_s() - signal.seen_s > UNSEEN_S:
                    del self._signals[name]
                    await end_task(signal.reading)
        self._closing = None


def problem_of(error: ProtocolError) -> str:
    """Return in words why a stream cannot be read."""
    if error.code == ErrorCode.UNKNOWN_TARGET:
        return "Nobody sends it"
    if error.code == ErrorCode.UNKNOWN_TYPE:
        return "Its firmware does not know this yet: snyper deploy puts the current one on it"
    if error.code == ErrorCode.DISCONNECTED:
        return "Its source is away"
    words = one_line(error.message or error.code)
    return words if len(words) <= _MOST_CHARS else f"{words[: _MOST_CHARS - 1]}…"
