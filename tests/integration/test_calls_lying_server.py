"""A server that says what none of ours says: its clients neither hang, nor work in vain, nor fill memory."""

import asyncio
import contextlib
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from snyper.services.async_client import AsyncClient
from snyper.services.client import Client, caller_of
from snyper.services.remote_exceptions import CallError, OutcomeUnknown, StreamLost, Unreachable
from snyper.services.server_log import MAX_ENTRIES
from snyper.services.wire import MAX_BODY_BYTES
from tests.integration.calls_harness import HOST
from tests.integration.harness import wait_until
from tests.integration.stopwatch import Stopwatch

Answer = Callable[[Any], Iterable[bytes]]
NO_ANSWER = (OutcomeUnknown, Unreachable)  # the latter where the computer stands still until the deadline


class Liar:
    """Lets clients in, and answers each request with what `answer` makes of its id, perhaps without end;
    where there is nothing in that it hangs up.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(
                socket.SHUT_RDWR
            )  # else who accepts may go on with another of that number
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
            for line in lines:
                for said in self._answer(json.loads(line)["id"]):
                    if not said:
                        return
                    sock.sendall(said)


def _line(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


@contextmanager
def lying(answer: Answer, kind: type["Liar"] = Liar) -> Iterator[Liar]:
    liar = kind(answer)
    try:
        yield liar
    finally:
        liar.close()


def hang_up(id: int) -> Iterable[bytes]:
    return [b""]


def ask_without_end(id: int) -> Iterable[bytes]:
    return itertools.repeat(_line(type="ping", id=7) * 500)


def stream_without_end(id: int) -> Iterable[bytes]:
    yield _line(type="item", id=id, status="streams")
    yield from itertools.repeat(_line(type="item", id=id, data={"value": "x" * 1_000}) * 100)


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
        with Stopwatch() as took, pytest.raises(NO_ANSWER):
            call(liar.port)
        assert took.seconds < 3
        assert liar.connections < 10


def answer_too_much(id: object) -> Iterable[bytes]:
    data = {"body": "value", "json_bytes": 5}
    yield _line(type="reply", id=id, status="returned", data=data, bytes=MAX_BODY_BYTES + 1)
    threading.Event().wait(30)
    yield b""


@each_client
def test_an_answer_that_is_too_large_is_asked_for_once(call: Callable[[int], object]) -> None:
    with lying(answer_too_much) as liar:
        with pytest.raises(CallError, match="larger than is taken here"):
            call(liar.port)
        assert liar.connections == 1


def take_nothing(id: object) -> Iterable[bytes]:
    yield _line(type="ping", id=7)
    threading.Event().wait(30)
    yield b""


def send_much(port: int) -> object:
    with Client(address=HOST, port=port, timeout=1) as c:
        return c.show(bytes(50_000_000))


def send_much_async(port: int) -> object:
    async def send() -> object:
        async with AsyncClient(address=HOST, port=port, timeout=1) as c:
            return await c.show(bytes(50_000_000))

    return asyncio.run(send())


@pytest.mark.parametrize("send", [send_much, send_much_async])
def test_who_takes_nothing_keeps_nobody_past_the_deadline(send: Callable[[int], object]) -> None:
    with lying(take_nothing) as liar, Stopwatch() as took, pytest.raises(NO_ANSWER):
        send(liar.port)
    assert took.seconds < 3


def drip_without_end(id: object) -> Iterable[bytes]:
    while True:
        yield b" "
        time.sleep(0.05)


class Hesitant(Liar):
    """Says without end that it is about to let clients in."""

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            for said in self._answer(0):
                sock.sendall(said)


@each_client
def test_who_lets_nobody_in_keeps_nobody_past_the_deadline(call: Callable[[int], object]) -> None:
    with lying(drip_without_end, Hesitant) as liar, Stopwatch() as took, pytest.raises(Unreachable):
        call(liar.port)
    assert took.seconds < 3


@pytest.mark.parametrize("sign", [drip_without_end, ask_without_end])
def test_who_says_something_else_gives_no_sign_of_life(sign: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snyper.services.client_connection._IDLE_US", 0)
    monkeypatch.setattr("snyper.services.client_connection.ALIVE_S", 0.2)

    def answer(id: object) -> Iterable[bytes]:
        return (
            sign(id) if id == "alive" else [_line(type="reply", id=id, status="returned", data={"value": 1})]
        )

    with lying(answer) as liar, Client(address=HOST, port=liar.port, timeout=5) as c:
        assert c.read() == 1
        wait_until(lambda: not caller_of(c)._is_watched, "the connection is nobody's")
        assert c.read() == 1
        assert liar.connections == 2


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


def say_what_a_terminal_does(id: object) -> Iterable[bytes]:
    value = "[bold]Help\x1b]0;pwned\x07 \x1b[2J\u202eyou\n"
    return [_line(type="reply", id=id, status="returned", data={"value": value})]


def show_help(port: int) -> None:
    with Client(address=HOST, port=port) as c:
        c.help()


def show_help_async(port: int) -> None:
    async def show() -> None:
        async with AsyncClient(address=HOST, port=port) as c:
            await c.help()

    asyncio.run(show())


@pytest.mark.parametrize("show", [show_help, show_help_async])
def test_help_does_nothing_to_a_terminal(
    show: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with lying(say_what_a_terminal_does) as liar:
        show(liar.port)
    assert capsys.readouterr().out == "[bold]Help]0;pwned [2Jyou\n\n"


def refuse(id: object) -> Iterable[bytes]:
    data = {"code": "unauthorized", "message": "\x1b]0;pwned\x07\x1b[2J\nyour password, please"}
    return [_line(type="error", id=id, status="error", data=data)]


@each_client
@pytest.mark.parametrize("kind", [Liar, Hesitant])
def test_a_refusal_does_nothing_to_a_terminal(call: Callable[[int], object], kind: type[Liar]) -> None:
    with lying(refuse, kind) as liar, pytest.raises(CallError, match="your password, please") as raised:
        call(liar.port)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(("why", "is_named"), [("wrong secret", True), ("your key may only read", False)])
def test_a_command_names_a_secret_where_it_is_of_one(why: str, is_named: bool) -> None:
    def refuse_for(id: object) -> Iterable[bytes]:
        return [_line(type="error", id=id, status="error", data={"code": "unauthorized", "message": why})]

    with lying(refuse_for, Hesitant) as liar:
        command = [str(Path(sys.executable).parent / "snyper"), "call", f"{HOST}:{liar.port}", "read"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (said.returncode, why in said.stderr) == (1, True)
    assert ("SNYPER_SECRET" in said.stderr) is is_named, said.stderr


def log_of_before_all_time(id: object) -> Iterable[bytes]:
    at = {"$": ["datetime", "0001-01-01T00:00:00+14:00"]}
    entry = {"number": 1, "run": "r", "at": at, "who": "eve", "name": "read", "arguments": "", "seconds": 1}
    value = [] if str(id).startswith("running") else [{**entry, "outcome": "returned"}]
    return [_line(type="reply", id=id, status="returned", data={"value": value})]


def log_without_end(id: object) -> Iterable[bytes]:
    at = {"$": ["datetime", "2026-12-01T00:00:00+00:00"]}
    entry = {"run": "r", "at": at, "who": "eve", "name": "read", "arguments": "", "seconds": 1, "outcome": ""}
    value = [{**entry, "number": number} for number in range(10)]
    return [_line(type="reply", id=id, status="returned", data={"value": value})]


def test_a_log_without_end_has_one() -> None:
    with lying(log_without_end) as liar:
        command = [str(Path(sys.executable).parent / "snyper"), "log", f"{HOST}:{liar.port}", "--json"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (said.returncode, len(said.stdout.splitlines())) == (0, MAX_ENTRIES), said.stderr[:1_000]


@pytest.mark.parametrize("answer", [say_what_a_terminal_does, log_of_before_all_time])
def test_what_is_no_log_is_said_in_a_line(answer: Answer) -> None:
    with lying(answer) as liar:
        command = [str(Path(sys.executable).parent / "snyper"), "log", f"{HOST}:{liar.port}"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == f"snyper: what {HOST}:{liar.port} answers is no log\n"
