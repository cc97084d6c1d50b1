"""Whoever means harm to a server of calls, by what comes over sockets: nobody else notices."""

import contextlib
import gc
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import snyper
from snyper.services.client import Client
from snyper.services.desk import MAX_OF_CLIENT
from snyper.services.entrance import MAX_STRANGERS
from snyper.services.wire import MAX_JSON_BYTES
from tests.integration.calls_harness import HOST, Powermeter, hello, served
from tests.integration.harness import linux_only, wait_until

SECRET = "a secret of some length"
CALLS = 40  # fewer than may wait of one client for one instance
RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER, of who ends a connection by RST


class Attacker:
    """One who is let in, and says what no client of ours says."""

    def __init__(self, port: int, session: str = "", who: str = "eve") -> None:
        self._socket = socket.create_connection((HOST, port))
        self._socket.settimeout(30)
        self._lines = self._socket.makefile("rb")
        self.say(type="register", id=0, data={"session": session or os.urandom(8).hex(), "who": who})
        assert self.hear()["type"] == "registered"

    def __enter__(self) -> "Attacker":
        return self

    def __exit__(self, *exc: object) -> None:
        self._lines.close()
        self._socket.close()

    def say(self, **fields: object) -> None:
        self.send(json.dumps(fields, separators=(",", ":")).encode() + b"\n")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def call(self, id: int, name: str, *args: object, **more: object) -> None:
        self.say(**{"type": "call", "id": id, "data": {"name": name, "arguments": [args, {}]}, **more})

    def skip(self, size: int) -> None:
        """Read what follows a line."""
        assert len(self._lines.read(size)) == size

    def hear(self) -> Any:
        """Return the next message; None where the server has hung up."""
        with contextlib.suppress(ConnectionError):
            line = self._lines.readline()
            return json.loads(line) if line else None
        return None


@contextlib.contextmanager
def another(port: int, **options: Any) -> Iterator[Any]:
    """Give a client that is served before, and after."""
    with Client(address=HOST, port=port, **options) as c:
        assert c.hello() == "Hello world!"
        yield c
        assert c.hello() == "Hello world!"


def test_strangers_that_begin_tls_and_reset_leave_nothing_behind() -> None:
    with served(hello, secret=SECRET) as server, another(server.port, secret=SECRET):
        for _ in range(MAX_STRANGERS + 1):
            with socket.create_connection((HOST, server.port)) as stranger:
                stranger.sendall(b"\x16\x03\x01\x02\x00")
                stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        ends_s = time.monotonic() + 4  # before anybody's time to be let in is over
        while len(server._entrance.connections) > 1:
            assert time.monotonic() < ends_s
            time.sleep(0.01)


@linux_only
def test_who_dials_without_end_keeps_out_nobody_else() -> None:
    with served(hello) as server, socket.create_connection((HOST, server.port)) as other:
        while len(server._entrance.connections) < 1:
            time.sleep(0.01)
        with contextlib.ExitStack() as stack:
            eves = [
                stack.enter_context(
                    socket.create_connection((HOST, server.port), 30, source_address=("127.0.0.2", 0))
                )
                for _ in range(2 * MAX_STRANGERS)
            ]
            assert eves[MAX_STRANGERS - 1].recv(1) == b""  # for a later one
            other.settimeout(30)
            other.sendall(b'{"type":"register","id":0,"data":{"session":"s"}}\n')
            assert b'"registered"' in other.recv(1_000)


def test_an_id_of_thousands_of_digits_is_refused() -> None:
    with served(hello) as server, another(server.port), Attacker(server.port) as eve:
        line = b'{"type":"call","id":%s,"data":{"name":"hello","arguments":[[],{}]}}\n'
        eve.send(line % (b"9" * (4_096 - len(line) + 2)))
        assert eve.hear()["data"]["code"] == "bad_message"


class Slow:
    """What eve calls without end; `turns` says in which order calls were begun."""

    def __init__(self) -> None:
        self.turns: list[str] = []

    def spin(self) -> None:
        """Take no longer than the thread that reads has for a call."""
        self.turns.append("eve")
        ends_s = time.perf_counter() + 0.002
        while time.perf_counter() < ends_s:
            pass

    def nap(self) -> None:
        """Take longer than that."""
        self.turns.append("eve")
        time.sleep(0.2)

    def tell(self) -> None:
        self.turns.append("another")


@pytest.mark.parametrize("name", ["spin", "nap"])
def test_many_requests_at_once_hold_up_nobody(name: str) -> None:
    slow = Slow()
    with (
        served(slow, urgent=("nap", "tell")) as server,
        Client(address=HOST, port=server.port) as c,
        Attacker(server.port) as eve,
    ):
        c.tell()
        line = b'{"type":"call","id":%d,"data":{"name":"%s","arguments":[[],{}]}}\n'
        eve.send(b"".join(line % (id + 1, name.encode()) for id in range(CALLS)))
        while len(slow.turns) < 10:
            time.sleep(0)
        c.tell()
        for _ in range(CALLS):
            assert eve.hear()["status"] == "returned"
        assert slow.turns.index("another", 1) < CALLS // 2


def test_who_calls_without_end_what_waits_for_nothing_is_told_that_it_is_enough() -> None:
    ends = threading.Event()

    def hang() -> None:
        assert ends.wait(30)

    with (
        served(hello, hang, urgent=("hang", "hello")) as server,
        another(server.port),
        Attacker(server.port) as eve,
    ):
        for id in range(MAX_OF_CLIENT + 1):
            eve.call(id + 1, "hang")
        assert "eve (127.0.0.1) has 256 calls that wait or run" in eve.hear()["data"]["value"]["message"]
        with another(server.port):
            ends.set()
        for _ in range(MAX_OF_CLIENT):
            assert eve.hear()["status"] == "returned"


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@linux_only
def test_who_announces_much_and_sends_nothing_takes_no_memory() -> None:
    with served(hello) as server, another(server.port), contextlib.ExitStack() as stack:
        before = resident_bytes()
        for _ in range(4):
            eve = stack.enter_context(Attacker(server.port))
            eve.call(1, "hello", bytes=1 << 28)
            eve.send(b"x")
        with another(server.port):
            assert resident_bytes() - before < 1 << 26


@linux_only
def test_what_has_come_of_who_has_gone_takes_no_memory() -> None:
    with served(hello) as server, another(server.port), another(server.port):
        gc.collect()
        gc.disable()  # a server that does little has it do nothing for hours
        try:
            before = resident_bytes()
            with Attacker(server.port) as eve:
                eve.call(1, "hello", bytes=1 << 28)
                eve.send(bytes(1 << 27))
            while len(server._entrance.connections) > 2:
                time.sleep(0.01)
            wait_until(lambda: resident_bytes() - before < 1 << 26, "the memory should be given back")
        finally:
            gc.enable()


def test_who_begins_to_send_much_and_stops_makes_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snyper.services.entrance.MAX_COMING_BYTES", 1 << 25)
    monkeypatch.setattr("snyper.services.entrance.LOOK_BYTES", 1 << 20)

    def count(data: bytes) -> int:
        return len(data)

    def coming_bytes() -> int:
        return sum(one.core.coming_bytes for one in server._entrance.connections if one.core is not None)

    with (
        served(hello, count) as server,
        another(server.port) as c,
        Attacker(server.port) as first,
        Attacker(server.port) as second,
        Attacker(server.port) as third,
    ):
        for number, eve in enumerate((first, second, third), 1):
            eve.call(1, "hello", bytes=1 << 24)
            eve.send(bytes(1 << 23))
            while coming_bytes() < number << 23:
                time.sleep(0.01)
        assert c.count(bytes(20 << 20)) == 20 << 20
        assert first.hear() is None
        assert second.hear() is None
        third.send(bytes(1 << 23))
        assert third.hear()["status"] == "returned"


def test_what_takes_long_to_read_is_refused() -> None:
    with served(hello) as server, another(server.port), Attacker(server.port) as eve:
        text = b"[" + b"[]," * (MAX_JSON_BYTES // 3) + b"[]]"
        eve.call(
            1, "hello", data={"name": "hello", "body": "arguments", "json_bytes": len(text)}, bytes=len(text)
        )
        eve.send(text)
        assert "16,777,216 travel" in eve.hear()["data"]["message"]
        with pytest.raises(ValueError, match="16,777,216 travel"), another(server.port) as c:
            c.hello("x" * MAX_JSON_BYTES)


def test_for_who_takes_no_answers_nothing_that_waits_is_begun() -> None:
    class Camera:
        taken = 0

        def __init__(self) -> None:
            self.ends = threading.Event()

        def cool(self) -> None:
            assert self.ends.wait(30)

        def take(self) -> bytes:
            self.taken += 1
            return b"x" * (1 << 24)

        def count(self) -> int:
            return self.taken

    camera = Camera()
    with served(camera) as server, Client(address=HOST, port=server.port) as c, Attacker(server.port) as eve:
        eve.call(1, "cool")
        for id in range(2, 12):
            eve.call(id, "take")
        while len(snyper.running(c)) < 11:
            time.sleep(0)
        camera.ends.set()
        assert c.count() == 1
        for id in range(1, 12):
            answer = eve.hear()
            assert answer["id"] == id
            eve.skip(answer.get("bytes", 0))
        assert c.count() == 10


def test_what_one_client_says_of_itself_does_nothing_to_the_terminal_of_another() -> None:
    said = "eve\x1b]0;pwned\x07\x1b[2J\nError: your disk is full"
    with served(hello) as server, another(server.port) as c, Attacker(server.port, who=said) as eve:
        eve.say(type="lock", id="lock", data={"lease": "a", "why": said})
        assert eve.hear()["status"] == "returned"
        with pytest.raises(snyper.Locked) as raised:
            c.hello()
        assert str(raised.value).isprintable()
        eve.say(type="unlock", id="unlock", data={"lease": "a"})
        assert eve.hear()["status"] == "returned"


def test_watches_without_end_have_one() -> None:
    with (
        served(hello, Powermeter()) as server,
        another(server.port) as c,
        Attacker(server.port) as eve,
        snyper.watch(c, "range") as ranges,
    ):
        assert next(ranges) == 1
        for number in range(MAX_OF_CLIENT + 1):
            eve.say(type="watch", id=f"w{number}", data={"name": "identity", "every_ms": 1_000})
        while (said := eve.hear())["type"] != "reply":
            pass
        assert said["id"] == f"w{MAX_OF_CLIENT}"
        assert "eve (127.0.0.1) has 256 watches" in said["data"]["value"]["message"]
        for number in range(MAX_OF_CLIENT):
            eve.say(type="cancel", id=number + 1, data={"call": f"w{number}"})
        for number in range(1_000):
            eve.say(type="watch", id="w", data={"name": "identity", "every_ms": 3_600_000})
            eve.say(type="cancel", id=number + 1, data={"call": "w"})
        c.set_range(2)
        assert next(ranges) == 2
        while len(server._engine._timers) > 0:  # type: ignore[union-attr]
            time.sleep(0.01)


def test_nobody_passes_those_who_wait_by_a_call_that_is_none_of_theirs() -> None:
    order: list[str] = []
    began, ends = threading.Event(), threading.Event()

    class Bath:
        def cool(self) -> None:
            began.set()
            assert ends.wait(30)

        def tell(self, who: str) -> None:
            order.append(who)

    with served(Bath()) as server, Client(address=HOST, port=server.port) as c, Attacker(server.port) as eve:
        eve.call(1, "cool")
        assert began.wait(30)
        caller = threading.Thread(target=c.tell, args=("another",))
        caller.start()
        while len(snyper.running(c)) < 2:
            time.sleep(0)
        chain = [f"{server._entrance.instance}:{number}" for number in range(1, 9)]
        eve.call(2, "tell", data={"name": "tell", "arguments": [["eve"], {}], "chain": chain})
        eve.say(type="running", id="who")
        waits = eve.hear()["id"] == "who"  # and its call was not refused
        ends.set()
        for _ in range(2):
            assert eve.hear()["status"] == "returned"
        caller.join(30)
    assert waits
    assert order == ["another", "eve"]
