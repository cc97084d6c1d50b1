"""The records of a segment as bytes: docs/recordings.md says each. Pure."""

import struct
import zlib
from collections.abc import Sequence

Buffer = bytes | bytearray | memoryview

MAGIC = b"SNYR"
HEAD = struct.Struct(
    "<4sB3xII"
)  # magic, kind, bytes of the body, CRC-32 of the twelve before it and the body
_CRC_AT = HEAD.size - 4
MAX_BODY_BYTES = 256 << 20  # a block's: what a reader holds at once to check it

# Kinds. A reader skips those that it does not know.
SPEC = 1  # JSON: the first of a segment
BLOCK = 2
GAP = 3
MARK = 4
CLOCK = 5
SUMMARY = 16  # JSON: the first of what is kept beside a finished segment
ENTRIES = 17
LEVEL = 18

# How their bodies begin; then come the samples of a block, the reason of a gap, the name of a mark.
BLOCK_HEAD = struct.Struct("<qqqqI4x")  # number, source_us, offset_us, uncertainty_us, count
GAP_HEAD = struct.Struct("<qq")  # first and last number
MARK_HEAD = struct.Struct("<q")  # at_us
CLOCK_BODY = struct.Struct("<qqq")  # the hub's clock, the recorder's steady one, UTC since 1970, all in µs
LEVEL_HEAD = struct.Struct("<qq")  # bits of a bucket's number of samples, buckets


def head_of(kind: int, body: Sequence[Buffer]) -> bytes:
    """Return the head of a record whose body is these buffers one after the other. Raises ValueError for one
    that is too long.
    """
    length = sum(len(part) for part in body)
    if length > MAX_BODY_BYTES:
        raise ValueError(f"a record has at most {MAX_BODY_BYTES:,} bytes, not {length:,}")
    head = HEAD.pack(MAGIC, kind, length, 0)
    crc = zlib.crc32(head[:_CRC_AT])
    for part in body:
        crc = zlib.crc32(part, crc)
    return head[:_CRC_AT] + crc.to_bytes(4, "little")


def whole_record(data: memoryview, at: int) -> tuple[int, int, int] | None:
    """Return kind, begin and end of the body of the record at `at`, or None where none is whole."""
    begin = at + HEAD.size
    if begin > len(data):
        return None
    magic, kind, length, crc = HEAD.unpack_from(data, at)
    end = begin + length
    if magic != MAGIC or end > len(data):
        return None
    if zlib.crc32(data[begin:end], zlib.crc32(data[at : at + _CRC_AT])) != crc:
        return None
    return kind, begin, end


def needed_bytes(data: memoryview, at: int) -> int:
    """Return how many bytes the record at `at` has, as far as its head tells: 0 where that is no head."""
    if at + HEAD.size > len(data):
        return HEAD.size
    magic, _, length, _ = HEAD.unpack_from(data, at)
    return HEAD.size + length if magic == MAGIC and length <= MAX_BODY_BYTES else 0
