"""What a hub's processor does for targets that nobody commands: `python -m tools.idle_load --targets 2000`.

A hub and simulated targets, each in one CPython process, on loopback. Linux only: the processor's time is
read from /proc. Once as many have registered as will, both are looked at for a while, then all are pinged.
"""

import argparse
import asyncio
import os
import time
from pathlib import Path

from rich.console import Console

from snyper.cli.processes import running
from snyper.client import connect
from snyper.shared.socket_protocol import ALL_TARGETS, ProtocolError

SETTLE_S = 60  # for all to register; some never do where the processor is too slow
POLL_S = 0.5
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


async def measure(targets: int, seconds: float) -> dict[str, float | int | str]:
    """Cores that hub and targets take, how many targets are there, and how many of them answer a ping.

    Raises OSError, TimeoutError and ProtocolError when the hub does not even start.
    """
    async with running("hub", "--listen", "127.0.0.1:0", "--no-journal") as hub:
        address = str(hub.said["listen"])
        simulate = ("simulate", "--targets", str(targets), "--engine", "cpython", "--hit-rate", "0")
        async with running(*simulate, "--hub", address) as simulated:
            await _settled(address, targets)
            before = _cores(hub.pid), _cores(simulated.pid), time.monotonic()
            await asyncio.sleep(seconds)
            elapsed_s = time.monotonic() - before[2]
            found: dict[str, float | int | str] = {
                "targets": targets,
                "hub_cores": round((_cores(hub.pid) - before[0]) / elapsed_s, 2),
                "targets_cores": round((_cores(simulated.pid) - before[1]) / elapsed_s, 2),
            }
            try:
                async with connect(address) as console:
                    found["connected"] = sum(target.connected for target in await console.targets())
                    found["answered"] = sum(result.ok for result in await console.ping(ALL_TARGETS))
            except ProtocolError as error:
                found["failed"] = str(error)
            return found


async def _settled(address: str, targets: int) -> None:
    """Returns when all are there, or after SETTLE_S."""
    give_up_at = time.monotonic() + SETTLE_S
    while time.monotonic() < give_up_at:
        await asyncio.sleep(POLL_S)
        try:
            async with connect(address) as console:
                if (await console.status()).targets >= targets:
                    return
        except ProtocolError:
            continue


def _cores(pid: int) -> float:
    """Seconds of processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what idle targets cost a hub.")
    parser.add_argument("--targets", type=int, nargs="+", default=[2000, 4900], help="how many (2000 4900)")
    parser.add_argument("--seconds", type=float, default=20, help="how long to look (20)")
    arguments = parser.parse_args()
    for targets in arguments.targets:
        Console().print(asyncio.run(measure(targets, arguments.seconds)))


if __name__ == "__main__":
    main()
