"""Answers each JSON message on microdot's WebSocket with one. For MicroPython, with a port."""

import json
import sys

from microdot import Microdot
from microdot.websocket import WebSocket, with_websocket

app = Microdot()


@app.get("/")  # type: ignore[untyped-decorator]
@with_websocket
async def serve(request: object, websocket: WebSocket) -> None:
    while True:
        message = json.loads(await websocket.receive())
        await websocket.send(json.dumps({"type": "pong", "id": message["id"], "status": "alive"}))


app.run(host="127.0.0.1", port=int(sys.argv[1]))
