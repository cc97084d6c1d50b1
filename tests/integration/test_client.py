"""The client library against hubs of both runtimes, and against what is no hub."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

import snyper
from snyper import Event, NoHubError, ProtocolError, connect
from snyper.client import console_session
from tests.integration.harness import (
    HOST,
    OBEDIENT,
    console_of,
    each_body,
    each_engine,
    free_port,
    running_hub,
    scripted_hub,
    scripted_target,
    until,
    virtual_target,
)
from tests.integration.stopwatch import running_s

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def test_what_it_exports() -> None:
    assert set(snyper.__all__) == {
        *("Busy", "Cancelled", "Incompatible", "NotServed", "OutcomeUnknown", "Refused", "ResultGone"),
        *("Unreachable", "WouldDeadlock"),
        *("CallError", "Camera", "call_log", "cancelled", "close", "closing", "deadline", "running"),
        *("on_progress", "progress"),
        *("LeaseLost", "Locked", "StreamLost", "break_lock", "leases", "lock", "watch"),
        *("AsyncClient", "AsyncServer", "Client"),
        "RemoteError",
        "Server",
        *("Event", "GameInfo", "GameState", "PiezoPeaks", "HubClient", "HubStatus", "NoHubError"),
        *(
            "ProtocolError",
            "ReconnectingClient",
            "ServiceInfo",
            "TargetError",
            "TargetInfo",
            "TargetResult",
            "Trace",
            "connect",
            "receive_files",
        ),
    }
    assert all(hasattr(snyper, name) for name in snyper.__all__)


@each_engine
@each_body
async def test_a_round(engine: str, body: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_hub(engine, tmp_path))
        hub = await stack.enter_async_context(connect(running.address))
        assert await hub.targets() == []
        events: list[Event] = []
        listening = asyncio.create_task(collect(hub, events))
        target = await stack.enter_async_context(
            virtual_target(body, tmp_path, running.address, groups=["front"])
        )
        await until(lambda: [event.event for event in events] == ["registered"], "it should register")
        (info,) = await hub.targets()
        assert (info.target_id, info.connected, info.state) == ("target_1", True, "down")
        assert (info.groups, info.seen_ms_ago) == (["front"], 0)
        assert info.firmware
        for command, status in ((hub.ping, "alive"), (hub.stand_up, "standing"), (hub.lay_down, "down")):
            for selector in ("all", "target_1", "group:front"):
                (result,) = await command(selector)
                assert (result.target_id, result.ok, result.status, result.code) == (
                    "target_1",
                    True,
                    status,
                    "",
                )
                assert result.round_trip_us > 0
        (result,) = await hub.activate("target_1", duration_ms=10_000)
        assert result.status == "activated"
        await until(target.is_armed, "it should be armed")
        target.strike(50_000)
        await until(lambda: any(event.event == "hit" for event in events), "it should be hit")
        (hit,) = [event for event in events if event.event == "hit"]
        assert hit.target_id == "target_1"
        assert set(hit.data) == {"peak", "reaction_ms", "gap_us", "at_us", "uncertainty_us"}
        assert [event.seq for event in events] == list(range(events[0].seq, events[0].seq + len(events)))
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def collect(hub: snyper.HubClient, events: list[Event]) -> None:
    async for event in hub.events():
        events.append(event)


@each_engine
async def test_what_fails_says_how(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_hub(engine, tmp_path))
        hub = await stack.enter_async_context(connect(running.address))
        with pytest.raises(ProtocolError) as unknown:
            await hub.stand_up("nobody")
        assert unknown.value.code == "unknown_target"
        await stack.enter_async_context(scripted_target(running, "good"))
        await stack.enter_async_context(scripted_target(running, "slow", answers={}))
        seen: list[str] = []
        began = running_s()
        results = await hub.command(
            "all", "stand_up", lambda result: seen.append(result.target_id), timeout_ms=400
        )
        assert running_s() - began < 400 / 1000 + 1.0
        assert seen == ["good", "slow"]  # each when it was known
        by_name = {result.target_id: result for result in results}
        assert by_name["good"].ok
        assert (by_name["slow"].ok, by_name["slow"].status, by_name["slow"].code) == (
            False,
            "unknown",
            "timeout",
        )
        assert by_name["slow"].message
        (alone,) = await hub.stand_up("slow", timeout_ms=200)
        assert (alone.target_id, alone.ok, alone.status, alone.code) == ("slow", False, "unknown", "timeout")
        with pytest.raises(ProtocolError) as wrong:
            await hub.ping("slow", timeout_ms=1)
        assert wrong.value.code == "bad_message"


@each_engine
async def test_events_since(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_hub(engine, tmp_path, max_consoles=2))
        target = await stack.enter_async_context(scripted_target(running, "a"))
        for id in (1, 2):
            await target.send({"type": "hit", "id": id, "data": {"peak": id}})
            await target.expect("ack", id=id)
        hub = await stack.enter_async_context(connect(running.address))
        found: list[Event] = []
        async for event in hub.events(after=1):
            found.append(event)
            if len(found) == 2:
                break
        assert [(event.seq, event.event, event.data) for event in found] == [
            (2, "hit", {"peak": 1}),
            (3, "hit", {"peak": 2}),
        ]


@each_engine
async def test_many_commands_at_once(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_hub(engine, tmp_path))
        for name in ("a", "b", "c"):
            await stack.enter_async_context(scripted_target(running, name, OBEDIENT))
        hub = await stack.enter_async_context(connect(running.address))
        answers = await asyncio.gather(hub.ping("a"), hub.stand_up("b"), hub.lay_down("all"), hub.targets())
        assert [result.target_id for result in answers[0]] == ["a"]
        assert [result.status for result in answers[1]] == ["standing"]
        assert sorted(result.target_id for result in answers[2]) == ["a", "b", "c"]
        assert len(answers[3]) == 3


async def test_what_a_callback_raises_is_its_callers(tmp_path: Path) -> None:
    taken: list[object] = []

    def fails(*answer: object) -> None:
        taken.append(answer)
        raise LookupError("of the caller")

    async with (
        running_hub("cpython", tmp_path) as hub,
        scripted_target(hub, "t1"),
        scripted_target(hub, "t2"),
        connect(hub.address) as client,
    ):
        with pytest.raises(LookupError, match="of the caller"):
            await client.command("all", "ping", fails)
        assert len(taken) == 2
        assert [result.status for result in await client.ping("all")] == ["alive", "alive"]


async def test_two_clients_do_not_disturb_each_other(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_hub("cpython", tmp_path, max_consoles=2))
        await stack.enter_async_context(scripted_target(running, "a"))
        one = await stack.enter_async_context(connect(running.address))
        two = await stack.enter_async_context(connect(running.address))
        results = await asyncio.gather(
            *(hub.command("a", type) for _ in range(4) for hub, type in ((one, "ping"), (two, "stand_up")))
        )
        assert [result[0].status for result in results] == ["alive", "standing"] * 4


# --- no hub, or not any more


@pytest.mark.parametrize("during", ["idle", "command", "events"])
async def test_the_hub_is_lost(during: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        scripted = await stack.enter_async_context(scripted_hub())
        accepting = asyncio.create_task(scripted.register())
        hub = await stack.enter_async_context(connect(scripted.address))
        peer, _ = await accepting
        if during == "events":
            working: asyncio.Task[object] = asyncio.create_task(collect(hub, []))
            message = await peer.expect("subscribe")
            await peer.send({"type": "subscribed", "id": message["id"], "status": "ok"})
        elif during == "command":
            working = asyncio.create_task(hub.stand_up("all", timeout_ms=60_000))
            await peer.expect("stand_up")
        await peer.close(reset=True)
        if during == "idle":
            working = asyncio.create_task(hub.targets())
        with pytest.raises(ProtocolError) as lost:
            await asyncio.wait_for(working, 5.0)
        assert lost.value.code == "disconnected"
        assert lost.value.unknown_fate == (during == "command") or during == "idle"
        with pytest.raises(ProtocolError) as still_lost:
            await hub.ping()
        assert still_lost.value.code == "disconnected"


@pytest.mark.parametrize("asks", ["targets", "services", "games"])
async def test_a_hub_that_cannot_list_has_no_empty_list(asks: str) -> None:
    async with scripted_hub() as scripted:
        accepting = asyncio.create_task(scripted.register())
        async with connect(scripted.address) as hub:
            peer, _ = await accepting
            asking = asyncio.create_task(getattr(hub, asks)())
            asked = await peer.expect(f"list_{asks}")
            await peer.send(ProtocolError("internal", "no memory").to_message(asked["id"]).to_line())
            with pytest.raises(ProtocolError, match="no memory"):
                await asking


async def test_a_hub_that_falls_silent(tmp_path: Path) -> None:
    async with scripted_hub() as scripted:
        accepting = asyncio.create_task(scripted.register())
        async with connect(scripted.address) as hub:
            peer, _ = await accepting
            peer.answers_heartbeat = False
            began = running_s()
            with pytest.raises(ProtocolError) as lost:
                await hub.command("all", "stand_up", timeout_ms=60_000)
            assert lost.value.code == "disconnected"
            assert running_s() - began < 2.0 + 1.0


@each_engine
@pytest.mark.parametrize("taken", ["the console's place", "every place"])
async def test_a_hub_that_is_full(engine: str, taken: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_hub(engine, tmp_path, max_targets=1))
        await stack.enter_async_context(console_of(running))
        if taken == "every place":
            await stack.enter_async_context(scripted_target(running, "a"))
        with pytest.raises(ProtocolError) as full:
            async with connect(running.address):
                pytest.fail("it is let in")
        assert full.value.code == "busy", full.value


@asynccontextmanager
async def server_that(serve: Serve) -> AsyncIterator[str]:
    """Something that listens and is no hub: its address."""

    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve_and_close, HOST, 0)
    try:
        yield f"{HOST}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    return


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await reader.read()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"\0" * 65_536)
        await writer.drain()


@pytest.mark.parametrize("serve", [hang_up, say_nothing, speak_http, echo, flood])
async def test_what_is_no_hub(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_session, "REPLY_TIMEOUT_MS", 500)
    tasks = len(asyncio.all_tasks())
    async with server_that(serve) as address:
        with pytest.raises(NoHubError):
            async with asyncio.timeout(5.0), connect(address):
                pytest.fail("it was taken for a hub")
        await until(lambda: len(asyncio.all_tasks()) == tasks, "nothing should be left running")


async def test_nobody_there() -> None:
    for address, why in (
        (f"{HOST}:{free_port()}", "nothing listens"),
        ("nobody.invalid:8081", "by that name"),
        (f"{'a' * 64}.example:8081", "by that name"),  # no name of DNS: RFC 1035
    ):
        with pytest.raises(NoHubError, match=why):
            async with connect(address):
                pass
    for address in ("127.0.0.1:port", "127.0.0.1:99999", "::1"):
        with pytest.raises(ValueError, match="PORT"):
            async with connect(address):
                pass


async def test_nothing_is_left_of_a_client(tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path, max_consoles=3) as running:
        tasks = len(asyncio.all_tasks())
        for _ in range(5):
            async with connect(running.address) as hub:
                await hub.targets()
                with suppress(ProtocolError):
                    await hub.ping()
        await until(lambda: len(asyncio.all_tasks()) == tasks, "no task should be left")
