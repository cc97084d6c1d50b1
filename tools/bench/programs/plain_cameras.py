"""Takes detections with python-socketio on what uvicorn's `standard` extra brings. With a folder; prints its
port.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import socketio  # type: ignore[import-untyped]
import uvicorn

from tools.bench.programs.plain_store import MAX_BYTES, PlainStore

sio = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*", max_http_buffer_size=MAX_BYTES)
store = PlainStore(Path(sys.argv[1]))


@sio.on("lpr_data")  # type: ignore[untyped-decorator]
async def detect(sid: str, data: dict[str, Any]) -> dict[str, object]:
    answer = store.keep(data)
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
