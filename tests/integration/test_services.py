"""The services that a hub knows: their list, their events, the command; and a service or hub that lies."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from snyper import Event, ReconnectingClient, ServiceInfo, connect, receive_files
from tests.integration.harness import (
    HubUnderTest,
    Message,
    Peer,
    console_of,
    each_engine,
    mortal_hub,
    peer_of,
    registration,
    run_snyper,
    running_hub,
    scripted_hub,
    scripted_target,
    snyper,
    until,
)
from tests.integration.test_cli import until_watching

POWERMETER = "Powermeter, 3 functions"
FORGED = "12:00 all is well"
EVIL = f"\x1b[2J\x1b]0;t\x07\r\n{FORGED}\n\u202e[bold]x[/red]"


@asynccontextmanager
async def service_of(hub: HubUnderTest, name: str, firmware: str = POWERMETER) -> AsyncIterator[Peer]:
    """Register a service, until the block ends."""
    async with peer_of(hub) as service:
        await service.send(registration(name, role="service", firmware=firmware))
        await service.expect("registered", target_id=name)
        yield service


async def listed(console: Peer) -> dict[str, Message]:
    """What `list_services` says of each, by its name; the sum is held against it."""
    *items, reply = await console.answer_to(await console.request("list_services"))
    assert {item["type"] for item in items} <= {"item"}
    assert (reply["type"], reply["status"], reply["data"]) == ("reply", "ok", {"count": len(items)})
    return {item["target_id"]: item["data"] for item in items}


async def until_away(hub: HubUnderTest, *names: str) -> None:
    """Wait until the hub knows that these services have gone."""

    async def are_away() -> bool:
        async with connect(hub.address) as client:
            return {one.target_id for one in await client.services() if not one.connected} >= set(names)

    await until(are_away, f"{names} should be away")


@each_engine
async def test_services_are_listed_and_are_no_targets(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path, max_targets=3, max_consoles=2))
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        assert await listed(console) == {}
        await stack.enter_async_context(scripted_target(hub, "t"))
        await stack.enter_async_context(service_of(hub, "lab1"))
        async with service_of(hub, "lab2", ""):
            here = {"connected": True, "firmware": "", "seen_ms_ago": 0}
            assert (await listed(console))["lab2"] == here
            *targets, _ = await console.answer_to(await console.request("list_targets"))
            assert [target["target_id"] for target in targets] == ["t"]
        await console.event("service_lost", "lab2")
        known = await listed(console)
        assert 0 <= known["lab2"].pop("seen_ms_ago") < 60_000
        assert known["lab2"] == {"connected": False, "firmware": ""}
        assert known["lab1"]["firmware"] == POWERMETER

        async def has_been_asked() -> bool:
            return "round_trip_us" in (await listed(console))["lab1"]

        await until(has_been_asked, "the hub should ping it")


@each_engine
async def test_that_a_service_comes_and_goes_is_told(engine: str, tmp_path: Path) -> None:
    async with (
        running_hub(engine, tmp_path) as hub,
        console_of(hub, subscribed=True) as console,
    ):
        async with service_of(hub, "lab1") as service:
            assert await console.event("service_here", "lab1") == {
                "event": "service_here",
                "seq": 1,
                "firmware": POWERMETER,
            }
            service.answers_heartbeat = False
            data = await console.event("service_lost", "lab1")
            assert (data["reason"], data["code"], data["seq"]) == ("silent", "timeout", 2)
            assert data["message"]
        async with service_of(hub, "lab1"):
            assert (await console.event("service_here", "lab1"))["seq"] == 3
        assert (await console.event("service_lost", "lab1"))["reason"] == "closed"


async def test_many_services_leave_others_their_turn_and_are_all_there(tmp_path: Path) -> None:
    names = {f"lab{number}" for number in range(60)}
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("cpython", tmp_path, 100, 100))
        for name in names:
            await stack.enter_async_context(service_of(hub, name))
        async with connect(hub.address) as client:
            assert {service.target_id for service in await client.services()} == names


@each_engine
async def test_the_library_and_the_command_list_them(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path))
        status, out, err = await run_snyper("services", "--hub", hub.address)
        assert (status, out) == (0, "")
        assert f'start one with Server(…, name="lab1", hub="{hub.address}").run()' in err
        assert json.loads((await run_snyper("services", "--hub", hub.address, "--json"))[1]) == []

        lab10 = await stack.enter_async_context(service_of(hub, "lab10"))
        async with ReconnectingClient(hub.address, wait_while_away=True) as client:
            [info] = await client.services()
            assert info == ServiceInfo("lab10", True, POWERMETER, 0, info.round_trip_us)
        await lab10.close()
        await until_away(hub, "lab10")
        await stack.enter_async_context(service_of(hub, "lab2", "camera"))
        status, out, err = await run_snyper("services", "--hub", hub.address, COLUMNS="80")
        assert (status, err) == (0, "")
        rows = [
            [cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "lab" in line
        ]
        assert [(name, re.sub(r"\d+", "N", state), serves) for name, state, _, serves in rows] == [
            ("lab2", "here", "camera"),
            ("lab10", "away for N s", POWERMETER),
        ]
        as_json = json.loads((await run_snyper("services", "--hub", hub.address, "--json"))[1])
        assert [one["target_id"] for one in as_json] == ["lab2", "lab10"]
        assert set(as_json[0]) == set(ServiceInfo.__dataclass_fields__)


async def test_who_receives_files_is_one(tmp_path: Path) -> None:
    async with (
        running_hub("cpython", tmp_path) as hub,
        receive_files(hub.address, "store", tmp_path / "received") as store,
        connect(hub.address) as client,
    ):
        await store.wait_until_tried()
        assert [(one.target_id, one.firmware) for one in await client.services()] == [
            ("store", "keeps files")
        ]


@each_engine
async def test_what_a_hostile_service_says_is_text(engine: str, tmp_path: Path) -> None:
    async with (
        running_hub(engine, tmp_path) as hub,
        snyper("watch", "--hub", hub.address) as watching,
    ):
        await until_watching(watching, hub)
        async with service_of(hub, "lab1", EVIL):
            await watching.says("service_here")
        await watching.says("service_lost")
        await watching.interrupt()
        for said in (watching.out, (await run_snyper("services", "--hub", hub.address))[1]):
            assert "[bold]x[/red]" in said
            assert not [line for line in said.splitlines() if line.startswith(FORGED)]
            assert not set(said) & set("\x1b\x07\r\u202e")
        as_json = (await run_snyper("services", "--hub", hub.address, "--json"))[1]
        assert json.loads(as_json)[0]["firmware"] == EVIL
        assert not set(as_json) & set("\x1b\x07\r")


@each_engine
async def test_a_service_that_comes_and_goes_too_often_waits(engine: str, tmp_path: Path) -> None:
    limits = {"events_at_once": 20, "events_per_s": 2, "strangers_per_s": 64}
    async with (
        running_hub(engine, tmp_path, max_consoles=2, limits=limits) as hub,
        console_of(hub, subscribed=True) as console,
    ):
        for _ in range(40):
            with suppress(OSError, AssertionError):
                async with service_of(hub, "rude"):
                    pass
        async with peer_of(hub) as rude:
            await rude.send(registration("rude", role="service"))
            refusal = await rude.expect_error("busy")
            assert refusal["data"]["message"] == "rude has caused too many events: wait"
        async with service_of(hub, "lab1"):
            await console.event("service_here", "lab1")
        words = [message["data"]["event"] for message in console.received if message["type"] == "event"]
        assert 10 <= words.count("service_here") < 30


async def test_the_journal_has_them_and_no_history_of_targets(tmp_path: Path) -> None:
    async with (
        mortal_hub("cpython", tmp_path, has_journal=True) as hub,
        connect(hub.under_test.address) as client,
    ):
        async with scripted_target(hub.under_test, "t"), service_of(hub.under_test, "lab1"):
            pass
        lost: dict[str, Event] = {}
        async for event in client.events(after=0):
            if event.event.endswith("lost"):
                lost[event.event] = event
            if len(lost) == 2:
                break
        service_lost = lost["service_lost"]
        assert (service_lost.target_id, service_lost.data["reason"]) == ("lab1", "closed")
    journal = ("--journal", str(tmp_path / "journal.sqlite3"))
    status, out, err = await run_snyper("export", "--events", "--json", *journal)
    assert (status, err) == (0, "export: 4 rows\n")
    told = [one for one in map(json.loads, out.splitlines()) if one["target_id"] == "lab1"]
    assert [one["event"] for one in told] == ["service_here", "service_lost"]
    assert told[0]["data"] == {"firmware": POWERMETER}
    for command in ("history", "stats"):
        status, out, err = await run_snyper(command, *journal)
        assert status == 0
        assert "lab1" not in out + err


# --- hubs that are older, or say what is wrong


@pytest.mark.parametrize("code", ["unknown_type", "internal"])
async def test_a_hub_that_lists_none_says_so(code: str) -> None:
    """It is no hub without services."""
    async with scripted_hub() as hub, snyper("services", "--hub", hub.address) as command:
        peer, _ = await hub.register()
        asked = await peer.expect("list_services")
        data = {"code": code, "message": "no memory"}
        await peer.send({"type": "error", "id": asked["id"], "status": "error", "data": data})
        assert await command.wait() == 1
        why = {
            "unknown_type": "is older and lists no services: update it",
            "internal": "refuses: internal: no memory",
        }
        assert f"the hub at {hub.address} {why[code]}" in command.err
        assert command.out == ""


@each_engine
async def test_a_service_learns_that_who_asked_it_has_gone(engine: str, tmp_path: Path) -> None:
    async with (
        running_hub(engine, tmp_path, max_consoles=2) as hub,
        service_of(hub, "lab1") as service,
        console_of(hub) as console,
    ):
        async with console_of(hub) as gone:
            await gone.request("work", "lab1")
            asked = await service.expect("work")
        assert (await service.expect("item"))["id"] == asked["id"]
        id = await console.request("work", "lab1")
        asked = await service.expect("work")
        await service.send({"type": "reply", "id": asked["id"], "status": "ok"})
        [reply] = await console.answer_to(id)
        assert reply["status"] == "ok"
