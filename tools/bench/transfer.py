"""A file through a hub: how long it takes, and how late the hub's 20 ms tick is meanwhile.

python -m tools.bench.transfer [--rounds 5]

Where the system allows it (on Linux as root) the hub runs before all other processes: what else the machine
does is then in the time that a file takes, and not in the hub's tick. Linux only: the CPU time of another
process is asked of its clock.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from snyper.boards.board import BoardProcess
from snyper.boards.temporary import temporary_directory
from snyper.client import HubClient, ProtocolError, ReconnectingClient, receive_files
from tools.bench.processes import (
    UP_TIMEOUT_S,
    board_image,
    cpu_seconds,
    line_of,
    on_cpython,
    on_micropython,
    running,
    take_precedence,
)
from tools.loopback import free_port

PEER_BYTES = 5_000_000
TARGET_BYTES = 65_536
DEADLINE_S = 120


@dataclass(frozen=True)
class Transfer:
    """The cost of one file for its hub. `has_precedence` tells whether the gap is the hub's own."""

    seconds: float
    hub_cpu_seconds: float
    longest_gap_ms: float
    has_precedence: bool


async def measure(engine: str, to_target: bool, modules: Path, directory: Path) -> Transfer:
    """Send one file. Raises OSError, TimeoutError, ProtocolError."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    command = (on_micropython if engine == "micropython" else on_cpython)("transfer_hub", port)
    data = random.Random(1).randbytes(TARGET_BYTES if to_target else PEER_BYTES)
    async with (
        asyncio.timeout(DEADLINE_S),
        running(*command, env={"MICROPYPATH": f"{modules}{os.pathsep}.frozen"}) as hub,
    ):
        has_precedence = take_precedence(hub.pid)
        if to_target:
            config = {"target_id": "peer", "hub": [address]}
            board = BoardProcess(directory / "board", "target", config, name="peer")
            board.start()
            try:
                taken_s, cpu_s = await _send(address, data, hub.pid)
            finally:
                board.kill()
        else:
            async with receive_files(address, "peer", directory / "files"):
                taken_s, cpu_s = await _send(address, data, hub.pid)
        while not (line := await line_of(hub)).startswith(b"{"):
            pass  # the log of a board
    return Transfer(taken_s, cpu_s, json.loads(line)["longest_gap_ms"], has_precedence)


async def _send(address: str, data: bytes, hub_pid: int) -> tuple[float, float]:
    async with ReconnectingClient(address) as hub:
        await hub.wait_until_connected(UP_TIMEOUT_S)
        while not await _is_here(hub):  # noqa: ASYNC110  # only asking tells
            await asyncio.sleep(0.05)
        began, began_cpu_s = time.perf_counter(), cpu_seconds(hub_pid)
        await hub.send_bytes("peer", "data", data)
        return time.perf_counter() - began, cpu_seconds(hub_pid) - began_cpu_s


async def _is_here(hub: HubClient) -> bool:
    try:
        [result] = await hub.ping("peer")
    except ProtocolError:
        return False
    return result.ok


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.bench.transfer", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="repetitions (5)")
    arguments = parser.parse_args()
    with board_image("master") as modules:
        for to_target, what in (
            (False, "5 MB, CPython to CPython"),
            (True, "64 kB, CPython to a MicroPython target"),
        ):
            for engine in ("cpython", "micropython"):
                transfers = []
                for _ in range(arguments.rounds):
                    with temporary_directory("snyper-bench-") as directory:
                        transfers.append(asyncio.run(measure(engine, to_target, modules, directory)))
                _show(f"{what}, hub on {engine}", transfers)


def _show(what: str, transfers: list[Transfer]) -> None:
    gaps = [transfer.longest_gap_ms for transfer in transfers]
    print(
        f"{what}: {statistics.median(transfer.seconds for transfer in transfers):.2f} s,"
        f" {statistics.median(transfer.hub_cpu_seconds for transfer in transfers):.2f} s of the hub's CPU,"
        f" longest gap {statistics.median(gaps):.1f} ms (worst {max(gaps):.1f})"
        + ("" if all(transfer.has_precedence for transfer in transfers) else ", other processes included"),
        flush=True,
    )


if __name__ == "__main__":
    main()
