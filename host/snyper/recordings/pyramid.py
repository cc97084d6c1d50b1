"""Minima and maxima of samples in buckets of 64, 4,096 and 262,144 numbers. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy

from snyper.streams import StreamSpec

Array = numpy.ndarray[Any, Any]

BITS = (6, 12, 18)  # of the numbers in a bucket: bucket b has those from b << bits on


@dataclass(frozen=True, eq=False)
class Level:
    """The buckets that have samples, of one size: for each channel its extremes, and how many NaN it has."""

    bits: int
    numbers: Array  # of the buckets, rising
    low: Array  # a row for each bucket; NaN where nothing else is in it
    high: Array
    nans: Array


def channel_dtype(spec: StreamSpec) -> numpy.dtype[Any]:
    """Return the dtype of the extremes: of a complex number those of both its parts."""
    dtype = numpy.dtype(spec.dtype).newbyteorder("=")
    if dtype.kind == "b":
        return numpy.dtype("u1")
    return numpy.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def channel_count(spec: StreamSpec) -> int:
    """Return how many channels there are: of a complex number two, which are neighbours."""
    return prod(spec.shape) * (2 if numpy.dtype(spec.dtype).kind == "c" else 1)


def channels_of(samples: Array, spec: StreamSpec) -> Array:
    """Return samples with a column for each channel, in this machine's order of bytes."""
    native = numpy.ascontiguousarray(samples, numpy.dtype(spec.dtype).newbyteorder("="))
    return native.view(channel_dtype(spec)).reshape(len(samples), channel_count(spec))


def nans_in(values: Array) -> Array:
    """Return which values are NaN, as numbers that can be summed."""
    return numpy.isnan(values).view("u1") if values.dtype.kind == "f" else numpy.zeros(values.shape, "u1")


def empty_level(bits: int, spec: StreamSpec) -> Level:
    """Return a level without buckets."""
    shape, dtype = (0, channel_count(spec)), channel_dtype(spec)
    return Level(
        bits,
        numpy.zeros(0, "i8"),
        numpy.zeros(shape, dtype),
        numpy.zeros(shape, dtype),
        numpy.zeros(shape, "u4"),
    )


def reduced(first: int, values: Array) -> Level:
    """Return the smallest buckets of samples with these numbers on."""
    size = 1 << BITS[0]
    starts = numpy.concatenate([[0], numpy.arange(-first % size or size, len(values), size)])
    low, high, nans = extremes(values, values, nans_in(values), starts)
    return Level(BITS[0], (first + starts) >> BITS[0], low, high, nans)


def joined(levels: Iterable[Level], bits: int | None = None) -> Level:
    """Return several levels of one size, in the order of their numbers, as one: perhaps of a larger size."""
    parts = list(levels)
    larger = parts[0].bits if bits is None else bits
    numbers = numpy.concatenate([part.numbers for part in parts]) >> (larger - parts[0].bits)
    low, high, nans = (
        numpy.concatenate([getattr(part, name) for part in parts]) for name in ("low", "high", "nans")
    )
    starts = numpy.flatnonzero(numpy.diff(numbers, prepend=-1))
    if len(starts) < len(numbers):
        numbers = numbers[starts]
        low, high, nans = extremes(low, high, nans, starts)
    return Level(larger, numbers, low, high, nans)


def extremes(low: Array, high: Array, nans: Array, starts: Array) -> tuple[Array, Array, Array]:
    """Reduce rows to one for each of `starts`, up to the next."""
    return (
        numpy.fmin.reduceat(low, starts),
        numpy.fmax.reduceat(high, starts),
        numpy.add.reduceat(nans, starts, dtype="u4"),
    )


def extremes_of_ranges(
    low: Array, high: Array, nans: Array, begins: Array, ends: Array
) -> tuple[Array, Array, Array]:
    """Reduce rows to one for each range: of one row at least, and none before the end of the last."""
    if ends[-1] < len(low):
        bounds = numpy.stack([begins, ends], 1).reshape(-1)
    else:  # a range to the very end has no bound there
        bounds = numpy.stack([begins, ends], 1).reshape(-1)[:-1]
    first, second, third = extremes(low, high, nans, bounds)
    return first[::2], second[::2], third[::2]
