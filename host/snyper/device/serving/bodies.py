"""The body of a request as it comes over a connection: of a length, in chunks (RFC 9112), until its end."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus

from snyper.device.serving.exchange import Refusal

PIECE_BYTES = 65_536
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
_MAX_LINE_BYTES = 1_024  # of a chunk's size, and what may be said beside it
_MAX_TRAILER_BYTES = 16_384


class Hang(Exception):
    """The peer has ended its side in the middle of a body."""


class Body:
    """A body. `left` bytes are to come, or in `is_chunked` ones of the current chunk; None: until the peer
    ends. A call of `read` that is cancelled loses nothing.
    """

    def __init__(self, reader: asyncio.StreamReader, length: int | None, is_chunked: bool = False) -> None:
        self._reader = reader
        self._left = 0 if is_chunked else length
        self._is_chunked = is_chunked
        self._has_chunk = False  # whose end of line is still to come
        self._trailer_bytes = 0
        self.is_read = length == 0 and not is_chunked

    async def read(self) -> bytes:
        """Return more of it, b"" at its end. Raises Hang; Refusal for chunks that are none."""
        if self._is_chunked and not self._left:
            await self._begin_chunk()
        if self.is_read:
            return b""
        most = PIECE_BYTES if self._left is None else min(PIECE_BYTES, self._left)
        piece = await self._reader.read(most)
        if not piece:
            self.is_read = self._left is None
            if self.is_read:
                return b""
            raise Hang
        if self._left is not None:
            self._left -= len(piece)
            self.is_read = not self._left and not self._is_chunked
        return piece

    async def _begin_chunk(self) -> None:
        if self._has_chunk:
            if await self._line() != b"\r\n":
                raise _bad()
            self._has_chunk = False
        while not self.is_read and not self._left:
            line = await self._line()
            if self._trailer_bytes:  # behind the last chunk
                self._trailer_bytes += len(line)
                if self._trailer_bytes > _MAX_TRAILER_BYTES:
                    raise _bad()
                self.is_read = line == b"\r\n"
                continue
            found = _CHUNK.fullmatch(line)
            if found is None:
                raise _bad()
            self._left = int(found[1], 16)
            self._has_chunk = self._left > 0
            self._trailer_bytes = 0 if self._left else 1

    async def _line(self) -> bytes:
        try:
            line = await self._reader.readuntil(b"\r\n")
        except asyncio.IncompleteReadError:
            raise Hang from None
        except asyncio.LimitOverrunError:
            raise _bad() from None
        if len(line) > _MAX_LINE_BYTES:
            raise _bad()
        return line


def _bad() -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, "the request cannot be read: its chunks are none")
