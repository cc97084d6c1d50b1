"""An outbox on a camera's device: a file of what the camera has to tell, until that is told.

What is in it is on the disk, whole. When it is full, or its disk is, the oldest pictures go first and whole
records last; both are counted. For one thread at a time.
"""

import contextlib
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from snyper.device.database import transaction
from snyper.device.errors import OutboxFull, OutboxLocked

_log = logging.getLogger("snyper")
MAX_BYTES = 256 << 20
MIN_BYTES = 1 << 20
_SPARE_BYTES = 1 << 20  # of the disk, kept to be able to drop something when there is nothing left of it
_PAGE_BYTES = 4_096
_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, body TEXT NOT NULL,
    reason TEXT
);
CREATE INDEX IF NOT EXISTS waiting ON items (seq) WHERE reason IS NULL;
CREATE INDEX IF NOT EXISTS set_aside ON items (seq) WHERE reason IS NOT NULL;
CREATE TABLE IF NOT EXISTS pictures (
    seq INTEGER NOT NULL, at INTEGER NOT NULL, name TEXT NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (seq, at)
);
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
_PICTURES = "SELECT name, content FROM pictures WHERE seq = ? ORDER BY at"
_UNREADABLE = (sqlite3.Error, ValueError)  # the latter of what is no UTF-8, no JSON or _Damaged
Pictures = Sequence[tuple[str, bytes]]  # with the name of the field that each is of
P = ParamSpec("P")
T = TypeVar("T")


class Item(NamedTuple):
    """A thing to tell, with its pictures. `seq` rises in the order in which they came."""

    seq: int
    id: str
    kind: str
    body: dict[str, Any]
    pictures: Pictures
    size: int


class SetAside(NamedTuple):
    """A thing that was refused for good, and why."""

    id: str
    kind: str
    body: dict[str, Any]
    reason: str


class _Damaged(ValueError):
    """A value is not of the kind that was written."""


class Counts(NamedTuple):
    """Counters of what is in an outbox, and of what became of all that ever was."""

    waiting: int
    set_aside: int
    sent: int
    dropped_pictures: int
    dropped_records: int


def _over_damage(
    method: Callable[Concatenate["Outbox", P], T],
) -> Callable[Concatenate["Outbox", P], T]:
    """Return a method that goes on in a new file where the outbox turns out to be damaged."""

    @wraps(method)
    def go_on(outbox: "Outbox", /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(outbox, *args, **kwargs)
        except (sqlite3.Error, OSError, ValueError) as error:
            if not _is_damage(error):
                raise
            outbox._begin_anew()
        return method(outbox, *args, **kwargs)

    return go_on


class Outbox:
    """The outbox in the file `path`, which is made, with its folder, and takes up to `max_bytes` on the disk.

    One process at a time has it. A file that is damaged, as it is opened or later, is put beside, and a new
    one begun with all that can be read of it.

    Raises OutboxLocked where another has it; OSError for a file or a folder that cannot be used; ValueError
    for less than MIN_BYTES.
    """

    def __init__(self, path: str | Path, max_bytes: int = MAX_BYTES) -> None:
        if max_bytes < MIN_BYTES:
            raise ValueError(f"an outbox takes at least {MIN_BYTES:,} bytes, not {max_bytes:,}")
        self.path = Path(path)
        self.last_seq = 0
        self._max_bytes = max_bytes
        self._spare = self.path.with_name(self.path.name + ".spare")
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._open()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if _is_damage(error):
                self._begin_anew()
            elif isinstance(error, sqlite3.Error):
                raise self._explained(error) from error

    def close(self) -> None:
        """Close it."""
        self._database.close()

    @_over_damage
    def add(self, kind: str, item_id: str, body: Mapping[str, Any], pictures: Pictures = ()) -> int:
        """Add a thing, and return its `seq`: it is on the disk then. Where there is no room even so its own
        pictures are left out.

        Raises OutboxFull, where the disk has no room for it either; OSError.
        """
        text = json.dumps(body, ensure_ascii=False)
        size = sum(len(content) for _, content in pictures) + 2 * len(text) + _PAGE_BYTES
        if self._has_spare() and self._insert(kind, item_id, text, pictures):
            return self.last_seq
        # From here on nothing may grow but what is written ahead, for which the spare bytes are.
        self._release_spare()
        if size <= self._max_bytes // 2:
            while self._free_bytes() < size and self._drop_oldest(size):
                pass
            if self._insert(kind, item_id, text, pictures):
                return self.last_seq
        if pictures and self._insert(kind, item_id, text, (), len(pictures)):
            return self.last_seq
        raise OutboxFull(f"the disk is full: {self.path} takes nothing more")

    @_over_damage
    def take(self, first: int, last: int, max_items: int, max_bytes: int) -> list[Item]:
        """Return what waits from `first` to `last`, the oldest first: at least one, if there is one, and so
        many as are at most `max_bytes`.
        """
        rows = self._database.execute(
            "SELECT seq, id, kind, body FROM items INDEXED BY waiting"
            " WHERE reason IS NULL AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?",
            (first, last, max_items),
        ).fetchall()
        found: list[Item] = []
        left = max_bytes
        for seq, item_id, kind, text in rows:
            body, pictures = _body(text), _pictures(self._database, seq)
            size = len(text) + sum(len(content) for _, content in pictures)
            if found and size > left:
                break
            left -= size
            found.append(Item(seq, item_id, kind, body, pictures, size))
        return found

    @_over_damage
    def conclude(self, told: Iterable[int], refused: Mapping[int, str]) -> None:
        """Remove what was told, and set aside what was refused for good, with the reasons.

        Raises OutboxFull where the disk has no room for even that; OSError.
        """
        gone, reasons = [(seq,) for seq in told], [(why, seq) for seq, why in refused.items()]
        try:
            self._conclude(gone, reasons)
        except OutboxFull:
            self._release_spare()
            self._conclude(gone, reasons)

    def _conclude(self, gone: list[tuple[int]], reasons: list[tuple[str, int]]) -> None:
        try:
            with transaction(self._database):
                self._database.executemany("DELETE FROM pictures WHERE seq = ?", gone)
                left = self._database.executemany("DELETE FROM items WHERE seq = ?", gone).rowcount
                self._count("sent", len(gone))
                self._count("dropped_records", max(0, left) - len(gone))  # told all the same
                self._database.executemany("UPDATE items SET reason = ? WHERE seq = ?", reasons)
        except sqlite3.Error as error:
            raise self._explained(error) from error

    @_over_damage
    def set_aside(self, limit: int = 100) -> list[SetAside]:
        """Return what was refused, at most so many, the newest first."""
        rows = self._database.execute(
            "SELECT id, kind, body, reason FROM items WHERE reason IS NOT NULL ORDER BY seq DESC LIMIT ?",
            (limit,),
        )
        return [SetAside(item_id, kind, _body(text), reason) for item_id, kind, text, reason in rows]

    @_over_damage
    def try_again(self) -> int:
        """Have all that was refused wait again, at its place; return how many that are. Raises OSError."""
        try:
            return self._database.execute("UPDATE items SET reason = NULL WHERE reason IS NOT NULL").rowcount
        except sqlite3.Error as error:
            raise self._explained(error) from error

    @_over_damage
    def counts(self) -> Counts:
        """Count what is there, and what was."""
        [[waiting]] = self._database.execute("SELECT count(*) FROM items WHERE reason IS NULL")
        [[aside]] = self._database.execute("SELECT count(*) FROM items WHERE reason IS NOT NULL")
        known = dict(self._database.execute("SELECT name, value FROM counts"))
        return Counts(
            waiting, aside, *(known.get(name, 0) for name in ("sent", "dropped_pictures", "dropped_records"))
        )

    # ---

    def _open(self) -> None:
        self._database = self._connected(self.path)
        [[self.last_seq]] = self._database.execute(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'items'"
        )

    def _connected(self, path: Path) -> sqlite3.Connection:
        database = sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)
        try:
            # Nobody else has it, and so it needs no shared memory: this fails where somebody does.
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            # Or, by the default of some systems, all that is removed is written once more, as zeros.
            database.execute("PRAGMA secure_delete = OFF")
            # What has to grow the file is never more than the spare bytes, but for a large picture.
            database.execute(f"PRAGMA wal_autocheckpoint = {_SPARE_BYTES // _PAGE_BYTES // 2}")
            database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT")
            database.execute(f"PRAGMA max_page_count = {self._max_bytes // _PAGE_BYTES}")
        except BaseException:
            database.close()
            raise
        path.chmod(0o600)
        return database

    def _begin_anew(self) -> None:
        """Put the file beside, and go on in a new one with what can be read of it. Raises OSError."""
        if hasattr(self, "_database"):
            self._database.close()
        last_seq, damaged = self.last_seq, self._put_beside()
        self._open()
        taken = 0
        try:
            with contextlib.closing(self._connected(damaged)) as old:
                taken = self._take_over(old)
        except _UNREADABLE:
            pass  # nothing of it can be read
        _log.error(
            "%d things that waited in it could be read, and are told; if there were more, they are in %s"
            " alone, and lost unless somebody repairs that: move it away, or remove it",
            taken,
            damaged,
        )
        # What is under way goes by its number, which nothing else may have.
        self._database.execute("DELETE FROM sqlite_sequence WHERE name = 'items'")
        self.last_seq = max(last_seq, self.last_seq)
        self._database.execute("INSERT INTO sqlite_sequence VALUES ('items', ?)", (self.last_seq,))

    def _take_over(self, old: sqlite3.Connection) -> int:
        """Take over what can be read, in its order, from each end of the file up to where it is damaged;
        return how many things that were.
        """
        found: set[int] = set()
        for order in ("ASC", "DESC"):
            with contextlib.suppress(*_UNREADABLE):
                for (seq,) in old.execute(f"SELECT seq FROM items NOT INDEXED ORDER BY seq {order}"):
                    found.add(seq)
        taken = 0
        for seq in sorted(found):
            try:
                [row] = old.execute("SELECT id, kind, body, reason FROM items WHERE seq = ?", (seq,))
                item_id, kind, text, reason = row
                _body(text)
                pictures: Pictures = ()
                with contextlib.suppress(*_UNREADABLE):
                    pictures = _pictures(old, seq)
                taken += self._insert(kind, item_id, text, pictures, 0, seq, reason) or self._insert(
                    kind, item_id, text, (), len(pictures), seq, reason
                )
            except _UNREADABLE:  # also where what is damaged is its id
                continue
        with contextlib.suppress(*_UNREADABLE):
            for name, value in old.execute("SELECT name, value FROM counts").fetchall():
                self._count(name, value)
        return taken

    def _put_beside(self) -> Path:
        beside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
        _log.error("the outbox %s is damaged: it is now %s, and a new one begun", self.path, beside.name)
        for end in ("", "-wal", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(self.path.name + end).rename(beside.with_name(beside.name + end))
        return beside

    def _insert(
        self,
        kind: str,
        item_id: str,
        text: str,
        pictures: Pictures,
        left_out: int = 0,
        seq: int | None = None,
        reason: str | None = None,
    ) -> bool:
        """Insert an item, and tell whether there was room. Raises OSError; sqlite3.IntegrityError for an item
        that is none, or was there.
        """
        try:
            with transaction(self._database):
                seq = self._database.execute(
                    "INSERT INTO items (seq, id, kind, body, reason) VALUES (?, ?, ?, ?, ?)",
                    (seq, item_id, kind, text, reason),
                ).lastrowid
                assert seq is not None
                self._database.executemany(
                    "INSERT INTO pictures VALUES (?, ?, ?, ?)",
                    [(seq, at, name, content) for at, (name, content) in enumerate(pictures)],
                )
                self._count("dropped_pictures", left_out)
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            if _code_of(error) == sqlite3.SQLITE_FULL:
                return False
            raise self._explained(error) from error
        self.last_seq = seq
        return True

    def _drop_oldest(self, size: int) -> bool:
        """Drop the oldest pictures, of `size` bytes or more, or else the oldest records; tell whether there
        was anything, and room to do it. Raises OSError.
        """
        try:
            with transaction(self._database):
                freed = 0
                for table, counted, length in (
                    ("pictures", "dropped_pictures", "length(content)"),
                    ("items", "dropped_records", "2 * length(body)"),
                ):
                    # The rows of an item are together: by `seq`, none of them is left.
                    query = f"SELECT seq, {length} FROM {table} ORDER BY seq"
                    last, number = 0, 0
                    for seq, bytes_ in self._database.execute(query):
                        if freed >= size and seq != last:
                            break
                        last, number, freed = seq, number + 1, freed + bytes_
                    self._database.execute(f"DELETE FROM {table} WHERE seq <= ?", (last,))
                    self._count(counted, number)
                    if freed:
                        return True
        except sqlite3.Error as error:
            if _code_of(error) == sqlite3.SQLITE_FULL:
                return False
            raise self._explained(error) from error
        return False

    def _free_bytes(self) -> int:
        """Return how many bytes of the file are free: those need nothing more of the disk."""
        [[free]] = self._database.execute("PRAGMA freelist_count")
        return int(free) * _PAGE_BYTES

    def _count(self, name: str, number: int) -> None:
        if number:
            self._database.execute(
                "INSERT INTO counts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
                (name, number),
            )

    def _has_spare(self) -> bool:
        """Tell whether something of the disk is kept, which it is where there is that much."""
        if not self._spare.exists():
            try:
                self._spare.write_bytes(bytes(_SPARE_BYTES))
            except OSError:
                self._spare.unlink(missing_ok=True)
                return False
        return True

    def _release_spare(self) -> None:
        self._spare.unlink(missing_ok=True)
        with contextlib.suppress(sqlite3.OperationalError):
            self._database.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def _explained(self, error: sqlite3.Error) -> OSError | OutboxLocked | OutboxFull:
        code = _code_of(error)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return OutboxLocked(f"another process has the outbox {self.path}: end it, or name another file")
        if code == sqlite3.SQLITE_FULL:
            return OutboxFull(f"the disk is full: {self.path} takes nothing more")
        if code == sqlite3.SQLITE_CANTOPEN:
            return OSError(f"the outbox {self.path} cannot be opened: it is to be a file of this user")
        return OSError(f"the outbox {self.path} cannot be used ({error}): name another file, or see to it")


def _code_of(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF  # without what says it more exactly


def _body(text: object) -> dict[str, Any]:
    """Return the body of an item. Raises _Damaged, ValueError."""
    body = json.loads(text) if isinstance(text, str) else None
    if not isinstance(body, dict):
        raise _Damaged("it has no body")
    return body


def _pictures(database: sqlite3.Connection, seq: int) -> Pictures:
    """Return the pictures of an item. Raises _Damaged, sqlite3.Error, ValueError."""
    found = database.execute(_PICTURES, (seq,)).fetchall()
    if not all(isinstance(name, str) and isinstance(content, bytes) for name, content in found):
        raise _Damaged("a picture is none")
    return found


def _is_damage(error: Exception) -> bool:
    """Tell whether an error, or that which it explains, is of a file that is damaged: of its form, its text,
    or of names in it that are not as they were written.
    """
    found = error.__cause__ if isinstance(error, OSError) else error
    if not isinstance(found, sqlite3.Error):
        return isinstance(found, json.JSONDecodeError | UnicodeDecodeError | _Damaged)
    is_of_names = isinstance(found, sqlite3.OperationalError) and _code_of(found) == sqlite3.SQLITE_ERROR
    return is_of_names or _code_of(found) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
