"""The file that keeps a hub's events, and the log on top of it."""

import asyncio
import os
import sqlite3
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from snyper.history.database import JournalError
from snyper.history.reader import History
from snyper.history.schema import LEAP
from snyper.hub import journal as module, journal_files, journal_reader, journaled_events
from snyper.hub.journal import Journal
from snyper.hub.journal_backlog import Backlog, Row
from snyper.hub.journal_reader import JournalReader
from snyper.hub.journal_tables import lock
from snyper.hub.journaled_events import JournaledEvents
from snyper.shared.clock import now_us
from snyper.shared.socket_protocol import ErrorCode, ProtocolError

DEADLINE_S = 15.0
DAY_MS = 86_400_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "journal.sqlite3"


@contextmanager
def opened(path: Path, **options: Any) -> Iterator[Journal]:
    journal = Journal(path, **options)
    try:
        yield journal
    finally:
        journal.close()


def rows(path: Path, columns: str = "seq, event, target_id, data") -> list[tuple[Any, ...]]:
    db = sqlite3.connect(path)
    try:
        return db.execute(f"SELECT {columns} FROM events ORDER BY log, seq").fetchall()
    finally:
        db.close()


def until(condition: Callable[[], object]) -> None:
    """Waits for what a thread does."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < DEADLINE_S
        time.sleep(0.002)


class Disk:
    """Stands between a journal and SQLite: full while it `fails`, and silent while it is not `is_open`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = False
        self.is_open = threading.Event()
        self.is_open.set()
        self.writes = 0
        write = Journal._write

        def through_this(journal: Journal, db: sqlite3.Connection, batch: list[Any]) -> None:
            self.writes += 1
            self.is_open.wait(DEADLINE_S)
            if self.fails:
                db.execute("PRAGMA max_page_count = 1")  # SQLite makes it as many as there are
                db.execute("CREATE TABLE filler AS SELECT zeroblob(1000000)")
            write(journal, db, batch)

        monkeypatch.setattr(Journal, "_write", through_this)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    monkeypatch.setattr(module, "_RETRY_S", 0.01)
    disk = Disk(monkeypatch)
    yield disk
    disk.fails = False
    disk.is_open.set()


# --- the file


def test_what_is_recorded_is_there(path: Path) -> None:
    written: list[int] = []
    with opened(path, on_written=written.append) as journal:
        assert (journal.seq, journal.oldest_seq, journal.state) == (0, 1, "ok")
        journal.record(journal.log_id, 1, "hit", "t_1", {"peak": 5, "name": "Åse"}, 1_000, "its key")
        journal.record(journal.log_id, 2, "game_over", "", {"players": ["A"], "results": {}}, 2_000)
        assert journal.flush(DEADLINE_S)
        until(lambda: written[-1:] == [2])
        assert journal.last_seq(journal.log_id) == 2
    assert rows(path, "seq, unix_ms, event, target_id, data, report") == [
        (1, 1_000, "hit", "t_1", '{"peak":5,"name":"Åse"}', "its key"),
        (2, 2_000, "game_over", "", '{"players":["A"],"results":{}}', None),
    ]


def test_half_a_character_in_a_name_stops_nothing(path: Path) -> None:
    """JSON can say it, SQLite makes text of it that is no UTF-8."""
    half = b"\xed\xa0\x80".decode("utf-8", "surrogatepass")
    game = {"game_id": "g", "game": "quick", "players": [half, "Ann"]}
    with opened(path) as journal:
        journal.record(journal.log_id, 1, "game_started", "", game)
        journal.record(journal.log_id, 2, "hit", "t", {})
        assert journal.flush(DEADLINE_S)
        assert journal.state == "ok"
    with History(path) as history:
        assert history.count_games() == 1
        assert "Ann" in history.names()


def test_the_count_goes_on(path: Path) -> None:
    with opened(path) as journal:
        log_id = journal.log_id
        journal.record(log_id, 1, "hit", "t", {})
    with opened(path) as journal:
        assert (journal.log_id, journal.seq, journal.oldest_seq) == (log_id, 1, 1)


def test_after_a_disorderly_end_the_count_leaps(path: Path) -> None:
    """What was shown while the disk failed must not share its number with anything later."""
    journal = Journal(path)
    log_id = journal.log_id
    journal.record(log_id, 1, "hit", "t", {})
    assert journal.flush(DEADLINE_S)
    copy = path.with_name("copy.sqlite3")  # as `kill -9` leaves it
    for suffix in ("", "-wal"):
        copy.with_name(copy.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())
    journal.close()
    with opened(copy) as after:
        assert (after.log_id, after.seq, after.oldest_seq) == (log_id, LEAP, 1)
        after.record(log_id, LEAP + 1, "hit", "t", {})
    with opened(copy) as in_order:
        assert in_order.seq == LEAP + 1
    assert [row[0] for row in rows(copy)] == [1, LEAP + 1]


def test_no_number_is_used_that_was_not_reserved(path: Path) -> None:
    with opened(path) as journal:
        for seq in (1, LEAP - 1, LEAP, 2 * LEAP):
            journal.record(journal.log_id, seq, "hit", "t", {})
            assert journal.flush(DEADLINE_S)
            db = sqlite3.connect(path)
            [reserved] = db.execute("SELECT reserved_seq FROM logs WHERE id = 1").fetchone()
            db.close()
            assert reserved > seq


def test_a_journal_of_two_names_is_refused(path: Path) -> None:
    with opened(path):
        pass
    other = path.with_name("other.sqlite3")
    other.hardlink_to(path)
    for name in (path, other):
        with pytest.raises(JournalError, match="has 2 names"):
            Journal(name)
    other.unlink()
    with opened(path):
        pass


@pytest.mark.parametrize("number", [2**63 - 1, 2**53])
@pytest.mark.parametrize("change", ["UPDATE logs SET reserved_seq = ?", "UPDATE events SET seq = ?"])
def test_a_count_that_no_log_reaches_is_refused(path: Path, change: str, number: int) -> None:
    with opened(path) as journal:
        journal.record(journal.log_id, 1, "hit", "t", {})
    with sqlite3.connect(path) as db:
        db.execute("UPDATE logs SET reserved_seq = 0")
        db.execute(change, (number,))
    db.close()
    with pytest.raises(JournalError, match="move it away"):
        Journal(path)


def test_a_report_is_there_once(path: Path) -> None:
    with opened(path) as journal:
        journal.record(journal.log_id, 1, "hit", "t", {"peak": 1}, report_key="k")
        journal.record(journal.log_id, 2, "hit", "t", {"peak": 1}, report_key="k")
        journal.record(journal.log_id, 3, "hit", "t", {"peak": 2}, report_key="other")
    assert [row[0] for row in rows(path)] == [1, 3]


def test_an_archive_of_several_logs(path: Path) -> None:
    with opened(path) as archive:
        assert archive.latest_log() is None
        for log_id, seq in (("a", 5), ("b", 5), ("a", 6), ("a", 6)):
            archive.record(log_id, seq, "hit", "t", {"from": log_id})
        assert (archive.last_seq("a"), archive.last_seq("b"), archive.last_seq("c")) == (6, 5, 0)
        assert archive.latest_log() == ("a", 6)
    with opened(path) as archive:
        assert (archive.last_seq("a"), archive.last_seq("b")) == (6, 5)
        latest = archive.latest_log()
        assert latest is not None
        assert latest[1] == archive.last_seq(latest[0])
    assert sorted(rows(path, "seq, data")) == [(5, '{"from":"a"}'), (5, '{"from":"b"}'), (6, '{"from":"a"}')]


def test_old_events_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PRUNE_ROWS", 7)
    now_ms = time.time_ns() // 1_000_000
    with opened(path, keep_days=10_000) as journal:
        for seq in range(1, 41):
            journal.record(journal.log_id, seq, "hit", "t", {}, now_ms - (41 - seq) * DAY_MS)
    with opened(path, keep_days=10) as journal:
        until(lambda: journal.oldest_seq == 31)  # the last of three days might be a leap of the clock
        assert journal.seq == 40
    assert [row[0] for row in rows(path)] == list(range(31, 41))


def spoken(monkeypatch: pytest.MonkeyPatch, unix_ms: int) -> None:
    """From now on this is the time of day."""
    began_s = time.monotonic()
    monkeypatch.setattr(
        time, "time_ns", lambda: unix_ms * 1_000_000 + int((time.monotonic() - began_s) * 1e9)
    )


def pruned(path: Path, keep_days: int = 10) -> list[int]:
    """What is left after a start of a hub."""
    with opened(path, keep_days=keep_days) as journal:
        until(lambda: journal._prune_at_s > 0)
    return [row[0] for row in rows(path)]


def test_a_wrong_clock_throws_nothing_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_ms = time.time_ns() // 1_000_000
    with opened(path) as journal:
        for days_ago in (3, 2, 1):
            seq = journal.last_seq(journal.log_id) + 1
            journal.record(journal.log_id, seq, "hit", "t", {}, now_ms - days_ago * DAY_MS)
    for wrong_ms in (now_ms + 365 * DAY_MS, 0, now_ms + 20 * DAY_MS, now_ms - 365 * DAY_MS):
        spoken(monkeypatch, wrong_ms)
        assert pruned(path) == [1, 2, 3]
    with opened(path) as journal:  # a year back, and so is what comes now
        journal.record(journal.log_id, 4, "hit", "t", {})
    spoken(monkeypatch, now_ms)
    assert pruned(path) == [1, 2, 3, 4]
    with opened(path) as journal:
        journal.record(journal.log_id, 5, "hit", "t", {})
    spoken(monkeypatch, now_ms + 9 * DAY_MS)
    with opened(path) as journal:
        journal.record(journal.log_id, 6, "hit", "t", {})
    spoken(monkeypatch, now_ms + 11 * DAY_MS)
    assert pruned(path) == [1, 2, 3, 4, 5, 6]
    spoken(monkeypatch, now_ms + 13 * DAY_MS)
    assert pruned(path) == [6]


def test_a_clock_that_has_leapt_is_said_and_believed_once_it_runs_on(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One start with a clock 400 days ahead, and another, emptied the journal."""
    now_ms = time.time_ns() // 1_000_000
    with opened(path) as journal:
        for seq in range(1, 203):
            journal.record(journal.log_id, seq, "hit", "t", {}, now_ms - (203 - seq) * 60_000)
    for seq, days in enumerate((400, 400, 401, 406), 203):
        spoken(monkeypatch, now_ms + days * DAY_MS)
        caplog.clear()
        with opened(path) as journal:
            journal.record(journal.log_id, seq, "state", "t", {})
            until(lambda: journal._prune_at_s > 0)
        assert len(rows(path)) == seq
        assert "by the clock, which has leapt" in caplog.text
    caplog.clear()
    spoken(monkeypatch, now_ms)
    assert len(pruned(path, 365)) == 206
    assert "the clock is behind the last event" in caplog.text
    caplog.clear()
    spoken(monkeypatch, now_ms + 409 * DAY_MS)
    assert pruned(path, 365) == [203, 204, 205, 206]
    assert "leapt" not in caplog.text


def test_a_clock_that_leaps_again_proves_nothing_of_its_first_leap(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = time.time_ns() // 1_000_000
    with opened(path) as journal:
        for seq in range(1, 41):
            journal.record(journal.log_id, seq, "hit", "t", {}, now_ms - (41 - seq) * DAY_MS)
    for seq, days in enumerate((-400, 400, 4_000, 800, 30_000), 41):
        spoken(monkeypatch, now_ms + days * DAY_MS)
        with opened(path) as journal:
            journal.record(journal.log_id, seq, "state", "t", {})
            until(lambda: journal._prune_at_s > 0)
    assert len(rows(path)) == 45


def test_a_clock_that_leaps_while_a_hub_runs_takes_nothing_along(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = time.time_ns() // 1_000_000
    with opened(path) as journal:
        journal.record(journal.log_id, 1, "hit", "t", {})
        assert journal.flush(DEADLINE_S)
        spoken(monkeypatch, now_ms + 400 * DAY_MS)
        journal.record(journal.log_id, 2, "hit", "t", {})
        assert journal.flush(DEADLINE_S)
        spoken(monkeypatch, now_ms)
        journal.record(journal.log_id, 3, "hit", "t", {})
        assert journal.flush(DEADLINE_S)
    for (unix_ms,) in rows(path, "unix_ms"):
        assert abs(unix_ms - now_ms) < DEADLINE_S * 1000


def test_what_a_clock_wrote_that_was_never_set_goes_with_what_follows(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = time.time_ns() // 1_000_000
    with opened(path, keep_days=10_000) as journal:
        days_ago = (30, None, 29, None, 3, None, 2)
        for seq, days in enumerate(days_ago, 1):
            unix_ms = seq if days is None else now_ms - days * DAY_MS
            journal.record(journal.log_id, seq, "hit", "t", {}, unix_ms)
    assert pruned(path) == [4, 5, 6, 7]


def test_a_journal_belongs_to_one(path: Path) -> None:
    with opened(path), pytest.raises(JournalError, match="another process writes"):
        Journal(path)
    with opened(path):
        pass


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"This is a letter to my aunt, and it is long enough." * 100, "no journal"),
        (b"SQLite format 3\x00" + bytes(5_000), "no journal"),
    ],
)
def test_a_file_that_is_none(path: Path, content: bytes, said: str) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(JournalError, match=said):
        Journal(path)
    assert path.read_bytes() == content
    path.unlink()
    with opened(path):  # nothing is held any more
        pass


def test_a_broken_file(path: Path) -> None:
    with opened(path) as journal:
        for seq in range(1, 400):
            journal.record(journal.log_id, seq, "hit", "t", {"peak": seq})
    content = bytearray(path.read_bytes())
    content[8_192:] = b"\xff" * (len(content) - 8_192)
    path.write_bytes(content)
    with pytest.raises(JournalError, match="broken"):
        Journal(path)


@pytest.mark.parametrize(
    ("sql", "said"),
    [("CREATE TABLE recipes (a)", "something else"), ("PRAGMA user_version = 99", "newer snyper")],
)
def test_a_database_of_others(path: Path, sql: str, said: str) -> None:
    path.parent.mkdir()
    db = sqlite3.connect(path)
    db.execute(sql)
    db.close()
    with pytest.raises(JournalError, match=said):
        Journal(path)


def test_no_place_for_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="no directory"):
        Journal(tmp_path / "file" / "journal.sqlite3")
    with pytest.raises(JournalError, match="cannot be"):
        Journal(tmp_path)


# --- a disk that fails


def test_a_full_disk_and_space_again(path: Path, disk: Disk) -> None:
    states: list[tuple[str, str, int]] = []
    with opened(path, on_state=lambda *state: states.append(state)) as journal:
        disk.fails = True
        for seq in range(1, 4):
            journal.record(journal.log_id, seq, "hit", "t", {})
        until(lambda: journal.state == "failing")
        assert not journal.flush(0.05)
        assert states[0][0] == "failing"
        assert "the disk is full: free some space" in states[0][1]
        assert rows(path) == []
        disk.fails = False
        assert journal.flush(DEADLINE_S)
        until(lambda: len(states) == 2)
        assert states[1] == ("ok", "the journal is written again", 0)
    assert [row[0] for row in rows(path)] == [1, 2, 3]


def test_what_is_too_much_is_counted(
    path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_BACKLOG", 5)
    states: list[tuple[str, str, int]] = []
    with opened(path, on_state=lambda *state: states.append(state)) as journal:
        disk.fails = True
        journal.record(journal.log_id, 1, "hit", "t", {})
        until(lambda: journal.state == "failing")
        for seq in range(2, 12):
            journal.record(journal.log_id, seq, "hit", "t", {})
        until(lambda: journal.dropped == 6)
        disk.fails = False
        assert journal.flush(DEADLINE_S)
        until(lambda: len(states) == 2)
        assert states[1] == ("ok", "the journal is written again; 6 events are not in it", 6)
    assert [row[0] for row in rows(path)] == list(range(7, 12))
    assert "The range goes on" in caplog.text
    assert "6 events are not in it" in caplog.text


def row_of(seq: int, report: str | None = None) -> Row:
    return Row("log", seq, 0, None, "event", "", "{}", report)


def test_a_row_that_somebody_waits_for_gives_no_way() -> None:
    backlog = Backlog(3)
    for seq in range(1, 6):
        backlog.add(row_of(seq, "" if seq in (1, 3) else None))
    assert (len(backlog), backlog.dropped, backlog.is_full) == (3, 2, True)
    taken = backlog.take(2)
    assert [row.seq for row in taken] == [1, 3]
    for seq in (6, 7, 8):
        backlog.add(row_of(seq, "key"))
    backlog.give_back(taken)
    assert backlog.is_full_of_reports
    assert (len(backlog), backlog.dropped) == (5, 3)
    backlog.add(row_of(9))
    assert [row.seq for row in backlog.take(9)] == [1, 3, 6, 7, 8]
    assert (len(backlog), backlog.dropped, backlog.is_full_of_reports) == (0, 4, False)


async def test_a_slow_disk_is_failing_before_anything_is_dropped(
    path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hit, and then more than the disk takes: it was acknowledged, and in no file."""
    monkeypatch.setattr(module, "MAX_BACKLOG", 1_000)
    async with log_at(path) as log:
        disk.is_open.clear()
        log.add("state", "t", {})
        await asyncio.to_thread(until, lambda: disk.writes == 1)
        log.add("hit", "t", {"peak": 7}, "")
        waiting = asyncio.create_task(is_refused(log))
        await asyncio.sleep(0)
        dropped_at = 0
        for number in range(2_000):
            log.add("state", "t", {"state": str(number)})
            if log._journal.dropped and not dropped_at:
                dropped_at = number
                assert log.journal == "failing"
        assert dropped_at > 900
        assert await waiting
        assert await is_refused(log)
        disk.is_open.set()
        await asyncio.to_thread(until, lambda: log.journal == "ok")
        await flushed(log)
    kept = [row[1] for row in rows(path)]
    assert kept.count("hit") == 1
    assert kept[-1] == "journal"
    assert 1_000 <= len(kept) < 1_020


async def test_reports_that_no_disk_takes_are_refused_in_the_end(
    path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BACKLOG", 20)
    async with log_at(path) as log:
        disk.fails = True
        for taken in range(20):
            assert not await log.is_known(f"key {taken}")
            log.add("hit", "t", {"peak": taken}, f"key {taken}")
        await asyncio.to_thread(until, lambda: log._journal.is_full)
        with pytest.raises(ProtocolError, match="fault"):
            await log.is_known("key 20")
        disk.fails = False
        await asyncio.to_thread(until, lambda: log.journal == "ok")
    assert sum(row[1] == "hit" for row in rows(path)) == 20


def test_what_a_failing_disk_does_not_take_at_the_end_is_said(
    path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(path)
    disk.fails = True
    journal.record(journal.log_id, 1, "hit", "t", {})
    until(lambda: journal.state == "failing")
    journal.close()
    assert "lacks the last 1 events" in caplog.text


def test_what_comes_after_the_end_is_said(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(path)
    journal.close()
    journal.record(journal.log_id, 1, "hit", "t_1", {})
    journal.close()
    assert "lacks `hit` of t_1" in caplog.text


def files_at(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]


def _remove_log(path: Path) -> None:
    for file in files_at(path)[1:]:
        file.unlink()


def _replace_log(path: Path) -> None:
    _remove_log(path)
    for file in files_at(path)[1:]:
        file.touch()


def _move(path: Path) -> None:
    path.rename(path.with_name("moved.sqlite3"))


def _touch(path: Path) -> None:
    os.utime(path, (1, 1))


@pytest.mark.parametrize("exchange", [_remove_log, _replace_log, _move, _touch])
def test_nothing_is_lost_of_a_journal_that_is_another(
    exchange: Callable[[Path], None], path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written is in a file that somebody finds, though the process that wrote it is killed."""
    monkeypatch.setattr(module, "_CHECK_S", 0.01)
    states: list[tuple[str, str, int]] = []
    journal = Journal(path, on_state=lambda *state: states.append(state))
    for seq in range(1, 41):
        journal.record(journal.log_id, seq, "hit", "t", {}, report_key=f"key {seq}")
    assert journal.flush(DEADLINE_S)
    exchange(path)
    until(lambda: [state[0] for state in states] == ["failing", "ok"])  # without anything to write
    assert "it is opened anew" in states[0][1] or "begun in its place" in states[0][1]
    journal.record(journal.log_id, 41, "hit", "t", {}, report_key="key 41")
    assert journal.flush(DEADLINE_S)
    found: set[int] = set()
    for number, one in enumerate([path, *path.parent.glob("moved.sqlite3")]):
        copy = path.with_name(f"copy_{number}.sqlite3")  # as `kill -9` leaves it
        for file in files_at(one):
            if file.exists():
                copy.with_name(file.name.replace(one.name, copy.name)).write_bytes(file.read_bytes())
        found.update(row[0] for row in rows(copy))
    journal.close()
    assert found == set(range(1, 42))


@pytest.mark.parametrize("when", ["before", "after"])
async def test_no_report_is_acknowledged_that_only_a_removed_file_has(
    when: str, path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHECK_S", 60.0)
    async with log_at(path) as log:
        log.add("hit", "t", {"peak": 1}, "key 1")
        await flushed(log)
        if when == "before":
            _remove_log(path)
        else:
            check = journal_files.check_files

            def too_late(path: Path, known: Any, was_written: bool = False) -> Any:
                if was_written:
                    monkeypatch.setattr(module, "check_files", check)
                    _remove_log(path)
                return check(path, known, was_written)

            monkeypatch.setattr(module, "check_files", too_late)
        log.add("hit", "t", {"peak": 2}, "key 2")
        assert await is_refused(log)
        assert not await log.is_known("another")  # it reads the file that is there now, not the removed one
        await asyncio.to_thread(until, lambda: log.journal == "ok")
        await flushed(log)
        assert await log.is_known("key 2")
        assert [event[1] for event in await log.page(0)] == ["hit", "hit", "journal", "journal"]
    assert [row[1] for row in rows(path)] == ["hit", "hit", "journal", "journal"]


def test_a_start_that_brings_the_log_into_the_file_is_no_exchange(path: Path) -> None:
    """A hub that was killed leaves a -wal that the first transaction of the next one finds long enough."""
    states: list[tuple[str, str, int]] = []
    with opened(path):
        pass
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("CREATE TABLE filler AS SELECT zeroblob(5000000)")  # 1,220 pages; SQLite waits for 1,000
    copy = path.with_name("copy.sqlite3")  # as `kill -9` leaves it
    for file in files_at(path):
        copy.with_name(file.name.replace(path.name, copy.name)).write_bytes(file.read_bytes())
    db.close()
    before = copy.stat().st_size
    with opened(copy, on_state=lambda *state: states.append(state)) as journal:
        assert copy.stat().st_size > before + 4_000_000, "the start should bring the log into the file"
        journal.record(journal.log_id, journal.seq + 1, "hit", "t", {}, report_key="key")
        assert journal.flush(DEADLINE_S)
    assert states == []


def test_a_journal_that_is_cut_short_is_failing(path: Path, disk: Disk) -> None:
    states: list[tuple[str, str, int]] = []
    with opened(path, on_state=lambda *state: states.append(state)) as journal:
        journal.record(journal.log_id, 1, "hit", "t", {})
        assert journal.flush(DEADLINE_S)
        os.truncate(path, 5_000)
        journal.record(journal.log_id, 2, "hit", "t", {}, report_key="key")
        until(lambda: states)
        assert not journal.flush(0.05)
        path.unlink()  # as the message says: move it away
        assert journal.flush(DEADLINE_S)
    assert "somebody else has written to it" in states[0][1]
    assert [row[0] for row in rows(path)] == [2]


def test_another_journal_in_its_place_is_not_written(path: Path, disk: Disk) -> None:
    other = path.with_name("other.sqlite3")
    with opened(other) as journal:
        journal.record(journal.log_id, 1, "miss", "t", {})
    with opened(path) as journal:
        journal.record(journal.log_id, 1, "hit", "t", {})
        assert journal.flush(DEADLINE_S)
        _move(path)
        other.rename(path)
        journal.record(journal.log_id, 2, "hit", "t", {}, report_key="key")
        until(lambda: journal.state == "failing")
        assert not journal.flush(0.05)
        path.rename(other)
        path.with_name("moved.sqlite3").rename(path)
        assert journal.flush(DEADLINE_S)
    assert [row[:2] for row in rows(path)] == [(1, "hit"), (2, "hit")]
    assert [row[:2] for row in rows(other)] == [(1, "miss")]


def _cut_log(log: Path) -> None:
    os.truncate(log, 0)


def _overwrite_log(log: Path) -> None:
    with log.open("r+b") as file:
        file.seek(40)
        file.write(b"\xff" * (log.stat().st_size - 80))


@pytest.mark.parametrize("harm", [_cut_log, _overwrite_log])
def test_a_log_that_others_write_is_failing_and_harms_nothing_older(
    harm: Callable[[Path], None], path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the -wal had is gone with it, and no report is acknowledged that it would have had since."""
    monkeypatch.setattr(module, "_CHECK_S", 60.0)
    states: list[tuple[str, str, int]] = []
    with opened(path) as journal:
        for seq in range(1, 201):
            journal.record(journal.log_id, seq, "hit", "t", {"peak": seq})
    with opened(path, on_state=lambda *state: states.append(state)) as journal:
        journal.record(journal.log_id, 301, "hit", "t", {}, report_key="key 301")
        assert journal.flush(DEADLINE_S)
        harm(files_at(path)[1])
        journal.record(journal.log_id, 302, "hit", "t", {}, report_key="key 302")
        assert journal.flush(DEADLINE_S)
        db = sqlite3.connect(path)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()
    assert [state[0] for state in states] == ["failing", "ok"]
    assert "somebody else has written to it" in states[0][1]
    assert [row[0] for row in rows(path)] == [*range(1, 201), 302]


def test_a_journal_whose_lock_is_gone_belongs_to_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its directory, or alone: whoever opens it next has it, and the other waits."""
    refused: list[JournalError] = []

    def noted(path: Path) -> sqlite3.Connection:
        try:
            return lock(path)
        except JournalError as error:
            refused.append(error)
            raise

    monkeypatch.setattr(module, "_RETRY_S", 0.01)
    monkeypatch.setattr(module, "lock", noted)
    held = path.with_name(path.name + "-lock")
    with opened(path) as journal:
        for file in (*files_at(path), held):
            file.unlink()
        journal.record(journal.log_id, 1, "hit", "t", {})
        assert journal.flush(DEADLINE_S)
        with pytest.raises(JournalError, match="another process writes"):
            Journal(path)
        held.unlink()
        with opened(path) as other:
            other.record(other.log_id, 1_000_001, "hit", "t", {})
            assert other.flush(DEADLINE_S)
            refused.clear()
            journal.record(journal.log_id, 2, "hit", "t", {})
            until(lambda: refused)
            assert journal.state == "failing"
        assert journal.flush(DEADLINE_S)  # once it is nobody's
    assert [seq for (seq,) in rows(path, "seq")] == [1, 2, 1_000_001]


@pytest.mark.skipif(os.name == "nt", reason="links want rights there")
def test_a_link_to_a_journal_is_that_journal(path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHECK_S", 0.01)
    states: list[str] = []
    link, folder = path.with_name("link.sqlite3"), path.parent / "real"
    folder.mkdir(parents=True)
    real = folder / path.name
    link.symlink_to(real)
    with opened(link, on_state=lambda state, *_: states.append(state)) as journal:
        assert stat.S_IMODE(real.stat().st_mode) == 0o600
        with pytest.raises(JournalError, match="another process writes"):
            Journal(real)
        journal.record(journal.log_id, 1, "hit", "t", {}, report_key="key 1")
        assert journal.flush(DEADLINE_S)
        _remove_log(real)
        until(lambda: states == ["failing", "ok"])
    assert [row[0] for row in rows(real)] == [1]


@pytest.mark.skipif(os.name == "nt", reason="permissions are others there")
def test_nobody_else_may_read_it(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = os.umask(0)
    try:
        with opened(path) as journal:
            journal.record(journal.log_id, 1, "hit", "t", {})
            assert journal.flush(DEADLINE_S)
            assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
        assert "could be read" not in caplog.text
        path.chmod(0o644)
        with opened(path):
            assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    finally:
        os.umask(before)
    assert f"{path} could be read by others" in caplog.text


def test_a_file_that_is_removed_is_begun_again(path: Path, disk: Disk) -> None:
    states: list[tuple[str, str, int]] = []
    with opened(path, on_state=lambda *state: states.append(state)) as journal:
        log_id = journal.log_id
        journal.record(log_id, 1, "hit", "t", {})
        assert journal.flush(DEADLINE_S)
        for file in path.parent.glob("journal.sqlite3*"):
            if not file.name.endswith("-lock"):
                file.unlink()
        journal.record(log_id, 2, "hit", "t", {})
        until(lambda: [state[0] for state in states] == ["failing", "ok"])
        assert "moved or removed" in states[0][1]
    assert [row[0] for row in rows(path)] == [2]
    with opened(path) as again:
        assert (again.log_id, again.seq) == (log_id, 2)


def test_events_that_come_together_share_a_commit(path: Path, disk: Disk) -> None:
    with opened(path) as journal:
        disk.is_open.clear()
        journal.record(journal.log_id, 1, "hit", "t", {})
        until(lambda: disk.writes == 1)
        for seq in range(2, 400):
            journal.record(journal.log_id, seq, "hit", "t", {})
        disk.is_open.set()
        assert journal.flush(DEADLINE_S)
        assert disk.writes == 2
    assert len(rows(path)) == 399


# --- the hub's log on top of it


@asynccontextmanager
async def log_at(path: Path, size: int = 10) -> AsyncIterator[JournaledEvents]:
    log = JournaledEvents(size, path)
    try:
        yield log
    finally:
        await log.close()


async def flushed(log: JournaledEvents) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await log.flush()


async def is_refused(log: JournaledEvents) -> bool:
    """Whether a target is told that its report is on no disk."""
    try:
        await flushed(log)
    except ProtocolError as error:
        return error.code == ErrorCode.FAULT
    return False


async def everything(log: JournaledEvents, after: int) -> list[int]:
    """The numbers of the events that a console gets that has `after`."""
    found = [after]
    while found[-1] < log.seq:
        found.extend(event[0] for event in await log.page(found[-1]))
    return found[1:]


async def test_an_event_is_shown_when_it_is_on_the_disk(path: Path, disk: Disk) -> None:
    async with log_at(path) as log:
        assert log.journal == "ok"
        disk.is_open.clear()
        log.add("hit", "t", {"peak": 5}, "key")
        flushing = asyncio.create_task(flushed(log))
        page = asyncio.create_task(log.page(0))
        await asyncio.to_thread(until, lambda: disk.writes == 1)
        assert log.seq == 0
        assert not page.done()
        assert not flushing.done()
        disk.is_open.set()
        await flushing
        assert log.seq == 1
        assert list(await page) == [(1, "hit", "t", {"peak": 5})]
        assert rows(path) == [(1, "hit", "t", '{"peak":5}')]


async def test_a_listener_does_not_wait_for_the_disk(path: Path, disk: Disk) -> None:
    async with log_at(path) as log:
        told: list[object] = []
        stop = log.listen(lambda *event: told.append(event))
        disk.is_open.clear()
        log.add("hit", "t", {"peak": 5}, "key")
        assert told == [(1, "hit", "t", {"peak": 5})]
        assert log.seq == 0
        stop()
        log.add("lost", "t", {})
        disk.is_open.set()
        await flushed(log)
        assert len(told) == 1


async def test_a_console_gets_what_memory_no_longer_has(path: Path) -> None:
    async with log_at(path, size=10) as log:
        for number in range(450):
            log.add("hit", "t", {"peak": number})
        await flushed(log)
        assert log.oldest_seq == 1
        assert await everything(log, 0) == list(range(1, 451))
        assert await everything(log, 17) == list(range(18, 451))
        assert await everything(log, 445) == list(range(446, 451))
        assert await everything(log, 450) == []
        page = list(await log.page(0))
        assert len(page) < 450  # never the whole file at once
        assert page[4] == (5, "hit", "t", {"peak": 4})
    async with log_at(path) as log:  # a hub that has just started has nothing in memory
        assert (log.seq, log.oldest_seq) == (450, 1)
        assert await everything(log, 300) == list(range(301, 451))
        log.add("hit", "t", {})
        await flushed(log)
        assert await everything(log, 449) == [450, 451]


async def test_a_report_is_known_after_a_restart(path: Path) -> None:
    async with log_at(path) as log:
        assert not await log.is_known("key")
        log.add("hit", "t", {}, "key")
        await flushed(log)
    async with log_at(path) as log:
        assert await log.is_known("key")
        assert not await log.is_known("another")
    # After an orderly end the file is whole without the others.
    assert {file.name for file in path.parent.iterdir()} == {"journal.sqlite3", "journal.sqlite3-lock"}


async def test_while_the_disk_fails_the_range_goes_on(path: Path, disk: Disk) -> None:
    async with log_at(path) as log:
        disk.fails = True
        log.add("hit", "t", {"peak": 1})
        assert await is_refused(log)  # not on the disk, and said to be so
        assert log.journal == "failing"
        log.add("hit", "t", {"peak": 2})
        assert await is_refused(log)
        shown = list(await log.page(0))
        assert [event[:2] for event in shown] == [(1, "hit"), (2, "journal"), (3, "hit")]
        assert shown[1][3]["state"] == "failing"
        assert "the disk is full" in shown[1][3]["message"]
        assert rows(path) == []
        disk.fails = False
        await asyncio.to_thread(until, lambda: log.seq == 4)
        assert log.journal == "ok"
        assert list(await log.page(3)) == [
            (4, "journal", "", {"state": "ok", "message": "the journal is written again"})
        ]
    assert [row[:2] for row in rows(path)] == [(1, "hit"), (2, "journal"), (3, "hit"), (4, "journal")]


async def test_a_broken_journal_is_not_said_for_each_report(
    path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    async with log_at(path) as log:
        log.add("hit", "t", {}, "key 1")
        await flushed(log)
        os.truncate(path, 100)
        log.add("hit", "t", {}, "key 2")
        assert await is_refused(log)
        caplog.clear()
        for number in range(20):
            assert not await log.is_known(f"key {number + 3}")
        assert "cannot be read" not in caplog.text


async def test_a_disk_that_does_not_answer_is_not_waited_for(
    path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journaled_events, "STUCK_S", 0.05)
    async with log_at(path) as log:
        disk.is_open.clear()
        log.add("hit", "t", {})
        assert await is_refused(log)
        assert log.journal == "failing"
        assert [event[1] for event in await log.page(0)] == ["hit", "journal"]
        assert not await log.is_known("key")  # without asking
        monkeypatch.setattr(
            journaled_events, "STUCK_S", DEADLINE_S
        )  # which a busy disk may not keep otherwise
        disk.is_open.set()
        await asyncio.to_thread(until, lambda: log.journal == "ok")
        await flushed(log)
    assert [row[:2] for row in rows(path)] == [(1, "hit"), (2, "journal"), (3, "journal")]


async def test_the_wall_clock_of_a_report_is_when_it_was_detected(path: Path) -> None:
    async with log_at(path) as log:
        log.add("hit", "t", {"at_us": now_us() - 90_000_000})
        log.add("lost", "t", {})
        log.add("hit", "t", {"at_us": now_us() + 90_000_000})  # no clock is so wrong
        await flushed(log)
    detected, lost, wrong = (row[0] for row in rows(path, "unix_ms"))
    assert 89_000 < lost - detected < 91_000 + DEADLINE_S * 1000
    assert abs(wrong - lost) < DEADLINE_S * 1000


async def test_who_waits_for_old_events_keeps_no_report_waiting(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with log_at(path) as log:
        for number in range(30):
            log.add("hit", "t", {"peak": number}, f"key {number}")
        await flushed(log)
        go = threading.Event()
        read = JournalReader._page
        monkeypatch.setattr(
            JournalReader, "_page", lambda reader, after: go.wait(DEADLINE_S) and read(reader, after)
        )
        reading = [asyncio.create_task(everything(log, 0)) for _ in range(50)]
        assert await log.is_known("key 3")
        log.add("hit", "t", {"peak": 30}, "key 30")
        await flushed(log)
        go.set()
        for one in reading:
            assert (await one)[:30] == list(range(1, 31))


async def test_a_disk_that_does_not_answer_is_asked_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_reader, "_TIMEOUT_S", 0.05)
    with opened(path):
        reader = JournalReader(path)
        go = threading.Event()
        monkeypatch.setattr(JournalReader, "_page", lambda reader, after: go.wait(DEADLINE_S) and [])
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await reader.page(0)
        assert reader._thread._work_queue.qsize() == 0
        go.set()
        while True:
            with suppress(TimeoutError):
                assert await reader.page(0) == []
                break
        await reader.close()
