"""Detections kept as people write it, with the same promise as ours: the picture is written, synced and
renamed, then its row is committed.
"""

import base64
import hashlib
import json
import os
import sqlite3
import uuid
from pathlib import Path
from typing import Any

MAX_BYTES = 16_000_000  # of a message


class PlainStore:
    """A folder of pictures, and a table. Raises OSError, sqlite3.Error."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._db = sqlite3.connect(folder / "plain.db", isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute(
            "CREATE TABLE detections (id TEXT PRIMARY KEY, camera TEXT, body TEXT, picture TEXT)"
        )
        self._db.execute("CREATE INDEX by_camera ON detections (camera)")

    def keep(self, data: dict[str, Any]) -> dict[str, object]:
        """Keep a detection, and return the answer to its sender."""
        content = base64.b64decode(data.pop("annotated_image"))
        path = self._folder / f"{hashlib.sha256(content).hexdigest()}.jpg"
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        detection_id = str(uuid.uuid4())
        row = (detection_id, data["camera_id"], json.dumps(data), path.name)
        self._db.execute("INSERT INTO detections VALUES (?, ?, ?, ?)", row)
        return {"success": True, "detection_id": detection_id}
