"""`make demo`: the whole system on one computer, with nothing stood in for but pins and radio."""

import time
from contextlib import AsyncExitStack

from rich.console import Console
from rich.text import Text

from snyper.boards.board import WIFI, BoardProcess
from snyper.boards.temporary import temporary_directory
from snyper.cli.demo_range import TARGETS, RangeDemo
from snyper.cli.demo_step import DemoError
from snyper.cli.demo_systems import SystemsDemo
from snyper.cli.processes import running
from snyper.client import connect
from snyper.client.environment import client_key
from snyper.device.errors import TransferError
from snyper.services.remote_exceptions import CallError
from snyper.shared.socket_protocol import ProtocolError


async def run(console: Console) -> int:
    """Run the demonstration, within a minute, and return the exit status, 0 or 1. The last line says how it
    went.
    """
    started = time.monotonic()
    try:
        async with AsyncExitStack() as stack:
            directory = stack.enter_context(temporary_directory("snyper-demo-"))
            journal = str(directory / "journal.sqlite3")
            hub_process = running("hub", "--listen", "127.0.0.1:0", "--journal", journal)
            address = (await stack.enter_async_context(hub_process)).said["listen"]
            console.print(f"hub        listening on {address}, a process of its own")
            boards = [
                BoardProcess(
                    directory / f"target_{number}",
                    "target",
                    {"target_id": f"target_{number}", "hub": [address], "wifi": WIFI, "key": client_key()},
                    seed=number,
                    hit_rate=0.6,
                )
                for number in range(1, TARGETS + 1)
            ]
            for board in boards:
                stack.callback(board.kill)
            hub = await stack.enter_async_context(connect(address))
            summary = await RangeDemo(console, hub, boards).play()
            systems = await SystemsDemo(console, stack, directory, address, hub).show()
    except (DemoError, ProtocolError, CallError, TransferError, OSError, ValueError, TimeoutError) as error:
        console.print(Text(f"DEMO FAILED {error or 'a step took too long'}", "bold red"))
        return 1
    console.print(f"all of it in {time.monotonic() - started:.1f} s", style="dim")
    console.print(f"DEMO OK {summary} systems={systems}")
    return 0
