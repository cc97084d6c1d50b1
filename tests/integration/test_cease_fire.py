"""Cease fire: on both runtimes, over real sockets, with the real target firmware."""

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from snyper.firmware.master.cease_fire import _FlashFile, restore
from snyper.firmware.master.server import Hub
from snyper.hub import cease_fire_file
from snyper.hub.cease_fire_file import CeaseFireFile
from tests.integration.harness import (
    DEADLINE_S,
    DOWN_NS,
    HOST,
    OBEDIENT,
    UP_NS,
    HubUnderTest,
    Peer,
    VirtualTarget,
    console_of,
    each_body,
    each_engine,
    free_port,
    linux_only,
    mortal_hub,
    needs_micropython,
    peer_of,
    run_snyper,
    running_hub,
    scripted_hub,
    scripted_target,
    snyper,
    start_hub,
    until,
    virtual_target,
)


def is_at(target: VirtualTarget, angle_ns: int) -> bool:
    return abs(target.duty_ns() - angle_ns) < 1_000


def told(console: Peer) -> list[str]:
    return [message["data"]["event"] for message in console.received if message["type"] == "event"]


@each_engine
@each_body
async def test_a_cease_fire_lowers_all_and_refuses_all_that_moves_until_it_is_released(
    engine: str, body: str, tmp_path: Path
) -> None:
    async with (
        running_hub(engine, tmp_path) as hub,
        console_of(hub, subscribed=True) as console,
        virtual_target(body, tmp_path, hub.address) as target,
    ):
        await console.event("registered", "target_1")
        assert (await console.ask("get_cease_fire"))["data"] == {"held": False}
        assert (await console.ask("lay_down", "target_1"))["status"] == "down"
        assert (await console.ask("stand_up", "target_1"))["status"] == "standing"
        assert is_at(target, UP_NS)
        late = await console.request("activate", "target_1", in_ms=60_000)  # waits at the target

        messages = await console.answer_to(await console.request("cease_fire", by="Ann", why="a dog"))
        [result, reply] = [message for message in messages if message["type"] != "event"]
        assert (result["target_id"], result["status"]) == ("target_1", "down")
        assert (reply["type"], reply["status"]) == ("reply", "held")
        about = reply["data"]
        assert about.pop("for_ms") >= 0
        assert about == {
            "held": True,
            "by": "Ann",
            "why": "a dog",
            "kept": engine != "cpython",
            "restored": False,
        }
        assert is_at(target, DOWN_NS)
        [called_off] = [message for message in console.received if message.get("id") == late]
        assert called_off["data"]["code"] == "superseded"

        for word, data in (
            ("stand_up", {}),
            ("activate", {}),
            ("stand_up", {"in_ms": 100}),
            ("unheard_of", {}),
        ):
            for who in ("target_1", "all"):
                refused = await console.ask(word, who, **data)
                assert refused["data"]["code"] == "cease_fire", refused
        assert "Ann" in (await console.ask("stand_up", "target_1"))["data"]["message"]
        assert (await console.ask("start_game", game="quick"))["data"]["code"] == "cease_fire"
        for word in ("ping", "lay_down", "identify", "read_log"):
            assert (await console.ask(word, "target_1"))["type"] != "error", word
        assert is_at(target, DOWN_NS)

        about = (await console.ask("release", by="Ann"))["data"]
        assert about.pop("for_ms") >= 0
        assert about == {"held": False, "by": "Ann"}
        assert (await console.ask("stand_up", "target_1"))["status"] == "standing"
        kinds = [kind for kind in told(console) if kind in ("cease_fire", "release")]
        assert kinds == ["cease_fire", "release"]


@each_engine
async def test_a_target_that_comes_while_it_holds_is_lowered_however_it_stands(
    engine: str, tmp_path: Path
) -> None:
    async with running_hub(engine, tmp_path) as hub, console_of(hub, subscribed=True) as console:
        assert (await console.ask("cease_fire"))["status"] == "held"
        async with scripted_target(hub, "target_1", {}, state="armed") as target:
            lay_down = await target.expect("lay_down")
            await target.send(
                {"type": "error", "id": lay_down["id"], "data": {"code": "busy", "message": "no"}}
            )
            lay_down = await target.expect("lay_down")  # until it has said that it lies
            await target.send({"type": "down", "id": lay_down["id"], "status": "down"})
            await console.event("state", "target_1")
            await target.send({"type": "ping", "id": 9, "data": {"state": "standing"}})
            await target.expect("pong")
            await target.expect("lay_down")
        async with scripted_target(hub, "target_1", {}, state="down") as target:
            await target.expect("lay_down")


@each_body
async def test_it_outlives_the_hub(body: str, tmp_path: Path) -> None:
    path, port = tmp_path / "cease_fire.json", free_port()

    async def starts_again() -> Hub:
        hub = Hub(HOST, port, 4, 4)
        hub.cease_fire_file = CeaseFireFile(path)
        restore(hub)
        await hub.start()
        return hub

    hub = await starts_again()
    under_test = HubUnderTest(port, hub=hub)
    try:
        async with virtual_target(body, tmp_path, under_test.address, safe_pose="stay") as target:
            async with console_of(under_test, subscribed=True) as console:
                await console.event("registered", "target_1")
                assert (await console.ask("stand_up", "target_1"))["status"] == "standing"
            async with peer_of(under_test) as rude:  # who calls it and is gone at once
                await rude.send(
                    {"type": "register", "id": 1, "data": {"role": "console"}},
                    {"type": "cease_fire", "id": 2, "data": {"by": "Ann", "why": "a dog"}},
                )
                await rude.expect("registered")
            await until(path.exists, "it should be kept")
            await hub.shut_down()
            assert path.stat().st_mode & 0o777 == 0o600
            hub = await starts_again()
            async with console_of(under_test, subscribed=True) as console:
                about = (await console.ask("get_cease_fire"))["data"]
                assert about.pop("for_ms") >= 0
                assert about == {"held": True, "by": "Ann", "why": "a dog", "kept": True, "restored": True}
                await console.event("registered", "target_1")
                await until(lambda: is_at(target, DOWN_NS), "the target should lie")
                assert (await console.ask("stand_up", "target_1"))["data"]["code"] == "cease_fire"
                assert (await console.ask("release"))["status"] == "released"
                assert not path.exists()
                assert (await console.ask("stand_up", "target_1"))["status"] == "standing"
    finally:
        await hub.shut_down()


@needs_micropython
async def test_it_outlives_a_hub_board(tmp_path: Path) -> None:
    async with running_hub("micropython", tmp_path) as hub:
        assert hub.board is not None
        async with console_of(hub) as console:
            assert (await console.ask("cease_fire", by="Ann"))["data"]["kept"]
        hub.board.kill()
        await start_hub(hub.board)
        async with console_of(hub) as console, scripted_target(hub, "target_1", {}) as target:
            about = (await console.ask("get_cease_fire"))["data"]
            assert (about["by"], about["restored"]) == ("Ann", True)
            await target.expect("lay_down")
            assert (await console.ask("release"))["status"] == "released"
        hub.board.kill()
        await start_hub(hub.board)
        async with console_of(hub) as console:
            assert (await console.ask("get_cease_fire"))["data"] == {"held": False}


@needs_micropython
async def test_it_outlives_a_hub_board_that_is_a_command(tmp_path: Path) -> None:
    """Its flash goes with it, also when it is killed; the file is where every hub of that port looks."""
    data, address = {"XDG_DATA_HOME": str(tmp_path)}, f"{HOST}:{free_port()}"

    def kept() -> list[Path]:
        return list(tmp_path.rglob("cease-fire-*.json"))

    hub = ("hub", "--engine", "micropython", "--listen", address, "--json")
    async with snyper(*hub, **data) as command:
        await command.listens()
        assert (await run_snyper("cease-fire", "--why", "a dog", "--hub", address))[0] == 0
        await until(kept, "it should be kept")
    async with snyper(*hub, **data) as command:
        await command.listens()
        _, out, _ = await run_snyper("targets", "--hub", address)
        assert out.startswith(" SAFE  cease fire by ")
        assert ": a dog" in out
        assert (await run_snyper("cease-fire", "--release", "--hub", address))[0] == 0
        await command.interrupt()
    assert not kept()


@linux_only  # for /dev/full
def test_a_full_flash_keeps_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cease_fire.json.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        asyncio.run(_FlashFile("cease_fire.json").write({"by": "Ann", "why": "", "for_ms": 0}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"by":7,"why":[],"since_unix_ms":1}',
        b'{"by":"Ann","why":"","since_unix_ms":Infinity}',
        b'{"by":"Ann","why":"","since_unix_ms":-1' + b"0" * 400 + b"}",
        b'{"by":"\\ud800","why":"","since_unix_ms":1}',
        "a folder",
        "a pipe",
    ],
)
async def test_a_file_that_cannot_be_read_is_a_cease_fire(content: bytes | str, tmp_path: Path) -> None:
    path = tmp_path / "cease_fire.json"
    if content == "a folder":
        path.mkdir()
    elif isinstance(content, str):
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    hub = Hub(HOST, 0, 4, 4)
    hub.cease_fire_file = CeaseFireFile(path)
    restore(hub)
    await hub.start()
    try:
        async with console_of(HubUnderTest(hub.port, hub=hub)) as console:
            assert (await console.ask("get_cease_fire"))["data"]["held"] is True
            again = await console.ask("cease_fire")
            assert (again["status"], again["data"]["by"]) == ("held", "somebody")
            released = await console.ask("release")
            if content == "a folder":  # what cannot be removed would hold again after the next start
                assert released["data"]["code"] == "fault"
                assert (await console.ask("get_cease_fire"))["data"]["held"] is True
            else:
                assert released["status"] == "released"
    finally:
        await hub.shut_down()


async def test_what_cannot_be_written_holds_and_says_so(tmp_path: Path) -> None:
    hub = Hub(HOST, 0, 4, 4)
    folder = tmp_path / "folder"
    folder.touch()
    hub.cease_fire_file = CeaseFireFile(folder / "cease_fire.json")
    await hub.start()
    try:
        async with console_of(HubUnderTest(hub.port, hub=hub)) as console:
            about = (await console.ask("cease_fire"))["data"]
            assert (about["held"], about["kept"]) == (True, False)
            assert (await console.ask("release"))["status"] == "released"  # nothing is there to be removed
            folder.unlink()
            about = (await console.ask("cease_fire"))["data"]
            assert (about["held"], about["kept"]) == (True, True)
    finally:
        await hub.shut_down()


async def test_a_file_that_goes_after_its_release_was_refused_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may, went = threading.Event(), threading.Event()

    class OnSlowDisk(CeaseFireFile):
        def _remove(self) -> None:
            may.wait(DEADLINE_S)
            super()._remove()
            assert not self.path.exists()
            went.set()

    monkeypatch.setattr(cease_fire_file, "TIMEOUT_S", 0.1)
    hub = Hub(HOST, 0, 4, 4)
    hub.cease_fire_file = file = OnSlowDisk(tmp_path / "cease_fire.json")
    await hub.start()
    try:
        async with console_of(HubUnderTest(hub.port, hub=hub)) as console:
            await console.ask("cease_fire", by="Ann")
            assert (await console.ask("release"))["data"]["code"] == "fault"
            may.set()
            await asyncio.to_thread(went.wait, DEADLINE_S)
            await until(file.path.exists, "it should be there again")
            assert (await console.ask("get_cease_fire"))["data"]["kept"]
            kept = CeaseFireFile(file.path).read()
            assert kept is not None
            assert kept["by"] == "Ann"
            monkeypatch.setattr(cease_fire_file, "TIMEOUT_S", DEADLINE_S)
            assert (await console.ask("release"))["status"] == "released"
            assert not file.path.exists()
    finally:
        await hub.shut_down()


class SlowFile:
    """Takes its time to remove: until it `may`."""

    def __init__(self) -> None:
        self.is_there = False
        self.may = asyncio.Event()
        self.removing = 0

    def read(self) -> None:
        """There is none."""

    async def write(self, said: dict[str, Any]) -> None:
        self.is_there = True

    async def remove(self) -> None:
        self.removing += 1
        await self.may.wait()
        self.is_there = False


@pytest.mark.parametrize("last", ["cease_fire", "release"])
async def test_what_was_said_last_holds_however_many_speak_at_once(last: str) -> None:
    hub = Hub(HOST, 0, 4, 4)
    hub.cease_fire_file = file = SlowFile()
    await hub.start()
    under_test = HubUnderTest(hub.port, hub=hub)
    try:
        async with console_of(under_test) as one, console_of(under_test) as other:
            assert (await one.ask("cease_fire", by="Ann"))["status"] == "held"
            file.may.set()
            await one.send(  # in one piece: read one right after the other
                {"type": "release", "id": "end"},
                {"type": "cease_fire", "id": "call"},
            )
            assert (await one.answer_to("end"))[-1]["data"]["code"] == "cease_fire"
            called = (await one.answer_to("call"))[-1]
            assert (called["status"], called["data"]["kept"], file.is_there) == ("held", True, True)
            file.may.clear()
            file.removing = 0
            first, second = await one.request("release"), await one.request("release")
            await until(lambda: file.removing, "the first should be under way")
            again = await one.request("cease_fire", by="Bob")
            third = await one.request("release") if last == "release" else ""
            assert (await one.ask("get_cease_fire"))["data"]["held"]  # all of these are read now
            file.may.set()
            for id in (first, second):
                assert (await one.answer_to(id))[-1]["data"]["code"] == "cease_fire"
            assert (await one.answer_to(again))[-1]["type"] == "reply"
            if third:
                assert (await one.answer_to(third))[-1]["status"] == "released"
            assert (await other.ask("get_cease_fire"))["data"]["held"] is file.is_there is not bool(third)
            # Two that end one: the second finds nothing to do, also where it is called again in between.
            assert (await one.ask("cease_fire"))["status"] == "held"
            file.may.clear()
            before = file.removing
            ids = [await one.request("release"), await other.request("release")]
            await until(lambda: file.removing > before, "the first should be under way")
            assert (await one.ask("get_cease_fire"))["data"]["held"]
            assert (await other.ask("get_cease_fire"))["data"]["held"]
            file.may.set()
            assert (await one.answer_to(ids[0]))[-1]["status"] == "released"
            assert (await one.ask("cease_fire"))["status"] == "held"
            assert (await other.answer_to(ids[1]))[-1]["type"] == "reply"
            assert (await one.ask("get_cease_fire"))["data"]["held"]
            assert file.is_there
            assert file.removing == before + 1
    finally:
        await hub.shut_down()


async def test_who_releases_it_and_is_gone_has_released_it() -> None:
    hub = Hub(HOST, 0, 4, 4)
    hub.cease_fire_file = file = SlowFile()
    await hub.start()
    under_test = HubUnderTest(hub.port, hub=hub)
    try:
        async with console_of(under_test) as console:
            assert (await console.ask("cease_fire"))["status"] == "held"
            async with console_of(under_test) as rude:
                await rude.request("release")
                await until(lambda: file.removing, "the release should be under way")
                await rude.close(reset=True)
                await until(lambda: len(hub.links) == 1, "it should be gone")
            file.may.set()
            await until(lambda: hub.router.cease_fire is None, "it should be released")
            assert not file.is_there
    finally:
        await hub.shut_down()


@each_engine
async def test_it_is_not_refused_for_its_words_nor_to_who_has_asked_too_much(
    engine: str, tmp_path: Path
) -> None:
    async with (
        running_hub(engine, tmp_path, max_consoles=2) as hub,
        console_of(hub) as console,
        scripted_target(hub, "target_1", {}) as target,
    ):
        for _ in range(8):
            await console.request("listen", "target_1", timeout_ms=60_000)
            await target.expect("listen")
        assert (await console.ask("ping", "target_1"))["data"]["code"] == "busy"
        id = await console.request("cease_fire", by="A\x1b[2J\u202e" * 200, why=[7])
        lay_down = await target.expect("lay_down")
        await target.send({"type": "down", "id": lay_down["id"], "status": "down"})
        reply = (await console.answer_to(id))[-1]
        assert reply["data"]["by"] == ("A[2J" * 30)[:48]
        assert reply["data"]["why"] == ""


async def test_who_says_it_again_and_again_fills_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_hub("cpython", tmp_path) as hub, console_of(hub) as console:
        with caplog.at_level("INFO", "snyper"):
            for _ in range(20):
                assert (await console.ask("cease_fire", by="Ann"))["status"] == "held"
        assert [text for text in caplog.messages if "Ann" in text] == [
            "cease fire: called by Ann: no reason given"
        ]


@each_engine
async def test_no_memory_is_waited_for_to_hold_its_words(engine: str, tmp_path: Path) -> None:
    async with running_hub(engine, tmp_path) as hub, console_of(hub) as console:
        about = (await console.ask("cease_fire", by="x" * 1_900, why="a\nb" + "y" * 1_900))["data"]
        assert (about["held"], about["by"], about["why"]) == (True, "x" * 48, "a b" + "y" * 93)


@needs_micropython
async def test_a_hub_board_that_has_no_memory_for_its_file_holds(tmp_path: Path) -> None:
    async with running_hub("micropython", tmp_path) as hub:
        assert hub.board is not None
        hub.board.kill()
        (hub.board.flash / "cease_fire.json").write_text("[" * 3_000)
        await start_hub(hub.board)
        async with console_of(hub) as console:
            about = (await console.ask("cease_fire"))["data"]
            assert (about["by"], about["restored"]) == ("somebody", True)
            assert (await console.ask("release"))["status"] == "released"


@each_engine
async def test_a_game_ends_with_it_and_lay_down_alone_does_not_end_one(engine: str, tmp_path: Path) -> None:
    async with (
        running_hub(engine, tmp_path) as hub,
        console_of(hub, subscribed=True) as console,
        scripted_target(hub, "target_1") as target,
    ):
        started = await console.ask("start_game", game="quick", options={"countdown_ms": 0, "pause_ms": 0})
        assert started["type"] == "game_started"
        await until(lambda: "activate" in [m["type"] for m in target.received], "the game should begin")
        assert (await console.ask("lay_down", "all"))["status"] == "ok"
        assert (await console.ask("get_game"))["status"] == "running"
        before = len(target.received)
        assert (await console.ask("cease_fire"))["status"] == "held"
        await until(lambda: "game_over" in told(console), "the game should end")
        assert (await console.ask("get_game"))["data"]["reason"] == "stopped"
        assert {message["type"] for message in target.received[before:]} == {"lay_down"}


@pytest.mark.slow
async def test_the_command_says_who_is_away_and_holds_all_the_same(tmp_path: Path) -> None:
    deaf = {name: answer for name, answer in OBEDIENT.items() if name != "lay_down"}
    async with running_hub("cpython", tmp_path, max_consoles=4) as hub:
        async with scripted_target(hub, "gone", state="standing"):
            pass
        async with scripted_target(hub, "good"), scripted_target(hub, "deaf", deaf):
            status, out, err = await run_snyper("cease-fire", "--why", "a dog\x1b[2J", "--hub", hub.address)
            assert status == 0
            assert out.startswith(" SAFE  cease fire by ")
            assert ": a dog[2J" in out
            assert "not known to lie: deaf." in err
            assert "away, lowered when they are back: gone" in err
            assert "would not outlive a restart" in err  # this hub has no file
            status, out, _ = await run_snyper("stand-up", "all", "--hub", hub.address)
            assert status == 1
            assert out.count("cease fire by") == 2
            status, out, _ = await run_snyper("targets", "--hub", hub.address)
            assert out.startswith(" SAFE ")
            for watch in (("watch",), ("watch", "--json"), ("game", "watch")):
                async with snyper(*watch, "--hub", hub.address) as command:  # into a pipe
                    await command.says(" SAFE  cease fire by ")
            status, out, _ = await run_snyper("cease-fire", "--release", "--hub", hub.address)
            assert (status, out[:7]) == (0, " ARMED ")
            assert "released by" in out
            status, out, _ = await run_snyper("cease-fire", "--json", "--hub", hub.address)
            assert json.loads(out)["away"] == ["gone"]
            for why in ("x" * 10_000, "\udcff a dog"):  # the latter as a terminal of another encoding has it
                assert (await run_snyper("cease-fire", "--release", "--hub", hub.address))[0] == 0
                status, out, _ = await run_snyper("cease-fire", "--why", why, "--hub", hub.address)
                assert (status, out[:6]) == (0, " SAFE ")
    assert (await run_snyper("cease-fire", "--hub", hub.address))[0] == 3


@each_engine
async def test_the_command_says_what_to_do_where_a_console_has_the_only_place(
    engine: str, tmp_path: Path
) -> None:
    async with running_hub(engine, tmp_path, max_consoles=1) as hub, console_of(hub):
        for arguments in (("cease-fire",), ("cease-fire", "--release")):
            status, out, err = await run_snyper(*arguments, "--hub", hub.address)
            assert (status, out) == (1, "")
            assert "takes 1 console: end a `snyper watch` or dashboard that has its place, or hold" in err


async def test_the_command_says_what_to_do_where_the_hub_is_older() -> None:
    async with scripted_hub() as hub:
        running = asyncio.create_task(run_snyper("cease-fire", "--hub", hub.address))
        peer, _ = await hub.register()
        said = await peer.expect("cease_fire")
        code = {"code": "unknown_type", "message": "nobody here answers `cease_fire`"}
        await peer.send({"type": "error", "id": said["id"], "status": "error", "data": code})
        status, out, err = await running
        assert (status, out) == (1, "")
        assert "this hub is older: `snyper game stop`, `snyper lay-down all`, then update it" in err


@each_engine
async def test_it_outlives_a_hub_that_is_killed(engine: str, tmp_path: Path) -> None:
    async with mortal_hub(engine, tmp_path) as hub:
        assert (await run_snyper("cease-fire", "--hub", hub.under_test.address))[0] == 0
        await hub.kill()
        await hub.start()
        _, out, _ = await run_snyper("targets", "--hub", hub.under_test.address)
        assert out.startswith(" SAFE  cease fire by ")
