"""A proxy that keeps the last 64 MiB, as a hub does, and does nothing else. Says its port, where it takes one
connection; passes on what comes there to PORT.

    python -m tools.bench.programs.stream_proxy PORT BLOCK_BYTES
"""

import asyncio
import itertools
import socket
import sys

from snyper.hub.stream_blocks import MAX_STREAM_BYTES


async def main(port: int, block_bytes: int) -> None:
    loop = asyncio.get_running_loop()
    # Written to, so that it is there: the bench has a hub pass some rounds, too.
    kept = [bytearray(b"." * block_bytes) for _ in range(MAX_STREAM_BYTES // block_bytes)]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        print(server.getsockname()[1], flush=True)
        near, _ = await loop.sock_accept(server)
    with near, socket.create_connection(("127.0.0.1", port)) as far:
        far.setblocking(False)
        for buffer in itertools.cycle(kept):
            count = await loop.sock_recv_into(near, buffer)
            if not count:
                return
            await loop.sock_sendall(far, memoryview(buffer)[:count])


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
