"""Sends back what it reads: the least that asyncio's streams can do. For MicroPython, with a port."""

import asyncio
import sys

_TCP_NODELAY = (6, 1)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.s.setsockopt(*_TCP_NODELAY, 1)  # type: ignore[attr-defined]
    while True:
        data = await reader.read(512)
        if not data:
            break
        writer.write(data)
        await writer.drain()


async def main(port: int) -> None:
    await asyncio.start_server(serve, "127.0.0.1", port)
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
