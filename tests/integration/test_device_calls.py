"""A device that has services of its hub work for it: the same code on both runtimes, through a real hub."""

import asyncio
import json
import threading
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from snyper.boards.board import BoardProcess
from snyper.client.service_session import ServiceSession
from snyper.services.client import Client, running
from snyper.services.server import Server
from snyper.shared import service_call
from snyper.shared.device import Device
from snyper.shared.link import Link
from snyper.shared.runtime import end_task
from snyper.shared.service_call import MAX_ANSWER_BYTES, RemoteError
from snyper.shared.socket_protocol import ProtocolError, SocketMessage
from tests.integration.calls_harness import HubProcess
from tests.integration.harness import (
    ROOT,
    HubUnderTest,
    Message,
    Peer,
    each_engine,
    needs_micropython,
    peer_of,
    registration,
    running_hub,
    scripted_target,
    until,
    wait_for_log,
    wait_until,
)


class Laptop:
    """What the services of these tests do, and how often."""

    def __init__(self) -> None:
        self.calls = 0
        self.began, self.ends = threading.Event(), threading.Event()

    def analyze(self, readings: Any) -> dict[str, object]:
        """Look at readings, of whatever kind."""
        self.calls += 1
        kind = getattr(readings, "dtype", None)
        found = [int(reading) for reading in readings]
        return {"kind": str(kind or type(readings).__name__), "count": len(found), "sum": sum(found)}

    def echo(self, *args: object, **kwargs: object) -> list[object]:
        return [list(args), kwargs]

    def fail(self) -> None:
        raise ValueError("no good: ü")

    def scan(self) -> Iterator[int]:
        yield 1

    def much(self, size: int) -> bytes:
        return bytes(size)

    def work(self) -> int:
        """Take as long as the test wants."""
        self.calls += 1
        self.began.set()
        assert self.ends.wait(60)
        return self.calls


def hub_for(engine: str, directory: Path) -> AbstractAsyncContextManager[HubUnderTest]:
    """Run a hub that takes several services."""
    return running_hub(engine, directory, max_targets=1, max_consoles=4)


@asynccontextmanager
async def serving(address: str, laptop: Laptop, **options: Any) -> AsyncIterator[None]:
    server = Server(laptop, **{"hub": address, "name": "laptop", "devices": True, **options})
    await asyncio.to_thread(server.run, threaded=True)
    try:
        yield
    finally:
        await asyncio.to_thread(server.close)
        laptop.ends.set()


@asynccontextmanager
async def device_of(address: str, **options: Any) -> AsyncIterator[Device]:
    device = Device(address, "thermometer", **options)
    running = asyncio.create_task(device.run())
    try:
        yield device
    finally:
        await end_task(running)


SCRIPT = """
import asyncio, json
from array import array
from snyper.shared.device import Device
from snyper.shared.service_call import RemoteError
def many():
    for number in range(40_000):
        yield number % 1000
async def main():
    hub = Device({address!r}, "thermometer")
    asyncio.create_task(hub.run())
    async def call(*args, **kwargs):
        try:
            print("answer", json.dumps(await hub.call("laptop", *args, **kwargs)))
        except (RemoteError, TypeError) as error:
            print("answer", json.dumps(str(error)))
    with open("raw.bin", "wb") as file:
        for _ in range(180):
            file.write(bytes(range(250)) * 4)
    await call("analyze", readings=[1, 2, 3])
    await call("analyze", readings=array("H", range(10_000)))
    await call("analyze", readings=many)
    await call("analyze", readings=open("raw.bin", "rb"))
    odd = [None, True, -7, 2.5, "\\u00fc\\"", [], {{}}, [[{{"a": [1]}}]], 1 << 60]
    await call("echo", *odd, name=1, service=2)
    await call("fail")
    await call("nothing")
    await call("scan")
    await call("echo", {{1}})
    await call("echo", {{1: 2}})
    print("answers are all")
asyncio.run(main())
"""


@pytest.mark.slow
@needs_micropython
@each_engine
async def test_a_board_calls_with_more_than_its_memory_holds(engine: str, tmp_path: Path) -> None:
    main = tmp_path / "main.py"
    async with hub_for(engine, tmp_path) as hub:
        main.write_text(SCRIPT.format(address=hub.address))
        async with serving(hub.address, Laptop()):
            board = BoardProcess(tmp_path / "board", "target", main=main)
            board.start()
            try:
                await until(lambda: "answers are all" in board.log or not board.is_on, "all answers")
            finally:
                board.kill()
    answers = [json.loads(line[7:]) for line in board.log.splitlines() if line.startswith("answer ")]
    assert answers == [
        {"kind": "list", "count": 3, "sum": 6},
        {"kind": "uint16", "count": 10_000, "sum": 49_995_000},
        {"kind": "list", "count": 40_000, "sum": 19_980_000},
        {"kind": "bytes", "count": 180_000, "sum": 22_410_000},
        [[None, True, -7, 2.5, 'ü"', [], {}, [[{"a": [1]}]], 1 << 60], {"name": 1, "service": 2}],
        "ValueError: no good: ü",
        "snyper.NotServed: Command 'nothing' is not registered.",
        "TypeError: scan gives many answers: a device takes one",
        "a set does not travel from a device",
        "a dict with the key 1 does not travel from a device",
    ], board.log


@needs_micropython
async def test_the_example_sends_180_kb_from_a_board(tmp_path: Path) -> None:
    laptop = Laptop()
    config = {"ssid": "snyper", "password": "simulated-range", "readings": 30_000}
    async with hub_for("cpython", tmp_path) as hub, serving(hub.address, laptop):
        board = BoardProcess(
            *(tmp_path / "board", "target", {**config, "hub": hub.address}),
            main=ROOT / "examples" / "offload" / "thermometer.py",
        )
        board.start()
        try:
            await asyncio.to_thread(wait_for_log, board, "thermometer: 3 are odd")  # the fields of its answer
        finally:
            board.kill()
    assert laptop.calls == 1


async def test_values_of_a_linux_device(tmp_path: Path) -> None:
    file = tmp_path / "raw.bin"
    file.write_bytes(bytes(range(256)) * 1000)
    async with (
        hub_for("cpython", tmp_path) as hub,
        serving(hub.address, Laptop()),
        device_of(hub.address) as device,
    ):
        with file.open("rb") as opened:
            found = await device.call("laptop", "analyze", readings=opened)
        assert found == {"kind": "bytes", "count": 256_000, "sum": 32_640_000}
        for code, kind in {
            "b": "int8",
            "H": "uint16",
            "i": "int32",
            "q": "int64",
            "d": "float64",
        }.items():
            found = await device.call("laptop", "analyze", readings=array(code, [1, 2, 3]))
            assert found == {"kind": kind, "count": 3, "sum": 6}, code
        assert await device.call("laptop", "analyze", array("H")) == {
            "kind": "uint16",
            "count": 0,
            "sum": 0,
        }
        sent = [float("inf"), 1e-7, 0.1, -(1 << 70), b"raw", bytearray(b"\0"), (1, "a")]
        (back, _) = await device.call("laptop", "echo", *sent)
        assert back == [float("inf"), 1e-7, 0.1, -(1 << 70), b"raw", b"\0", [1, "a"]]
        assert await device.call("laptop", "much", 10_000) == bytes(10_000)


async def test_an_answer_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    async with (
        hub_for("cpython", tmp_path) as hub,
        serving(hub.address, Laptop()),
        device_of(hub.address) as device,
    ):
        with pytest.raises(ProtocolError, match="line_too_long") as raised:
            await device.call("laptop", "much", MAX_ANSWER_BYTES + 1)
        assert raised.value.unknown_fate
        assert (await device.call("laptop", "echo"))[0] == []


async def test_a_lost_hub_costs_no_call_and_runs_none_twice() -> None:
    laptop = Laptop()
    with HubProcess() as hub:
        async with serving(hub.address, laptop), device_of(hub.address) as device:
            calling = asyncio.create_task(device.call("laptop", "work"))
            assert await asyncio.to_thread(laptop.began.wait, 30)
            hub.kill()
            laptop.ends.set()
            hub.start()
            assert await calling == 1
    assert laptop.calls == 1


async def test_a_service_that_began_anew_leaves_the_fate_unknown(tmp_path: Path) -> None:
    with HubProcess() as hub:
        async with device_of(hub.address) as device:
            first, second = Laptop(), Laptop()
            async with serving(hub.address, first):
                calling = asyncio.create_task(device.call("laptop", "work"))
                assert await asyncio.to_thread(first.began.wait, 30)
            async with serving(hub.address, second):
                with pytest.raises(ProtocolError) as raised:
                    await calling
                assert raised.value.unknown_fate
                assert second.calls == 0
                assert (await device.call("laptop", "echo", 1))[0] == [1]


def until_one_runs(address: str) -> None:
    """Wait until the service knows of one call alone."""
    client = Client(hub=address, name="laptop")
    try:
        wait_until(lambda: len(running(client)) == 1, "the other should be given up")
    finally:
        client.close()


async def test_a_call_that_is_given_up_never_begins(tmp_path: Path) -> None:
    laptop = Laptop()
    async with (
        hub_for("cpython", tmp_path) as hub,
        serving(hub.address, laptop),
        device_of(hub.address) as device,
    ):
        first = asyncio.create_task(device.call("laptop", "work"))
        assert await asyncio.to_thread(laptop.began.wait, 30)
        second = asyncio.create_task(device.call("laptop", "work"))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(second, 0.5)
        await asyncio.to_thread(until_one_runs, hub.address)
        laptop.ends.set()
        assert await first == 1
        assert (await device.call("laptop", "echo"))[0] == []
    assert laptop.calls == 1


async def test_nobody_there_is_said_once_patience_ends(tmp_path: Path) -> None:
    async with hub_for("cpython", tmp_path) as hub, device_of(hub.address) as device:
        device.patience_ms = 300
        with pytest.raises(ProtocolError, match="unknown_target") as raised:
            await device.call("laptop", "echo")
        assert not raised.value.unknown_fate
    async with device_of("127.0.0.1:1") as device:
        device.patience_ms = 300
        with pytest.raises(ProtocolError, match="no hub"):
            await device.call("laptop", "echo")


@asynccontextmanager
async def service_of(hub: HubUnderTest, name: str, **data: Any) -> AsyncIterator[Peer]:
    async with peer_of(hub) as service:
        await service.send(registration(name, role="service", **data))
        await service.expect("registered", target_id=name)
        yield service


@each_engine
async def test_devices_ask_those_services_alone_that_are_there_for_them(engine: str, tmp_path: Path) -> None:
    async with (
        hub_for(engine, tmp_path) as hub,
        scripted_target(hub, "t", groups=["left"]) as target,
        service_of(hub, "open", devices=True) as open_one,
        service_of(hub, "closed") as closed,
        service_of(hub, "odd", devices="yes"),
    ):
        for asks in (target, closed):
            for name in ("closed", "odd", "t"):
                assert (await asks.ask("add", name))["data"]["code"] == "unknown_type", name
            for name in ("nobody", "all", "group:left", "eve"):
                assert (await asks.ask("add", name))["data"]["code"] == "unknown_target", name
            assert (await asks.ask("add"))["data"]["code"] == "unknown_type"
            id = await asks.request("add", "open", numbers=[1, 2])
            asked = await open_one.expect("add", data={"numbers": [1, 2]})
            await open_one.send({"type": "reply", "id": asked["id"], "status": "ok", "data": {"sum": 3}})
            assert (await asks.expect("reply", id=id, status="ok"))["data"]["sum"] == 3
        assert not closed.ended
        assert await closed.ask("register") == {
            "type": "error",
            "id": f"r{closed.ids}",
            "status": "error",
            "data": {"code": "bad_message", "message": "already registered"},
        }


REGISTERED: Message = {"type": "registered", "id": 0, "status": "registered", "data": {"protocol": 1}}


class Liar(ServiceSession):
    """A service that answers each request with what `answer` makes of its number: a place in its stream, and
    bytes.
    """

    def __init__(self, hub: str, answer: Callable[[int], tuple[int, bytes]]) -> None:
        super().__init__(hub, "laptop", "", "a liar")
        self._answer = answer
        self._requests = 0
        self._handlers["exchange"] = self._on_exchange

    def about(self) -> str:
        return "lies"

    def registration(self) -> dict[str, object]:
        return {**super().registration(), "devices": True}

    async def _on_exchange(self, link: Link, message: SocketMessage) -> SocketMessage:
        at, piece = 0, b""
        if "begin" not in (message.data or {}):
            at, piece = self._answer(self._requests)
            self._requests += 1
        return SocketMessage("reply", message.id, None, "ok", {"at": at}, piece or None)


@asynccontextmanager
async def lied_to(hub: HubUnderTest, answer: Callable[[int], tuple[int, bytes]]) -> AsyncIterator[Device]:
    """Give a device whose calls a Liar answers."""
    liar = Liar(hub.address, answer)
    lying = asyncio.create_task(liar.run())
    try:
        await until(lambda: liar.link is not None, "the service should register")
        async with device_of(hub.address) as device:
            yield device
    finally:
        await end_task(lying)


def in_order(*messages: Message) -> Callable[[int], tuple[int, bytes]]:
    """Make what answers with these messages, one for each request."""
    pieces = [json.dumps(message).encode() + b"\n" for message in messages]

    def answer(number: int) -> tuple[int, bytes]:
        return sum(map(len, pieces[:number])), pieces[number] if number < len(pieces) else b""

    return answer


async def test_bytes_that_belong_nowhere_take_no_memory(tmp_path: Path) -> None:
    answered = 0

    def answer(number: int) -> tuple[int, bytes]:
        nonlocal answered
        answered += 1
        return 100_000 + 1_000 * number, b"x" * 1_000

    async with hub_for("cpython", tmp_path) as hub, lied_to(hub, answer) as device:
        with pytest.raises(ProtocolError, match="belong nowhere"):
            await device.call("laptop", "analyze")
    assert answered < 10


async def test_a_service_that_answers_at_once_with_nothing_is_not_asked_without_end(tmp_path: Path) -> None:
    answered = 0

    def answer(number: int) -> tuple[int, bytes]:
        nonlocal answered
        answered += 1
        return 0, b""

    async with hub_for("cpython", tmp_path) as hub, lied_to(hub, answer) as device:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(device.call("laptop", "analyze"), 1)
    assert answered < 100


async def test_progress_that_is_none_is_not_told(tmp_path: Path) -> None:
    told: list[float] = []
    odd = [{"done": "\x1b[2J"}, {"done": [1]}, {"done": True}, {}, {"done": 0.5}]
    items = [{"type": "item", "id": 1, "status": "progress", "data": data} for data in odd]
    end: Message = {"type": "reply", "id": 1, "status": "returned", "data": {"value": 7}}
    answer = in_order(REGISTERED, *items, end)
    async with hub_for("cpython", tmp_path) as hub, lied_to(hub, answer) as device:
        device.on_progress = told.append
        assert await device.call("laptop", "analyze") == 7
    assert told == [0.5]


@pytest.mark.parametrize(
    ("data", "body"),
    [
        ({}, b""),
        ({"value": {"$": []}}, b""),
        ({"value": {"$": {"a": 1}}}, b""),
        ({"value": {"$": ["bytes", "x"]}}, b""),
        ({"body": "value", "json_bytes": "x"}, b"[1,[]]"),
        ({"body": "value", "json_bytes": 14_005}, b"[" + b"[" * 7_000 + b"]" * 7_000 + b",[]]"),
    ],
)
def test_an_answer_that_is_none_is_an_error_of_the_wire(data: dict[str, object], body: bytes) -> None:
    with pytest.raises(ProtocolError, match="the answer is none"):
        service_call._value_of(SocketMessage("reply", 1, None, "returned", data, body))


async def test_a_refusal_is_no_exception_of_the_link(tmp_path: Path) -> None:
    async with hub_for("cpython", tmp_path) as hub:
        async with serving(hub.address, Laptop(), devices=False), device_of(hub.address) as device:
            with pytest.raises(ProtocolError, match="unknown_type: laptop answers consoles alone"):
                await device.call("laptop", "echo")
        async with (
            serving(hub.address, Laptop(), secret="a secret of some length"),
            device_of(hub.address) as device,
        ):
            with pytest.raises(ProtocolError, match="secret"):
                await device.call("laptop", "echo")
        async with serving(hub.address, Laptop()), device_of(hub.address) as device:
            with pytest.raises(RemoteError, match="missing 1 required positional argument"):
                await device.call("laptop", "analyze")
