"""Opens so many WebSockets as stock clients do, and starts the signal. With an address and their number.

Prints a line once all of them hear it; then for each line that it reads, how many packets have come to all of
them together.
"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect


class Clients:
    def __init__(self, url: str, count: int) -> None:
        self.packets = 0
        self._url = url
        self._count = count
        self._hearing = 0
        self.all_hear = asyncio.Event()

    async def listen(self) -> None:
        async with connect(self._url) as web_socket:
            await web_socket.send(json.dumps({"action": "start"}))
            is_first = True
            async for message in web_socket:
                if json.loads(message)["type"] != "data":
                    continue
                self.packets += 1
                self._hearing += is_first
                is_first = False
                if self._hearing == self._count:
                    self.all_hear.set()


async def main(url: str, count: int) -> None:
    clients = Clients(url, count)
    listening = [asyncio.create_task(clients.listen()) for _ in range(count)]
    await clients.all_hear.wait()
    print(clients.packets, flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(clients.packets, flush=True)
    for task in listening:
        task.cancel()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
