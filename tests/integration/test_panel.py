"""The hub board's screen and buttons: real firmware on MicroPython, and what a person sees on the glass."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from snyper.boards.board import BoardProcess
from snyper.boards.micropython import find_micropython
from snyper.firmware.master.buttons import HOLD_MS
from tests.integration.harness import (
    HOST,
    ROOT,
    TRAVEL_MS,
    HubUnderTest,
    Peer,
    console_of,
    free_port,
    needs_micropython,
    peer_of,
    scripted_target,
    start_hub,
    until,
)
from tools.png import png, rows_of

pytestmark = needs_micropython

CHOOSE, START = 14, 15
PANEL = {
    "screen": {"driver": "ssd1306"},
    "buttons": {"choose_pin": CHOOSE, "start_pin": START},
}
RELEASE_SAMPLES = 4_000 // 20  # a second longer than both buttons are held to release a cease fire
HOLD_SAMPLES = HOLD_MS * 3 // 2 // 20  # half as long again as a hold lasts, at a sample every 20 ms

# Draws each scene of stdin on a FrameBuffer and prints its points, without the heartbeat's.
_DRAW = """
import json, sys, framebuf
from snyper.firmware.master import screen
for line in sys.stdin:
    name, arguments = json.loads(line)
    arguments = [tuple(one) if type(one) is list else one for one in arguments]
    buffer = bytearray(1024)
    canvas = framebuf.FrameBuffer(buffer, 128, 64, framebuf.MONO_HLSB)
    getattr(screen, name)(canvas, *arguments)
    screen.draw_heartbeat(canvas, False)
    print(buffer.hex())
"""
NOBODY = ("", "")  # has released a cease fire
_BEAT = [(x, y) for y in range(2, 6) for x in range(123, 127)]


def picture_of(name: str, *arguments: Any) -> list[list[int]]:
    """What `snyper.firmware.master.screen` draws, as rows of points."""
    done = subprocess.run(
        [str(find_micropython()), "-c", _DRAW],
        input=json.dumps([name, arguments]) + "\n",
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT / "host",
    )
    return rows_of(done.stdout.strip())


def seen(hub: HubUnderTest) -> list[list[int]]:
    """The points on the glass, without the heartbeat's."""
    assert hub.board is not None
    shown = hub.board.screen()
    rows = rows_of(shown["picture"]) if shown else [[0] * 128 for _ in range(64)]
    for x, y in _BEAT:
        rows[y][x] = 0
    return rows


async def shows(hub: HubUnderTest, name: str, *arguments: Any, deadline_s: float = 15.0) -> None:
    """Waits until the glass shows that scene."""
    expected = await asyncio.to_thread(picture_of, name, *arguments)
    try:
        await until(lambda: seen(hub) == expected, f"the screen should show {name}{arguments}", deadline_s)
    except AssertionError:
        assert hub.board is not None
        for what, rows in (("seen", seen(hub)), ("expected", expected)):
            (hub.board.directory / f"{what}.png").write_bytes(png(rows, 4))
        print(f"see seen.png and expected.png in {hub.board.directory}\n{hub.board.log}")
        raise


async def game_event(console: Peer, event: str, deadline_s: float = 15.0) -> dict[str, Any]:
    """The data of the next event of that name."""
    while True:
        message = await console.next(deadline_s)
        if message["type"] == "event" and message["data"]["event"] == event:
            data: dict[str, Any] = message["data"]
            return data


def told(console: Peer) -> dict[str, dict[str, Any]]:
    """The data of the last event of each name so far."""
    events = [message["data"] for message in console.received if message["type"] == "event"]
    return {data["event"]: data for data in events}


async def press(hub: HubUnderTest, gpio: int, samples: int = 4) -> None:
    """Push a button; return once the firmware has sampled it."""
    assert hub.board is not None
    board = hub.board
    board.press(gpio, samples)
    await until(lambda: not (board.directory / "levels").exists(), "the button should be sampled")


@asynccontextmanager
async def hub_with_panel(
    directory: Path, panel: dict[str, Any] = PANEL, screen: dict[str, int] | None = None, speed: int = 1
) -> AsyncIterator[HubUnderTest]:
    port = free_port()
    config = {"listen": f"{HOST}:{port}", "max_targets": 4, "max_consoles": 1, **panel}
    board = BoardProcess(directory / "hub", "master", config, screen=screen or {}, speed=speed)
    try:
        await start_hub(board)
        yield HubUnderTest(port, board=board)
        assert "Traceback" not in board.log, board.log
        assert board.resets == 0, board.log
        assert board.screen().get("unknown", []) == []
    finally:
        board.kill()


@asynccontextmanager
async def shot_target(directory: Path, hub: HubUnderTest) -> AsyncIterator[None]:
    """A target on MicroPython with somebody before it who hits whenever it is armed."""
    config = {"target_id": "target_1", "hub": [hub.address], "servo": {"travel_ms": TRAVEL_MS}}
    board = BoardProcess(directory / "target_1", "target", config, hit_rate=1.0)
    board.start()
    try:
        yield
    finally:
        board.kill()


async def test_nobody_is_here_then_targets_are(tmp_path: Path) -> None:
    async with hub_with_panel(tmp_path) as hub:
        await shows(hub, "draw_empty", NOBODY, "snyper")
        async with scripted_target(hub, "target_1", state="standing"):
            await shows(hub, "draw_menu", NOBODY, ["standing"], 4, "quick", "1/6")
            async with scripted_target(hub, "target_2", state="armed"):
                await shows(hub, "draw_menu", NOBODY, ["standing", "armed"], 4, "quick", "1/6")
            await shows(hub, "draw_menu", NOBODY, ["standing", ""], 4, "quick", "1/6")
            await press(hub, CHOOSE)
            await shows(hub, "draw_menu", NOBODY, ["standing", ""], 4, "gallery", "2/6")
            for _ in range(5):
                await press(hub, CHOOSE)
            await shows(hub, "draw_menu", NOBODY, ["standing", ""], 4, "quick", "1/6")
        await shows(hub, "draw_empty", NOBODY, "snyper")


async def test_no_write_holds_the_hub_for_long(tmp_path: Path) -> None:
    """135 bytes and the address at 400 kHz and 9 clocks each are 3.06 ms."""
    async with hub_with_panel(tmp_path) as hub, scripted_target(hub, "target_1", state="down"):
        await shows(hub, "draw_menu", NOBODY, ["down"], 4, "quick", "1/6")
        assert hub.board is not None
        assert hub.board.screen()["longest_bytes"] == 135


async def test_a_game_from_button_to_button(tmp_path: Path) -> None:
    """Gallery with its defaults: the shooter hits whatever rises; the scores stay until somebody presses."""
    async with hub_with_panel(tmp_path) as hub, shot_target(tmp_path, hub):
        await press(hub, CHOOSE)
        await shows(hub, "draw_menu", NOBODY, ["down"], 4, "gallery", "2/6")
        async with console_of(hub, subscribed=True) as console:
            await press(hub, START)
            started = await game_event(console, "game_started")
            assert started["game"] == "gallery"
            await shows(hub, "draw_countdown", NOBODY, "gallery", 1, 3)
            over = await game_event(console, "game_over", 60.0)
        assert over["reason"] == "finished"
        assert over["scores"][0] > 0
        await shows(hub, "draw_over", NOBODY, "gallery", over["players"], over["scores"], "finished")
        await press(hub, CHOOSE)
        await shows(hub, "draw_menu", NOBODY, ["down"], 4, "gallery", "2/6")


async def test_a_held_button_stops_a_game_and_not_the_one_it_has_started(tmp_path: Path) -> None:
    async with hub_with_panel(tmp_path) as hub, scripted_target(hub, "target_1", state="down"):
        async with console_of(hub, subscribed=True) as console:
            await press(hub, START, HOLD_SAMPLES)
            await game_event(console, "game_started")
            await shows(hub, "draw_countdown", NOBODY, "quick", 1, 1)  # it still runs two seconds later
            await press(hub, START, HOLD_SAMPLES)
            over = await game_event(console, "game_over")
            assert over["reason"] == "stopped"
        await shows(hub, "draw_over", NOBODY, "quick", over["players"], over["scores"], "stopped")


@pytest.mark.slow
async def test_a_held_button_calls_a_cease_fire_and_both_release_it(tmp_path: Path) -> None:
    """Whatever is played; the button of the game does nothing meanwhile."""
    async with hub_with_panel(tmp_path) as hub, scripted_target(hub, "target_1", state="down") as target:
        async with console_of(hub, subscribed=True) as console:
            await press(hub, START)
            await game_event(console, "game_started")
            await press(hub, CHOOSE, HOLD_SAMPLES)
            await until(lambda: {"game_over", "cease_fire"} <= set(told(console)), "both should be told")
            assert told(console)["cease_fire"]["kept"]
            assert told(console)["game_over"]["reason"] == "stopped"
            await shows(hub, "draw_safe", "the hub board", "", "0s", "release: both 3s")
            await press(hub, START)
            assert (await console.ask("stand_up", "target_1"))["data"]["code"] == "cease_fire"
            # By now nothing is held.
            await shows(hub, "draw_safe", "the hub board", "", "10s", "release: both 3s")
            await press(hub, CHOOSE, RELEASE_SAMPLES)
            await press(hub, START, RELEASE_SAMPLES)
            assert (await game_event(console, "release"))["by"] == "the hub board"
            over = told(console)["game_over"]
            scene = ("quick", over["players"], over["scores"], "stopped")
            await shows(hub, "draw_over", ("the hub board", "0s"), *scene)
            assert (await console.ask("stand_up", "target_1"))["status"] == "standing"
        assert "lay_down" in [message["type"] for message in target.received]


async def test_the_button_calls_one_though_the_last_was_released_under_its_hand(tmp_path: Path) -> None:
    async with hub_with_panel(tmp_path) as hub, console_of(hub, subscribed=True) as console:
        board = hub.board
        assert board is not None
        await console.ask("cease_fire", by="Ann")
        await shows(hub, "draw_safe", "Ann", "", "0s", "release: both 3s")
        await press(hub, CHOOSE, RELEASE_SAMPLES)
        board.press(START, RELEASE_SAMPLES)
        await shows(hub, "draw_safe", "Ann", "", "0s", "release in 2 s")
        await console.ask("release")
        await until(lambda: not (board.directory / "levels").exists(), "both should be let go")
        await press(hub, CHOOSE, HOLD_SAMPLES)
        assert (await game_event(console, "cease_fire"))["by"] == "the hub board"


async def test_one_button_alone_calls_a_cease_fire_and_held_for_long_releases_it(tmp_path: Path) -> None:
    panel = {**PANEL, "buttons": {"choose_pin": CHOOSE, "start_pin": ""}}
    async with hub_with_panel(tmp_path, panel, speed=5) as hub, peer_of(hub) as console:
        await console.ask("register", role="console", heartbeat_ms=60_000)
        await console.ask("subscribe")
        await press(hub, CHOOSE, 6_000 // 20)  # it is not released by the hand that has called it
        assert (await game_event(console, "cease_fire"))["by"] == "the hub board"
        await press(hub, CHOOSE, HOLD_SAMPLES)
        assert (await console.ask("get_cease_fire"))["data"]["held"]
        await press(hub, CHOOSE, 6_000 // 20)
        assert (await game_event(console, "release"))["by"] == "the hub board"


async def test_a_game_that_cannot_start_says_why(tmp_path: Path) -> None:
    async with hub_with_panel(tmp_path) as hub:
        await shows(hub, "draw_empty", NOBODY, "snyper")
        await press(hub, START)
        await shows(hub, "draw_words", NOBODY, "quick", "no target is all")
        await press(hub, CHOOSE)
        await shows(hub, "draw_empty", NOBODY, "snyper")


async def test_a_screen_is_unplugged_and_comes_back(tmp_path: Path) -> None:
    async with hub_with_panel(tmp_path) as hub, scripted_target(hub, "target_1", state="down"):
        board = hub.board
        assert board is not None
        await shows(hub, "draw_menu", NOBODY, ["down"], 4, "quick", "1/6")
        board.plug_screen(False)
        await until(lambda: "the screen does not answer" in board.log, "its loss should be said")
        async with console_of(hub) as console:
            assert (await console.ask("stand_up", "target_1"))["status"] == "standing"
        board.plug_screen(True)
        await shows(hub, "draw_menu", NOBODY, ["standing"], 4, "quick", "1/6")
        assert "the screen is back" in board.log
        assert board.log.count("does not answer") == 1


async def test_a_hub_whose_screen_was_never_there_serves(tmp_path: Path) -> None:
    async with hub_with_panel(tmp_path, screen={"plugged": 0}) as hub:
        board = hub.board
        assert board is not None
        await until(lambda: "the screen does not answer" in board.log, "that should be said")
        async with scripted_target(hub, "target_1", state="down"), console_of(hub, True) as console:
            await press(hub, START)
            assert (await game_event(console, "game_started"))["game"] == "quick"


async def test_the_heart_beats_while_targets_hang(tmp_path: Path) -> None:
    """Three of four targets answer nothing. Between a command and the answer that gives them up the dot comes
    and goes on the glass, twice a second.
    """
    async with hub_with_panel(tmp_path) as hub, AsyncExitStack() as targets:
        for name in ("hangs_1", "hangs_2", "hangs_3"):
            await targets.enter_async_context(scripted_target(hub, name, {}, state="down"))
        await targets.enter_async_context(scripted_target(hub, "answers", state="down"))
        await shows(hub, "draw_menu", NOBODY, ["down"] * 4, 4, "quick", "1/6")
        async with console_of(hub) as console:
            beats: list[bool] = []
            counting = asyncio.create_task(count_beats(hub, beats))
            answer = await console.answer_to(await console.request("stand_up", "all", timeout_ms=3_000))
            counting.cancel()
        assert answer[-1]["data"] == {"ok": 1, "failed": 3}
        assert len(beats) >= 4, "six are in 3 s"


async def count_beats(hub: HubUnderTest, beats: list[bool]) -> None:
    """Adds to `beats` each time that the dot comes or goes, for ever."""
    assert hub.board is not None
    x, y = _BEAT[0]

    def is_on() -> bool:
        assert hub.board is not None
        return bool(rows_of(hub.board.screen()["picture"])[y][x])

    now = is_on()
    while True:
        await until(lambda: is_on() != now, "the dot should change")  # noqa: B023
        now = not now
        beats.append(now)
