"""A small picture of an array: minima and maxima along its first axis."""

import math
from typing import Any, BinaryIO, NamedTuple

import numpy

from snyper.arrays.npy import Head
from snyper.arrays.slices import file_order, pieces, whole

COLUMNS = 64

Number = float | int


class Preview(NamedTuple):
    """The smallest and the largest number of each column: a part of the first axis, of which there are
    COLUMNS at most. NaN and infinities are left out; None is a column of nothing else.
    """

    low: list[Number | None]
    high: list[Number | None]


def preview_of(file: BinaryIO, head: Head) -> Preview:
    """Make the preview of the array in an open file. Raises OSError."""
    count = head.shape[0] if head.shape else 1
    if 0 in head.shape:
        return Preview([], [])
    columns = min(count, COLUMNS)
    # In the file's order the first axis comes round once, or as often as there are elements in all others.
    period = count if head.is_fortran else math.prod(head.shape)
    edges = numpy.array([count * column // columns for column in range(columns)]) * (period // count)
    low, high = (_Extremes(how, edges, period) for how in (numpy.fmin, numpy.fmax))
    plain, selection = file_order(head, whole(head.shape))
    at = 0
    for piece in pieces(file, plain, selection):
        numbers = _numbers(piece)
        low.take(numbers, at)
        high.take(numbers, at)
        at += piece.size
    return Preview(low.found(), high.found())


def _numbers(piece: Any) -> Any:
    """Return it without what is no number."""
    if piece.dtype.kind == "b":
        return piece.view(numpy.uint8)
    if piece.dtype.kind == "f" and not (is_finite := numpy.isfinite(piece)).all():
        return numpy.where(is_finite, piece, numpy.nan)
    return piece


class _Extremes:
    """The smallest numbers of all columns, or the largest."""

    def __init__(self, how: Any, edges: Any, period: int) -> None:
        self._how = how
        self._edges = edges
        self._period = period
        self._found: dict[int, Any] = {}

    def take(self, numbers: Any, at: int) -> None:
        """Take the elements from `at` on: whole periods, or a part of one."""
        if not numbers.size % self._period:
            numbers = self._how.reduce(numbers.reshape(-1, self._period), axis=0)
        begin = at % self._period
        first = int(numpy.searchsorted(self._edges, begin, "right")) - 1
        last = int(numpy.searchsorted(self._edges, begin + len(numbers)))
        starts = numpy.maximum(self._edges[first:last] - begin, 0)
        for column, value in enumerate(self._how.reduceat(numbers, starts), first):
            self._found[column] = self._how(self._found.get(column, value), value)

    def found(self) -> list[Number | None]:
        values = [self._found[column].item() for column in sorted(self._found)]
        return [None if value != value else value for value in values]
