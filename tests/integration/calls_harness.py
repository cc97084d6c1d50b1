"""What the tests of calls share: devices, servers in threads of this process, a relay that cuts."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import numpy
import pytest

from snyper.services.async_client import AsyncClient
from snyper.services.client import Client
from snyper.services.context import cancelled
from snyper.services.remote_exceptions import CallError
from snyper.services.server import Server
from tests.integration.harness import at_length
from tests.integration.stopwatch import Stopwatch
from tools.loopback import free_port

HOST = "127.0.0.1"
# Bytes from one cut of a connection under TLS to the next that is tried: each takes a handshake.
CUT_STEP = at_length(1, 29)
each_secret = pytest.mark.parametrize("secret", [None, "a secret of some length"])


class Powermeter:
    """A powermeter of the laboratory."""

    def __init__(self, identity: str = "PM-1") -> None:
        self._identity = identity
        self._range = 1
        self.reads = 0

    @property
    def identity(self) -> str:
        """The device's identity."""
        return self._identity

    @property
    def range(self) -> int:
        """The sensitivity."""
        return self._range

    @range.setter
    def range(self, value: int) -> None:
        if not 0 < value < 6:
            raise ValueError(f"range {value} is not 1 to 5")
        self._range = value

    def read_voltage(self, samples: int = 1) -> float:
        """Measure the voltage."""
        self.reads += 1
        return samples / 4


class Bath:
    """A device whose cooling takes long."""

    def __init__(self) -> None:
        self.began, self.ends = threading.Event(), threading.Event()
        self.was_cancelled: bool | None = None
        self.cooled = 0

    def cool(self) -> str:
        self.began.set()
        assert self.ends.wait(30)
        self.was_cancelled = cancelled()
        self.cooled += 1
        return "cold"

    def temperature(self) -> float:
        return 4.2

    def abort(self) -> str:
        self.ends.set()
        return "aborted"


class Scanner:
    """A device that scans: `made` are its items, `ends` why each scan has ended."""

    def __init__(self) -> None:
        self.made = 0
        self.ends: list[str] = []
        self.ended = threading.Event()
        self.step = threading.Semaphore(0)
        self.begun: list[object] = []

    def scan(
        self, count: int = 1 << 60, size: int = 0, waits: bool = False, label: object = None
    ) -> Generator[object, None, int]:
        """Scan so many points."""
        self.begun.append(label)
        try:
            for at in range(count):
                if waits:
                    assert self.step.acquire(timeout=30)
                self.made += 1
                yield at if not size else numpy.full(size, at % 256, "u1")
        except BaseException as error:
            self.ends.append(f"{type(error).__name__}, {'cancelled' if cancelled() else 'not cancelled'}")
            raise
        else:
            self.ends.append("the end")
        finally:
            self.ended.set()
        return count

    def fail(self) -> Iterator[int]:
        yield 1
        raise ValueError("the lamp is out")

    def untold(self) -> Iterator[object]:
        yield 1
        yield object()

    def position(self) -> int:
        return self.made


class Sensor:
    """A sensor whose level changes with each reading; `reads` counts them."""

    def __init__(self) -> None:
        self.reads = 0
        self.fails = False

    @property
    def level(self) -> int:
        """The level."""
        if self.fails:
            raise TimeoutError("it does not answer")
        self.reads += 1
        return self.reads

    def measure(self) -> float:
        """Measure."""
        self.reads += 1
        return self.reads / 2


def hello(name: object = "world") -> str:
    return f"Hello {name}!"


def hello2() -> str:
    """Hide from the user."""
    return "Nothing to see!"


@contextmanager
def served(*items: Any, **options: Any) -> Iterator[Server]:
    """Serve in threads of this process, on a free port."""
    server = Server(*items, **{"address": HOST, "port": 0, **options})
    server.run(threaded=True)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def two_clients(server: Server, *classes: Any) -> Iterator[tuple[Any, Any]]:
    one: Any = Client(*classes, address=HOST, port=server.port)
    other: Any = Client(*classes, address=HOST, port=server.port)
    try:
        yield one, other
    finally:
        one.close()
        other.close()


@asynccontextmanager
async def two_async_clients(server: Server, *classes: Any) -> AsyncIterator[tuple[Any, Any]]:
    async with (
        AsyncClient(*classes, address=HOST, port=server.port) as one,
        AsyncClient(*classes, address=HOST, port=server.port) as other,
    ):
        yield one, other


@contextmanager
def cooling(server: Server, bath: Bath) -> Iterator[list[object]]:
    """Have another client cool the bath; give what comes of it once the block has ended."""
    outcome: list[object] = []

    def cool() -> None:
        with Client(address=HOST, port=server.port) as c:
            try:
                outcome.append(c.cool())
            except CallError as error:
                outcome.append(error)

    caller = threading.Thread(target=cool)
    caller.start()
    assert bath.began.wait(30)
    try:
        yield outcome
    finally:
        bath.ends.set()
        caller.join(30)


async def waited(event: threading.Event) -> None:
    """Wait for what a thread says."""
    assert await asyncio.to_thread(event.wait, 30)


async def becomes(condition: Callable[[], bool]) -> None:
    """Wait until something is so that tells nobody."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


@contextmanager
def program(text: str, server: Server) -> Iterator["subprocess.Popen[str]"]:
    """Run a program of a client, `c`, which has to end well; what it prints can be read."""
    head = f"""
import os, snyper
HOST, PORT = {HOST!r}, {server.port}
c = snyper.Client(address=HOST, port=PORT)
"""
    command = [sys.executable, "-uc", head + text]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as process:
        try:
            yield process
            assert process.wait(30) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and those that it was forked into


# For a program that is interrupted, before its first call: only in here, and whenever that was.
INTERRUPTED = """
import contextlib, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
@contextlib.contextmanager
def interrupted():
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        yield
    except KeyboardInterrupt:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        print("interrupted")
"""


def interrupt(process: "subprocess.Popen[str]", times: int) -> None:
    """Press Ctrl-C where a program waits, which has to say each time within 0.5 s that it was interrupted."""
    assert process.stdout is not None
    for _ in range(times):
        time.sleep(0.05)  # in which it comes to wait; if it does not, it is interrupted there all the same
        process.send_signal(signal.SIGINT)
        with Stopwatch() as took:
            assert process.stdout.readline() == "interrupted\n"
        assert took.seconds < 0.5


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


class CuttingRelay:
    """Passes on what comes; of each client's first connection no more than so many bytes one way."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut: tuple[bool, int] | None = None  # whether from the server, and after how many bytes
        self.has_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(
                socket.SHUT_RDWR
            )  # else who accepts may go on with another of that number
        self._listener.close()

    def on_cut(self) -> None:
        """Do nothing; for what is to happen while both ends still believe in the connection."""

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection((HOST, self._to))
                except ConnectionRefusedError:
                    near.close()
                    continue
                cut, self.cut = self.cut, None
                for source, sink, from_server in ((near, far, False), (far, near, True)):
                    left = cut[1] if cut is not None and cut[0] == from_server else None
                    threading.Thread(target=self._pass_on, args=(source, sink, left), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, left: int | None) -> None:
        with contextlib.suppress(OSError):
            while left is None or left > 0:
                data = source.recv(65_536 if left is None else left)
                if not data:
                    break
                sink.sendall(data)
                if left is not None:
                    left -= len(data)
            if left == 0:
                self.has_cut = True
                self.on_cut()
        for sock in (source, sink):
            with contextlib.suppress(OSError):  # that one has ended
                sock.shutdown(socket.SHUT_RDWR)
        source.close()  # the sink is the other thread's source


class HubProcess:
    """`snyper hub`, on a port that stays."""

    def __init__(self, engine: str = "cpython") -> None:
        self.address = f"{HOST}:{free_port()}"
        self._engine = engine
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                Path(sys.executable).parent / "snyper",
                "hub",
                "--engine",
                self._engine,
                "--listen",
                self.address,
                "--no-journal",
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if f"listening on {self.address}" in line:
                self._reads = threading.Thread(target=self._process.stderr.read)
                self._reads.start()
                return
        raise AssertionError("".join(said))

    def __enter__(self) -> "HubProcess":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        with self._process:
            self._reads.join()
