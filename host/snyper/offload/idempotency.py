"""Results that are kept for who asks again, over restarts, for a time and up to a size."""

import asyncio
import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from snyper.system import steady
from snyper.system.files import make_private
from snyper.system.retention_clock import FILE, RetentionClock

T = TypeVar("T")

_VERSION = 1  # of the table; one of another goes, with the results in it
_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (
    identity TEXT PRIMARY KEY,
    job_id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    service TEXT NOT NULL,
    digest TEXT NOT NULL,
    json BLOB NOT NULL,
    file TEXT,
    filename TEXT NOT NULL,
    media_type TEXT NOT NULL,
    refusal TEXT,
    bytes INTEGER NOT NULL,
    kept_at_s REAL NOT NULL
) STRICT
"""
_UPDATE_S = 60.0  # between two readings of the clock at least
_COLUMNS = "job_id, service, digest, json, file, filename, media_type, refusal"


@dataclass(frozen=True, slots=True)
class Result:
    """A result of a service: a file, or else JSON; or why it refused what it was given. With it what the
    answer says of a file: the name that the upload has, and its type.
    """

    job_id: str
    service: str
    digest: str
    json: bytes = b"null"
    file: Path | None = None
    filename: str = ""
    media_type: str = ""
    refusal: str | None = None


class KeptResults:
    """Results by the identity of their requests, in a folder of this process alone: a database, and a file
    for each result that is one. What is too old or too much goes, the oldest first.
    """

    def __init__(
        self,
        folder: Path,
        most: int,
        most_bytes: int,
        keep_s: float,
        wall_s: Callable[[], float] = time.time,
        steady_s: Callable[[], float] = steady.now_s,
    ) -> None:
        """Open the folder. `wall_s` is in seconds since 1970, `steady_s` in any. Raises OSError, which says
        what to do.
        """
        self._files = folder / "results"
        self._most, self._most_bytes, self._keep_s = most, most_bytes, keep_s
        self._folder, self._wall_s, self._steady_s = folder, wall_s, steady_s
        self._thread = ThreadPoolExecutor(1, "results")
        self._files.mkdir(0o700, parents=True, exist_ok=True)
        path = folder / "results.sqlite3"
        try:
            make_private(path)
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._open()
        except (OSError, sqlite3.Error) as error:
            raise OSError(f"{path} cannot be used ({error}): remove it, or name another folder") from None

    def _open(self) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        if self._database.execute("PRAGMA user_version").fetchone() != (_VERSION,):
            self._database.execute("DROP TABLE IF EXISTS results")
            self._database.execute(f"PRAGMA user_version = {_VERSION}")
        self._database.execute(_SCHEMA)
        self._clock = RetentionClock(self._folder / FILE, self._newest_s, self._wall_s, self._steady_s)
        self._updated_s = self._steady_s()
        self._bound()
        named = {name for (name,) in self._database.execute("SELECT file FROM results")}
        for path in self._files.iterdir():
            if path.name not in named:  # from a process that was killed
                path.unlink(missing_ok=True)

    async def find(self, identity: Sequence[str]) -> Result | None:
        """Return the result for this identity."""
        return await self._in_thread(self._find, "identity = ?", (json.dumps(identity),))

    async def find_by_id(self, job_id: str, owner: str) -> Result | None:
        """Return the result of this job of this owner's."""
        return await self._in_thread(self._find, "job_id = ? AND owner = ?", (job_id, owner))

    async def put(self, identity: Sequence[str], owner: str, result: Result) -> Result:
        """Keep a result, whose file is moved. Returns it with its file where it is now. Raises OSError,
        sqlite3.Error.
        """
        return await self._in_thread(self._put, json.dumps(identity), owner, result)

    async def remove(self, job_id: str) -> None:
        """Throw the result of a job away."""
        await self._in_thread(self._delete, "job_id = ?", (job_id,))

    def close(self) -> None:
        """Close the database, once what is under way is done."""
        self._thread.shutdown()
        self._database.close()

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _find(self, condition: str, values: tuple[str, ...]) -> Result | None:
        found = self._database.execute(
            f"SELECT kept_at_s, {_COLUMNS} FROM results WHERE {condition}", values
        ).fetchone()
        if found is None or self._is_too_old(found[0]):
            return None
        job_id, service, digest, content, name, filename, media_type, refusal = found[1:]
        path = None if name is None else self._files / name
        if path is not None and not path.exists():
            return None
        return Result(job_id, service, digest, content, path, filename, media_type, refusal)

    def _put(self, identity: str, owner: str, result: Result) -> Result:
        size = len(result.json)
        kept = result
        if result.file is not None:
            kept = replace(result, file=self._files / secrets.token_hex(16))
            assert kept.file is not None
            result.file.replace(kept.file)
            size += kept.file.stat().st_size
        self._delete("identity = ?", (identity,))
        self._database.execute(
            f"INSERT INTO results (identity, owner, bytes, kept_at_s, {_COLUMNS})"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                *(identity, owner, size, self._wall_s(), kept.job_id, kept.service, kept.digest, kept.json),
                *(
                    None if kept.file is None else kept.file.name,
                    kept.filename,
                    kept.media_type,
                    kept.refusal,
                ),
            ),
        )
        self._bound()
        return kept

    def _bound(self) -> None:
        """Delete what is too old, and the oldest beyond the limits; but never the newest."""
        if self._steady_s() - self._updated_s >= _UPDATE_S:
            self._clock.update()
            self._updated_s = self._steady_s()
        before_s = self._clock.now_s - self._keep_s
        stamps = self._database.execute(
            "SELECT DISTINCT kept_at_s FROM results WHERE kept_at_s <= ?", (before_s,)
        )
        for (stamp_s,) in stamps.fetchall():
            if self._is_too_old(stamp_s):
                self._delete("kept_at_s = ?", (stamp_s,))
        self._delete(
            "rowid IN (SELECT rowid FROM (SELECT rowid, row_number() OVER newest AS number,"
            " sum(bytes) OVER newest AS total FROM results"
            " WINDOW newest AS (ORDER BY rowid DESC))"
            " WHERE number > 1 AND (number > ? OR total > ?))",
            (self._most, self._most_bytes),
        )

    def _is_too_old(self, stamp_s: float) -> bool:
        return self._clock.came_s(stamp_s) <= self._clock.now_s - self._keep_s

    def _newest_s(self) -> float | None:
        """Return when the last result was kept."""
        found = self._database.execute("SELECT kept_at_s FROM results ORDER BY rowid DESC LIMIT 1").fetchone()
        return None if found is None else float(found[0])

    def _delete(self, condition: str, values: tuple[object, ...]) -> None:
        """Delete rows, then their files: one without a row is removed at the next start."""
        gone = self._database.execute(f"DELETE FROM results WHERE {condition} RETURNING file", values)
        for (name,) in gone.fetchall():
            if name is not None:
                (self._files / name).unlink(missing_ok=True)
