"""A hub board with four targets, one console and a game: what a computer is otherwise needed for."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

pytest.importorskip("nicegui", reason="no NiceGUI here: pip install 'snyper[dashboard]'")

from snyper.boards import image
from snyper.boards.board import BoardProcess
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.model import Model
from snyper.dashboard.store import Store
from snyper.history.reader import History
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from tests.integration.harness import HOST, ROOT, TRAVEL_MS, free_port, needs_micropython, start_hub, until

pytestmark = needs_micropython

TARGETS = 4
QUICK = {"rounds": 2, "countdown_ms": 200, "pause_ms": 0, "changeover_ms": 0}
LEAST_FREE = 20_000  # of 182,000 bytes
GROWTH = 4_096  # the events of two games instead of one
LOADERS = "load_read, load_application)"


@asynccontextmanager
async def measured_hub(directory: Path) -> AsyncIterator[tuple[BoardProcess, str]]:
    """A hub board that says what is free of its heap (`free_of`), and its address."""
    main = directory / "main.py"
    source = image.files("master")["main.py"].read_text()
    assert LOADERS in source
    main.write_text("import memory_probe\n" + source.replace(LOADERS, f"*memory_probe.watch({LOADERS})"))
    address = f"{HOST}:{free_port()}"
    config = {"listen": address, "max_targets": TARGETS, "max_consoles": 1}
    board = BoardProcess(directory / "hub", "master", config, main=main)
    probe = ROOT / "tools" / "memory_probe.py"
    (board.flash / "memory_probe.mpy").write_bytes(image.compile_module(probe))
    try:
        await start_hub(board)
        yield board, address
        assert "Traceback" not in board.log, board.log
        assert board.resets == 0, board.log
    finally:
        board.kill()


async def free_of(board: BoardProcess) -> int:
    """What is free after a collection, in bytes."""

    def said() -> list[str]:
        lines = board.log.split("\n")[:-1]
        return [line.removeprefix("memory ") for line in lines if line.startswith("memory ")]

    before = len(said())
    (board.flash / "measure").touch()
    await until(lambda: len(said()) > before, "the board should measure")
    free: int = json.loads(said()[-1])["free"]
    return free


@asynccontextmanager
async def shot_targets(directory: Path, hub: str) -> AsyncIterator[None]:
    """Four targets on MicroPython, with somebody before each who hits whenever it is armed."""
    async with AsyncExitStack() as stack:
        for number in range(1, TARGETS + 1):
            name = f"target_{number}"
            config = {"target_id": name, "hub": [hub], "servo": {"travel_ms": TRAVEL_MS}}
            board = BoardProcess(directory / name, "target", config, hit_rate=1.0, reaction_ms=(50, 150))
            stack.callback(board.kill)
            board.start()
        yield


async def test_games_over_the_dashboards_console(tmp_path: Path) -> None:
    """Everything of the dashboard but its pages plays two games, the second as soon as the hub takes it. The
    board has memory while they are played, and as much after the second as after the first.
    """
    store = Store(None, tmp_path / "archive.sqlite3")
    while_playing: list[int] = []
    after: list[int] = []
    async with measured_hub(tmp_path) as (board, address), shot_targets(tmp_path, address):
        model = Model(address)
        feed = HubFeed(model, store)
        following = asyncio.create_task(feed.run())
        try:
            await until(lambda: model.online and len(connected(model)) == TARGETS, "all should be here")
            for seed in (1, 2):
                game_id = await start(feed, seed)
                await until(
                    lambda: model.game.game_id == game_id and model.game.done > 0,  # noqa: B023
                    "the game should go on",
                )
                while_playing.append(await free_of(board))
                await until(lambda: model.game.status == "over", "the game should end")
                assert model.game.reason == "finished"
                after.append(await free_of(board))
            assert model.hub_outages == deque(), "the console was never lost"
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            store.close()
    with History(store.path) as history:
        assert [game.reason for game in history.games()] == ["finished", "finished"]
    assert min(while_playing) > LEAST_FREE
    assert after[1] > after[0] - GROWTH


def connected(model: Model) -> list[str]:
    return [target_id for target_id, target in model.targets.items() if target.info.connected]


async def start(feed: HubFeed, seed: int) -> str:
    """Starts a game as soon as there is space for it, and returns its id."""
    while True:
        try:
            state = await feed.hub.start_game("quick", ["Ann", "Bo"], QUICK, seed)
        except ProtocolError as error:
            if error.code != ErrorCode.BUSY:
                raise
            await asyncio.sleep(0.05)
        else:
            return state.game_id
