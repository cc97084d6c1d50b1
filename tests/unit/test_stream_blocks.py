"""The blocks that a hub keeps of a stream: which is found, which gives way."""

import random
import time
from typing import Any

import pytest

from snyper.hub import stream_blocks
from snyper.hub.stream_blocks import Blocks, Buffers, Epoch, Kept, kept_of
from snyper.shared.socket_protocol import MAX_INTEGER, SocketMessage

SPEC: dict[str, Any] = {"dtype": "|u1", "shape": [], "rate_hz": 100, "names": [], "units": []}


def kept(epoch: Epoch, seq: int, count: int = 10) -> Kept:
    return Kept(epoch, seq, (seq, 0, seq), b"", bytes(count))


def filled(counts: list[int]) -> tuple[Blocks, list[Epoch]]:
    """Blocks of ten samples each, so many of each epoch."""
    blocks, epochs = Blocks(), []
    for order, count in enumerate(counts):
        epochs.append(Epoch(f"e{order}", SPEC, 0, order))
        for at in range(count):
            blocks.add(kept(epochs[-1], at * 10))
    return blocks, epochs


def all_of(blocks: Blocks) -> list[Kept]:
    found, at = [], 0
    while (block := blocks.next_for(at, 1 << 60)) is not None:
        found.append(block)
        at = block.number + 1
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_sample_is_found_as_by_looking_at_each(seed: int) -> None:
    rng = random.Random(seed)
    blocks, epochs = filled([rng.randrange(1, 8) for _ in range(rng.randrange(1, 6))])
    for _ in range(rng.randrange(4)):
        blocks.drop()
    for epoch in epochs:
        for seq in range(0, 90, 7):
            of_it = [block for block in all_of(blocks) if block.epoch is epoch]
            later = [block for block in all_of(blocks) if block.epoch.order > epoch.order]
            if of_it:
                expected = next((block for block in of_it if block.next_seq > seq), None)
                expected = expected or (later[0] if later else None)
            else:
                expected = all_of(blocks)[0] if all_of(blocks) else None
            assert blocks.find(epoch.name, seq) is expected


def test_the_buffer_of_a_block_that_is_kept_no_more_is_used_again_unless_it_is_being_sent() -> None:
    buffers, size = Buffers(), 1 << 16
    blocks, epoch = Blocks(buffers), Epoch("e", SPEC, 0)
    for seq in (0, size):
        blocks.add(Kept(epoch, seq, (0, 0, 0), b"", buffers(size)))
    first, being_sent = (id(block.data) for block in all_of(blocks))
    view = memoryview(all_of(blocks)[1].data)
    blocks.drop()
    blocks.drop()
    made = [buffers(size), buffers(size)]
    assert id(made[0]) == first
    assert being_sent not in [id(buffer) for buffer in made]
    assert len(view) == size


def test_who_may_keep_little_waiting_gets_the_newest() -> None:
    blocks, _ = filled([100])
    size = 10 + stream_blocks._BLOCK_BYTES
    for waiting in (0, 1, size, 3 * size, 99 * size, 100 * size, 1 << 40):
        block = blocks.next_for(0, waiting)
        assert block is not None
        assert block.number == 100 - min(100, max(1, waiting // size))
    assert blocks.next_for(100, 1 << 40) is None


def test_the_oldest_gives_way_to_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_blocks, "MAX_STREAM_BYTES", 5_000)
    blocks, [epoch] = filled([100])
    assert blocks.size <= 5_000
    assert [block.number for block in all_of(blocks)] == list(range(91, 100))
    blocks.add(kept(epoch, 1_000, 6_000))  # alone it may be larger
    assert [block.count for block in all_of(blocks)] == [6_000]
    monkeypatch.setattr(stream_blocks, "MAX_STREAM_S", -1.0)
    blocks.drop_old()
    assert (blocks.size, all_of(blocks), blocks.end) == (0, [], 101)


def test_a_part_of_a_block_has_its_own_number_and_time() -> None:
    block = Kept(Epoch("e", SPEC, 0), 50, (1_000_000, 7, 2_000_000), b'["a",1]', bytes(range(10)))
    head, data = block.part(0, 4)
    assert (head, bytes(data)) == (block.head, bytes(range(4)))
    head, data = block.part(4, 6)
    assert b'"seq":54,"at_us":1040000,"uncertainty_us":7,"source_us":2040000' in head
    assert bytes(data) == bytes(range(4, 10))


def test_marks_of_blocks_that_are_gone_are_known_for_a_while() -> None:
    blocks, epoch = Blocks(), Epoch("e", SPEC, 0)
    for at in range(200):
        blocks.add(Kept(epoch, at, (0, 0, 0), b'["m%d",%d]' % (at, at) if at % 10 == 0 else b"", bytes(1)))
    for _ in range(150):
        blocks.drop()
    assert blocks.marks_between(95, 121) == b'["m100",100],["m110",110],["m120",120]'
    assert blocks.marks_between(121, 130) == b""
    assert len(blocks.marks_between(0, 1_000)) <= 360


@pytest.mark.parametrize("stamp", ["at_us", "source_us"])
def test_each_sample_of_a_block_has_an_instant_that_a_line_can_say(stamp: str) -> None:
    """Else whoever reads it from its middle on would be sent what ends his connection."""
    data: dict[str, Any] = {"seq": 0, "at_us": 1, "uncertainty_us": 1, "source_us": 1}
    epoch = Epoch("e", SPEC | {"rate_hz": 1}, 0)
    message = SocketMessage("item", "1", data=data)
    message.attachment = bytes(10)
    for last_us in (MAX_INTEGER - 10_000_000, MAX_INTEGER - 9_999_999):
        data[stamp] = last_us
        if last_us > MAX_INTEGER - 10_000_000:
            with pytest.raises(ValueError, match="instant"):
                kept_of(epoch, message)
        else:
            line = b'{"type":"item","id":1,' + kept_of(epoch, message).part(9, 1)[0] + b"}}"
            assert SocketMessage.from_line(line)


def test_what_was_dropped_of_a_time_is_counted_to_a_second() -> None:
    blocks, epoch = Blocks(), Epoch("e", SPEC, 0)
    began_s = int(time.monotonic()) + 10
    for at in range(8):
        block = kept(epoch, at * 10)
        block.came_s = began_s + at / 2
        blocks.add(block)
    assert blocks.dropped_since(0) == 0
    for _ in range(5):
        blocks.drop()
    assert blocks.dropped_since(0) == blocks.dropped_since(began_s) == 50
    assert blocks.dropped_since(began_s + 1) == blocks.dropped_since(began_s + 1.5) == 30
    assert blocks.dropped_since(began_s + 2) == 10
    assert blocks.dropped_since(began_s + 2.1) == 0  # the next is kept
