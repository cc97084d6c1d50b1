"""The file beside a finished segment: the places of its records, and its pyramid.

Nothing depends on it: where it is missing or wrong, the segment itself is read.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy

from snyper.device.strict_json import parse_strictly
from snyper.recordings import records
from snyper.recordings.layout import open_file
from snyper.recordings.pyramid import BITS, Cells, Level, channel_count, channel_dtype
from snyper.streams import StreamSpec

Array = numpy.ndarray[Any, Any]

# A record each: `first` is the number of the first of `count` samples, of a block or of a gap.
ENTRY = numpy.dtype(
    [("offset", "<i8"), ("kind", "<i8"), ("first", "<i8"), ("count", "<i8"), ("at_us", "<i8")]
)
MAX_JSON_BYTES = 64 << 10


class Unfit(ValueError):
    """A file that is not the one of its segment."""


def write_sidecar(path: Path, summary: dict[str, Any], entries: Array, levels: Sequence[Level]) -> None:
    """Write the file, whole or not at all. Raises OSError."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            _write(file, records.SUMMARY, json.dumps(summary).encode())
            _write(file, records.ENTRIES, entries.tobytes())
            for level in levels:
                numbers = level.numbers.astype("<i8")
                head = records.LEVEL_HEAD.pack(level.bits, len(numbers))
                dtypes = _cell_dtypes(level.cells.low.dtype)
                cells = zip(level.cells.columns(), dtypes, strict=True)
                columns = (numbers, *(values.astype(dtype) for values, dtype in cells))
                _write(file, records.LEVEL, head, *(column.tobytes() for column in columns))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_summary(path: Path) -> dict[str, Any]:
    """Read what the segment as a whole is like. Raises Unfit, OSError."""
    body = _nth(path, 0, records.SUMMARY)
    if len(body) > MAX_JSON_BYTES:
        raise Unfit
    try:
        summary = parse_strictly(bytes(body))
    except ValueError:
        raise Unfit from None
    if not isinstance(summary, dict):
        raise Unfit
    return summary


def read_entries(path: Path) -> Array:
    """Read the entries of the records. Raises Unfit, OSError."""
    body = _nth(path, 1, records.ENTRIES)
    if len(body) % ENTRY.itemsize:
        raise Unfit
    return numpy.frombuffer(body, ENTRY)


def read_level(path: Path, bits: int, spec: StreamSpec) -> Level:
    """Read a level of the pyramid. Raises Unfit, OSError."""
    body = _nth(path, 2 + BITS.index(bits), records.LEVEL)
    dtype, channels = channel_dtype(spec), channel_count(spec)
    size = records.LEVEL_HEAD.size
    if len(body) < size:
        raise Unfit
    stored_bits, count = records.LEVEL_HEAD.unpack_from(body)
    dtypes = _cell_dtypes(dtype)
    lengths = [8 * count, *(count * channels * one.itemsize for one in dtypes)]
    if stored_bits != bits or count < 0 or len(body) != size + sum(lengths):
        raise Unfit
    columns = []
    for length in lengths:
        columns.append(body[size : size + length])
        size += length
    numbers = numpy.frombuffer(columns[0], "<i8").astype("i8")
    if (numpy.diff(numbers) <= 0).any():
        raise Unfit
    values = (
        numpy.frombuffer(column, one).astype(one.newbyteorder("=")).reshape(count, channels)
        for column, one in zip(columns[1:], dtypes, strict=True)
    )
    return Level(bits, numbers, Cells(*values))


def _cell_dtypes(dtype: numpy.dtype[Any]) -> list[numpy.dtype[Any]]:
    """Return the dtypes of the columns of cells in the file, of which that is the dtype of the extremes."""
    return [numpy.dtype(one).newbyteorder("<") for one in (dtype, dtype, "u4", "u4", "f8", "f8")]


def _write(file: BinaryIO, kind: int, *body: bytes) -> None:
    file.write(records.head_of(kind, body))
    for part in body:
        file.write(part)


def _nth(path: Path, number: int, kind: int) -> memoryview:
    """Read the body of the record with that number in the file."""
    with open_file(path) as file:
        size, at = file.seek(0, 2), 0
        for left in reversed(range(number + 1)):
            file.seek(at)
            length = records.needed_bytes(memoryview(file.read(records.HEAD.size)), 0)
            if not 0 < length <= size - at:
                raise Unfit
            if left:
                at += length
        file.seek(at)
        data = memoryview(file.read(length))
    found = records.whole_record(data, 0)
    if found is None or found[0] != kind:
        raise Unfit
    return data[found[1] : found[2]]
