"""The hub's log of its last events."""

import asyncio

from snyper.firmware.master.events import EventLog


def _seqs(log: EventLog, after: int) -> "list[int]":
    return [event[0] for event in log.after(after)]


def test_an_empty_log() -> None:
    log = EventLog(3)
    assert log.seq == 0
    assert log.oldest_seq == 1
    assert list(log.after(0)) == []
    assert list(log.after(7)) == []


def test_events_count_from_one() -> None:
    log = EventLog(3)
    log.add("hit", "t_1", {"peak": 5})
    log.add("lost", "t_2", {})
    assert log.seq == 2
    assert list(log.after(0)) == [(1, "hit", "t_1", {"peak": 5}), (2, "lost", "t_2", {})]
    assert list(log.after(1)) == [(2, "lost", "t_2", {})]
    assert list(log.after(2)) == []
    assert log.oldest_seq == 1


def test_the_oldest_make_room() -> None:
    log = EventLog(3)
    for _ in range(10):
        log.add("hit", "t", {})
    assert log.seq == 10
    assert log.oldest_seq == 8
    for gone in range(7):
        assert _seqs(log, gone) == [8, 9, 10]
    assert _seqs(log, 7) == [8, 9, 10]
    assert _seqs(log, 8) == [9, 10]
    assert _seqs(log, 10) == []
    assert _seqs(log, 99) == []


def test_what_was_handed_out_does_not_change() -> None:
    log = EventLog(2)
    log.add("hit", "t", {})
    before = log.after(0)
    log.add("hit", "t", {})
    log.add("hit", "t", {})
    assert [event[0] for event in before] == [1]


async def test_every_reader_is_woken_until_it_leaves() -> None:
    log = EventLog(2)
    one, other = asyncio.Event(), asyncio.Event()
    log.attach(one)
    log.attach(other)
    log.add("hit", "t", {})
    assert one.is_set()
    assert other.is_set()
    one.clear()
    other.clear()
    log.detach(one)
    log.add("hit", "t", {})
    assert not one.is_set()
    assert other.is_set()


async def test_without_a_journal_everything_is_settled_at_once() -> None:
    log = EventLog(2, "somebody")
    assert log.log_id == "somebody"
    assert log.journal == ""
    log.add("hit", "t", {"peak": 5}, "its key")
    await log.settle()
    assert not await log.is_known("its key")
    assert list(await log.page(0)) == [(1, "hit", "t", {"peak": 5})]
    assert list(await log.page(1)) == []


def test_what_a_babbling_target_says_takes_no_more_and_more_memory() -> None:
    log = EventLog(3)
    for number in range(100):
        log.add("hit", "t", {"name_%d" % number: number, "peak": 5})
    assert len(log._shapes) < 30
    assert [event[3] for event in log.after(0)] == [
        {"name_%d" % number: number, "peak": 5} for number in (97, 98, 99)
    ]
