"""Retention: the oldest goes, never what is used."""

import asyncio
import gc
import os
import time
from collections import deque
from pathlib import Path

import numpy
import pytest

from snyper.recordings import open_recording, session
from snyper.recordings.retention import recordings_in, remove_old
from snyper.recordings.writer import RecordingWriter
from snyper.shared.runtime import end_task
from snyper.streams import StreamSpec
from snyper.system import steady
from tests.integration.harness import until


def record(folder: Path, first_s: int, segments: int = 5) -> RecordingWriter:
    """Record segments of 100 samples, written 10 s one after the other, of which the last is open."""
    writer = RecordingWriter(folder, "lab1", "signal", segment_bytes=500)
    writer.begin("e", StreamSpec("<f8", (), 100))
    for number in range(segments):
        writer.write_block(number * 100, numpy.ones(100), number * 1_000_000, 0, 0)
        os.utime(folder / f"{number + 1:06}.seg", (first_s + number * 10,) * 2)
    return writer


def segments(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.seg"))


def size_of(place: Path) -> int:
    return sum(path.stat().st_size for name in ("*.seg", "*.idx") for path in place.glob(f"*/{name}"))


def finished(folder: Path, first_s: int, count: int = 5) -> None:
    record(folder, first_s, count).close()
    for number in range(count):
        os.utime(folder / f"{number + 1:06}.seg", (first_s + number * 10,) * 2)


def test_what_is_older_goes_and_with_its_last_segment_the_recording(tmp_path: Path) -> None:
    now = int(time.time())
    finished(tmp_path / "old", now - 1_000)
    finished(tmp_path / "newer", now - 120)
    with open_recording(tmp_path / "newer") as recording:
        assert not recording.is_shortened
    assert set(remove_old(tmp_path)) == {tmp_path / "newer", tmp_path / "old"}  # nothing was asked for
    steps = [path for path in remove_old(tmp_path, max_age_s=95) if path.suffix]
    assert steps[:5] == [tmp_path / "old" / f"{number:06}.seg" for number in range(1, 6)]
    assert recordings_in(tmp_path) == [tmp_path / "newer"]
    assert not (tmp_path / "old").exists()
    assert segments(tmp_path / "newer") == [4, 5]
    with open_recording(tmp_path / "newer") as recording:
        assert recording.epochs[0].first == 300
        assert recording.gaps == ()
        assert recording.is_shortened
        assert len(recording.read(0, 1_000)[0].samples) == 200


def test_the_oldest_goes_while_there_is_too_much(tmp_path: Path) -> None:
    finished(tmp_path / "b", 1_000)
    finished(tmp_path / "a", 1_005)
    allowed = size_of(tmp_path) * 55 // 100
    list(remove_old(tmp_path, max_bytes=allowed))
    assert size_of(tmp_path) <= allowed
    assert segments(tmp_path / "a") == [3, 4, 5]
    assert segments(tmp_path / "b") == [4, 5]
    list(remove_old(tmp_path, max_bytes=0))
    assert recordings_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_what_is_read_goes(tmp_path: Path) -> None:
    finished(tmp_path / "read", 1_000)
    finished(tmp_path / "unread", 2_000)
    with open_recording(tmp_path / "read") as recording:
        list(remove_old(tmp_path, max_age_s=1, max_bytes=0))
        assert recordings_in(tmp_path) == [tmp_path / "read"]
        (run,) = recording.read(0, 500)
        assert len(run.samples) == 500
        with open_recording(tmp_path / "read"):
            list(remove_old(tmp_path, max_bytes=0))
    list(remove_old(tmp_path, max_bytes=0))
    assert recordings_in(tmp_path) == []


def test_what_is_written_goes_but_for_its_last_segment(tmp_path: Path) -> None:
    writer = record(tmp_path / "growing", 1_000)
    list(remove_old(tmp_path, max_bytes=0))
    assert segments(tmp_path / "growing") == [5]
    writer.write_block(500, numpy.ones(100), 5_000_000, 0, 0)
    assert segments(tmp_path / "growing") == [5, 6]
    writer.close()
    with open_recording(tmp_path / "growing") as recording:
        assert [(epoch.first, epoch.end) for epoch in recording.epochs] == [(400, 600)]


def test_each_step_removes_one_segment_at_most(tmp_path: Path) -> None:
    finished(tmp_path / "a", 1_000, 20)
    before = segments(tmp_path / "a")
    for _ in remove_old(tmp_path, max_age_s=1):
        after = segments(tmp_path / "a") if (tmp_path / "a").exists() else []
        assert len(before) - len(after) <= 1
        before = after
    assert before == []


@pytest.mark.slow
def test_no_step_takes_longer_where_there_are_many(tmp_path: Path) -> None:
    for folder in (tmp_path / str(number) for number in range(100)):
        finished(folder, 1_000, 1)
        for number in range(2, 400):
            (folder / f"{number:06}.seg").touch()
            os.utime(folder / f"{number:06}.seg", (number * 10,) * 2)
    gc.collect()
    gc.disable()  # what other tests have left is not looked through meanwhile
    try:
        assert min(longest_step_s(tmp_path) for _ in range(5)) < 0.05
    finally:
        gc.enable()


def longest_step_s(folder: Path) -> float:
    """Have nothing removed, and return the seconds of the processor that the longest step takes."""
    longest_s, began_s = 0.0, time.thread_time()
    for _ in remove_old(folder, max_age_s=10**10, max_bytes=10**10):
        longest_s, began_s = max(longest_s, time.thread_time() - began_s), time.thread_time()
    return max(longest_s, time.thread_time() - began_s)


def test_what_a_recorder_that_was_killed_as_it_began_has_left_goes(tmp_path: Path) -> None:
    begun = ("writer.lock", "readers.lock", "recording.json", ".snyper-0a1b2c3d.part", "reserve")
    for name, files in (
        ("lock", begun[:1]),
        ("part", (*begun[:2], begun[3])),
        ("all", begun),
        ("new", begun),
        ("used", begun[1:]),
        ("others", (*begun, "notes.txt")),
        ("folder", ("notes.txt",)),
        ("empty", ()),
    ):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).touch()
        if name != "new":
            os.utime(tmp_path / name, (1_000, 1_000))
    (tmp_path / "used" / "recording.json").unlink()
    recorder = RecordingWriter(tmp_path / "used", "lab1", "signal")
    os.utime(tmp_path / "used", (1_000, 1_000))
    assert len(list(remove_old(tmp_path))) == 6
    deque(remove_old(tmp_path, max_bytes=10**9), 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "folder", "new", "others", "used"]
    assert [path.name for path in (tmp_path / "others").iterdir()] == ["notes.txt"]
    assert (tmp_path / "used" / "recording.json").exists()
    recorder.close()


def test_what_is_of_others_stays(tmp_path: Path) -> None:
    archive, place = tmp_path / "archive", tmp_path / "place"
    finished(archive / "a", 1_000)
    finished(place / "b", 1_000)
    finished(place / "c", 2_000)
    (place / "linked").symlink_to(archive / "a")
    (place / "b" / "notes.txt").write_text("of somebody")
    (place / "c" / "pictures").mkdir()
    deque(remove_old(place, 60), maxlen=0)
    assert len(segments(archive / "a")) == 5
    assert [path.name for path in (place / "b").iterdir()] == ["notes.txt"]
    assert [path.name for path in (place / "c").iterdir()] == ["pictures"]


def _spoil(path: Path) -> None:
    """Put something as old in its place, which cannot be removed."""
    path.unlink()
    path.mkdir()
    os.utime(path, (1_000, 1_000))


def test_what_cannot_be_removed_keeps_nothing_else_from_it(tmp_path: Path) -> None:
    finished(tmp_path / "a", 1_000)
    finished(tmp_path / "b", 2_000)
    _spoil(tmp_path / "a" / "000001.seg")
    with pytest.raises(OSError, match=r"000001\.seg"):
        deque(remove_old(tmp_path, 60), maxlen=0)
    assert recordings_in(tmp_path) == [tmp_path / "a"]


async def test_a_folder_is_kept_within_its_limits_again_though_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session, "RETENTION_S", 0.01)
    finished(tmp_path / "a", 1_000)
    finished(tmp_path / "b", int(time.time()))
    _spoil(tmp_path / "a" / "000001.seg")
    keeping = asyncio.create_task(session.keep_within(tmp_path, 60, None))
    await until(lambda: bool(caplog.messages), "it should say what fails")
    (tmp_path / "a" / "000001.seg").rmdir()
    await until(lambda: not (tmp_path / "a").exists(), "it should go on")
    await end_task(keeping)
    assert len(caplog.messages) == 1


async def test_a_leap_of_the_clock_makes_nothing_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ahead after a long run, or as after a boot without one: what was recorded since is as old as it is."""
    monkeypatch.setattr(session, "RETENTION_S", 0.01)
    ahead_s, readings, now_s, step_s = -30 * 86_400.0, 0, time.time, 600

    def wall_s() -> float:
        return now_s() + ahead_s + readings * step_s

    def steady_s() -> float:
        nonlocal readings
        readings += 1  # each time that it is looked at
        return readings * float(step_s)

    monkeypatch.setattr(time, "time", wall_s)
    monkeypatch.setattr(steady, "now_s", steady_s)
    finished(tmp_path / "before", int(wall_s()) - 86_400)
    keeping = asyncio.create_task(session.keep_within(tmp_path, 3 * 86_400, None))
    await until(lambda: readings > 2, "it should begin")
    finished(tmp_path / "since", int(wall_s()))
    ahead_s, began = 0.0, readings
    await until(lambda: readings > began + 130, "nearly a day should pass")
    assert len(recordings_in(tmp_path)) == 2
    await until(lambda: not (tmp_path / "before").exists(), "what is old should go")
    assert segments(tmp_path / "since") == [1, 2, 3, 4, 5]
    ahead_s, began = 400 * 86_400.0, readings
    finished(tmp_path / "newer", int(wall_s() - ahead_s))
    await until(lambda: readings > began + 130, "nearly a day should pass")
    assert segments(tmp_path / "newer") == [1, 2, 3, 4, 5]
    await until(lambda: recordings_in(tmp_path) == [], "it should be believed")
    await end_task(keeping)
