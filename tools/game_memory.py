"""Measures what a hub board has left of its heap while games are played: `make memory ARGS=--games`.

A hub board on MicroPython, with and without a screen, four targets that are hit, and a console that sees all
events. Each of the six games is played twice, for up to GAME_S seconds.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from snyper.boards.board import BoardProcess
from snyper.boards.simulator import simulate
from snyper.boards.temporary import temporary_directory
from snyper.shared.link import Link
from snyper.shared.runtime import dial
from snyper.shared.socket_protocol import ALL_TARGETS, ErrorCode, MessageType, ProtocolError, SocketMessage
from tools.loopback import HOST, free_port
from tools.soak import TARGETS
from tools.watched_board import sample, until, watched_board

GAMES = ("quick", "gallery", "duel", "simon", "shoot", "reaction")
ROUNDS = 2
GAME_S = 6.0
SAMPLE_S = 0.5
READY_S = 30.0
ANSWER_MS = 3_000

_PANEL = {"screen": {"driver": "ssd1306"}, "buttons": {"choose_pin": 14, "start_pin": 15}}


@dataclass
class GameMemory:
    """Bytes free after `gc.collect()`, of `heap`. `refused` counts starts that found no memory, and were made
    again.
    """

    has_screen: bool
    heap: int
    before: list[int] = field(default_factory=list)  # before the first game
    between: list[int] = field(default_factory=list)
    during: list[int] = field(default_factory=list)
    refused: int = 0


async def measure(has_screen: bool, on_game: Callable[[str], None] = lambda game: None) -> GameMemory:
    """Play all games on one hub board; `on_game` is told each one that begins. Raises RuntimeError when the
    board fails, ProtocolError, TimeoutError, OSError.
    """
    port = free_port()
    config = {"listen": f"{HOST}:{port}", "max_targets": TARGETS, "max_consoles": 1}
    options: dict[str, Any] = {}
    if has_screen:
        config |= _PANEL
        options["screen"] = {}
    with temporary_directory("snyper-memory-") as directory:
        board, heap, _ = await watched_board(Path(directory), "master", config, options, speed=1)
        found = GameMemory(has_screen, heap)
        try:
            board.start()
            await until(lambda: board.times_up, "the hub should listen", board)
            async with _targets_and_console(port) as console:
                await _play_all(board, console, found, on_game)
        finally:
            board.kill()
    return found


async def _play_all(
    board: BoardProcess, console: Link, found: GameMemory, on_game: Callable[[str], None]
) -> None:
    for _ in range(6):
        found.before.append(await _free(board))
    for game in GAMES * ROUNDS:
        on_game(game)
        await _start(console, game, found)
        end = asyncio.get_running_loop().time() + GAME_S
        while asyncio.get_running_loop().time() < end:
            free = await _free(board)
            if (await _ask(console, MessageType.GET_GAME)).status != "running":
                break
            found.during.append(free)
        await _ask(console, MessageType.STOP_GAME)
        for _ in range(3):
            found.between.append(await _free(board))


async def _start(console: Link, game: str, found: GameMemory) -> None:
    for _ in range(20):
        try:
            data: dict[str, object] = {"game": game, "players": ["Ann", "Bo"], "seed": 7}
            await _ask(console, MessageType.START_GAME, ALL_TARGETS, data)
            return
        except ProtocolError as error:
            if error.code != ErrorCode.BUSY:
                raise
            found.refused += 1
            await asyncio.sleep(SAMPLE_S)
    raise RuntimeError(f"{game} does not start, try after try")


async def _ask(
    console: Link, message_type: str, target: str | None = None, data: dict[str, object] | None = None
) -> SocketMessage:
    return await console.request(SocketMessage(message_type, console.new_id(), target, data=data), ANSWER_MS)


async def _free(board: BoardProcess) -> int:
    await asyncio.sleep(SAMPLE_S)
    return (await sample(board, is_quiet=False)).free


@asynccontextmanager
async def _targets_and_console(port: int) -> AsyncIterator[Link]:
    """Yield a console that has seen all targets register."""
    everybody_is_here = asyncio.Event()
    here = set()

    def on_stream(message: SocketMessage) -> None:
        if (message.data or {}).get("event") == "registered":
            here.add(message.target_id)
        if len(here) == TARGETS:
            everybody_is_here.set()

    stream = await dial(HOST, port, ANSWER_MS)
    console = Link(stream, {}, "console")
    console.on_stream = on_stream
    console.start(lambda link: None)
    simulating = asyncio.create_task(simulate(TARGETS, "cpython", f"{HOST}:{port}", hit_rate=0.8))
    try:
        await _ask(console, MessageType.REGISTER, data={"role": "console"})
        await _ask(console, MessageType.SUBSCRIBE, data={"after": 0})
        await asyncio.wait_for(everybody_is_here.wait(), READY_S)
        yield console
    finally:
        simulating.cancel()
        console.end(ProtocolError(ErrorCode.DISCONNECTED, "it ends the link"))
        await asyncio.wait((simulating,))
        await console.let_go()


def rows(found: list[GameMemory]) -> list[list[str]]:
    """Return a table whose first row is its head."""
    table = [["hub board", "before the first game", "between games", "in a game", "the least", "refused"]]
    for one in found:
        free = [median(one.before), median(one.between), median(one.during), min(one.during)]
        shown = [f"{bytes_:,.0f} ({bytes_ / one.heap:.0%})" for bytes_ in free]
        table.append(["with a screen" if one.has_screen else "without a screen", *shown, str(one.refused)])
    return table
