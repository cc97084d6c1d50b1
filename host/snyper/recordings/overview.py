"""A recording as it is drawn: minimum and maximum for each column of pixels, exact at every zoom."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy

from snyper.recordings.layout import open_file
from snyper.recordings.pyramid import (
    BITS,
    channel_count,
    channels_of,
    extremes,
    extremes_of_ranges,
    nans_in,
)
from snyper.recordings.segment import MAX_US
from snyper.streams.columns import column_width_us

if TYPE_CHECKING:
    from snyper.recordings.recording import Part, Recording

Array = numpy.ndarray[Any, Any]

MAX_CELLS = 1 << 22  # columns times channels: 100 MB


@dataclass(frozen=True, eq=False)
class Overview:
    """Columns of time, and the extremes of each channel in them: both parts of a complex number are one."""

    edges_us: Array  # one more than there are columns, multiples of their width
    low: Array  # a row for each column: 0 where it has no sample, NaN where it has nothing else
    high: Array
    nans: Array  # how many there are in each
    samples: Array  # how many there are in each column
    is_broken: Array  # whether a column has the first sample after some that are missing, or of an epoch


# Owners, low, high, nans: a row each for some range of numbers in the column of that owner.
_Rows = tuple[Array, Array, Array, Array]


def overview_of(recording: "Recording", begin_us: int, end_us: int, columns: int) -> Overview:
    """Return the overview of what was captured from one instant until before another. Raises ValueError,
    RecordingError, OSError.
    """
    if not (-MAX_US <= begin_us < end_us <= MAX_US and columns > 0):
        raise ValueError("an overview has at least one column, and its end is after its begin")
    width = column_width_us(end_us - begin_us, columns)
    first, last = begin_us // width, -(-end_us // width)
    edges_us = numpy.arange(first, last + 1, dtype="i8") * width
    made: _Columns | None = None
    for part in recording.parts_between(int(edges_us[0]), int(edges_us[-1])):
        if made is None:
            made = _Columns(edges_us, channel_count(part.spec))
        made.add(part)
    return (made or _Columns(edges_us, 1)).overview()


class _Columns:
    """The columns as they fill, a segment at a time."""

    def __init__(self, edges_us: Array, channels: int) -> None:
        self._edges_us = edges_us
        count = len(edges_us) - 1
        if count * channels > MAX_CELLS:
            raise ValueError(
                f"an overview of {channels:,} channels has at most {MAX_CELLS // channels:,} columns"
            )
        self._low: Array | None = None
        self._high = numpy.zeros(0)
        self._nans = numpy.zeros((count, channels), "i8")
        self._samples = numpy.zeros(count, "i8")
        self._is_broken = numpy.zeros(count, "?")
        self._is_filled = numpy.zeros(count, "?")

    def overview(self) -> Overview:
        """Return what was added."""
        low = numpy.zeros(self._nans.shape) if self._low is None else self._low
        high = low if self._low is None else self._high
        return Overview(self._edges_us, low, high, self._nans, self._samples, self._is_broken)

    def add(self, part: "Part") -> None:
        """Add what a segment has."""
        if channel_count(part.spec) != self._nans.shape[1]:
            raise ValueError("the samples of two epochs have not as many channels: ask for one of them")
        self._break_where_something_is_missing(part)
        numbers = numpy.clip(part.timeline.number_at(self._edges_us), part.first, part.end)
        owners = numpy.flatnonzero(numbers[:-1] < numbers[1:])
        if not len(owners):
            return
        self._samples += numpy.diff(_stored_before(part, numbers))
        with open_file(part.segment.path) as file:
            rows = list(_rows_of(part, file, numbers[owners], numbers[owners + 1], owners, BITS[::-1]))
        if rows:
            self._merge(*_sorted(rows))

    def _merge(self, owners: Array, low: Array, high: Array, nans: Array) -> None:
        owners, starts = numpy.unique(owners, return_index=True)
        low, high, nans = extremes(low, high, nans, starts)
        if self._low is None:
            self._low = numpy.zeros(self._nans.shape, low.dtype)
            self._high = self._low.copy()
        common = numpy.result_type(self._low, low)
        self._low, self._high = self._low.astype(common, copy=False), self._high.astype(common, copy=False)
        is_filled = self._is_filled[owners, None]
        before, above = self._low[owners], self._high[owners]
        self._low[owners] = numpy.where(is_filled, numpy.fmin(before, low), low)
        self._high[owners] = numpy.where(is_filled, numpy.fmax(above, high), high)
        self._nans[owners] += nans
        self._is_filled[owners] = True

    def _break_where_something_is_missing(self, part: "Part") -> None:
        firsts = part.blocks["first"]
        follows = firsts[1:] == firsts[:-1] + part.blocks["count"][:-1]
        starts_us = part.timeline.starts_us[~numpy.concatenate([[part.follows], follows])]
        columns = numpy.searchsorted(self._edges_us, starts_us, "right") - 1
        self._is_broken[columns[(columns >= 0) & (columns < len(self._is_broken))]] = True


def _stored_before(part: "Part", numbers: Array) -> Array:
    """Return how many samples with a lower number the segment has, for each of some numbers."""
    firsts, counts = part.blocks["first"], part.blocks["count"]
    totals = numpy.concatenate([[0], numpy.cumsum(counts)])
    block = numpy.searchsorted(firsts, numbers, "right") - 1
    known = numpy.maximum(block, 0)
    within = numpy.minimum(numbers - firsts[known], counts[known])
    found: Array = totals[known] + numpy.where(block < 0, 0, within)
    return found


def _rows_of(
    part: "Part", file: BinaryIO, begins: Array, ends: Array, owners: Array, sizes: tuple[int, ...]
) -> Iterator[_Rows]:
    """Yield rows of ranges of numbers: of the largest buckets that lie within, the ends of smaller ones."""
    if not len(begins):
        return
    if not sizes:
        yield from _rows_of_samples(part, file, begins, ends, owners)
        return
    bits = sizes[0]
    first, end = (begins + (1 << bits) - 1) >> bits, ends >> bits
    is_whole = first < end
    if is_whole.any():
        level = part.segment.level(bits)
        lower = numpy.searchsorted(level.numbers, first[is_whole])
        upper = numpy.searchsorted(level.numbers, end[is_whole])
        yield from _rows_of_ranges(level.low, level.high, level.nans, lower, upper, owners[is_whole])
        outer = [
            (begins[is_whole], first[is_whole] << bits, owners[is_whole]),
            (end[is_whole] << bits, ends[is_whole], owners[is_whole]),
            (begins[~is_whole], ends[~is_whole], owners[~is_whole]),
        ]
        begins, ends, owners = (numpy.concatenate(columns) for columns in zip(*outer, strict=True))
        order = numpy.argsort(begins, kind="stable")
        order = order[begins[order] < ends[order]]
        begins, ends, owners = begins[order], ends[order], owners[order]
    yield from _rows_of(part, file, begins, ends, owners, sizes[1:])


def _rows_of_samples(
    part: "Part", file: BinaryIO, begins: Array, ends: Array, owners: Array
) -> Iterator[_Rows]:
    """Read the samples of ranges, each block once where it is of several that touch."""
    firsts = part.blocks["first"]
    block_ends = firsts + part.blocks["count"]
    numbers, values = [], []
    is_start = numpy.concatenate([[True], begins[1:] != ends[:-1]])
    starts = numpy.flatnonzero(is_start)
    for first, end in zip(begins[starts], ends[numpy.append(starts[1:], len(begins)) - 1], strict=True):
        lower = int(numpy.searchsorted(block_ends, first, "right"))
        upper = int(numpy.searchsorted(firsts, end, "left"))
        for block in part.segment.read_blocks(file, part.blocks[lower:upper]):
            begin, until = max(int(first) - block.seq, 0), min(int(end) - block.seq, len(block.samples))
            numbers.append(numpy.arange(block.seq + begin, block.seq + until))
            values.append(channels_of(block.samples[begin:until], part.spec))
    if numbers:
        every, all_values = numpy.concatenate(numbers), numpy.concatenate(values)
        places = numpy.searchsorted(every, begins), numpy.searchsorted(every, ends)
        yield from _rows_of_ranges(all_values, all_values, nans_in(all_values), *places, owners)


def _rows_of_ranges(
    low: Array, high: Array, nans: Array, lower: Array, upper: Array, owners: Array
) -> Iterator[_Rows]:
    has_any = lower < upper
    if has_any.any():
        yield (
            owners[has_any],
            *extremes_of_ranges(low, high, nans, lower[has_any], upper[has_any]),
        )


def _sorted(rows: list[_Rows]) -> _Rows:
    owners, low, high, nans = (numpy.concatenate(columns) for columns in zip(*rows, strict=True))
    order = numpy.argsort(owners, kind="stable")
    return owners[order], low[order], high[order], nans[order]
