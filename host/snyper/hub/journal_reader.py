"""Reads a hub's own log while it is written, over a connection and in a thread of its own."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from snyper.history.database import DatabaseErrors, data_in, explained, open_database

PAGE = 200  # events that are read at once
_TIMEOUT_S = 1.0

T = TypeVar("T")


class JournalReader:
    """Reads the journal at `path`: for many at once, each in its turn, and it holds up neither them nor who
    writes. Its methods raise sqlite3.Error, and TimeoutError for a disk that does not answer within a second;
    until that one does, at once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, "journal-reader")
        self._turn = asyncio.Lock()
        self._held = threading.Lock()  # by whoever uses the connection
        self._late: Future[Any] | None = None

    async def page(self, after: int) -> list[tuple[int, str, str, dict[str, Any]]]:
        """Read up to PAGE events with a greater `seq`, as (seq, event, target_id, data)."""
        return await self._run(lambda: self._page(after))

    async def is_known(self, report_key: str) -> bool:
        """Return whether the report is in it."""
        query = "SELECT 1 FROM events WHERE report = ?"
        return await self._run(lambda: bool(self._read(query, (report_key,))))

    def disconnect(self) -> None:
        """Close the file; the next one who reads opens it again. May be called from any thread."""
        with self._held:
            self._disconnect()

    async def close(self) -> None:
        """Close the file for good. May be called again."""
        await asyncio.get_running_loop().run_in_executor(None, self.disconnect)
        self._thread.shutdown(wait=False)

    async def _run(self, read: Callable[[], T]) -> T:
        async with self._turn:
            if self._late is not None and not self._late.done():
                raise TimeoutError("the disk does not answer")
            reading = self._late = self._thread.submit(read)
            async with asyncio.timeout(_TIMEOUT_S):
                return await asyncio.wrap_future(reading)

    def _page(self, after: int) -> list[tuple[int, str, str, dict[str, Any]]]:
        rows = self._read(
            "SELECT seq, CAST(event AS TEXT), CAST(target_id AS TEXT), CAST(data AS TEXT) FROM events"
            " WHERE log = 1 AND seq > ? ORDER BY seq LIMIT ?",
            (after, PAGE),
        )
        return [(seq, event, target_id, data_in(data)) for seq, event, target_id, data in rows]

    def _read(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._held:
            try:
                if self._db is None:
                    self._db = open_database(self._path, "rw", isolation_level=None, check_same_thread=False)
                    self._db.execute("PRAGMA query_only = ON")
                return self._db.execute(query, values).fetchall()
            except DatabaseErrors as error:
                self._disconnect()
                raise sqlite3.DatabaseError(explained(error)) from None

    def _disconnect(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
