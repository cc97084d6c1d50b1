"""Connections that send back what they read: arguments are the port that they dial, and how many."""

import asyncio
import sys
from typing import cast

from tools.bench.processes import RECEIVE_BYTES, limit_reads


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        limit_reads(transport, RECEIVE_BYTES)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def main(port: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        await loop.create_connection(Echo, "127.0.0.1", port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
