"""The file of a journal: where it is, how it is opened, and what stands in the way."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from snyper.history import schema
from snyper.system.files import own_file, shown

PATH_VARIABLE = "SNYPER_JOURNAL"


# What sqlite3 raises; the latter where it quotes a broken file in its own message.
DatabaseErrors = (sqlite3.Error, UnicodeDecodeError)


class JournalError(Exception):
    """The journal cannot be used; the message says why and what to do."""


class NoJournalError(JournalError):
    """There is none, or none that this user gets at."""


def default_path(name: str = "journal.sqlite3", option: str = "--journal PATH") -> Path:
    """Return where a hub keeps its journal unless told otherwise, or another file of this `name`.

    Raises NoJournalError, which names the `option` that says where, for a user without a home directory.
    """
    no_home = NoJournalError(f"there is no home directory to keep {name} in: say where with {option}")
    return own_file(user_data_path, name, no_home)


def explained(error: Exception) -> str:
    """Explain an error of SQLite's to a person."""
    name = getattr(error, "sqlite_errorname", "")
    if isinstance(error, UnicodeDecodeError):
        name = "SQLITE_CORRUPT"
    meanings = {
        "SQLITE_FULL": "the disk is full: free some space",
        "SQLITE_READONLY": "it may not be written: look at its permissions, and at the disk",
        "SQLITE_CANTOPEN": "it cannot be opened: look at its directory's permissions, and at the disk",
        "SQLITE_IOERR": "the disk does not read or write: it may be full or broken",
        "SQLITE_CORRUPT": "the file is broken: move it away, a new one is begun at the next start",
        "SQLITE_NOTADB": "the file is no journal: move it away, or name another with --journal",
        "SQLITE_BUSY": "another program holds it",
    }
    for code, meaning in meanings.items():
        if name == code or name.startswith(code + "_"):
            return f"{meaning} ({error})"
    return str(error)


def open_database(path: Path, mode: str = "rwc", **options: Any) -> sqlite3.Connection:
    """Open the database in the file of that name, whatever is in the name: to SQLite some of it would mean
    something else. Text that is not UTF-8, as SQLite makes of half a character in JSON, is read all the same.
    Raises sqlite3.Error.
    """
    db: sqlite3.Connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, **options)
    db.text_factory = lambda text: text.decode("utf-8", "replace")
    return db


def data_in(text: str) -> dict[str, Any]:
    """Read the data of an event; empty for what is no object of JSON. Numbers that JSON has not are None."""
    try:
        data = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a journal so that it is only read. Raises JournalError, which says what to do."""
    try:
        return _connection(path, "ro")
    except sqlite3.OperationalError as error:
        if path.with_name(path.name + "-wal").exists():
            raise JournalError(f"the journal {shown(path)} cannot be read: {explained(error)}") from None
    except DatabaseErrors as error:
        raise JournalError(
            f"{shown(path)} is no journal of SNYPER's, or a broken one: {explained(error)}"
        ) from None
    try:
        return _connection(path, "ro&immutable=1")  # on a disk that nobody may write to
    except DatabaseErrors as error:
        raise JournalError(f"the journal {shown(path)} cannot be read: {explained(error)}") from None


def _connection(path: Path, mode: str) -> sqlite3.Connection:
    db = open_database(path, mode, check_same_thread=False)
    try:
        [version] = db.execute("PRAGMA user_version").fetchone()
        if version > schema.VERSION:
            raise JournalError(f"{shown(path)} was written by a newer snyper: update this one")
        if version == 0:
            raise JournalError(f"{shown(path)} is no journal of SNYPER's: name another with --journal")
        db.execute("SELECT 1 FROM events LIMIT 1")
        if version < schema.VERSION:
            schema.count_aside(db)
    except BaseException:
        db.close()
        raise
    return db
