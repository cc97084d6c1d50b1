"""A client that outlives its hub's restarts, on both kinds of hub; and what it says meanwhile."""

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from snyper import Event, HubClient, NoHubError, ProtocolError, ReconnectingClient, connect
from snyper.client.environment import key_text
from snyper.firmware.master.server import Hub
from tests.integration.harness import (
    DEADLINE_S,
    HOST,
    OBEDIENT,
    HubUnderTest,
    MortalHub,
    each_engine,
    free_port,
    mortal_hub,
    peer_of,
    running_hub,
    scripted_hub,
    scripted_target,
    until,
)
from tests.integration.stopwatch import running_s

LOST = ["joining", "connecting", "handshake", "connected", "waiting"]


class Reader:
    """Reads a client's events in a task of its own. For `async with`."""

    def __init__(self, hub: ReconnectingClient, after: int | None = None, log_id: str | None = None) -> None:
        self.events: list[Event] = []
        self.gaps: list[int | None] = []
        self._hub = hub
        self._since = (after, log_id)

    async def __aenter__(self) -> "Reader":
        self._reading = asyncio.create_task(self._read())
        await until(lambda: self._hub.log_id, "it should have subscribed")
        return self

    async def __aexit__(self, *error: object) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        async for event in self._hub.events(*self._since, on_gap=self.gaps.append):
            self.events.append(event)

    def peaks(self) -> list[object]:
        """The hits, by their peaks, in the order in which they came."""
        return [event.data["peak"] for event in self.events if event.event == "hit"]


async def hit(hub: HubUnderTest, peak: int) -> None:
    """A target comes, reports a hit, and goes."""
    async with scripted_target(hub, f"t{peak}", hardware_id="h", boot_id=str(peak)) as target:
        await target.send({"type": "hit", "id": 1, "data": {"peak": peak}})
        await target.expect("ack", id=1)


async def killed(hub: MortalHub, client: ReconnectingClient) -> None:
    await hub.kill()
    await until(lambda: client.state == "waiting", "it should know that its hub is lost")


# --- a hub that is killed and started again


@each_engine
async def test_it_goes_on_after_its_hub_was_killed(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(mortal_hub(engine, tmp_path))
        client = await stack.enter_async_context(connect(hub.under_test.address, reconnect=True))
        reader = await stack.enter_async_context(Reader(client))
        first_boot, first_log = client.boot_id, client.log_id
        await hit(hub.under_test, 1)
        await until(lambda: reader.peaks() == [1], "the first hit should come")
        await killed(hub, client)
        began_s = running_s()
        with pytest.raises(NoHubError) as away:
            await client.stand_up("all", timeout_ms=60_000)
        assert running_s() - began_s < 1.0, "it should not wait"
        assert not away.value.unknown_fate
        assert away.value.message
        await hub.start()
        await hit(hub.under_test, 2)
        await client.wait_until_connected(DEADLINE_S)
        assert client.last_error is None
        assert client.boot_id != first_boot
        assert [target.target_id for target in await client.targets()] == ["t2"]
        await until(lambda: reader.peaks() == [1, 2], "what happened meanwhile should come")
        assert client.log_id != first_log
        assert reader.gaps == [None]  # a hub without a journal forgets what it has not sent


async def test_no_event_of_a_journal_is_missed_or_comes_twice(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(mortal_hub("cpython", tmp_path, has_journal=True))
        client = await stack.enter_async_context(connect(hub.under_test.address, reconnect=True))
        reader = await stack.enter_async_context(Reader(client))
        for peak in range(1, 10, 3):
            await hit(hub.under_test, peak)
            await killed(hub, client)
            await hub.start()
            for missed in (peak + 1, peak + 2):  # before it is back, or after: it is all the same
                await hit(hub.under_test, missed)
        await until(lambda: len(reader.peaks()) >= 9, "every hit should come")
        assert reader.peaks() == list(range(1, 10))
        assert len({event.seq for event in reader.events}) == len(reader.events)
        assert reader.gaps == []


@each_engine
async def test_a_call_waits_for_its_hub_if_told_so(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(mortal_hub(engine, tmp_path))
        client = await stack.enter_async_context(
            connect(hub.under_test.address, reconnect=True, wait_while_away=True)
        )
        await killed(hub, client)
        began = time.monotonic()
        with pytest.raises(NoHubError) as away:
            await client.ping("t", timeout_ms=100)
        assert time.monotonic() - began >= 0.1
        assert not away.value.unknown_fate
        asking = asyncio.create_task(client.ping("t", timeout_ms=round(DEADLINE_S * 1000)))
        await hub.start()
        with pytest.raises(ProtocolError) as unknown:
            await asking
        assert unknown.value.code == "unknown_target"  # which only a hub says


@each_engine
async def test_a_command_whose_fate_is_unknown_is_not_sent_again(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(mortal_hub(engine, tmp_path))
        client = await stack.enter_async_context(
            connect(hub.under_test.address, reconnect=True, wait_while_away=True)
        )
        async with scripted_target(hub.under_test, "slow", answers={}) as target:
            commanding = asyncio.create_task(client.stand_up("slow", timeout_ms=60_000))
            await target.expect("stand_up")
            await hub.kill()
            with pytest.raises(ProtocolError) as lost:
                await commanding
            assert (lost.value.code, lost.value.unknown_fate) == ("disconnected", True)
        await hub.start()
        await client.wait_until_connected(DEADLINE_S)
        async with scripted_target(hub.under_test, "slow", answers=OBEDIENT) as target:
            [result] = await client.lay_down("slow")
            assert result.ok
            assert [message["type"] for message in target.received if message["type"] != "registered"] == [
                "lay_down"
            ]


# --- what it says of itself


async def test_it_begins_without_a_hub() -> None:
    port = free_port()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(ReconnectingClient(f"{HOST}:{port}"))
        states: list[str] = []
        stop = client.on_state(states.append)
        await until(lambda: states.count("waiting") >= 2, "it should try again")
        assert states[:3] == ["joining", "connecting", "waiting"]
        assert isinstance(client.last_error, NoHubError)
        assert client.last_error.message == "nothing listens there"
        with pytest.raises(NoHubError, match="nothing listens there"):
            await client.wait_until_connected(timeout_s=0)
        with pytest.raises(NoHubError, match="nothing listens there"):
            await client.targets()
        hub = await stack.enter_async_context(scripted_hub(port))
        await hub.register()
        await client.wait_until_connected(DEADLINE_S)
        stop()
        stop()
        seen = len(states)
        assert states[-1] == client.state == "connected"
        assert client.last_error is None
        await hub.close()
        await until(lambda: client.state == "waiting", "it should know")
        assert len(states) == seen, "the listener has left"


async def test_a_listener_sees_each_state_when_it_is_so() -> None:
    async with scripted_hub() as hub, ReconnectingClient(hub.address) as client:
        states: list[str] = []
        client.on_state(lambda state: states.append(f"{state} {client.state == state}"))
        for _ in range(2):
            peer, _ = await hub.register()
            await client.wait_until_connected(DEADLINE_S)
            await peer.close(reset=True)
        await until(lambda: len(states) >= 10, "it should be lost again")
        assert states[:10] == [f"{state} True" for state in 2 * LOST]


async def test_a_listener_that_raises_ends_nothing() -> None:
    def broken(state: str) -> None:
        raise RuntimeError("a defect of whoever listens")

    async with scripted_hub() as hub, ReconnectingClient(hub.address) as client:
        states: list[str] = []
        client.on_state(broken)
        client.on_state(states.append)
        for _ in range(2):
            peer, _ = await hub.register()
            await client.wait_until_connected(DEADLINE_S)
            await peer.close(reset=True)
        await until(lambda: len(states) >= 10, "it should be lost again")
        assert states[:10] == 2 * LOST


async def test_the_first_time_it_must_be_there() -> None:
    with pytest.raises(NoHubError, match="nothing listens there"):
        async with connect(f"{HOST}:{free_port()}", reconnect=True):
            pytest.fail("there is none")
    for addresses in (["127.0.0.1:port"], ["127.0.0.1:1", "::1"], []):
        with pytest.raises(ValueError, match="PORT"):
            ReconnectingClient(addresses)


async def test_a_key_that_is_none() -> None:
    hub = Hub(HOST, 0, 4, 1, keys=key_text("open sesame"))
    await hub.start()
    try:
        address = f"{HOST}:{hub.port}"
        with pytest.raises(ProtocolError) as refused:
            async with connect(address, "open barley", reconnect=True):
                pytest.fail("it is let in")
        assert refused.value.code == "unauthorized"
        async with ReconnectingClient(address, "open barley") as client:
            await until(lambda: client.last_error, "it should be refused")
            assert client.last_error is not None
            assert client.last_error.code == "unauthorized"
            with pytest.raises(NoHubError, match="key"):
                await client.targets()
        async with connect(address, "open sesame", reconnect=True) as client:
            assert await client.targets() == []
    finally:
        await hub.shut_down()


async def test_several_hubs(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        dead = f"{HOST}:{free_port()}"
        hub = await stack.enter_async_context(running_hub("cpython", tmp_path))
        client = await stack.enter_async_context(connect([dead, hub.address], reconnect=True))
        assert isinstance(client, HubClient)
        assert (await client.status()).targets == 0


async def test_each_connection_is_given_out() -> None:
    async with scripted_hub() as hub, ReconnectingClient(hub.address) as client:
        registering = asyncio.create_task(hub.register())
        connections = client.connections()
        first = await anext(connections)
        peer, _ = await registering
        assert not first.is_lost
        registering = asyncio.create_task(hub.register())
        second = await anext(connections)  # without need: it is hung up
        await peer.end()
        peer, _ = await registering
        assert first.is_lost
        registering = asyncio.create_task(hub.register())
        await peer.close(reset=True)
        third = await anext(connections)
        await registering
        assert second.is_lost
        assert len({first, second, third}) == 3
        client.hang_up()
        assert client.is_lost
        assert third.is_lost


# --- events


async def test_a_gap_is_told() -> None:
    """What the hub has no more by the time that the client is back."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(scripted_hub())
        client = await stack.enter_async_context(ReconnectingClient(hub.address))
        peer, _ = await hub.register()
        reading = asyncio.create_task(Reader(client, 3, "log").__aenter__())
        # (asked for after, in which log; the log that it is, its oldest event, its last)
        for asked, answered in (
            ((3, "log"), ("log", 1, 3)),  # nothing is missing
            ((4, "log"), ("log", 5, 5)),  # the next one is there
            ((5, "log"), ("log", 9, 9)),  # 6, 7 and 8 are not
            ((9, "log"), ("log", 1, 2)),  # it has lost its last events, and counts on from there
            ((2, "log"), ("another", 1, 1)),
        ):
            message = await peer.expect("subscribe")
            assert (message["data"]["after"], message["data"]["log_id"]) == asked
            log_id, oldest_seq, seq = answered
            about = {"log_id": log_id, "oldest_seq": oldest_seq, "seq": seq}
            await peer.send({"type": "subscribed", "id": message["id"], "status": "ok", "data": about})
            reader = await reading
            read = reader.events
            known = len(read)
            next_seq = {3: 4, 5: 5, 9: 9, 2: 2, 1: 1}[seq]
            await peer.send(
                {"type": "event", "id": next_seq, "data": {"event": "game_over", "seq": next_seq}}
            )
            await until(partial(_is_longer, read, known), "it should be read")
            await peer.close(reset=True)
            peer, _ = await hub.register()
        stack.push_async_exit(reader)
        assert [event.seq for event in reader.events] == [4, 5, 9, 2, 1]
        assert reader.gaps == [3, None, None]


def _is_longer(events: list[Event], known: int) -> bool:
    return len(events) > known


async def test_what_happens_before_the_first_event_is_not_missed(tmp_path: Path) -> None:
    """A subscription to what comes from now on is lost before anything has come."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("cpython", tmp_path, max_consoles=2))
        await hit(hub, 1)
        client = await stack.enter_async_context(connect(hub.address, reconnect=True))
        reader = await stack.enter_async_context(Reader(client))
        client.hang_up()
        await until(lambda: client.state == "waiting", "it should be lost")
        await hit(hub, 2)
        await until(lambda: reader.peaks() == [2], "that hit should come, and no older one")
        assert reader.gaps == []


async def test_a_second_reader_is_refused(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("cpython", tmp_path))
        client = await stack.enter_async_context(connect(hub.address, reconnect=True))
        await stack.enter_async_context(Reader(client))
        with pytest.raises(ProtocolError) as second:
            await anext(client.events())
        assert second.value.code == "bad_message"


# --- nothing is left


async def _first_event(client: ReconnectingClient) -> Event:
    return await anext(client.events())


async def test_who_reads_on_after_its_end_is_told(tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path) as hub:
        async with ReconnectingClient(hub.address) as client:
            reading = asyncio.create_task(_first_event(client))
            await until(lambda: client.log_id, "it should have subscribed")
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(NoHubError):
                await reading
            with pytest.raises(NoHubError):
                await client.wait_until_connected()


async def test_nothing_is_left_of_it(tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path, max_consoles=3) as hub:
        assert hub.hub is not None
        tasks = len(asyncio.all_tasks())
        for address in (hub.address, f"{HOST}:{free_port()}"):
            for _ in range(5):
                with suppress(NoHubError):
                    async with ReconnectingClient(address) as client:
                        await client.wait_until_connected(0.05 if address != hub.address else DEADLINE_S)
                        await client.targets()
        await until(lambda: len(asyncio.all_tasks()) == tasks, "no task should be left")
        await until(lambda: not hub.hub.links, "no connection should be left")  # type: ignore[union-attr]
        async with peer_of(hub) as peer:
            assert (await peer.ask("register", role="console"))["status"] == "registered"
