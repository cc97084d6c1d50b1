"""Writes the tables of a journal, a transaction at most each; and locks its file."""

import logging
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

from snyper.history import schema
from snyper.history.database import DatabaseErrors, JournalError, explained, open_database
from snyper.history.schema import LEAP
from snyper.hub.journal_files import make_private, real_path
from snyper.shared.socket_protocol import MAX_INTEGER
from snyper.system.files import shown

FIRST_MS = 1_735_689_600_000  # 2025: a clock that says less was never set
_MAX_SEQ = MAX_INTEGER >> 1  # no log gets there, and the wire has room beyond it

LAST_SEQS = """
    SELECT CAST(log_id AS TEXT),
        CAST(max(coalesce((SELECT max(seq) FROM events WHERE log = logs.id), 0)) AS INTEGER)
    FROM logs GROUP BY log_id
"""
LATEST = (
    "SELECT CAST(log_id AS TEXT), CAST(unix_ms AS INTEGER) FROM events JOIN logs ON logs.id = log"
    " ORDER BY log DESC, seq DESC LIMIT 1"
)

# Nothing that a log had before is taken again, wherever in the file it is.
INSERT = (
    "INSERT OR IGNORE INTO events SELECT ?, ?, ?, ?, ?, ?, ? WHERE NOT EXISTS"
    " (SELECT 1 FROM events WHERE log IN (SELECT id FROM logs WHERE log_id = ?) AND seq = ?)"
)

_logger = logging.getLogger("snyper")


def lock(path: Path) -> sqlite3.Connection:
    """Hold the journal against a second hub until it is closed, or the process has ended in any way. Readers
    are not kept out, as they would be by a lock on the file itself. Raises JournalError.
    """
    _check_names(path)
    held_path = _lock_path(path)
    try:
        held_path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        where = shown(held_path.parent)
        raise JournalError(f"no directory {where} for the journal ({error.strerror})") from None
    make_private(held_path)
    try:
        held = open_database(held_path, timeout=0, isolation_level=None, check_same_thread=False)
    except DatabaseErrors as error:
        raise JournalError(f"the journal {shown(path)} cannot be used: {explained(error)}") from None
    try:
        held.execute("PRAGMA journal_mode = MEMORY")
        held.execute("BEGIN EXCLUSIVE")
    except DatabaseErrors as error:
        held.close()
        if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
            raise JournalError(
                f"another process writes the journal {shown(path)}: stop it, or use another"
            ) from None
        raise JournalError(f"the journal {shown(path)} cannot be used: {explained(error)}") from None
    return held


def _check_names(path: Path) -> None:
    """Check that the file has one name, after which its lock is called. Raises JournalError."""
    try:
        found = real_path(path).stat()
    except OSError:  # which whoever opens it says better
        return
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        raise JournalError(
            f"the journal {shown(path)} has {found.st_nlink} names (hard links), and a hub under another"
            " would write it too: remove the others"
        )


def lock_id(path: Path) -> tuple[int, int] | None:
    """Return which file is the lock of the journal now; None where there is none."""
    try:
        found = _lock_path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _lock_path(path: Path) -> Path:
    real = real_path(path)
    return real.with_name(real.name + "-lock")


def make_schema(db: sqlite3.Connection, path: Path, log_id: str) -> None:
    """Make the tables, or those that an older version's journal lacks. Raises JournalError for a file that
    is no journal.
    """
    [version] = db.execute("PRAGMA user_version").fetchone()
    if version > schema.VERSION:
        raise JournalError(f"the journal {shown(path)} was written by a newer snyper: update this one")
    if version == schema.VERSION:
        return
    if version:
        _logger.warning("journal: %s is of an older version, and is brought up to date", shown(path))
        _run_script(db, schema.upgrade(), schema.name_players)
    elif db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        raise JournalError(f"{shown(path)} is a database of something else: name another file")
    else:
        _run_script(db, schema.make(log_id))


def _run_script(
    db: sqlite3.Connection, script: str, then: Callable[[sqlite3.Connection], None] | None = None
) -> None:
    """Run all of it or nothing. Raises sqlite3.Error."""
    try:
        db.executescript(f"BEGIN IMMEDIATE; {script}")
        if then is not None:
            then(db)
        db.execute("COMMIT")
    except DatabaseErrors:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def storable(text: str) -> str:
    """Return `text` with half a character as JSON writes it: SQLite takes none."""
    return text.encode("utf-8", "backslashreplace").decode()


def log_for(db: sqlite3.Connection, log_id: str) -> int:
    """Return the row in `logs` that new events of that log belong to, made if need be.

    It is the last of that log, unless another's events came after it: so the order of the rows is that in
    which things happened.
    """
    last_id, its_id = db.execute(
        "SELECT max(id), max(id) FILTER (WHERE log_id = ?) FROM logs", (log_id,)
    ).fetchone()
    if its_id is not None and its_id in (1, last_id):
        return int(its_id)
    row = db.execute("INSERT INTO logs (log_id, reserved_seq) VALUES (?, 0)", (log_id,))
    assert row.lastrowid is not None
    return row.lastrowid


def old_rows(db: sqlite3.Connection, before_ms: int, limit: int) -> list[tuple[int, int]]:
    """Find the oldest events, up to `limit`, by `log` and `seq`: those from before `before_ms`, up to the
    first that is not. What was written by a clock that had never been set is as old as what comes after it.
    """
    old: list[tuple[int, int]] = []
    undated: list[tuple[int, int]] = []
    for log, seq, unix_ms in db.execute(
        "SELECT log, seq, CAST(unix_ms AS INTEGER) FROM events ORDER BY log, seq"
    ):
        if unix_ms >= before_ms or len(old) >= limit:
            break
        undated.append((log, seq))
        if unix_ms >= FIRST_MS:
            old += undated
            undated.clear()
    return old[:limit]


def latest_before(db: sqlite3.Connection, unix_ms: int) -> int:
    """Find the latest event, in order, from before that instant, and return when it was; 0 for none. What was
    written by a clock that had never been set does not count.
    """
    query = (
        "SELECT CAST(unix_ms AS INTEGER) FROM events WHERE unix_ms BETWEEN ? AND ?"
        " ORDER BY log DESC, seq DESC LIMIT 1"
    )
    row = db.execute(query, (FIRST_MS, unix_ms)).fetchone()
    return 0 if row is None else int(row[0])


def own_log_id(db: sqlite3.Connection) -> str:
    [log_id] = db.execute("SELECT CAST(log_id AS TEXT) FROM logs WHERE id = 1").fetchone()
    return str(log_id)


def own_log(db: sqlite3.Connection) -> tuple[str, int, int]:
    """Reserve numbers for the file's own log; return its id, where its count goes on, and up to where it may.

    Raises sqlite3.Error, ValueError for a number that no log of ours reaches.
    """
    db.execute("BEGIN IMMEDIATE")
    [reserved_seq] = db.execute("SELECT CAST(reserved_seq AS INTEGER) FROM logs WHERE id = 1").fetchone()
    [last_seq] = db.execute(
        "SELECT CAST(coalesce(max(seq), 0) AS INTEGER) FROM events WHERE log = 1"
    ).fetchone()
    seq = max(reserved_seq, last_seq)
    if not 0 <= seq <= _MAX_SEQ:
        raise ValueError(f"its log goes on at {seq}")
    reserved_seq = (seq // LEAP + 1) * LEAP
    db.execute("UPDATE logs SET reserved_seq = ? WHERE id = 1", (reserved_seq,))
    db.execute("COMMIT")
    return own_log_id(db), seq, reserved_seq


def oldest_seq(db: sqlite3.Connection, last_seq: int) -> int:
    [oldest] = db.execute("SELECT CAST(min(seq) AS INTEGER) FROM events WHERE log = 1").fetchone()
    return last_seq + 1 if oldest is None else int(oldest)
