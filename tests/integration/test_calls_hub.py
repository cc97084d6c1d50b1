"""Functions and objects of a service, through a real hub in a process of its own."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import pytest

import snyper
from snyper.client import key_store
from snyper.client.key_store import new_key
from snyper.services import hub_service
from snyper.services.carrying import ClientEnd
from snyper.services.client import Client, caller_of
from snyper.services.entrance import MAX_STRANGERS
from snyper.services.remote_exceptions import OutcomeUnknown, Refused, Unreachable
from snyper.services.server import Server
from snyper.shared.address import parse_address
from snyper.shared.keys import Rights
from snyper.shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage
from tests.integration.calls_harness import (
    HOST,
    Bath,
    HubProcess,
    Powermeter,
    becomes,
    each_secret,
    served,
)
from tests.integration.harness import needs_micropython, wait_until
from tests.integration.stopwatch import Stopwatch


@pytest.fixture
def hub() -> Iterator[HubProcess]:
    with HubProcess() as running:
        yield running


@contextmanager
def serving(hub: HubProcess, *items: Any, **options: Any) -> Iterator[Server]:
    server = Server(*items, **{"hub": hub.address, "name": "lab1", **options})
    server.run(threaded=True)
    try:
        yield server
    finally:
        server.close()


def client_of(hub: HubProcess, *classes: Any, **options: Any) -> Any:
    return Client(*classes, **{"hub": hub.address, "name": "lab1", **options})


def sweep(items: int, size: int) -> Iterator[bytes]:
    for number in range(items):
        yield bytes([number % 256]) * size


def echo(value: object) -> object:
    return value


@each_secret
def test_all_that_goes_directly_goes_through_a_hub(hub: HubProcess, secret: str | None) -> None:
    with (
        serving(hub, Powermeter(), echo, sweep, secret=secret) as server,
        client_of(hub, Powermeter, secret=secret) as pm,
        client_of(hub, secret=secret) as other,
    ):
        assert server._address is None  # it listens nowhere
        assert pm.identity == "PM-1"
        pm.range = 3
        assert pm.range == other.get_range() == 3
        assert pm.read_voltage(samples=20) == 5.0
        with pytest.raises(ValueError, match="range 7 is not 1 to 5"):
            pm.range = 7
        array = numpy.arange(3_000_000, dtype="<f4").reshape(3, -1)
        assert numpy.array_equal(other.echo(array), array)
        assert [len(item) for item in other.sweep(100, 20_000)] == [20_000] * 100
        with snyper.watch(pm, "range") as ranges:
            assert next(ranges) == 3
            other.set_range(4)
            assert next(ranges) == 4
        with snyper.lock(pm, lease=10, why="cooldown"):
            with pytest.raises(snyper.Locked, match="cooldown"):
                other.read_voltage()
            assert pm.read_voltage() == 0.25
        assert other.read_voltage() == 0.25


@needs_micropython
def test_through_a_hub_on_micropython() -> None:
    content = os.urandom(100_000)  # a hub board passes on 1,024 bytes at a time
    with HubProcess("micropython") as hub, serving(hub, echo, sweep), client_of(hub) as client:
        assert client.echo(content) == content
        assert len(list(client.sweep(50, 100))) == 50


async def test_with_asyncio(hub: HubProcess) -> None:
    async def wait(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    async with (
        snyper.AsyncServer(wait, echo, sweep, Powermeter(), hub=hub.address, name="lab1"),
        snyper.AsyncClient(hub=hub.address, name="lab1") as client,
        snyper.AsyncClient(hub=hub.address, name="lab1") as other,
    ):
        assert await asyncio.gather(*(client.echo(number) for number in range(200))) == list(range(200))
        assert await client.wait(0) == 0
        assert await client.echo(b"x" * 1_000_000) == b"x" * 1_000_000
        assert [len(item) async for item in await client.sweep(100, 20_000)] == [20_000] * 100
        async with snyper.lock(client, "get_range", lease=10), snyper.watch(client, "range") as ranges:
            assert await anext(ranges) == 1
            with pytest.raises(snyper.Locked):
                await other.set_range(2)
            await client.set_range(3)
            assert await anext(ranges) == 3
        await other.set_range(2)


def test_bulk_both_ways_at_once_by_many_clients(hub: HubProcess) -> None:
    content = os.urandom(2_000_000)
    failed = []

    def ask() -> None:
        with client_of(hub, timeout=120) as client:
            for _ in range(3):
                if client.echo(content) != content:
                    failed.append(threading.current_thread())

    with serving(hub, echo):
        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failed


def test_a_hub_with_keys() -> None:
    keys = {name: new_key(name) for name in ("lab1", "fleet", "desk", "screen")}
    with key_store.changing() as store:
        for name, rights in (
            ("lab1", Rights.DEVICE),
            ("fleet", Rights.FLEET),
            ("desk", Rights.CONSOLE),
            ("screen", Rights.READER),
        ):
            store.add(keys[name], rights)
    with HubProcess() as hub:
        with serving(hub, Powermeter(), key=keys["lab1"].to_text()):
            for key in (keys["desk"].to_text(), None):  # by default this computer's
                with client_of(hub, key=key) as client:
                    assert client.get_range() == 1
            for key, why in (
                (keys["screen"].to_text(), "may only read"),
                (new_key("desk").to_text(), "key"),
                ("", "key"),
                (keys["lab1"].to_text(), "lab1"),
            ):
                with client_of(hub, key=key) as client, pytest.raises(Refused, match=why):
                    client.get_range()
        for wrong in (keys["lab1"], keys["desk"], keys["screen"], new_key("lab1")):
            with pytest.raises(Refused, match="lab2 at"):
                Server(Powermeter(), hub=hub.address, name="lab2", key=wrong.to_text()).run()


@pytest.mark.parametrize("code", ["unauthorized", "busy"])
def test_what_a_hub_says_forges_no_line(code: str, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server((HOST, 0)) as listener:

        def refuse() -> None:
            sock, _ = listener.accept()
            with sock:
                asked = SocketMessage.from_line(sock.makefile("rb").readline())
                data: dict[str, object] = {"code": code, "message": "no\x1b[2J\n12:00:00 all is well\u202e"}
                sock.sendall(SocketMessage("error", asked.id, None, "error", data).to_line())

        refusing = threading.Thread(target=refuse)
        refusing.start()
        address = f"{HOST}:{listener.getsockname()[1]}"
        server = Server(Powermeter(), hub=address, name="lab1", key="")
        said = []
        try:
            server.run(threaded=True)
        except Refused as error:
            said.append(str(error))
        finally:
            server.close()
            refusing.join()
    said += caplog.messages
    assert any("all is well" in line for line in said)
    assert all(line.isprintable() for line in said), said


def test_a_name_that_is_taken_is_refused(hub: HubProcess) -> None:
    with serving(hub, Powermeter()):
        with pytest.raises(Refused, match=r"lab1 at [\d.:]+: another is there as lab1: end that one"):
            Server(Powermeter(), hub=hub.address, name="lab1").run()
        with client_of(hub, timeout=10) as client:
            assert client.get_range() == 1


def test_who_takes_a_hub_for_a_server_or_a_server_for_a_hub_is_told(hub: HubProcess) -> None:
    host, port = parse_address(hub.address)
    with Client(address=host, port=port) as client, pytest.raises(Refused, match="a hub is there, no server"):
        client.get_range()
    with (
        served(Powermeter()) as server,
        Client(hub=f"{HOST}:{server.port}", name="lab1") as client,
        pytest.raises(Refused, match=f"{HOST}:{server.port} is no hub"),
    ):
        client.get_range()


def test_a_server_that_is_late_is_waited_for(hub: HubProcess) -> None:
    with (
        client_of(hub, timeout=0.5) as client,
        pytest.raises(Unreachable, match=r"lab1 through .*: the hub knows no lab1"),
    ):
        client.get_range()
    with client_of(hub) as client:
        found: list[object] = []
        asking = threading.Thread(target=lambda: found.append(client.get_range()))
        asking.start()
        with serving(hub, Powermeter()):
            asking.join(30)
            assert found == [1]


def test_a_hub_that_starts_anew_costs_no_call(hub: HubProcess) -> None:
    bath = Bath()
    with serving(hub, bath), client_of(hub, Bath) as client:
        found: list[object] = []
        asking = threading.Thread(target=lambda: found.append(client.cool()))
        asking.start()
        assert bath.began.wait(30)
        hub.kill()
        hub.start()
        bath.ends.set()
        asking.join(60)
        assert (found, bath.cooled) == (["cold"], 1)
        assert client.temperature() == 4.2


@pytest.mark.slow
def test_a_hub_that_starts_anew_again_and_again_costs_no_call_of_many(hub: HubProcess) -> None:
    calls, done, content = 0, threading.Semaphore(0), os.urandom(300_000)
    wrong = []

    def count(value: bytes) -> bytes:
        nonlocal calls
        calls += 1
        return value

    def ask() -> None:
        with client_of(hub) as client:
            for _ in range(20):
                if client.count(content) != content:
                    wrong.append(threading.current_thread())
                done.release()

    with serving(hub, count):
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(4):
            for _ in range(15):
                assert done.acquire(timeout=60)
            hub.kill()
            hub.start()
        for thread in threads:
            thread.join(60)
    assert (calls, wrong) == (80, [])


def test_a_hub_that_is_late_is_waited_for() -> None:
    hub = HubProcess()
    with serving(hub, Powermeter()), client_of(hub) as client:
        hub.start()
        try:
            assert client.get_range() == 1
        finally:
            hub.kill()


def test_a_server_that_starts_anew(hub: HubProcess) -> None:
    bath = Bath()
    with client_of(hub, Bath) as client:
        with serving(hub, bath):
            assert client.temperature() == 4.2
        connection = caller_of(client)._connection
        assert connection is not None
        wait_until(lambda: not connection.is_usable(None), "the end of the server, through the hub")
        with serving(hub, bath):
            assert client.temperature() == 4.2  # it was idle over the restart
            failed: list[Exception] = []

            def ask() -> None:
                try:
                    client.cool()
                except Exception as error:
                    failed.append(error)

            asking = threading.Thread(target=ask)
            asking.start()
            assert bath.began.wait(30)
        bath.ends.set()
        with serving(hub, bath):
            asking.join(30)
            assert [type(error) for error in failed] == [OutcomeUnknown]
            assert client.temperature() == 4.2
    assert bath.cooled == 1


_WAITS = """
import snyper, sys
pm = snyper.Client(hub=sys.argv[1], name="lab1")
print("here", pm.temperature(), flush=True)
pm.cool()
"""


def test_a_waiting_call_of_a_killed_client_never_starts(hub: HubProcess) -> None:
    bath = Bath()
    with serving(hub, bath, urgent=["temperature"]), client_of(hub, Bath) as client:
        holds = threading.Thread(target=client.cool)
        holds.start()
        assert bath.began.wait(30)
        with subprocess.Popen(
            [sys.executable, "-c", _WAITS, hub.address], stdout=subprocess.PIPE, text=True
        ) as killed:
            assert killed.stdout is not None
            assert killed.stdout.readline().startswith("here")
            wait_until(lambda: len(snyper.running(client)) == 2, "it waits")
            killed.send_signal(signal.SIGKILL)
        with Stopwatch() as took:
            wait_until(lambda: len(snyper.running(client)) == 1, "its call is given up")
        assert took.seconds < 4  # the hub says so: no silence is waited for
        bath.ends.set()
        holds.join(30)
        assert client.temperature() == 4.2
    assert bath.cooled == 1


def test_options_that_make_no_place() -> None:
    for options in ({"hub": "h:1"}, {"name": "lab1"}, {"key": "x"}):
        with pytest.raises(ValueError, match="hub="):
            Client(**options)  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="hub="):
            Server(echo, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="leave out address="):
        Client(address="lab", hub="h:1", name="lab1")
    with pytest.raises(ValueError, match="port= is of a server that listens"):
        snyper.AsyncClient(port=8081, hub="h", name="lab1")
    for name in ("all", "", "two words", "x" * 33):
        with pytest.raises(ValueError, match="name"):
            Server(echo, hub="h:1", name=name)
    with pytest.raises(ValueError, match="IPv6"):
        Client(hub="h:x:y", name="lab1")


def test_what_serves_no_calls_says_so(hub: HubProcess) -> None:
    async def find() -> None:
        async with snyper.receive_files(hub.address, "store_1", Path("/tmp")) as store:
            await store.wait_until_tried()
            with pytest.raises(Refused, match="store_1 serves no calls"):
                await asyncio.to_thread(client_of(hub, name="store_1").hello)

    asyncio.run(find())


def test_foreign_messages_disturb_nobody(hub: HubProcess) -> None:
    codes = set()

    async def throw() -> None:
        async with snyper.connect(hub.address) as console:
            for data in (
                {},
                {"connection": "x" * 32},
                {"connection": "x" * 32, "at": 5},
                {"connection": 5, "begin": True},
                {"connection": "y" * 32, "begin": True, "at": -1},
                {"connection": "y" * 32, "begin": True, "room_bytes": "z"},
                {"connection": "z" * 32, "begin": True, "max_held": 0},
                {"connection": "w" * 32, "begin": True, "at": 1 << 52},
            ):
                [result] = await console.command("lab1", "exchange", timeout_ms=200, **data)
                codes.add(result.code)

    with serving(hub, Powermeter()), client_of(hub, Powermeter) as pm:
        assert pm.range == 1
        asyncio.run(throw())
        assert pm.range == 1
    assert codes <= {"", "bad_message", "timeout"}
    assert "bad_message" in codes


def test_a_console_neither_takes_the_connection_of_another_nor_its_name(hub: HubProcess) -> None:
    host, _, port = hub.address.partition(":")

    def ask(console: socket.socket, message: SocketMessage) -> SocketMessage:
        console.sendall(message.to_line())
        for line in console.makefile("rb"):
            answer = SocketMessage.from_line(line)
            if answer.id == message.id and answer.type != "ping":
                return answer
        raise AssertionError("the hub has hung up")

    def exchange(console: socket.socket, id: str, **data: object) -> SocketMessage:
        data |= {"connection": "c" * 32, "timeout_ms": 60_000}
        return ask(console, SocketMessage("exchange", id, "lab1", data=data))

    with serving(hub, Powermeter()) as server, contextlib.ExitStack() as stack:
        one, other = (stack.enter_context(socket.create_connection((host, int(port)), 30)) for _ in range(2))
        for console in (one, other):
            about = {"role": "console", "heartbeat_ms": 60_000}  # it says nothing by itself
            assert ask(console, SocketMessage("register", "r", data=about)).type == "registered"
        assert exchange(one, "a", begin=True).status == "ok"
        answer = exchange(other, "27ac87aa-77-1", at=0)
        assert (answer.data or {})["message"] == "there is no such connection"
        assert exchange(other, "27ac87aa-77-2", begin=True).status == "ok"

        def addresses() -> set[str]:
            return {connection.address for connection in server._entrance.connections}

        wait_until(lambda: len(addresses()) == 2, "each has a connection of its own")
        assert "console 77 of the hub" not in addresses()


def test_connections_that_are_begun_and_say_nothing_leave_nothing_behind(hub: HubProcess) -> None:
    async def begin() -> None:
        async with snyper.connect(hub.address) as console:
            for number in range(3 * MAX_STRANGERS):
                [result] = await console.command("lab1", "exchange", connection=f"c{number}", begin=True)
                assert result.ok
            with Stopwatch() as took:
                await becomes(lambda: len(carried) <= MAX_STRANGERS + 1)
            assert took.seconds < 5  # and not when the service takes them for gone

    with serving(hub, Powermeter()) as server, client_of(hub, Powermeter) as pm:
        carried = server._hub._session._carried  # type: ignore[union-attr]
        assert pm.range == 1
        asyncio.run(begin())
        assert pm.range == 1


_HOLDS = """
import ctypes, sys
from snyper import Server
from snyper.services import hub_service

hub_service.HEARTBEAT_MS = 300
seen = []

def hold(seconds):
    seen.append(seconds)
    ctypes.PyDLL(None).sleep(seconds)  # with the interpreter's lock
    return len(seen)

Server(hold, hub=sys.argv[1], name="lab1").run()
"""


def test_a_server_that_the_hub_takes_for_dead_ends_its_call_well(hub: HubProcess) -> None:
    with (
        subprocess.Popen([sys.executable, "-c", _HOLDS, hub.address]) as server,
        client_of(hub) as client,
    ):
        try:
            assert client.hold(2) == 1  # longer than three heartbeats
            assert client.hold(0) == 2
        finally:
            server.kill()


async def test_a_connection_that_is_ended_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a client that is gone and a hub that is: what it still does ends with it."""

    class EndingLink:
        peer_max_chunk_bytes = 1_000

        def __init__(self) -> None:
            self.sends = 0
            self.both_send, self.ends = asyncio.Event(), asyncio.Event()

        async def send(self, message: SocketMessage) -> None:
            self.sends += 1
            if self.sends == 3:
                self.both_send.set()
            if self.sends > 1:  # the first opens the connection
                await self.ends.wait()
                raise ProtocolError(ErrorCode.DISCONNECTED, "the link is closed")

    monkeypatch.setattr(hub_service, "QUIET_S", 0.01)
    link, client = EndingLink(), ClientEnd("c", "lab1", 1_000)
    carried = hub_service._Carried(link)  # type: ignore[arg-type]
    for request in (client.begin(), client.exchange(), client.exchange()):
        carried.take(request)
    near, far = socket.socketpair()
    with far:
        before = asyncio.all_tasks()
        carried.task = asyncio.create_task(carried.run(near))
        far.send(b"an answer")
        await link.both_send.wait()
        carried.stop()
        await asyncio.sleep(0)
        carried.stop()
        await asyncio.wait([carried.task])
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before


def test_a_service_that_answers_at_once_with_nothing_is_not_asked_without_end(hub: HubProcess) -> None:
    host, _, port = hub.address.partition(":")
    asked = 0
    with socket.create_connection((host, int(port))) as service:
        data: dict[str, object] = {"role": "service", "heartbeat_ms": 60_000, "max_chunk_bytes": 65_536}
        service.sendall(SocketMessage("register", 1, "lab1", data=data).to_line())
        lines = service.makefile("rb")
        assert b'"registered"' in lines.readline()

        def answer() -> None:
            nonlocal asked
            with contextlib.suppress(BrokenPipeError):  # of those that came before the end
                for line in lines:
                    message = SocketMessage.from_line(line)
                    lines.read(message.attachment or 0)  # of one that is parsed so it is the number
                    if message.type == "exchange":
                        asked += 1
                        service.sendall(message.reply("reply", "ok", {"at": 0}).to_line())

        answering = threading.Thread(target=answer)
        answering.start()
        with client_of(hub, timeout=1) as client, pytest.raises(Unreachable):
            client.hello()
        service.shutdown(socket.SHUT_RDWR)
        answering.join()
    assert 0 < asked < 200
