"""Forms with a file in them, as they come: the file to the disk, never whole in memory."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from snyper.device.inbox.limits import Limits, NoRoom
from snyper.device.serving.exchange import Refusal, too_large
from snyper.device.tasks import in_executor

OTHER_BYTES = 262_144  # of a form beside its file: heads of parts and fields of text
_MAX_PARTS = 100
_HEAD_END = b"\r\n\r\n"
_BLOCK_BYTES = 262_144  # written at once, in a thread: a slow disk holds nobody up
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,64}(\s*;[ -~]{0,100})?", re.ASCII)
OCTET_STREAM = "application/octet-stream"


@dataclass
class Form:
    """A form that came: its fields of text, and the file's name and type as its sender has them."""

    texts: dict[str, str] = field(default_factory=dict)
    filename: str | None = None  # None: there is no file
    media_type: str = OCTET_STREAM


class FileWriter:
    """A file that is written in blocks, with the digest of what was, for as long as its disk keeps the
    reserve that `limits` say, if given.
    """

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self._path = path
        self._limits = limits
        self._file: BinaryIO | None = None
        self._block: list[bytes] = []
        self._block_bytes = 0

    async def write(self, part: bytes) -> None:
        """Take more of it. Raises OSError, NoRoom."""
        self._block.append(part)
        self._block_bytes += len(part)
        self.size += len(part)
        if self._block_bytes >= _BLOCK_BYTES:
            await self._in_thread(False)

    async def close(self) -> None:
        """Write the rest of it. Raises OSError, NoRoom."""
        if self._file is None and self._block_bytes < _BLOCK_BYTES // 16:
            self._write(True)  # sooner done than a thread is asked
        else:
            await self._in_thread(True)

    async def _in_thread(self, is_last: bool) -> None:
        """Write a block in a thread, which is waited for whatever happens: it may be about to make the file
        that others then remove.
        """
        writing = asyncio.create_task(in_executor(self._write, is_last))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            self._abandon()
            raise
        except (OSError, NoRoom):
            self._abandon()
            raise

    def _write(self, is_last: bool) -> None:
        if self._limits is not None:
            self._limits.check_room(self._path.parent, 0)
        if self._file is None:
            self._file = self._path.open("xb", buffering=0)
        for part in self._block:
            self.digest.update(part)
            rest = memoryview(part)
            while rest:
                rest = rest[self._file.write(rest) :]
        self._block = []
        self._block_bytes = 0
        if is_last:
            self._file.close()

    def _abandon(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def __del__(self) -> None:
        self._abandon()


async def read_form(
    parts: AsyncIterator[bytes], content_type: str, file_field: str, writer: FileWriter, most_bytes: int
) -> Form:
    """Read a form whose field `file_field` is a file of at most `most_bytes`, which goes to `writer`. Raises
    Refusal for what is none, OSError and NoRoom of the writer.
    """
    reader = _Reader(_boundary(content_type, file_field), file_field)
    async for part in parts:
        for piece in reader.feed(part):
            if writer.size + len(piece) > most_bytes:
                raise too_large("the file", most_bytes)
            await writer.write(piece)
    if not reader.is_whole:
        raise _unreadable("it ends in the middle")
    if reader.form.filename is None:
        is_text = file_field in reader.form.texts
        raise Refusal(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"field {file_field!r} is text: send it as a file, with a filename"
            if is_text
            else f"field {file_field!r} is missing: send the file in it",
        )
    await writer.close()
    return reader.form


def _boundary(content_type: str, file_field: str) -> str:
    media_type = content_type.partition(";")[0].strip().lower()
    boundary = parameters(content_type.encode("latin-1")).get("boundary", "")
    if media_type != "multipart/form-data" or not boundary:
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"send multipart/form-data, with the file in field {file_field!r}",
        )
    if not boundary.isascii() or len(boundary) > 200:
        raise Refusal(HTTPStatus.BAD_REQUEST, "the form's boundary is none")
    return boundary


class _Reader:
    """Takes a form apart (RFC 7578), as it comes. What is not taken apart yet lies in `_rest`."""

    def __init__(self, boundary: str, file_field: str) -> None:
        self.form = Form()
        self.is_whole = False
        self._file_field = file_field
        self._delimiter = b"\r\n--" + boundary.encode()
        self._rest = bytearray(b"\r\n")  # so that the first boundary is as the others
        self._searched = 0  # bytes of the rest in which the end of a head is not
        self._step = self._preamble
        self._field = ""
        self._is_file = False
        self._text: list[bytes] | None = None
        self._parts = 0
        self._other_bytes = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take more of the form; yield what of it belongs to the file. Raises Refusal."""
        self._rest += data
        before = None
        while before != (self._step, len(self._rest)):
            before = (self._step, len(self._rest))
            piece = self._step()
            if piece:
                yield piece

    def _preamble(self) -> bytes:
        nothing, is_end = self._before_delimiter()
        self._count(len(nothing))
        if is_end:
            self._step = self._behind_delimiter
        return b""

    def _behind_delimiter(self) -> bytes:
        """Take the end of the form, or that of the boundary's line, with which the head of a part begins."""
        if self._rest.startswith(b"--"):
            self.is_whole = True
            self._step = self._epilogue
            return b""
        blanks = len(self._rest) - len(self._rest.lstrip(b" \t"))
        self._count(blanks)
        del self._rest[:blanks]
        if len(self._rest) < 2:
            return b""
        if not self._rest.startswith(b"\r\n"):
            raise _unreadable("a line begins as its boundary does, and goes on")
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"the form has more than {_MAX_PARTS} parts")
        self._searched = 0
        self._step = self._head
        return b""

    def _head(self) -> bytes:
        at = self._rest.find(_HEAD_END, self._searched)
        if at < 0:
            self._searched = max(0, len(self._rest) - len(_HEAD_END) + 1)
            if self._other_bytes + len(self._rest) > OTHER_BYTES:
                raise _too_much_beside()
            return b""
        self._count(at)
        fields = _fields_of(bytes(self._rest[2:at]))
        del self._rest[: at + len(_HEAD_END)]
        values = parameters(fields.get(b"content-disposition", b""))
        self._field = values.get("name", "")
        filename = values.get("filename")
        self._is_file = filename is not None and self._field == self._file_field
        self._text = [] if filename is None else None
        if self._is_file:
            if self.form.filename is not None:
                raise Refusal(
                    HTTPStatus.UNPROCESSABLE_ENTITY, f"field {self._field!r} is there twice: send one file"
                )
            self.form.filename = filename
            self.form.media_type = _media_type(fields.get(b"content-type", b""))
        self._step = self._content
        return b""

    def _content(self) -> bytes:
        content, is_end = self._before_delimiter()
        if is_end:
            self._step = self._behind_delimiter
        if self._is_file:
            return content
        self._count(len(content))
        if self._text is not None:
            self._text.append(content)
            if is_end and self._field:
                self.form.texts[self._field] = b"".join(self._text).decode("utf-8", "replace")
        return b""

    def _epilogue(self) -> bytes:
        self._rest.clear()
        return b""

    def _before_delimiter(self) -> tuple[bytes, bool]:
        """Take what stands before the next boundary, as far as it is here; and that boundary, if it is."""
        at = self._rest.find(self._delimiter)
        is_end = at >= 0
        if not is_end:  # but it may begin here
            at = self._rest.find(b"\r", max(0, len(self._rest) - len(self._delimiter) + 1))
            at = len(self._rest) if at < 0 else at
        content = bytes(self._rest[:at])
        del self._rest[: at + (len(self._delimiter) if is_end else 0)]
        return content, is_end

    def _count(self, more: int) -> None:
        self._other_bytes += more
        if self._other_bytes > OTHER_BYTES:
            raise _too_much_beside()


def _fields_of(head: bytes) -> dict[bytes, bytes]:
    """Return the fields in the head of a part. Raises Refusal."""
    fields: dict[bytes, bytes] = {}
    for line in re.sub(rb"\r\n[ \t]+", b" ", head).split(b"\r\n") if head else ():
        name, colon, value = line.partition(b":")
        if not colon:
            raise _unreadable("a part's head has a line that is no field")
        fields[name.strip().lower()] = value.strip()
    return fields


def _unreadable(why: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, f"the form cannot be read: {why}")


def _too_much_beside() -> Refusal:
    return too_large("the form, beside its file,", OTHER_BYTES)


_PARAMETER = re.compile(rb';\s*([\w-]+)(\*?)=(?:"((?:[^"\\]|\\.)*)"|([^;]*))', re.DOTALL)


def parameters(value: bytes) -> dict[str, str]:
    """Return the parameters of a part's Content-Disposition, as browsers, httpx, requests and curl write
    them: UTF-8, quotes as %22 or after a backslash; older ones as in RFC 2231, `filename*=utf-8''…`.
    """
    found: dict[str, str] = {}
    extended: dict[str, str] = {}
    for name, star, quoted, bare in _PARAMETER.findall(value):
        key = name.decode().lower()
        if star:
            _, _, text = bare.decode("ascii", "replace").strip().rpartition("'")
            extended[key] = unquote(text, errors="replace")
        else:
            text = re.sub(rb'\\(["\\])', rb"\1", quoted or bare.strip()).decode("utf-8", "replace")
            found.setdefault(key, re.sub("%22|%0D|%0A", lambda match: unquote(match[0]), text))
    return {**extended, **found}


def _media_type(value: bytes) -> str:
    text = value.decode("latin-1").strip()
    return text if _MEDIA_TYPE.fullmatch(text) else OCTET_STREAM
