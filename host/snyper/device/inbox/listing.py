"""Lists what is only partly in an inbox, also while a process receives into it."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

from snyper.device.inbox.records import UploadRow
from snyper.device.inbox.store import OWN_FOLDER, RECORDS


class Part(NamedTuple):
    """A file of which `received` bytes are here; its length is None where that is not known."""

    filename: str
    received: int
    length: int | None
    silent_s: float


def parts_in(folder: Path) -> list[Part]:
    """List the parts in an inbox. Raises OSError where there is none."""
    own = folder / OWN_FOLDER
    if not (own / RECORDS).exists():
        raise FileNotFoundError(f"nothing has been received into {folder} yet")
    now_s = time.time()
    parts = []
    for row in _uploads(own / RECORDS):
        size = _size(own / "parts" / row.token)
        if size is not None and not row.is_complete:
            parts.append(Part(row.filename, size, row.length, max(0.0, now_s - row.touched_s)))
    for path in (own / "aside").glob("*"):
        size = _size(path)
        if size is not None:
            parts.append(Part("(through a hub)", size, None, max(0.0, now_s - path.stat().st_mtime)))
    return parts


def _uploads(path: Path) -> list[UploadRow]:
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            return [UploadRow._make(row) for row in db.execute("SELECT * FROM uploads")]
        finally:
            db.close()
    except sqlite3.Error as error:
        raise OSError(f"{path} cannot be read: {error}") from None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
