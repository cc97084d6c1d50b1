"""Run a hub board without a board: its firmware on MicroPython, as a process."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Any

from snyper.boards.board import BoardProcess
from snyper.boards.temporary import temporary_directory
from snyper.client.addresses import dial_host
from snyper.firmware.board.status import Status
from snyper.firmware.master.config import MAX_KEYS as MAX_KEYS
from snyper.shared.address import format_address, parse_address
from snyper.system.text import harmless

_POLL_SECONDS = 0.05

Ready = Callable[[str], None]


async def run_hub_board(listen: str, config: Mapping[str, Any], ready: Ready) -> None:
    """Run a hub board's firmware on MicroPython until cancelled, with its log on stderr. `config` is added to
    its config.json.

    Raises OSError when it ends by itself, or when no MicroPython is to be had; ValueError for port 0.
    """
    host, port = parse_address(listen)
    if port == 0:
        raise ValueError("a hub board cannot find a free port: name one with --listen HOST:PORT")
    with temporary_directory("snyper-hub-") as directory:
        board = BoardProcess(directory, "master", {"listen": listen, **config})
        board.start()
        shown = 0
        is_ready = False
        try:
            while board.is_on:
                log = board.log
                sys.stderr.write(harmless(log[shown:]))
                shown = len(log)
                status = "" if is_ready else board.status
                if status == Status.LISTENING:
                    is_ready = True
                    ready(format_address(dial_host(host), port))
                elif status == Status.CRASHED:
                    break  # it could not listen, and would try again
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            board.stop()
        sys.stderr.write(harmless(board.log[shown:]))
        raise OSError(
            f"the hub board ended by itself, see its log above: is {listen} in use?"
            " Choose another with --listen HOST:PORT"
        )
