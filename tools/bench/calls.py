"""A call to another process, over the least that blocking sockets can do: a line to it, and the same back.

The client blocks, the server is the project's own; the same again with a secret, and so under TLS. An array
of 64 MiB goes there and comes back; its floor is as many raw bytes, received whole at each end. Of calls that
are under way together the floor is lines of JSON over asyncio's streams.
"""

import asyncio
import itertools
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import numpy

from snyper.services.async_client import AsyncClient
from snyper.services.client import Client
from tools.bench.processes import line_of, on_cpython, open_streams, running, when_up
from tools.bench.rounds import Row, alternate, percentile, row
from tools.loopback import free_port

HOST = "127.0.0.1"
SECRET = "a secret of the measurement"
ARRAY_BYTES = 64 << 20
CALL_AIM = "2.3"
ARRAY_AIM = "2.5"
IN_FLIGHT = 16
IN_FLIGHT_AIM = "1.13"
_LINE = b"x" * 99 + b"\n"
_RECEIVE_BYTES = 1 << 14


async def call_rows(rounds: int, calls: int, array_bytes: int = ARRAY_BYTES) -> list[Row]:
    """Measure all of them in `rounds` alternating batches of `calls`, the array in a third of the rounds.
    Raises OSError.
    """
    array = numpy.zeros(array_bytes // 8)
    async with AsyncExitStack() as stack:
        echo = await stack.enter_async_context(_raw("blocking_echo"))
        store = await stack.enter_async_context(_raw("blocking_store", array.nbytes))
        plain = await stack.enter_async_context(_client(""))
        secret = await stack.enter_async_context(_client(SECRET))
        lean = await stack.enter_async_context(_raw("blocking_json"))
        lines = await stack.enter_async_context(_json_lines())
        together = await stack.enter_async_context(_async_client())
        once: dict[str, Callable[[], object]] = {
            "floor": partial(_exchange_line, echo),
            "lean": partial(_exchange_json, lean),
            "plain": partial(plain.read_voltage, samples=20),
            "secret": partial(secret.read_voltage, samples=20),
        }
        times = await alternate(rounds, {name: partial(_times, call, calls) for name, call in once.items()})
        arrays: dict[str, Callable[[], object]] = {
            "floor": partial(_exchange_array, store, array),
            "plain": partial(plain.same, array),
            "secret": partial(secret.same, array),
        }
        flights = await alternate(
            rounds,
            {
                "floor": partial(_flight, lines, calls),
                "measured": partial(_flight, partial(together.read_voltage, samples=20), calls),
            },
        )
        few = max(1, rounds // 3)
        large = await alternate(few, {name: partial(_times, call, 1) for name, call in arrays.items()})
    p50 = {name: [percentile(batch, 50) for batch in batches] for name, batches in times.items()}
    ms = {name: [batch[0] / 1000 for batch in batches] for name, batches in large.items()}
    return [
        row("the leanest JSON call, p50", p50["lean"], p50["floor"], "µs", 0),
        row("a call, p50", p50["plain"], p50["floor"], "µs", 0, CALL_AIM),
        row("a call with a secret, p50", p50["secret"], p50["floor"], "µs", 0, CALL_AIM),
        row(
            f"a call of {IN_FLIGHT} in flight", flights["measured"], flights["floor"], "µs", 0, IN_FLIGHT_AIM
        ),
        row("64 MiB there and back as an array", ms["plain"], ms["floor"], "ms", 0, ARRAY_AIM),
        row("the same with a secret", ms["secret"], ms["floor"], "ms", 0),
    ]


async def _times(call: Callable[[], object], count: int) -> list[float]:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1e6)
    return times


def _exchange_line(sock: socket.socket) -> None:
    sock.sendall(_LINE)
    sock.recv(_RECEIVE_BYTES)


def _exchange_json(sock: socket.socket) -> None:
    call = {"id": 1, "name": "read_voltage", "arguments": {"samples": 20}}
    sock.sendall(json.dumps(call).encode() + b"\n")
    assert json.loads(sock.recv(_RECEIVE_BYTES))["value"] == 5.0


async def _flight(call: Callable[[], Awaitable[object]], count: int) -> float:
    """Return the µs that each call takes where so many are always under way."""

    async def make() -> None:
        for _ in range(-(-count // IN_FLIGHT)):
            await call()

    began = time.perf_counter()
    await asyncio.gather(*(make() for _ in range(IN_FLIGHT)))
    return (time.perf_counter() - began) * 1e6 / count


def _exchange_array(sock: socket.socket, array: Any) -> None:
    sock.sendall(array)
    rest = memoryview(bytearray(array.nbytes))
    while rest:
        rest = rest[sock.recv_into(rest) :]


@asynccontextmanager
async def _raw(program: str, *arguments: object) -> AsyncIterator[socket.socket]:
    port = free_port()

    async def dial() -> socket.socket:
        return socket.create_connection((HOST, port))

    async with running(*on_cpython(program, port, *arguments)):
        with await when_up(dial) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield sock


@asynccontextmanager
async def _client(secret: str) -> AsyncIterator[Any]:
    port = free_port()
    async with running(*on_cpython("call_server", port, secret)) as server:
        await line_of(server)
        client: Any = Client(address=HOST, port=port, secret=secret or None)
        try:
            client.read_voltage()
            yield client
        finally:
            client.close()


@asynccontextmanager
async def _async_client() -> AsyncIterator[Any]:
    port = free_port()
    async with running(*on_cpython("call_server", port, "")) as server:
        await line_of(server)
        client: Any
        async with AsyncClient(address=HOST, port=port) as client:
            await client.read_voltage()
            yield client


@asynccontextmanager
async def _json_lines() -> AsyncIterator[Callable[[], Awaitable[object]]]:
    port = free_port()
    async with running(*on_cpython("json_calls", port)):
        reader, writer = await open_streams(port)
        waiting: dict[int, asyncio.Future[object]] = {}
        ids = itertools.count()

        async def read() -> None:
            while line := await reader.readline():
                reply = json.loads(line)
                waiting.pop(reply["id"]).set_result(reply["value"])

        def call() -> Awaitable[object]:
            id = next(ids)
            waiting[id] = asyncio.get_running_loop().create_future()
            writer.write(json.dumps({"id": id, "samples": 20}).encode() + b"\n")
            return waiting[id]

        reading = asyncio.create_task(read())
        try:
            yield call
        finally:
            reading.cancel()
            writer.close()
