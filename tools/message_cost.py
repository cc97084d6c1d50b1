"""Count what a message costs a target on MicroPython: `python -m tools.message_cost`.

Instructions, by valgrind's callgrind (`apt install valgrind`), and bytes that are allocated, by MicroPython
itself. Neither depends on what else the machine does, as time would. A scripted hub on the other end of the
connection sends one message after the other. What a message costs is the difference between many and few of
them: start, registration and end are in both.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from snyper.boards.board import HEAP_BYTES, STAND_INS_BYTES, VIRTUAL_BOARD
from snyper.boards.micropython import find_micropython
from snyper.shared.keys import KEY_BYTES, Key
from tools.bench.peer import Peer
from tools.bench.processes import PROGRAMS, board_image, running

START_TIMEOUT_S = 120  # of an interpreter that callgrind runs, at a fiftieth of its speed

Exchanges = Callable[[Peer, int], Awaitable[object]]


@dataclass(frozen=True)
class Work:
    """The work that a hub gives a target, which is one of `bench/programs/`."""

    exchange: Exchanges  # so many times
    program: str = "counted_target"
    key: Key | None = None


async def _pings(target: Peer, count: int) -> None:
    for _ in range(count):
        reply = await target.exchange({"type": "ping"})
        assert reply["type"] == "pong", reply


async def _commands(target: Peer, count: int) -> None:
    """Yield commands to move to where the target is, so that they are carried out and the servo rests."""
    for _ in range(count):
        reply = await target.exchange({"type": "lay_down"})
        assert reply["type"] == "down", reply


async def _hits(target: Peer, count: int) -> None:
    reply = await target.exchange({"type": "report_hits", "data": {"count": count}})
    assert reply["type"] == "hits_reported", reply


WORKS: Mapping[str, Work] = {
    "the leanest JSON Lines reply": Work(_pings, "counted_json_lines"),
    "PING": Work(_pings),
    "PING, with a key": Work(_pings, key=Key("fleet:" + "5a" * KEY_BYTES)),
    "a motion command": Work(_commands),
    "a hit report": Work(_hits),
}


@dataclass(frozen=True)
class Cost:
    """The cost of one message. `instructions` is None where there is no valgrind."""

    what: str
    allocated_bytes: int
    instructions: int | None


async def costs(few: int, many: int, valgrind: str | None) -> list[Cost]:
    """Count for each of WORKS. `valgrind` is its path, if it is there. Raises OSError, TimeoutError."""
    counted = []
    for what, work in WORKS.items():
        allocated = await _allocated_bytes(work, many)
        instructions = None
        if valgrind is not None:
            fewer, more = [await _instructions(valgrind, work, count) for count in (few, many)]
            instructions = (more - fewer) // (many - few)
        counted.append(Cost(what, allocated // many, instructions))
    return counted


async def _allocated_bytes(work: Work, count: int) -> int:
    async with _target(work) as (target, _):
        await work.exchange(target, 1)  # what is made once is not a message's
        before = await _mark(target)
        after = await _mark(target)
        own = after - before
        await work.exchange(target, count)
        return await _mark(target) - after - own


async def _mark(target: Peer) -> int:
    reply = await target.exchange({"type": "mark"})
    return int(reply["data"]["allocated"])


async def _instructions(valgrind: str, work: Work, count: int) -> int:
    with tempfile.TemporaryDirectory(prefix="snyper-cost-") as directory:
        counts = Path(directory) / "callgrind.out"
        tool = (valgrind, "-q", "--tool=callgrind", f"--callgrind-out-file={counts}")
        async with _target(work, *tool) as (target, process):
            await work.exchange(target, count)
            target.transport.close()
            await process.wait()
        return total_of(counts.read_text())


def total_of(counts: str) -> int:
    """Find the number of instructions in what callgrind writes. Raises ValueError."""
    for line in counts.splitlines():
        if line.startswith("totals:"):
            return int(line.split()[1])
    raise ValueError("callgrind has written no totals")


@asynccontextmanager
async def _target(work: Work, *tool: str) -> AsyncIterator[tuple[Peer, Process]]:
    """Start a target that registers with the other end that is given; `tool` runs its interpreter."""
    target = Peer(work.key)
    server = await asyncio.get_running_loop().create_server(lambda: target, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    heap = f"heapsize={HEAP_BYTES + STAND_INS_BYTES}"
    try:
        with board_image("target") as modules:
            path = os.pathsep.join((str(modules), str(VIRTUAL_BOARD), ".frozen"))
            key = [work.key.to_text()] if work.key is not None else []
            program = str(PROGRAMS / f"{work.program}.py")
            command = (*tool, *_interpreter(), "-X", heap, program, str(port), *key)
            async with running(*command, env={"MICROPYPATH": path}) as process:
                await _until_registered(target, process)
                yield target, process
    finally:
        server.close()


async def _until_registered(target: Peer, process: Process) -> None:
    """Wait until the target is registered. Raises OSError when the process has ended, TimeoutError after
    START_TIMEOUT_S.
    """
    registered = asyncio.create_task(target.has_registered.wait())
    ended = asyncio.create_task(process.wait())
    waiting = {registered, ended}
    try:
        done, _ = await asyncio.wait(waiting, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if ended in done:
            assert process.stdout is not None
            said = (await process.stdout.read()).decode(errors="replace")  # MicroPython's tracebacks too
            raise OSError(f"the counted target has ended: {said[-1000:] or 'it said nothing'}")
        if not done:
            raise TimeoutError(f"the counted target has not registered within {START_TIMEOUT_S} s")
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _interpreter() -> list[str]:
    """Return the command for MicroPython, as callgrind can run it: what pip installs is a script of this
    Python.
    """
    found = find_micropython()
    with found.open("rb") as file:
        is_script = file.read(2) == b"#!"
    return [sys.executable, str(found)] if is_script else [str(found)]


def rows_of(counted: list[Cost]) -> list[tuple[str, str, str]]:
    return [
        (
            cost.what,
            "no valgrind" if cost.instructions is None else f"{cost.instructions:,}",
            f"{cost.allocated_bytes:,}",
        )
        for cost in counted
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.message_cost",
        description="Count what a message costs a target on MicroPython.",
    )
    parser.add_argument("--few", type=int, default=200, help="messages of the shorter run (200)")
    parser.add_argument("--many", type=int, default=1200, help="messages of the longer run (1200)")
    arguments = parser.parse_args()
    valgrind = shutil.which("valgrind")
    table = Table("message", "instructions", "bytes allocated")
    for row in rows_of(asyncio.run(costs(arguments.few, arguments.many, valgrind))):
        table.add_row(*row)
    Console().print(table)
    if valgrind is None:
        Console().print("for instructions, install valgrind: apt install valgrind")


if __name__ == "__main__":
    main()
