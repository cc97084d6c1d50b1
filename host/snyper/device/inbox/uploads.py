"""Uploads in pieces: what came before a cut is kept, and gone on with."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from snyper.device.disk import remove, sha256_of
from snyper.device.inbox.limits import Limits, Mismatch, NoRoom, Refused, TooLarge
from snyper.device.inbox.names import plain_text
from snyper.device.inbox.records import Records, UploadRow
from snyper.device.inbox.records_thread import RecordsThread
from snyper.device.tasks import in_executor

RESERVED_S = 600.0  # since its last byte, for which there is room for the rest of an upload
EXPIRY_S = 600.0  # between two looks for what is too old
SYNC_BYTES = 1 << 20  # so many are sent twice at most where the receiver loses its power
_OWNED = "\0"  # between an owner and a key, which has only what can be printed
MAX_COMPLETE = 1_000  # that are still known: for who lost the answer, and comes within their time


class UnknownUpload(Refused):
    """There is no such upload, or no more."""


class WrongOffset(Refused):
    """It goes on elsewhere: at the `offset` of its upload."""


class WrongLength(Refused):
    """It is longer or shorter than was said."""


class Superseded(Refused):
    """Another request has begun to go on with the same upload."""


@dataclass
class Upload:
    """An upload. `offset` bytes of it are at `path`; `target` is for whoever began it, who gets the whole.

    `digest` is its SHA-256 in hex: as announced, and of what has come once it `is_complete`.
    """

    token: str
    path: Path
    target: str
    key: str | None
    filename: str
    content_type: str
    length: int | None
    digest: str | None
    offset: int = 0
    is_complete: bool = False
    touched_s: float = field(default_factory=time.time)
    current: asyncio.Task[None] | None = None  # that appends
    stamp: tuple[int, int] = (0, 0)  # of the file as it came whole: its size, and when it was written to

    @property
    def item_key(self) -> str:
        """What it is known by once it is complete."""
        return self.token if self.key is None else self.key.rpartition(_OWNED)[2]

    def row(self) -> UploadRow:
        """Return it as the records have it, with what is there now."""
        about = (self.token, self.key, self.target, self.filename, self.content_type)
        return UploadRow(*about, self.length, self.digest, self.offset, self.is_complete, self.touched_s)


class Uploads:
    """The uploads of an inbox, or of whoever else takes files in pieces into the folder `parts`."""

    def __init__(self, records: Records, parts: Path, limits: Limits, run: RecordsThread) -> None:
        self.limits = limits
        self._parts = parts
        self._records = records
        self._run = run
        self._uploads: dict[str, Upload] = {}
        for row in records.uploads():
            self._take_up(row)

    def __iter__(self) -> Iterator[Upload]:
        return iter(list(self._uploads.values()))

    @property
    def open_ones(self) -> list[Upload]:
        """Those that are not complete, the one that has been silent for longest first."""
        return sorted((one for one in self if not one.is_complete), key=lambda one: one.touched_s)

    def find(self, token: str) -> Upload:
        """Return an upload. Raises UnknownUpload."""
        try:
            return self._uploads[token]
        except KeyError:
            raise UnknownUpload("there is no such upload, or no more: begin it again") from None

    async def create(
        self,
        target: str,
        key: str | None,
        filename: str,
        content_type: str,
        length: int | None,
        digest: str | None,
        max_bytes: int | None = None,
        owner: str = "",
    ) -> Upload:
        """Begin an upload, or return the one that its owner began under `key` before. Raises Refused, for one
        of more than `max_bytes` too.
        """
        if key is not None and owner:
            key = f"{owner}{_OWNED}{key}"
        filename, content_type = plain_text(filename), plain_text(content_type)
        for upload in self:
            if key is not None and upload.key == key:
                await self.take_over(upload)
                self._check_same(upload, (target, filename), length, digest)
                return upload
        self.limits.check_type(filename, content_type)
        self.limits.check_length(length or 0, max_bytes)
        if len(self.open_ones) >= self.limits.max_parts:
            idle = [one for one in self.open_ones if one.current is None]
            if not idle:
                raise NoRoom(f"{self.limits.max_parts} files are coming in at present")
            await self.remove(idle[0])
        complete = sorted((one for one in self if one.is_complete), key=lambda one: one.touched_s)
        for upload in complete[: max(0, len(complete) - MAX_COMPLETE + 1)]:
            await self.remove(upload)
        self.limits.check_room(self._parts, self._to_come() + (length or 0))
        token = secrets.token_urlsafe(24)
        upload = Upload(token, self._parts / token, target, key, filename, content_type, length, digest)
        self._uploads[token] = upload
        try:
            upload.path.open("xb").close()
            await self._run(self._records.add_upload, upload.row())
        except BaseException:
            del self._uploads[token]
            raise
        return upload

    def end_appends(self) -> None:
        """End whoever is appending to any upload; what they have brought is kept, and gone on with later."""
        for upload in self:
            if upload.current is not None:
                upload.current.cancel()

    async def take_over(self, upload: Upload) -> None:
        """End whoever is appending to an upload; what it has brought is kept."""
        while upload.current is not None:
            upload.current.cancel()
            await asyncio.wait([upload.current])

    async def append(
        self, upload: Upload, offset: int, pieces: AsyncIterator[bytes], max_bytes: int | None = None
    ) -> None:
        """Append what comes from `offset` on, after ending whoever else appends. All of it is on the disk
        when this returns, and what came so far when it raises.

        Raises WrongOffset, Superseded, NoRoom; TooLarge or WrongLength for more than was announced, after
        which there is no such upload any more.
        """
        await self.take_over(upload)
        self.find(upload.token)  # nobody has removed it meanwhile
        if offset != upload.offset or upload.is_complete:
            raise WrongOffset(f"the upload goes on at {upload.offset}, not at {offset}")
        task = upload.current = asyncio.create_task(self._append(upload, pieces, max_bytes))
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()  # where this one was cancelled
            await asyncio.wait([task])
            upload.current = None
        if task.cancelled():
            raise Superseded("another request goes on with this upload")
        try:
            task.result()
        except OSError as error:
            await self.remove(upload)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise NoRoom("there is no room for it at present") from None
        except (TooLarge, WrongLength):
            await self.remove(upload)
            raise

    async def complete(self, upload: Upload, digest: str | None = None) -> None:
        """Check an upload that has come whole, also against a `digest` that came last. Raises WrongLength;
        Mismatch, after which there is no such upload any more.
        """
        if upload.length is not None and upload.offset != upload.length:
            raise WrongLength(f"{upload.offset:,} of {upload.length:,} bytes have come")
        found = await in_executor(sha256_of, upload.path)
        if {digest or found, upload.digest or found} != {found}:
            await self.remove(upload)
            raise Mismatch("the bytes that came have another SHA-256 than was said: send them anew")
        upload.length, upload.digest, upload.is_complete = upload.offset, found, True
        upload.stamp = _stamp(upload.path)

    async def let_go(self, upload: Upload) -> None:
        """Remove the file of an upload that is complete and has been worked on. The upload itself is known
        until it is too old.
        """
        await self._run(self._records.add_upload, upload.row())
        remove(upload.path)

    def is_as_it_came(self, upload: Upload) -> bool:
        """Tell whether the file of an upload that is complete is there, and nobody has written to it."""
        try:
            return _stamp(upload.path) == upload.stamp
        except FileNotFoundError:
            return False

    async def remove(self, upload: Upload) -> None:
        """End an upload, with what has come of it."""
        await self.take_over(upload)
        self._uploads.pop(upload.token, None)
        remove(upload.path)
        await self._run(self._records.remove_upload, upload.token)

    async def remove_expired(self) -> int:
        """End those that have had no byte for the longest time that they are kept; return how many."""
        oldest_s = time.time() - self.limits.max_age_s
        expired = [one for one in self if one.current is None and one.touched_s < oldest_s]
        for upload in expired:
            await self.remove(upload)
        return len(expired)

    def max_age_s(self, upload: Upload) -> int:
        """Return how many seconds an upload is kept from now on."""
        return max(0, round(upload.touched_s + self.limits.max_age_s - time.time()))

    async def _append(self, upload: Upload, pieces: AsyncIterator[bytes], max_bytes: int | None) -> None:
        synced = upload.offset
        with upload.path.open("r+b", buffering=0) as file:
            file.seek(upload.offset)
            try:
                async for piece in pieces:
                    self._check_piece(upload, len(piece), max_bytes)
                    rest = memoryview(piece)
                    while rest:
                        written = file.write(rest)
                        upload.offset += written
                        rest = rest[written:]
                    if upload.offset - synced >= SYNC_BYTES:
                        synced = upload.offset
                        await self._sync(upload, file.fileno())
                        self.limits.check_room(self._parts, 0)
            finally:
                await self._sync(upload, file.fileno())

    def _check_piece(self, upload: Upload, count: int, max_bytes: int | None) -> None:
        end = upload.offset + count
        if upload.length is not None and end > upload.length:
            raise WrongLength(f"{upload.length:,} bytes were announced, and more have come")
        self.limits.check_length(end, max_bytes)

    async def _sync(self, upload: Upload, descriptor: int) -> None:
        """Have what has come on the disk, and write down how much that is."""
        upload.touched_s = time.time()
        row = upload.row()
        await in_executor(os.fsync, descriptor)
        await self._run(self._records.add_upload, row)

    def _to_come(self) -> int:
        """Return how many bytes have room reserved: the rest of those uploads that are not silent."""
        since_s = time.time() - RESERVED_S
        live = [one for one in self.open_ones if one.touched_s > since_s]
        return sum(one.length - one.offset for one in live if one.length is not None)

    def _check_same(
        self, upload: Upload, names: tuple[str, str], length: int | None, digest: str | None
    ) -> None:
        same = names == (upload.target, upload.filename)
        for given, known in ((length, upload.length), (digest, upload.digest)):
            same = same and (given is None or known is None or given == known)
        if not same:
            raise Mismatch("another upload was begun under this Idempotency-Key")

    def _take_up(self, row: UploadRow) -> None:
        """Go on with an upload of a process before this one, from what was on the disk for certain."""
        path = self._parts / row.token
        try:
            if not row.is_complete:
                _shorten(path, row.synced)
        except OSError:
            self._records.remove_upload(row.token)
            return
        about = (row.target, row.key, row.filename, row.content_type, row.length, row.digest)
        upload = Upload(row.token, path, *about, row.synced, row.is_complete, row.touched_s)
        self._uploads[row.token] = upload


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _shorten(path: Path, length: int) -> None:
    """Take off what lies beyond `length`. Raises OSError, also for a file that is shorter."""
    if path.stat().st_size < length:
        raise OSError(errno.EIO, "bytes that were on the disk are not")
    os.truncate(path, length)
