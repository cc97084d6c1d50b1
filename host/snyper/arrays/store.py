"""A store of arrays on the disk: a folder with a `.npy` file for each, and an index of them in SQLite.

    FOLDER/0.npy
    FOLDER/arrays.db
    FOLDER/.arrays/parts/…       what is not complete yet
    FOLDER/.arrays/reserve       which gives way to a deletion where the disk is full

An array gets the next number, its index, which no other ever gets. It may be called from any thread.
"""

import errno
import json
import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from snyper.arrays.npy import Head, NotTaken
from snyper.arrays.preview import Preview, preview_of
from snyper.device.database import transaction
from snyper.device.disk import sync_file, sync_folder
from snyper.device.placing import place
from snyper.system.files import PRIVATE, PRIVATE_FOLDER, lock, shown

VERSION = 1
DATABASE = "arrays.db"
_OWN_FOLDER = ".arrays"
_LOCK = "lock"
_RESERVE_BYTES = 256 << 10  # of the index, which a deletion first makes larger: 60 pages
_COLUMNS = "number, name, dtype, shape, is_fortran, offset, created_s, key, digest"
_SCHEMA = """
CREATE TABLE arrays (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, dtype TEXT, shape TEXT, is_fortran INTEGER,
    offset INTEGER, created_s REAL, key TEXT UNIQUE, digest TEXT, preview TEXT);
CREATE INDEX arrays_by_name ON arrays (name, number);
CREATE TABLE removed (number INTEGER PRIMARY KEY);
"""
_MAX_INDEX = 2**62


class InUseError(OSError):
    """Another process has the folder."""


class NoRoom(Exception):
    """There is no room for another array at present; the message says why, in a sentence for people."""


class KeyReused(Exception):
    """Another array was stored under this key before."""


@dataclass(frozen=True)
class Limits:
    """Limits of a store: the bytes of one file, how many arrays there are, what is left free of the disk."""

    max_bytes: int = 2_000_000_000
    max_arrays: int = 10_000_000
    keep_free_bytes: int = 64_000_000


@dataclass(frozen=True)
class Entry:
    """An array that is stored. `created_s` is in seconds since 1970 (UTC)."""

    index: int
    name: str
    head: Head
    created_s: float


class Upload(NamedTuple):
    """What is known of a file beside its content: the array's name, the key of the request or None, and the
    digest of all of the file.
    """

    name: str
    key: str | None = None
    digest: str = ""


class Store:
    """A store in `folder`, which is made where it is missing. Raises InUseError, OSError."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self.folder = folder.resolve()
        self.limits = limits or Limits()
        self.parts = self.folder / _OWN_FOLDER / "parts"
        self._changing = threading.Lock()
        self._reading = threading.Lock()
        _make_folders(self.folder, self.parts)
        self._reserve = self.parts.parent / "reserve"
        self._lock = _locked(self.parts.parent / _LOCK)
        try:
            path = self.folder / DATABASE
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE))
            with _explained(path):
                self._db = _open(path)
                self._reader = _open(path)
                self._remove_left()
                [[self.count]] = self._db.execute("SELECT COUNT(*) FROM arrays").fetchall()
            self._keep_reserve()
        except BaseException:
            self._close()
            raise

    def close(self) -> None:
        """Let go of the folder."""
        with self._changing, self._reading:
            self._close()

    def _close(self) -> None:
        for connection in (getattr(self, "_reader", None), getattr(self, "_db", None)):
            if connection is not None:
                connection.close()
        self._lock.close()

    # --- what is stored

    def new_part(self) -> Path:
        """Return where a file that comes in is to be written, on the disk of the folder."""
        return self.parts / secrets.token_urlsafe(24)

    def check(self, head: Head) -> None:
        """Raise NotTaken for an array that is too large, NoRoom where it has no place at present."""
        most = self.limits.max_bytes
        if head.file_bytes > most:
            raise NotTaken(f"its shape and type make {head.data_bytes:,} bytes, above the limit of {most:,}")
        self._check_room(head.file_bytes)

    def _check_room(self, length: int) -> None:
        """Raise NoRoom where `length` more bytes, or one more array, have no place at present."""
        if self.count >= self.limits.max_arrays:
            raise NoRoom(f"there are {self.count:,} arrays: delete some before others are stored")
        if length > shutil.disk_usage(self.folder).free - self.limits.keep_free_bytes:
            raise NoRoom(f"the disk has no room for {length:,} bytes at present")

    def add(self, part: Path, head: Head, upload: Upload) -> Entry:
        """Store the file `part`, which is complete and begins with `head`; when this returns it is on the
        disk. With a key that is known nothing is stored, and the array is what it was then. Raises KeyReused
        for another array than that, NoRoom, OSError, sqlite3.Error.
        """
        part.chmod(PRIVATE)
        sync_file(part)
        sync_folder(self.parts)  # so that after a loss of power a file without a row is known for what it is
        with part.open("rb", buffering=0) as file:
            preview = preview_of(file, head)
        with self._changing:
            if upload.key is not None and (known := self._known(upload.key, upload.digest)) is not None:
                part.unlink()
                return known
            self._check_room(0)
            return self._add(part, head, upload, preview)

    def _known(self, key: str, digest: str) -> Entry | None:
        row = self._db.execute(f"SELECT {_COLUMNS} FROM arrays WHERE key = ?", (key,)).fetchone()
        if row is not None and row["digest"] != digest:
            raise KeyReused("this Idempotency-Key came with another array: make a new one")
        return None if row is None else _entry(row)

    def _add(self, part: Path, head: Head, upload: Upload, preview: Preview) -> Entry:
        number = self._next_number()
        while True:
            path = self.path(number - 1)
            try:
                place(part, path)
                break
            except FileExistsError:  # which somebody has put there
                number += 1
        entry = Entry(number - 1, upload.name, head, time.time())
        values = (number, upload.name, head.dtype, json.dumps(head.shape), head.is_fortran, head.offset)
        more = (entry.created_s, upload.key, upload.digest, json.dumps(preview))
        try:
            with transaction(self._db):
                self._db.execute(f"INSERT INTO arrays VALUES ({'?, ' * 9}?)", (*values, *more))
        except BaseException:
            path.unlink(missing_ok=True)
            sync_folder(self.folder)
            raise
        self.count += 1
        part.unlink(missing_ok=True)
        return entry

    def delete(self, index: int) -> bool:
        """Delete an array, and tell whether it was there, also where the disk is full. Raises OSError,
        sqlite3.Error.
        """
        with self._changing:
            try:
                was_there = self._delete(index)
                self._keep_reserve()
                return was_there
            except sqlite3.OperationalError as error:
                if not _is_full(error) or not self._reserve.exists():
                    raise
            self._reserve.unlink()
            was_there = self._delete(index)
            with suppress(sqlite3.OperationalError):
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._keep_reserve()
            return was_there

    def _delete(self, index: int) -> bool:
        with transaction(self._db):
            found = self._db.execute("DELETE FROM arrays WHERE number = ?", (_number(index),)).rowcount
            if not found:
                return False
            self._db.execute("INSERT INTO removed VALUES (?)", (_number(index),))
        self.count -= 1
        self._unlink_removed()
        return True

    def _keep_reserve(self) -> None:
        if self._reserve.exists():
            return
        try:
            self._reserve.write_bytes(bytes(_RESERVE_BYTES))
        except OSError:  # the next deletion may make room for it
            self._reserve.unlink(missing_ok=True)

    # --- what there is

    def path(self, index: int) -> Path:
        """Return where the file of an array is."""
        return self.folder / f"{index}.npy"

    def get(self, index: int) -> Entry | None:
        """Return an array's entry, None where there is none of that index."""
        return self._one("WHERE number = ?", _number(index))

    def find(self, name: str) -> Entry | None:
        """Return the entry of the newest array of that name, None where there is none."""
        return self._one("WHERE name = ? ORDER BY number DESC LIMIT 1", name)

    def page(self, after: int, limit: int) -> list[Entry]:
        """Return the first `limit` entries whose index is above `after`, in order."""
        condition = "WHERE number > ? ORDER BY number LIMIT ?"
        return [_entry(row) for row in self._read(condition, _number(after), limit)]

    def newest(self, before: int, limit: int) -> list[Entry]:
        """Return the last `limit` entries whose index is below `before`, the newest first."""
        condition = "WHERE number < ? ORDER BY number DESC LIMIT ?"
        return [_entry(row) for row in self._read(condition, _number(before), limit)]

    def previews(self, first: int, last: int) -> dict[int, Preview]:
        """Return the previews of the arrays with these indices and those between them."""
        with self._reading:
            rows = self._reader.execute(
                "SELECT number, preview FROM arrays WHERE number BETWEEN ? AND ?",
                (_number(first), _number(last)),
            ).fetchall()
        return {row["number"] - 1: Preview(*json.loads(row["preview"])) for row in rows}

    def _one(self, condition: str, *values: Any) -> Entry | None:
        rows = self._read(condition, *values)
        return _entry(rows[0]) if rows else None

    def _read(self, condition: str, *values: Any) -> list[sqlite3.Row]:
        with self._reading:
            return self._reader.execute(f"SELECT {_COLUMNS} FROM arrays {condition}", values).fetchall()

    # --- what a process before this one has left

    def _remove_left(self) -> None:
        """Remove what was not stored when it ended, and what was deleted."""
        parts = list(self.parts.iterdir())
        number = self._next_number()
        while parts and (path := self.path(number - 1)).exists():  # else it is somebody else's
            if any(map(path.samefile, parts)):
                path.unlink()
                sync_folder(self.folder)
            number += 1
        for part in parts:
            part.unlink()
        self._unlink_removed()

    def _unlink_removed(self) -> None:
        for [number] in self._db.execute("SELECT number FROM removed").fetchall():
            try:
                self.path(number - 1).unlink(missing_ok=True)
                sync_folder(self.folder)
            except OSError:  # on Windows, while somebody reads it: the next deletion or start does it
                continue
            with suppress(sqlite3.OperationalError):  # of a full disk: the next one does it
                self._db.execute("DELETE FROM removed WHERE number = ?", (number,))

    def _next_number(self) -> int:
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'arrays'").fetchone()
        return 1 if row is None else row[0] + 1


def _number(index: int) -> int:
    """Return the row of an index: SQLite counts from 1."""
    return min(max(index, -1), _MAX_INDEX) + 1


def _entry(row: sqlite3.Row) -> Entry:
    head = Head(row["dtype"], tuple(json.loads(row["shape"])), bool(row["is_fortran"]), row["offset"])
    return Entry(row["number"] - 1, row["name"], head, row["created_s"])


def _make_folders(folder: Path, parts: Path) -> None:
    try:
        folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        is_new = not (folder / DATABASE).exists() and not parts.parent.exists()
        if is_new and any(folder.glob("*.npy")):
            raise OSError(f"{shown(folder)} has arrays of somebody else: name another folder")
        parts.parent.mkdir(mode=0o700, exist_ok=True)
        parts.mkdir(exist_ok=True)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(f"no arrays can be kept in {shown(folder)} ({error.strerror})") from error


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    elif version != VERSION:
        raise sqlite3.DatabaseError("it was written by another version of snyper")
    return connection


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says of a file into what to do. Raises OSError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise OSError(f"{shown(path)}, the index of the arrays, cannot be used ({error})") from error


def as_os_error(error: sqlite3.Error) -> OSError:
    """Return the error of the disk that an error of the index is."""
    number = errno.ENOSPC if _is_full(error) else errno.EIO
    return OSError(number, f"the index of the arrays cannot be used: {error}")


def _is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_FULL")


def _locked(path: Path) -> BinaryIO:
    """Open the file that one process at a time has locked. Raises InUseError."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE), "r+b")
    if not lock(file.fileno(), waits=False):
        file.close()
        raise InUseError(f"another process serves the arrays in {shown(path.parent.parent)}: name another")
    return file
