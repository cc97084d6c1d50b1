"""Uploads in a folder of their own, for whoever else takes files than an inbox."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from snyper.device.inbox.limits import Limits
from snyper.device.inbox.records import Records
from snyper.device.inbox.records_thread import RecordsThread
from snyper.device.inbox.uploads import EXPIRY_S, Uploads
from snyper.shared.runtime import end_task


@asynccontextmanager
async def uploads_in(folder: Path, limits: Limits) -> AsyncIterator[Uploads]:
    """Open the uploads in a folder of this process alone, for the block. Raises OSError."""
    run = RecordsThread()
    parts = folder / "parts"
    parts.mkdir(0o700, parents=True, exist_ok=True)
    records = await run(Records, folder / "uploads.sqlite3")
    try:
        uploads = Uploads(records, parts, limits, run)
        known = {upload.path for upload in uploads}
        for path in parts.iterdir():
            if path not in known:
                path.unlink()
        expiry = asyncio.create_task(_expire(uploads))
        try:
            yield uploads
        finally:
            await end_task(expiry)
            for upload in uploads:
                await uploads.take_over(upload)
    finally:
        await run(records.close)
        run.end()


async def _expire(uploads: Uploads) -> None:
    while True:
        with suppress(OSError):
            await uploads.remove_expired()
        await asyncio.sleep(EXPIRY_S)
