"""The leanest target: it registers, and answers each line with one, unchecked. For MicroPython, with the port
of its hub. It answers `mark` as `counted_target.py` does.
"""

import asyncio
import json
import sys

import micropython

_TCP_NODELAY = (6, 1)


async def main(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.s.setsockopt(*_TCP_NODELAY, 1)  # type: ignore[attr-defined]
    writer.write(b'{"type":"register","id":0,"target_id":"target_1"}\n')
    await reader.readline()
    while True:
        line = await reader.read(512)
        if not line:
            break
        message = json.loads(line)
        reply = {"type": "pong", "id": message["id"], "status": "alive"}
        if message["type"] == "mark":
            reply["data"] = {"allocated": micropython.mem_total()}
        writer.write((json.dumps(reply) + "\n").encode())


asyncio.run(main(int(sys.argv[1])))
