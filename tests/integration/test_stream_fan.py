"""The fan-out of streams: many subscribers, slow and deaf ones, what is kept, what comes back."""

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from snyper.hub import stream_blocks, stream_fan
from snyper.shared.link_core import CloseReason
from snyper.shared.socket_protocol import MessageType, SocketMessage
from snyper.streams import Block
from tests.integration.harness import Message, Peer, peer_of, until
from tests.integration.stream_harness import (
    Counter,
    Tally,
    console,
    counter_of,
    deafen,
    source_of,
    stream_hub,
    take,
    tally_of,
    waiting_tally_of,
)

MUCH = 8 << 20  # samples, 32 MiB: more than sockets hold


def read_line(stream: str = "count", id: int = 2, source: str = "lab1", **data: object) -> dict[str, object]:
    return {"type": "read_stream", "id": id, "target_id": source, "data": {"stream": stream, **data}}


async def test_who_was_lost_and_is_back_has_missed_nothing_though_nobody_else_reads() -> None:
    async with stream_hub() as hub, source_of(hub.port) as device, counter_of(device) as counter:
        async with console(hub.port) as client:
            blocks = aiter(client.read_stream("lab1/count"))
            coming = asyncio.create_task(anext(blocks))
            await until(lambda: counter.stream.is_read, "it should be read")
            await counter.send(10)
            last = await coming
            client.hang_up()
            await until(lambda: not hub.fan.subscriptions(), "the hub should have noticed")
        await asyncio.sleep(2 * stream_fan.LINGER_S)
        await counter.send(10)
        async with console(hub.port) as client:
            reader = client.read_stream("lab1/count", from_seq=last.next_seq, epoch=last.epoch)
            block = await anext(aiter(reader))
            assert (block.seq, block.lost, reader.evicted) == (10, 0, 0)


async def test_a_source_is_read_once_and_only_while_somebody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_fan, "LINGER_S", 0.05)
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        console(hub.port) as client,
    ):
        await counter.send(10)
        assert not counter.stream.is_read
        async with tally_of(client) as first, tally_of(client) as second:
            assert len(counter.stream.readers) == 1
            await counter.send(10)
            await first.until(20)
            await second.until(20)
            assert (first.received, first.lost, second.received, second.lost) == (10, 0, 10, 0)
        await until(lambda: not counter.stream.is_read, "the hub should read it no more")
        async with tally_of(client) as third:
            await counter.send(5)
            await third.until(25)
            assert third.lost == 0
        await until(lambda: not counter.stream.is_read, "the hub should read it no more")
        await counter.send(1_000)  # which nobody wanted
        async with tally_of(client) as fourth:
            await counter.send(5)
            await fourth.until(1_030)
            assert (fourth.received, fourth.lost) == (5, 0)
            [(_, listed)] = hub.fan.list()
            assert listed["lost"] == 0


async def test_a_deaf_subscriber_loses_the_oldest_and_nobody_else_a_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_blocks, "MAX_STREAM_BYTES", 600_000)
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        console(hub.port) as client,
        console(hub.port) as deaf,
        tally_of(client) as tally,
        tally_of(deaf) as slow,
    ):
        deafen(hub, deaf)
        while counter.stream.seq < MUCH:
            if counter.stream.seq == MUCH // 2:
                counter.stream.mark("half way")
            await counter.send(65_536)
            await tally.until(counter.stream.seq)
        sent = counter.stream.seq
        assert (tally.received, tally.lost, len(tally.marks)) == (sent, 0, 1)
        deaf._link._stream.resume_reading()
        await slow.until(sent)
        assert slow.received + slow.lost == sent
        assert slow.lost > 1 << 20
        assert slow.marks == tally.marks  # whether its block came or not
        [(_, listed)] = hub.fan.list()
        assert listed["kept_bytes"] <= 600_000


async def test_a_subscriber_that_reads_nothing_is_cut_whatever_it_says() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        peer_of(hub.port, reads=False, receive_buffer=2_048) as rude,
    ):
        about = {"role": "console", "max_chunk_bytes": 65_536}
        await rude.send({"type": "register", "id": 1, "data": about}, read_line())
        await until(lambda: counter.stream.is_read, "the hub should read it")
        [link] = [link for link in hub.links if link.name == "console"]
        while link.writable:
            await counter.send(16_000)
        with suppress(OSError):
            while link.close_error is None:
                await rude.send(b"\n")
                await asyncio.sleep(0.05)
        await until(lambda: link not in hub.links, "it should be cut")
        assert link.close_reason == CloseReason.SILENT


async def test_a_subscriber_may_want_no_more_than_the_newest() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        console(hub.port) as client,
        console(hub.port) as other,
        tally_of(client) as tally,
        tally_of(other, max_queued_bytes=0) as newest,
    ):
        deafen(hub, other)
        while counter.stream.seq < MUCH:
            await counter.send(65_536)
            await tally.until(counter.stream.seq)
        sent = counter.stream.seq
        other._link._stream.resume_reading()
        await newest.until(sent)
        assert newest.received + newest.lost == sent
        assert newest.lost > 1 << 20


async def test_what_was_before_comes_first_and_what_is_evicted_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_blocks, "MAX_STREAM_BYTES", 100_000)
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        console(hub.port) as client,
        tally_of(client) as tally,
    ):
        for _ in range(100):
            await counter.send(1_000)
        await tally.until(100_000)
        now = client.read_stream("lab1/count")
        all_of_it = client.read_stream("lab1/count", history="10m")
        some = client.read_stream("lab1/count", from_seq=95_000)
        too_much = client.read_stream("lab1/count", from_seq=10, epoch=counter.stream.epoch)
        ahead = client.read_stream("lab1/count", from_seq=1 << 40)
        readers = (now, all_of_it, some, too_much, ahead)
        begun = [asyncio.create_task(take(aiter(reader), 1)) for reader in readers]
        await until(lambda: all(reader.spec for reader in readers), "all should begin")
        await counter.send(1_000)
        [of_now], [of_all], [of_some], [of_much], [of_ahead] = [await task for task in begun]
    assert (of_now.seq, now.evicted) == (100_000, 0)
    assert of_all.seq == of_much.seq > 70_000
    assert all_of_it.evicted == of_all.seq
    assert (of_some.seq, some.evicted) == (95_000, 0)
    assert too_much.evicted == of_much.seq - 10
    assert (of_ahead.seq, ahead.evicted) == (100_000, 0)
    assert {block.lost for block in (of_now, of_all, of_some, of_much, of_ahead)} == {0}


async def test_what_is_evicted_of_epochs_before_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the rest of the epoch that was asked for, of those between, and of the present one."""
    monkeypatch.setattr(stream_blocks, "MAX_STREAM_BYTES", 1)  # the last block alone
    epochs: list[str] = []
    async with stream_hub() as hub, console(hub.port) as client, waiting_tally_of(client) as tally:
        for count in (50, 10, 3):
            async with source_of(hub.port) as device, counter_of(device) as counter:
                epochs.append(counter.stream.epoch)
                await _send_twice(counter, count, tally)
        for epoch, expected in ((epochs[0], 50 + 20 + 3), ("of another hub", 3)):
            reader = client.read_stream("lab1/count", from_seq=50, epoch=epoch, wait=True)
            [block] = await take(aiter(reader), 1)
            assert (block.epoch, block.seq, block.lost) == (epochs[-1], 3, 0)
            assert reader.evicted == expected


async def test_who_slept_through_an_epoch_is_told_all_that_he_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_blocks, "MAX_STREAM_BYTES", 1)
    sent = 0
    async with (
        stream_hub() as hub,
        console(hub.port) as client,
        console(hub.port) as far,
        waiting_tally_of(client) as tally,
        waiting_tally_of(far) as deaf,
    ):
        async with source_of(hub.port) as device, counter_of(device) as counter:
            await _send_twice(counter, 10, tally)
            await deaf.until(20)
            links = [link for link in hub.links if link.name == "console"]
            deafen(hub, far)
            while all(link.writable for link in links):
                await counter.send(16_000)
                await tally.until(counter.stream.seq)
            sent += counter.stream.seq
        for _ in range(2):
            async with source_of(hub.port) as device, counter_of(device) as counter:
                await _send_twice(counter, 10, tally)
                sent += counter.stream.seq
        far._link._stream.resume_reading()
        last = (counter.stream.epoch, counter.stream.seq)
        await until(lambda: (deaf.reader.epoch, deaf.next_seq) == last, "it should come to the last")
        assert len(deaf.epochs) == 2
        assert deaf.received + deaf.lost == sent


async def _send_twice(counter: Counter, count: int, tally: Tally) -> None:
    """Send so many samples, and as many again, each once the last have come."""
    await until(lambda: counter.stream.is_read, "it should be read")
    for _ in range(2):
        await counter.send(count)
        came = (counter.stream.epoch, counter.stream.seq)
        await until(lambda: (tally.reader.epoch, tally.next_seq) == came, "all should come")  # noqa: B023


async def test_who_asks_for_an_epoch_gets_none_before_it() -> None:
    async with stream_hub() as hub, console(hub.port) as client:
        async with source_of(hub.port) as device, counter_of(device) as counter, tally_of(client) as tally:
            await counter.send(100)
            await tally.until(100)
        async with source_of(hub.port) as device, counter_of(device) as counter, tally_of(client) as tally:
            assert tally.reader.epoch == counter.stream.epoch
            new = client.read_stream("lab1/count", from_seq=0, epoch=counter.stream.epoch)
            coming = asyncio.create_task(take(aiter(new), 1))
            await until(lambda: new.spec, "it should begin")
            await counter.send(10)
            [block] = await coming
            assert (block.epoch, block.seq, new.evicted) == (counter.stream.epoch, 0, 0)


async def test_what_a_source_dropped_while_it_was_away_is_evicted_for_who_asked_for_it() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        console(hub.port) as client,
        tally_of(client) as tally,
    ):
        await counter.send(100)
        await tally.until(100)
        hub.fan._streams["lab1", "count"].blocks.drop()
        assert device.link is not None
        device.link.end()
        await until(lambda: tally.reader.is_gone, "it should be gone")
        asked = client.read_stream("lab1/count", from_seq=90, epoch=counter.stream.epoch, wait=True)
        coming = asyncio.create_task(take(aiter(asked), 1))
        await until(lambda: hub.fan.subscriptions() == 2, "it should wait")
        await counter.send(50)
        await until(lambda: counter.stream.is_read, "it should be read again")
        await counter.send(10)
        [block] = await coming
        assert (block.seq, asked.evicted + block.lost) == (150, 60)


async def test_a_source_that_starts_again_begins_a_new_epoch() -> None:
    async with stream_hub() as hub, console(hub.port) as client:
        async with source_of(hub.port) as device, counter_of(device) as counter:
            blocks: list[Block] = []
            reader = client.read_stream("lab1/count")

            async def read() -> None:
                async for block in reader:
                    blocks.append(block)

            reading = asyncio.create_task(read())
            await until(lambda: counter.stream.is_read, "it should be read")
            await counter.send(100)
            await until(lambda: len(blocks) == 1, "a block should come")
        await until(lambda: reader.is_gone, "that it is gone should be said")
        async with source_of(hub.port) as device, counter_of(device) as counter:
            await counter.send(7)  # before anybody asks
            await until(lambda: counter.stream.is_read, "the hub should ask again by itself")
            await until(lambda: not reader.is_gone, "that it is back should be said")
            await counter.send(3)
            await until(lambda: len(blocks) == 2, "a block should come")
            assert counter.stream.epoch != blocks[0].epoch
            assert blocks[1].epoch == reader.epoch == counter.stream.epoch
            assert (blocks[1].seq, blocks[1].lost) == (7, 7)
        reading.cancel()


async def test_a_source_whose_network_is_cut_goes_on_in_its_epoch() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        console(hub.port) as client,
        tally_of(client) as tally,
    ):
        for _ in range(5):
            await counter.send(100)
            await tally.until(counter.stream.seq)
            link = device.link
            assert link is not None
            link.end()
            await counter.send(11)  # of which nobody hears
            await until(lambda: not counter.stream.is_read, "its reader should be gone")
            await until(lambda: counter.stream.is_read, "it should be read again")
        await counter.send(100)
        await tally.until(counter.stream.seq)
        assert len(tally.epochs) == 1
        assert (tally.received, tally.lost) == (600, 55)


async def test_what_is_kept_is_read_though_its_source_is_away() -> None:
    async with stream_hub() as hub, console(hub.port) as client:
        async with source_of(hub.port) as device, counter_of(device) as counter, tally_of(client) as tally:
            for sent in (40, 100):
                await counter.send(sent - counter.stream.seq)
                await tally.until(sent)
            epoch = counter.stream.epoch
        await until(lambda: hub.router.registry.named["lab1"].link is None, "the hub should see it go")
        reader = client.read_stream("lab1/count", from_seq=40, epoch=epoch, wait=True)
        blocks = aiter(reader)
        [block] = await take(blocks, 1)
        assert (block.seq, len(block.samples), block.lost, reader.evicted) == (40, 60, 0, 0)
        coming = asyncio.create_task(anext(blocks))
        await until(lambda: reader.is_gone, "that it is gone should be said")
        async with source_of(hub.port) as device, counter_of(device) as counter:
            await until(lambda: counter.stream.is_read, "it should be read when it is back")
            await counter.send(10)
            block = await coming
            assert (block.epoch, block.seq, block.lost) == (counter.stream.epoch, 0, 0)


async def test_a_sample_larger_than_a_subscriber_takes_ends_his_reading_alone() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        console(hub.port) as client,
        tally_of(client) as tally,
        peer_of(hub.port) as peer,
    ):
        await _register_console(peer)
        await counter.send(10)
        await tally.until(10)
        await peer.send(read_line(max_block_bytes=3, history_ms=60_000))
        assert (await peer.expect("error", id=2))["data"]["code"] == "unsupported"
        await counter.send(10)
        await tally.until(20)


async def test_the_hub_says_what_there_is() -> None:
    async with stream_hub() as hub, source_of(hub.port) as device, console(hub.port) as client:
        async with (
            counter_of(device),
            device.stream("acc", "<f4", (3,), 400, names=["x", "y", "z"]),
            tally_of(client, "lab1/acc"),
        ):
            await until(lambda: len(hub.fan.list()) == 2, "both should be announced")
            acc, count = await client.streams()
            assert (acc.source, acc.stream, acc.connected, acc.subscribers) == ("lab1", "acc", True, 1)
            assert (acc.dtype, acc.shape, acc.rate_hz) == ("<f4", (3,), 400)
            assert (count.name, count.subscribers, count.lost) == ("lab1/count", 0, 0)
        await until(
            lambda: "lab1" not in {one for one, about in hub.fan.list() if about.get("dtype") == "<u4"}, ""
        )


async def test_a_hundred_subscribers_come_and_go_each_half_second() -> None:
    """200 subscriptions a second, with their ends: nothing is left of them, and a reader misses nothing."""
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        console(hub.port) as client,
        console(hub.port) as restless,
        tally_of(client) as tally,
    ):
        answered: list[SocketMessage] = []
        restless._link.on_stream = None
        for id in range(1_000):
            line = SocketMessage("read_stream", id, "lab1", None, {"stream": "count"}).to_line()
            restless._link.start_request(id, line, lambda _, reply: answered.append(reply), None)  # type: ignore[arg-type]
            await restless._link.send(SocketMessage(MessageType.ITEM, id, "lab1", "stop"))
            await counter.send(10)
            await asyncio.sleep(0.001)
        await until(lambda: len(answered) == 1_000, "each should be answered")
        assert {reply.status for reply in answered} == {"stopped"}
        await tally.until(10_000)
        assert (tally.received, tally.lost) == (10_000, 0)
        assert hub.fan.subscriptions() == 1


async def test_two_of_one_id_and_too_many_are_refused() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device),
        peer_of(hub.port) as peer,
    ):
        await _register_console(peer)
        await peer.send(read_line(id=2))
        assert (await next_of(peer, "item"))["status"] == "streams"
        await peer.send(read_line(id=2))
        assert (await next_of(peer, "error"))["data"]["code"] == "busy"
        for id in range(3, 3 + stream_fan.MAX_SUBSCRIPTIONS):
            await peer.send(read_line(id=id))
        assert (await next_of(peer, "error"))["id"] == 2 + stream_fan.MAX_SUBSCRIPTIONS
        for target in ("all", "group:left"):
            await peer.send({**read_line(id=99), "target_id": target})
            assert (await next_of(peer, "error"))["data"]["code"] == "bad_message"


async def test_a_subscription_may_have_a_duration() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device),
        peer_of(hub.port) as peer,
    ):
        await _register_console(peer)
        await peer.send(read_line(duration_ms=100))
        assert (await next_of(peer, "reply"))["status"] == "ended"


async def next_of(peer: Peer, message_type: str) -> Message:
    """Return the next message of this type; others are left out."""
    while (message := await peer.next())["type"] != message_type:
        pass
    return message


async def _register_console(peer: Peer) -> None:
    await peer.send({"type": "register", "id": 1, "data": {"role": "console", "max_chunk_bytes": 1024}})
    assert (await next_of(peer, "registered"))["status"] == "registered"


async def test_a_thousand_subscribers_of_whom_one_is_deaf() -> None:
    """A deaf one costs no other a sample: each has every block before the next is sent."""
    async with (
        stream_hub(max_consoles=70) as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        console(hub.port) as deaf,
        tally_of(deaf),
        AsyncExitStack() as stack,
    ):
        deafen(hub, deaf)
        ends = [_Ends() for _ in range(1_000)]
        for at in range(0, len(ends), 25):
            client = await stack.enter_async_context(console(hub.port))
            by_id = dict(enumerate(ends[at : at + 25]))
            client._link.on_stream = lambda message, by_id=by_id: by_id[message.id].take(message)
            for id in by_id:
                line = SocketMessage("read_stream", id, "lab1", None, {"stream": "count"}).to_line()
                client._link.start_request(id, line, lambda _, reply: None, None)
                await client._link.drain()
                await until(lambda end=by_id[id]: end.has_begun, "each should begin")  # type: ignore[misc]
        assert hub.fan.subscriptions() == 1_001
        for _ in range(20):
            await counter.send(256)
            await until(lambda: all(end.next_seq == counter.stream.seq for end in ends), "all should have it")
        assert {(end.received, end.lost) for end in ends} == {(5_120, 0)}


class _Ends:
    """One of many subscribers, which only counts."""

    def __init__(self) -> None:
        self.has_begun = False
        self.received = self.lost = self.next_seq = 0

    def take(self, message: SocketMessage) -> None:
        data: dict[str, Any] = message.data or {}
        if message.attachment is None:
            self.has_begun = True
            return
        self.received += len(message.attachment) // 4
        self.lost += data.get("lost", 0)
        self.next_seq = data["seq"] + len(message.attachment) // 4


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("count", [1_000, 65_536])
async def test_a_slow_subscriber_is_answered_behind_what_is_on_its_way_and_no_more(
    count: int, waits: bool
) -> None:
    """A ping's answer has its place after one block and what the sockets hold, however many blocks wait; and
    so has what its sender waits with until there is place.
    """
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        console(hub.port) as client,
    ):
        link = client._link
        async with tally_of(client) as tally:
            deafen(hub, client)
            [far] = [one for one in hub.links if one.name == "console"]
            while far.writable:
                await counter.send(count)
            for _ in range(3_000_000 // count):
                await counter.send(count)
            pong: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            if waits:
                client._streams["slow"] = lambda message: pong.set_result(tally.reader.blocks)
                answering = asyncio.create_task(far.send(SocketMessage("item", "slow")))
                await until(lambda: far._drained, "its sender should wait")
            else:
                line = SocketMessage("ping", "slow").to_line()
                link.start_request("slow", line, lambda _, reply: pong.set_result(tally.reader.blocks), None)
                await until(lambda: far._queue, "its answer should wait")
            before = tally.reader.blocks
            link._stream.resume_reading()
            behind = await asyncio.wait_for(pong, 60) - before
            if waits:
                await answering
            await tally.until(counter.stream.seq)
            assert tally.received + tally.lost == counter.stream.seq
        assert behind < 1_000_000 // count, "what sockets hold of three times as much that waits"


async def test_blocks_are_no_lines_to_the_limit_of_them() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        console(hub.port) as client,
        tally_of(client) as tally,
    ):
        hub.lines_at_once = 500
        for _ in range(2_000):
            await counter.send(1)
        await tally.until(2_000)
        [link] = [link for link in hub.links if link.name == "lab1"]
        assert link.lines < 100
        assert (tally.received, tally.lost) == (2_000, 0)


async def test_a_request_whose_console_has_gone_meanwhile_leaves_nothing() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        console(hub.port) as client,
    ):
        await client.status()
        [link] = [link for link in hub.links if link.name == "console"]
        link.end()
        hub.fan.subscribe(link, SocketMessage("read_stream", 1, "lab1", None, {"stream": "count"}))
        assert hub.fan.subscriptions() == 0
        assert not counter.stream.is_read


async def test_who_takes_nothing_of_what_has_come_loses_the_oldest_of_it() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        console(hub.port) as client,
    ):
        reader = client.read_stream("lab1/count", max_queued_bytes=10_000)
        blocks = aiter(reader)
        coming = asyncio.create_task(take(blocks, 1))
        await until(lambda: counter.stream.is_read, "it should be read")
        await counter.send(1)
        await coming
        counter.stream.mark("missed")
        for _ in range(100):
            await counter.send(1_000)
            await asyncio.sleep(0)
        await until(lambda: reader._queue and reader._queue[-1].next_seq == 100_001, "all should have come")
        rest = await take(blocks, 2)
        assert [block.next_seq for block in rest] == [99_001, 100_001]
        assert reader.samples + reader.lost == 100_001
        assert [mark.name for mark in rest[0].marks] == ["missed"]


async def test_a_peer_says_what_streams_it_has_when_it_registers() -> None:
    spec = {"dtype": "<u2", "shape": [], "rate_hz": 500}
    async with stream_hub() as hub:
        for streams, expected in (
            ({"piezo": spec}, "registered"),
            ({"piezo": {"dtype": "<u3"}}, "bad_message"),
            ({"a/b": spec}, "bad_message"),
            (["piezo"], "bad_message"),
            ({f"s{at}": spec for at in range(33)}, "bad_message"),
        ):
            async with peer_of(hub.port) as peer:
                await peer.send({"type": "register", "id": 1, "target_id": "t", "data": {"streams": streams}})
                answer = await peer.next()
                assert answer["data"].get("code", answer["type"]) == expected, streams
        assert [about for _, about in hub.fan.list()] == [{"stream": "piezo", **spec, "connected": False}]
