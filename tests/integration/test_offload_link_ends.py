"""Work over the link that has no worker yet: too much of it, its caller gone, its server ending."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from snyper.boards.board import BoardProcess
from snyper.services import Busy, Client, close
from snyper.shared.device import Device
from snyper.shared.runtime import end_task
from snyper.shared.service_call import RemoteError
from tests.integration.calls_harness import HubProcess
from tests.integration.gateway_harness import Serve
from tests.integration.harness import HOST, needs_micropython, until, wait_for_log, wait_until
from tools.impaired_link import ImpairedLink

CALL = """
import sys
from snyper import Client
print(Client(hub=sys.argv[1], name=sys.argv[2]).far([int(sys.argv[3])]), flush=True)
"""
StartCaller = Callable[..., "subprocess.Popen[str]"]
BOARD = """
import asyncio
from snyper.shared.device import Device
from snyper.shared.service_call import RemoteError
async def main():
    hub = Device({address!r}, "board")
    asyncio.create_task(hub.run())
    try:
        await hub.call("laptop", "far", [4])
    except RemoteError as error:
        print("board:", error.type_name, error.retry_after_s)
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    with HubProcess() as running:
        yield running


def serve_at(hub: HubProcess, name: str, directory: Path, *limits: str) -> Serve:
    given = (f"--limit={limit}" for limit in limits)
    return Serve(directory, "--hub", hub.address, "--name", name, *given)


@pytest.fixture(scope="module")
def server(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    serve = serve_at(hub, "laptop", tmp_path_factory.mktemp("serve"), "places=3", "hold_s=1", "return_s=1")
    yield serve
    assert serve.end() == 0


CALL_S = 60.0


class Callers:
    """Callers of `far`, each with a client of its own in a thread."""

    def __init__(self, hub: HubProcess) -> None:
        self.name = "laptop"
        self._hub = hub
        self._threads = ThreadPoolExecutor(8)
        self._clients: list[Any] = []

    def call(self, number: int, hub: str = "") -> "Future[Any]":
        # With a deadline: where a test fails nobody serves any more, and it would be dialled for ever.
        client = Client(hub=hub or self._hub.address, name=self.name, timeout=CALL_S)
        self._clients.append(client)
        return self._threads.submit(client.call, "far", [number])

    def close(self) -> None:
        for client in self._clients:
            close(client)
        self._threads.shutdown()


@pytest.fixture
def callers(hub: HubProcess) -> Iterator[Callers]:
    made = Callers(hub)
    yield made
    made.close()


def until_health(server: Serve, busy: int, waiting: int) -> None:
    def is_so() -> bool:
        found = httpx.get(server.url + "/health").json()
        return (found["busy"], found["waiting"]) == (busy, waiting)

    wait_until(is_so, f"{busy} at work and {waiting} waiting")


@pytest.fixture
def start_caller(hub: HubProcess) -> Iterator[StartCaller]:
    """Start processes that call `far`, none of which outlives its test."""
    started: list[subprocess.Popen[str]] = []

    def start(number: int, name: str = "laptop") -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", CALL, hub.address, name, str(number)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        with process:
            pass


def said_by(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.read()


@needs_micropython
async def test_who_finds_no_place_is_busy_and_told_when_to_come_again(
    hub: HubProcess, server: Serve, callers: Callers, tmp_path: Path
) -> None:
    device = Device(hub.address, "thermometer")
    running = asyncio.create_task(device.run())
    main = tmp_path / "main.py"
    main.write_text(BOARD.format(address=hub.address))
    board = BoardProcess(tmp_path / "board", "target", main=main)
    before = server.calls("far")
    try:
        with server.held("far"):
            calls = [callers.call(number) for number in range(3)]
            await asyncio.to_thread(until_health, server, 2, 1)
            with pytest.raises(Busy) as caught:
                await asyncio.to_thread(callers.call(3).result)
            assert (caught.value.retry_after_s, caught.value.remote) == (1.0, True)
            with pytest.raises(
                RemoteError, match=r"^snyper\.Busy: busy: too much is being worked on"
            ) as told:
                await device.call("laptop", "far", [4])
            assert told.value.retry_after_s == 1
            board.start()
            await asyncio.to_thread(wait_for_log, board, "board: snyper.Busy 1.0")
        assert [call.result() for call in calls] == [[0], [1], [2]]
    finally:
        board.kill()
        await end_task(running)
    assert server.calls("far") == before + 3
    await asyncio.to_thread(server.until_clean)


def test_queued_work_of_a_killed_caller_never_starts(
    server: Serve, callers: Callers, start_caller: StartCaller
) -> None:
    before = server.calls("far")
    with server.held("far"):
        running = [start_caller(0), start_caller(1)]
        until_health(server, 2, 0)
        queued = start_caller(2)
        until_health(server, 2, 1)
        queued.kill()
        running[0].kill()  # what has begun goes on
        until_health(server, 2, 0)
    assert said_by(running[1]) == "[1]\n"
    assert callers.call(3).result() == [3]
    assert server.calls("far") == before + 3
    server.until_clean()


async def test_queued_work_is_done_once_for_a_caller_who_was_away(
    hub: HubProcess, server: Serve, callers: Callers
) -> None:
    before = server.calls("far")
    async with ImpairedLink(int(hub.address.rpartition(":")[2])) as link:
        with server.held("far"):
            calls = [callers.call(0), callers.call(1)]
            await asyncio.to_thread(until_health, server, 2, 0)
            away = callers.call(2, f"{HOST}:{link.port}")
            await asyncio.to_thread(until_health, server, 2, 1)
            connections = link.connections
            link.cut()
            await until(lambda: link.connections > connections, "it is back")
            link.is_refusing = True
            link.cut()
            await asyncio.to_thread(until_health, server, 2, 0)
            link.is_refusing = False
            await asyncio.to_thread(until_health, server, 2, 1)
        assert [await asyncio.wrap_future(call) for call in (*calls, away)] == [[0], [1], [2]]
    assert server.calls("far") == before + 3


async def test_a_server_that_ends_lets_calls_end_and_begins_none(
    hub: HubProcess, callers: Callers, tmp_path: Path
) -> None:
    callers.name = "other"
    serve = await asyncio.to_thread(serve_at, hub, "other", tmp_path, "places=3")
    device = Device(hub.address, "thermometer")
    running = asyncio.create_task(device.run())
    try:
        with serve:
            with serve.held("far"):
                first = callers.call(0)
                second = asyncio.create_task(device.call("other", "far", [1]))
                await asyncio.to_thread(until_health, serve, 2, 0)
                queued = callers.call(2)
                await asyncio.to_thread(until_health, serve, 2, 1)
                without_place = callers.call(3)
                await asyncio.to_thread(until_health, serve, 2, 2)
                serve.process.process.send_signal(signal.SIGTERM)
                for refused in (queued, without_place):
                    with pytest.raises(Busy, match="come again"):
                        await asyncio.wrap_future(refused)
                with pytest.raises(Busy, match="this server is ending: call again later, or another one"):
                    await asyncio.wrap_future(callers.call(4))
                assert not any(call.done() for call in (first, second))
            assert await asyncio.wrap_future(first) == [0]
            assert await second == [1]
            assert await asyncio.to_thread(serve.end) == 0
    finally:
        await end_task(running)
    assert serve.calls("far") == 2
    assert serve.files() == []


@pytest.mark.slow
def test_a_server_that_ends_waits_no_longer_than_its_limit(
    hub: HubProcess, start_caller: StartCaller, tmp_path: Path
) -> None:
    with serve_at(hub, "other", tmp_path, "drain_s=1") as serve, serve.held("far"):
        start_caller(0, "other")
        until_health(serve, 1, 0)
        assert serve.end() == 0
    assert serve.files() == []
