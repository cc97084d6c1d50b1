"""Readings that a board has a service look at: over its link and a hub, over HTTP from the same MicroPython.

One `snyper serve` is asked both ways. The memory is what is in use of the board's heap at most while it asks.
"""

import json
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from snyper.boards import image
from snyper.boards.temporary import temporary_directory
from snyper.firmware.master.server import Hub
from tools.bench.processes import PROGRAMS, line_of, on_micropython, running
from tools.bench.rounds import Row, row

SIZES = (22, 180)  # kB of JSON
READING_BYTES = 5


async def board_call_rows(rounds: int) -> list[Row]:
    """Measure both ways in `rounds` alternating repetitions. Raises OSError."""
    rows = []
    async with _service() as (hub_port, http_port):
        with temporary_directory("snyper-bench-") as directory:
            program = PROGRAMS / "board_calls.py"
            image.stage("target", directory, {}, program)
            env = {"MICROPYPATH": f"{directory / 'lib'}{os.pathsep}.frozen"}
            for kilobytes in SIZES:
                count = kilobytes * 1000 // READING_BYTES
                words = on_micropython("board_calls", hub_port, http_port, count, rounds)
                async with running(*words, env=env) as board:
                    found = [await _found_by(board) for _ in range(rounds + 1)]
                link, http = ([one[way] for one in found] for way in ("link", "http"))
                what = f"{kilobytes} kB of readings from a board, over HTTP from there"
                rows += [
                    row(what, link[:-1], http[:-1], "ms", 1),
                    row("its memory, of the board", [link[-1] / 1000], [http[-1] / 1000], "kB", 1),
                ]
    return rows


async def _found_by(board: Process) -> dict[str, float]:
    while not (line := await line_of(board)).startswith(b"{"):
        print(line)
    found: dict[str, float] = json.loads(line)
    return found


@asynccontextmanager
async def _service() -> AsyncIterator[tuple[int, int]]:
    """Run a server at a hub; give the ports of the hub and of HTTP."""
    hub = Hub("127.0.0.1", 0, 1, 2)
    hub.lines_at_once = 1_000_000
    await hub.start()
    services = str(PROGRAMS / "services.py")
    words = ("--listen", "127.0.0.1:0", "--workers", "2", "--json")
    at_hub = ("--hub", f"127.0.0.1:{hub.port}", "--name", "laptop")
    try:
        async with running(
            sys.executable, "-m", "snyper.cli", "serve", services, *words, *at_hub, quiet=True
        ) as process:
            port = urlsplit(json.loads(await line_of(process))["urls"][0]).port
            assert port is not None
            yield hub.port, port
    finally:
        await hub.shut_down()
