"""Targets keep the hub's clock, and do things at its instants: over the wire, on both runtimes."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from snyper.shared.clock import now_us
from snyper.shared.socket_protocol import MAX_AHEAD_MS
from tests.integration.harness import (
    SERVO,
    HubUnderTest,
    Peer,
    ProcessTarget,
    ScriptedHub,
    console_of,
    each_body,
    needs_micropython,
    run_snyper,
    running_hub,
    scripted_hub,
    scripted_target,
    virtual_target,
)
from tools.skew import measure, percentile

LEAD_MS = 400
OWN_STAMP_US = 20_000  # a busy computer may stop a board between its note of the instant and the stand-in's
MINUTE_MS = 60_000


async def _targets(console: Peer) -> dict[str, dict[str, Any]]:
    listed = await console.answer_to(await console.request("list_targets"))
    return {message["target_id"]: message["data"] for message in listed[:-1]}


async def _knows_its_health(console: Peer, name: str = "target_1") -> dict[str, Any]:
    while True:
        health = (await _targets(console)).get(name, {})
        if "round_trip_us" in health:  # of a round that came after the registration
            return health


@each_body
async def test_a_target_begins_at_the_instant_and_says_how_well(body: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("cpython", tmp_path))
        console = await stack.enter_async_context(console_of(hub))
        target = await stack.enter_async_context(virtual_target(body, tmp_path, hub.address))
        await _knows_its_health(console)
        for command, status in (("stand_up", "standing"), ("activate", "activated"), ("lay_down", "down")):
            at_us = now_us() + LEAD_MS * 1000
            reply = await console.ask(command, "target_1", at_us=at_us)
            assert reply["status"] == status
            data = reply["data"]
            assert data["at_us"] == at_us
            assert data["round_trip_us"] >= LEAD_MS * 1000 // 2
            assert type(data["error_us"]) is int
            assert data["uncertainty_us"] > 0
            assert data["error_us"] >= -data["uncertainty_us"], "not before the instant"
            if isinstance(target, ProcessTarget) and command != "activate":
                true_us = int(target.board.outputs()["motions"][str(SERVO)])
                off_us = true_us - at_us - data["error_us"]
                assert abs(off_us) <= data["uncertainty_us"] + OWN_STAMP_US


async def _knowing_hub(hub: ScriptedHub, ids_from: int) -> Peer:
    """The hub's next connection with the target, which it tells its clock: this computer's."""
    peer, _ = await hub.register(hub_us=now_us(), boot_id="there")
    peer.ids = ids_from  # the target remembers those of the connection before
    return peer


@each_body
async def test_a_target_does_nothing_late(body: str, tmp_path: Path) -> None:
    """Whatever the word: what changes something says when its time is over."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(scripted_hub())
        await stack.enter_async_context(virtual_target(body, tmp_path, hub.address))
        peer = await _knowing_hub(hub, 0)
        offer = {"name": "f", "length": 1, "sha256": "00" * 32}
        for word, data in (
            ("stand_up", {}),
            ("lay_down", {}),
            ("configure", {"groups": ["late"]}),
            ("listen", {"duration_ms": 100}),
            ("identify", {"duration_ms": 100}),
            ("offer", offer),
            ("chunk", {"sha256": "00" * 32, "offset": 0}),
        ):
            sent_us = now_us() - 2_000_000
            refused = await peer.ask(word, **data, sent_us=sent_us, until_us=sent_us + 1_000_000)
            assert (refused["data"]["code"], refused["status"]) == ("expired", "unknown"), word
            refused = await peer.ask(word, **data, sent_us=sent_us, until_us=now_us() + MINUTE_MS * 1000)
            assert (refused["data"]["code"], refused["status"]) == ("expired", "unknown"), word
        sent_us = now_us()
        in_time = await peer.ask("configure", threshold=9_000, sent_us=sent_us, until_us=sent_us + 9_000_000)
        assert in_time["data"]["groups"] == []
        assert (await peer.ask("ping"))["data"]["state"] == "down"


@each_body
async def test_what_a_target_refuses_about_an_instant(body: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(scripted_hub())
        await stack.enter_async_context(virtual_target(body, tmp_path, hub.address))
        # A hub that does not tell its clock.
        peer, _ = await hub.register()
        refused = await peer.ask("stand_up", at_us=now_us() + 1_000_000)
        assert (refused["type"], refused["data"]["code"]) == ("error", "busy")
        assert "clock" in refused["data"]["message"]
        assert (await peer.ask("stand_up"))["status"] == "standing"
        await peer.close()
        # And one that does.
        peer = await _knowing_hub(hub, 100)
        for at_us, code in (
            (now_us() - 1_000_000, "expired"),
            (0, "expired"),
            (now_us() + 2 * MAX_AHEAD_MS * 1000, "bad_message"),
            ("now", "bad_message"),
            (-1, "bad_message"),
            (None, "bad_message"),
        ):
            refused = await peer.ask("stand_up", at_us=at_us)
            assert (refused["type"], refused["data"]["code"]) == ("error", code), at_us
        # One waits at a time, and lay_down calls it off.
        waiting = await peer.request("stand_up", at_us=now_us() + MINUTE_MS * 900)
        second = await peer.ask("activate", at_us=now_us() + MINUTE_MS * 900)
        assert second["data"]["code"] == "busy"
        assert (await peer.ask("ping"))["data"]["state"] == "down"
        falls = await peer.request("lay_down")
        assert (await peer.answer_to(waiting))[-1]["data"]["code"] == "superseded"
        assert (await peer.answer_to(falls))[-1]["status"] == "down"
        # So does the loss of the link: with the next one, another can be scheduled.
        await peer.request("stand_up", at_us=now_us() + MINUTE_MS * 900)
        assert (await peer.ask("ping"))["status"] == "alive"
        await peer.close()
        peer = await _knowing_hub(hub, 200)
        reply = await peer.ask("stand_up", at_us=now_us() + LEAD_MS * 1000)
        assert reply["status"] == "standing"


async def test_the_hub_makes_one_instant_of_in_ms_for_all(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("cpython", tmp_path))
        console = await stack.enter_async_context(console_of(hub))
        targets = [
            await stack.enter_async_context(scripted_target(hub, f"t_{number}")) for number in range(2)
        ]
        before_us = now_us()
        assert (await console.ask("activate", "all", in_ms=700, duration_ms=900))["status"] == "ok"
        told = [await target.expect("activate") for target in targets]
        assert told[0]["data"] == told[1]["data"]
        assert set(told[0]["data"]) == {"at_us", "duration_ms", "sent_us", "until_us"}
        assert before_us + 700_000 <= told[0]["data"]["at_us"] <= now_us() + 700_000
        wrong: list[dict[str, Any]] = [
            {"in_ms": -1},
            {"in_ms": MAX_AHEAD_MS + 1},
            {"in_ms": "soon"},
            {"in_ms": 100, "at_us": now_us() + 100_000},
            {"at_us": "soon"},
            {"at_us": now_us() + 2 * MAX_AHEAD_MS * 1000},
        ]
        for data in wrong:
            refused = await console.ask("stand_up", "all", **data)
            assert refused["data"]["code"] == "bad_message", data
        assert targets[0].received[-1]["type"] == "activate", "nothing of that reached a target"


async def test_a_commands_time_counts_from_its_instant(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("cpython", tmp_path))
        console = await stack.enter_async_context(console_of(hub))
        await stack.enter_async_context(scripted_target(hub, "mute", {"ping": ("pong", "alive")}))
        late = await console.ask("stand_up", "mute", in_ms=600, timeout_ms=100)
        assert (late["status"], late["data"]["code"]) == ("unknown", "timeout")
        assert late["data"]["round_trip_ms"] >= 690


@each_body
async def test_a_hub_knows_how_its_targets_are(body: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("cpython", tmp_path))
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        target = await stack.enter_async_context(virtual_target(body, tmp_path, hub.address))
        health = await _knows_its_health(console)
        assert health["uptime_ms"] > 0
        assert health["dropped"] == 0
        assert 0 < health["uncertainty_us"] < 2_000_000
        assert ("heap_free_bytes" in health) == (body == "micropython")
        pong = await console.ask("ping", "target_1")
        assert pong["data"]["uncertainty_us"] > 0
        await target.kill()
        assert (await console.event("lost", "target_1"))["event"] == "lost"
        gone = (await _targets(console))["target_1"]
        assert not gone["connected"]
        assert not {"uptime_ms", "uncertainty_us", "round_trip_us"} & set(gone)


async def test_the_hub_tells_its_clock_and_believes_no_nonsense_about_health(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("cpython", tmp_path))
        console = await stack.enter_async_context(console_of(hub))
        before_us = now_us()
        pong = await console.ask("ping")
        assert before_us <= pong["data"]["hub_us"] <= now_us()
        liar = await stack.enter_async_context(scripted_target(hub, "liar"))
        nonsense: dict[str, Any] = {
            "uptime_ms": -1,
            "dropped": "many",
            "uncertainty_us": True,
            "heap_free_bytes": [1],
            "x": 1,
        }
        assert (await liar.ask("ping", **nonsense))["status"] == "alive"
        listed = (await _targets(console))["liar"]
        assert not {*nonsense} & set(listed)
        assert (await liar.ask("ping", uptime_ms=7, state="standing"))["data"]["hub_us"] > before_us
        listed = (await _targets(console))["liar"]
        assert (listed["uptime_ms"], listed["state"]) == (7, "standing")


@needs_micropython
async def test_boards_rise_together_over_a_bad_network(tmp_path: Path) -> None:
    """What `make skew` measures, shorter. Without the hub's clock boards would be off by the network's 40 ms,
    and by minutes that none of them can know.
    """
    found = await measure(tmp_path, boards=3, rises=4, warm_up_s=6, jitter_ms=(1, 40))
    assert found.faults == []
    assert (len(found.rises), len(found.hits)) == (12, 6)
    assert found.coverage >= 0.8
    assert percentile(found.skews_us, 50) < 20_000


# --- the command


async def _range_of_one(stack: AsyncExitStack, tmp_path: Path) -> HubUnderTest:
    hub = await stack.enter_async_context(running_hub("cpython", tmp_path, max_consoles=2))
    console = await stack.enter_async_context(console_of(hub))
    await stack.enter_async_context(virtual_target("cpython", tmp_path, hub.address))
    await _knows_its_health(console)
    return hub


async def test_the_command_takes_an_instant_and_shows_how_well_it_was_met(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await _range_of_one(stack, tmp_path)
        status, out, err = await run_snyper("stand-up", "all", "--in", "0.5", "--hub", hub.address)
        assert (status, err) == (0, "")
        assert "began" in out
        assert " ms ±" in out
        at_us = now_us() + 5_000_000
        status, out, _ = await run_snyper(
            "lay-down", "all", "--at", f"{at_us}us", "--json", "--hub", hub.address
        )
        assert status == 0
        assert f'"at_us": {at_us}' in out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--at", "1us"], "ago"),
        (["--at", f"{1 << 52}us"], "at most 60 s"),
        (["--at", "teatime"], "is no instant"),
        (["--at", "18:30:00", "--in", "2"], "name one"),
    ],
)
async def test_the_command_says_what_is_wrong_with_an_instant(
    options: list[str], says: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("cpython", tmp_path))
        status, out, err = await run_snyper("stand-up", "all", *options, "--hub", hub.address)
        assert status in (1, 2)
        assert out == ""
        assert says in err
