"""A line to each of many connections and one back: the least a hub can do. Arguments:
whose loop, and how many connections.
"""

import asyncio
import importlib
import sys
from collections.abc import Callable
from typing import cast

from tools.bench.ping import LINE
from tools.bench.processes import RECEIVE_BYTES, limit_reads
from tools.bench.programs.cpu_rounds import say, serve_rounds


class RawPeer(asyncio.Protocol):
    def __init__(self, on_line: Callable[[], None]) -> None:
        self._on_line = on_line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio
        limit_reads(transport, RECEIVE_BYTES)

    def data_received(self, data: bytes) -> None:
        self._on_line()


class Fan:
    """All of the connections."""

    def __init__(self, count: int) -> None:
        self.peers: list[RawPeer] = []
        self.all_here = asyncio.Event()
        self._count = count
        self._waiting = 0
        self._answered = asyncio.Event()

    def add(self) -> RawPeer:
        peer = RawPeer(self._on_line)
        self.peers.append(peer)
        if len(self.peers) == self._count:
            self.all_here.set()
        return peer

    async def command(self) -> None:
        """Write a line to each, and wait for all of theirs."""
        self._waiting = self._count
        self._answered.clear()
        for peer in self.peers:
            peer.transport.write(LINE)
        await self._answered.wait()

    def _on_line(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._answered.set()


async def main(count: int) -> None:
    fan = Fan(count)
    server = await asyncio.get_running_loop().create_server(fan.add, "127.0.0.1", 0, backlog=count)
    say(server.sockets[0].getsockname()[1])
    await fan.all_here.wait()
    await serve_rounds(fan.command)


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "uvloop":
        return cast(Callable[[], asyncio.AbstractEventLoop], importlib.import_module("uvloop").new_event_loop)
    return asyncio.new_event_loop


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory(sys.argv[1])) as runner:
        runner.run(main(int(sys.argv[2])))
