"""A small picture of an array: minima and maxima along its first axis."""

import math
from typing import Any, BinaryIO, NamedTuple

import numpy

from snyper.arrays.npy import Head
from snyper.arrays.slices import file_order, pieces, whole

COLUMNS = 64
CELLS = 32  # of a matrix along each axis
_LEVELS = 254

Number = float | int


class Preview(NamedTuple):
    """The smallest and the largest number of each column: a part of the first axis, of which there are
    COLUMNS at most. NaN and infinities are left out; None is a column of nothing else.

    Of a matrix `image` has a line for each of at most CELLS parts of the rows, of so many parts of the
    columns: two hexadecimal digits each, from 01 for its smallest number to ff for its largest; 00 is none.
    Of a part it is the number that is farthest from the middle, so that one spike is seen.
    """

    low: list[Number | None]
    high: list[Number | None]
    image: list[str] | None = None

    def to_data(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {"low": self.low, "high": self.high} | ({"image": self.image} if self.image else {})


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
    cells = _Cells(plain.shape) if len(head.shape) == 2 and min(head.shape) > 1 else None
    at = 0
    for piece in pieces(file, plain, selection):
        numbers = _numbers(piece)
        low.take(numbers, at)
        high.take(numbers, at)
        if cells is not None:
            cells.take(numbers, at)
        at += piece.size
    return Preview(low.found(), high.found(), None if cells is None else cells.image(head.is_fortran))


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


class _Cells:
    """The smallest and the largest numbers of the parts of a matrix, which comes in the file's order."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._width = shape[1]
        self._rows, self._columns = (
            numpy.arange(min(length, CELLS)) * length // min(length, CELLS) for length in shape
        )
        grid = len(self._rows), len(self._columns)
        self._low, self._high = numpy.full(grid, numpy.inf), numpy.full(grid, -numpy.inf)

    def take(self, numbers: Any, at: int) -> None:
        """Take the elements from `at` on: whole rows, or a part of one."""
        row, begin = divmod(at, self._width)
        some = numbers.reshape(
            -1, self._width if not begin and not numbers.size % self._width else numbers.size
        )
        first = int(numpy.searchsorted(self._columns, begin, "right")) - 1
        last = int(numpy.searchsorted(self._columns, begin + some.shape[1]))
        starts = numpy.maximum(self._columns[first:last] - begin, 0)
        upper = int(numpy.searchsorted(self._rows, row, "right")) - 1
        lower = int(numpy.searchsorted(self._rows, row + len(some)))
        begins = numpy.maximum(self._rows[upper:lower] - row, 0)
        for grid, how in ((self._low, numpy.fmin), (self._high, numpy.fmax)):
            found = how.reduceat(how.reduceat(some, starts, axis=1), begins, axis=0)
            grid[upper:lower, first:last] = how(grid[upper:lower, first:last], found)

    def image(self, is_turned: bool) -> list[str]:
        """Return the lines of the image."""
        low, high = self._low / 2, self._high / 2  # so that their difference is a number
        is_known = low <= high
        if not is_known.any():
            levels = numpy.zeros(low.shape, "u1")
        else:
            least, greatest = low[is_known].min(), high[is_known].max()
            middle = numpy.median(low[is_known] / 2 + high[is_known] / 2)
            farthest = numpy.where(high - middle >= middle - low, high, low)
            size = greatest - least
            share = (
                numpy.where(is_known, farthest - least, 0) / size if size > 0 else numpy.full(low.shape, 0.5)
            )
            levels = numpy.where(is_known, 1 + numpy.rint(share * _LEVELS), 0).astype("u1")
        return [bytes(line).hex() for line in (levels.T if is_turned else levels)]
