"""Slices of an array that lies in a file: what is asked for, and its elements in pieces of bounded size."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy

from snyper.arrays.npy import Head

PIECE_BYTES = 1 << 20
_GATHERED_BYTES = 8 << 20  # of one piece where the file has another order: each takes a walk through the file
_SPAN_BYTES = 65_536  # that are sooner read than skipped
_MAX_DIGITS = 19
_AXIS = re.compile(r"(-?\d+)?(?:(:)(-?\d+)?(?::(\d+)?)?)?", re.ASCII)


class NoSlice(ValueError):
    """The reason why a text is no slice of an array, in a sentence for people."""


@dataclass(frozen=True)
class Selection:
    """What is selected of an array: a range for each axis, and the shape that the result has."""

    ranges: tuple[range, ...]
    shape: tuple[int, ...]


def whole(shape: Sequence[int]) -> Selection:
    """Return the selection of all elements."""
    return Selection(tuple(map(range, shape)), tuple(shape))


def select(text: str, shape: Sequence[int]) -> Selection:
    """Parse a slice as Python writes it, such as `10:20,::2,-1`, with a step of 1 or more. As there, a number
    alone takes its axis away, and axes that are not named are whole. Raises NoSlice.
    """
    parts = text.replace(" ", "").split(",")
    if len(parts) > len(shape):
        raise NoSlice(f"it has {len(shape)} axes, too few for {len(parts)} slices")
    ranges: list[range] = []
    lengths: list[int] = []
    for axis, (part, length) in enumerate(zip(parts, shape, strict=False)):
        found = _AXIS.fullmatch(part)
        if not part or found is None or len(part) > 3 * _MAX_DIGITS:
            raise NoSlice(f"{part[:40]!r} is no slice, such as 10:20, ::2 or -1")
        start, colon, stop, step = found.groups()
        if colon:
            if step is not None and int(step) == 0:
                raise NoSlice("a slice has a step of 1 or more")
            chosen = range(length)[slice(*(None if one is None else int(one) for one in (start, stop, step)))]
            lengths.append(len(chosen))
        else:
            number = int(start)
            if not -length <= number < length:
                raise NoSlice(f"{number} is beyond axis {axis}, which has {length}")
            chosen = range(length)[number : number + 1 or None]
        ranges.append(chosen)
    rest = shape[len(parts) :]
    return Selection((*ranges, *map(range, rest)), (*lengths, *rest))


def pieces(file: BinaryIO, head: Head, selection: Selection, most_bytes: int = PIECE_BYTES) -> Iterator[Any]:
    """Yield what is selected of the array in an open file, in order, as arrays of one axis. Raises OSError
    where the file is shorter than its head says.
    """
    most = most_bytes // head.type.itemsize
    gathered = _GATHERED_BYTES // head.type.itemsize if head.is_fortran else most
    for ranges in _parts(list(selection.ranges), gathered):
        part = _read(file, head, ranges)
        for some in _parts([range(length) for length in part.shape], most):
            yield part[tuple(slice(one.start, one.stop) for one in some)].reshape(-1)


def file_order(head: Head, selection: Selection) -> tuple[Head, Selection]:
    """Return head and selection as a file has them that keeps the order of the elements: they are read one
    after the other, also of an array in Fortran's order.
    """
    if not head.is_fortran:
        return head, selection
    plain = Head(head.dtype, head.shape[::-1], False, head.offset)
    return plain, Selection(selection.ranges[::-1], selection.shape[::-1])


def _parts(ranges: list[range], most: int) -> Iterator[list[range]]:
    """Yield selections of at most `most` elements, which one after the other are `ranges`."""
    count = math.prod(map(len, ranges))
    if count <= most:
        if count:
            yield ranges
        return
    axis = next(axis for axis, one in enumerate(ranges) if len(one) > 1)
    each = max(1, most * len(ranges[axis]) // count)
    for at in range(0, len(ranges[axis]), each):
        yield from _parts([*ranges[:axis], ranges[axis][at : at + each], *ranges[axis + 1 :]], most)


def _read(file: BinaryIO, head: Head, ranges: list[range]) -> Any:
    shape = head.shape
    if head.is_fortran:
        shape, ranges = shape[::-1], ranges[::-1]
    out = numpy.empty([len(one) for one in ranges], head.type)
    _fill(file, head.offset, shape, ranges, out)
    return out.T if head.is_fortran else out


def _fill(file: BinaryIO, offset: int, shape: Sequence[int], ranges: list[range], out: Any) -> None:
    """Read a selection of an array in C's order, which begins at `offset`, into `out`."""
    if not shape:
        _read_into(file, offset, out.reshape(1))
        return
    chosen, rest = ranges[0], ranges[1:]
    row_bytes = math.prod(shape[1:]) * out.itemsize
    if chosen.step == 1 and rest == [range(length) for length in shape[1:]]:
        _read_into(file, offset + chosen.start * row_bytes, out)
        return
    if row_bytes > _SPAN_BYTES:
        for at, index in enumerate(chosen):
            _fill(file, offset + index * row_bytes, shape[1:], rest, out[at, ...])
        return
    each = max(1, PIECE_BYTES // (row_bytes * chosen.step))
    picked = tuple(slice(one.start, one.stop, one.step) for one in rest)
    for at in range(0, len(chosen), each):
        some = chosen[at : at + each]
        span = numpy.empty((some[-1] - some[0] + 1, *shape[1:]), out.dtype)
        _read_into(file, offset + some[0] * row_bytes, span)
        out[at : at + each] = span[(slice(None, None, chosen.step), *picked)]


def _read_into(file: BinaryIO, offset: int, out: Any) -> None:
    """Fill `out`, which has no gaps, with what lies at `offset`."""
    file.seek(offset)
    rest = memoryview(out.reshape(-1).view(numpy.uint8))
    while rest:
        count = file.readinto(rest)  # type: ignore[attr-defined]
        if not count:
            raise OSError("the file of an array is shorter than its head says")
        rest = rest[count:]
