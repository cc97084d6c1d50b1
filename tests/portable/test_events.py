"""The hub's log of its last events."""

import asyncio

from snyper.firmware.master.events import EventLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


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


def test_the_oldest_make_way() -> None:
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


def test_every_listener_is_told_until_it_stops() -> None:
    log = EventLog(2)
    one: "list[object]" = []
    other: "list[object]" = []
    stop = log.listen(lambda *event: one.append(event))
    log.listen(lambda *event: other.append(event))
    assert log.add("hit", "t", {"peak": 5}) == 1
    stop()
    stop()
    log.add("lost", "t", {})
    assert one == [(1, "hit", "t", {"peak": 5})]
    assert other == [(1, "hit", "t", {"peak": 5}), (2, "lost", "t", {})]


def test_a_listener_that_raises_hurts_nobody() -> None:
    log = EventLog(2)
    told: "list[int]" = []

    def fail(seq: int, event: str, target_id: str, data: "dict[str, object]") -> None:
        raise ValueError("a defect")

    log.listen(fail)
    log.listen(lambda seq, event, target_id, data: told.append(seq))
    assert log.add("hit", "t", {}) == 1
    assert log.add("hit", "t", {}) == 2
    assert told == [1, 2]
    assert _seqs(log, 0) == [1, 2]


def test_a_listener_may_stop_itself_and_others_while_it_is_told() -> None:
    log = EventLog(2)
    told: "list[str]" = []
    stops: "list[Callable[[], None]]" = []

    def once(*event: object) -> None:
        told.append("once")
        for stop in stops:
            stop()

    stops.append(log.listen(once))
    log.listen(lambda *event: told.append("always"))
    stops.append(log.listen(lambda *event: told.append("never")))
    log.add("hit", "t", {})
    log.add("hit", "t", {})
    assert told == ["once", "always", "always"]


def test_what_a_listener_adds_comes_after_what_it_was_told_of() -> None:
    log = EventLog(8)
    told: "list[tuple[str, int, str]]" = []

    def answer(seq: int, event: str, target_id: str, data: "dict[str, object]") -> None:
        told.append(("answer", seq, event))
        if event == "hit":
            assert log.add("game_score", target_id, {}) == seq + 1
            assert log.add("game_note", "", {}) == seq + 2

    log.listen(answer)
    log.listen(lambda seq, event, target_id, data: told.append(("other", seq, event)))
    assert log.add("hit", "t", {}) == 1
    events = [(1, "hit"), (2, "game_score"), (3, "game_note")]
    assert told == [(who, seq, event) for seq, event in events for who in ("answer", "other")]
    assert [event[:2] for event in log.after(0)] == events


async def test_a_page_waits_for_the_next_event() -> None:
    log = EventLog(2)
    pages = [asyncio.create_task(log.page(0)) for _ in range(2)]
    late = asyncio.create_task(log.page(1))
    await asyncio.sleep(0)
    log.add("hit", "t", {})
    for page in pages:
        assert [event[0] for event in await page] == [1]
    assert not late.done()
    log.add("lost", "t", {})
    assert [event[1] for event in await late] == ["lost"]


async def test_without_a_journal_everything_is_flushed_at_once() -> None:
    log = EventLog(2, "somebody")
    assert log.log_id == "somebody"
    assert log.journal == ""
    log.add("hit", "t", {"peak": 5}, "its key")
    await log.flush()
    assert not await log.is_known("its key")
    assert list(await log.page(0)) == [(1, "hit", "t", {"peak": 5})]


def test_what_a_babbling_target_says_takes_no_more_and_more_memory() -> None:
    log = EventLog(3)
    for number in range(100):
        log.add("hit", "t", {"name_%d" % number: number, "peak": 5})
    assert len(log._shapes) < 30
    assert [event[3] for event in log.after(0)] == [
        {"name_%d" % number: number, "peak": 5} for number in (97, 98, 99)
    ]
