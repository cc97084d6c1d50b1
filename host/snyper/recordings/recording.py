"""A recording as it is read, also while it grows: samples by numbers or by time, gaps, epochs, marks."""

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy

from snyper.recordings import records
from snyper.recordings.errors import RecordingError
from snyper.recordings.layout import DESCRIPTION, FORMAT, READERS_LOCK, open_file, segment_path, segments_in
from snyper.recordings.overview import Overview, overview_of
from snyper.recordings.segment import MAX_NUMBER, MAX_US, Segment, parse_json
from snyper.recordings.sidecar import MAX_JSON_BYTES
from snyper.recordings.timeline import Timeline
from snyper.streams import Mark, StreamSpec
from snyper.system.files import lock

Array = numpy.ndarray[Any, Any]

_BATCH = 65_536  # samples whose instants are worked out at once
_MOST_IN_MEMORY = 16  # segments, of 10 MB at most each: entries and pyramid of one with blocks of one sample
NOT_RECORDED = "not recorded"  # of numbers that are missing where no record says why


@dataclass(frozen=True)
class Epoch:
    """A run of the source in a recording: numbers of two epochs are never compared."""

    id: str
    spec: StreamSpec
    first: int  # the first number that is told of
    end: int  # the one after the last
    begin_us: int  # when its first sample was captured
    samples: int  # that are stored

    @property
    def missing(self) -> int:
        """Return how many samples between the first and the end are not stored."""
        return self.end - self.first - self.samples


@dataclass(frozen=True)
class Gap:
    """Samples that are not in the recording: `first` to `last` of an epoch, and why."""

    epoch: str
    first: int
    last: int
    why: str


@dataclass(frozen=True, eq=False)
class Run:
    """Samples of one epoch that follow each other, as an array of the shape (n, *spec.shape)."""

    epoch: str
    spec: StreamSpec
    first: int
    samples: Array
    times_us: Array  # when each was captured, in the hub's clock


@dataclass(frozen=True)
class ClockReading:
    """The times of three clocks at one instant, in microseconds."""

    hub_us: int
    steady_us: int  # of the recorder's computer
    utc_us: int  # since 1970


@dataclass(frozen=True)
class Part:
    """A segment's blocks, and the range of numbers that is asked for."""

    segment: Segment
    spec: StreamSpec
    timeline: Timeline
    blocks: Array
    first: int
    end: int
    follows: bool  # its first block is right after the last of the segment before it

    def stretches(self) -> Iterator["_Stretch"]:
        """Yield what is in the range, a stretch without a gap at a time."""
        firsts = self.blocks["first"]
        ends = firsts + self.blocks["count"]
        lower = int(numpy.searchsorted(ends, self.first, "right"))
        upper = int(numpy.searchsorted(firsts, self.end, "left"))
        if lower >= upper:
            return
        breaks = numpy.flatnonzero(firsts[lower + 1 : upper] != ends[lower : upper - 1]) + lower + 1
        for begin, end in pairwise((lower, *breaks.tolist(), upper)):
            first, after = max(self.first, int(firsts[begin])), min(self.end, int(ends[end - 1]))
            yield _Stretch(self, begin, end, first, after)


@dataclass(frozen=True)
class _Stretch:
    """Samples that follow each other in one segment: some of its blocks, the outer ones perhaps in part."""

    part: Part
    lower: int  # block
    upper: int
    first: int  # number
    end: int

    def pieces(self) -> Iterator[tuple[Array, Array]]:
        """Read it: yield samples of each block, and their instants. Raises RecordingError, OSError."""
        part = self.part
        with open_file(part.segment.path) as file:
            for lower, upper in self._batches():
                blocks = part.blocks[lower:upper]
                at = max(self.first, int(blocks["first"][0]))
                end = min(self.end, int(blocks["first"][-1] + blocks["count"][-1]))
                times_us = part.timeline.times_us(lower, upper, at, end)
                for stored in part.segment.read_blocks(file, blocks):
                    samples = stored.samples[max(self.first - stored.seq, 0) : self.end - stored.seq]
                    yield samples, times_us[: len(samples)]
                    times_us = times_us[len(samples) :]

    def _batches(self) -> Iterator[tuple[int, int]]:
        """Divide the blocks into ranges of about `_BATCH` samples, or of one block that has more."""
        ends = numpy.cumsum(self.part.blocks["count"][self.lower : self.upper])
        breaks = numpy.flatnonzero(numpy.diff(ends // _BATCH)) + self.lower + 1
        yield from pairwise((self.lower, *breaks.tolist(), self.upper))

    def is_after(self, other: "_Stretch") -> bool:
        """Tell whether nothing is missing between the other one and this."""
        this, that = self.part, other.part
        is_same = (this.segment.epoch, this.spec) == (that.segment.epoch, that.spec)
        return is_same and self.first == other.end


class Recording:
    """A recording in a folder. Instants are microseconds of the hub's clock, which nobody sets: `utc_us` says
    what the time of day was, `is_shortened` whether retention has removed the oldest of it. Used by one
    thread at a time; while it is open nothing of it is removed.
    """

    is_shortened = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = _shared_lock(folder / READERS_LOCK)
        self._segments: list[Segment] = []
        self._recent: list[Segment] = []  # whose entries and pyramids are in memory, the latest last
        self._floors_us: list[int] = []  # the latest stamp before each segment
        self._begins_us: list[int] = []  # when its first block begins, or of those after it
        try:
            description = read_description(folder / DESCRIPTION)
            self.source: str = description["source"]
            self.stream: str = description["stream"]
            self._utc_ahead_us = _utc_ahead_us(description)
            self.last_hub = _hub_of(description)
            self.refresh()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let retention remove it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def refresh(self) -> bool:
        """Read what was recorded since, and return whether there was more. Raises RecordingError, OSError."""
        known = self._segments[-1].number if self._segments else 0
        numbers = segments_in(self.folder)
        later = [number for number in numbers if number > known]
        self.is_shortened = numbers[:1] > [1]
        # In this order: what has a successor grows no more.
        is_more = False
        if self._segments:
            is_more = self._segments[-1].grow() | self._open_behind(self._segments[-1])
        for number in later:
            segment = Segment(segment_path(self.folder, number), number)
            segment.open()
            if segment.spec is not None:  # else it was cut off at its very beginning
                self._segments.append(segment)
                self._open_behind(segment)
                is_more = True
        if is_more:
            self._arrange()
        return is_more

    def _open_behind(self, segment: Segment) -> bool:
        """Read what follows a segment in its file, and return whether something does."""
        is_more = segment.next_begin is not None
        while segment.next_begin is not None:
            segment = Segment(segment.path, segment.number, segment.next_begin)
            segment.grow()
            self._segments.append(segment)
        return is_more

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """Return the runs of the source, in the order in which they were recorded."""
        found: list[Epoch] = []
        for begin_us, segment in zip(self._begins_us, self._segments, strict=True):
            if segment.first_seq is None:
                continue
            first, samples = segment.first_seq, segment.samples
            assert segment.spec is not None
            if found and (found[-1].id, found[-1].spec) == (segment.epoch, segment.spec):
                last = found.pop()
                first, samples, begin_us = last.first, samples + last.samples, last.begin_us
            found.append(Epoch(segment.epoch, segment.spec, first, segment.next_seq, begin_us, samples))
        return tuple(found)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Return what is missing: as the recorder says, and numbers that are missing without a word."""
        found: list[Gap] = []
        ends: dict[str, int] = {}  # of each epoch, as far as it was told of
        for segment in self._segments:
            self._use(segment)
            entries = segment.entries
            numbered = entries[entries["count"] > 0]
            if not len(numbered):
                continue
            firsts = numbered["first"]
            befores = numpy.concatenate(
                [[ends.get(segment.epoch, firsts[0])], (firsts + numbered["count"])[:-1]]
            )
            is_interesting = (numbered["kind"] == records.GAP) | (befores < firsts)
            with open_file(segment.path) as file:
                for index in numpy.flatnonzero(is_interesting):
                    entry = numbered[index]
                    first, end = int(entry["first"]), int(entry["first"] + entry["count"])
                    if befores[index] < first:
                        found.append(Gap(segment.epoch, int(befores[index]), first - 1, NOT_RECORDED))
                    if entry["kind"] == records.GAP:
                        found.append(Gap(segment.epoch, first, end - 1, segment.read_text(file, entry)))
            ends[segment.epoch] = segment.next_seq
        return tuple(found)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Return the named instants, in the order in which they were recorded."""
        return tuple(
            Mark(segment.read_text(file, entry), int(entry["at_us"]) + segment.base_us)
            for segment, file, entry in self._each(records.MARK)
        )

    @property
    def clocks(self) -> tuple[ClockReading, ...]:
        """Return what the clocks said, every 10 s. `hub_us` is the instant as this recording has it."""
        found = []
        for segment, file, entry in self._each(records.CLOCK):
            hub_us, steady_us, utc_us = segment.read_clock(file, entry)
            found.append(ClockReading(hub_us + segment.base_us, steady_us, utc_us))
        return tuple(found)

    @property
    def last_clock(self) -> ClockReading | None:
        """Return the last of `clocks`, None without any."""
        for segment in reversed(self._segments):
            self._use(segment)
            entries = segment.entries[segment.entries["kind"] == records.CLOCK]
            if len(entries):
                with open_file(segment.path) as file:
                    hub_us, steady_us, utc_us = segment.read_clock(file, entries[-1])
                return ClockReading(hub_us + segment.base_us, steady_us, utc_us)
        return None

    def utc_us(self, at_us: int) -> int | None:
        """Return the time of day of an instant, in µs since 1970, as the recorder's computer had it when it
        first asked: of two instants it is always as far apart as they are. None where it never did.
        """
        return None if self._utc_ahead_us is None else at_us + self._utc_ahead_us

    @property
    def span_us(self) -> tuple[int, int]:
        """Return when the first and the last sample were captured. Raises RecordingError without any."""
        first, last = (next(self._parts(order), None) for order in (self._indices, reversed(self._indices)))
        if first is None or last is None:
            raise RecordingError(f"{self.folder} has no samples")
        count, end = len(last.blocks), last.segment.stored_end
        assert end is not None
        last_us = last.timeline.times_us(count - 1, count, end - 1, end)
        return int(first.timeline.starts_us[0]), int(last_us[0])

    def read(self, first: int, end: int, epoch: str | None = None) -> list[Run]:
        """Read the samples `first` to `end`, without the latter, of an epoch, by default the last one. A run
        ends where a sample is missing. Raises RecordingError where a record is damaged, OSError.
        """
        if epoch is None:
            epoch = self._segments[-1].epoch if self._segments else ""
        indices = (index for index in self._indices if self._segments[index].epoch == epoch)
        return _read(self._parts(indices, first, end))

    def read_between(self, begin_us: int, end_us: int) -> list[Run]:
        """Read the samples that were captured from `begin_us` until before `end_us`, of all epochs. A run
        ends where a sample is missing. Raises RecordingError where a record is damaged, OSError.
        """
        return _read(self.parts_between(begin_us, end_us))

    def overview(
        self, begin_us: int, end_us: int, columns: int, channels: Sequence[int] | None = None
    ) -> Overview:
        """Return minimum, maximum, mean and deviation of each channel, or of some, for at most `columns` + 1
        columns, with all that was captured from `begin_us` until before `end_us`. Their edges are multiples
        of a width that the length of that alone decides, so that they stay where they are while it moves.

        Raises ValueError for no or too many columns, or where the samples of two epochs have not as many
        channels; RecordingError where a record is damaged; OSError.
        """
        return overview_of(self, begin_us, end_us, columns, channels)

    def chunks(self, between_us: tuple[int, int] | None = None) -> Iterator[Run]:
        """Yield all samples in order, as they came: a block at a time; or those that were captured from one
        instant until before another. Raises RecordingError where a record is damaged, OSError.
        """
        parts = self._parts(self._indices) if between_us is None else self.parts_between(*between_us)
        for part in parts:
            for stretch in part.stretches():
                first = stretch.first
                for samples, times_us in stretch.pieces():
                    yield Run(part.segment.epoch, part.spec, first, samples, times_us)
                    first += len(samples)

    @property
    def _indices(self) -> range:
        return range(len(self._segments))

    def _arrange(self) -> None:
        """Work out when each segment begins: no sample is earlier than one before it."""
        floor_us = -2 * MAX_US
        before: Segment | None = None
        self._floors_us, self._begins_us = [], []
        for segment in self._segments:
            self._floors_us.append(floor_us)
            begin_us = 2 * MAX_US
            if segment.latest_us is not None and segment.begin_us is not None:
                begin_us = max(floor_us, segment.begin_us + segment.base_us)
                floor_us = max(floor_us, segment.latest_us + segment.base_us)
            self._begins_us.append(begin_us)
            if segment.first_seq is not None:
                # A name that comes again after another may be that of another run.
                is_same = before is not None and before.epoch == segment.epoch
                if before is not None and is_same and segment.first_seq < before.next_seq:
                    raise RecordingError(f"{segment.path} has numbers of samples that are taken")
                before = segment
        for index in reversed(self._indices[:-1]):
            self._begins_us[index] = min(self._begins_us[index], self._begins_us[index + 1])

    def _each(self, kind: int) -> Iterator[tuple[Segment, BinaryIO, Any]]:
        for segment in self._segments:
            self._use(segment)
            entries = segment.entries
            with open_file(segment.path) as file:
                for entry in entries[entries["kind"] == kind]:
                    yield segment, file, entry

    def _use(self, segment: Segment) -> None:
        """Keep the segment in memory, and give back the memory of one that was not used lately."""
        if segment in self._recent:
            self._recent.remove(segment)
        self._recent.append(segment)
        if len(self._recent) > _MOST_IN_MEMORY:
            oldest = self._recent.pop(0)
            if oldest is not self._segments[-1]:
                oldest.release()

    def _part(self, index: int) -> Part | None:
        segment = self._segments[index]
        if not segment.samples:
            return None
        assert segment.spec is not None
        self._use(segment)
        blocks = segment.blocks
        starts_us = numpy.maximum.accumulate(blocks["at_us"] + segment.base_us)
        ceiling_us = self._begins_us[index + 1] if index + 1 < len(self._begins_us) else 2 * MAX_US
        timeline = Timeline(
            numpy.maximum(starts_us, self._floors_us[index]),
            *(blocks["first"], blocks["count"], segment.spec.rate_hz, ceiling_us),
        )
        first = int(blocks["first"][0])
        before = self._segments[index - 1] if index else segment
        follows = (before.epoch, before.spec, before.stored_end) == (segment.epoch, segment.spec, first)
        return Part(segment, segment.spec, timeline, blocks, first, segment.next_seq, follows)

    def _parts(self, indices: Iterable[int], first: int = 0, end: int = MAX_NUMBER) -> Iterator[Part]:
        """Yield what these segments have of a range of numbers."""
        for index in indices:
            segment = self._segments[index]
            if segment.first_seq is not None and segment.first_seq < end and first < segment.next_seq:
                part = self._part(index)
                if part is not None:
                    yield replace(part, first=max(first, part.first), end=min(end, part.end))

    def parts_between(self, begin_us: int, end_us: int) -> Iterator[Part]:
        """Yield what there is from one instant until before another, by segments."""
        instants = numpy.clip([begin_us, end_us], -2 * MAX_US, 2 * MAX_US)
        # The samples of a segment reach to the begin of the next.
        index = max(0, bisect_left(self._begins_us, int(instants[0])) - 1)
        while index < len(self._segments) and self._begins_us[index] < instants[1]:
            part = self._part(index)
            if part is not None:
                first, end = part.timeline.number_at(instants).tolist()
                yield replace(part, first=first, end=end)
            index += 1


def _read(parts: Iterator[Part]) -> list[Run]:
    groups: list[list[_Stretch]] = []
    for part in parts:
        for stretch in part.stretches():
            if groups and stretch.is_after(groups[-1][-1]):
                groups[-1].append(stretch)
            else:
                groups.append([stretch])
    return [_joined(group) for group in groups]


def _joined(stretches: list[_Stretch]) -> Run:
    part, first = stretches[0].part, stretches[0].first
    count = stretches[-1].end - first
    samples = numpy.empty((count, *part.spec.shape), part.spec.dtype)
    times_us = numpy.empty(count, numpy.int64)
    at = 0
    for stretch in stretches:
        for piece, piece_us in stretch.pieces():
            samples[at : at + len(piece)] = piece
            times_us[at : at + len(piece)] = piece_us
            at += len(piece)
    return Run(part.segment.epoch, part.spec, first, samples, times_us)


def _shared_lock(path: Path) -> int | None:
    """Keep retention from what is read. Without the file, as in a copy, there is nothing to keep away."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    lock(descriptor, waits=True, is_shared=True)  # who removes has it for a step
    return descriptor


def _utc_ahead_us(description: dict[str, Any]) -> int | None:
    hub_us, utc_us = description.get("hub_us"), description.get("utc_us")
    if type(hub_us) is not int or type(utc_us) is not int:
        return None
    return utc_us - hub_us


def _hub_of(description: dict[str, Any]) -> tuple[str, int]:
    """Return the boot id of the hub that the last blocks came from, and what is added to its clock."""
    hub_id, base_us = description.get("hub", ""), description.get("base_us", 0)
    return (hub_id, base_us) if type(hub_id) is str and type(base_us) is int else ("", 0)


def read_description(path: Path) -> dict[str, Any]:
    """Read recording.json. Raises RecordingError, OSError."""
    try:
        with open_file(path) as file:
            data = parse_json(memoryview(file.read(MAX_JSON_BYTES + 1)))
    except FileNotFoundError:
        raise RecordingError(f"{path.parent} is no recording: it has no {path.name}") from None
    except ValueError as error:
        raise RecordingError(f"{path} {error}") from None
    if data.get("format") != FORMAT:
        raise RecordingError(f"{path} has another format than {FORMAT}: it is of another version of SNYPER")
    if not all(isinstance(data.get(name), str) for name in ("source", "stream")):
        raise RecordingError(f"{path} names no source and stream")
    return data


def open_recording(path: str | os.PathLike[str]) -> Recording:
    """Open the recording in a folder: finished, growing, or left by a process or a computer that stopped in
    the middle of it. Raises RecordingError for what is none, OSError.
    """
    return Recording(Path(path))
