"""A server that is started anew at any moment of a call: side effects are counted, each at most once."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snyper.services.async_client import AsyncClient
from snyper.services.client import Client, running
from snyper.services.remote_exceptions import CallError, OutcomeUnknown
from snyper.services.server import Server
from tests.integration.calls_harness import HOST, CuttingRelay, each_secret, served
from tests.integration.harness import linux_only, wait_until
from tools.loopback import free_port


class RestartingRelay(CuttingRelay):
    """Starts the server anew where it cuts."""

    def __init__(self, port: int, restart: Callable[[], None]) -> None:
        super().__init__(port)
        self._restart = restart

    def on_cut(self) -> None:
        self._restart()


def append(port: int, secret: str | None, number: int) -> None:
    with Client(address=HOST, port=port, secret=secret) as c:
        c.append(number)


def append_async(port: int, secret: str | None, number: int) -> None:
    async def call() -> None:
        async with AsyncClient(address=HOST, port=port, secret=secret) as c:
            await c.call("append", number)

    asyncio.run(call())


@each_secret
@pytest.mark.parametrize("from_server", [False, True])
@pytest.mark.parametrize("call", [append, append_async])
def test_a_restart_after_any_byte_of_a_call(
    call: Callable[[int, str | None, int], None], secret: str | None, from_server: bool
) -> None:
    done: list[int] = []
    servers: list[Server] = []
    port = free_port()

    def restart() -> None:
        for server in servers[-1:]:
            server.close()
        servers.append(Server(done.append, address=HOST, port=port, secret=secret))
        servers[-1].run(threaded=True)

    restart()
    relay = RestartingRelay(port, restart)
    returned, unknown, after = [], [], 0
    relay.has_cut = True
    while relay.has_cut:  # until it says all that there is in fewer bytes
        relay.has_cut = False
        relay.cut = (from_server, after)
        try:
            call(relay.port, secret, after)
            returned.append(after)
        except OutcomeUnknown:
            unknown.append(after)
        after += 5 if secret is None else 61
    relay.close()
    servers[-1].close()
    assert len(servers) > 10
    assert returned
    assert unknown
    assert done == sorted(set(done))
    assert set(returned) <= set(done) <= {*returned, *unknown}


PROGRAM = """
import os, pathlib, sys, time
from snyper import Server

folder = pathlib.Path(sys.argv[2])

class Shutter:
    def open(self, number):
        with (folder / "opened").open("a") as log:
            log.write(f"{number}\\n")
        while (folder / "slow").exists():
            time.sleep(0.001)
        return bytes(20_000_000) if (folder / "large").exists() else number

Server(Shutter(), address="127.0.0.1", port=int(sys.argv[1])).run()
"""


class Shutters:
    """A server in a process of its own, which can be killed; a folder has what it did and is to do."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-c", PROGRAM, str(self.port), str(self._folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def opened(self) -> list[int]:
        log = self._folder / "opened"
        return [int(number) for number in log.read_text().split()] if log.exists() else []

    def set(self, name: str, is_set: bool = True) -> None:
        path = self._folder / name
        path.touch() if is_set else path.unlink(missing_ok=True)


@pytest.fixture
def shutters(tmp_path: Path) -> Iterator[Shutters]:
    found = Shutters(tmp_path)
    yield found
    found.kill()


@contextlib.contextmanager
def opening(port: int, number: int) -> Iterator[list[object]]:
    """Have a client open the shutter; give what comes of it once the block has ended."""
    outcome: list[object] = []

    def call() -> None:
        with Client(address=HOST, port=port) as c:
            try:
                outcome.append(c.open(number))
            except CallError as error:
                outcome.append(type(error))

    caller = threading.Thread(target=call)
    caller.start()
    yield outcome
    caller.join(30)
    assert not caller.is_alive()


def test_killed_before_a_call(shutters: Shutters) -> None:
    shutters.start()
    with Client(address=HOST, port=shutters.port) as c:
        assert c.open(1) == 1
        shutters.kill()
        with opening(shutters.port, 2) as other:
            shutters.start()
        assert c.open(3) == 3
    assert other == [2]
    assert sorted(shutters.opened()) == [1, 2, 3]


def test_killed_while_a_call_runs_and_others_wait(shutters: Shutters) -> None:
    shutters.set("slow")
    shutters.start()
    with contextlib.ExitStack() as stack:
        outcomes = [stack.enter_context(opening(shutters.port, 1))]
        wait_until(lambda: shutters.opened() == [1], "it should run")
        outcomes += [stack.enter_context(opening(shutters.port, number)) for number in range(2, 6)]
        with Client(address=HOST, port=shutters.port) as c:
            wait_until(lambda: len(running(c)) == 5, "they should wait")
        shutters.kill()
        shutters.set("slow", False)
        shutters.start()
    assert outcomes == [[OutcomeUnknown]] * 5  # sent, and nobody is there who knew
    assert shutters.opened() == [1]


@linux_only
def test_killed_while_it_answers(shutters: Shutters) -> None:
    """A relay that has passed a part of a large answer on has the server killed."""
    shutters.set("large")
    shutters.start()

    def restart() -> None:
        shutters.kill()
        shutters.start()

    with Client(address=HOST, port=shutters.port) as c:
        c.open(1)  # it is there
    relay = RestartingRelay(shutters.port, restart)
    relay.cut = (True, 5_000_000)
    with opening(relay.port, 2) as outcome:
        pass
    relay.close()
    assert outcome == [OutcomeUnknown]
    assert shutters.opened() == [1, 2]


@linux_only
def test_stopped_while_a_call_runs_and_woken(shutters: Shutters) -> None:
    """As a computer that sleeps: nothing is lost, and nothing done twice."""
    shutters.set("slow")
    shutters.start()
    with opening(shutters.port, 1) as first:
        wait_until(lambda: shutters.opened() == [1], "it should run")
        shutters.signal(signal.SIGSTOP)
        with opening(shutters.port, 2) as second:
            shutters.set("slow", False)
            shutters.signal(signal.SIGCONT)
    assert (first, second) == ([1], [2])
    assert shutters.opened() == [1, 2]


def test_servers_that_have_ended_leave_no_thread() -> None:
    def ours() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "snyper"]

    before = len(ours())
    for after_ms in range(20):
        with served(abs) as server, Client(address=HOST, port=server.port) as c:
            assert c.abs(-3) == 3
            time.sleep(after_ms / 1000)  # so that the watcher is anywhere in its turn
    wait_until(lambda: len(ours()) <= before, "the threads of servers should end")


def test_a_client_is_closed_while_a_call_of_it_waits_for_a_server(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    client: Any = Client(port=port)
    found: list[object] = []
    calling = threading.Thread(target=lambda: found.append(client.give(3)))
    calling.start()
    wait_until(lambda: "waiting" in caplog.text, "it should wait for a server")
    closing = threading.Thread(target=client.close)
    closing.start()
    closing.join(30)
    assert not closing.is_alive()

    def give(value: int) -> int:
        return value

    with Server(give, port=port):
        calling.join(30)
    assert found == [3]
