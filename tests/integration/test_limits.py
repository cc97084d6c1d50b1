"""The limits of the hub, each breached by somebody whom it costs the connection, and nobody else anything."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from snyper.shared.socket_protocol import MAX_LINE_BYTES
from tests.integration.harness import (
    HOST,
    HubUnderTest,
    Message,
    Peer,
    console_of,
    each_engine,
    free_port,
    peer_of,
    registration,
    running_hub,
    scripted_target,
    snyper,
)


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
            while time.monotonic() - began < 10.0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(rude.send(ask * 50, b"\n"), 0.1)
        assert time.monotonic() - began < 5.0


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
