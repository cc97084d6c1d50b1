"""Takes detections with python-socketio as people write it, and keeps the same promise: the picture is
written, synced and renamed, then its row is committed, then the answer goes out.

With a folder; prints its port.
"""

import asyncio
import base64
import hashlib
import json
import os
import sqlite3
import sys
import uuid
from pathlib import Path
from typing import Any

import socketio  # type: ignore[import-untyped]
import uvicorn

folder = Path(sys.argv[1])
sio = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*", max_http_buffer_size=16_000_000)
db = sqlite3.connect(folder / "plain.db", isolation_level=None)
for pragma in ("journal_mode = WAL", "synchronous = FULL"):
    db.execute(f"PRAGMA {pragma}")
db.execute("CREATE TABLE detections (id TEXT PRIMARY KEY, camera TEXT, body TEXT, picture TEXT)")
db.execute("CREATE INDEX by_camera ON detections (camera)")


@sio.on("lpr_data")  # type: ignore[untyped-decorator]
async def detect(sid: str, data: dict[str, Any]) -> dict[str, object]:
    content = base64.b64decode(data.pop("annotated_image"))
    path = folder / f"{hashlib.sha256(content).hexdigest()}.jpg"
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    detection_id = str(uuid.uuid4())
    row = (detection_id, data["camera_id"], json.dumps(data), path.name)
    db.execute("INSERT INTO detections VALUES (?, ?, ?, ?)", row)
    answer = {"success": True, "detection_id": detection_id}
    await sio.emit("lpr_response", answer, to=sid)
    return answer


class _Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


if __name__ == "__main__":
    config = uvicorn.Config(socketio.ASGIApp(sio), "127.0.0.1", 0, log_level="error")
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_Server(config).serve())
