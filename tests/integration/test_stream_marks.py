"""Marks of consoles: an instant of a stream gets a name, for all who read and record it."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from snyper.client import ProtocolError
from snyper.recordings import Recorder, open_recording
from snyper.shared.device import Device
from snyper.shared.socket_protocol import ErrorCode
from tests.integration.harness import free_port, needs_micropython, running_hub, until
from tests.integration.stream_harness import console, counter_of, source_of, stream_hub, take
from tests.integration.test_stream_direct import listening
from tests.integration.test_stream_piezo import target_of

HUBS = ("computer", pytest.param("board", marks=needs_micropython))


@pytest.mark.parametrize("kind", HUBS)
async def test_a_mark_of_a_console_comes_to_who_reads(kind: str, tmp_path: Path) -> None:
    """Through a hub on a computer, and one on a board, which forwards it."""
    running = stream_hub() if kind == "computer" else running_hub("micropython", tmp_path, max_consoles=2)
    async with (
        running as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        console(hub.port) as reading,
        console(hub.port) as marking,
    ):
        blocks = aiter(reading.read_stream("lab1/count"))
        coming = asyncio.create_task(anext(blocks))
        await until(lambda: counter.stream.is_read, "it should be read")
        await marking.mark_stream("lab1/count", "Tür auf")
        await marking.mark_stream("lab1/count", "zu")
        await counter.send(5)
        block = await coming
        assert [mark.name for mark in block.marks] == ["Tür auf", "zu"]
        first, second = (mark.at_us for mark in block.marks)
        assert first <= second <= block.at_us + block.uncertainty_us + 5_000_000
        assert block.at_us - first < 30_000_000
        await counter.send(5)
        assert (await anext(blocks)).marks == ()


async def test_all_who_read_and_record_have_it(tmp_path: Path) -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        console(hub.port) as client,
    ):
        readers = [client.read_stream("lab1/count") for _ in range(3)]
        coming = [asyncio.create_task(anext(aiter(reader))) for reader in readers]
        await until(lambda: counter.stream.is_read, "it should be read")
        await client.mark_stream("lab1/count", "door opened")
        await counter.send(5)
        found = [await one for one in coming]
        assert {mark for block in found for mark in block.marks} == set(found[0].marks)
        [mark] = found[0].marks
        async with Recorder(tmp_path / "r", "lab1", "count", spill=tmp_path) as recorder:
            spec = readers[0].spec
            assert spec is not None
            await recorder.put(found[0], spec, client.boot_id)
        with open_recording(tmp_path / "r") as recording:
            assert [one.name for one in recording.marks] == ["door opened"]
            assert recording.marks[0].at_us == mark.at_us


async def test_what_is_refused() -> None:
    fleet, eyes = f"fleet:{1:064x}", f"eyes:{2:064x}"
    async with (
        stream_hub(keys=(f"{fleet} fleet", f"{eyes} read")) as hub,
        source_of(hub.port, key=fleet) as device,
        counter_of(device),
        console(hub.port, fleet) as client,
        console(hub.port, eyes) as watching,
    ):
        for one, name, mark, code in (
            (client, "lab1/other", "x", ErrorCode.UNKNOWN_TARGET),
            (client, "lab2/count", "x", ErrorCode.UNKNOWN_TARGET),
            (client, "lab1/count", "", ErrorCode.BAD_MESSAGE),
            (client, "lab1/count", "ä" * 25, ErrorCode.BAD_MESSAGE),
            (watching, "lab1/count", "x", ErrorCode.UNAUTHORIZED),
        ):
            with pytest.raises(ProtocolError) as refused:
                await one.mark_stream(name, mark)
            assert refused.value.code == code
        for name in ("lab1", "a b/count", "/count", "lab1/count/x"):
            with pytest.raises(ValueError, match="stream"):
                await client.mark_stream(name, "x")


@pytest.mark.parametrize("body", ["cpython", pytest.param("micropython", marks=needs_micropython)])
@pytest.mark.parametrize("kind", HUBS)
async def test_a_targets_piezo_takes_marks_while_it_is_read(kind: str, body: str, tmp_path: Path) -> None:
    async with target_of(kind, body, tmp_path) as (client, _):
        with pytest.raises(ProtocolError, match="nobody reads") as refused:
            await client.mark_stream("target_1/piezo", "x")
        assert refused.value.code == ErrorCode.UNKNOWN_TARGET
        async with aclosing(aiter(client.read_stream("target_1/piezo"))) as blocks:
            await take(blocks, 2)
            await client.mark_stream("target_1/piezo", "struck")
            while not (block := (await take(blocks, 1))[0]).marks:
                pass
            [mark] = block.marks
            assert mark.name == "struck"
            assert abs(mark.at_us - block.at_us) < 5_000_000
            with pytest.raises(ProtocolError, match="a name of 1 to 48 bytes"):
                await client.mark_stream("target_1/piezo", "")


async def test_a_device_without_a_hub_takes_marks() -> None:
    port = free_port()
    async with (
        listening(Device([], "probe"), port) as counter,
        console(port) as client,
    ):
        blocks = aiter(client.read_stream("probe/count"))
        coming = asyncio.create_task(anext(blocks))
        await until(lambda: counter.stream.is_read, "it should be read")
        await client.mark_stream("probe/count", "here")
        await counter.send(5)
        assert [mark.name for mark in (await coming).marks] == ["here"]


async def test_marks_that_no_block_takes_along_are_bounded() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        console(hub.port) as client,
    ):
        for number in range(40):
            await client.mark_stream("lab1/count", f"mark {number}")
        blocks = aiter(client.read_stream("lab1/count"))
        coming = asyncio.create_task(anext(blocks))
        await until(lambda: counter.stream.is_read, "it should be read")
        await counter.send(5)
        names = [mark.name for mark in (await coming).marks]
        assert names == [f"mark {number}" for number in range(40 - len(names), 40)]
        assert 5 < len(names) < 40
