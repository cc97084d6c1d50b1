"""An inbox: what others send, kept in a folder, and told to those who handle it.

async with Inbox(Path("received"), bus=bus) as inbox:
    await inbox.keep_data({"temperature": 21.5})
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from snyper.device.disk import sha256_of, sync_file
from snyper.device.inbox.bus import Bus
from snyper.device.inbox.limits import Limits, Mismatch, NoRoom, TooLarge
from snyper.device.inbox.names import plain_text
from snyper.device.inbox.records_thread import RecordsThread
from snyper.device.inbox.store import Store
from snyper.device.inbox.uploads import EXPIRY_S, Upload, Uploads
from snyper.device.tasks import end_task, in_executor

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_logger = logging.getLogger("snyper")


class Inbox:
    """An asynchronous context manager over a folder. What a method has returned for is on the disk; under a
    key that is known nothing is kept again, and the answer is that of the first time.

    Entering it raises OSError where the folder cannot be used or another process has it.
    """

    uploads: Uploads
    aside: Path  # the folder for what comes in pieces otherwise, on the same disk; what is too old goes

    def __init__(self, folder: Path, limits: Limits | None = None, bus: Bus | None = None) -> None:
        self.folder = folder
        self.limits = limits or Limits()
        self.bus = bus or Bus()
        self.run = RecordsThread()
        self._expiry: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Inbox:
        try:
            self._store = await self.run(Store, self.folder, self.limits, self.bus.names)
            self.folder = self._store.folder
            self.uploads = Uploads(self._store.records, self._store.parts, self.limits, self.run)
            self._store.remove_strays({upload.token for upload in self.uploads})
            self.aside = self._store.aside
        except BaseException:
            self.run.end()
            raise
        self.bus.start(self._store.records, self.run)
        self._expiry = asyncio.create_task(self._expire())
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._expiry is not None
        await end_task(self._expiry)
        for upload in self.uploads:
            await self.uploads.take_over(upload)
        await self.bus.stop()
        await self.run(self._store.close)
        self.run.end()

    def counts(self) -> dict[str, int]:
        """Count what was received since the start, the parts that are not complete, and what waits."""
        parts = [part.offset for part in self.uploads.open_ones]
        parts += _sizes_in(self.aside)
        return {
            "received": self._store.received,
            "parts": len(parts),
            "part_bytes": sum(parts),
            "waiting": self._store.records.waiting_count,
        }

    def new_part(self) -> Path:
        """Return where a file that comes in at once is to be written. It is gone after the next start, unless
        `keep_file` was called for it.
        """
        return self._store.new_part()

    async def check(self, filename: str, content_type: str, length: int) -> None:
        """Raise Refused for a file that would not be taken, as far as that is known before it comes."""
        self.limits.check_type(filename, content_type)
        self.limits.check_length(length)
        await self.run(self._store.check_room, length)

    async def keep_file(self, part: Path, filename: str, content_type: str, key: str | None = None) -> Path:
        """Keep a complete part under a name that is made out of `filename`. Return its path.

        Raises Refused and OSError, after which the part is gone.
        """
        try:
            self.limits.check_type(filename, content_type)
            digest = await in_executor(_sync_and_digest, part)
            return await self._keep(part, key, digest, filename, content_type)
        except BaseException:
            await self.run(self._store.discard, part)
            raise

    async def keep_upload(self, upload: Upload) -> Path:
        """Keep a complete upload; once more is harmless. Return its path. Raises Refused, OSError."""
        assert upload.digest is not None
        known = await self.known(upload.item_key, upload.digest, upload.length, upload.filename)
        if known is not None:
            return known
        about = (upload.item_key, upload.digest, upload.filename, upload.content_type)
        return await self._keep(upload.path, *about)

    async def known(self, key: str, digest: str | None, length: int | None, filename: str) -> Path | None:
        """Return the path of the file that was received under `key`, None where none was. Raises Mismatch."""
        answer = await self.run(self._store.known, key, digest, length, plain_text(filename))
        if answer == "":
            raise Mismatch("no file, but data was received under this Idempotency-Key")
        return None if answer is None else Path(answer)

    async def is_known(self, key: str, digest: str) -> bool:
        """Tell whether what has this digest was received under `key`: of data it is that of the JSON with its
        keys sorted.
        """
        item = await self.run(self._store.records.item, key)
        return item is not None and item.digest == digest

    async def keep_data(self, value: object, key: str | None = None) -> None:
        """Keep a value of JSON for its handlers. Raises Refused; ValueError for what JSON cannot say."""
        text = json.dumps(value, sort_keys=True, allow_nan=False)
        if len(text) > self.limits.max_data_bytes:
            raise TooLarge(f"data has at most {self.limits.max_data_bytes:,} bytes here: send it as a file")
        digest = sha256(text.encode()).hexdigest()
        try:
            await self.run(self._store.keep_data, value, key, digest, len(text))
        except OSError as error:
            raise _explained(error) from error
        self.bus.wake()

    async def remove_expired(self) -> int:
        """Remove the parts that are too old, as is done every now and then anyway; return how many."""
        return await self.uploads.remove_expired() + await self.run(self._store.remove_expired)

    async def _keep(self, part: Path, key: str | None, digest: str, filename: str, content_type: str) -> Path:
        try:
            path = await self.run(
                self._store.keep_file, part, key, digest, plain_text(filename), plain_text(content_type)
            )
        except OSError as error:
            raise _explained(error) from error
        self.bus.wake()
        return Path(path)

    async def _expire(self) -> None:
        while True:
            with suppress(OSError):
                count = await self.remove_expired()
                if count:
                    _logger.warning("%d parts were removed that nobody went on with", count)
            await asyncio.sleep(EXPIRY_S)


def _sizes_in(folder: Path) -> list[int]:
    sizes = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return sizes


def _sync_and_digest(part: Path) -> str:
    sync_file(part)
    return sha256_of(part)


def _explained(error: OSError) -> Exception:
    """Return NoRoom for a disk that is full, else the error."""
    return NoRoom("there is no room for it at present") if error.errno in _FULL else error
