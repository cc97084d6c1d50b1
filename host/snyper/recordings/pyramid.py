"""Extremes, means and deviations of samples in buckets of 64, 4,096 and 262,144 numbers. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy

from snyper.streams import StreamSpec

Array = numpy.ndarray[Any, Any]

BITS = (6, 12, 18)  # of the numbers in a bucket: bucket b has those from b << bits on


@dataclass(frozen=True, eq=False)
class Cells:
    """Sums over ranges of samples: a row for each range, with a value for each channel."""

    low: Array  # NaN where nothing else is in it
    high: Array
    nans: Array
    counts: Array  # of numbers that are finite, of which are:
    means: Array  # 0 of none
    squares: Array  # the sum of the squares of their distances from their mean

    def __len__(self) -> int:
        return len(self.low)

    def __getitem__(self, rows: Any) -> "Cells":
        return Cells(*(one[rows] for one in self.columns()))

    def columns(self) -> tuple[Array, ...]:
        """Return them in the order of the constructor."""
        return self.low, self.high, self.nans, self.counts, self.means, self.squares


@dataclass(frozen=True, eq=False)
class Level:
    """The buckets that have samples, of one size."""

    bits: int
    numbers: Array  # of the buckets, rising
    cells: Cells


def channel_dtype(spec: StreamSpec) -> numpy.dtype[Any]:
    """Return the dtype of the extremes: of a complex number that of its parts."""
    dtype = numpy.dtype(spec.dtype).newbyteorder("=")
    if dtype.kind == "b":
        return numpy.dtype("u1")
    return numpy.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def channels_each(spec: StreamSpec) -> int:
    """Return how many channels a value has: of a complex number its parts and its absolute value."""
    return 3 if numpy.dtype(spec.dtype).kind == "c" else 1


def channel_count(spec: StreamSpec) -> int:
    """Return how many channels there are, those of a value beside each other."""
    return prod(spec.shape) * channels_each(spec)


def channels_of(samples: Array, spec: StreamSpec) -> Array:
    """Return samples with a column for each channel, in this machine's order of bytes."""
    native = numpy.ascontiguousarray(samples, numpy.dtype(spec.dtype).newbyteorder("="))
    if native.dtype.kind == "c":
        with numpy.errstate(over="ignore", invalid="ignore"):
            native = numpy.stack([native.real, native.imag, numpy.abs(native)], -1)
    return native.view(channel_dtype(spec)).reshape(len(samples), channel_count(spec))


def cells_of(values: Array) -> Cells:
    """Return a row for each sample."""
    squares = numpy.broadcast_to(0.0, values.shape)
    is_finite = numpy.isfinite(values)
    means = numpy.where(is_finite, values, 0).astype("f8")
    return Cells(values, values, numpy.isnan(values).view("u1"), is_finite.view("u1"), means, squares)


def empty_level(bits: int, spec: StreamSpec) -> Level:
    """Return a level without buckets."""
    return Level(bits, numpy.zeros(0, "i8"), empty_cells(channel_dtype(spec), 0, channel_count(spec)))


def empty_cells(dtype: numpy.dtype[Any], *shape: int) -> Cells:
    """Return rows without samples."""
    return Cells(*(numpy.zeros(shape, one) for one in (dtype, dtype, "u4", "u4", "f8", "f8")))


def reduced(first: int, values: Array) -> Level:
    """Return the smallest buckets of samples with these numbers on."""
    size = 1 << BITS[0]
    starts = numpy.concatenate([[0], numpy.arange(-first % size or size, len(values), size)])
    return Level(BITS[0], (first + starts) >> BITS[0], _cells_of_buckets(values, starts))


def _cells_of_buckets(values: Array, starts: Array) -> Cells:
    """Return a row for the samples from each of `starts` on: what `summed` makes of all of them, sooner."""
    with numpy.errstate(over="ignore", invalid="ignore"):
        sums = numpy.add.reduceat(values, starts, dtype="f8")
    if not numpy.isfinite(sums).all():
        return summed(cells_of(values), starts)
    lengths = numpy.diff(starts, append=len(values))
    counts = numpy.broadcast_to(lengths[:, None], sums.shape).astype("u4")
    means = sums / counts
    away = values - numpy.repeat(means, lengths, 0)
    with numpy.errstate(over="ignore"):
        away *= away
        squares = numpy.add.reduceat(away, starts)
    low, high = numpy.minimum.reduceat(values, starts), numpy.maximum.reduceat(values, starts)
    return Cells(low, high, numpy.zeros_like(counts), counts, means, squares)


def joined(levels: Iterable[Level], bits: int | None = None) -> Level:
    """Return several levels of one size, in the order of their numbers, as one: perhaps of a larger size."""
    parts = list(levels)
    larger = parts[0].bits if bits is None else bits
    numbers = numpy.concatenate([part.numbers for part in parts]) >> (larger - parts[0].bits)
    cells = together([part.cells for part in parts])
    starts = numpy.flatnonzero(numpy.diff(numbers, prepend=-1))
    if len(starts) < len(numbers):
        numbers, cells = numbers[starts], summed(cells, starts)
    return Level(larger, numbers, cells)


def together(parts: Sequence[Cells]) -> Cells:
    """Return the rows of several as one."""
    return Cells(*map(numpy.concatenate, zip(*(part.columns() for part in parts), strict=True)))


def summed(cells: Cells, starts: Array) -> Cells:
    """Sum rows to one for each of `starts`, up to the next."""
    counts = numpy.add.reduceat(cells.counts, starts, dtype="u4")
    # Distances from a number near all of them are small, and so are their squares.
    lengths = numpy.diff(starts, append=len(cells))
    rows = slice(int(starts[0]), None)
    some = cells.counts[rows]
    means = numpy.where(some > 0, cells.means[rows], numpy.nan)
    origins = numpy.nan_to_num(numpy.fmin.reduceat(means, starts - starts[0]))
    with numpy.errstate(over="ignore", invalid="ignore"):
        away = numpy.nan_to_num(means - numpy.repeat(origins, lengths, 0))
        sums = numpy.add.reduceat(some * away, starts - starts[0])
        squares = numpy.add.reduceat(cells.squares[rows] + some * away * away, starts - starts[0])
        nearer = sums / numpy.maximum(counts, 1)
        return Cells(
            numpy.fmin.reduceat(cells.low, starts),
            numpy.fmax.reduceat(cells.high, starts),
            numpy.add.reduceat(cells.nans, starts, dtype="u4"),
            counts,
            origins + nearer,
            numpy.maximum(squares - counts * nearer * nearer, 0),
        )


def summed_ranges(cells: Cells, begins: Array, ends: Array) -> Cells:
    """Sum rows to one for each range: of one row at least, and none before the end of the last."""
    bounds = numpy.stack([begins, ends], 1).reshape(-1)
    if ends[-1] == len(cells):  # a range to the very end has no bound there
        bounds = bounds[:-1]
    return summed(cells[: int(ends[-1]) + 1], bounds)[::2]
