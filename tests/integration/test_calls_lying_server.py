"""A server that says what none of ours says: its clients neither hang, nor work in vain, nor fill memory."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from snyper.services.async_client import AsyncClient
from snyper.services.client import Client
from snyper.services.remote_exceptions import OutcomeUnknown, StreamLost
from tests.integration.calls_harness import HOST

Answer = Callable[[int], bytes]


class Liar:
    """Lets clients in, and answers each call with what `answer` makes of its id, again and again; where that
    is nothing it hangs up.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, sock.makefile("rb") as lines, contextlib.suppress(OSError):
            lines.readline()
            data = {"protocol": 1, "boot_id": "b", "max_chunk_bytes": 1 << 30, "known": True}
            sock.sendall(_line(type="registered", id=0, status="registered", data=data))
            answer = self._answer(json.loads(lines.readline())["id"])
            while answer:
                sock.sendall(answer)


def _line(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


@contextmanager
def lying(answer: Answer) -> Iterator[Liar]:
    liar = Liar(answer)
    try:
        yield liar
    finally:
        liar.close()


def hang_up(id: int) -> bytes:
    return b""


def ask_without_end(id: int) -> bytes:
    return _line(type="ping", id=7) * 500


def stream_without_end(id: int) -> bytes:
    item = _line(type="item", id=id, data={"value": "x" * 1_000})
    return _line(type="item", id=id, status="streams") + item * 100


def call(port: int) -> object:
    with Client(address=HOST, port=port, timeout=1) as c:
        return c.read()


def call_async(port: int) -> object:
    async def read() -> object:
        async with AsyncClient(address=HOST, port=port, timeout=1) as c:
            return await c.read()

    return asyncio.run(read())


each_client = pytest.mark.parametrize("call", [call, call_async])


@each_client
@pytest.mark.parametrize("answer", [hang_up, ask_without_end])
def test_who_brings_no_answer_is_dialled_ever_less(answer: Answer, call: Callable[[int], object]) -> None:
    with lying(answer) as liar:
        began_s = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            call(liar.port)
        assert time.monotonic() - began_s < 3
        assert liar.connections < 10


def take_slowly(port: int) -> None:
    with Client(address=HOST, port=port) as c:
        for _ in c.scan():
            time.sleep(0.01)


def take_slowly_async(port: int) -> None:
    async def take() -> None:
        async with AsyncClient(address=HOST, port=port) as c:
            async for _ in await c.scan():
                await asyncio.sleep(0.01)

    asyncio.run(take())


@pytest.mark.parametrize("take", [take_slowly, take_slowly_async])
def test_items_that_nobody_has_room_for_end_a_stream(take: Callable[[int], None]) -> None:
    with lying(stream_without_end) as liar, pytest.raises(StreamLost):
        take(liar.port)
