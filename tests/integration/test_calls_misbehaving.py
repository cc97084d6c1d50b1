"""Functions that do what they should not: they cost their caller a call, and nobody else anything."""

import _thread
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snyper.services.client import Client
from snyper.services.context import deadline
from snyper.services.remote_exceptions import CallError, OutcomeUnknown, RemoteError, StreamLost
from tests.integration.calls_harness import HOST, served
from tests.integration.harness import linux_only, open_files, wait_until
from tools.loopback import free_port


class FatalError(BaseException):
    pass


class Instrument:
    """Whose driver does all that one can."""

    def __init__(self) -> None:
        self.ends = threading.Event()

    def raise_it(self, name: str) -> None:
        raise {"FatalError": FatalError, "KeyboardInterrupt": KeyboardInterrupt}.get(name, GeneratorExit)(
            "no"
        )

    def exit(self) -> None:
        sys.exit(3)

    def exit_thread(self) -> None:
        _thread.exit()

    def be_killed(self) -> None:
        """Have another thread raise SystemExit in this one."""
        thread = ctypes.c_ulong(threading.get_ident())
        raised = ctypes.py_object(SystemExit)
        threading.Timer(0.01, ctypes.pythonapi.PyThreadState_SetAsyncExc, (thread, raised)).start()
        while True:
            time.sleep(0.001)

    def untold(self) -> Any:
        return {"readings": [1, object()]}

    def too_deep(self) -> Any:
        found: list[Any] = []
        for _ in range(10_000):
            found = [found]
        return found

    def hang(self) -> None:
        self.ends.wait(60)

    def items(self) -> Iterator[int]:
        yield 1
        self.ends.wait(60)

    def close_standard_streams(self) -> None:
        for descriptor in (0, 1, 2):
            os.close(descriptor)

    def identity(self) -> str:
        return "I-1"


@pytest.mark.parametrize(
    ("call", "arguments", "raised"),
    [
        ("raise_it", ("FatalError",), "FatalError: no"),
        ("raise_it", ("KeyboardInterrupt",), "KeyboardInterrupt: no"),
        ("raise_it", ("GeneratorExit",), "GeneratorExit: no"),
        ("exit", (), "SystemExit: 3"),
        ("exit_thread", (), "SystemExit"),
        ("be_killed", (), "SystemExit"),
        ("untold", (), r'value\["readings"\]\[1\]: an object does not travel'),
        ("too_deep", (), "deep"),
    ],
)
def test_what_it_does_is_said_to_its_caller_alone(call: str, arguments: tuple[str, ...], raised: str) -> None:
    instrument = Instrument()
    with (
        served(instrument) as server,
        Client(address=HOST, port=server.port) as c,
        Client(address=HOST, port=server.port) as other,
    ):
        assert other.identity() == "I-1"
        with pytest.raises((RemoteError, TypeError, ValueError), match=raised):
            c.call(call, *arguments)
        assert c.identity() == other.identity() == "I-1"


def test_what_hangs_has_its_own_instance_and_no_other() -> None:
    one, two = Instrument(), Instrument()
    with served((one, "one_"), (two, "two_")) as server, Client(address=HOST, port=server.port) as c:
        for _ in range(3):
            with deadline(0.05), pytest.raises(OutcomeUnknown):
                c.one_hang()
            assert c.two_identity() == "I-1"
        one.ends.set()
        assert c.one_identity() == "I-1"


def test_a_generator_that_hangs() -> None:
    one, two = Instrument(), Instrument()
    with served((one, "one_"), (two, "two_")) as server, Client(address=HOST, port=server.port) as c:
        items = c.one_items()
        assert next(items) == 1
        with deadline(0.05), pytest.raises(StreamLost):
            next(items)
        assert c.two_identity() == "I-1"
        one.ends.set()
        assert c.one_identity() == "I-1"


PROGRAM = """
import ctypes, os, sys, time
from snyper import Server

class Instrument:
    def fork(self):
        return os.fork()
    def fork_to_stay(self):
        child = os.fork()
        if child:
            return child
        time.sleep(60)
    def points(self):
        yield os.fork()
        yield os.getpid()
    def close_all(self):
        os.closerange(3, 1_000)
    def close_streams(self):
        for descriptor in (0, 1, 2):
            os.close(descriptor)
    def end_thread(self):
        ctypes.CDLL(None).pthread_exit(None)
    def pid(self):
        return os.getpid()

Server((Instrument(), "one_"), (Instrument(), "two_"), address="127.0.0.1", port=int(sys.argv[1])).run()
"""


@contextlib.contextmanager
def instruments(port: int) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            yield server
        finally:
            server.kill()


@linux_only
def test_what_it_forks_serves_nobody() -> None:
    port = free_port()
    with instruments(port) as server, Client(address=HOST, port=port) as c:
        children = [c.one_fork() for _ in range(3)]
        first, second = c.one_points()
        assert second == server.pid
        for child in (*children, first):
            assert child > 0
            while is_running(child):  # it ends where the function returns
                time.sleep(0.001)
        assert [c.one_pid() for _ in range(50)] == [server.pid] * 50


@linux_only
def test_what_it_forks_keeps_no_port_and_no_connection() -> None:
    port = free_port()
    with Client(address=HOST, port=port) as c:
        with instruments(port) as server:
            child = c.one_fork_to_stay()
            wait_until(lambda: not sockets_of(child), "it should close what is its parent's")
            server.kill()
            server.wait()
        try:
            with instruments(port) as server:
                assert c.one_pid() == server.pid
        finally:
            os.kill(child, signal.SIGKILL)


@linux_only
def test_standard_streams_that_it_closes_stop_no_call() -> None:
    port = free_port()
    with instruments(port) as server, Client(address=HOST, port=port) as c:
        c.one_close_streams()
        with Client(address=HOST, port=port) as another:
            assert another.one_pid() == c.one_pid() == server.pid


@linux_only
def test_a_thread_that_it_ends_takes_its_instance_and_no_other() -> None:
    port = free_port()
    with instruments(port) as server, Client(address=HOST, port=port) as c:
        assert c.two_pid() == server.pid
        with deadline(0.1), pytest.raises(OutcomeUnknown):
            c.one_end_thread()
        assert c.two_pid() == server.pid


@linux_only
def test_a_server_whose_sockets_it_has_closed_ends() -> None:
    port = free_port()
    with instruments(port) as server, Client(address=HOST, port=port) as c:
        assert c.one_pid() == server.pid
        with deadline(1.0), pytest.raises(CallError):
            c.one_close_all()
        server.wait(30)


def sockets_of(pid: int) -> list[str]:
    """Return the sockets that a process has open."""
    return [name for name in open_files(pid) if "socket" in name]


def is_running(pid: int) -> bool:
    """Tell whether a process is there, and has not ended unnoticed by its parent."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
