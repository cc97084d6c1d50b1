"""The routes of resumable uploads: docs/resumable.md has the exchange."""

from __future__ import annotations

import base64
import binascii
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from functools import partial
from http import HTTPStatus
from urllib.parse import unquote

from snyper.device.inbox.limits import Mismatch, NoRoom, Refused, TooLarge, WrongType
from snyper.device.inbox.uploads import Superseded, UnknownUpload, Upload, Uploads, WrongLength, WrongOffset
from snyper.device.serving.exchange import ACCEPT_ENCODING, Add, Exchange, Handler, Refusal
from snyper.device.serving.forms import OCTET_STREAM, parameters
from snyper.device.serving.requests import NO_ROOM_S, disk_refusal, idempotency_key

UPLOADS_PATH = "/api/uploads"
_MEDIA_TYPE = "application/partial-upload"
_STATUS: dict[type[Refused], HTTPStatus] = {
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    WrongType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    NoRoom: HTTPStatus.INSUFFICIENT_STORAGE,
    Mismatch: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnknownUpload: HTTPStatus.NOT_FOUND,
    WrongOffset: HTTPStatus.CONFLICT,
    Superseded: HTTPStatus.CONFLICT,
    WrongLength: HTTPStatus.BAD_REQUEST,
}
_COMPLETE = {"?0": False, "?1": True}
_DIGEST = re.compile(r"(?:^|[,\s])sha-256=:([A-Za-z0-9+/]*=*):")
_EXTENDED_NAME = re.compile(r";\s*filename\*=UTF-8'[^']*'([^\s;]*)", re.IGNORECASE)


class Target(ABC):
    """A resource that takes files: what becomes of them once they are here."""

    max_bytes: int  # the most that a file has

    @abstractmethod
    async def replay(
        self, exchange: Exchange, key: str, digest: str | None, length: int | None, filename: str
    ) -> bool:
        """Answer as before what came under `key`; return whether anything did. Raises Refused."""

    @abstractmethod
    async def finish(self, exchange: Exchange, upload: Upload) -> None:
        """Answer an upload that is complete; it may come again. Raises Refused, Refusal; UnknownUpload for
        one of which neither the file nor an answer is there any more.
        """


class ResumableRoutes:
    """Serves the uploads of targets, which are here by their paths."""

    def __init__(self, uploads: Uploads, targets: Mapping[str, Target]) -> None:
        self._uploads = uploads
        self._targets = targets

    def add_to(self, add: Add) -> None:
        """Serve them: `add` takes a method, a path and its handler."""
        for path in self._targets:
            add("OPTIONS", path, refusing(self._offer))
        one = UPLOADS_PATH + "/{token}"
        add("HEAD", one, refusing(self._tell_offset))
        add("PATCH", one, refusing(self._append))
        add("DELETE", one, refusing(self._remove))

    def or_else(self, handler: Handler) -> Handler:
        """Make a handler of a target's path, which begins an upload where that is meant, and is `handler`
        otherwise.
        """

        async def handle(exchange: Exchange) -> None:
            is_meant = exchange.header("upload-complete") in _COMPLETE
            await (self._create if is_meant else handler)(exchange)

        return refusing(handle)

    async def _create(self, exchange: Exchange) -> None:
        """Begin an upload, or find that of the same key."""
        _check_encoding(exchange)
        is_last = _COMPLETE[exchange.header("upload-complete")]
        announced = _integer(exchange, "content-length")
        length = _integer(exchange, "upload-length")
        if is_last and announced is not None:
            if length not in (None, announced):
                raise WrongLength("Upload-Length and Content-Length say different lengths")
            length = announced
        key = idempotency_key(exchange.header("idempotency-key")) or None
        digest, filename = _digest(exchange), _filename(exchange)
        path, query = exchange.scope["path"], exchange.scope.get("query_string", b"").decode("latin-1")
        target = self._targets[path]
        if key is not None:
            exchange.answer_headers["upload-complete"] = "?1"
            if await target.replay(exchange, key, digest, length, filename):
                return
            del exchange.answer_headers["upload-complete"]
        media_type = exchange.header("content-type") or OCTET_STREAM
        exchange.answer_headers["upload-limit"] = self._limits_of(target)
        about = (f"{path}?{query}" if query else path, key, filename, media_type, length, digest)
        begin = partial(self._uploads.create, *about, target.max_bytes, exchange.principal)
        upload = await begin()
        if upload.is_complete:
            try:
                await self._finish(exchange, upload)
                return
            except UnknownUpload:
                del exchange.answer_headers["upload-complete"]
                await self._uploads.remove(upload)
                upload = await begin()
        if announced != 0:
            rest = _after(upload.offset, exchange.body(target.max_bytes))
            await self._uploads.append(upload, upload.offset, rest, target.max_bytes)
        if is_last:
            await self._complete(exchange, upload, digest)
            return
        await exchange.answer_empty(
            HTTPStatus.CREATED,
            {"location": f"{UPLOADS_PATH}/{upload.token}", **self._state_of(upload)},
        )

    async def _offer(self, exchange: Exchange) -> None:
        await exchange.answer_empty(
            HTTPStatus.NO_CONTENT,
            {
                "allow": "OPTIONS, POST",
                "accept-patch": _MEDIA_TYPE,
                "accept-encoding": ACCEPT_ENCODING,
                "upload-limit": self._limits_of(self._targets[exchange.scope["path"]]),
            },
        )

    async def _tell_offset(self, exchange: Exchange) -> None:
        upload = self._find(exchange)
        await self._uploads.take_over(upload)
        headers = {**self._state_of(upload), "cache-control": "no-store"}
        if upload.length is not None:
            headers["upload-length"] = str(upload.length)
        await exchange.answer_empty(HTTPStatus.NO_CONTENT, headers)

    async def _append(self, exchange: Exchange) -> None:
        upload = self._find(exchange)
        if exchange.header("content-type").partition(";")[0].strip().lower() != _MEDIA_TYPE:
            raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a PATCH of an upload is {_MEDIA_TYPE}")
        _check_encoding(exchange)
        offset = _integer(exchange, "upload-offset")
        is_last = _COMPLETE.get(exchange.header("upload-complete"))
        if offset is None or is_last is None:
            raise Refusal(HTTPStatus.BAD_REQUEST, "Upload-Offset and Upload-Complete (?0 or ?1) are missing")
        announced = _integer(exchange, "content-length")
        if upload.is_complete and is_last and (offset, announced) == (upload.length, 0):
            await self._finish(exchange, upload)
            return
        try:
            if not upload.is_complete and offset == upload.offset:
                _check_length(exchange, upload, announced, is_last)
            most = self._target_of(upload).max_bytes
            await self._uploads.append(upload, offset, exchange.body(most), most)
        except WrongOffset:
            exchange.answer_headers["upload-offset"] = str(upload.offset)
            raise
        if is_last:
            await self._complete(exchange, upload, _digest(exchange))
            return
        await exchange.answer_empty(HTTPStatus.NO_CONTENT, self._state_of(upload))

    async def _complete(self, exchange: Exchange, upload: Upload, digest: str | None) -> None:
        await self._uploads.complete(upload, digest)
        await self._finish(exchange, upload)

    async def _finish(self, exchange: Exchange, upload: Upload) -> None:
        """Have the target answer an upload that is complete."""
        exchange.answer_headers["upload-complete"] = "?1"
        await self._target_of(upload).finish(exchange, upload)

    async def _remove(self, exchange: Exchange) -> None:
        await self._uploads.remove(self._find(exchange))
        await exchange.answer_empty(HTTPStatus.NO_CONTENT, {})

    def _find(self, exchange: Exchange) -> Upload:
        return self._uploads.find(exchange.path_values["token"])

    def _state_of(self, upload: Upload) -> dict[str, str]:
        return {
            "upload-offset": str(upload.offset),
            "upload-complete": "?1" if upload.is_complete else "?0",
            "upload-limit": self._limits_of(self._target_of(upload), upload),
        }

    def _target_of(self, upload: Upload) -> Target:
        """Return the target of an upload. Raises UnknownUpload where it is not served any more."""
        target = self._targets.get(upload.target.partition("?")[0])
        if target is None:
            raise UnknownUpload("what this was for is not here any more")
        return target

    def _limits_of(self, target: Target, upload: Upload | None = None) -> str:
        whole_s = self._uploads.limits.max_age_s
        max_age_s = whole_s if upload is None else self._uploads.max_age_s(upload)
        return f"max-size={target.max_bytes}, max-age={max_age_s}"


def refusing(handler: Handler) -> Handler:
    """Make a handler whose Refused, and disks that take nothing, become answers."""

    async def handle(exchange: Exchange) -> None:
        try:
            await handler(exchange)
        except Refused as refused:
            headers = dict(exchange.answer_headers)
            exchange.is_stale = isinstance(refused, Superseded)
            if isinstance(refused, NoRoom):
                headers["retry-after"] = str(NO_ROOM_S)
            raise Refusal(_STATUS[type(refused)], str(refused), headers) from None
        except OSError as error:
            raise disk_refusal(error) from error

    return handle


def _check_encoding(exchange: Exchange) -> None:
    if exchange.header("content-encoding").lower() not in ("", "identity"):
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "an upload is sent as it is, not encoded")


def _check_length(exchange: Exchange, upload: Upload, announced: int | None, is_last: bool) -> None:
    """Take the length that an append says, and refuse it before it is read where that cannot be."""
    said = _integer(exchange, "upload-length")
    end = None if announced is None else upload.offset + announced
    for length in (said, end if is_last else None):
        if length is not None and upload.length not in (None, length):
            raise WrongLength(f"{upload.length:,} bytes were announced, and {length:,} are now")
        upload.length = upload.length if length is None else length
    if end is not None and upload.length is not None and end > upload.length:
        raise WrongLength(f"{upload.length:,} bytes were announced, and more would come")


def _integer(exchange: Exchange, name: str) -> int | None:
    """Return a header's value; None for one that is no count, which is as none (RFC 9651)."""
    text = exchange.header(name)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


def _digest(exchange: Exchange) -> str | None:
    """Return the SHA-256 in a Repr-Digest (RFC 9530) in hex, None where there is none. Raises Refusal."""
    found = _DIGEST.search(exchange.header("repr-digest"))
    if found is None:
        return None
    try:
        digest = base64.b64decode(found[1], validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != 32:
        raise Refusal(HTTPStatus.BAD_REQUEST, "Repr-Digest says no SHA-256: sha-256=:BASE64:")
    return digest.hex()


def _filename(exchange: Exchange) -> str:
    """Return what a Content-Disposition says (RFC 6266)."""
    disposition = exchange.header("content-disposition")
    extended = _EXTENDED_NAME.search(disposition)
    if extended:
        return unquote(extended[1], errors="replace")
    return parameters(disposition.encode("latin-1")).get("filename", "")


async def _after(offset: int, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Leave out the first `offset` bytes."""
    async for piece in pieces:
        if offset < len(piece):
            yield piece[offset:]
        offset = max(0, offset - len(piece))
