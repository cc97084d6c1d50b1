"""Hubs and targets that are attacked, each a process; and a console that measures what others notice."""

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from snyper.boards.board import WIFI, BoardProcess
from snyper.boards.micropython import MicropythonNotFoundError, find_micropython
from snyper.client.environment import KEY_VARIABLE
from snyper.system.process import killed_with_parent
from tools.faults.case import Skipped
from tools.loopback import HOST, free_port

T = TypeVar("T")

CPYTHON, MICROPYTHON = "cpython", "micropython"
ENGINES = (CPYTHON, MICROPYTHON)
KEY = "fleet:" + "5a" * 32
TRAVEL_MS = 100
SERVO = "16"
UP_NS = 1_000_000  # more is up, or on the way
POLL_S = 0.005
WAIT_S = 30.0


def need_micropython() -> None:
    """Raise Skipped where there is none."""
    try:
        find_micropython()
    except MicropythonNotFoundError as error:
        raise Skipped(f"no MicroPython here: {error}") from error


class AttackedHub:
    """A hub as a process, on the same port and with the same journal whenever it is started."""

    def __init__(
        self, engine: str, directory: Path, key: str, options: Sequence[str], config: Mapping[str, object]
    ) -> None:
        self.engine = engine
        self.port = free_port()
        self.journal = directory / "journal.sqlite3"
        self.variables: dict[str, str] = {}  # more of its environment, at its next start
        self.key = key
        self._log = directory / "hub.log"
        self._options = options
        self._process: Process | None = None
        self._board: BoardProcess | None = None
        if engine == MICROPYTHON:
            need_micropython()
            given = {"listen": self.address, "key": key, **config}
            self._board = BoardProcess(directory / "hub", "master", given)

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Return its process. Raises RuntimeError where there is none."""
        process = self._board if self._board is not None else self._process
        pid = None if process is None else process.pid
        if pid is None:
            raise RuntimeError(f"the hub does not run:\n{self.log[-2_000:]}")
        return pid

    @property
    def log(self) -> str:
        """Return all that it has logged, over all its starts."""
        if self._board is not None:
            return self._board.log
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    async def start(self) -> None:
        """Start it and wait until it listens. Raises RuntimeError when it does not."""
        if self._board is not None:
            times_up = self._board.times_up
            board = self._board
            await asyncio.to_thread(board.start)
            await until(lambda: board.times_up > times_up or not board.is_on, "the hub board should listen")
            return
        command = (*("hub", "--listen", self.address, "--json"), *self._options)
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *killed_with_parent([sys.executable, "-m", "snyper.cli", *command]),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=log,
                env={**environment(self.key), **self.variables},
            )
        assert self._process.stdout is not None
        if not await self._process.stdout.readline():
            raise RuntimeError(f"the hub does not start:\n{self.log[-2_000:]}")

    async def kill(self) -> None:
        """Kill it (SIGKILL)."""
        if self._board is not None:
            await asyncio.to_thread(self._board.kill)
        elif self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def attacked_hub(
    engine: str,
    directory: Path,
    key: str = "",
    options: Sequence[str] = ("--no-journal",),
    config: Mapping[str, object] = MappingProxyType({}),
) -> AsyncIterator[AttackedHub]:
    """Run a hub of that engine; `options` are for `snyper hub`, `config` for a hub board. At the end it must
    still run, and have logged no traceback.
    """
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    hub = AttackedHub(engine, directory, key, options, config)
    try:
        await hub.start()
        yield hub
        assert hub.pid
        assert "Traceback" not in hub.log, hub.log[-3_000:]
    finally:
        await hub.kill()


async def until(condition: Callable[[], object], what: str, limit_s: float = WAIT_S) -> float:
    """Return once `condition` holds, after how many seconds. Raises TimeoutError after `limit_s`."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > limit_s:
            raise TimeoutError(f"{what}, and did not within {limit_s:.0f} s")
        await asyncio.sleep(POLL_S)
    return time.monotonic() - began


# --- targets


@asynccontextmanager
async def targets_of(
    directory: Path, ports: list[int], key: str = "", **options: object
) -> AsyncIterator[list[BoardProcess]]:
    """Run real targets, `target_1` and so on, the first of which dials the first of `ports`."""
    need_micropython()
    config = {"wifi": WIFI, "servo": {"travel_ms": TRAVEL_MS}, **({"key": key} if key else {}), **options}
    boards = [
        BoardProcess(
            directory / f"target_{number}",
            "target",
            {"target_id": f"target_{number}", "hub": [f"{HOST}:{port}"], **config},
        )
        for number, port in enumerate(ports, 1)
    ]
    try:
        await asyncio.gather(*(asyncio.to_thread(board.start) for board in boards))
        for board in boards:
            await until(lambda board=board: board.times_up, f"{board.name} should register")  # type: ignore[misc]
        yield boards
    finally:
        await asyncio.gather(*(asyncio.to_thread(board.kill) for board in boards))


def rises(board: BoardProcess) -> int:
    """Count how often the servo has begun to rise since the board's last boot."""
    return int(board.outputs().get("rises", {}).get(SERVO, 0))


def is_up(board: BoardProcess) -> bool:
    """Return whether the servo is sent up."""
    return bool(board.outputs()["pwm"].get(SERVO, {"duty_ns": 0})["duty_ns"] > UP_NS)


# --- what others notice


@dataclass(frozen=True)
class Latency:
    """The time that commands of a registered console to a registered target took, in ms, and how many had
    no answer.
    """

    p50_ms: float
    p99_ms: float
    worst_ms: float
    count: int
    lost: int


class Prober:
    """A console in a process of its own, which commands one target again and again."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def measure(self, seconds: float) -> Latency:
        """Send commands for that long, one after the other. Raises EOFError when the prober has ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n".encode())
        return await self._read()

    async def begin(self, seconds: float) -> "asyncio.Task[Latency]":
        """Begin to measure; the task returns the result."""
        return asyncio.create_task(self.measure(seconds))

    async def _read(self) -> Latency:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise EOFError("the registered console has lost the hub")
        return Latency(**json.loads(line))


@asynccontextmanager
async def prober_of(address: str, target_id: str, key: str = "") -> AsyncIterator[Prober]:
    """Run a console that measures how long `ping` to that target takes through the hub."""
    command = [sys.executable, "-m", "tools.faults.prober", address, target_id]
    process = await asyncio.create_subprocess_exec(
        *killed_with_parent(command),
        stdin=PIPE,
        stdout=PIPE,
        env=environment(key),
    )
    prober = Prober(process)
    try:
        await prober.measure(0.1)
        yield prober
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def control_of(
    engine: str, directory: Path, key: str = "", config: Mapping[str, object] = MappingProxyType({})
) -> AsyncIterator[Prober]:
    """Run a hub with a target that nobody attacks, and a console that measures there. What that sees in the
    same seconds is what this computer costs, busy or not.
    """
    async with (
        attacked_hub(engine, directory, key, config=config) as hub,
        targets_of(directory, [hub.port], key),
        prober_of(hub.address, "target_1", key) as prober,
    ):
        yield prober


@dataclass(frozen=True)
class Beside:
    """The figures that others notice at an attacked hub, and in the same seconds at one that is not."""

    attacked: Latency
    control: Latency

    @property
    def more_ms(self) -> float:
        return max(0.0, self.attacked.p99_ms - self.control.p99_ms)

    @property
    def ratio(self) -> float:
        return self.attacked.p99_ms / self.control.p99_ms


async def measure_beside(
    prober: Prober, control: Prober, seconds: float, attack: Coroutine[Any, Any, T]
) -> tuple[Beside, T]:
    """Measure at both while one of them is attacked; return also what comes of `attack`."""
    async with asyncio.TaskGroup() as group:
        measuring = [group.create_task(one.measure(seconds)) for one in (prober, control)]
        attacking = group.create_task(attack)
    return Beside(*(task.result() for task in measuring)), attacking.result()


def descriptors(pid: int) -> int:
    """Count the open files of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def environment(key: str = "") -> dict[str, str]:
    """Return this process's environment with nothing in it that the project reads, but for that key."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("SNYPER_")}
    return {**found, KEY_VARIABLE: key}  # an empty one keeps this user's out
