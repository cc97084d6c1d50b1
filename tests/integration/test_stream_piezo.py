"""A target's piezo as a stream, of both runtimes, through a hub on a computer and through a hub board."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from snyper.client import HubClient
from snyper.hub import stream_fan
from snyper.shared.socket_protocol import ProtocolError
from snyper.streams import Block
from tests.integration.harness import (
    DEADLINE_S,
    STRIKE_MS,
    VirtualTarget,
    needs_micropython,
    running_hub,
    until,
    virtual_target,
)
from tests.integration.stream_harness import console, stream_hub, take

PEAK = 31_000
STEP_US = 2_000
RATE_HZ = 500
BLOCK_SAMPLES = 50  # in 100 ms
BODIES = ("cpython", pytest.param("micropython", marks=needs_micropython))
HUBS = ("computer", pytest.param("board", marks=needs_micropython))


@asynccontextmanager
async def target_of(hub: str, body: str, directory: Path) -> AsyncIterator[tuple[HubClient, VirtualTarget]]:
    """Run a hub with one target, and a console."""
    running = stream_hub() if hub == "computer" else running_hub("micropython", directory)
    async with running as found:
        address = f"127.0.0.1:{found.port}"
        async with (
            virtual_target(body, directory, address) as target,
            console(found.port) as client,
        ):

            async def is_here() -> bool:
                return any(one.connected for one in await client.targets())

            await until(is_here, "the target should register")
            yield client, target


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("hub", HUBS)
async def test_a_person_sees_what_it_gives_while_it_does_its_work(
    hub: str, body: str, tmp_path: Path
) -> None:
    async with target_of(hub, body, tmp_path) as (client, target):
        blocks: list[Block] = []
        reader = client.read_stream("target_1/piezo")

        async def read() -> None:
            async with aclosing(reader.__aiter__()) as coming:
                async for block in coming:
                    blocks.append(block)

        async def sees_a_strike() -> bool:
            target.strike(PEAK)
            await asyncio.sleep(0.05)
            return any(block.samples.max() > PEAK // 2 for block in blocks)

        reading = asyncio.create_task(read())
        try:
            await until(sees_a_strike, "the strike should be seen")
            assert reader.spec is not None
            assert (reader.spec.dtype, reader.spec.shape, reader.spec.rate_hz) == ("<u2", (), RATE_HZ)
            settings = await client.configure("target_1", threshold=20_000)  # while it is seen
            assert settings.data["threshold"] == 20_000
            [activated] = await client.activate("target_1", duration_ms=60_000, timeout_ms=5_000)
            assert activated.ok, activated
            await until(target.is_armed, "it should be armed")
            events = client.events(after=0)
            coming = asyncio.create_task(_hit(events))
            while not coming.done():
                target.strike(PEAK)
                await asyncio.sleep(2 * STRIKE_MS / 1000)  # a plate that never rests is not hit
            await coming
            before = len(blocks)
            await client.lay_down("target_1")
            await until(lambda: len(blocks) > before + 2, "it should be seen again")
            assert reader.lost == 0
            [alive] = await client.ping("target_1")
            assert alive.ok
        finally:
            reading.cancel()
            await asyncio.wait([reading])
        # Whoever asks next has it for himself.
        assert len([await anext(aiter(client.read_stream("target_1/piezo")))]) == 1


async def _hit(events: AsyncIterator[object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        async for event in events:
            if getattr(event, "event", "") == "hit":
                return


@pytest.mark.parametrize("body", BODIES)
async def test_a_hub_knows_it_before_anybody_reads_it(body: str, tmp_path: Path) -> None:
    async with target_of("computer", body, tmp_path) as (client, _):
        [listed] = await client.streams()
        assert (listed.source, listed.stream) == ("target_1", "piezo")
        assert (listed.dtype, listed.rate_hz, listed.connected) == ("<u2", RATE_HZ, True)


@pytest.mark.parametrize("body", BODIES)
async def test_samples_follow_each_other_through_all_of_the_time(body: str, tmp_path: Path) -> None:
    """At the rate that the stream has: those of a block end where the next begins, whatever the load."""
    async with target_of("computer", body, tmp_path) as (client, _):
        blocks: list[Block] = []
        async with aclosing(aiter(client.read_stream("target_1/piezo"))) as coming:
            async with asyncio.timeout(DEADLINE_S):
                while len(blocks) < 20 or max(len(block.samples) for block in blocks) < BLOCK_SAMPLES // 2:
                    blocks.append(await anext(coming))
    for before, after in pairwise(blocks):
        last_us = before.source_us + (len(before.samples) - 1) * STEP_US
        assert after.source_us > last_us
        assert len(before.samples) <= BLOCK_SAMPLES


@pytest.mark.parametrize("hub", HUBS)
@pytest.mark.parametrize("body", BODIES)
async def test_its_numbers_go_on_while_the_board_runs(
    hub: str, body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though what is asked of it ends by itself, and is asked again; after a restart they are others."""
    monkeypatch.setattr(stream_fan, "SOURCE_DURATION_MS", 300)
    async with target_of(hub, body, tmp_path) as (client, target):
        first: list[Block] = []
        for _ in range(2):  # the second when nobody has read it for a while
            reader = client.read_stream("target_1/piezo")
            async with aclosing(aiter(reader)) as coming:
                blocks = await take(coming, 8)
            assert reader.lost == 0
            for one, next_one in pairwise(blocks):
                assert next_one.seq == one.next_seq
            # More may have come to the one before, which it did not take.
            assert not first or blocks[0].seq >= first[-1].next_seq
            first += blocks
        assert len({block.epoch for block in first}) == 1
        await target.kill()
        target.start()
        after: list[Block] = []

        async def is_read_again() -> bool:
            with suppress(ProtocolError):
                async with aclosing(aiter(client.read_stream("target_1/piezo"))) as coming:
                    after.append(await anext(coming))
            return bool(after)

        await until(is_read_again, "it should be read again")
        assert after[0].epoch != first[0].epoch


async def test_a_target_has_no_other_stream(tmp_path: Path) -> None:
    async with target_of("computer", "cpython", tmp_path) as (client, _):
        with pytest.raises(ProtocolError, match="the stream piezo"):
            await anext(aiter(client.read_stream("target_1/servo")))
