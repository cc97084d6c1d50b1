"""One command to many targets: what it takes of the hub's CPU, over the least that could do it.

Each side is a process of its own that says the CPU time of each of its rounds: the hub with scripted
targets, and two floors: connections of plain protocols with raw echoes at their other ends, on asyncio's own
loop and on uvloop.
"""

import importlib.util
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from tools.bench.processes import line_of, on_cpython, quietly_running, running
from tools.bench.rounds import Row, alternate, row

FAN_OUT_AIM = "2.0"
ASYNCIO, UVLOOP = "asyncio", "uvloop"  # the modules that the floors' loops are of


async def fan_out_rows(targets: int, rounds: int) -> list[Row]:
    """Measure the CPU time from one command to `targets` until the last reply. Raises OSError."""
    async with AsyncExitStack() as stack:
        sides = {"hub": await stack.enter_async_context(_hub(targets))}
        for loop in (ASYNCIO, UVLOOP):
            if importlib.util.find_spec(loop):
                sides[loop] = await stack.enter_async_context(_floor(loop, targets))
        times = await alternate(rounds, {name: partial(_cpu_ms, side) for name, side in sides.items()})
    what = f"hub CPU for one command to {targets} targets, over an asyncio.Protocol"
    rows = [row(what, times["hub"], times[ASYNCIO], "ms", 1, FAN_OUT_AIM)]
    if UVLOOP in times:
        rows.append(row("the same, over one on uvloop", times["hub"], times[UVLOOP], "ms", 1))
    return rows


async def _cpu_ms(side: Process) -> float:
    assert side.stdin is not None
    side.stdin.write(b"\n")
    return float(await line_of(side))


@asynccontextmanager
async def _hub(targets: int) -> AsyncIterator[Process]:
    async with running(*on_cpython("fan_out_hub", targets)) as side:
        port = int(await line_of(side))
        peers = on_cpython("scripted_targets", f"127.0.0.1:{port}", 1, targets, "quiet")
        async with running(*peers):
            await line_of(side)
            yield side


@asynccontextmanager
async def _floor(loop: str, targets: int) -> AsyncIterator[Process]:
    async with running(*on_cpython("fan_out_floor", loop, targets)) as side:
        port = int(await line_of(side))
        async with quietly_running(*on_cpython("echo_clients", port, targets)):
            await line_of(side)
            yield side
