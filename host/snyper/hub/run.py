"""A hub on this computer: the firmware's own modules, here or on MicroPython."""

import asyncio
import errno
import sys
from collections.abc import Callable
from pathlib import Path

from snyper.client.addresses import dial_host
from snyper.client.environment import hub_key
from snyper.firmware.master.crosstalk import CROSSTALK_MS
from snyper.firmware.master.server import Hub
from snyper.history.database import JournalError
from snyper.hub.journaled_events import JournaledEvents
from snyper.shared.address import format_address, parse_address
from snyper.system.process import raise_descriptor_limit
from snyper.system.text import harmless

MAX_TARGETS = 5_000
MAX_CONSOLES = 200
MAX_EVENTS = 10_000
_POLL_SECONDS = 0.05

Ready = Callable[[str], None]


async def on_cpython(
    listen: str, ready: Ready, journal: Path | None, keep_days: int, crosstalk_ms: int = CROSSTALK_MS
) -> None:
    """Serves until cancelled; `ready` is told an address to dial. `journal` is the file that keeps the events
    for `keep_days`, None for none. Raises OSError when the address is not to be had, or the journal.
    """
    raise_descriptor_limit(MAX_TARGETS + MAX_CONSOLES)
    host, port = parse_address(listen)
    key = hub_key()
    events = None
    if journal is not None:
        try:
            events = JournaledEvents(MAX_EVENTS, journal, keep_days)
        except JournalError as error:
            raise OSError(f"{error}. {_OTHER_JOURNAL}") from None
    hub = Hub(host, port, MAX_TARGETS, MAX_CONSOLES, key, MAX_EVENTS, events, crosstalk_ms)
    try:
        try:
            await hub.start()
        except OSError as error:
            guess = ": is another hub running?" if error.errno == errno.EADDRINUSE else "."
            raise OSError(f"cannot listen on {listen} ({error.strerror}){guess} {_ADVICE}") from None
        try:
            ready(format_address(dial_host(host), hub.port))
            await asyncio.Event().wait()
        finally:
            await hub.stop()
    finally:
        if events is not None:
            await events.close()


async def on_micropython(listen: str, ready: Ready, crosstalk_ms: int = CROSSTALK_MS) -> None:
    """Runs a hub board's firmware on MicroPython until cancelled, with its log on stderr.

    Raises OSError when it ends by itself, or when no MicroPython is to be had; ValueError for port 0.
    """
    from snyper.boards.board import BoardProcess
    from snyper.boards.temporary import temporary_directory

    host, port = parse_address(listen)
    if port == 0:
        raise ValueError("a hub board cannot find a free port: name one with --listen HOST:PORT")
    with temporary_directory("snyper-hub-") as directory:
        config = {"listen": listen, "key": hub_key(), "crosstalk_ms": crosstalk_ms}
        board = BoardProcess(directory, "master", config)
        board.start()
        shown = 0
        is_ready = False
        try:
            while board.is_on:
                log = board.log
                sys.stderr.write(harmless(log[shown:]))
                shown = len(log)
                if not is_ready and "listening" in log:
                    is_ready = True
                    ready(format_address(dial_host(host), port))
                if not is_ready and board.resets:
                    break  # it could not listen, and tries again
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            board.stop()
        sys.stderr.write(harmless(board.log[shown:]))
        raise OSError(f"the hub board ended by itself, see its log above: is {listen} in use? {_ADVICE}")


_ADVICE = "Choose another with --listen HOST:PORT"
_OTHER_JOURNAL = "Name another with --journal PATH, or go without one: --no-journal"
