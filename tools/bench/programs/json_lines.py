"""Answers each line of JSON with one: the leanest reply, nothing checked. For MicroPython, with a port."""

import asyncio
import json
import sys

_TCP_NODELAY = (6, 1)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.s.setsockopt(*_TCP_NODELAY, 1)  # type: ignore[attr-defined]
    while True:
        line = await reader.read(512)
        if not line:
            break
        message = json.loads(line)
        reply = {"type": "pong", "id": message["id"], "status": "alive"}
        writer.write((json.dumps(reply) + "\n").encode())


async def main(port: int) -> None:
    await asyncio.start_server(serve, "127.0.0.1", port)
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
