"""Streams of a device that listens itself, read without a hub."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy
import pytest

import snyper
from snyper.boards.board import BoardProcess
from snyper.client.errors import NoHubError
from snyper.shared.clock import now_us
from snyper.shared.device import Device
from snyper.shared.runtime import end_task
from snyper.shared.socket_protocol import ProtocolError
from snyper.shared.stream_listener import MAX_READERS
from snyper.streams import Mark
from tests.integration.harness import HOST, free_port, needs_micropython, peer_of, run_snyper, until
from tests.integration.stream_harness import (
    Counter,
    console,
    counter_of,
    source_of,
    stream_hub,
    take,
    tally_of,
)

KEYS = [f"{name}:{at:064x}" for at, name in enumerate(("probe", "other"), 1)]


async def listens(port: int) -> bool:
    with suppress(OSError):
        _, writer = await asyncio.open_connection(HOST, port)
        writer.close()
        return True
    return False


@asynccontextmanager
async def listening(device: Device, port: int, key: str = "") -> AsyncIterator[Counter]:
    """Have a device listen, with a stream."""
    task = asyncio.create_task(device.listen(f"{HOST}:{port}", key))
    try:
        await until(lambda: listens(port), "it should listen")
        async with counter_of(device) as counter:
            yield counter
    finally:
        await end_task(task)


async def test_who_connects_and_says_nothing_gives_way_to_who_reads() -> None:
    port = free_port()
    async with listening(Device([], "probe"), port, KEYS[0]) as counter:
        silent = [await asyncio.open_connection(HOST, port) for _ in range(3 * MAX_READERS)]
        async with (
            snyper.connect(f"{HOST}:{port}", KEYS[0], reconnect=True) as client,
            tally_of(client, "probe/count", wait=True) as tally,
        ):
            await counter.send(100)
            await tally.until(100)
        for _, writer in silent:
            writer.close()


@pytest.mark.parametrize("key", ["", KEYS[0]], ids=["open", "with a key"])
async def test_who_connects_reads_as_through_a_hub(key: str) -> None:
    port = free_port()
    async with (
        listening(Device([], "probe"), port, key) as counter,
        snyper.connect(f"{HOST}:{port}", key, reconnect=True) as client,
        tally_of(client, "probe/count", wait=True) as first,
        tally_of(client, "probe/count", wait=True) as second,
    ):
        [info] = await client.streams()
        assert (info.name, info.dtype, info.connected, info.subscribers) == ("probe/count", "<u4", True, 2)
        counter.stream.mark("door opened")
        at_us = now_us()
        await counter.send(100_000)
        await first.until(100_000)
        await second.until(100_000)
        assert (first.received, first.lost, second.received) == (100_000, 0, 100_000)
        [mark] = first.marks
        assert abs(mark.at_us - at_us) < 1_000_000
        await end_task(second.task)
        await until(lambda: len(counter.stream.readers) == 1, "one should read on")
        with pytest.raises(ProtocolError, match="no stream here is other"):
            await take(aiter(client.read_stream("probe/other")), 1)
        with pytest.raises(ProtocolError, match="nobody here answers"):
            await client.lay_down("all")
        before = counter.stream.seq
        for link in [reader.link for reader in counter.stream.readers]:
            link.end()  # the network breaks
        await counter.send(1_000)
        await until(lambda: counter.stream.is_read, "it should be read again")
        await counter.send(1_000)
        await first.until(before + 2_000)
        assert (first.received, first.lost) == (101_000, 1_000)
    assert not counter.stream.is_read


async def test_a_device_at_a_hub_is_read_directly_too_with_its_own_clock() -> None:
    port = free_port()
    async with stream_hub() as hub, source_of(hub.port) as device, listening(device, port) as counter:
        await until(lambda: device._sources is not None and device._sources.clock.is_set, "the hub's clock")
        async with (
            console(hub.port) as through,
            console(port) as direct,
            tally_of(through) as first,
            tally_of(direct) as second,
        ):
            assert device._sources is not None
            device._sources.clock.reset()
            device._sources.clock.add(5_000_000, 9_000_000, 5_000_000)  # 4 s ahead of its own
            counter.stream.mark("now", 5_000_000)
            await counter.stream.send(numpy.arange(10, dtype="<u4"), 5_000_000)
            await first.until(10)
            await second.until(10)
            assert (first.marks, second.marks) == ([Mark("now", 9_000_000)], [Mark("now", 5_000_000)])


@pytest.mark.parametrize(("given", "why"), [("", "proof of its key"), (KEYS[1], "has not that key")])
async def test_without_the_key_nothing_is_read(given: str, why: str) -> None:
    port = free_port()
    async with listening(Device([], "probe"), port, KEYS[0]) as counter:
        with pytest.raises(ProtocolError, match=why):
            async with console(port, given):
                pass
        forged = "probe:" + 64 * "f"
        with pytest.raises((ProtocolError, NoHubError)):
            async with console(port, forged):
                pass
        assert not counter.stream.is_read


async def test_strangers_take_no_place_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    from snyper.shared import stream_listener

    monkeypatch.setattr(stream_listener, "REGISTER_MS", 300)
    port = free_port()
    async with listening(Device([], "probe"), port) as counter:
        async with (
            asyncio.TaskGroup() as tasks,
            console(port) as client,
            tally_of(client, "probe/count") as tally,
        ):

            async def is_put_out() -> None:
                async with peer_of(port) as peer:
                    await peer.expect_error("not_registered")

            for _ in range(MAX_READERS + 2):  # what more there are wait in the system
                tasks.create_task(is_put_out())
            await counter.send(10)
            await tally.until(10)
        async with peer_of(port) as peer:
            await peer.send(b"GET / HTTP/1.1\r\n")
            await peer.expect_error("unsupported")


async def test_without_a_key_it_listens_on_loopback_alone() -> None:
    device = Device([], "probe")
    for address in ("0.0.0.0:0", ":0", "192.168.1.7:0", "[::]:0"):
        with pytest.raises(ValueError, match="a key is needed"):
            await device.listen(address)
    with pytest.raises(ValueError, match="a key is NAME:HEX"):
        await device.listen(f"{HOST}:0", "secret")
    task = asyncio.create_task(device.listen("0.0.0.0:0", is_open=True))
    await asyncio.sleep(0)
    assert not task.done()
    await end_task(task)


async def test_it_is_read_from_a_shell(tmp_path: Path) -> None:
    port = free_port()
    hub = ("--hub", f"{HOST}:{port}")
    async with listening(Device([], "probe"), port) as counter:
        status, out, _ = await run_snyper("stream", "list", *hub, SNYPER_KEY="")
        assert (status, "probe" in out) == (0, True)

        async def send() -> None:
            while True:
                await counter.send(100)
                await asyncio.sleep(0.01)

        sending = asyncio.create_task(send())
        arguments = ("probe/count", "--folder", str(tmp_path), "--duration", "2", *hub)
        status, out, error = await run_snyper("arrays", "record", *arguments, SNYPER_KEY="")
        await end_task(sending)
        assert (status, "samples, 0 missing" in out) == (0, True), out + error


BOARD = """
import asyncio
from array import array
from snyper.shared.device import Device

async def main():
    device = Device([], "board")
    listening = asyncio.create_task(device.listen("127.0.0.1:{port}", {key!r}))
    values = array("I", bytes(4 * 256))
    async with device.stream("count", "<u4") as stream:
        while not listening.done():
            seq = stream.seq
            for at in range(256):
                values[at] = seq + at
            await stream.send(values)
            await asyncio.sleep_ms(10)
    await listening

asyncio.run(main())
"""


@needs_micropython
async def test_a_board_is_read_directly(tmp_path: Path) -> None:
    port = free_port()
    main = tmp_path / "main.py"
    main.write_text(BOARD.format(port=port, key=KEYS[0]))
    board = BoardProcess(tmp_path / "board", "target", main=main)
    board.start()
    try:
        await until(lambda: listens(port), "it should listen")
        async with snyper.connect(f"{HOST}:{port}", KEYS[0], reconnect=True) as client:
            for _ in range(2):
                async with tally_of(client, "board/count", wait=True) as tally:
                    await until(lambda: tally.received > 20_000, "it should be read")
                    assert tally.wrong == []
        assert "Traceback" not in board.log, board.log
    finally:
        board.kill()
