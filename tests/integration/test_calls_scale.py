"""Many clients, long calls and large answers."""

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from snyper.services import async_connection, client_connection, connection, desk, engine
from snyper.services.async_client import AsyncClient
from snyper.services.client import Client, caller_of
from snyper.services.locks import lock
from snyper.services.watches import watch
from snyper.system.process import raise_descriptor_limit
from tests.integration.calls_harness import HOST, served
from tests.integration.harness import at_length, linux_only
from tools.bench.processes import cpu_seconds
from tools.loopback import free_port

CLIENTS, PROCESSES, CALLS = 50, 5, 20
CALLERS = """
import json, sys, threading
from snyper import Client

port, first, clients, calls = map(int, sys.argv[1:])
wrong, ended = [], []

def call(number):
    with Client(address="127.0.0.1", port=port) as c:
        for at in range(calls):
            if c.step(number, at) != [number, at, number * at]:
                wrong.append((number, at))
    ended.append(number)

threads = [threading.Thread(target=call, args=(first + number,)) for number in range(clients)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps([wrong, sorted(ended)]))
"""


class Stage:
    """A device that does one thing at a time, or breaks."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.steps: Counter[int] = Counter()

    def step(self, client: int, at: int) -> list[int]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        if at % 10 == 5:
            time.sleep(0.006)  # longer than the thread that reads is left with it
        self.steps[client] += 1
        self.inside -= 1
        return [client, at, client * at]


def test_fifty_clients_of_one_instance() -> None:
    stage = Stage()
    with served(stage) as server, contextlib.ExitStack() as stack:
        each = CLIENTS // PROCESSES
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", CALLERS, *map(str, (server.port, first, each, CALLS))],
                    stdout=subprocess.PIPE,
                )
            )
            for first in range(0, CLIENTS, each)
        ]
        said = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert [wrong for wrong, _ in said] == [[]] * PROCESSES
    assert sorted(client for _, ended in said for client in ended) == list(range(CLIENTS))
    assert stage.steps == Counter(dict.fromkeys(range(CLIENTS), CALLS))
    assert stage.most == 1


@contextlib.contextmanager
def serving(program: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """Run a program that serves, until it has said how it is reached, and to the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-u", "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert any(line.startswith("Auxiliary calls") for line in process.stdout)
            yield process
        finally:
            process.kill()


IDLE, ASKED = 1_000, 400
METER = """
import sys
from snyper import Server
from snyper.system.process import raise_descriptor_limit

def read_voltage(samples=1):
    return samples / 4

raise_descriptor_limit(1_100)
Server(read_voltage, address="127.0.0.1", port=int(sys.argv[1])).run()
"""


@pytest.mark.slow
@linux_only
def test_a_thousand_idle_clients_cost_next_to_nothing() -> None:
    if raise_descriptor_limit(IDLE + 100) < IDLE + 100:
        pytest.skip("this system allows too few open files")
    port = free_port()
    with (
        serving(METER, port) as server,
        Client(address=HOST, port=port) as c,
        contextlib.ExitStack() as stack,
    ):

        def cpu_of_calls() -> float:
            """Return the server's CPU time for some calls: the least of several, as others share the CPU."""
            found = []
            for _ in range(5):
                before_s = cpu_seconds(server.pid)
                for _ in range(ASKED):
                    assert c.read_voltage(8) == 2.0
                found.append(cpu_seconds(server.pid) - before_s)
            return min(found)

        alone_s = cpu_of_calls()
        for _ in range(IDLE):
            idle = stack.enter_context(Client(address=HOST, port=port))
            assert idle.read_voltage() == 0.25
        assert cpu_of_calls() < 1.6 * alone_s
        before_s, began_s = cpu_seconds(server.pid), time.monotonic()
        turns = wake_ups(server.pid)
        time.sleep(3)  # in which nothing is to happen
        elapsed_s = time.monotonic() - began_s
        assert wake_ups(server.pid) - turns < 20 * elapsed_s  # it looks around once a second
        assert cpu_seconds(server.pid) - before_s < 0.02 * elapsed_s


def wake_ups(pid: int) -> int:
    """Return how often the threads of a process have gone to sleep so far."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    lines = [line for task in tasks for line in (task / "status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


# More than a sign of life or an answer to who dials is waited for. The promise is of 20.
HELD_S = at_length(20, 6)
CAMERA = """
import ctypes, sys
from snyper import Server

class Camera:
    def hold(self, seconds):
        print("holding")
        ctypes.PyDLL(None).sleep(seconds)
        return "held"

class Stage:
    reads = 0
    @property
    def level(self):
        self.reads += 1
        return self.reads
    def step(self, number):
        return number

class Tape:
    def play(self):
        yield from range(100)

items = (Camera(), "camera_"), (Stage(), "stage_"), (Tape(), "tape_")
Server(*items, address="127.0.0.1", port=int(sys.argv[1])).run()
"""


@pytest.mark.long
@linux_only
def test_a_call_that_holds_the_interpreter_lock_ends_well() -> None:
    port = free_port()
    outcome: list[object] = []
    with (
        serving(CAMERA, port) as server,
        Client(address=HOST, port=port) as c,
        Client(address=HOST, port=port) as other,
        Client(address=HOST, port=port) as idle,
        watch(other, "stage_level", every=0.05) as levels,
        asyncio.Runner() as runner,
    ):

        def hold() -> None:
            with lock(c, "camera_", lease=1):  # no renewal is heard meanwhile
                outcome.append(c.camera_hold(HELD_S))

        a = AsyncClient(address=HOST, port=port)
        items = runner.run(a.call("tape_play"))
        assert runner.run(anext(items)) == 0
        assert idle.stage_step(1) == 1
        assert next(levels) >= 1  # a slow one gets the newest
        holder = threading.Thread(target=hold)
        holder.start()
        assert server.stdout is not None
        assert any(line == "holding\n" for line in server.stdout)
        for last in (caller_of(idle)._connection, a._snyper._connection):
            assert last is not None
            last._core.received_us -= (
                60_000_000  # so that it asks for a sign of life, or dials for want of one
            )
        assert runner.run(a.call("stage_step", 2)) == 2
        assert idle.stage_step(3) == 3
        assert other.stage_step(4) == 4
        before = next(levels)
        assert next(levels) > before
        holder.join(60)
        with lock(c, "camera_", lease=0.5):
            assert c.camera_hold(1) == "held"
        assert runner.run(_rest_of(items)) == list(range(1, 100))
        runner.run(a.close())
    assert outcome == ["held"]


async def _rest_of(items: AsyncIterator[object]) -> list[object]:
    return [item async for item in items]


def test_a_call_that_outlasts_every_limit_ends_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of ten minutes does: all that there is a limit for is shortened to a part of it."""
    monkeypatch.setattr(desk, "KEEP_S", 0.05)
    monkeypatch.setattr(connection, "HANDSHAKE_S", 0.05)
    monkeypatch.setattr(engine, "_TICK_S", 0.01)
    for module in (client_connection, async_connection):
        monkeypatch.setattr(module, "_IDLE_US", 50_000)

    def cool(seconds: float) -> str:
        time.sleep(seconds)
        return "cold"

    def warm() -> str:
        return "warm"

    async def at_once(port: int) -> str:
        found: str = await AsyncClient(address=HOST, port=port).call("cool", 1.0)
        return found

    with served(cool, (warm, "warm"), urgent="warm") as server, Client(address=HOST, port=server.port) as c:
        assert c.cool(1.0) == "cold"
        assert asyncio.run(at_once(server.port)) == "cold"
        assert c.warm() == "warm"


LARGE_BYTES = at_length(1 << 30, 1 << 28)  # the promise is of 1 GiB
SPARE_BYTES = 64 << 20
PEAK = "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024"
CAMERAS = f"""
import resource, sys
from snyper import Server

class Camera:
    def take(self, size):
        return bytearray(size)

class Stage:
    def step(self, number):
        return number

def peak():
    return {PEAK}

items = Camera(), Stage(), peak
Server(*items, address="127.0.0.1", port=int(sys.argv[1]), urgent="peak").run()
"""
TAKER = f"""
import resource, sys
from snyper import Client

c = Client(address="127.0.0.1", port=int(sys.argv[1]))
c.step(1)
before = {PEAK}
assert len(c.take(int(sys.argv[2]))) == int(sys.argv[2])
print({PEAK} - before)
"""


@pytest.mark.long
@linux_only
def test_a_large_answer_takes_what_it_has_to_and_others_are_served() -> None:
    port = free_port()
    size = LARGE_BYTES - 1_000  # at the limit there is what describes it, too
    with serving(CAMERAS, port), Client(address=HOST, port=port) as c:
        assert c.step(1) == 1
        before = c.peak()
        with subprocess.Popen(
            [sys.executable, "-c", TAKER, str(port), str(size)], stdout=subprocess.PIPE
        ) as taker:
            steps = 0
            while taker.poll() is None:
                steps += 1
                assert c.step(steps) == steps
            assert taker.stdout is not None
            client = int(taker.stdout.read())
        # The server has the function's and its own copy, the client what came and the value.
        assert c.peak() - before < 2 * size + SPARE_BYTES
        assert client < 2 * size + SPARE_BYTES
        assert steps > 100


def test_an_answer_above_the_limit_is_refused() -> None:
    limit = r"1,073,741,8\d\d bytes: at most 1,073,741,824 travel"
    with (
        served((lambda: bytes(1 << 30), "take"), (abs, "abs")) as server,
        Client(address=HOST, port=server.port) as c,
    ):
        with pytest.raises(ValueError, match=limit) as error:
            c.take()
        assert error.value.remote  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match=limit):
            c.abs(bytes(1 << 30))
        assert c.abs(-3) == 3
