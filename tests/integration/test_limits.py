"""The limits of the hub, each breached by somebody whom it costs the connection, and nobody else anything."""

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from snyper.boards.board import BoardProcess
from snyper.client import connect
from snyper.client.environment import key_text
from snyper.firmware.master.roles.target import Target
from snyper.firmware.master.server import Hub
from snyper.shared.socket_protocol import MAX_LINE_BYTES, ProtocolError
from tests.integration.harness import (
    DEADLINE_S,
    HOST,
    HubUnderTest,
    Message,
    Peer,
    console_of,
    descriptors,
    each_engine,
    free_port,
    linux_only,
    needs_micropython,
    peer_of,
    registration,
    running_hub,
    scripted_target,
    snyper,
    start_hub,
    until,
    virtual_target,
)
from tests.integration.stopwatch import running_s


@asynccontextmanager
async def hub_with_others(engine: str, directory: Path) -> AsyncIterator[tuple[HubUnderTest, Peer]]:
    """A hub with a target `good` and a console, who must notice nothing."""
    async with (
        running_hub(engine, directory, max_consoles=2) as hub,
        scripted_target(hub, "good", hardware_id="h", boot_id="b") as good,
        console_of(hub, subscribed=True) as console,
    ):
        yield hub, console
        assert not good.ended
        assert (await console.ask("stand_up", "good"))["status"] == "standing"
        assert not [event for event in events_of(console) if event == {"event": "lost", "target_id": "good"}]


def events_of(console: Peer) -> list[Message]:
    """Return the events that the console was told of, without what differs each time."""
    return [
        {"event": message["data"]["event"], "target_id": message.get("target_id")}
        for message in console.received
        if message["type"] == "event"
    ]


async def sent_bytes(peer: Peer, piece: bytes, most: int, time_s: float) -> int:
    """Send `piece` over and over until the connection ends; return how many bytes went out at most."""
    sent = 0
    began = time.monotonic()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(time_s):
            while sent < most:
                await peer.send(piece)
                sent += len(piece)
    assert time.monotonic() - began < time_s, "the hub should have hung up"
    return sent


@each_engine
async def test_a_line_without_an_end_is_not_read_on(engine: str, tmp_path: Path) -> None:
    async with hub_with_others(engine, tmp_path) as (hub, _), peer_of(hub) as rude:
        sent = await sent_bytes(rude, b"x" * 65_536, 100_000_000, 5.0)
        # What the system's own buffers on both sides of a connection take.
        assert sent < 16_000_000
        await rude.end()
        assert [message["data"]["code"] for message in rude.received] in (["line_too_long"], [])


@each_engine
async def test_who_reads_nothing_and_sends_blank_lines_is_cut(engine: str, tmp_path: Path) -> None:
    ask = json.dumps({"type": "ping", "id": 1}).encode() + b"\n"
    async with (
        hub_with_others(engine, tmp_path) as (hub, _),
        peer_of(hub, reads=False, receive_buffer=2_048) as rude,
    ):
        await rude.send({"type": "register", "id": 0, "data": {"role": "console"}})
        began = time.monotonic()
        with suppress(OSError):
            while time.monotonic() - began < DEADLINE_S:
                with suppress(TimeoutError):
                    await asyncio.wait_for(rude.send(ask * 50, b"\n"), 0.1)
        assert time.monotonic() - began < DEADLINE_S


@each_engine
async def test_a_held_hardware_id_is_refused_under_another_name(engine: str, tmp_path: Path) -> None:
    async with hub_with_others(engine, tmp_path) as (hub, console):
        async with peer_of(hub) as impostor:
            await impostor.send(registration("x", hardware_id="h", boot_id="b"))
            error = await impostor.expect_error("duplicate_target", id=0)
            assert "good" in error["data"]["message"]
        assert (await console.event("duplicate", "good"))["message"] == error["data"]["message"]
        assert {"event": "registered", "target_id": "x"} not in events_of(console)


@each_engine
async def test_nobody_counts_anothers_report(engine: str, tmp_path: Path) -> None:
    """A report is known by its sender's name too: one of the same board and boot is another."""
    async with running_hub(engine, tmp_path) as hub, console_of(hub, subscribed=True) as console:
        for name in ("x", "good"):
            async with scripted_target(hub, name, hardware_id="h", boot_id="b") as target:
                await target.send({"type": "hit", "id": "e1", "data": {"peak": 9}})
                await target.expect("ack", id="e1")
                await console.event("hit", name)
            await console.event("lost", name)


FORGED = "\n12:00:00 hub: all is well"


@each_engine
async def test_a_stranger_writes_no_lines_into_the_log(engine: str, tmp_path: Path) -> None:
    errors = [
        {"type": "error", "id": at, "status": "error", "data": {"code": "x", "message": FORGED}}
        for at in range(500)
    ]
    forged_role = {"type": "register", "id": 1, "target_id": "t", "data": {"role": f"x{FORGED}"}}
    if engine == "micropython":
        async with running_hub(engine, tmp_path) as hub, peer_of(hub) as rude:
            await rude.send(*errors, forged_role)
            await rude.expect_error("unsupported")
            assert hub.board is not None
            log = hub.board.log
    else:
        async with snyper("hub", "--listen", f"{HOST}:{free_port()}", "--json") as process:
            port = int((await process.listens()).rpartition(":")[2])
            async with peer_of(port) as rude:
                await rude.send(*errors, forged_role)
                await rude.expect_error("unsupported")
            await process.interrupt()
            log = process.err
    assert "all is well" in log
    assert not [line for line in log.splitlines() if line.startswith(FORGED.strip())]
    assert log.count("the peer reports") <= 3
    assert len(log) < MAX_LINE_BYTES


# --- strangers, who never register


CHALLENGE_ME = (
    b'{"type":"register","id":1,"data":{"role":"console","key":"fleet","nonce":"%s"}}\n' % b"".zfill(32)
)


async def redial(port: int, *said: bytes) -> None:
    """Connect, say no more than that until the hub hangs up, and connect again, without end."""
    while True:
        with suppress(OSError):
            async with peer_of(port) as stranger:
                await stranger.send(*said)
                await stranger.end()


@each_engine
async def test_strangers_who_redial_keep_nobody_out(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(engine, tmp_path, limits={}))
        for name in ("a", "b", "c"):
            await stack.enter_async_context(scripted_target(hub, name))
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        strangers = [asyncio.create_task(redial(hub.port)) for _ in range(8)]
        try:
            began_s = running_s()
            await stack.enter_async_context(virtual_target("cpython", tmp_path, hub.address, "late"))
            await console.event("registered", "late")
            assert running_s() - began_s < 15.0
            answers = [(await console.ask("ping", "all"))["data"] for _ in range(3)]  # who stalls is late
            assert {"ok": 4, "failed": 0} in answers
        finally:
            for stranger in strangers:
                stranger.cancel()
            await asyncio.gather(*strangers, return_exceptions=True)
        assert {"event": "lost", "target_id": "a"} not in events_of(console)


@each_engine
async def test_the_oldest_stranger_gives_its_place_to_the_next(engine: str, tmp_path: Path) -> None:
    limits = {"unregistered": 2, "register_ms": 60_000}
    async with (
        running_hub(engine, tmp_path, limits=limits) as hub,
        console_of(hub) as console,
        AsyncExitStack() as stack,
    ):
        async with peer_of(hub) as first, peer_of(hub) as second:
            for stranger in (first, second):
                assert (await stranger.ask("ping"))["data"]["code"] == "not_registered"
            third = await stack.enter_async_context(peer_of(hub))
            await first.end()
            assert (await second.ask("register", "t"))["status"] == "registered"
            assert (await third.ask("register", "u"))["status"] == "registered"
        assert (await console.ask("ping"))["status"] == "alive"


@each_engine
@pytest.mark.parametrize("said", [b"", b"{}\n"], ids=["nothing more", "a wrong key"])
async def test_who_begins_to_prove_a_key_keeps_nobody_out(said: bytes, engine: str, tmp_path: Path) -> None:
    limits = {"unregistered": 2, "strangers_per_s": 64, "register_ms": 60_000}
    strangers: list[asyncio.StreamWriter] = []
    async with running_hub(engine, tmp_path, keys=[f"{key_text('open sesame')} fleet"], limits=limits) as hub:
        for _ in range(6):
            reader, writer = await asyncio.open_connection(HOST, hub.port)
            strangers.append(writer)
            writer.write(CHALLENGE_ME)
            assert json.loads(await asyncio.wait_for(reader.readline(), DEADLINE_S))["type"] == "challenge"
            writer.write(said)
            if said:
                assert b'"unauthorized"' in await asyncio.wait_for(reader.readline(), DEADLINE_S)
    for writer in strangers:
        writer.close()


@each_engine
async def test_strangers_who_are_challenged_and_redial_keep_nobody_out(engine: str, tmp_path: Path) -> None:
    """Nor do they take its memory: each was kept with all that had challenged it, and the hub began anew."""
    key = key_text("open sesame")
    limits = {"unregistered": 4, "strangers_per_s": 8}
    async with running_hub(engine, tmp_path, keys=[f"{key} fleet"], limits=limits) as hub:
        strangers = [asyncio.create_task(redial(hub.port, CHALLENGE_ME)) for _ in range(8)]
        try:
            tries = 0
            for _ in range(2):
                is_in = False
                while not is_in:
                    tries += 1
                    with suppress(ProtocolError):
                        async with connect(hub.address, key) as client:
                            is_in = await client.targets() == []
            assert tries <= 5
        finally:
            for stranger in strangers:
                stranger.cancel()
            await asyncio.gather(*strangers, return_exceptions=True)


async def test_strangers_do_not_fill_the_log() -> None:
    """Also where they are fewer than may come: at 300 a second they wrote 2 GB a day."""
    async with snyper("hub", "--listen", f"{HOST}:{free_port()}", "--json") as process:
        port = int((await process.listens()).rpartition(":")[2])
        for _ in range(150):
            async with peer_of(port):
                pass
        await process.interrupt()
        assert 0 < process.err.count(" link ") < 100


@linux_only
async def test_a_hub_without_descriptors_keeps_who_is_here(tmp_path: Path) -> None:
    import resource

    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(
            snyper("hub", "--listen", f"{HOST}:{free_port()}", "--json")
        )
        hub = HubUnderTest(int((await process.listens()).rpartition(":")[2]))
        good = await stack.enter_async_context(scripted_target(hub, "good"))
        console = await stack.enter_async_context(console_of(hub))
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (100, 100))
        async with AsyncExitStack() as crowd:
            for _ in range(300):
                await crowd.enter_async_context(peer_of(hub, reads=False))
            for _ in range(20):
                began_s = running_s()
                assert (await console.ask("ping", "good"))["status"] == "alive"
                assert running_s() - began_s < 1.0
            assert descriptors(process.pid) < 100
        await stack.enter_async_context(virtual_target("cpython", tmp_path, hub.address, "late"))
        async with asyncio.timeout(DEADLINE_S):
            while (await console.ask("ping", "late"))["type"] != "pong":
                pass
        assert not good.ended
        assert "may open no more files" in process.err
        assert len(process.err) < 100_000


@asynccontextmanager
async def relay_from(source: str, port: int) -> AsyncIterator[str]:
    """Listen at the address that this yields, and pass all on to `port`, which sees it come from `source`."""
    tasks: set[asyncio.Task[None]] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(4_096):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(HOST, port, local_addr=(source, 0))
        tasks.add(asyncio.create_task(pass_on(reader, back)))
        tasks.add(asyncio.create_task(pass_on(there, writer)))

    server = await asyncio.start_server(serve, HOST, 0)
    try:
        yield f"{HOST}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@each_engine
async def test_wrong_keys_are_slowed_where_they_come_from(engine: str, tmp_path: Path) -> None:
    key, wrong = key_text("open sesame"), key_text("open barley")
    limits = {"wrong_keys_at_once": 3, "strangers_per_s": 64}
    async with (
        running_hub(engine, tmp_path, max_consoles=3, keys=[f"{key} fleet"], limits=limits) as hub,
        connect(hub.address, key) as good,
        relay_from("127.0.0.2", hub.port) as elsewhere,
    ):
        codes: list[str] = []
        async with asyncio.timeout(DEADLINE_S):
            while "busy" not in codes:
                with pytest.raises(ProtocolError) as refused:
                    async with connect(hub.address, wrong):
                        pass
                codes.append(refused.value.code)
        assert codes.count("unauthorized") >= 3
        async with connect(elsewhere, key) as other:
            assert await other.targets() == []
        assert await good.targets() == []


@each_engine
async def test_no_key_is_no_wrong_key(engine: str, tmp_path: Path) -> None:
    key = key_text("open sesame")
    limits = {"wrong_keys_at_once": 1, "strangers_per_s": 64}
    async with running_hub(engine, tmp_path, keys=[f"{key} fleet"], limits=limits) as hub:
        for _ in range(5):
            async with peer_of(hub) as keyless:
                await keyless.send(registration("t"))
                await keyless.expect_error("unauthorized")
        async with connect(hub.address, key) as client:
            assert await client.targets() == []


async def test_wrong_keys_that_come_together_keep_their_address_out_no_longer(tmp_path: Path) -> None:
    key = key_text("open sesame")
    limits = {"wrong_keys_at_once": 1}
    async with (
        running_hub("cpython", tmp_path, max_targets=99, keys=[f"{key} fleet"], limits=limits) as hub,
        AsyncExitStack() as stack,
    ):
        strangers = [await stack.enter_async_context(peer_of(hub)) for _ in range(60)]
        for stranger in strangers:
            await stranger.send(CHALLENGE_ME)
            await stranger.expect("challenge")
        codes = []
        for stranger in strangers:
            with suppress(ConnectionError):
                await stranger.send(b"{}\n")
            codes.append((await stranger.expect("error"))["data"]["code"])
        assert codes == ["unauthorized"] * 2 + ["busy"] * 58  # one at once, and one more that was due
        async with asyncio.timeout(10.0):
            is_in = False
            while not is_in:
                with suppress(ProtocolError):
                    async with connect(hub.address, key) as client:
                        is_in = await client.targets() == []


# --- floods of peers that are registered


@asynccontextmanager
async def limited_hub(engine: str, directory: Path, **limits: int) -> AsyncIterator[HubUnderTest]:
    """A hub in a process of its own."""
    if engine == "micropython":
        async with running_hub(engine, directory, limits={"strangers_per_s": 64, **limits}) as hub:
            yield hub
        return
    options = [word for name, most in limits.items() for word in ("--limit", f"{name}={most}")]
    async with snyper("hub", "--listen", f"{HOST}:{free_port()}", "--json", *options) as process:
        yield HubUnderTest(int((await process.listens()).rpartition(":")[2]))


@pytest.mark.slow
@each_engine
async def test_who_sends_too_many_lines_is_cut(engine: str, tmp_path: Path) -> None:
    async with (
        limited_hub(engine, tmp_path, lines_at_once=200, lines_per_s=20, register_ms=60_000) as hub,
        scripted_target(hub, "good") as good,
        console_of(hub, subscribed=True) as console,
    ):
        for line in (b"\n", b'{"type":"ping","id":1}\n', b"rubbish\n"):
            async with scripted_target(hub, "rude") as rude:
                await sent_bytes(rude, line * 50, 100_000_000, DEADLINE_S)
                await rude.end()
            assert (await console.event("lost", "rude"))["message"] == "too many lines"
        async with peer_of(hub) as stranger:
            await sent_bytes(stranger, b"rubbish\n" * 50, 100_000_000, DEADLINE_S)
            await stranger.end()
        for _ in range(100):  # so many in a second are too many for long, and not now
            assert (await console.ask("ping", "good"))["status"] == "alive"
        assert (await console.ask("stand_up", "good"))["status"] == "standing"
        assert not good.ended


@each_engine
async def test_who_has_others_say_too_much_is_cut_alone(engine: str, tmp_path: Path) -> None:
    async with (
        limited_hub(engine, tmp_path, lines_at_once=200, lines_per_s=20) as hub,
        console_of(hub) as console,
        scripted_target(hub, "good") as good,
    ):
        with suppress(ConnectionError):
            while not console.ended:
                id = await console.request("ping", "good")
                await until(
                    lambda id=id: console.ended or console.received[-1].get("id") == id,  # type: ignore[misc]
                    "it should be answered, or cut",
                )
        assert len(console.received) > 200
        async with console_of(hub) as another:
            assert (await another.ask("ping", "good"))["status"] == "alive"
        assert not good.ended


@each_engine
@pytest.mark.parametrize("kind", ["state", "hit", "coming"])
async def test_who_causes_too_many_events_is_cut(kind: str, engine: str, tmp_path: Path) -> None:
    async with (
        limited_hub(engine, tmp_path, events_at_once=20, events_per_s=2) as hub,
        scripted_target(hub, "good") as good,
        console_of(hub, subscribed=True) as console,
    ):
        for at in range(60 if kind == "coming" else 1):
            with suppress(OSError, AssertionError):
                async with scripted_target(hub, "rude") as rude:
                    for count in range(0 if kind == "coming" else 60):
                        state = ("down", "standing")[count % 2]
                        await rude.send(
                            {"type": "hit", "id": f"e{count}", "data": {"peak": 9}}
                            if kind == "hit"
                            else {"type": "ping", "id": at, "data": {"state": state}}
                        )
                    if kind != "coming":
                        await rude.end()
        if kind != "coming":
            assert (await console.event("lost", "rude"))["code"] == "busy"
        assert (await console.ask("stand_up", "good"))["status"] == "standing"
        assert not good.ended
        found = events_of(console)
        assert found.count({"event": "lost", "target_id": "rude"}) >= 1
        assert len(found) < 40  # what was under way when it was cut is counted, too


async def test_new_names_are_limited_and_known_ones_come_back(tmp_path: Path) -> None:
    async with (
        limited_hub("cpython", tmp_path, new_names_at_once=10, new_names_per_s=2) as hub,
        console_of(hub, subscribed=True) as console,
    ):
        async with scripted_target(hub, "good"):
            pass
        for number in range(40):
            with suppress(OSError, AssertionError):
                async with scripted_target(hub, f"new_{number}"):
                    pass
        async with scripted_target(hub, "good"):
            assert (await console.ask("stand_up", "good"))["status"] == "standing"
        names = {event["target_id"] for event in events_of(console) if event["event"] == "registered"}
        assert 10 <= len(names) < 30


# --- addresses


@needs_micropython
async def test_a_board_tells_addresses_of_ipv6_apart(tmp_path: Path) -> None:
    """Each is another: here those that a socket for both families has for IPv4's."""
    port = free_port()
    board = BoardProcess(
        tmp_path / "hub", "master", {"listen": f"[::]:{port}", "limits": {"per_address": 1}, "open": True}
    )
    try:
        await start_hub(board)
        async with relay_from("127.0.0.2", port) as elsewhere, connect(f"{HOST}:{port}") as here:
            with pytest.raises(ProtocolError, match="1 connections of one address"):
                async with connect(f"{HOST}:{port}"):
                    pass
            async with peer_of(int(elsewhere.rpartition(":")[2])) as other:
                assert (await other.ask("register", "t"))["status"] == "registered"
                assert len(await here.targets()) == 1
    finally:
        board.kill()


@each_engine
async def test_so_many_of_one_address(engine: str, tmp_path: Path) -> None:
    limits = {"per_address": 2, "strangers_per_s": 64}
    async with (
        running_hub(engine, tmp_path, max_consoles=4, limits=limits) as hub,
        scripted_target(hub, "good") as good,
        relay_from("127.0.0.2", hub.port) as elsewhere,
    ):
        async with console_of(hub) as console:
            async with peer_of(hub) as third:
                await third.send({"type": "register", "id": 0, "data": {"role": "console"}})
                assert "of one address" in (await third.expect_error("busy", id=0))["data"]["message"]
                await third.end()
            async with connect(elsewhere) as other:
                assert len(await other.targets()) == 1
            assert (await console.ask("stand_up", "good"))["status"] == "standing"
        async with connect(hub.address) as again:  # one has gone
            assert len(await again.targets()) == 1
        assert not good.ended


async def test_long_answers_give_others_their_turn() -> None:
    """Eight lists of 4,900 targets at once: what one of them takes, nobody waits for in one piece."""
    hub = Hub(HOST, 0, 5_000, 8)
    await hub.start()
    gc.freeze()  # what other tests have left is not looked through meanwhile
    try:
        for at in range(4_900):
            name = f"t{at}"
            hub.router.registry.named[name] = Target(name)
        async with console_of(HubUnderTest(hub.port, hub=hub)) as console:
            for _ in range(8):
                await console.request("list_targets")
            slowest_s, began_s = 0.0, time.thread_time()  # of the processor: others' work does not count
            while len(console.received) < 1 + 8 * 4_901:
                turn_s = time.thread_time()
                await asyncio.sleep(0.02)
                slowest_s = max(slowest_s, time.thread_time() - turn_s)
                assert not console.ended
            all_s = time.thread_time() - began_s
        assert slowest_s < all_s / 8
    finally:
        gc.unfreeze()
        await hub.shut_down()
