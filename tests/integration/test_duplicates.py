"""Two boards with one name: which of them is let in, who is told of it, and who is left in peace."""

import asyncio
import importlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from snyper.boards import simulator
from snyper.firmware.master.duplicates import PROBE_MS
from tests.integration.harness import (
    KNOWN_LOST_S,
    MICROPYTHON,
    SLACK_S,
    HubUnderTest,
    Message,
    Peer,
    console_of,
    each_body,
    each_engine,
    peer_of,
    registration,
    running_hub,
    scripted_hub,
    scripted_target,
    snyper,
    until,
    virtual_target,
)
from tests.integration.stopwatch import running_s

BOARD: dict[str, Any] = {"hardware_id": "h", "boot_id": "first"}
DUPLICATE: dict[str, Any] = {"hardware_id": "h", "boot_id": "duplicate"}
PROBE_S = PROBE_MS / 1000


@asynccontextmanager
async def hub_with_board(engine: str, directory: Path) -> AsyncIterator[tuple[HubUnderTest, Peer, Peer]]:
    """A hub, a console that hears of everything, and an obedient target `a` that must not be disturbed."""
    async with (
        running_hub(engine, directory) as hub,
        console_of(hub, subscribed=True) as console,
        scripted_target(hub, "a", **BOARD) as board,
    ):
        await console.event("registered", "a")
        yield hub, console, board


def events_of(console: Peer) -> list[str]:
    return [message["data"]["event"] for message in console.received if message["type"] == "event"]


async def falls_silent(board: Peer, console: Peer) -> None:
    """Have a board answer no heartbeat, once the hub has read all the answers that it has given."""
    board.answers_heartbeat = False
    assert (await console.ask("ping", "a"))["status"] == "alive"


async def refused(hub: HubUnderTest, **about: str) -> Message:
    """A board that is told that there is another with the name, and hung up on."""
    async with peer_of(hub) as rival:
        await rival.send(registration("a", **about))
        error = await rival.expect_error("duplicate_target", id=0, target_id="a")
        rival.half_close()
        await rival.end()
        return error


@each_engine
@pytest.mark.parametrize(
    "about",
    [
        pytest.param(DUPLICATE, id="duplicate"),
        pytest.param(BOARD, id="same boot"),
        pytest.param({"hardware_id": "h"}, id="no boot"),
        pytest.param({"hardware_id": "other", "boot_id": "b"}, id="another board"),
        pytest.param({}, id="a board without an id"),
    ],
)
async def test_who_is_alive_keeps_the_name(engine: str, about: dict[str, Any], tmp_path: Path) -> None:
    async with hub_with_board(engine, tmp_path) as (hub, console, board):
        for _ in range(5):
            error = await refused(hub, **about)
            assert "a" in error["data"]["message"]
        assert (await console.ask("stand_up", "a"))["status"] == "standing"
        assert not board.ended
        # Said once, to consoles and in the log, with what to do.
        assert events_of(console) == ["registered", "duplicate", "state"]
        [said] = [
            message["data"]["message"]
            for message in console.received
            if message["type"] == "event" and message["data"]["event"] == "duplicate"
        ]
        assert said == error["data"]["message"]
        assert "rename one" in said or "stop one" in said
        target, _ = await console.answer_to(await console.request("list_targets"))
        assert target["data"]["last_error"] == "duplicate"
        if hub.board is not None:
            assert hub.board.log.count(said) == 1
            assert (hub.board.flash / "snyper.log").read_text().count(said) == 1


@each_engine
@pytest.mark.parametrize(
    "about", [BOARD, DUPLICATE, {"hardware_id": "h"}], ids=["same boot", "reboot", "no boot"]
)
async def test_who_is_silent_gives_the_name_away(engine: str, about: dict[str, Any], tmp_path: Path) -> None:
    """A connection that its board has forgotten, in a reboot or an outage, keeps it out for a moment only."""
    async with hub_with_board(engine, tmp_path) as (hub, console, board):
        await falls_silent(board, console)
        began_s = running_s()
        async with scripted_target(hub, "a", **about) as again:
            assert running_s() - began_s < PROBE_S + SLACK_S / 2 < KNOWN_LOST_S
            await board.end(1.0)
            assert (await console.ask("stand_up", "a"))["status"] == "standing"
            await again.expect("stand_up")
        await console.event("lost", "a")
        assert "duplicate" not in events_of(console)


@each_engine
async def test_who_answers_no_ping_and_speaks_keeps_the_name(engine: str, tmp_path: Path) -> None:
    async with hub_with_board(engine, tmp_path) as (hub, console, board):
        board.answers_heartbeat = False

        async def speak() -> None:
            while True:
                await board.send(b"\n")
                await asyncio.sleep(0.1)

        speaking = asyncio.create_task(speak())
        try:
            for _ in range(2):
                await refused(hub, **DUPLICATE)
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
        assert not board.ended
        assert events_of(console) == ["registered", "duplicate"]


@each_engine
async def test_who_hangs_up_gives_the_name_away_at_once(engine: str, tmp_path: Path) -> None:
    async with hub_with_board(engine, tmp_path) as (hub, _, board):
        board.answers_heartbeat = False
        async with peer_of(hub) as again:
            asked = board.heartbeats
            await again.send(registration("a", **DUPLICATE))
            await until(lambda: board.heartbeats > asked, "the hub should ask the board that is here")
            began_s = running_s()
            await board.close(reset=True)
            await again.expect("registered", id=0)
            assert running_s() - began_s < PROBE_S / 2


@each_engine
async def test_who_waits_for_the_answer_is_told_so(engine: str, tmp_path: Path) -> None:
    async with hub_with_board(engine, tmp_path) as (hub, console, board):
        await falls_silent(board, console)
        async with peer_of(hub) as again:
            again.answers = {"ping": ("pong", "alive")}
            await again.send(registration("a", **DUPLICATE), {"type": "hit", "id": 7}, b"rubbish\n")
            await again.expect_error("busy", id=7)
            await again.expect_error("bad_json")
            await again.expect("registered", id=0)
            assert (await console.ask("ping", "a"))["status"] == "alive"


@each_engine
async def test_who_goes_while_the_other_is_asked_takes_no_place(engine: str, tmp_path: Path) -> None:
    async with hub_with_board(engine, tmp_path) as (hub, console, board):
        board.answers_heartbeat = False
        for reset in (False, True):
            async with peer_of(hub) as again:
                asked = board.heartbeats
                await again.send(registration("a", **DUPLICATE))
                await until(lambda: board.heartbeats > asked, "the hub should ask the board that is here")  # noqa: B023
                await again.close(reset)
        lost = await console.event("lost", "a")
        assert lost["code"] == "timeout"
        assert events_of(console) == ["registered", "lost"]


@each_engine
async def test_of_many_duplicates_one_is_let_in(engine: str, tmp_path: Path) -> None:
    async with hub_with_board(engine, tmp_path) as (hub, console, board), AsyncExitStack() as stack:
        board.answers_heartbeat = False
        duplicates = [await stack.enter_async_context(peer_of(hub)) for _ in range(3)]
        for number, duplicate in enumerate(duplicates):
            await duplicate.send(registration("a", hardware_id="h", boot_id=f"b{number}"))
        answers = [await duplicate.next() for duplicate in duplicates]
        assert sorted(answer["type"] for answer in answers) == ["error", "error", "registered"]
        await console.event("duplicate", "a")
        assert events_of(console) == ["registered", "registered", "duplicate"]


@each_engine
@each_body
async def test_two_boards_of_the_real_firmware(engine: str, body: str, tmp_path: Path) -> None:
    """The first goes on as if the other were not there; when it goes, the other has the name."""
    async with (
        running_hub(engine, tmp_path) as hub,
        console_of(hub, subscribed=True) as console,
        AsyncExitStack() as stack,
    ):
        first = await stack.enter_async_context(virtual_target(body, tmp_path / "1", hub.address))
        await console.event("registered", "target_1")
        assert (await console.ask("stand_up", "target_1"))["status"] == "standing"
        await stack.enter_async_context(virtual_target(body, tmp_path / "2", hub.address))
        await console.event("duplicate", "target_1")
        began = time.monotonic()
        while time.monotonic() - began < 3.0:  # in which they would have thrown each other out for long
            assert (await console.ask("ping", "target_1"))["data"]["state"] == "standing"
            await asyncio.sleep(0.1)
        assert events_of(console) == ["registered", "state", "duplicate"]
        await first.kill()
        await console.event("lost", "target_1")
        await console.event("registered", "target_1")


@pytest.mark.parametrize(
    ("code", "is_slow"), [("duplicate_target", True), ("unauthorized", True), ("busy", False)]
)
async def test_who_is_refused_for_long_asks_less_often(
    code: str, is_slow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person has to do something before it is let in; a place in a full hub may be free at any time."""
    simulator.import_virtual_hardware()
    session = importlib.import_module("snyper.firmware.target.session").TargetSession
    monkeypatch.setattr(session, "max_retry_ms", 100)
    monkeypatch.setattr(session, "max_refused_ms", 800)
    at_s = []
    async with scripted_hub() as hub, virtual_target("cpython", tmp_path, hub.address):
        for _ in range(7):
            peer = await hub.accept()
            message = await peer.expect("register")
            at_s.append(time.monotonic())
            error = {"code": code, "message": "no"}
            await peer.send({"type": "error", "id": message["id"], "status": "error", "data": error})
            await peer.end()
        await hub.register()
    gaps_s = [after - before for before, after in pairwise(at_s)]
    assert (min(gaps_s[-2:]) > 0.4) is is_slow, gaps_s


def test_one_lost_attempt_after_a_refusal_starts_no_radio_anew() -> None:
    simulator.import_virtual_hardware()
    module = importlib.import_module("snyper.firmware.target.session")
    session = module.TargetSession
    lost_ms = max(session.dial_timeout_ms, session.register_timeout_ms) + session.max_retry_ms
    assert session.max_refused_ms + lost_ms < module.HUB_SILENCE_MS


@pytest.mark.parametrize("engine", ["cpython", MICROPYTHON])
async def test_two_simulators_by_mistake(engine: str, tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path, 8) as hub, AsyncExitStack() as stack:
        assert hub.hub is not None
        registry = hub.hub.router.registry
        simulate = ("simulate", "--targets", "2", "--engine", engine, "--hub", hub.address)
        await stack.enter_async_context(snyper(*simulate))
        await until(lambda: len(registry.connected()) == 2, "the first two should be here")
        links = [entry.link for entry in registry.entries()]
        second = await stack.enter_async_context(snyper(*simulate))
        await second.says("is not let in")
        await second.says("stop one of the two, or one of two simulators")
        await until(lambda: "target_1" in second.err and "target_2" in second.err, "it should name both")
        assert [entry.link for entry in registry.entries()] == links
        assert hub.hub.router.events.seq == 4, "two registered, and a duplicate each"


@each_engine
async def test_two_consoles_with_one_name_are_two(engine: str, tmp_path: Path) -> None:
    async with running_hub(engine, tmp_path, max_consoles=2) as hub, AsyncExitStack() as stack:
        for _ in range(2):
            peer = await stack.enter_async_context(peer_of(hub))
            reply = await peer.ask("register", "desk", role="console", **BOARD)
            assert reply["status"] == "registered"
            assert (await peer.ask("list_targets"))["status"] == "ok"
