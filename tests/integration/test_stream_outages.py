"""Streams whose hub, source or network goes and comes back, and peers that mean no good."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import snyper
from snyper.hub import stream_fan
from snyper.hub.tls import server_tls
from snyper.recordings.recorder import Recorder
from snyper.shared.device import Device
from snyper.shared.link import Link
from snyper.shared.runtime import end_task
from snyper.shared.socket_protocol import MessageType, ProtocolError, SocketMessage
from tests.integration.harness import DEADLINE_S, HOST, Message, mortal_hub, until
from tests.integration.stream_harness import (
    Tally,
    console,
    counter_of,
    source_of,
    stream_hub,
    take,
    tally_of,
)


async def test_a_hub_that_is_killed_costs_what_it_could_not_carry(tmp_path: Path) -> None:
    """The source, the epoch and the reader go on; each sample has come or is counted."""
    async with mortal_hub("cpython", tmp_path) as hub:
        port = hub.under_test.port
        async with (
            source_of(port) as device,
            counter_of(device) as counter,
            snyper.connect(hub.under_test.address, "", reconnect=True) as client,
        ):
            tally = Tally(client.read_stream("lab1/count"))
            await until(lambda: counter.stream.is_read, "it should be read")
            for _ in range(3):
                await counter.send(1_000)
                await tally.until(counter.stream.seq)
                await hub.kill()
                await until(lambda: not counter.stream.is_read, "its reader should be gone")
                await counter.send(77)
                await hub.start()
                await until(lambda: counter.stream.is_read, "it should be read again")
            await counter.send(1_000)
            await tally.until(counter.stream.seq)
            tally.task.cancel()
    assert len(tally.epochs) == 1
    assert (tally.received, tally.lost) == (4_000, 3 * 77)


async def test_who_may_only_read_reads_and_a_device_streams_as_itself() -> None:
    keys = [f"{name}:{at:064x}" for at, name in enumerate(("fleet", "lab1", "viewer"), 1)]
    lines = tuple(f"{key} {right}" for key, right in zip(keys, ("fleet", "device", "reader"), strict=True))
    async with (
        stream_hub(keys=lines) as hub,
        source_of(hub.port, "lab1", keys[1]) as device,
        counter_of(device) as counter,
        console(hub.port, keys[2]) as viewer,
        tally_of(viewer) as tally,
    ):
        await counter.send(70_000)  # in more than one block, all of it sealed
        await tally.until(70_000)
        assert (tally.received, tally.lost) == (70_000, 0)
        with pytest.raises(ProtocolError, match="only read"):
            await viewer.lay_down("all")


BLOCK: Message = {"seq": 0, "at_us": 1, "uncertainty_us": 1, "source_us": 1}


@pytest.mark.parametrize(
    ("data", "content"),
    [
        pytest.param({}, b"123", id="no whole samples"),
        pytest.param({}, b"", id="no samples"),
        pytest.param({"seq": -1}, bytes(4), id="a negative number"),
        pytest.param({"seq": True}, bytes(4), id="a number that is none"),
        pytest.param({"seq": 4.0}, bytes(4), id="a broken number"),
        pytest.param({"seq": (1 << 53) - 1}, bytes(4), id="a number at the end of all"),
        pytest.param({"at_us": "now"}, bytes(4), id="no instant"),
        pytest.param({"uncertainty_us": -1}, bytes(4), id="an uncertainty below zero"),
        pytest.param({"marks": 7}, bytes(4), id="no marks"),
        pytest.param({"marks": [["a"]]}, bytes(4), id="marks of one part"),
        pytest.param({"marks": [["a" * 400, 1]]}, bytes(4), id="long marks"),
    ],
)
async def test_a_block_that_is_none_is_counted_and_goes_to_nobody(
    data: dict[str, Any], content: bytes
) -> None:
    async with stream_hub() as hub, _Liar(hub.port) as liar, console(hub.port) as client:
        blocks = aiter(client.read_stream("liar/count"))
        coming = asyncio.create_task(take(blocks, 1))
        id = await liar.asked()
        await liar.begin(id, {"dtype": "<u4", "epoch": "e", "seq": 0})
        await liar.block(id, {**BLOCK, **data}, content)
        await liar.block(id, BLOCK, bytes(8))
        [block] = await coming
        assert (block.seq, len(block.samples), block.lost) == (0, 2, 0)
        [(_, listed)] = hub.fan.list()
        assert listed["refused"] == 1


@pytest.mark.parametrize(
    "about",
    [
        pytest.param({"dtype": "|O", "epoch": "e", "seq": 0}, id="objects"),
        pytest.param({"dtype": "<f4", "shape": [1 << 40], "epoch": "e", "seq": 0}, id="a large shape"),
        pytest.param({"dtype": "<f4", "epoch": 7, "seq": 0}, id="no epoch"),
        pytest.param({"dtype": "<f4", "epoch": "e"}, id="no number"),
    ],
)
async def test_a_stream_that_is_none_begins_for_nobody(about: dict[str, Any]) -> None:
    async with stream_hub() as hub, _Liar(hub.port) as liar, console(hub.port) as client:
        reader = client.read_stream("liar/count")
        coming = asyncio.create_task(take(aiter(reader), 1))
        id = await liar.asked()
        await liar.begin(id, about)
        await liar.block(id, BLOCK, bytes(4))
        await liar.begin(id, {"dtype": "<u4", "epoch": "e", "seq": 0})
        await liar.block(id, BLOCK, bytes(4))
        [block] = await coming
        assert block.epoch == "e"
        [(_, listed)] = hub.fan.list()
        assert listed["refused"] == 2


async def test_a_source_that_does_not_say_what_a_stream_is_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_fan, "BEGIN_S", 0.1)
    async with stream_hub() as hub, _Liar(hub.port) as liar, console(hub.port) as client:
        with pytest.raises(ProtocolError, match="does not say what count is"):
            await take(aiter(client.read_stream("liar/count")), 1)
        patient = asyncio.create_task(take(aiter(client.read_stream("liar/count", wait=True)), 1))
        ids = [await liar.asked() for _ in range(3)]  # it is asked again
        monkeypatch.setattr(stream_fan, "BEGIN_S", 60.0)
        await liar.begin(ids[0], {"dtype": "<u4", "epoch": "old", "seq": 0})  # too late
        id = ids[-1]
        while not patient.done():
            await liar.begin(id, {"dtype": "<u4", "epoch": "e", "seq": 0})
            await liar.block(id, BLOCK, bytes(4))
            await asyncio.sleep(0.05)
            if not liar._asked.empty():
                id = await liar.asked()
        [block] = await patient
        assert block.epoch == "e"


async def test_numbers_that_go_back_are_refused_until_a_new_epoch() -> None:
    async with stream_hub() as hub, _Liar(hub.port) as liar, console(hub.port) as client:
        coming = asyncio.create_task(take(aiter(client.read_stream("liar/count")), 3))
        id = await liar.asked()
        await liar.begin(id, {"dtype": "<u4", "epoch": "e", "seq": 5})
        for seq in (7, 3, 7, 8):
            await liar.block(id, {**BLOCK, "seq": seq}, bytes(4))
        await liar.begin(id, {"dtype": "<u4", "epoch": "f", "seq": 0})
        await liar.block(id, BLOCK, bytes(4))
        blocks = await coming
        assert [(block.epoch, block.seq, block.lost) for block in blocks] == [
            ("e", 7, 2),
            ("e", 8, 0),
            ("f", 0, 0),
        ]


async def test_an_epoch_that_comes_again_has_lost_nothing_before_it(tmp_path: Path) -> None:
    """Its numbers go on: those that came are not lost, what the source leaves out is."""
    async with stream_hub() as hub, _Liar(hub.port) as liar, console(hub.port) as client:
        reader = client.read_stream("liar/count")
        coming = asyncio.create_task(take(aiter(reader), 5))
        id = await liar.asked()
        sent = (("a", (0, 1)), ("b", (0,)), ("a", (2,)), ("b", (4,)))
        for epoch, numbers in sent:
            await liar.begin(id, {"dtype": "<u4", "epoch": epoch, "seq": numbers[0]})
            for seq in numbers:
                await liar.block(id, {**BLOCK, "seq": seq}, bytes(4))
        blocks = await coming
        assert [(block.epoch, block.seq, block.lost) for block in blocks] == [
            ("a", 0, 0),
            ("a", 1, 0),
            ("b", 0, 0),
            ("a", 2, 0),
            ("b", 4, 3),
        ]
        [(_, listed)] = hub.fan.list()
        assert reader.lost == listed["lost"] == 3
        assert reader.spec is not None
        async with Recorder(tmp_path / "r", "liar", "count", tmp_path) as recorder:
            for block in blocks:
                await recorder.put(block, reader.spec)
        assert (recorder.progress.stored, recorder.progress.gaps) == (5, 3)


async def test_an_epoch_has_one_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read as what it is not: what another spec brings under a name that was is refused."""
    async with stream_hub() as hub, _Liar(hub.port) as liar, console(hub.port) as client:
        coming = asyncio.create_task(take(aiter(client.read_stream("liar/count")), 3))
        id = await liar.asked()
        for seq, (epoch, dtype) in enumerate(
            (("e", "<u4"), ("e", "<f4"), ("f", "<f4"), ("e", "<u4"), ("f", "<u4"))
        ):
            await liar.begin(id, {"dtype": dtype, "epoch": epoch, "seq": seq})
            await liar.block(id, {**BLOCK, "seq": seq}, bytes(4))
        blocks = await coming
        assert [(block.epoch, block.seq, str(block.samples.dtype)) for block in blocks] == [
            ("e", 0, "uint32"),
            ("f", 2, "float32"),
            ("e", 3, "uint32"),
        ]
        monkeypatch.setattr(stream_fan, "BEGIN_S", 0.1)
        with pytest.raises(ProtocolError, match="the epoch f has had another spec"):
            await take(aiter(client.read_stream("liar/count")), 1)


async def test_another_peers_items_are_none_of_a_stream() -> None:
    async with (
        stream_hub() as hub,
        _Liar(hub.port) as liar,
        _Liar(hub.port, "other") as other,
        console(hub.port) as client,
    ):
        coming = asyncio.create_task(take(aiter(client.read_stream("liar/count")), 1))
        id = await liar.asked()
        await liar.begin(id, {"dtype": "<u4", "epoch": "e", "seq": 0})
        await other.block(id, {**BLOCK, "seq": 4}, bytes(4))
        await other.until_answered()
        await liar.block(id, BLOCK, bytes(4))
        assert [block.seq for block in await coming] == [0]


async def test_what_is_announced_is_checked() -> None:
    async with stream_hub() as hub, _Liar(hub.port) as liar:
        spec = {"dtype": "<u4"}
        for wrong in (
            7,
            {"a/b": spec},
            {"a": 7},
            {"a": {"dtype": "f4"}},
            {f"s{at}": spec for at in range(33)},
        ):
            reply = await liar.link.exchange(
                SocketMessage("announce_streams", liar.link.new_id(), data={"streams": wrong}), 5_000
            )
            assert (reply.data or {})["code"] == "bad_message", wrong
        assert hub.fan.list() == []


async def test_a_flood_of_what_nobody_asked_for_ends_with_the_link() -> None:
    async with stream_hub() as hub, _Liar(hub.port) as liar:
        hub.lines_at_once = 1_000
        [at_hub] = hub.links
        async with asyncio.timeout(DEADLINE_S):
            while liar.link.close_error is None:
                with_id = SocketMessage(MessageType.ITEM, "none", None, None, dict(BLOCK), bytes(4))
                try:
                    await liar.link.send(with_id)
                except ProtocolError:
                    break
        # It dials again, and may be there before anybody has looked.
        await until(lambda: at_hub not in hub.links, "the hub should hang up")


class _Liar:
    """A source that says what a test wants. For `async with`."""

    def __init__(self, port: int, name: str = "liar") -> None:
        self._port = port
        self._name = name
        self._asked: asyncio.Queue[str | int] = asyncio.Queue()

    async def __aenter__(self) -> "_Liar":
        self._source = source_of(self._port, self._name)
        device = await self._source.__aenter__()
        device._handlers["read_stream"] = self._on_asked
        assert device.link is not None
        self.link = device.link
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._source.__aexit__(None, None, None)

    async def _on_asked(self, link: Link, message: SocketMessage) -> None:
        assert message.id is not None
        self._asked.put_nowait(message.id)

    async def asked(self) -> str | int:
        """Wait until the hub asks, and return the id of that."""
        return await asyncio.wait_for(self._asked.get(), DEADLINE_S)

    async def begin(self, id: str | int, about: dict[str, Any]) -> None:
        await self.link.send(SocketMessage(MessageType.ITEM, id, None, "streams", about))

    async def block(self, id: str | int, data: dict[str, Any], content: bytes) -> None:
        await self.link.send(SocketMessage(MessageType.ITEM, id, None, None, data, content))

    async def until_answered(self) -> None:
        """Wait until the hub has read what was sent so far."""
        await self.link.exchange(SocketMessage(MessageType.PING, self.link.new_id()), 5_000)


async def test_a_stream_goes_under_tls(tmp_path: Path) -> None:
    key = f"fleet:{1:064x}"
    async with stream_hub(keys=(key,)) as hub:
        hub.tls = server_tls(tmp_path / "hub.pem")
        device = Device(f"tls://{HOST}:{hub.port}", "lab1", key)
        running = asyncio.create_task(device.run())
        try:
            await until(lambda: device.link is not None, "the source should register")
            async with (
                counter_of(device) as counter,
                snyper.connect(f"tls://{HOST}:{hub.port}", key) as client,
                tally_of(client) as tally,
            ):
                for _ in range(5):
                    await counter.send(100_000)
                    await tally.until(counter.stream.seq)
                assert (tally.received, tally.lost) == (500_000, 0)
        finally:
            await end_task(running)
