"""A hub on this computer: the firmware's own modules, here or on MicroPython."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from firmware.master.server import Hub
from shared.address import parse_address
from snyper.client import KEY_VARIABLE
from tools.simulator import raise_descriptor_limit

MAX_TARGETS = 5_000
MAX_CONSOLES = 200
MAX_EVENTS = 10_000
_POLL_SECONDS = 0.05

Ready = Callable[[str], None]


async def on_cpython(listen: str, ready: Ready) -> None:
    """Serves until cancelled; `ready` is told the address. Raises OSError when that is not to be had."""
    raise_descriptor_limit(MAX_TARGETS + MAX_CONSOLES)
    host, port = parse_address(listen)
    hub = Hub(host, port, MAX_TARGETS, MAX_CONSOLES, os.environ.get(KEY_VARIABLE, ""), MAX_EVENTS)
    try:
        await hub.start()
    except OSError as error:
        raise OSError(
            f"cannot listen on {listen} ({error.strerror}): is another hub running? {_ADVICE}"
        ) from None
    try:
        ready(f"{host}:{hub.port}")
        await asyncio.Event().wait()
    finally:
        await hub.stop()


async def on_micropython(listen: str, ready: Ready) -> None:
    """Runs a hub board's firmware on MicroPython until cancelled, with its log on stderr.

    Raises OSError when it ends by itself, or when no MicroPython is to be had; ValueError for port 0.
    """
    from tools.board import BoardProcess

    if parse_address(listen)[1] == 0:
        raise ValueError("a hub board cannot find a free port: name one with --listen HOST:PORT")
    with tempfile.TemporaryDirectory(prefix="snyper-hub-") as directory:
        config = {"listen": listen, "key": os.environ.get(KEY_VARIABLE, "")}
        board = BoardProcess(Path(directory), "master", config)
        board.start()
        shown = 0
        is_ready = False
        try:
            while board.is_on:
                log = board.log
                sys.stderr.write(log[shown:])
                shown = len(log)
                if not is_ready and "listening" in log:
                    is_ready = True
                    ready(listen)
                if not is_ready and board.resets:
                    break  # it could not listen, and tries again
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            board.stop()
        sys.stderr.write(board.log[shown:])
        raise OSError(f"the hub board ended by itself, see its log above: is {listen} in use? {_ADVICE}")


_ADVICE = "Choose another with --listen HOST:PORT"
