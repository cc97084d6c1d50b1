"""A recording as it is drawn: extremes, mean and deviation of each column of pixels, exact at every zoom."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy

from snyper.recordings.layout import open_file
from snyper.recordings.pyramid import (
    BITS,
    Cells,
    cells_of,
    channel_count,
    channels_each,
    channels_of,
    empty_cells,
    summed,
    summed_ranges,
    together,
)
from snyper.recordings.segment import MAX_US
from snyper.streams import StreamSpec
from snyper.streams.columns import column_width_us

if TYPE_CHECKING:
    from snyper.recordings.recording import Part, Recording

Array = numpy.ndarray[Any, Any]

MAX_CELLS = 1 << 22  # columns times channels: 100 MB


@dataclass(frozen=True, eq=False)
class Overview:
    """Columns of time, and what each channel has in them. A complex number is three channels: its parts and
    its absolute value.
    """

    edges_us: Array  # one more than there are columns, multiples of their width
    low: Array  # a row for each column: 0 where it has no sample, NaN where it has nothing else
    high: Array
    nans: Array  # how many there are in each
    counts: Array  # how many of its numbers are finite, of which are:
    means: Array
    squares: Array  # the sum of the squares of their distances from the mean
    samples: Array  # how many there are in each column
    is_broken: Array  # whether a column has the first sample after some that are missing, or of an epoch

    @property
    def cells(self) -> Cells:
        """Return what each channel has in them."""
        return Cells(self.low, self.high, self.nans, self.counts, self.means, self.squares)


_Rows = tuple[Array, Cells]  # owners, and of each what some range of numbers in its column has


def overview_of(
    recording: "Recording",
    begin_us: int,
    end_us: int,
    columns: int,
    channels: Sequence[int] | None,
    like: StreamSpec | None = None,
) -> Overview:
    """Return the overview of what was captured from one instant until before another, of all channels or of
    some, without the epochs that have not as many as `like`. Raises ValueError, RecordingError, OSError.
    """
    if not (-MAX_US <= begin_us < end_us <= MAX_US and columns > 0):
        raise ValueError("an overview has at least one column, and its end is after its begin")
    width = column_width_us(end_us - begin_us, columns)
    first, last = begin_us // width, -(-end_us // width)
    edges_us = numpy.arange(first, last + 1, dtype="i8") * width
    made: _Columns | None = None
    for part in recording.parts_between(int(edges_us[0]), int(edges_us[-1])):
        if part.first >= part.end:
            continue
        if like is not None and channel_count(part.spec) != channel_count(like):
            continue
        if made is None:
            made = _Columns(edges_us, channel_count(part.spec), channels)
        made.add(part)
    if made is None:  # as many channels as there would be
        epochs = recording.epochs
        made = (
            _Columns(edges_us, channel_count(epochs[-1].spec), channels)
            if epochs
            else _Columns(edges_us, 1, None)
        )
    return made.overview()


class _Columns:
    """The columns as they fill, a segment at a time."""

    def __init__(self, edges_us: Array, channels: int, picked: Sequence[int] | None) -> None:
        self._edges_us = edges_us
        self._channels = channels
        self._picked = None if picked is None else list(picked)
        count, shown = len(edges_us) - 1, channels if picked is None else len(picked)
        if count * shown > MAX_CELLS:
            raise ValueError(f"an overview of {shown:,} channels has at most {MAX_CELLS // shown:,} columns")
        self._shape = (count, shown)
        self._cells: Cells | None = None
        self._samples = numpy.zeros(count, "i8")
        self._is_broken = numpy.zeros(count, "?")
        self._is_filled = numpy.zeros(count, "?")

    def overview(self) -> Overview:
        """Return what was added."""
        cells = self._cells or empty_cells(numpy.dtype("f8"), *self._shape)
        low, high, nans, counts, means, squares = cells.columns()
        return Overview(
            self._edges_us, low, high, nans, counts, means, squares, self._samples, self._is_broken
        )

    def add(self, part: "Part") -> None:
        """Add what a segment has."""
        if channel_count(part.spec) != self._channels:
            raise ValueError("the samples of two epochs have not as many channels: ask for one of them")
        self._break_where_something_is_missing(part)
        numbers = numpy.clip(part.timeline.number_at(self._edges_us), part.first, part.end)
        owners = numpy.flatnonzero(numbers[:-1] < numbers[1:])
        if not len(owners):
            return
        self._samples += numpy.diff(_stored_before(part, numbers))
        with open_file(part.segment.path) as file:
            rows = list(_rows_of(part, file, numbers[owners], numbers[owners + 1], owners, BITS[::-1]))
            if self._picked is not None:
                rows = [(owner, cells[:, self._picked]) for owner, cells in rows]
        if rows:
            self._merge(*_sorted(rows))

    def _merge(self, owners: Array, cells: Cells) -> None:
        owners, starts = numpy.unique(owners, return_index=True)
        cells = summed(cells, starts)
        if self._cells is None:
            self._cells = empty_cells(cells.low.dtype, *self._shape)
        common = numpy.result_type(self._cells.low, cells.low)
        if common != self._cells.low.dtype:
            low, high, *others = self._cells.columns()
            self._cells = Cells(low.astype(common), high.astype(common), *others)
        filled = numpy.flatnonzero(self._is_filled[owners])
        if len(filled):  # with what the segment before has
            both = together([self._cells[owners[filled]], cells[filled]])
            order = numpy.argsort(numpy.tile(numpy.arange(len(filled)), 2), kind="stable")
            for own, values in zip(
                cells.columns(), summed(both[order], numpy.arange(len(filled)) * 2).columns(), strict=True
            ):
                own[filled] = values
        for own, values in zip(self._cells.columns(), cells.columns(), strict=True):
            own[owners] = values
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
        yield from _rows_of_ranges(level.cells, lower, upper, owners[is_whole])
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
    """Read the samples of ranges, each block once."""
    firsts = part.blocks["first"]
    block_ends = firsts + part.blocks["count"]
    numbers, values = [], []
    touches = begins[1:] == ends[:-1]
    first = begins[numpy.concatenate([[True], ~touches])]
    end = ends[numpy.concatenate([~touches, [True]])]
    lower = numpy.searchsorted(block_ends, first, "right")
    upper = numpy.searchsorted(firsts, end, "left")
    starts = numpy.flatnonzero(numpy.concatenate([[True], lower[1:] >= upper[:-1]]))
    for at, until in zip(starts.tolist(), [*starts[1:].tolist(), len(first)], strict=True):
        for block in part.segment.read_blocks(file, part.blocks[lower[at] : upper[until - 1]]):
            while at < until:
                begin, stop = (
                    max(int(first[at]) - block.seq, 0),
                    min(int(end[at]) - block.seq, len(block.samples)),
                )
                if begin < stop:
                    numbers.append(numpy.arange(block.seq + begin, block.seq + stop))
                    values.append(channels_of(block.samples[begin:stop], part.spec))
                if end[at] > block.seq + len(block.samples):
                    break
                at += 1
    if numbers:
        every, cells = numpy.concatenate(numbers), cells_of(numpy.concatenate(values))
        places = numpy.searchsorted(every, begins), numpy.searchsorted(every, ends)
        yield from _rows_of_ranges(cells, *places, owners)


def _rows_of_ranges(cells: Cells, lower: Array, upper: Array, owners: Array) -> Iterator[_Rows]:
    has_any = lower < upper
    if has_any.any():
        yield owners[has_any], summed_ranges(cells, lower[has_any], upper[has_any])


def _sorted(rows: list[_Rows]) -> _Rows:
    owners = numpy.concatenate([one for one, _ in rows])
    order = numpy.argsort(owners, kind="stable")
    return owners[order], together([cells for _, cells in rows])[order]


def drawn_channels(spec: StreamSpec, channels: Sequence[int]) -> list[int]:
    """Return which channels of an overview are drawn of some values of a sample: of a complex number the last
    of three, its absolute value.
    """
    each = channels_each(spec)
    return [(one + 1) * each - 1 for one in channels]


def drawn_columns(overview: Overview, rows: Array) -> tuple[Array, ...]:
    """Return of some columns what `LiveColumns.fill` takes. A line breaks where something is missing or is no
    number.
    """
    cells = overview.cells[rows]
    is_number = numpy.isfinite(cells.low) & numpy.isfinite(cells.high)
    low, high = (numpy.where(is_number, values, numpy.nan) for values in (cells.low, cells.high))
    is_broken = overview.is_broken[rows, None] | (cells.counts < overview.samples[rows, None])
    return low, high, cells.counts, cells.means, cells.squares, is_broken
