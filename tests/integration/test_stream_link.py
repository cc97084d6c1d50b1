"""Streams over the link: from a source through the hub to who reads."""

import asyncio
from pathlib import Path

import numpy
import pytest

from snyper.shared.socket_protocol import ProtocolError
from snyper.streams import StreamSpec
from snyper.streams.subscriber import StreamReader
from tests.integration.harness import DEADLINE_S, needs_micropython, running_hub, until
from tests.integration.stream_harness import ACCELEROMETER, console, counter_of, source_of, stream_hub, take


async def test_what_a_source_sends_comes_to_who_reads_it() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        console(hub.port) as client,
        device.stream("acc", **ACCELEROMETER, names=("x", "y", "z"), units=("g",) * 3) as stream,
    ):
        await stream.send(numpy.zeros((7, 3), "<f4"))  # nobody reads it
        reader = client.read_stream("lab1/acc")
        blocks = aiter(reader)
        coming = asyncio.create_task(take(blocks, 3))
        await until(lambda: stream.is_read, "the hub should read it")
        for at in range(3):
            await stream.send(numpy.full((20, 3), at, "<f4"))
        first, second, third = await coming
    assert reader.spec == StreamSpec("<f4", (3,), 400, ("x", "y", "z"), ("g", "g", "g"))
    assert [block.seq for block in (first, second, third)] == [7, 27, 47]
    assert {block.epoch for block in (first, second, third)} == {stream.epoch} == {reader.epoch}
    assert third.samples.dtype == numpy.dtype("<f4")
    assert third.samples.shape == (20, 3)
    assert (third.samples == 2).all()
    assert not third.samples.flags.writeable
    assert (first.lost, second.lost, third.lost, reader.lost) == (0, 0, 0, 0)
    # One clock here, so what the source makes of the hub's is off by no more than it says.
    assert abs(third.offset_us) <= third.uncertainty_us < 1_000_000
    assert 0 < third.lag_us < DEADLINE_S * 1_000_000


async def test_who_asks_for_what_there_is_not_is_told_so() -> None:
    async with stream_hub() as hub, source_of(hub.port), console(hub.port) as client:
        for name, code in (("lab1/acc", "unknown_target"), ("lab2/acc", "unknown_target")):
            with pytest.raises(ProtocolError) as caught:
                await anext(aiter(client.read_stream(name)))
            assert caught.value.code == code
        for name in ("acc", "/acc", "lab1/", "lab1/a b"):
            with pytest.raises(ValueError, match="stream"):
                client.read_stream(name)


@needs_micropython
async def test_a_device_streams_through_a_hub_on_a_board(tmp_path: Path) -> None:
    """Which forwards it, in blocks of the 1,024 bytes that it takes; and the device may begin anew."""
    async with (
        running_hub("micropython", tmp_path, max_consoles=2) as hub,
        source_of(hub.port) as device,
        console(hub.port) as client,
    ):
        for count in (5_000, 3_000):
            async with counter_of(device) as counter:
                reader = client.read_stream("lab1/count")
                coming = asyncio.create_task(_take_samples(reader, count))
                await until(lambda: counter.stream.is_read, "it should be read")
                for _ in range(count // 100):
                    await counter.send(100)
                    await asyncio.sleep(0.02)
                assert await asyncio.wait_for(coming, DEADLINE_S) == count


async def _take_samples(reader: StreamReader, count: int) -> int:
    """Return how many came until there were so many, lost ones among them."""
    async for block in reader:
        assert len(block.samples) <= 256
        if reader.samples + reader.lost >= count:
            break
    return reader.samples + reader.lost
