"""The processes of a measurement, on one CPU with it."""

import asyncio
import importlib.util
import os
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

from snyper.boards import image
from snyper.boards.micropython import find_micropython
from snyper.boards.temporary import temporary_directory
from snyper.system.process import killed_with_parent

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).parent / "programs"
UP_TIMEOUT_S = 30
RECEIVE_BYTES = 4_096

T = TypeVar("T")


def pin_to_one_cpu() -> None:
    """Keep this process, and those that it starts, on one CPU where the system allows it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


@contextmanager
def on_all_cpus() -> Iterator[None]:
    """Have this process, and those that it starts in the block, run on any CPU."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin_apart(pid: int) -> Callable[[int], None]:
    """Give a process one CPU of those of this one; return what keeps others off it, by their pid."""
    if not hasattr(os, "sched_setaffinity"):
        return lambda other: None
    cpus = os.sched_getaffinity(0)
    own = min(cpus)
    os.sched_setaffinity(pid, {own})
    return lambda other: os.sched_setaffinity(other, cpus - {own} or cpus)


def take_precedence(pid: int) -> bool:
    """Have a process run before all others that are ready, as a board does, whose processor is its own;
    return whether the system allows it. Linux only (sched(7)).

    `nice` does not do it: it counts among the processes of one terminal session only.
    """
    if not hasattr(os, "sched_setscheduler"):
        return False
    try:
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))
    except PermissionError:
        return False
    return True


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has taken so far. Linux only (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def resident_kb(pid: int) -> int:
    """Return the memory that a process has now. Linux only (proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


async def line_of(process: Process) -> bytes:
    """Return the next line that a process writes. Raises OSError when it has ended instead."""
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise OSError("a process of the measurement has ended; what it said is above")
    return line


@asynccontextmanager
async def running(
    *command: str | Path, env: Mapping[str, str] | None = None, quiet: bool = False
) -> AsyncIterator[Process]:
    """Run a command whose standard input and output are pipes; it is killed at the end of the block.

    With `quiet` nobody sees its standard error.
    """
    process = await asyncio.create_subprocess_exec(
        *killed_with_parent([str(word) for word in command]),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL if quiet else None,
        cwd=ROOT,
        env=None if env is None else {**os.environ, **env},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def quietly_running(*command: str | Path) -> AsyncIterator[Process]:
    """Run a command whose output nobody reads; it is killed at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *killed_with_parent([str(word) for word in command]),
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def on_micropython(program: str, *arguments: object) -> list[str]:
    """Return the command for one of `programs/` on MicroPython, with the heap of a board."""
    words = [str(argument) for argument in arguments]
    return [str(find_micropython()), "-X", "heapsize=180K", str(PROGRAMS / f"{program}.py"), *words]


def on_cpython(program: str, *arguments: object) -> list[str]:
    """Return the command for one of `programs/` on this Python."""
    words = [str(argument) for argument in arguments]
    return [sys.executable, "-m", f"tools.bench.programs.{program}", *words]


@contextmanager
def board_image(role: str) -> Iterator[Path]:
    """Make a folder for MICROPYPATH with the modules of a role's image, compiled as a board has them."""
    with temporary_directory("snyper-bench-") as directory:
        image.stage(role, directory, {})
        yield directory / "lib"


@contextmanager
def package_for_micropython(name: str) -> Iterator[Path]:
    """Make a folder that holds one installed package and nothing else, for MICROPYPATH.

    Of site-packages as a whole MicroPython would take modules that shadow its own. Raises ModuleNotFoundError
    where the package is not installed.
    """
    found = importlib.util.find_spec(name)
    if found is None or found.submodule_search_locations is None:
        raise ModuleNotFoundError(f"{name} is not installed: make setup")
    with temporary_directory("snyper-bench-") as directory:
        (directory / name).symlink_to(found.submodule_search_locations[0])
        yield directory


async def when_up(dial: Callable[[], Awaitable[T]]) -> T:
    """Return what `dial` returns, once whoever it dials listens. Raises ConnectionRefusedError."""
    deadline = time.monotonic() + UP_TIMEOUT_S
    while True:
        try:
            return await dial()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)


async def open_streams(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect asyncio streams to `port` of this computer, once somebody listens there."""
    reader, writer = await when_up(lambda: asyncio.open_connection("127.0.0.1", port))
    limit_reads(writer.transport, RECEIVE_BYTES)
    return reader, writer


def limit_reads(transport: asyncio.BaseTransport, receive_bytes: int) -> None:
    """Let a transport of asyncio's own loop read at most so many bytes at a time.

    By default it takes 256 KiB for each read, from the system or not, as the allocator happens to stand: a
    floor that falls into one of two modes, of which the slow one flatters.
    """
    if hasattr(transport, "max_size"):
        transport.max_size = receive_bytes
