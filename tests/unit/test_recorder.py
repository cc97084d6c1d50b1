"""Recorders: whatever the source, the way and the disk do, each sample is stored, or is in one gap."""

import asyncio
import logging
import os
import random
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest

from snyper.recordings import Recording, open_recording, recorder as recorder_module, writer
from snyper.recordings.continuation import continuation_of, last_recording
from snyper.recordings.errors import InUse
from snyper.recordings.recorder import AWAY, LOST, NOT_KEPT, NOT_STORABLE, Recorder
from snyper.recordings.spill import Spill
from snyper.streams import Block, Mark, StreamSpec
from tests.integration.harness import until

SPEC = StreamSpec("<i8", (), 1_000)


def block_of(epoch: str, seq: int, count: int, lost: int = 0) -> Block:
    """Make a block whose samples are their numbers."""
    samples = numpy.arange(seq, seq + count, dtype="<i8")
    return Block(epoch, seq, samples, seq * 1_000, 50, seq * 1_000 - 7, (), lost, 300)


def recorder_of(folder: Path, spill: Path, **options: Any) -> Recorder:
    spill.mkdir(exist_ok=True)
    return Recorder(folder, "lab1", "signal", spill, **options)


def stored_in(recording: Recording, epoch: str) -> set[int]:
    """Return the numbers that are stored, once it is checked that each is the sample's own."""
    found: set[int] = set()
    for run in recording.read(0, 1 << 60, epoch):
        numbers = range(run.first, run.first + len(run.samples))
        assert run.samples.tolist() == list(numbers)
        assert not found.intersection(numbers)
        found.update(numbers)
    return found


def check(folder: Path, sent: dict[str, range]) -> tuple[int, int]:
    """Check that what was sent is stored or in gaps, exactly; return how many samples are which."""
    with open_recording(folder) as recording:
        gaps: dict[str, set[int]] = {epoch: set() for epoch in sent}
        for gap in recording.gaps:
            numbers = range(gap.first, gap.last + 1)
            assert gap.why in (LOST, NOT_KEPT, NOT_STORABLE)
            assert not gaps[gap.epoch].intersection(numbers)
            gaps[gap.epoch].update(numbers)
        stored = {epoch: stored_in(recording, epoch) for epoch in sent}
        for epoch, numbers in sent.items():
            assert not stored[epoch] & gaps[epoch]
            assert stored[epoch] | gaps[epoch] == set(numbers)
    return sum(map(len, stored.values())), sum(map(len, gaps.values()))


async def test_what_comes_is_stored_with_gaps_marks_and_clocks(tmp_path: Path) -> None:
    async with recorder_of(tmp_path / "r", tmp_path / "s") as recorder:
        with pytest.raises(ValueError, match="nothing is recorded"):
            recorder.mark("too early")
        await recorder.put(block_of("a", 100, 10, lost=3), SPEC)
        await recorder.put(replace(block_of("a", 112, 10, lost=2), marks=(Mark("door", 112_500),)), SPEC)
        await recorder.put(block_of("a", 115, 10), SPEC)  # again, in part
        await recorder.put(block_of("a", 110, 5), SPEC)  # again, all of it
        recorder.mark("key")
        later = replace(block_of("b", 5, 10, lost=9), at_us=200_000)  # 4 were lost of the epoch before
        await recorder.put(later, SPEC)
    assert recorder.progress.stored == 10 + 10 + 3 + 10
    assert recorder.progress.gaps == 3 + 2 + 4 + 5
    assert check(tmp_path / "r", {"a": range(97, 129), "b": range(15)}) == (33, 14)
    with open_recording(tmp_path / "r") as recording:
        assert [(gap.epoch, gap.first, gap.last) for gap in recording.gaps] == [
            *(("a", 97, 99), ("a", 110, 111), ("a", 125, 128)),
            ("b", 0, 4),
        ]
        assert {mark.name for mark in recording.marks} == {"door", "key"}
        (clock,) = recording.clocks
        assert clock.hub_us == 100_300
        assert recording.utc_us(100_300) == clock.utc_us
        (run, *_) = recording.read(122, 125, "a")
        assert run.times_us.tolist() == [122_000, 123_000, 124_000]


async def test_blocks_wait_in_memory_then_elsewhere_and_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk of the recording stands still."""
    released, is_stuck = threading.Event(), threading.Event()
    sync = writer._sync_data

    def stand_still(descriptor: int) -> None:
        is_stuck.set()
        assert released.wait(30)
        sync(descriptor)

    monkeypatch.setattr(writer, "_sync_data", stand_still)
    async with recorder_of(tmp_path / "r", tmp_path / "s", memory_bytes=20_000) as recorder:
        await recorder.put(block_of("a", 0, 100), SPEC)
        await until(is_stuck.is_set, "the disk should be asked")
        for seq in range(100, 10_000, 100):
            await recorder.put(block_of("a", seq, 100), SPEC)
        assert list((tmp_path / "s").iterdir())
        assert recorder.progress.waiting_bytes > 9_000 * 8
        released.set()
    assert check(tmp_path / "r", {"a": range(10_000)}) == (10_000, 0)
    assert not list((tmp_path / "s").iterdir())
    assert recorder.progress.waiting_bytes == 0


async def test_what_there_is_no_room_for_is_one_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    sync = writer._sync_data
    monkeypatch.setattr(writer, "_sync_data", lambda descriptor: (released.wait(30), sync(descriptor)))
    options = {"memory_bytes": 5_000, "spill_bytes": 20_000}
    async with recorder_of(tmp_path / "r", tmp_path / "s", **options) as recorder:
        for seq in range(0, 10_000, 100):
            await recorder.put(block_of("a", seq, 100), SPEC)
        released.set()
    stored, gaps = check(tmp_path / "r", {"a": range(10_000)})
    assert stored > 1_000
    assert gaps > 1_000
    with open_recording(tmp_path / "r") as recording:
        (gap,) = recording.gaps
        assert gap.why == NOT_KEPT


async def test_what_was_recorded_is_put_onto_the_disk_though_nothing_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    sync = writer._sync_data

    def record_size(descriptor: int) -> None:
        sync(descriptor)
        sizes.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(writer, "_sync_data", record_size)
    assert writer.SYNC_S < 1
    async with recorder_of(tmp_path / "r", tmp_path / "s") as recorder:
        await recorder.put(block_of("a", 0, 1_000), SPEC)
        await until(lambda: sizes and sizes[-1] > 8_000, "all should be put there")


async def test_what_cannot_be_stored_is_a_gap(tmp_path: Path) -> None:
    async with recorder_of(tmp_path / "r", tmp_path / "s") as recorder:
        await recorder.put(block_of("a", 0, 10), SPEC)
        await recorder.put(replace(block_of("a", 10, 10), source_us=1 << 62), SPEC)
        await recorder.put(block_of("a", 20, 10), SPEC)
        await recorder.put(block_of("a", (1 << 62) - 5, 10), SPEC)  # of which nothing can be said
        await recorder.put(block_of("a", -5, 3), SPEC)
        await recorder.put(replace(block_of("a", 30, 10, lost=1 << 70)), SPEC)
    assert check(tmp_path / "r", {"a": range(40)}) == (30, 10)


async def test_epochs_that_come_in_turn_keep_their_numbers(tmp_path: Path) -> None:
    async with recorder_of(tmp_path / "r", tmp_path / "s") as recorder:
        for epoch, seq in (("a", 0), ("b", 0), ("a", 20), ("b", 10), ("a", 25)):
            await recorder.put(block_of(epoch, seq, 10), SPEC)
    assert check(tmp_path / "r", {"a": range(35), "b": range(20)}) == (25 + 20, 10)


async def test_a_source_with_an_epoch_for_each_block_costs_no_file_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_MOST_EPOCHS", 50)
    async with recorder_of(tmp_path / "r", tmp_path / "s") as recorder:
        for number in range(1_000):
            lost = number % 3
            await recorder.put(block_of(f"e{number}", lost, 10, lost), SPEC)
            if not number % 100:
                await until(lambda: not recorder.progress.waiting_bytes, "it should be recorded")
        await until(lambda: not recorder.progress.waiting_bytes, "it should be recorded")
        assert len(recorder._offered) <= 100
    sent = {f"e{number}": range(10 + number % 3) for number in range(1_000)}
    sent["e0"] = range(10)
    assert check(tmp_path / "r", sent) == (10_000, sum(map(len, sent.values())) - 10_000)
    assert len(list((tmp_path / "r").glob("*.seg"))) == 1


async def test_what_comes_under_the_name_of_an_epoch_with_another_spec_is_a_gap(tmp_path: Path) -> None:
    async with recorder_of(tmp_path / "r", tmp_path / "s") as recorder:
        await recorder.put(block_of("a", 0, 10), SPEC)
        await recorder.put(block_of("a", 10, 10), StreamSpec("<u8", (), 1_000))
        await recorder.put(block_of("a", 20, 10), SPEC)
    assert check(tmp_path / "r", {"a": range(30)}) == (20, 10)


async def test_a_hub_whose_clock_begins_anew_moves_no_sample(tmp_path: Path) -> None:
    async with recorder_of(tmp_path / "r", tmp_path / "s") as recorder:
        await recorder.put(replace(block_of("a", 0, 10), at_us=9_000_000_000), SPEC, "hub-1")
        await recorder.put(replace(block_of("a", 10, 10), at_us=9_000_010_000), SPEC, "hub-1")
        await recorder.put(replace(block_of("a", 20, 10), at_us=5_000), SPEC, "hub-2")
    with open_recording(tmp_path / "r") as recording:
        (run,) = recording.read(0, 100)
        assert run.times_us[0] == 9_000_000_000
        assert numpy.diff(run.times_us).min() >= 0
        assert run.times_us[-1] < 9_060_000_000


async def test_a_recorder_goes_on_in_a_recording(tmp_path: Path) -> None:
    """Behind what was torn; what was missed of a known epoch is a gap, and another epoch just begins."""
    folder, spill = tmp_path / "r", tmp_path / "s"
    async with recorder_of(folder, spill) as recorder:
        await recorder.put(block_of("a", 5, 10), SPEC, "hub-1")
    with (folder / "000001.seg").open("ab") as file:
        file.write(b"SNYR\x02")
    for block in (block_of("a", 10, 20), block_of("a", 50, 10), block_of("b", 30, 10, lost=5)):
        async with recorder_of(folder, spill, after=continuation_of(folder)) as recorder:
            await recorder.put(block, SPEC, "hub-1")
            await recorder.put(block_of("c", 7, 10), SPEC, "hub-1")
    with open_recording(folder) as recording:
        assert [(gap.epoch, gap.first, gap.last, gap.why) for gap in recording.gaps] == [
            ("c", 0, 6, LOST),
            ("a", 30, 49, AWAY),
            ("b", 25, 29, AWAY),
        ]
        assert stored_in(recording, "a") == set(range(5, 30)) | set(range(50, 60))
        assert stored_in(recording, "b") == set(range(30, 40))
        assert recording.epochs[0].begin_us == 5_000


async def test_what_was_captured_before_a_recorder_was_back_was_not_lost_on_its_way(tmp_path: Path) -> None:
    """The end of an epoch and the begin of the next: what the hub still has came before the recorder."""
    folder, spill = tmp_path / "r", tmp_path / "s"
    async with recorder_of(folder, spill) as recorder:
        await recorder.put(block_of("a", 0, 10), SPEC, "hub-1")
    async with recorder_of(folder, spill, after=continuation_of(folder)) as recorder:
        for seq, block in (
            (10, block_of("a", 12, 8)),
            (20, block_of("b", 5, 10, lost=8)),
            (40, block_of("b", 20, 10, lost=5)),
            (60, block_of("b", 40, 10, lost=10)),
        ):
            await recorder.put(replace(block, at_us=seq * 10**6, lag_us=(50 - seq) * 10**6), SPEC, "hub-1")
        last = replace(block_of("c", 3, 10, lost=4), at_us=61 * 10**6)
        await recorder.put(last, SPEC, "hub-1")
    with open_recording(folder) as recording:
        assert [(gap.epoch, gap.first, gap.last, gap.why) for gap in recording.gaps] == [
            ("a", 10, 11, AWAY),
            ("a", 20, 22, AWAY),
            ("b", 0, 4, AWAY),
            ("b", 15, 19, AWAY),
            ("b", 30, 39, AWAY),
            ("b", 50, 50, LOST),
            ("c", 0, 2, LOST),
        ]


@pytest.mark.parametrize(("hub", "moves"), [("hub-1", False), ("hub-2", True)])
async def test_instants_go_on_with_the_recording(hub: str, moves: bool, tmp_path: Path) -> None:
    """Of the same hub by its clock; of another, whose clock began anew, by the time of day."""
    folder, spill = tmp_path / "r", tmp_path / "s"
    async with recorder_of(folder, spill) as recorder:
        await recorder.put(replace(block_of("a", 0, 10), at_us=9_000_000_000), SPEC, "hub-1")
    for _ in range(2):
        async with recorder_of(folder, spill, after=continuation_of(folder)) as recorder:
            at_us = 1_000 if moves else 9_500_000_000
            await recorder.put(replace(block_of("a", 10, 10), at_us=at_us), SPEC, hub)
    with open_recording(folder) as recording:
        (run,) = recording.read(0, 100)
        first_us, then_us = run.times_us[0], run.times_us[10]
        assert first_us == 9_000_000_000
        assert first_us + 9_000 <= then_us < first_us + 60_000_000 if moves else then_us == 9_500_000_000
        assert len(run.samples) == 20


async def test_a_recorder_goes_on_in_its_own_stream_alone(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    async with recorder_of(folder, tmp_path / "s") as recorder:
        await recorder.put(block_of("a", 0, 10), SPEC)
    with pytest.raises(ValueError, match="is a recording of lab1/signal"):
        Recorder(folder, "lab1", "other", tmp_path / "s", after=continuation_of(folder))
    assert last_recording(tmp_path, "lab1", "signal") == folder
    assert last_recording(tmp_path, "lab1", "other") is None


async def test_one_recorder_at_a_folder(tmp_path: Path) -> None:
    async with recorder_of(tmp_path / "r", tmp_path / "s"):
        with pytest.raises(InUse, match="another recorder"):
            recorder_of(tmp_path / "r", tmp_path / "s")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 600 kB, for who may."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(place)]
    with suppress(OSError):
        if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
            try:
                yield place
            finally:
                subprocess.run(["umount", "-l", str(place)], check=True)
            return
    pytest.skip("a small disk cannot be mounted here")


def fill(disk: Path) -> None:
    """Take all room that there is."""
    with (disk / "filler").open("ab", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4_096)):
            pass


async def put_until_it_waits(recorder: Recorder, seq: int) -> int:
    """Put blocks from `seq` on until 15 kB wait for a disk that is full, and none is lost; return what comes
    next.
    """

    def is_written_or_failing() -> bool:
        return not recorder.progress.waiting_bytes or bool(recorder.progress.failing)

    while not recorder.progress.failing or recorder.progress.waiting_bytes < 15_000:
        await recorder.put(block_of("a", seq, 100), SPEC)
        seq += 100
        await until(is_written_or_failing, "it should be written or fail")
    return seq


async def test_a_full_disk_is_said_and_recorded_once_there_is_room(
    small_disk: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    changes: list[str] = []
    async with recorder_of(
        small_disk / "r",
        tmp_path / "s",
        memory_bytes=10_000,
        spill_bytes=20_000,
        on_change=lambda progress: changes.append(progress.failing),
    ) as recorder:
        await recorder.put(block_of("a", 0, 100), SPEC)
        await until(lambda: recorder.progress.stored == 100, "it should be stored")
        fill(small_disk)
        seq = await put_until_it_waits(recorder, 100)
        assert recorder.progress.failing == "the disk is full"
        for later in range(seq, seq + 5_000, 100):
            await recorder.put(block_of("a", later, 100), SPEC)
        (small_disk / "filler").unlink()
        await until(lambda: recorder.progress.waiting_bytes == 0, "it should go on")
        await recorder.put(block_of("a", seq + 5_000, 100), SPEC)
    stored, gaps = check(small_disk / "r", {"a": range(seq + 5_100)})
    assert gaps >= 3_000  # of 5,000, for which there is room for 1,500 samples at most
    assert stored > seq
    assert changes == ["the disk is full", ""]
    assert "the disk is full. It goes on when there is room" in caplog.text


async def test_the_last_gap_is_recorded_on_a_disk_that_stays_full(small_disk: Path, tmp_path: Path) -> None:
    options = {"memory_bytes": 10_000, "spill_bytes": 20_000}
    async with recorder_of(small_disk / "r", tmp_path / "s", **options) as recorder:
        await recorder.put(block_of("a", 0, 100), SPEC)
        await until(lambda: recorder.progress.stored == 100, "it should be stored")
        fill(small_disk)
        seq = await put_until_it_waits(recorder, 100)
    check(small_disk / "r", {"a": range(seq)})


@pytest.mark.parametrize("seed", range(12))
async def test_sent_is_stored_and_gaps(seed: int, small_disk: Path, tmp_path: Path) -> None:
    """A source that restarts and loses at random, a disk that fills and empties at random."""
    chance = random.Random(seed)
    sent: dict[str, range] = {}
    options = {"memory_bytes": chance.randrange(3_000, 30_000), "spill_bytes": chance.randrange(60_000)}
    async with recorder_of(
        small_disk / "r", tmp_path / "s", segment_bytes=chance.randrange(5_000, 60_000), **options
    ) as recorder:
        for number in range(chance.randrange(1, 6)):
            epoch, seq, lost_before = f"e{number}", 0, 0
            if number and chance.random() < 0.5:
                lost_before = chance.randrange(1, 50)
                before = sent[f"e{number - 1}"]
                sent[f"e{number - 1}"] = range(before.start, before.stop + lost_before)
            elif not number:
                seq = chance.randrange(100)
            first = seq
            for _ in range(chance.randrange(1, 120)):
                lost = chance.choice([0, 0, 0, 0, chance.randrange(40)])
                count = chance.randrange(1, 90)
                seq += lost
                await recorder.put(block_of(epoch, seq, count, lost + lost_before), SPEC)
                lost_before = 0
                seq += count
                action = chance.random()
                if action < 0.03:
                    fill(small_disk)
                elif action < 0.08:
                    (small_disk / "filler").unlink(missing_ok=True)
                if chance.random() < 0.2:
                    await asyncio.sleep(0.002)
            sent[epoch] = range(first, seq)
    stored, gaps = check(small_disk / "r", sent)
    assert (stored, gaps) == (recorder.progress.stored, recorder.progress.gaps)


def test_a_queue_on_disk_gives_what_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snyper.recordings.spill.FILE_BYTES", 500)
    chance = random.Random(3)
    spill, expected = Spill(tmp_path, 4_000), []
    for number in range(2_000):
        if chance.random() < 0.55:
            item = bytes([number % 256]) * chance.randrange(1, 300)
            if spill.put([item[:5], item[5:]]):
                expected.append(item)
            else:
                assert spill.bytes + len(item) > 4_000
        elif expected:
            assert spill.get() == expected.pop(0)
        assert spill.bytes == sum(map(len, expected))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 4_000 + 1_200
    while expected:
        assert spill.get() == expected.pop(0)
    assert not list(tmp_path.iterdir())


async def test_where_nothing_waits_elsewhere_what_memory_lacks_is_a_gap(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the disk for what waits full, too: it is said once."""
    released = threading.Event()
    sync = writer._sync_data
    monkeypatch.setattr(writer, "_sync_data", lambda descriptor: (released.wait(30), sync(descriptor)))
    fill(small_disk)
    async with recorder_of(tmp_path / "r", small_disk / "s", memory_bytes=5_000) as recorder:
        for seq in range(0, 10_000, 100):
            await recorder.put(block_of("a", seq, 100), SPEC)
        released.set()
    _, gaps = check(tmp_path / "r", {"a": range(10_000)})
    assert gaps > 5_000
    assert [record.message for record in caplog.records] == [
        "recorder of lab1/signal: the disk is full where blocks wait, too"
    ]


async def test_a_mark_whose_fate_nobody_knows_is_recorded_once(tmp_path: Path) -> None:
    """Where the stream has it before, behind, and not at all, until the end and beyond the time for it."""
    async with recorder_of(tmp_path / "r", tmp_path / "s") as recorder:
        await recorder.put(replace(block_of("a", 0, 10), marks=(Mark("before", 5_030),)), SPEC)
        recorder.mark("before", 5_000, is_sure=False)
        recorder.mark("behind", 9_000, is_sure=False)
        recorder.mark("never", 9_500, is_sure=False)
        await recorder.put(replace(block_of("a", 10, 10), marks=(Mark("behind", 9_400),)), SPEC)
        await recorder.put(block_of("a", 20_000, 10), SPEC)
        recorder.mark("at the end", 20_000_000, is_sure=False)
    with open_recording(tmp_path / "r") as recording:
        assert sorted((mark.name, mark.at_us) for mark in recording.marks) == [
            ("at the end", 20_000_000),
            ("before", 5_030),
            ("behind", 9_400),
            ("never", 9_500),
        ]


async def test_a_mark_of_the_stream_that_is_told_too_is_recorded_once(tmp_path: Path) -> None:
    """Whichever comes first; and two of one name at other instants are two."""
    async with recorder_of(tmp_path / "r", tmp_path / "s") as recorder:
        await recorder.put(block_of("a", 0, 10), SPEC)
        recorder.mark("before", 5_000)
        await recorder.put(replace(block_of("a", 10, 10), marks=(Mark("before", 5_000),)), SPEC)
        await recorder.put(replace(block_of("a", 20, 10), marks=(Mark("after", 20_000),)), SPEC)
        recorder.mark("after", 20_000)
        recorder.mark("after", 20_001)
    with open_recording(tmp_path / "r") as recording:
        assert sorted((mark.name, mark.at_us) for mark in recording.marks) == [
            ("after", 20_000),
            ("after", 20_001),
            ("before", 5_000),
        ]
