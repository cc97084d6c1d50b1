"""Run a hub board without a board: its firmware on MicroPython, as a process."""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from snyper.boards.board import BoardProcess
from snyper.boards.temporary import temporary_directory
from snyper.client.addresses import dial_host
from snyper.firmware.board.status import Status
from snyper.firmware.master.config import MAX_KEYS as MAX_KEYS
from snyper.firmware.master.hub_board import CEASE_FIRE
from snyper.shared.address import format_address, parse_address
from snyper.shared.log import log
from snyper.system.text import harmless

_POLL_SECONDS = 0.05

Ready = Callable[[str], None]


class CeaseFireKeeper(Protocol):
    """The file in which a cease fire outlives the hub, as `snyper.hub.cease_fire_file` has it."""

    def read(self) -> dict[str, Any] | None: ...

    async def write(self, said: dict[str, Any]) -> None: ...

    async def remove(self) -> None: ...


class _Latch:
    """The cease fire on a flash that goes with the process: taken from its `keeper`, and given back whenever
    the board has changed it.
    """

    def __init__(self, keeper: CeaseFireKeeper, flash: Path) -> None:
        self._keeper = keeper
        self._path = flash / CEASE_FIRE
        self._kept: bytes | None = None
        self._is_failing = False

    def take(self) -> None:
        """Put it onto the flash, before the board starts. Raises OSError."""
        try:
            said = self._keeper.read()
        except (OSError, ValueError):
            said = {}  # what cannot be read is one, to a board as to every hub
        if said is not None:
            self._kept = json.dumps(said).encode() if said else b""
            self._path.write_bytes(self._kept)

    async def give_back(self) -> None:
        """Keep what the board has made of it. What fails is said once, and tried again by the next call."""
        try:
            found = self._path.read_bytes()
        except FileNotFoundError:
            found = None
        if found == self._kept:
            return
        try:
            if found is None:
                await self._keeper.remove()
            else:
                await self._keeper.write(json.loads(found))
        except OSError as error:
            if not self._is_failing:
                log("cease fire", f"as it is it does not outlive this hub: {self._keeper} ({error!r})")
            self._is_failing = True
        else:
            self._kept = found
            self._is_failing = False


async def run_hub_board(
    listen: str, config: Mapping[str, Any], ready: Ready, keeper: CeaseFireKeeper | None = None
) -> None:
    """Run a hub board's firmware on MicroPython until cancelled, with its log on stderr. `config` is added to
    its config.json; `keeper` has the cease fire that outlives this process.

    Raises OSError when it ends by itself, or when no MicroPython is to be had; ValueError for port 0.
    """
    host, port = parse_address(listen)
    if port == 0:
        raise ValueError("a hub board cannot find a free port: name one with --listen HOST:PORT")
    with temporary_directory("snyper-hub-") as directory:
        board = BoardProcess(directory, "master", {"listen": listen, **config})
        latch = None if keeper is None else _Latch(keeper, board.flash)
        if latch is not None:
            latch.take()
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
                if latch is not None:
                    await latch.give_back()
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            board.stop()
            if latch is not None:
                await latch.give_back()
        sys.stderr.write(harmless(board.log[shown:]))
        raise OSError(
            f"the hub board ended by itself, see its log above: is {listen} in use?"
            " Choose another with --listen HOST:PORT"
        )
