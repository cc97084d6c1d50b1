"""A board that has readings looked at, over the link and over HTTP in turn. For MicroPython.

    board_calls.py HUB_PORT HTTP_PORT READINGS ROUNDS

Prints a line of JSON for each round, the milliseconds of each way; then one of a round that nobody times, the
bytes of heap that each way had in use at most. The way over HTTP is what MicroPython's `requests` does with
an iterator and its Content-Length: a connection each. Both go through the readings twice, and keep none.
"""

import asyncio
import gc
import json
import socket
import sys

from snyper.shared.device import Device

TYPE_CHECKING = False
if TYPE_CHECKING or sys.implementation.name != "micropython":
    from snyper.shared.runtime import now_us, sleep_ms
else:  # in a board's image there is no module that only passes these on
    from snyper.shared.runtime_micropython import now_us, sleep_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    See = Callable[["Iterator[int]"], "Iterator[int]"]

PIECE_BYTES = 1_024  # over HTTP
_HEAD = (
    b"POST /api/analyze/sensors HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n"
)


class Heap:
    """The most of the heap that is in use."""

    def __init__(self) -> None:
        gc.collect()
        self._before = self._most = _in_use()

    @property
    def grown_bytes(self) -> int:
        return self._most - self._before

    def sample(self) -> None:
        gc.collect()
        self._most = max(self._most, _in_use())

    def seeing(self, values: "Iterable[int]") -> "Iterator[int]":
        """Give the values, with a sample now and then."""
        for count, value in enumerate(values):
            if not count % 100:
                self.sample()
            yield value


def _in_use() -> int:
    found: int = gc.mem_alloc()  # type: ignore[attr-defined]
    return found


def readings_of(count: int) -> "Iterator[int]":
    for number in range(count):
        yield 2000 + number * 37 % 1000


def pieces_of(readings: "Iterable[int]") -> "Iterator[bytearray]":
    """Encode the body of the request, piece by piece."""
    piece = bytearray(b'{"readings":[')
    separator = b""
    for reading in readings:
        piece += separator
        piece += b"%d" % reading
        separator = b","
        if len(piece) >= PIECE_BYTES:
            yield piece
            piece = bytearray()
    yield piece + b"]}"


def post(port: int, size: int, pieces: "Iterable[bytearray]") -> "Any":
    sock: Any = socket.socket()
    try:
        sock.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
        sock.write(_HEAD % size)
        for piece in pieces:
            sock.write(piece)
        status = sock.readline()
        assert b" 200 " in status, status
        while sock.readline() != b"\r\n":
            pass
        return json.loads(sock.read())["anomalies"]
    finally:
        sock.close()


async def main(hub_port: int, http_port: int, count: int, rounds: int) -> None:
    async def over_link(see: "See") -> object:
        return await device.call("laptop", "analyze", readings=lambda: see(readings_of(count)))

    async def over_http(see: "See") -> object:
        size = sum(len(piece) for piece in pieces_of(readings_of(count)))
        return post(http_port, size, pieces_of(see(readings_of(count))))

    device = Device(f"127.0.0.1:{hub_port}", "board")
    running = asyncio.create_task(device.run())
    ways = {"link": over_link, "http": over_http}
    for way in ways.values():  # what is loaded with the first is no one round's
        assert await way(iter) == []
    for _ in range(rounds):
        took: dict[str, float] = {}
        for name, way in ways.items():
            gc.collect()
            began_us = now_us()
            await way(iter)
            took[name] = (now_us() - began_us) / 1000
        print(json.dumps(took))
        await sleep_ms(0)
    grown: dict[str, int] = {}
    for name, way in ways.items():
        heap = Heap()
        await way(heap.seeing)
        grown[name] = heap.grown_bytes
    print(json.dumps(grown))
    running.cancel()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
