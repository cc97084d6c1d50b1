"""Settings, listening and the trace of a hit over the wire; `snyper calibrate` with a scripted shooter."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from snyper.boards.board import WIFI, BoardProcess
from snyper.client import TargetError, connect
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from tests.integration.harness import (
    DEADLINE_S,
    DOWN_NS,
    OBEDIENT,
    TRAVEL_MS,
    UP_NS,
    Command,
    HubUnderTest,
    Peer,
    ProcessTarget,
    VirtualTarget,
    console_of,
    each_body,
    each_engine,
    needs_micropython,
    run_snyper,
    running_hub,
    scripted_target,
    snyper,
    until,
    virtual_target,
)
from tests.integration.terminal import in_terminal

NAME = "target_1"
OLD = 20_000
BURST = 4  # samples at a time


@asynccontextmanager
async def range_of_one(
    engine: str, body: str, directory: Path, **config: Any
) -> AsyncIterator[tuple[HubUnderTest, VirtualTarget, Peer]]:
    """A hub, its target, and a console that sees the events; there is space for a second console."""
    async with (
        running_hub(engine, directory, 2, 2) as hub,
        console_of(hub, subscribed=True) as console,
        virtual_target(body, directory, hub.address, **config) as target,
    ):
        await console.event("registered", NAME)
        yield hub, target, console


async def error_of(console: Peer, message_type: str, **data: Any) -> str:
    answer = await console.ask(message_type, NAME, **data)
    assert answer["type"] == "error", answer
    return str(answer["data"]["code"])


async def shoot(console: Peer, target: VirtualTarget, peak: int) -> dict[str, Any]:
    """Arms the target and strikes it: the `hit` that follows, once the target lies again."""
    await until(lambda: not target.is_armed(), "it should listen no longer")
    assert (await console.ask("activate", NAME, duration_ms=60_000))["status"] == "activated"
    await until(target.is_armed, "the target should be armed")
    # What comes with its first burst is in the trace, and no hit: until it has taken another, it is deaf.
    first = target.samples()
    await until(lambda: target.samples() >= first + BURST, "it should be deaf no longer")
    target.strike(peak)
    hit = await console.event("hit", NAME)
    assert (await console.ask("lay_down", NAME))["status"] == "down"
    return hit


async def threshold_of(console: Peer) -> int:
    return int((await console.ask("listen", NAME, duration_ms=100))["data"]["threshold"])


def stored(board: BoardProcess) -> dict[str, Any]:
    """What config.json says; fails when it is no JSON any more."""
    config: dict[str, Any] = json.loads((board.flash / "config.json").read_text())
    return config


# --- configure


@each_engine
@each_body
async def test_a_change_holds_at_once_and_after_the_next_boot(engine: str, body: str, tmp_path: Path) -> None:
    async with range_of_one(engine, body, tmp_path, piezo={"debounce_ms": 0}) as (_, target, console):
        answer = await console.ask("configure", NAME, threshold=9_000)
        assert answer["status"] == "configured"
        assert (answer["data"]["threshold"], answer["data"]["groups"]) == (9_000, [])
        assert (await shoot(console, target, 10_000))["peak"] >> 4 == 10_000 >> 4
        answer = await console.ask("configure", NAME, groups=["left", "front"])
        assert (answer["data"]["threshold"], answer["data"]["groups"]) == (9_000, ["left", "front"])
        assert (await console.event("groups", NAME))["groups"] == ["left", "front"]
        assert (await console.ask("ping", "group:front"))["data"] == {"ok": 1, "failed": 0}
        answer = await console.ask("configure", "all", threshold=9_500)
        assert answer["data"] == {"ok": 1, "failed": 0}, console.received
        if isinstance(target, ProcessTarget):
            target.board.restart()
            await console.event("registered", NAME)
            assert await threshold_of(console) == 9_500
            assert (await console.ask("ping", "group:left"))["data"] == {"ok": 1, "failed": 0}
            kept = stored(target.board)
            assert kept["piezo"] == {"threshold": 9_500, "debounce_ms": 0}
            assert kept["wifi"] == WIFI  # its password too
            assert kept["servo"] == {"travel_ms": TRAVEL_MS}


@each_body
async def test_what_is_refused_changes_nothing(body: str, tmp_path: Path) -> None:
    async with range_of_one("cpython", body, tmp_path) as (_, target, console):
        for data in (
            {},
            {"threshold": 0},
            {"threshold": 65_536},
            {"threshold": True},
            {"threshold": "9000"},
            {"threshold": None},
            {"groups": "left"},
            {"groups": ["not a name"]},
            {"groups": ["a"] * 9},
            {"threshold": 9_000, "groups": [1]},
            {"key": "another"},
        ):
            assert await error_of(console, "configure", **data) == "bad_message", data
        assert await error_of(console, "listen", duration_ms=99) == "bad_message"
        assert await error_of(console, "listen", above=0) == "bad_message"
        assert await error_of(console, "read_trace", offset=-1) == "bad_message"
        for message_type in ("listen", "read_trace"):
            assert (await console.ask(message_type, "all", above=0, offset=-1))["data"]["failed"] == 1
        await console.ask("activate", NAME, duration_ms=60_000)
        for message_type in ("configure", "listen", "read_trace"):
            assert await error_of(console, message_type, threshold=9_000) == "busy", message_type
        await console.ask("lay_down", NAME)
        assert await threshold_of(console) == OLD
        if isinstance(target, ProcessTarget):
            assert "piezo" not in stored(target.board)


async def test_a_command_that_waits_for_its_instant_keeps_settings_as_they_are(tmp_path: Path) -> None:
    async with range_of_one("cpython", "cpython", tmp_path) as (_, _target, console):
        waiting = await console.request("stand_up", NAME, in_ms=1_000)
        assert await error_of(console, "configure", threshold=9_000) == "busy"
        assert (await console.answer_to(waiting))[-1]["status"] == "standing"
        assert (await console.ask("configure", NAME, threshold=9_000))["status"] == "configured"


@asynccontextmanager
async def faulty_target(directory: Path) -> AsyncIterator[tuple[BoardProcess, Peer]]:
    """A target whose flash can fail, on MicroPython, and a console of its hub."""
    async with (
        running_hub("cpython", directory) as hub,
        console_of(hub, subscribed=True) as console,
    ):
        config = {"target_id": NAME, "hub": [hub.address], "servo": {"travel_ms": TRAVEL_MS}}
        board = BoardProcess(directory / "board", "target", config, name=NAME, faults={})
        board.start()
        try:
            await console.event("registered", NAME)
            yield board, console
        finally:
            board.kill()


@needs_micropython
async def test_a_power_cut_leaves_the_old_settings_or_the_new(tmp_path: Path) -> None:
    found = []
    async with faulty_target(tmp_path) as (board, console):
        before = board.steps
        await console.ask("configure", NAME, threshold=1_000)
        steps = board.steps - before
        assert steps >= 4  # opened, written, closed, renamed
        for step in range(1, steps + 1):
            old, new = stored(board), 1_000 + step
            board.set_faults(cut_at=board.steps + step)
            answer = await console.ask("configure", NAME, threshold=new)
            assert (answer["status"], answer["data"]["code"]) == ("unknown", "disconnected")
            await until(lambda: not board.is_on, "the power should be gone")
            found.append(stored(board)["piezo"]["threshold"] == new)
            assert stored(board) in (old, {**old, "piezo": {"threshold": new}})
            board.set_faults(cut_at=None)
            board.start()
            await console.event("registered", NAME)
            assert await threshold_of(console) == stored(board)["piezo"]["threshold"]
            assert "running with" not in board.log  # neither the last good settings nor the defaults
            assert (await console.ask("configure", NAME, threshold=1_000))["status"] == "configured"
    assert not any(found)  # not before the rename, which is the last step


@needs_micropython
async def test_a_flash_that_takes_nothing_keeps_the_old_settings(tmp_path: Path) -> None:
    async with faulty_target(tmp_path) as (board, console):
        old = (board.flash / "config.json").read_bytes()
        for fault in ({"capacity_bytes": 0}, {"corrupts": "config.json.new"}):
            board.set_faults(**fault)
            answer = await console.ask("configure", NAME, threshold=9_000, groups=["left"])
            assert answer["data"]["code"] == "fault"
            assert "not changed" in answer["data"]["message"]
            assert (board.flash / "config.json").read_bytes() == old
            assert not (board.flash / "config.json.new").exists()
            assert await threshold_of(console) == OLD
            board.set_faults(**dict.fromkeys(fault))
        assert (await console.ask("configure", NAME, threshold=9_000))["status"] == "configured"
        assert await threshold_of(console) == stored(board)["piezo"]["threshold"] == 9_000


@needs_micropython
async def test_what_is_on_the_flash_decides_what_is_written(tmp_path: Path) -> None:
    async with faulty_target(tmp_path) as (board, console):
        given = stored(board)
        path = board.flash / "config.json"
        for broken in ("{", json.dumps({**given, "colour": "red"})):
            path.write_text(broken)
            assert await error_of(console, "configure", threshold=9_000) == "fault"
            assert path.read_text() == broken  # somebody's work, which is not ours to throw away
        path.unlink()
        assert (await console.ask("configure", NAME, threshold=9_000))["status"] == "configured"
        assert stored(board) == {**given, "piezo": {"threshold": 9_000}}  # with what was the last good one


# --- listen


@each_body
async def test_listening_hears_the_quiet_and_a_blow(body: str, tmp_path: Path) -> None:
    async with range_of_one("cpython", body, tmp_path) as (_, target, console):
        heard = (await console.ask("listen", NAME, duration_ms=300))["data"]
        assert len(heard["bins"]) == heard["duration_ms"] // heard["bin_ms"] == 100
        assert heard["samples"] > 100
        assert max(heard["bins"]) < 1_000
        assert heard["gap_us"] > 0
        waiting = await console.request("listen", NAME, duration_ms=60_000, above=5_000, timeout_ms=60_000)
        await until(target.is_armed, "it should listen")
        assert await error_of(console, "listen") == "busy"
        assert await error_of(console, "configure", threshold=9_000) == "busy"
        assert (await console.ask("ping", NAME))["status"] == "alive"
        target.strike(6_000)
        heard = (await console.answer_to(waiting))[-1]["data"]
        assert max(heard["bins"]) >> 4 == 6_000 >> 4
        assert heard["duration_ms"] < 30_000
        assert len(json.dumps(heard)) < 1_024


@each_body
async def test_listening_ends_for_a_command_and_with_the_link(body: str, tmp_path: Path) -> None:
    async with range_of_one("cpython", body, tmp_path) as (hub, target, console):
        waiting = await console.request("listen", NAME, duration_ms=60_000, timeout_ms=60_000)
        await until(target.is_armed, "it should listen")
        assert (await console.ask("stand_up", NAME))["status"] == "standing"
        assert (await console.ask("lay_down", NAME))["status"] == "down"
        [refusal] = [m for m in console.received if m.get("id") == waiting]
        assert refusal["data"]["code"] == "superseded"
        assert hub.hub is not None
        await console.request("listen", NAME, duration_ms=60_000, timeout_ms=60_000)
        await until(target.is_armed, "it should listen")
        entry = hub.hub.router.registry.select(NAME)[0]
        assert entry.link is not None
        entry.link.close(ProtocolError(ErrorCode.DISCONNECTED, "the test cuts it"))
        await console.event("lost", NAME)
        await console.event("registered", NAME)
        await until(lambda: not target.is_armed(), "it should listen no longer")
        assert await threshold_of(console) == OLD


# --- the trace


@each_engine
@each_body
async def test_the_trace_of_a_hit(engine: str, body: str, tmp_path: Path) -> None:
    async with range_of_one(engine, body, tmp_path) as (_, target, console):
        empty = (await console.ask("read_trace", NAME))["data"]
        assert (empty["samples"], empty["values"], empty.get("next")) == (0, [], None)
        hit = await shoot(console, target, 30_000)
        times_us: list[int] = []
        values: list[int] = []
        offset = 0
        while offset is not None:
            page = (await console.ask("read_trace", NAME, offset=offset))["data"]
            times_us += page["times_us"]
            values += page["values"]
            assert page["samples"] <= 256
            assert (page["threshold"], page["reaction_ms"], page["peak"]) == (
                *(OLD, hit["reaction_ms"]),
                hit["peak"],
            )
            offset = page["next"]
        assert len(times_us) == len(values) == page["samples"]
        assert times_us == sorted(times_us)
        at = times_us.index(0)
        assert values[at] >= OLD > max(values[:at])
        assert len(values) - at > 8
        assert max(values) == hit["peak"]
        assert times_us[-1] < 100_000
        beyond = (await console.ask("read_trace", NAME, offset=10_000))["data"]
        assert (beyond["values"], beyond.get("next")) == ([], None)
        # What is heard afterwards does not go into it; the next arming ends it.
        await console.ask("listen", NAME, duration_ms=100)
        assert (await console.ask("read_trace", NAME))["data"]["values"] == values[:48]
        await console.ask("activate", NAME)
        await console.ask("lay_down", NAME)
        assert (await console.ask("read_trace", NAME))["data"]["samples"] == 0


# --- a piezo that rests above its threshold


@each_engine
async def test_a_piezo_that_rests_too_high_scores_nothing_and_everybody_says_so(
    engine: str, tmp_path: Path
) -> None:
    body = "cpython" if engine == "cpython" else "micropython"
    async with range_of_one(engine, body, tmp_path) as (hub, target, console):
        target.strike(31_000, 60_000)
        await console.ask("activate", NAME, duration_ms=1_000)
        miss = await console.event("miss", NAME)
        assert (miss["reason"], miss["rests_at"] >> 4) == ("time_up", 31_000 >> 4)
        assert (await console.ask("ping", NAME))["data"]["rests_at"] == miss["rests_at"]
        words = f"rests at {miss['rests_at']}, not below its threshold"
        status, out, err = await run_snyper("targets", "--hub", hub.address)
        assert (status, NAME in out, f"{NAME}: its piezo {words}" in " ".join(err.split())) == (0, True, True)
        if isinstance(target, ProcessTarget):
            assert target.board.log.count(words) == 1
        status, _, err = await run_snyper("calibrate", NAME, "--quiet", "1", "--yes", "--hub", hub.address)
        assert (status, "its piezo rests at" in err) == (1, True)
        # It is said until a round finds it below.
        assert (await console.ask("configure", NAME, threshold=40_000))["status"] == "configured"
        assert (await console.ask("ping", NAME))["data"]["rests_at"] == 0
        assert (await shoot(console, target, 50_000))["peak"] >> 4 == 50_000 >> 4


# --- snyper calibrate, snyper trace


async def shots(command: Command, target: VirtualTarget, *peaks: int) -> None:
    """Shoots when it is asked for."""
    for number, peak in enumerate(peaks, 1):
        await command.says(f"hit {number} of {len(peaks)}: shoot")
        target.strike(peak)


@each_engine
async def test_calibrate_from_the_quiet_to_the_flash(engine: str, tmp_path: Path) -> None:
    body = "cpython" if engine == "cpython" else "micropython"
    async with range_of_one(engine, body, tmp_path) as (hub, target, console):
        arguments = ("calibrate", NAME, "--quiet", "3", "--yes", "--json", "--hub", hub.address)
        async with snyper(*arguments) as command:
            await command.says("quiet, please")
            await until(target.is_armed, "it should listen")
            assert target.duty_ns() > (UP_NS + DOWN_NS) // 2
            target.strike(25_000)  # by somebody who was not quiet
            await command.says("once more")
            await shots(command, target, 40_000, 9_000, 21_000)
            assert await command.wait() == 0, command.err
        said = json.loads(command.out)
        assert said["threshold"] == OLD
        assert [peak >> 8 for peak in said["hits"]] == [40_000 >> 8, 9_000 >> 8, 21_000 >> 8]
        assert (said["noise"] < 1_000, said["written"]) == (True, True)
        assert 4_200 < said["proposed"] < 4_300  # the middle between 2,000 and 9,000, by ratio
        assert "was 20,000 and is 4,2" in command.err
        for peak in ("40,0", "8,99", "20,9"):  # of a converter with 12 bits
            assert peak in command.err
        assert await threshold_of(console) == said["proposed"]
        await until(lambda: target.duty_ns() == DOWN_NS or target.duty_ns() < 600_000, "it should lie")
        await shoot(console, target, 9_000)
        if isinstance(target, ProcessTarget):
            assert stored(target.board)["piezo"]["threshold"] == said["proposed"]


async def test_calibrate_refuses_what_overlaps_and_waits_only_so_long(tmp_path: Path) -> None:
    async with range_of_one("cpython", "cpython", tmp_path) as (hub, target, console):
        arguments = ("calibrate", NAME, "--quiet", "1", "--hits", "1", "--yes", "--hub", hub.address)
        async with snyper(*arguments) as command:
            await shots(command, target, 5_000)
            assert await command.wait() == 1
        assert "too weak" in command.err
        assert "glue" in command.err
        assert "┆" in command.out
        status, out, err = await run_snyper(*arguments, "--wait", "1")
        assert (status, out) == (1, "")
        assert "nothing reached 2,000" in err
        status, _, err = await run_snyper("calibrate", NAME, "--hub", hub.address)
        assert status == 2
        assert "--yes" in err  # nobody is there to be asked
        status, _, err = await run_snyper("calibrate", "all", "--yes", "--hub", hub.address)
        assert status == 2
        status, _, err = await run_snyper("calibrate", "nobody", "--yes", "--hub", hub.address)
        assert (status, "snyper targets" in err) == (1, True)
        await console.ask("activate", NAME, duration_ms=60_000)
        status, _, err = await run_snyper(*arguments)
        assert (status, "armed" in err) == (1, True)
        assert await console.ask("lay_down", NAME)
        assert await threshold_of(console) == OLD


async def test_ctrl_c_while_it_waits_for_a_hit_changes_nothing(tmp_path: Path) -> None:
    async with range_of_one("cpython", "cpython", tmp_path) as (hub, target, console):
        arguments = ("calibrate", NAME, "--quiet", "1", "--yes", "--hub", hub.address)
        async with snyper(*arguments) as command:
            await command.says("hit 1 of 3: shoot")
            assert await command.interrupt() == 130
        assert await threshold_of(console) == OLD  # it listens to somebody else again
        await until(lambda: target.duty_ns() < 600_000, "it should lie")


@pytest.mark.parametrize(
    ("answer", "status", "threshold"), [(b"n\n", 0, OLD), (b"\x03", 130, OLD), (b"\n", 0, None)]
)
async def test_in_a_terminal_it_asks_before_it_writes(
    answer: bytes, status: int, threshold: int | None, tmp_path: Path
) -> None:
    async with range_of_one("cpython", "cpython", tmp_path) as (hub, target, console):
        command = ("calibrate", NAME, "--quiet", "1", "--hits", "1", "--hub", hub.address)
        async with in_terminal(*command) as (process, screen):
            await until(lambda: "shoot at the plate" in screen(), "it should ask for a hit")
            target.strike(45_000)
            await until(lambda: "[Y/n]" in screen(), "it should ask")
            await until(lambda: target.duty_ns() < 600_000, "it should lie while it asks")
            assert await threshold_of(console) == OLD
            os.write(process.terminal, answer)
            assert await asyncio.wait_for(process.process.wait(), DEADLINE_S) == status
        found = await threshold_of(console)
        assert found == threshold if threshold else 9_000 < found < 10_000


@pytest.mark.slow
async def test_trace_in_the_terminal_as_json_and_as_a_file(tmp_path: Path) -> None:
    async with range_of_one("cpython", "cpython", tmp_path) as (hub, target, console):
        status, out, err = await run_snyper("trace", NAME, "--hub", hub.address)
        assert (status, out) == (1, "")
        assert "snyper activate" in err
        hit = await shoot(console, target, 30_000)
        status, out, err = await run_snyper("trace", NAME, "--hub", hub.address)
        assert (status, err) == (0, "")
        assert all(word in out for word in ("█", "20,000", "▲", "hit"))
        path = tmp_path / "hit.png"
        status, out, err = await run_snyper("trace", NAME, "--png", str(path), "--json", "--hub", hub.address)
        assert (status, json.loads(out)["peak"]) == (0, hit["peak"])
        assert str(path) in err
        assert path.read_bytes().startswith(b"\x89PNG")
        status, _, err = await run_snyper(
            "trace", NAME, "--png", str(tmp_path / "none" / "hit.png"), "--hub", hub.address
        )
        assert (status, "make it first" in err) == (2, True)
        status, _, err = await run_snyper("trace", NAME, "--png", str(tmp_path), "--hub", hub.address)
        assert (status, "is not written" in err) == (1, True)
        status, _, err = await run_snyper("trace", NAME, "--png", "hit.jpg", "--hub", hub.address)
        assert (status, "does not end with .png" in err) == (2, True)


async def test_a_target_that_answers_nonsense_is_said_to_be_old(tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path, 2, 2) as hub, old_target(hub):
        for command in (("trace", "old"), ("calibrate", "old", "--yes")):
            status, _, err = await run_snyper(*command, "--hub", hub.address)
            assert (status, "update its firmware" in err) == (1, True), err


async def test_an_answer_of_other_kinds_of_values_is_refused(tmp_path: Path) -> None:
    heard = {"bin_ms": 1, "bins": [1, 2], "samples": 2, "gap_us": 5, "threshold": 9}
    page = {"threshold": 9, "reaction_ms": 4, "peak": 8, "times_us": [0], "values": [8], "next": None}
    async with (
        running_hub("cpython", tmp_path, 2, 2) as hub,
        scripted_target(hub, "odd", {}) as target,
        connect(hub.address) as client,
    ):

        async def refused(
            word: str, call: Callable[[], Awaitable[object]], answer: dict[str, object]
        ) -> None:
            asking = asyncio.ensure_future(call())
            message = await target.expect(word)
            await target.send({"type": "reply", "id": message["id"], "status": "ok", "data": answer})
            with pytest.raises(TargetError, match="update its firmware"):
                await asking

        for name in heard:
            await refused("listen", lambda: client.listen("odd", 100), {**heard, name: "x"})
        for odd in ("threshold", "times_us", "values", "next"):
            await refused("read_trace", lambda: client.trace("odd"), {**page, odd: "x"})
        for name, value in (
            ("values", [None]),
            ("values", []),
            ("values", ["x"]),
            ("next", 0),
            ("peak", True),
        ):
            await refused("read_trace", lambda: client.trace("odd"), {**page, name: value})


@asynccontextmanager
async def old_target(hub: HubUnderTest) -> AsyncIterator[Peer]:
    answers = {**OBEDIENT, "listen": ("listened", "listened"), "read_trace": ("trace", "ok")}
    async with scripted_target(hub, "old", answers) as peer:
        yield peer
