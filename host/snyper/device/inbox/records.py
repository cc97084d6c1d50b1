"""The records of an inbox, in SQLite: what was received under which key, what waits for a handler, what is in
the middle of getting its name, which uploads there are.

Each method is one transaction, on the disk when it returns. To be called by one thread at a time.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Tuple

from snyper.device.database import transaction
from snyper.device.inbox.limits import MAX_KEYS

VERSION = 1
_SCHEMA = """
CREATE TABLE items (
    id INTEGER PRIMARY KEY, key TEXT UNIQUE, digest TEXT, length INTEGER, filename TEXT, answer TEXT);
CREATE TABLE waiting (
    number INTEGER PRIMARY KEY AUTOINCREMENT, handler TEXT, data TEXT);
CREATE INDEX waiting_by_handler ON waiting (handler, number);
CREATE TABLE intents (
    part TEXT PRIMARY KEY, name TEXT, key TEXT, digest TEXT, length INTEGER, filename TEXT,
    content_type TEXT);
CREATE TABLE uploads (
    token TEXT PRIMARY KEY, key TEXT UNIQUE, target TEXT, filename TEXT, content_type TEXT, length INTEGER,
    digest TEXT, synced INTEGER, is_complete INTEGER, touched_s REAL);
"""


class Item(NamedTuple):
    """An item that was received under a key; `answer` is the path of a file, or "" of data."""

    digest: str
    length: int
    filename: str
    answer: str


class Intent(NamedTuple):
    """A part that is complete, and is to get the name `name`."""

    part: str
    name: str
    key: str | None
    digest: str
    length: int
    filename: str
    content_type: str


class UploadRow(NamedTuple):
    """An upload in pieces. `synced` bytes of it are on the disk for certain; the last one came at `touched_s`
    (seconds since 1970).
    """

    token: str
    key: str | None
    target: str
    filename: str
    content_type: str
    length: int | None
    digest: str | None
    synced: int
    is_complete: bool
    touched_s: float


Waiting = Tuple[str, str]  # the name of a handler, and the event that it is to get, as JSON


class Records:
    """The records in the file `path`, which is made where it is missing. Raises OSError, saying what to do,
    where it is none; each method raises sqlite3.Error.
    """

    def __init__(self, path: Path) -> None:
        os.close(os.open(str(path), os.O_RDWR | os.O_CREAT, 0o600))  # addresses of uploads are in it
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            self._db.close()
            remedy = "moved away, it is begun anew, and what was received is not known again"
            raise OSError(f"{path} cannot be used ({error}): {remedy}") from error
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        [version] = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            with transaction(self._db):
                for statement in _SCHEMA.split(";\n"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {VERSION}")
        elif version != VERSION:
            raise sqlite3.DatabaseError("it was written by another version of snyper")
        self.waiting_count = sum(self.count_waiting().values())  # events that no handler has finished

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # --- items

    def item(self, key: str) -> Item | None:
        """Return what was received under `key`, if that is known."""
        row = self._db.execute(
            "SELECT digest, length, filename, answer FROM items WHERE key = ?", (key,)
        ).fetchone()
        return None if row is None else Item(*row)

    def add_item(self, key: str | None, item: Item, waiting: Sequence[Waiting]) -> None:
        """Add an item and what waits for handlers because of it."""
        with transaction(self._db):
            self._add_item(key, item, waiting)

    def add_intent(self, intent: Intent) -> None:
        """Add what is about to be done, or replace it by another name."""
        with transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO intents VALUES (?, ?, ?, ?, ?, ?, ?)", intent)

    def intents(self) -> list[Intent]:
        """Return what was about to be done and is not known to be done."""
        return [Intent(*row) for row in self._db.execute("SELECT * FROM intents ORDER BY rowid")]

    def carry_out(self, intent: Intent, answer: str, waiting: Sequence[Waiting]) -> None:
        """Replace an intent by the item that it has become; an upload of that part is complete."""
        item = Item(intent.digest, intent.length, intent.filename, answer)
        with transaction(self._db):
            self._db.execute("DELETE FROM intents WHERE part = ?", (intent.part,))
            self._db.execute(
                "UPDATE uploads SET is_complete = 1, length = ?, synced = ?, digest = ? WHERE token = ?",
                (intent.length, intent.length, intent.digest, intent.part),
            )
            self._add_item(intent.key, item, waiting)

    def drop_intent(self, part: str) -> None:
        """Drop an intent of which nothing can come."""
        with transaction(self._db):
            self._db.execute("DELETE FROM intents WHERE part = ?", (part,))

    def _add_item(self, key: str | None, item: Item, waiting: Sequence[Waiting]) -> None:
        if key is not None:
            columns = "key, digest, length, filename, answer"
            self._db.execute(f"INSERT INTO items ({columns}) VALUES (?, ?, ?, ?, ?)", (key, *item))
            self._db.execute("DELETE FROM items WHERE id <= (SELECT MAX(id) FROM items) - ?", (MAX_KEYS,))
        self._add_waiting(waiting)

    # --- what waits for handlers

    def add_waiting(self, waiting: Sequence[Waiting]) -> None:
        """Add events for handlers."""
        with transaction(self._db):
            self._add_waiting(waiting)

    def waiting(self, handler: str, count: int) -> list[tuple[int, str]]:
        """Return the first `count` events, in order, that a handler has not finished: number and JSON."""
        return self._db.execute(
            "SELECT number, data FROM waiting WHERE handler = ? ORDER BY number LIMIT ?", (handler, count)
        ).fetchall()

    def remove_waiting(self, number: int) -> None:
        """Remove an event that its handler has finished."""
        with transaction(self._db):
            self._db.execute("DELETE FROM waiting WHERE number = ?", (number,))
        self.waiting_count -= 1

    def count_waiting(self) -> dict[str, int]:
        """Count the events that wait, by the names of their handlers."""
        return dict(self._db.execute("SELECT handler, COUNT(*) FROM waiting GROUP BY handler").fetchall())

    def _add_waiting(self, waiting: Sequence[Waiting]) -> None:
        self._db.executemany("INSERT INTO waiting (handler, data) VALUES (?, ?)", waiting)
        self.waiting_count += len(waiting)

    # --- uploads

    def add_upload(self, row: UploadRow) -> None:
        """Add an upload, or replace the one of that token."""
        with transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def uploads(self) -> list[UploadRow]:
        """Return all uploads."""
        rows = self._db.execute("SELECT * FROM uploads ORDER BY rowid").fetchall()
        return [row._replace(is_complete=bool(row.is_complete)) for row in map(UploadRow._make, rows)]

    def remove_upload(self, token: str) -> None:
        """Remove an upload."""
        with transaction(self._db):
            self._db.execute("DELETE FROM uploads WHERE token = ?", (token,))
