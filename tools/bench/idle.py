"""Clients of calls that do nothing, over as many idle links of a hub: the memory and the CPU time of each.

Linux only: both are asked of the system for another process.
"""

import asyncio
import time

from snyper.cli.processes import running as running_command
from tools.bench.processes import cpu_seconds, line_of, on_cpython, resident_kb, running
from tools.bench.rounds import Row, row
from tools.idle_load import SETTLE_S, idle_targets
from tools.loopback import free_port

AIM = "1.0"


async def idle_rows(count: int, seconds: float) -> list[Row]:
    """Look at a hub with `count` idle targets for so long, then at a server with as many idle clients. Raises
    OSError.
    """
    async with running_command("hub", "--listen", "127.0.0.1:0", "--no-journal") as hub:
        before = resident_kb(hub.pid)
        async with idle_targets(str(hub.said["listen"]), count) as peers:
            await asyncio.gather(*map(line_of, peers))
            links = await _cost(hub.pid, before, count, seconds)
    port = free_port()
    async with running(*on_cpython("call_server", port, "")) as server:
        await line_of(server)
        before = resident_kb(server.pid)
        async with running(*on_cpython("idle_callers", port, count)) as callers:
            await line_of(callers)
            clients = await _cost(server.pid, before, count, seconds)
    return [
        row(f"memory of each of {count} idle clients", [clients[0]], [links[0]], "kB", 1, AIM),
        row(f"CPU time a second of {count} idle clients", [clients[1]], [links[1]], "ms", 1, AIM),
    ]


async def _cost(pid: int, before_kb: int, count: int, seconds: float) -> tuple[float, float]:
    """Return what each of so many peers takes of memory, in kB, and all of CPU time, in ms a second."""
    await asyncio.sleep(SETTLE_S)
    began_s, cpu_s = time.monotonic(), cpu_seconds(pid)
    await asyncio.sleep(seconds)
    used_ms = (cpu_seconds(pid) - cpu_s) * 1_000 / (time.monotonic() - began_s)
    return (resident_kb(pid) - before_kb) / count, used_ms
