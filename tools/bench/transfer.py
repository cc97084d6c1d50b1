"""A file through a hub: how long it takes, and how late the hub's 20 ms tick is meanwhile.

python -m tools.bench.transfer [--rounds 5]
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import time
from pathlib import Path

from snyper.boards.board import BoardProcess
from snyper.boards.temporary import temporary_directory
from snyper.client import HubClient, ProtocolError, ReconnectingClient, receive_files
from tools.bench.processes import UP_TIMEOUT_S, board_image, line_of, on_cpython, on_micropython, running
from tools.loopback import free_port

PEER_BYTES = 5_000_000
TARGET_BYTES = 65_536
DEADLINE_S = 120


async def measure(engine: str, to_target: bool, modules: Path, directory: Path) -> tuple[float, float]:
    """Send one file; return the seconds that it took and the longest gap in ms."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    command = (on_micropython if engine == "micropython" else on_cpython)("transfer_hub", port)
    data = random.Random(1).randbytes(TARGET_BYTES if to_target else PEER_BYTES)
    async with (
        asyncio.timeout(DEADLINE_S),
        running(*command, env={"MICROPYPATH": f"{modules}{os.pathsep}.frozen"}) as hub,
    ):
        if to_target:
            config = {"target_id": "peer", "hub": [address]}
            board = BoardProcess(directory / "board", "target", config, name="peer")
            board.start()
            try:
                taken_s = await _send(address, data)
            finally:
                board.kill()
        else:
            async with receive_files(address, "peer", directory / "files"):
                taken_s = await _send(address, data)
        while not (line := await line_of(hub)).startswith(b"{"):
            pass  # the log of a board
    return taken_s, json.loads(line)["longest_gap_ms"]


async def _send(address: str, data: bytes) -> float:
    async with ReconnectingClient(address) as hub:
        await hub.connected(UP_TIMEOUT_S)
        while not await _is_here(hub):  # noqa: ASYNC110  # only asking tells
            await asyncio.sleep(0.05)
        began = time.perf_counter()
        await hub.send_bytes("peer", "data", data)
        return time.perf_counter() - began


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
                taken, gaps = [], []
                for _ in range(arguments.rounds):
                    with temporary_directory("snyper-bench-") as directory:
                        seconds, gap = asyncio.run(measure(engine, to_target, modules, directory))
                    taken.append(seconds)
                    gaps.append(gap)
                print(
                    f"{what}, hub on {engine}: {statistics.median(taken):.2f} s,"
                    f" longest gap {statistics.median(gaps):.1f} ms (worst {max(gaps):.1f})",
                    flush=True,
                )


if __name__ == "__main__":
    main()
