"""Columns of time: what a plot of a stream shows in each of its pixels, on edges that never move."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from snyper.streams.block import Block
from snyper.streams.spec import StreamSpec

Array = numpy.ndarray[Any, Any]

MAX_CHANNELS = 64  # that a plot tells apart, and more


def column_width_us(length_us: int, columns: int) -> int:
    """Return the width of columns of which so many have at least that length: of 8 widths until it doubles,
    so that for a length that is nearly the same it is the same.
    """
    width = max(1, -(-length_us // columns))
    step = 1 << max(0, width.bit_length() - 4)
    return -(-width // step) * step


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns that have samples, in order: a row for each, with a value for each channel."""

    numbers: Array  # of the columns: column N begins at N times their width, in the hub's clock
    low: Array  # the least number among its samples, NaN where none is one
    high: Array
    mean: Array  # of all numbers from the rolling time before its end until then
    deviation: Array  # standard deviation of the same
    is_broken: Array  # whether the line is not to lead to it: samples are missing before it, or are no number


class LiveColumns:
    """The last `keep` columns of a stream as its blocks come, `width_us` wide each, on multiples of that.

    `channels` are those that are kept, at most MAX_CHANNELS of the values of a sample; of complex samples it
    is the absolute value. A column costs the same whatever comes: 49 bytes a channel. What comes for a time
    before the last `keep` columns is left out. Raises ValueError.
    """

    def __init__(self, spec: StreamSpec, width_us: int, keep: int, channels: Sequence[int] = (0,)) -> None:
        count = int(numpy.prod(spec.shape, dtype=int))
        if not (width_us > 0 and keep > 0 and 0 < len(channels) <= MAX_CHANNELS):
            raise ValueError(f"columns are at least one, and have 1 to {MAX_CHANNELS} channels")
        if not all(0 <= channel < count for channel in channels):
            raise ValueError(f"the stream has the channels 0 to {count - 1}")
        self.spec = spec
        self.width_us = width_us
        self._keep = keep
        self._channels = list(channels)
        self.first = 0  # the number of the first column that is kept
        self._is_empty = True
        self._epoch = ""
        shape = (keep, len(self._channels))
        self._low, self._high = numpy.full(shape, numpy.nan), numpy.full(shape, numpy.nan)
        self._sums, self._squares = numpy.zeros(shape), numpy.zeros(shape)  # of the distances from `_origin`
        self._counts = numpy.zeros(shape, "i8")  # of numbers
        self._is_broken = numpy.zeros(shape, "?")
        self._samples = numpy.zeros((keep, 1), "i8")
        self._origin = numpy.zeros(shape[1])  # near all values, so that their squares are small

    def is_of_another_clock(self, block: Block) -> bool:
        """Return whether a block is from before all that is kept, as when a hub on a board started again: it
        is to be shown alone.
        """
        return block.at_us // self.width_us < self.first

    def add(self, block: Block) -> None:
        """Add the samples of a block. Raises ValueError where they are not like the spec's."""
        if block.samples.shape[1:] != self.spec.shape or block.samples.dtype != self.spec.dtype:
            raise ValueError("the samples are others than before")
        count = len(block.samples)
        if not count:
            return
        times_us = numpy.full(count, block.at_us, "i8")
        if self.spec.rate_hz > 0:
            times_us += (numpy.arange(count) * (1e6 / self.spec.rate_hz)).astype("i8")
        is_after_gap = block.lost > 0 or (block.epoch != self._epoch and not self._is_empty)
        self._epoch = block.epoch
        self.add_samples(times_us, block.samples, is_after_gap)

    def add_samples(self, times_us: Array, samples: Array, is_after_gap: bool = False) -> None:
        """Add samples, one at least, that were captured at these instants, which do not fall. `is_after_gap`
        says that something is missing before them.
        """
        numbers = times_us // self.width_us
        starts = numpy.flatnonzero(numpy.diff(numbers, prepend=numbers[0] - 1))
        values = samples.reshape(len(samples), -1)[:, self._channels]
        values = numpy.abs(values) if values.dtype.kind == "c" else values
        with numpy.errstate(over="ignore", invalid="ignore"):  # a sum that is no number is none to show
            self._take(numbers[starts], starts, values.astype("f8"), is_after_gap)

    def fill(
        self,
        numbers: Array,
        low: Array,
        high: Array,
        counts: Array,
        means: Array,
        squares: Array,
        broken: Array,
    ) -> None:
        """Add to columns, some perhaps several times, what samples from before those that are here are like:
        of each channel the least and the greatest number, how many are finite, their mean, the sum of the
        squares of their distances from it, and whether the line breaks. Where there are samples already,
        which may be the same ones, mean and deviation are of whichever are more.
        """
        if not len(numbers):
            return
        oldest, newest = int(numbers.min()), int(numbers.max())
        if self._is_empty:
            self._is_empty = False
            self.first = oldest
            self._origin = numpy.where(counts[0] > 0, means[0], 0.0)
        if self._samples.any():
            newest = max(newest, self.first + int(numpy.flatnonzero(self._samples[:, 0])[-1]))
        self._move_to(newest)
        self._move_back_to(max(oldest, newest - self._keep + 1))
        kept = numbers >= self.first
        rows = numbers[kept] - self.first
        low, high, counts, means, squares, broken = (
            one[kept] for one in (low, high, counts, means, squares, broken)
        )
        fewer = counts < self._counts[rows]
        counts, squares = numpy.where(fewer, 0, counts), numpy.where(fewer, 0.0, squares)
        for own in (self._sums, self._squares, self._counts):
            own[rows] = numpy.where(fewer, own[rows], 0)
        with numpy.errstate(over="ignore", invalid="ignore"):
            away = numpy.where(counts > 0, means - self._origin, 0.0)
            for add, own, values in (
                (numpy.fmin, self._low, low),
                (numpy.fmax, self._high, high),
                (numpy.add, self._sums, counts * away),
                (numpy.add, self._squares, squares + counts * away * away),
                (numpy.add, self._counts, counts),
                (numpy.logical_or, self._is_broken, broken),
            ):
                add.at(own, rows, values)
        self._samples[rows] += 1

    def break_first(self) -> None:
        """Say that something is missing before what is here."""
        self._is_broken[numpy.flatnonzero(self._samples[:, 0])[:1]] = True

    def _take(self, numbers: Array, starts: Array, values: Array, is_after_gap: bool) -> None:
        is_number = numpy.isfinite(values)
        values[~is_number] = numpy.nan
        if self._is_empty:
            self._is_empty = False
            self.first = int(numbers[0])
            self._origin = numpy.where(is_number[0], values[0], 0.0)
        self._move_to(int(numbers[-1]))
        near = numpy.where(is_number, values - self._origin, 0.0)
        sizes = numpy.diff(starts, append=len(values))[:, None]
        counts = numpy.add.reduceat(is_number, starts, dtype="i8")
        is_broken = counts < sizes
        if is_after_gap:
            is_broken[0] = True
        kept = numbers >= self.first
        rows = numbers[kept] - self.first
        self._low[rows] = numpy.fmin(self._low[rows], numpy.fmin.reduceat(values, starts)[kept])
        self._high[rows] = numpy.fmax(self._high[rows], numpy.fmax.reduceat(values, starts)[kept])
        self._sums[rows] += numpy.add.reduceat(near, starts)[kept]
        self._squares[rows] += numpy.add.reduceat(near * near, starts)[kept]
        self._counts[rows] += counts[kept]
        self._is_broken[rows] |= is_broken[kept]
        self._samples[rows] += sizes[kept]

    def _move_to(self, last: int) -> None:
        """Make room for the column `last`: the oldest go."""
        by = last - self._keep + 1 - self.first
        if by <= 0:
            return
        self.first += by
        stay = max(0, self._keep - by)
        for rows, empty in self._columns():
            rows[:stay] = rows[self._keep - stay :].copy()
            rows[stay:] = empty

    def _move_back_to(self, first: int) -> None:
        """Make room for the column `first`: there is nothing where the last ones go."""
        by = self.first - first
        if by <= 0:
            return
        self.first = first
        by = min(by, self._keep)
        for rows, empty in self._columns():
            rows[by:] = rows[: self._keep - by].copy()
            rows[:by] = empty

    def _columns(self) -> list[tuple[Array, float]]:
        """Return all that is kept of columns, and what an empty one has of it."""
        extremes = [(rows, numpy.nan) for rows in (self._low, self._high)]
        sums = (self._sums, self._squares, self._counts, self._is_broken, self._samples)
        return extremes + [(rows, 0) for rows in sums]

    def since(self, number: int, rolling: int = 1) -> Columns:
        """Return the columns from `number` on; their mean and deviation are those of `rolling` columns."""
        rows = numpy.flatnonzero(self._samples[:, 0])
        rows = rows[rows >= number - self.first]
        with numpy.errstate(over="ignore", invalid="ignore"):
            counts, sums, squares = (
                _rolling(one, rolling)[rows] for one in (self._counts, self._sums, self._squares)
            )
            divisor = numpy.where(counts > 0, counts, numpy.nan)
            mean = sums / divisor
            deviation = numpy.sqrt(numpy.maximum(squares / divisor - mean * mean, 0))
        return Columns(
            rows + self.first,
            self._low[rows],
            self._high[rows],
            mean + self._origin,
            deviation,
            self._is_broken[rows],
        )


def _rolling(values: Array, count: int) -> Array:
    """Return for each row the sum of it and the rows before it, of `count` in all."""
    # By adding alone: of a value that is large, or infinite, nothing is left once it is out of the sum.
    sums = numpy.zeros_like(values)
    of_many, many, done = values.copy(), 1, 0  # the sum of so many rows; of how many `sums` is
    while done < min(count, len(values)):
        if count & many:
            sums[done:] += of_many[: len(values) - done]
            done += many
        of_many[many:] += of_many[:-many].copy()
        many *= 2
    return sums
