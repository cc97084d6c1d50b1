"""Compression of what is sent, where that gains something and the server says that it takes it (RFC 7694)."""

import tempfile
import zlib
from contextlib import contextmanager
from typing import IO, Callable, Iterator

from snyper.device.connection import Block, Body

_GZIP = 31  # zlib's word for that format; without a time in it, so that the same is packed the same
_LEVEL = 3  # on a device's processor more costs longer than it saves
SAMPLE_BYTES = 64 * 1024
_BLOCK_BYTES = 64 * 1024
_IN_MEMORY_BYTES = 256 * 1024
_LEAST_BYTES = 1024  # below that it gains less than a packet
_WORTH = 0.9  # of its size at most, or it stays as it is

GZIP = "gzip"


def is_worth(sample: bytes) -> bool:
    """Tell from its begin whether something gains by it: a picture, or an archive, is packed already."""
    if len(sample) < _LEAST_BYTES:
        return False
    return len(packed_bytes(sample)) < _WORTH * len(sample)


@contextmanager
def packed(body: Body) -> Iterator["Packed"]:
    """Give a body packed, for a block: in memory, or on the disk where it is large."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as file:
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        for block in body.blocks:
            file.write(packer.compress(block))
        file.write(packer.flush())
        yield Packed(file)


class Packed:
    """A body that is packed, and may be sent more than once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._length = file.tell()

    def body(self, on_sent: Callable[[int], None]) -> Body:
        """Return it as the content of a request; `on_sent` is told how many hundredths of it are out."""
        return Body(self._length, self._blocks(on_sent))

    def _blocks(self, on_sent: Callable[[int], None]) -> Iterator[Block]:
        self._file.seek(0)
        while True:
            block = self._file.read(_BLOCK_BYTES)
            if not block:
                return
            yield block
            on_sent(100 * self._file.tell() // self._length)


def packed_bytes(data: bytes) -> bytes:
    """Return bytes packed."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(data) + packer.flush()
