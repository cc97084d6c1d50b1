"""Measure what targets that nobody commands take of a hub's CPU: `python -m tools.idle_load`.

The hub is a process alone on one CPU where the system allows it. The targets are scripted peers that do on
the wire what idle targets do (`bench/programs/scripted_targets.py`), in processes on the other CPUs, so that
it is the hub that is measured and not whoever plays its targets. Linux only: the CPU time of another process
is asked of its clock.
"""

import argparse
import asyncio
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from snyper.cli.processes import running as running_command
from snyper.client import connect
from snyper.shared.socket_protocol import ALL_TARGETS, ProtocolError
from tools.bench.processes import cpu_seconds, line_of, on_cpython, pin_apart, running

SETTLE_S = 3  # after the last registration
PROCESSES = 4  # of targets: none of them is ever what is slow


@dataclass(frozen=True)
class Load:
    """The load of `targets` idle targets on a hub. Cores are CPU seconds a second."""

    targets: int
    hub_cores: float
    targets_cores: float
    connected: int
    answered: int
    ping_ms: int
    failed: str = ""


async def measure(targets: int, seconds: float) -> Load:
    """Look at a hub with so many idle targets for so long, then ping all. Raises OSError, TimeoutError."""
    async with running_command("hub", "--listen", "127.0.0.1:0", "--no-journal") as hub:
        peers_pin = pin_apart(hub.pid)
        address = str(hub.said["listen"])
        async with idle_targets(address, targets) as peers:
            for peer in peers:
                peers_pin(peer.pid)
            await asyncio.gather(*map(line_of, peers))
            await asyncio.sleep(SETTLE_S)
            hub_cores, targets_cores = await _cores(hub.pid, peers, seconds)
            connected = sum([await _connected(peer) for peer in peers])
            answered, ping_ms, failed = await _ping_all(address)
    return Load(targets, hub_cores, targets_cores, connected, answered, ping_ms, failed)


@asynccontextmanager
async def idle_targets(address: str, targets: int) -> AsyncIterator[list[Process]]:
    """Have so many idle targets of a hub, in processes that say a line each when theirs are there."""
    each = -(-targets // PROCESSES)
    async with AsyncExitStack() as stack:
        peers = []
        for first in range(1, targets + 1, each):
            command = on_cpython("scripted_targets", address, first, min(each, targets + 1 - first), "idle")
            peers.append(await stack.enter_async_context(running(*command)))
        yield peers


async def _cores(hub: int, peers: list[Process], seconds: float) -> tuple[float, float]:
    pids = [hub, *(peer.pid for peer in peers)]
    began = time.monotonic()
    before = [cpu_seconds(pid) for pid in pids]
    await asyncio.sleep(seconds)
    elapsed_s = time.monotonic() - began
    hub_cores, *others = [
        (cpu_seconds(pid) - earlier) / elapsed_s for pid, earlier in zip(pids, before, strict=True)
    ]
    return hub_cores, sum(others)


async def _connected(peer: Process) -> int:
    assert peer.stdin is not None
    peer.stdin.write(b"\n")
    return int(await line_of(peer))


async def _ping_all(address: str) -> tuple[int, int, str]:
    """Return how many answered, after how many ms, and what went wrong."""
    try:
        async with connect(address) as console:
            began = time.monotonic()
            results = await console.ping(ALL_TARGETS)
            return sum(result.ok for result in results), round((time.monotonic() - began) * 1000), ""
    except ProtocolError as error:
        return 0, 0, str(error)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.idle_load", description="Measure what idle targets cost a hub."
    )
    parser.add_argument("--targets", type=int, nargs="+", default=[2000, 5000], help="how many (2000 5000)")
    parser.add_argument("--seconds", type=float, default=20, help="how long to look (20)")
    arguments = parser.parse_args()
    table = Table("targets", "hub, cores", "targets, cores", "connected", "answered", "after ms", "failed")
    for targets in arguments.targets:
        load = asdict(asyncio.run(measure(targets, arguments.seconds)))
        table.add_row(*(f"{value:.2f}" if type(value) is float else str(value) for value in load.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
