"""Forms with a file in them, as they come: the file to the disk, never whole in memory."""

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from snyper.gateway.exchange import Refusal, too_large

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # its warnings are what strangers send

OTHER_BYTES = 262_144  # of a form beside its file: heads of parts and fields of text
_MAX_PARTS = 100
_BLOCK_BYTES = 131_072  # written at once, in a thread: a slow disk holds nobody up
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,64}(\s*;[ -~]{0,100})?", re.ASCII)
OCTET_STREAM = "application/octet-stream"


@dataclass(slots=True)
class Form:
    """A form that came: its fields of text, and the file's name and type as its sender has them."""

    texts: dict[str, str] = field(default_factory=dict)
    filename: str | None = None  # None: there is no file
    media_type: str = OCTET_STREAM


class FileWriter:
    """A file that is written in blocks, with the digest of what was."""

    def __init__(self, path: Path) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self._path = path
        self._file: BinaryIO | None = None
        self._block: list[bytes] = []
        self._block_bytes = 0

    async def write(self, part: bytes) -> None:
        """Take more of it. Raises OSError."""
        self._block.append(part)
        self._block_bytes += len(part)
        self.size += len(part)
        if self._block_bytes >= _BLOCK_BYTES:
            await self._in_thread(False)

    async def close(self) -> None:
        """Write the rest of it. Raises OSError."""
        if self._file is None and self._block_bytes < _BLOCK_BYTES // 8:
            self._write(True)  # sooner done than a thread is asked
        else:
            await self._in_thread(True)

    async def _in_thread(self, is_last: bool) -> None:
        """Write a block in a thread, which is waited for whatever happens: it may be about to make the file
        that others then remove.
        """
        writing = asyncio.create_task(asyncio.to_thread(self._write, is_last))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            self._abandon()
            raise
        except OSError:
            self._abandon()
            raise

    def _write(self, is_last: bool) -> None:
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
    Refusal for what is none, OSError of the writer.
    """
    reader = _Reader(_boundary(content_type, file_field), file_field)
    try:
        async for part in parts:
            reader.feed(part)
            for piece in reader.pieces:
                if writer.size + len(piece) > most_bytes:
                    raise too_large("the file", most_bytes)
                await writer.write(piece)
            reader.pieces.clear()
    except MultipartParseError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"the form cannot be read: {error}") from None
    if not reader.is_whole:
        raise Refusal(HTTPStatus.BAD_REQUEST, "the form ends in the middle")
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
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/form-data" or not boundary:
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"send multipart/form-data, with the file in field {file_field!r}",
        )
    if not boundary.isascii() or len(boundary) > 200:
        raise Refusal(HTTPStatus.BAD_REQUEST, "the form's boundary is none")
    return boundary


class _Reader:
    """Takes a form apart. What came of the file lies in `pieces`, until somebody takes it."""

    def __init__(self, boundary: str, file_field: str) -> None:
        self.form = Form()
        self.pieces: list[bytes] = []
        self.is_whole = False
        self._file_field = file_field
        self._heads: dict[bytes, bytes] = {}
        self._name, self._value = b"", b""
        self._field = ""
        self._is_file = False
        self._text: list[bytes] | None = None
        self._parts = 0
        self._other_bytes = 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._head_name,
                "on_header_value": self._head_value,
                "on_header_end": self._head_end,
                "on_headers_finished": self._heads_end,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._finish,
            },
        )

    def feed(self, data: bytes) -> None:
        self._parser.write(data)

    def _begin(self) -> None:
        self._heads = {}
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"the form has more than {_MAX_PARTS} parts")

    def _head_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _head_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _head_end(self) -> None:
        self._count(len(self._name) + len(self._value))
        self._heads[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _heads_end(self) -> None:
        values = parameters(self._heads.get(b"content-disposition", b""))
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
            self.form.media_type = _media_type(self._heads.get(b"content-type", b""))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.pieces.append(data[start:end])
            return
        self._count(end - start)
        if self._text is not None:
            self._text.append(data[start:end])

    def _end(self) -> None:
        if self._text is not None and self._field:
            self.form.texts[self._field] = b"".join(self._text).decode("utf-8", "replace")
        self._text = None
        self._is_file = False

    def _finish(self) -> None:
        self.is_whole = True

    def _count(self, more: int) -> None:
        self._other_bytes += more
        if self._other_bytes > OTHER_BYTES:
            raise too_large("the form, beside its file,", OTHER_BYTES)


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
