"""The hub on both runtimes, with consoles and with the real target firmware on both runtimes."""

import asyncio
import errno
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from snyper.boards.board import BoardProcess
from snyper.firmware.master.forwarding import MAX_SENT
from snyper.firmware.master.roles.console import Console
from snyper.firmware.master.server import Hub
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from tests.integration.harness import (
    DOWN_NS,
    TRAVEL_MS,
    UP_NS,
    HubUnderTest,
    Message,
    Peer,
    VirtualTarget,
    console_of,
    each_body,
    each_engine,
    free_port,
    needs_micropython,
    peer_of,
    registration,
    running_hub,
    scripted_target,
    until,
    virtual_target,
)
from tests.integration.stopwatch import running_s

PEAK = 51_200
PEAK_STEP = 1 << 4  # what the converter's 12 bits blur
THRESHOLD = 20_000


def is_at(target: VirtualTarget, angle_ns: int) -> bool:
    return abs(target.duty_ns() - angle_ns) < 1_000


async def scores(hub: HubUnderTest, console: Peer, target_id: str) -> list[Message]:
    """Every hit and miss of the target so far. A whole motion of the target goes before the look, so that a
    second report of the same round would be there.
    """
    await until_down(console, target_id)
    assert (await console.ask("stand_up", target_id))["status"] == "standing"
    assert (await console.ask("lay_down", target_id))["status"] == "down"
    found = [
        message["data"]
        for message in console.received
        if message["type"] == "event" and message["target_id"] == target_id
    ]
    return [data for data in found if data["event"] in ("hit", "miss")]


async def until_count(console: Peer, count: int) -> None:
    """Waits until the hub knows so many targets."""

    async def are_there() -> bool:
        return bool((await console.ask("list_targets"))["data"]["count"] == count)

    await until(are_there, f"{count} targets should come")


async def until_down(console: Peer, target_id: str) -> None:
    """Waits until the hub knows that the target lies. Fails when it does not come to rest."""

    async def lies() -> bool:
        return bool((await console.ask("ping", target_id))["data"]["state"] == "down")

    await until(lies, f"{target_id} should lie down")


# --- the four commands, through each hub, to each body


@each_engine
@each_body
async def test_commands_to_the_real_firmware(engine: str, body: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        target = await stack.enter_async_context(
            virtual_target(body, tmp_path, hub.address, piezo={"threshold": THRESHOLD})
        )
        assert (await console.event("registered", "target_1"))["state"] == "down"

        pong = await console.ask("ping", "target_1")
        assert (pong["type"], pong["status"], pong["target_id"]) == ("pong", "alive", "target_1")
        assert pong["data"]["state"] == "down"
        assert pong["data"]["dropped"] == 0
        assert 0 < pong["data"]["round_trip_us"] <= pong["data"]["round_trip_ms"] * 1000

        assert is_at(target, DOWN_NS)
        standing = await console.ask("stand_up", "target_1")
        assert is_at(target, UP_NS)  # it stands when the hub says so
        assert (standing["type"], standing["status"]) == ("standing", "standing")
        assert standing["data"]["round_trip_ms"] >= TRAVEL_MS - 5  # and not while it still moves

        again = await console.ask("stand_up", "target_1")
        assert again["status"] == "standing"
        assert again["data"]["round_trip_ms"] < TRAVEL_MS  # it stood already

        down = await console.ask("lay_down", "target_1")
        assert is_at(target, DOWN_NS)
        assert (down["type"], down["status"]) == ("down", "down")
        assert down["data"]["round_trip_ms"] >= TRAVEL_MS - 5

        # A hit, detected by the piezo.
        activated = await console.ask("activate", "target_1", duration_ms=10_000)
        assert (activated["type"], activated["status"]) == ("activated", "activated")
        assert is_at(target, UP_NS)
        await until(target.is_armed, "an activated target reads its piezo")
        target.strike(PEAK)
        hit = await console.event("hit", "target_1")
        assert abs(hit["peak"] - PEAK) <= PEAK_STEP
        assert 0 <= hit["reaction_ms"] < 10_000
        await until(lambda: is_at(target, DOWN_NS), "it lies down after the hit")
        assert [data["event"] for data in await scores(hub, console, "target_1")] == ["hit"]

        # A strike below the threshold is none, and the round ends as a miss.
        assert (await console.ask("activate", "target_1", duration_ms=400))["status"] == "activated"
        await until(target.is_armed, "an activated target reads its piezo")
        target.strike(THRESHOLD // 2)
        assert (await console.event("miss", "target_1"))["reason"] == "time_up"
        await until(lambda: is_at(target, DOWN_NS), "it lies down after the miss")
        assert [data["event"] for data in await scores(hub, console, "target_1")] == ["hit", "miss"]

        # An armed target that is told to lie down ends its round too.
        assert (await console.ask("activate", "target_1"))["status"] == "activated"
        assert (await console.ask("lay_down", "target_1"))["status"] == "down"
        found = await scores(hub, console, "target_1")
        assert [data.get("reason") for data in found] == [None, "time_up", "lay_down"]

        seqs = [message["data"]["seq"] for message in console.received if message["type"] == "event"]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


@each_body
async def test_what_the_firmware_refuses(body: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("cpython", tmp_path))
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        await stack.enter_async_context(virtual_target(body, tmp_path, hub.address))
        await console.event("registered", "target_1")
        for duration_ms in (99, 600_001, "long", True, None):
            refused = await console.ask("activate", "target_1", duration_ms=duration_ms)
            assert refused["type"] == "error", duration_ms
            assert (refused["status"], refused["data"]["code"]) == ("error", "bad_message")
        # Told to lie down while it rises, it says that standing up was given up.
        rising = await console.request("stand_up", "target_1")
        falling = await console.request("lay_down", "target_1")
        answers = {message["id"]: message for message in [(await console.next()) for _ in range(2)]}
        assert answers[rising]["data"]["code"] == "superseded"
        assert answers[falling]["status"] == "down"


@each_engine
async def test_groups_and_all(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        bodies = ["cpython", "micropython" if engine == "micropython" else "cpython"]
        targets = {
            name: await stack.enter_async_context(
                virtual_target(body, tmp_path, hub.address, name, groups=groups)
            )
            for name, body, groups in (
                ("left", bodies[0], ["front"]),
                ("right", bodies[1], ["front", "tall"]),
                ("back", bodies[0], ["tall"]),
            )
        }
        await until_count(console, 3)
        for selector, meant in (
            ("all", {"left", "right", "back"}),
            ("group:front", {"left", "right"}),
            ("group:tall", {"right", "back"}),
            ("back", {"back"}),
        ):
            id = await console.request("stand_up", selector)
            *results, reply = await console.answer_to(id)
            assert {name for name, target in targets.items() if is_at(target, UP_NS)} == meant
            if selector == "back":
                assert (reply["type"], reply["status"], reply["target_id"]) == (
                    "standing",
                    "standing",
                    "back",
                )
            else:
                assert {result["target_id"] for result in results} == meant
                assert {(result["type"], result["status"]) for result in results} == {("result", "standing")}
                assert all(result["data"]["round_trip_ms"] >= TRAVEL_MS - 5 for result in results)
                assert reply["target_id"] == selector
                assert (reply["type"], reply["status"]) == ("standing", "ok")
                assert reply["data"] == {"ok": len(meant), "failed": 0}
            assert (await console.ask("lay_down", selector))["type"] == "down"
            assert all(is_at(target, DOWN_NS) for target in targets.values())


# --- how results come in


@each_engine
async def test_results_come_as_they_are_known(engine: str, tmp_path: Path) -> None:
    """Each answer is passed on at once, in the order of the answers, and the reply ends the list."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(console_of(hub))
        names = ["a", "b", "c", "d"]
        targets = {
            name: await stack.enter_async_context(scripted_target(hub, name, answers={})) for name in names
        }
        id = await console.request("stand_up", "all", timeout_ms=10_000)
        commands = {name: await targets[name].expect("stand_up") for name in names}
        for name in ("c", "a", "d", "b"):
            await targets[name].send(
                {"type": "standing", "id": commands[name]["id"], "status": "standing"}
                if name != "d"
                else {
                    "type": "error",
                    "id": commands[name]["id"],
                    "status": "error",
                    "data": {"code": "fault", "message": "stuck"},
                }
            )
            result = await console.expect("result", id=id, target_id=name)
            if name == "d":
                assert (result["status"], result["data"]["code"]) == ("error", "fault")
                assert result["data"]["message"] == "stuck"
            else:
                assert result["status"] == "standing"
        reply = await console.expect("standing", id=id, status="partial")
        assert reply["data"] == {"ok": 3, "failed": 1}


@each_engine
async def test_statuses_of_many(engine: str, tmp_path: Path) -> None:
    busy = {"lay_down": ("error", "error"), "ping": ("pong", "alive")}
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(console_of(hub))
        for name in ("a", "b"):
            await stack.enter_async_context(scripted_target(hub, name, busy, groups=["g"]))
        assert (await console.ask("ping", "all"))["data"] == {"ok": 2, "failed": 0}
        *results, reply = await console.answer_to(await console.request("lay_down", "group:g"))
        assert (reply["type"], reply["status"]) == ("error", "failed")
        assert reply["data"] == {
            "ok": 0,
            "failed": 2,
            "code": results[0]["data"]["code"],
            "message": "none of 2 did it",
        }
        assert [result["status"] for result in results] == ["error", "error"]
        # Another reply than the command's own is no success.
        *results, reply = await console.answer_to(
            await console.request("activate", "all", timeout_ms=100, duration_ms=500)
        )
        assert reply["status"] == "failed"
        assert {result["status"] for result in results} == {"unknown"}
        assert {result["data"]["code"] for result in results} == {"timeout"}


@each_engine
async def test_no_such_target(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(console_of(hub))
        for selector in ("all", "group:front", "nobody"):
            reply = await console.ask("stand_up", selector)
            assert (reply["type"], reply["status"]) == ("error", "error")
            assert reply["data"]["code"] == "unknown_target", selector
        async with scripted_target(hub, "a", groups=["front"]) as target:
            assert (await console.ask("stand_up", "a"))["status"] == "standing"
            for selector in ("b", "group:back"):
                assert (await console.ask("stand_up", selector))["data"]["code"] == "unknown_target"
            await target.close(reset=True)
            reply = await console.ask("stand_up", "a")  # known, and away
            assert (reply["status"], reply["data"]["code"]) in (
                ("error", "disconnected"),
                ("unknown", "disconnected"),
            )
            assert (await console.ask("stand_up", "all"))["data"]["code"] == "unknown_target"
        # Without a name it is for the hub, which does not stand up.
        assert (await console.ask("stand_up"))["data"]["code"] == "unknown_type"


@each_engine
async def test_a_timeout_of_ones_own(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(console_of(hub))
        target = await stack.enter_async_context(scripted_target(hub, "a", answers={}))
        took_ms = []
        for _ in range(3):  # a computer that stands still makes one longer
            reply = await console.ask("ping", "a", timeout_ms=300)
            assert (reply["type"], reply["status"], reply["data"]["code"]) == ("error", "unknown", "timeout")
            took_ms.append(reply["data"]["round_trip_ms"])
        assert 300 <= min(took_ms) < 900
        command = await target.expect("ping")
        assert "timeout_ms" not in command.get("data", {})  # that was for the hub
        # An answer that comes too late is nobody's.
        await target.send({"type": "pong", "id": command["id"], "status": "alive"})
        target.answers = {"ping": ("pong", "alive")}
        assert (await console.ask("ping", "a"))["status"] == "alive"
        for timeout_ms in (99, 600_001, "1", 500.5, True):
            reply = await console.ask("ping", "a", timeout_ms=timeout_ms)
            assert reply["data"]["code"] == "bad_message", timeout_ms


# --- words that the hub has never heard of


@each_engine
async def test_a_word_of_a_target_alone(engine: str, tmp_path: Path) -> None:
    """The hub sends on what it does not know, and the answer is the target's own."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(console_of(hub))
        a, b = [
            await stack.enter_async_context(scripted_target(hub, name, answers={}, groups=["g"]))
            for name in ("a", "b")
        ]
        id = await console.request("dance", "a", steps=3, timeout_ms=10_000)
        command = await a.expect("dance")
        assert command["data"].pop("until_us") - command["data"].pop("sent_us") == 10_000_000
        assert command["data"] == {"steps": 3}
        assert "target_id" not in command
        await a.send({"type": "reply", "id": command["id"], "status": "tired", "data": {"steps": 2}})
        reply = await console.expect("reply", id=id, target_id="a", status="tired")
        assert reply["data"].pop("round_trip_us") <= 1000 * reply["data"].pop("round_trip_ms")
        assert reply["data"] == {"steps": 2}

        for selector in ("all", "group:g"):
            id = await console.request("dance", selector, timeout_ms=10_000)
            command = await a.expect("dance")
            await a.send({"type": "reply", "id": command["id"], "status": "ok", "data": {"steps": 1}})
            result = await console.expect("result", id=id, target_id="a", status="ok")
            assert result["data"]["steps"] == 1
            command = await b.expect("dance")
            unknown = {"code": "unknown_type", "message": "nobody here answers `dance`"}
            await b.send({"type": "error", "id": command["id"], "status": "error", "data": unknown})
            result = await console.expect("result", id=id, target_id="b", status="error")
            assert result["data"]["code"] == "unknown_type"
            reply = await console.expect("reply", id=id, target_id=selector, status="partial")
            assert reply["data"] == {"ok": 1, "failed": 1}

        # A target is no console: what it says to another goes no further.
        await a.send({"type": "dance", "id": 7, "target_id": "b"})
        await a.expect_error("unknown_type", id=7)


@each_engine
async def test_an_instant_and_a_deadline_for_any_word(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(console_of(hub))
        target = await stack.enter_async_context(scripted_target(hub, "a", answers={}))
        hub_us = (await console.ask("ping"))["data"]["hub_us"]
        await console.request("dance", "a", in_ms=400, timeout_ms=100)
        data = (await target.expect("dance"))["data"]
        assert set(data) == {"at_us", "sent_us", "until_us"}
        assert data["at_us"] - hub_us >= 400_000
        # The time to answer counts from that instant.
        late = await console.expect_error("timeout", status="unknown", target_id="a")
        assert late["data"]["round_trip_ms"] >= 490
        refused = await console.ask("dance", "a", at_us=hub_us + 120_000_000)
        assert refused["data"]["code"] == "bad_message"


@each_engine
async def test_answers_of_many_items(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(console_of(hub))
        target = await stack.enter_async_context(scripted_target(hub, "a", answers={}))
        for selector in ("a", "all"):
            id = await console.request("count", selector, timeout_ms=10_000)
            command = await target.expect("count")
            for number in range(20):
                await target.send({"type": "item", "id": command["id"], "data": {"number": number}})
                item = await console.expect("item", id=id, target_id="a")
                assert item["data"] == {"number": number}
            await target.send({"type": "item", "id": "nobody's", "data": {}})
            await target.send({"type": "reply", "id": command["id"], "status": "ok"})
            if selector == "all":
                await console.expect("result", id=id, target_id="a", status="ok")
            await console.expect("reply", id=id, target_id=selector, status="ok")


@each_engine
async def test_an_answer_that_fits_no_line(engine: str, tmp_path: Path) -> None:
    """What was carried out is said so, though what the target says of it is too long for the console."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(peer_of(hub))
        await console.send(registration("c", role="console", max_line_bytes=1_024))
        await console.expect("registered")
        target = await stack.enter_async_context(scripted_target(hub, "a", answers={}))
        for selector in ("a", "all"):
            id = await console.request("tell", selector, timeout_ms=10_000)
            command = await target.expect("tell")
            told = {"type": "told", "id": command["id"], "status": "ok", "data": {"text": "x" * 3_900}}
            await target.send(told)
            if selector == "all":
                answer = await console.expect("result", id=id, target_id="a", status="ok")
                assert (await console.expect("told", id=id, status="ok"))["data"] == {"ok": 1, "failed": 0}
            else:
                answer = await console.expect("told", id=id, target_id="a", status="ok")
            assert sorted(answer["data"]) == ["left_out", "round_trip_ms", "round_trip_us"]
            assert answer["data"]["left_out"] is True
        # An item that is too long ends the command, whose fate is unknown then.
        id = await console.request("count", "a", timeout_ms=10_000)
        command = await target.expect("count")
        await target.send({"type": "item", "id": command["id"], "data": {"text": "x" * 3_900}})
        await console.expect_error("line_too_long", id=id, status="unknown")
        # With `at_us` for `in_ms` it is longer than a line may be: nothing is sent.
        line = b'{"type":"tell","id":1,"target_id":"a","data":{"in_ms":1,"text":"%s"}}\n'
        await console.send(line % (b"x" * (4_096 - len(line) + 2)))
        await console.expect_error("line_too_long", id=1, status="error")


# --- other roles


@each_engine
async def test_a_service_serves_and_commands_nobody(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        await stack.enter_async_context(scripted_target(hub, "t"))
        await console.event("registered", "t")
        service = await stack.enter_async_context(peer_of(hub))
        await service.send(registration("sums", role="service"))
        await service.expect("registered", target_id="sums")
        await console.event("service_here", "sums")

        # Who may command reaches it by its name.
        id = await console.request("add", "sums", numbers=[1, 2], timeout_ms=10_000)
        call = await service.expect("add", data={"numbers": [1, 2]})
        await service.send({"type": "item", "id": call["id"], "data": {"so_far": 1}})
        await console.expect("item", id=id, target_id="sums", data={"so_far": 1})
        await service.send({"type": "reply", "id": call["id"], "status": "ok", "data": {"sum": 3}})
        assert (await console.expect("reply", id=id, target_id="sums", status="ok"))["data"]["sum"] == 3

        # `all` and the lists mean targets.
        assert (await console.ask("ping", "all"))["data"] == {"ok": 1, "failed": 0}
        assert (await console.ask("list_targets"))["data"] == {"count": 1}
        assert (await service.ask("ping"))["data"]["targets"] == 1

        # It is no console.
        for word in ("subscribe", "list_targets", "list_services", "get_game", "start_game", "stop_game"):
            assert (await service.ask(word))["data"]["code"] == "unknown_type", word
        for word in ("stand_up", "ping", "read_log", "add"):
            assert (await service.ask(word, "t"))["data"]["code"] == "unknown_type", word
        assert (await console.ask("stand_up", "t"))["status"] == "standing"

        # Its name is its own, and this hub takes one service, as it takes one console.
        for name, code in (("all", "bad_message"), ("t", "duplicate_target"), ("more", "busy")):
            async with peer_of(hub) as another:
                await another.send(registration(name, role="service"))
                await another.expect_error(code)
        async with peer_of(hub) as another:
            assert (await another.ask("register", role="service"))["data"]["code"] == "bad_message"

        await service.close()
        await console.event("service_lost", "sums")
        reply = await console.ask("add", "sums")
        assert (reply["data"]["code"], reply["data"]["message"]) == ("disconnected", "the service is away")
        told = [
            message["data"]["event"]
            for message in console.received
            if message.get("target_id") == "sums" and message["type"] == "event"
        ]
        assert told == ["service_here", "service_lost"]


@each_engine
async def test_a_console_is_reached_by_its_name(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path, max_targets=2, max_consoles=3))
        asking = await stack.enter_async_context(console_of(hub))
        answering = await stack.enter_async_context(peer_of(hub))
        await answering.send(registration("bob", role="console"))
        await answering.expect("registered")
        id = await asking.request("draw", "bob", what="a line", timeout_ms=10_000)
        call = await answering.expect("draw", data={"what": "a line"})
        await answering.send({"type": "drawn", "id": call["id"], "status": "ok"})
        await asking.expect("drawn", id=id, target_id="bob", status="ok")
        # Who answers may say its name.
        for word in ("drawn", "reply"):
            id = await asking.request("draw", "bob", timeout_ms=10_000)
            call = await answering.expect("draw")
            await answering.send({"type": word, "id": call["id"], "target_id": "bob", "status": "ok"})
            await asking.expect(word, id=id, target_id="bob", status="ok")
        id = await asking.request("draw", "bob", timeout_ms=10_000)
        refusal = ProtocolError(ErrorCode.BUSY, "not now").to_message(
            (await answering.expect("draw"))["id"], "bob"
        )
        await answering.send(refusal.to_line())
        await asking.expect_error("busy", id=id, target_id="bob")
        # Two of one name: nobody knows who is meant.
        namesake = await stack.enter_async_context(peer_of(hub))
        await namesake.send(registration("bob", role="console"))
        await namesake.expect("registered")
        assert (await asking.ask("draw", "bob"))["data"]["code"] == "unknown_target"
        assert (await asking.ask("draw", "console"))["data"]["code"] == "unknown_target"


async def test_who_may_only_read_commands_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what the hub sends on nor what it serves itself."""
    monkeypatch.setattr(Console, "may_command", False)
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("cpython", tmp_path))
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        await stack.enter_async_context(scripted_target(hub, "t", {"read_log": ("log", "ok")}))
        for word in ("stand_up", "dance", "start_game", "stop_game"):
            assert (await console.ask(word, "t"))["data"]["code"] == "unauthorized", word
        for word in ("start_game", "stop_game"):
            assert (await console.ask(word, game="quick"))["data"]["code"] == "unauthorized", word
        for word in ("list_targets", "list_services", "list_games", "get_game", "ping"):
            assert (await console.ask(word))["type"] != "error", word
        assert (await console.ask("read_log", "t"))["type"] == "log"


# --- the console's side of the wire


@each_engine
async def test_why_a_target_is_lost(engine: str, tmp_path: Path) -> None:
    """In a word for programs, in a sentence for people."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(console_of(hub, subscribed=True))

        async def lost(target_id: str) -> tuple[str, str]:
            data = await console.event("lost", target_id)
            assert data["message"]
            return data["reason"], data["code"]

        async with scripted_target(hub, "one"):
            pass
        assert await lost("one") == ("closed", "disconnected")
        async with scripted_target(hub, "two") as peer:
            await peer.close(reset=True)
            assert await lost("two") == ("broken", "disconnected")
        async with scripted_target(hub, "three") as peer:
            peer.answers_heartbeat = False
            assert await lost("three") == ("silent", "timeout")
        async with scripted_target(hub, "four") as peer:
            await peer.send(b"x" * 5_000)
            assert await lost("four") == ("refused", "line_too_long")


async def test_a_hub_that_stops_says_so_of_its_targets(tmp_path: Path) -> None:
    lost: list[tuple[str, object]] = []
    async with AsyncExitStack() as stack, running_hub("cpython", tmp_path) as hub:
        await stack.enter_async_context(scripted_target(hub, "one"))
        assert hub.hub is not None
        hub.hub.router.events.listen(
            lambda seq, event, target_id, data: lost.append((target_id, data.get("reason")))
        )
    assert lost == [("one", "stopping")]


def was_dark_for(board: BoardProcess, seconds: float) -> Callable[[], bool]:
    """Whether the light has been off for so long without a break."""
    lit = [running_s()]

    def check() -> bool:
        if board.outputs()["pins"].get("LED", {"level": 1})["level"]:
            lit.append(running_s())
        return running_s() - lit[-1] >= seconds

    return check


def was_lit_soon_again(board: BoardProcess) -> Callable[[], bool]:
    """Whether the light was on, off, and on again within half a second."""
    changes: list[tuple[int, float]] = [(0, 0.0)]

    def check() -> bool:
        level = board.outputs()["pins"].get("LED", {"level": 0})["level"]
        if level != changes[-1][0]:
            changes.append((level, time.monotonic()))
        ons = [at_s for is_on, at_s in changes if is_on]
        return len(ons) > 1 and ons[-1] - ons[-2] < 0.5

    return check


@needs_micropython
async def test_a_hub_boards_light_shows_whether_targets_are_here(tmp_path: Path) -> None:
    """It flashes twice a second while none is, and once in three seconds while one is."""
    async with running_hub("micropython", tmp_path) as hub:
        assert hub.board is not None
        await until(was_lit_soon_again(hub.board), "it should seek")
        async with scripted_target(hub, "one"):
            await until(was_dark_for(hub.board, 1.5), "it should be content")
        await until(was_lit_soon_again(hub.board), "it should seek again")


@each_engine
async def test_list_targets(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        assert (await console.ask("list_targets"))["data"] == {"count": 0}
        await stack.enter_async_context(
            scripted_target(hub, "here", groups=["g"], firmware="9.9", state="down")
        )
        async with scripted_target(hub, "gone"):
            await console.event("registered", "gone")
        await console.event("lost", "gone")
        *targets, reply = await console.answer_to(await console.request("list_targets"))
        assert (reply["type"], reply["status"], reply["data"]) == ("targets", "ok", {"count": 2})
        data = {target["target_id"]: target["data"] for target in targets}
        here, gone = data["here"], data["gone"]
        assert {name: here[name] for name in ("connected", "state", "groups", "firmware", "seen_ms_ago")} == {
            "connected": True,
            "state": "down",
            "groups": ["g"],
            "firmware": "9.9",
            "seen_ms_ago": 0,
        }
        assert gone["connected"] is False
        assert 0 <= gone["seen_ms_ago"] < 60_000


@each_engine
async def test_subscribe_and_come_back(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        async with console_of(hub) as first:
            seen = (await first.ask("subscribe"))["data"]
            assert (seen["seq"], seen["oldest_seq"]) == (0, 1)
            assert (await first.ask("subscribe"))["data"]["code"] == "bad_message"
            target = await stack.enter_async_context(scripted_target(hub, "a"))
            registered = await first.event("registered", "a")
            assert registered["seq"] == 1
        # While no console is there, two reports come in.
        for number, message_type in ((1, "hit"), (2, "miss")):
            await target.send({"type": message_type, "id": number, "data": {"reaction_ms": number}})
            await target.expect("ack", id=number, status="ok")
        async with console_of(hub) as back:
            id = await back.request("subscribe", after=1, log_id=seen["log_id"])
            await back.expect("subscribed", id=id)
            events = [(await back.expect("event"))["data"] for _ in range(2)]
            assert [(data["seq"], data["event"], data["reaction_ms"]) for data in events] == [
                (2, "hit", 1),
                (3, "miss", 2),
            ]
        async with console_of(hub) as elsewhere:  # counted by another log: everything it has
            await elsewhere.ask("subscribe", after=1_000, log_id="another")
            events = [(await elsewhere.expect("event"))["data"] for _ in range(3)]
            assert [data["seq"] for data in events] == [1, 2, 3]
        async with console_of(hub) as new:  # without `after` only what comes
            await new.ask("subscribe")
            await target.send({"type": "hit", "id": 3})
            assert (await new.expect("event"))["data"] == {"event": "hit", "seq": 4}
        async with console_of(hub) as wrong:
            for after in (-1, "1", True):
                assert (await wrong.ask("subscribe", after=after))["data"]["code"] == "bad_message"
            assert (await wrong.ask("subscribe", after=3))["status"] == "ok"


@each_engine
async def test_register_comes_first_and_once(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(peer_of(hub))
        for message_type in ("ping", "list_targets", "stand_up", "hit", "nonsense"):
            assert (await console.ask(message_type))["data"]["code"] == "not_registered"
        reply = await console.ask("register", role="console", heartbeat_ms=1_000)
        assert (reply["type"], reply["status"]) == ("registered", "registered")
        data = reply["data"]
        assert (data["protocol"], data["heartbeat_ms"], data["dead_after_ms"]) == (1, 1_000, 3_000)
        assert data["max_line_bytes"] == 4096
        assert isinstance(data["hub_us"], int)
        assert (await console.ask("register", role="console"))["data"]["code"] == "bad_message"
        assert (await console.ask("register", "a"))["data"]["code"] == "bad_message"
        assert (await console.ask("list_targets"))["data"] == {"count": 0}  # still a console, and no target
        assert (await console.ask("ping"))["status"] == "alive"  # the hub itself


@each_engine
async def test_commands_pasted_with_the_register(engine: str, tmp_path: Path) -> None:
    """Two lines pasted into `nc` come in one piece: the first counts when the second is looked at."""
    async with running_hub(engine, tmp_path) as hub, peer_of(hub) as console:
        await console.send(
            {"type": "register", "id": 1, "data": {"role": "console"}}, {"type": "list_targets", "id": 2}
        )
        await console.expect("registered", id=1)
        await console.expect("targets", id=2)


@each_engine
async def test_the_same_ids_of_two_consoles(engine: str, tmp_path: Path) -> None:
    """An id is a console's own, also where both were connected before either registered."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path, max_consoles=2))
        await stack.enter_async_context(virtual_target("cpython", tmp_path, hub.address))
        consoles = [await stack.enter_async_context(peer_of(hub)) for _ in range(2)]
        for console in consoles:
            assert (await console.ask("ping"))["data"]["code"] == "not_registered"
        for console in consoles:
            assert (await console.ask("register", role="console"))["status"] == "registered"
        await until_count(consoles[0], 1)
        first, second = consoles
        # The ids count the requests of each: make the next ones the same.
        first.ids = second.ids = 1_000
        assert (await first.ask("stand_up", "target_1"))["status"] == "standing"
        assert (await second.ask("lay_down", "target_1"))["status"] == "down"
        assert (await first.ask("lay_down", "target_1"))["status"] == "down"
        assert (await second.ask("stand_up", "target_1"))["status"] == "standing"


@each_engine
async def test_a_command_that_is_repeated_before_it_is_answered(engine: str, tmp_path: Path) -> None:
    """It has one answer: `busy` would say of a target that rises that nothing was done."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        await stack.enter_async_context(virtual_target("cpython", tmp_path, hub.address))
        console = await stack.enter_async_context(console_of(hub))
        await until_count(console, 1)
        stand_up = {"type": "stand_up", "id": "again", "target_id": "target_1"}
        await console.send(stand_up, stand_up)
        await console.expect("standing", id="again")
        await console.send(stand_up)
        await console.expect("standing", id="again")
        await console.send({"type": "ping", "id": "last"})
        await console.expect("pong", id="last")


@each_engine
async def test_who_does_not_register_is_put_out(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path, limits={"register_ms": 500}))
        console = await stack.enter_async_context(console_of(hub))
        silent = await stack.enter_async_context(peer_of(hub))
        chatty = await stack.enter_async_context(peer_of(hub))
        assert (await chatty.ask("ping"))["data"]["code"] == "not_registered"
        for stranger in (silent, chatty):
            await stranger.expect_error("not_registered")
            assert stranger.ended == ""  # it has time to read why
            stranger.half_close()
            await stranger.end()
        assert (await console.ask("list_targets"))["status"] == "ok"


@each_engine
async def test_registrations_that_are_refused(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path, max_consoles=1))
        console = await stack.enter_async_context(console_of(hub))
        cases: list[tuple[str | None, Message, str]] = [
            ("a", {"protocol": 2}, "unsupported"),
            ("a", {"role": "referee"}, "unsupported"),
            ("a", {"protocol": "1"}, "bad_message"),
            ("a", {"groups": "front"}, "bad_message"),
            ("a", {"groups": ["all of them"]}, "bad_message"),
            ("a", {"heartbeat_ms": 10}, "bad_message"),
            ("a", {"max_line_bytes": 100}, "bad_message"),
            ("a", {"hardware_id": 7}, "bad_message"),
            (None, {}, "bad_message"),
            ("all", {}, "bad_message"),
            ("group:front", {}, "bad_message"),
            (None, {"role": "console"}, "busy"),  # one console is here already
        ]
        for target_id, data, code in cases:
            async with peer_of(hub) as peer:
                reply = await peer.ask("register", target_id, **data)
                assert (reply["type"], reply["data"]["code"]) == ("error", code), (target_id, data)
                peer.half_close()
                await peer.end()
        assert (await console.ask("list_targets"))["data"] == {"count": 0}


@each_engine
async def test_a_name_is_one_boards(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        first = await stack.enter_async_context(scripted_target(hub, "a", hardware_id="one"))
        await console.event("registered", "a")
        for other in ({"hardware_id": "two"}, {}):
            async with peer_of(hub) as rival:
                await rival.send(registration("a", **other))
                await rival.expect_error("duplicate_target", id=0)
        assert (await console.ask("ping", "a"))["status"] == "alive"
        assert (await first.expect("ping"))["id"]
        # The same board again: a reboot that the hub has not noticed yet. test_duplicates.py has the others.
        first.answers_heartbeat = False
        second = await stack.enter_async_context(scripted_target(hub, "a", hardware_id="one"))
        await first.end(1.0)
        await console.event("registered", "a")
        assert (await console.ask("ping", "a"))["status"] == "alive"
        await second.expect("ping")
        assert not [
            message for message in console.received if (message.get("data") or {}).get("event") == "lost"
        ]
        assert (await console.ask("list_targets"))["data"] == {"count": 1}


@each_engine
async def test_a_full_hub_is_busy(engine: str, tmp_path: Path) -> None:
    """Two targets and one console: the third target is refused, and whoever comes when all places are taken
    is told so too."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path, max_targets=2, max_consoles=1))
        for name in ("a", "b"):
            await stack.enter_async_context(scripted_target(hub, name, hardware_id=name))
        async with peer_of(hub) as third:
            await third.send(registration("c"))
            await third.expect_error("busy", id=0)
            third.half_close()
            await third.end()
        console = await stack.enter_async_context(console_of(hub))
        for _ in range(3):
            async with peer_of(hub) as fourth:
                await fourth.expect_error("busy")
                await fourth.end()
        assert (await console.ask("ping", "all"))["data"] == {"ok": 2, "failed": 0}


@each_engine
async def test_a_place_that_is_given_up_is_free(engine: str, tmp_path: Path) -> None:
    async with (
        running_hub(engine, tmp_path, max_targets=1, max_consoles=2) as hub,
        console_of(hub, subscribed=True) as console,
    ):
        for number in range(4):
            async with scripted_target(hub, f"t{number}"):
                await console.event("registered", f"t{number}")
            await console.event("lost", f"t{number}")
        count = (await console.ask("list_targets"))["data"]["count"]
        assert 1 <= count <= 2  # one connected and one remembered at most
        for _ in range(4):
            async with console_of(hub) as other:
                assert (await other.ask("list_targets"))["type"] == "targets"
            await until_free(hub)


async def until_free(hub: HubUnderTest) -> None:
    """Waits until the hub has noticed that the second console has gone."""

    async def is_free() -> bool:
        async with peer_of(hub) as peer:
            return bool((await peer.ask("register", role="console"))["type"] == "registered")

    await until(is_free, "the place of a console that has gone should be free again")


@each_engine
async def test_it_is_typed_by_a_person(engine: str, tmp_path: Path) -> None:
    """Any case of the type, CR LF, empty lines, unknown fields, and the hub's heartbeat switched to slow."""
    async with running_hub(engine, tmp_path) as hub, peer_of(hub) as person:
        await person.send(
            b'\r\n\n  \n{"type": "REGISTER", "id": "me", "mood": "good",'
            b' "data": {"role": "console", "heartbeat_ms": 60000, "name": "Zo\xc3\xab"}}\r\n'
        )
        await person.expect("registered", id="me")
        await person.send(b'{"type":"List_Targets","id":7}\r\n')
        await person.expect("targets", id=7, status="ok")


async def test_a_hub_on_every_address_has_both_families() -> None:
    hub = Hub("", free_port(), 1, 2)
    await hub.start()
    try:
        for host in ("127.0.0.1", "::1"):
            try:
                reader, writer = await asyncio.open_connection(host, hub.port)
            except OSError as error:
                if host == "127.0.0.1" or error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                pytest.skip("no IPv6 on this machine")
            writer.write(b'{"type":"register","id":1,"data":{"role":"console"}}\n')
            assert b'"registered"' in await reader.readline()
            writer.close()
            await writer.wait_closed()
    finally:
        await hub.shut_down()


@each_engine
async def test_a_repeated_command_is_as_old_as_the_first_time(engine: str, tmp_path: Path) -> None:
    """A target that has booted in between can tell; where nothing was ever done it is a new one."""
    async with (
        running_hub(engine, tmp_path) as hub,
        scripted_target(hub, "t_1", answers={"ping": ("pong", "alive")}) as target,
        console_of(hub) as console,
    ):

        async def sent_us(answer: Message) -> int:
            await console.send({"type": "stand_up", "id": 7, "target_id": "t_1", "data": {"timeout_ms": 800}})
            command = await target.expect("stand_up")
            data = command["data"]
            assert data["until_us"] - data["sent_us"] == 800_000
            await target.send({"id": command["id"], "target_id": "t_1", **answer})
            await console.answer_to(7)
            sent: int = data["sent_us"]
            return sent

        done = {"type": "standing", "status": "standing"}
        busy = {"type": "error", "status": "error", "data": {"code": "busy", "message": "falling"}}
        refused = await sent_us(busy)
        first = await sent_us(done)
        assert refused < first == await sent_us(done)
        assert first == await sent_us(busy) == await sent_us(done)  # it was done once
        for _ in range(MAX_SENT):  # what only reads pushes no motion out
            assert (await console.ask("ping", "t_1"))["status"] == "alive"
            await target.expect("ping")
        assert first == await sent_us(done)


@each_engine
async def test_a_command_that_reached_nobody_has_no_age(engine: str, tmp_path: Path) -> None:
    async with running_hub(engine, tmp_path) as hub, console_of(hub) as console:
        command = {"type": "stand_up", "id": 7, "target_id": "late", "data": {"timeout_ms": 100}}
        await console.send(command)
        await console.expect_error("unknown_target", id=7)
        since_us = (await console.ask("ping"))["data"]["hub_us"]
        async with scripted_target(hub, "late") as late:
            await console.send(command)
            assert (await late.expect("stand_up"))["data"]["sent_us"] > since_us
            assert (await console.answer_to(7))[-1]["status"] == "standing"
