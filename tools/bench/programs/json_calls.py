"""Answers each line of JSON with one, over asyncio's streams: the leanest calls of which several are under
way. With a port.
"""

import asyncio
import json
import sys

from tools.bench.processes import RECEIVE_BYTES, limit_reads


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    limit_reads(writer.transport, RECEIVE_BYTES)
    while line := await reader.readline():
        call = json.loads(line)
        writer.write(json.dumps({"id": call["id"], "value": call["samples"] / 4}).encode() + b"\n")


async def main(port: int) -> None:
    async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
