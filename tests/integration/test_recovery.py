"""What comes back, and how soon: after a hub's death, a target's, silence, and a wrong first address."""

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import (
    DEADLINE_S,
    DOWN_NS,
    HOST,
    KNOWN_LOST_S,
    MICROPYTHON,
    SLACK_S,
    UP_NS,
    ProcessTarget,
    SessionTarget,
    VirtualTarget,
    console_of,
    each_body,
    each_engine,
    free_port,
    mortal_hub,
    needs_micropython,
    peer_of,
    running_hub,
    scripted_hub,
    scripted_target,
    until,
    until_connected,
    virtual_target,
)
from tests.integration.stopwatch import running_s

LONGEST_WAIT_S = 3.0  # between two attempts of a target
GONE_S = 1.0  # for which a hub stays away


def is_at(target: VirtualTarget, angle_ns: int) -> bool:
    return abs(target.duty_ns() - angle_ns) < 1_000


# --- the hub dies


@needs_micropython
@each_engine
async def test_targets_find_a_hub_that_was_killed(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its targets lie down without it, all of them come back by themselves, and it can command them."""
    names = {"m1", "m2", "c1", "c2"}
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(mortal_hub(engine, tmp_path))
        targets = [
            await stack.enter_async_context(
                virtual_target(
                    "micropython" if name[0] == "m" else "cpython",
                    tmp_path,
                    hub.under_test.address,
                    name,
                )
            )
            for name in sorted(names)
        ]
        async with console_of(hub.under_test) as console:
            await until_connected(console, names)
            assert (await console.ask("stand_up", "all"))["status"] == "ok"
            assert all(is_at(target, UP_NS) for target in targets)
            began, began_running_s = time.monotonic(), running_s()
            await hub.kill()
            await console.end()
        await until(
            lambda: all(is_at(target, DOWN_NS) for target in targets), "targets without a hub should lie down"
        )
        lay_after_s = running_s() - began_running_s
        await until(lambda: time.monotonic() - began >= GONE_S, "the hub stays away for a while")
        await hub.start()
        began_running_s = running_s()
        async with console_of(hub.under_test) as console:
            await until_connected(console, names)
            back_after_s = running_s() - began_running_s
            with capsys.disabled():
                print(
                    f"\n{engine} hub killed and started again after {GONE_S:.0f} s: targets lay after"
                    f" {lay_after_s:.2f} s, all back after {back_after_s:.2f} s"
                )
            assert lay_after_s < KNOWN_LOST_S + SLACK_S
            assert back_after_s < LONGEST_WAIT_S + SLACK_S
            reply = await console.ask("stand_up", "all")
            assert (reply["status"], reply["data"]) == ("ok", {"ok": 4, "failed": 0})


@each_body
async def test_a_hub_that_falls_silent(body: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing closes the connection. A standing target, and an armed one, lie down all the same."""
    async with scripted_hub() as hub, virtual_target(body, tmp_path, hub.address) as target:
        for command, reply in (("stand_up", "standing"), ("activate", "activated")):
            peer, _ = await hub.register()
            await peer.send({"type": command, "id": command})
            await peer.expect(reply, id=command)
            assert is_at(target, UP_NS)
            peer.answers_heartbeat = False
            silent_since_s = running_s()
            await until(lambda: is_at(target, DOWN_NS), "without its hub it should lie down")
            after_s = running_s() - silent_since_s
            with capsys.disabled():
                print(f"\n{body} target after {command}, hub silent: lies down after {after_s:.2f} s")
            assert after_s < KNOWN_LOST_S + SLACK_S
            await peer.end()
        peer, message = await hub.register()
        # The round that the outage ended is reported once there is somebody to hear it.
        miss = await peer.expect("miss")
        assert miss["data"]["reason"] == "link_lost"
        assert message["data"]["state"] == "down"


@each_body
async def test_a_hub_that_goes_while_the_target_rises(body: str, tmp_path: Path) -> None:
    async with (
        scripted_hub() as hub,
        virtual_target(body, tmp_path, hub.address, servo={"travel_ms": 600}) as target,
    ):
        peer, _ = await hub.register()
        await peer.send({"type": "activate", "id": 1})
        await until(lambda: is_at(target, UP_NS), "it should begin to rise")
        await peer.close(reset=True)
        await until(lambda: is_at(target, DOWN_NS), "it should turn back")
        peer, message = await hub.register()
        assert message["data"]["state"] == "down"  # it dials when it is at rest
        await peer.send({"type": "ping", "id": 2})
        await peer.expect("pong", id=2)  # and no report of a round that never began


# --- a target dies


@pytest.mark.parametrize("how", ["killed", "stopped"])
@each_engine
@needs_micropython
async def test_a_lost_target_is_announced(
    engine: str, how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        target = await stack.enter_async_context(virtual_target("micropython", tmp_path, hub.address))
        assert isinstance(target, ProcessTarget)
        await console.event("registered", "target_1")
        assert (await console.ask("stand_up", "target_1"))["status"] == "standing"
        began_s = running_s()
        target.signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        lost = await console.event("lost", "target_1")
        lost_after_s = running_s() - began_s
        code, reasons = (
            ("disconnected", ("closed", "broken")) if how == "killed" else ("timeout", ("silent",))
        )
        assert lost["code"] == code
        assert lost["reason"] in reasons
        reply = await console.ask("ping", "target_1")
        assert (reply["status"], reply["data"]["code"]) == ("error", "disconnected")  # nothing was sent
        began_s = running_s()
        if how == "killed":
            target.board.wait(DEADLINE_S)
            target.start()
        else:
            target.signal(signal.SIGCONT)
        back = await console.event("registered", "target_1")
        back_after_s = running_s() - began_s
        with capsys.disabled():
            print(
                f"\ntarget {how}, {engine} hub: lost after {lost_after_s:.2f} s,"
                f" back {back_after_s:.2f} s after its return"
            )
        assert lost_after_s < KNOWN_LOST_S + SLACK_S
        assert back_after_s < LONGEST_WAIT_S + SLACK_S
        assert back["state"] == "down"
        assert is_at(target, DOWN_NS)
        assert (await console.ask("stand_up", "target_1"))["status"] == "standing"


@each_engine
async def test_the_hub_knows_a_silent_console(engine: str, tmp_path: Path) -> None:
    """Its place is free again: silence is enough."""
    async with running_hub(engine, tmp_path, max_consoles=1) as hub, console_of(hub) as first:
        first.answers_heartbeat = False
        began, began_running_s = time.monotonic(), running_s()
        await first.end()
        assert time.monotonic() - began > KNOWN_LOST_S / 2
        assert running_s() - began_running_s < KNOWN_LOST_S + SLACK_S
        async with console_of(hub) as second:
            assert (await second.ask("list_targets"))["status"] == "ok"


# --- reports survive


@each_body
async def test_a_hit_during_an_outage_is_delivered_once(body: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        port = free_port()
        hub = await stack.enter_async_context(scripted_hub(port))
        target = await stack.enter_async_context(
            virtual_target(body, tmp_path, f"{HOST}:{port}", safe_pose="stay")
        )
        peer, first = await hub.register()
        await peer.send({"type": "activate", "id": 1, "data": {"duration_ms": 60_000}})
        await peer.expect("activated", id=1)
        await until(target.is_armed, "it should read its piezo")
        await hub.close()  # nobody listens any more
        target.strike(50_000)
        await until(lambda: is_at(target, DOWN_NS), "a hit target should lie down, with or without a hub")

        real = await stack.enter_async_context(running_hub("cpython", tmp_path, port=port))
        console = await stack.enter_async_context(console_of(real, subscribed=True))
        assert real.hub is not None
        log = real.hub.router.events
        await until(lambda: any(event[1] == "hit" for event in log.after(0)), "the hit should be delivered")
        assert (await console.ask("stand_up", "target_1"))["status"] == "standing"
        assert (await console.ask("ping", "target_1"))["data"]["dropped"] == 0
        names = [event[1] for event in log.after(0)]
        assert (names.count("hit"), names.count("miss")) == (1, 0)
        assert first["data"]["boot_id"]


@each_body
async def test_a_hit_without_acknowledgement_is_sent_again(body: str, tmp_path: Path) -> None:
    """With the same id and the same data, over the next connection too, until somebody has it."""
    async with (
        scripted_hub() as hub,
        virtual_target(body, tmp_path, hub.address, safe_pose="stay") as target,
    ):
        peer, _ = await hub.register()
        await peer.send({"type": "activate", "id": 1, "data": {"duration_ms": 60_000}})
        await peer.expect("activated", id=1)
        await until(target.is_armed, "it should read its piezo")
        target.strike(50_000)
        first = await peer.expect("hit")
        await peer.close(reset=True)  # heard, and never said so
        peer, _ = await hub.register()
        assert await peer.expect("hit") == first
        again = await peer.expect("hit")  # still not acknowledged
        assert again == first
        await peer.send({"type": "ack", "id": first["id"], "status": "ok"})
        await peer.send({"type": "stand_up", "id": 2})
        await peer.expect("standing", id=2)
        await peer.close(reset=True)
        peer, _ = await hub.register()
        await peer.send({"type": "lay_down", "id": 3})
        await peer.expect("down", id=3)  # and not the hit again


@each_body
async def test_a_hit_while_the_link_ends_is_kept(body: str, tmp_path: Path) -> None:
    """Between the hub's last mistake and the closed socket the target lingers; a hit then is not lost."""
    async with (
        scripted_hub() as hub,
        virtual_target(body, tmp_path, hub.address, safe_pose="stay") as target,
    ):
        peer, _ = await hub.register()
        await peer.send({"type": "activate", "id": 1, "data": {"duration_ms": 60_000}})
        await peer.expect("activated", id=1)
        await until(target.is_armed, "it should read its piezo")
        await peer.send(b"x" * 5_000)
        await peer.expect_error("line_too_long")
        target.strike(50_000)
        peer, _ = await hub.register()
        assert (await peer.expect("hit"))["data"]["peak"] > 40_000


@each_engine
async def test_the_same_report_twice_is_one_event(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        hit = {"type": "hit", "id": 1, "data": {"peak": 7}}
        about: dict[str, Any] = {"hardware_id": "h", "boot_id": "b"}
        async with scripted_target(hub, "a", **about) as target:
            await target.send(hit, hit)
            for _ in range(2):
                await target.expect("ack", id=1, status="ok")
        async with scripted_target(hub, "a", **about) as target:  # the same boot, over a new connection
            await target.send(hit, {"type": "miss", "id": 2})
            await target.expect("ack", id=1)
            await target.expect("ack", id=2)
        async with scripted_target(hub, "a", hardware_id="h", boot_id="c") as target:  # booted anew
            await target.send({"type": "hit", "id": 1, "data": {"peak": 8}})
            await target.expect("ack", id=1)
            assert (await console.ask("ping", "a"))["status"] == "alive"
        events = [message["data"] for message in console.received if message["type"] == "event"]
        reports = [(data["event"], data.get("peak")) for data in events if data["event"] in ("hit", "miss")]
        assert reports == [("hit", 7), ("miss", None), ("hit", 8)]


# --- where to dial


@each_body
async def test_the_second_address_is_tried(body: str, tmp_path: Path) -> None:
    """The first is refused, or says nothing; the second lives, and is kept after a loss."""
    async with AsyncExitStack() as stack:
        dead = f"{HOST}:{free_port()}"
        hub = await stack.enter_async_context(scripted_hub())
        await stack.enter_async_context(virtual_target(body, tmp_path, [dead, hub.address]))
        for _ in range(2):
            peer, message = await hub.register()
            assert message["target_id"] == "target_1"
            await peer.close(reset=True)


async def test_a_hub_that_is_full_is_not_the_only_one(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        full = await stack.enter_async_context(running_hub("cpython", tmp_path, max_targets=1))
        await stack.enter_async_context(scripted_target(full, "first"))
        hub = await stack.enter_async_context(running_hub("cpython", tmp_path))
        assert hub.hub is not None
        await stack.enter_async_context(virtual_target("cpython", tmp_path, [full.address, hub.address]))
        await until(hub.hub.router.registry.connected, "it should go to the second hub")


# --- an end at any moment


@pytest.mark.parametrize("steps", range(12))
async def test_a_session_ends_when_it_is_cancelled(steps: int, tmp_path: Path) -> None:
    """Once is enough, also while the link is just being taken down: `steps` turns of the loop after that."""
    async with scripted_hub() as hub, virtual_target("cpython", tmp_path, hub.address) as target:
        assert isinstance(target, SessionTarget)
        peer, _ = await hub.register()
        await peer.send({"type": "ping", "id": 1})
        await peer.expect("pong", id=1)
        task = target._task
        assert task is not None
        await peer.close(reset=True)
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=2.0)
        assert done, "the session goes on"


async def test_a_stopped_hub_leaves_nothing_listening(tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path) as hub, scripted_target(hub, "a") as target:
        assert hub.hub is not None
        await hub.hub.shut_down()
        await target.end()
        with pytest.raises(ConnectionRefusedError):
            async with peer_of(hub):
                pass


@pytest.mark.parametrize("engine", ["cpython", MICROPYTHON])
async def test_a_command_after_the_outage(engine: str, tmp_path: Path) -> None:
    """A target that comes back while nobody looked is commanded as if nothing had been."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        target = await stack.enter_async_context(virtual_target("cpython", tmp_path, hub.address))
        for _ in range(3):
            await console.event("registered", "target_1")
            assert (await console.ask("stand_up", "target_1"))["status"] == "standing"
            await target.kill()
            await console.event("lost", "target_1")
            target.start()
        await console.event("registered", "target_1")
