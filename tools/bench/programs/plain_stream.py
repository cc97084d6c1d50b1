"""Streams a sine with noise to whoever opens a WebSocket, as people write it with FastAPI, and run it with
what `pip install fastapi "uvicorn[standard]"` brings. Prints its port.
"""

import asyncio
from contextlib import suppress
from typing import Any

import numpy
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
connections: list[WebSocket] = []
streaming: asyncio.Task[None] | None = None


async def stream() -> None:
    t = 0.0
    while True:
        x = numpy.linspace(t, t + 2 * numpy.pi, 100)
        y = numpy.sin(x) + numpy.random.normal(0, 0.1, 100)
        packet = {
            "type": "data",
            "timestamp": t,
            "shape": list(y.shape),
            "dtype": str(y.dtype),
            "x": x.tolist(),
            "y": y.tolist(),
        }
        for connection in list(connections):
            with suppress(Exception):
                await connection.send_json(packet)
        t += 0.1
        await asyncio.sleep(0.05)


@app.websocket("/ws/stream")
async def serve(web_socket: WebSocket) -> None:
    global streaming
    await web_socket.accept()
    connections.append(web_socket)
    try:
        while True:
            if (await web_socket.receive_json())["action"] == "start":
                streaming = streaming or asyncio.create_task(stream())
                await web_socket.send_json({"type": "status", "streaming": True})
    except WebSocketDisconnect:
        connections.remove(web_socket)


class _Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


if __name__ == "__main__":
    config = uvicorn.Config(app, "127.0.0.1", 0, log_level="error")
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_Server(config).serve())
