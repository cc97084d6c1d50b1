"""Zip archives that are made while they are sent: nothing is packed, and no size of them is known before.

What the standard library writes keeps an object of each file in memory until the end; here that is a line of
the archive's directory, in a file.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import IO

_VERSION = 45  # of the format, which has ZIP64
_UTF_8 = 0x0800
_DATE = 0x0021  # 1980-01-01, before which there is none: the records say when
_ELSEWHERE = 0xFFFFFFFF  # in the place of a number that stands in ZIP64's field
_LONG_FROM = _ELSEWHERE
_MOST_FILES = 0xFFFF
_PIECE_BYTES = 65_536


class ZipStream:
    """An archive, whose directory is gathered in `directory`, an empty file. Raises OSError where that takes
    nothing.
    """

    def __init__(self, directory: IO[bytes]) -> None:
        self._directory = directory
        self._offset = 0
        self._count = 0

    def file(self, name: str, content: bytes) -> Iterator[bytes]:
        """Iterate over the bytes of a file in the archive."""
        yield self._begin(name, len(content), zlib.crc32(content))
        yield content

    def copy(self, name: str, source: IO[bytes]) -> Iterator[bytes]:
        """Iterate over the bytes of what `source` has, from its beginning."""
        size = crc = 0
        for piece in pieces_of(source):
            size, crc = size + len(piece), zlib.crc32(piece, crc)
        yield self._begin(name, size, crc)
        yield from pieces_of(source)

    def end(self) -> Iterator[bytes]:
        """Iterate over the directory, with which the archive ends."""
        size = self._directory.tell()
        yield from pieces_of(self._directory)
        at = self._offset
        counts = (self._count, self._count, size, at)
        yield struct.pack("<LQHHLLQQQQ", 0x06064B50, 44, _VERSION, _VERSION, 0, 0, *counts)
        yield struct.pack("<LLQL", 0x07064B50, 0, at + size, 1)
        files = min(self._count, _MOST_FILES)
        yield struct.pack("<LHHHHLLH", 0x06054B50, 0, 0, files, files, _short(size), _short(at), 0)

    def _begin(self, name: str, size: int, crc: int) -> bytes:
        encoded = name.encode()
        short = _short(size)
        common = struct.pack("<HHHHLLL", _UTF_8, 0, 0, _DATE, crc, short, short)
        sizes = struct.pack("<QQ", size, size) if size >= _LONG_FROM else b""
        extra = _extra(sizes)
        head = struct.pack("<LH", 0x04034B50, _VERSION) + common
        head += struct.pack("<HH", len(encoded), len(extra)) + encoded + extra
        extra = _extra(sizes + (struct.pack("<Q", self._offset) if self._offset >= _LONG_FROM else b""))
        row = struct.pack("<LHH", 0x02014B50, _VERSION, _VERSION) + common
        row += struct.pack("<HHHHHLL", len(encoded), len(extra), 0, 0, 0, 0, _short(self._offset))
        self._directory.write(row + encoded + extra)
        self._count += 1
        self._offset += len(head) + size
        return head


def pieces_of(source: IO[bytes]) -> Iterator[bytes]:
    """Iterate over what a file has, from its beginning."""
    source.seek(0)
    while piece := source.read(_PIECE_BYTES):
        yield piece


def _short(number: int) -> int:
    return number if number < _LONG_FROM else _ELSEWHERE


def _extra(numbers: bytes) -> bytes:
    return struct.pack("<HH", 1, len(numbers)) + numbers if numbers else b""
