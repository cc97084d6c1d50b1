"""Recordings on the disk: what was written is read, whatever cut the file or is inside of it."""

import json
import os
import shutil
import struct
import sys
import tracemalloc
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy
import pytest
from hypothesis import given, settings, strategies as st

from snyper.device.disk import sync_folder
from snyper.recordings import RecordingError, open_recording, records, writer as writer_module
from snyper.recordings.errors import InUse
from snyper.recordings.recording import NOT_RECORDED
from snyper.recordings.timeline import Timeline
from snyper.recordings.writer import RecordingWriter
from snyper.streams import StreamSpec
from snyper.system.files import others_access

SPEC = StreamSpec("<f4", (2,), 1_000.0, ("x", "y"), ("m/s²", "m/s²"))
NUMBERS = StreamSpec("<i4", (), 1_000.0)


def samples_of(spec: StreamSpec, first: int, count: int) -> numpy.ndarray[Any, Any]:
    """Make samples from which their numbers can be told."""
    values = numpy.arange(first, first + count).astype(spec.dtype)
    made: numpy.ndarray[Any, Any] = numpy.multiply.outer(values, numpy.ones(spec.shape, spec.dtype))
    return made.astype(spec.dtype)


def write(writer: RecordingWriter, seq: int, count: int, spec: StreamSpec = NUMBERS) -> None:
    """Write samples that were captured when their numbers say, in ms, by a clock that is 5 s behind."""
    writer.write_block(seq, samples_of(spec, seq, count), seq * 1_000 - 5_000_000, 5_000_000, 40)


def written(folder: Path, segment_bytes: int = 1 << 20) -> RecordingWriter:
    writer = RecordingWriter(folder, "lab1", "signal", segment_bytes)
    writer.begin("e1", NUMBERS)
    return writer


def numbers_in(folder: Path) -> list[int]:
    with open_recording(folder) as recording:
        return [int(number) for run in recording.read(0, 1 << 40) for number in run.samples]


def crashed(folder: Path) -> Path:
    """Leave a recording as its process does that is killed; return its one segment."""
    (folder / "000001.idx").unlink(missing_ok=True)
    return folder / "000001.seg"


def record(kind: int, *body: bytes) -> bytes:
    return records.head_of(kind, body) + b"".join(body)


def test_what_is_written_is_read_by_numbers_and_by_time(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "one", "lab1", "signal")
    writer.begin("e1", SPEC)
    writer.write_clock(7, 8, 9)
    for seq, count in ((10, 5), (15, 5), (23, 4)):
        write(writer, seq, count, SPEC)
    writer.write_mark(15_500, "door opened")
    writer.close()
    with open_recording(tmp_path / "one") as recording:
        assert (recording.source, recording.stream) == ("lab1", "signal")
        (epoch,) = recording.epochs
        assert (epoch.spec, epoch.first, epoch.end, epoch.samples) == (SPEC, 10, 27, 14)
        first, second = recording.read(12, 25)
        assert (first.first, second.first) == (12, 23)
        assert numpy.array_equal(first.samples, samples_of(SPEC, 12, 8))
        assert first.samples.dtype == "<f4"
        assert first.times_us.tolist() == [number * 1_000 for number in range(12, 20)]
        assert numpy.array_equal(second.samples, samples_of(SPEC, 23, 2))
        (within,) = recording.read_between(11_500, 14_000)
        assert (within.first, len(within.samples)) == (12, 2)
        assert [(gap.first, gap.last, gap.why) for gap in recording.gaps] == [(20, 22, NOT_RECORDED)]
        assert [(mark.name, mark.at_us) for mark in recording.marks] == [("door opened", 15_500)]
        assert [(at.hub_us, at.steady_us, at.utc_us) for at in recording.clocks] == [(7, 8, 9)]
        assert recording.span_us == (10_000, 26_000)
        assert recording.read(30, 40) == recording.read_between(27_000, 90_000) == []
        stored = [run.first for run in recording.chunks()]
        assert stored == [10, 15, 23]


def test_another_epoch_is_never_confused_with_the_one_before(tmp_path: Path) -> None:
    writer = written(tmp_path)
    write(writer, 0, 10)
    writer.begin("e2", SPEC)
    writer.write_block(0, samples_of(SPEC, 100, 10), 20_000, 0, 40)
    writer.close()
    with open_recording(tmp_path) as recording:
        assert [(epoch.id, epoch.samples) for epoch in recording.epochs] == [("e1", 10), ("e2", 10)]
        assert recording.read(0, 10, "e1")[0].samples.tolist() == list(range(10))
        assert recording.read(0, 10)[0].samples[..., 0].tolist() == list(range(100, 110))
        runs = recording.read_between(5_000, 25_000)
        assert [(run.epoch, len(run.samples)) for run in runs] == [("e1", 5), ("e2", 5)]


def test_a_run_goes_on_in_the_next_segment(tmp_path: Path) -> None:
    writer = written(tmp_path, segment_bytes=1_000)
    for seq in range(0, 1_000, 50):
        write(writer, seq, 50)
    writer.close()
    assert len(list(tmp_path.glob("*.seg"))) > 5
    with open_recording(tmp_path) as recording:
        (run,) = recording.read(7, 993)
        assert run.samples.tolist() == list(range(7, 993))
        assert run.times_us.tolist() == [number * 1_000 for number in range(7, 993)]
        assert len(recording.epochs) == 1
        assert recording.gaps == ()


def test_a_reader_follows_while_it_grows(tmp_path: Path) -> None:
    writer = written(tmp_path, segment_bytes=500)
    recording = open_recording(tmp_path)
    assert list(recording.epochs) == []
    for seq in range(0, 500, 10):
        write(writer, seq, 10)
        assert recording.refresh()
        assert not recording.refresh()
        assert [epoch.end for epoch in recording.epochs] == [seq + 10]
        assert recording.read(seq, seq + 10)[0].samples.tolist() == list(range(seq, seq + 10))
    writer.close()
    recording.close()


def test_a_file_that_is_cut_anywhere_opens_with_what_is_whole(tmp_path: Path) -> None:
    writer = written(tmp_path / "whole")
    ends = {}
    for seq in range(0, 30, 5):
        write(writer, seq, 5)
        ends[(tmp_path / "whole" / "000001.seg").stat().st_size] = seq + 5
    writer.close()
    cut = crashed(tmp_path / "whole")
    content = cut.read_bytes()
    for length in range(len(content)):
        expected = max((count for end, count in ends.items() if end <= length), default=0)
        for rest in (b"", bytes(len(content) - length), b"\xa5" * 100, content[:7]):
            cut.write_bytes(content[:length] + rest)
            if rest and not any(rest[: 1 if length else 0]) and content[length] == 0:
                continue  # these zeros are those that were there
            assert numbers_in(tmp_path / "whole") == list(range(expected)), (length, rest[:1])


def test_a_byte_that_is_wrong_ends_what_is_read_or_is_refused(tmp_path: Path) -> None:
    writer = written(tmp_path)
    for seq in range(0, 20, 5):
        write(writer, seq, 5)
    writer.close()
    path = crashed(tmp_path)
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
        assert numbers_in(tmp_path) in [list(range(count)) for count in range(0, 20, 5)]


SPEC_RECORD = record(
    records.SPEC, json.dumps({"epoch": "e", "base_us": 0, "spec": NUMBERS.to_data()}).encode()
)


def block(seq: int, count: int, content: bytes, source_us: int = 0, offset_us: int = 0) -> bytes:
    return record(records.BLOCK, records.BLOCK_HEAD.pack(seq, source_us, offset_us, 0, count), content)


def spec_record(**changes: Any) -> bytes:
    data = {"epoch": "e", "base_us": 0, "spec": {**NUMBERS.to_data(), **changes}}
    return record(records.SPEC, json.dumps(data).encode())


@pytest.mark.parametrize(
    "content",
    [
        SPEC_RECORD + block(0, 1 << 31, b"1234"),
        SPEC_RECORD + block(0, 0, b""),
        SPEC_RECORD + block(0, 2, b"1234"),
        SPEC_RECORD + block(-1, 1, b"1234"),
        SPEC_RECORD + block((1 << 63) - 1, 1, b"1234"),
        SPEC_RECORD + block(5, 1, b"1234") + block(5, 1, b"1234"),
        SPEC_RECORD + block(5, 1, b"1234") + block(4, 1, b"1234"),
        SPEC_RECORD + block(0, 1, b"1234", (1 << 63) - 1, (1 << 63) - 1),
        SPEC_RECORD + record(records.BLOCK, b"short"),
        SPEC_RECORD + record(records.GAP, b"short"),
        SPEC_RECORD + record(records.GAP, records.GAP_HEAD.pack(5, 4)),
        SPEC_RECORD + record(records.GAP, records.GAP_HEAD.pack(0, (1 << 63) - 1)),
        SPEC_RECORD + record(records.MARK, b""),
        SPEC_RECORD + record(records.MARK, records.MARK_HEAD.pack(1 << 62)),
        SPEC_RECORD + record(records.CLOCK, b"123"),
        SPEC_RECORD + SPEC_RECORD + block(5, 1, b"1234") + block(4, 1, b"1234"),
        block(0, 1, b"1234"),
        record(records.SPEC, b"{"),
        record(records.SPEC, b"[]"),
        record(records.SPEC, b"[" * 60_000),
        record(records.SPEC, b" " * 70_000),
        record(records.SPEC, b'{"epoch": 1, "base_us": 0}'),
        record(records.SPEC, b'{"epoch": "e", "base_us": 0}'),
        spec_record(dtype="O"),
        spec_record(dtype="|V999999999"),
        spec_record(shape=[1 << 40]),
        spec_record(shape=[0]),
        spec_record(rate_hz=-1),
    ],
)
def test_what_no_recorder_writes_is_refused(content: bytes, tmp_path: Path) -> None:
    written(tmp_path).close()
    (tmp_path / "000001.seg").write_bytes(content)
    with pytest.raises(RecordingError, match=r"000001\.seg: the record at byte"):
        open_recording(tmp_path)


def test_a_length_that_is_a_lie_costs_no_memory(tmp_path: Path) -> None:
    written(tmp_path).close()
    lie = records.HEAD.pack(records.MAGIC, records.BLOCK, (1 << 32) - 1, 0)
    (tmp_path / "000001.seg").write_bytes(SPEC_RECORD + block(0, 1, b"1234") + lie + bytes(100))
    assert len(numbers_in(tmp_path)) == 1


def test_kinds_that_are_not_known_are_skipped(tmp_path: Path) -> None:
    written(tmp_path).close()
    (tmp_path / "000001.seg").write_bytes(
        SPEC_RECORD + record(200, b"new") + block(0, 1, struct.pack("<i", 7))
    )
    assert numbers_in(tmp_path) == [7]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"format": 2}', b'{"format": 1, "source": 5}', b"\xff", b"[" * 70_000],
)
def test_a_folder_that_is_no_recording_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"has no recording\.json"):
        open_recording(tmp_path)
    (tmp_path / "recording.json").write_bytes(content)
    with pytest.raises(RecordingError, match=r"recording\.json"):
        open_recording(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
@pytest.mark.parametrize("name", ["recording.json", "000001.seg", "000001.idx", "readers.lock"])
def test_nobody_waits_for_a_pipe_in_the_place_of_a_file(name: str, tmp_path: Path) -> None:
    written(tmp_path).close()
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    if name in ("000001.idx", "readers.lock"):  # which is opened without, too
        open_recording(tmp_path).close()
        return
    with pytest.raises(OSError, match="no file"):
        open_recording(tmp_path)


def test_numbers_that_a_segment_before_has_are_refused(tmp_path: Path) -> None:
    written(tmp_path).close()
    for name in ("000001.seg", "000002.seg"):
        (tmp_path / name).write_bytes(SPEC_RECORD + block(0, 1, b"1234"))
    with pytest.raises(RecordingError, match="taken"):
        open_recording(tmp_path)
    (tmp_path / "000002.seg").unlink()
    (tmp_path / "000001.seg").write_bytes(2 * (SPEC_RECORD + block(0, 1, b"1234")))
    with pytest.raises(RecordingError, match="taken"):
        open_recording(tmp_path)


def test_a_name_that_comes_again_after_another_may_be_of_another_run(tmp_path: Path) -> None:
    writer = written(tmp_path)
    write(writer, 5, 10)
    for epoch in ("e2", "e1"):
        writer.begin(epoch, NUMBERS)
        write(writer, 0, 10)
    writer.close()
    with open_recording(tmp_path) as recording:
        assert [(epoch.id, epoch.first) for epoch in recording.epochs] == [("e1", 5), ("e2", 0), ("e1", 0)]
        assert recording.gaps == ()


def test_small_epochs_share_a_file_and_large_ones_have_their_own(tmp_path: Path) -> None:
    """Read as it grows, and again when all is there; what is beside a file is of a file with one epoch."""
    writer = written(tmp_path, segment_bytes=64_000)
    recording = open_recording(tmp_path)
    for number in range(300):
        writer.begin(f"e{number}", NUMBERS)
        for seq in range(0, 2_000 if number % 100 == 99 else 5, 5):
            write(writer, seq, 5)
        assert recording.refresh()
        assert not recording.refresh()
        assert recording.epochs[-1].id == f"e{number}"
    writer.close()
    assert len(list(tmp_path.glob("*.seg"))) < 30
    with recording, open_recording(tmp_path) as again:
        assert len(again.epochs) == 300
        assert again.epochs == recording.epochs
        for number in (0, 7, 99, 298):
            runs = again.read(0, 1 << 40, f"e{number}")
            count = 2_000 if number % 100 == 99 else 5
            assert [run.samples.tolist() for run in runs] == [list(range(count))]
        assert again.gaps == ()
    assert list(tmp_path.glob("*.idx"))


def test_a_recording_is_its_owner_s_alone(tmp_path: Path) -> None:
    written(tmp_path / "one").close()
    assert not others_access(tmp_path / "one")


def test_one_recorder_at_a_folder(tmp_path: Path) -> None:
    writer = written(tmp_path)
    with pytest.raises(InUse, match="another recorder"):
        written(tmp_path)
    write(writer, 0, 1)
    writer.close()
    with pytest.raises(InUse, match="a recording already"):
        written(tmp_path)


def test_a_block_that_is_too_large_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path, "lab1", "signal")
    spec = StreamSpec("|u1", (65_536,), 0)
    writer.begin("e1", spec)
    with pytest.raises(ValueError, match="at most"):
        writer.write_block(0, numpy.broadcast_to(numpy.zeros(1, "u1"), (4_097, 65_536)), 0, 0, 0)
    writer.close()
    assert numbers_in(tmp_path) == []


kinds = st.sampled_from(["|u1", "<i2", ">i4", "<f4", ">f8", "<c8", "|b1", "<u8", "<f2"])


@st.composite
def recordings(draw: st.DrawFn) -> list[tuple[str, StreamSpec, list[tuple[int, numpy.ndarray[Any, Any]]]]]:
    """Draw epochs of blocks with random gaps, with samples whose every byte is random."""
    found = []
    for number in range(draw(st.integers(1, 3))):
        shape = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
        spec = StreamSpec(draw(kinds), shape, draw(st.sampled_from([0, 0.5, 1_000, 44_100.0, 3e6])))
        seq, blocks = draw(st.integers(0, 1 << 40)), []
        for gap, count in draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), max_size=12)):
            seq += gap
            raw = draw(st.randoms(use_true_random=False)).randbytes(count * spec.sample_bytes)
            blocks.append((seq, numpy.frombuffer(raw, spec.dtype).reshape(count, *shape)))
            seq += count
        found.append((f"e{number}", spec, blocks))
    return found


@settings(max_examples=40)
@given(recordings(), st.integers(200, 2_000), st.integers(0, 1 << 32).map(Random))
def test_whatever_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, epochs: Any, segment_bytes: int, random: Any
) -> None:
    folder = tmp_path_factory.mktemp("recording")
    writer = RecordingWriter(folder, "s", "t", segment_bytes)
    at_us, stamps, every = 0, [], []
    for id, spec, blocks in epochs:
        writer.begin(id, spec)
        for seq, samples in blocks:
            at_us += random.randrange(-5, 100_000)  # its stamp is now and then before the last
            stamps.append(at_us)
            writer.write_block(seq, samples, at_us - 77, 77, 1)
            every += [(id, seq + index, sample.tobytes()) for index, sample in enumerate(samples)]
    writer.close()
    with open_recording(folder) as recording:
        runs = [run for id, _, _ in epochs for run in recording.read(0, 1 << 60, id)]
        assert _samples_in(runs) == every
        for run, after in pairwise(runs):
            assert run.epoch != after.epoch or run.first + len(run.samples) < after.first
        times = numpy.concatenate([run.times_us for run in runs]) if runs else numpy.zeros(0, "i8")
        assert (numpy.diff(times) >= 0).all()
        for _ in range(5):
            begin, end = sorted(random.randrange(-100, at_us + 200_000) for _ in range(2))
            if stamps and random.random() < 0.5:
                begin, end = sorted((random.choice(stamps), random.choice(stamps)))
            inside = _samples_in(recording.read_between(begin, end))
            assert inside == [one for one, at in zip(every, times, strict=True) if begin <= at < end]


def _samples_in(runs: Any) -> list[tuple[str, int, bytes]]:
    return [
        (run.epoch, run.first + index, sample.tobytes())
        for run in runs
        for index, sample in enumerate(run.samples)
    ]


@pytest.mark.parametrize("rate_hz", [0, 0.3, 7.5, 71, 1_000, 10_000, 44_100, 1e6, 3e6, 1e9])
def test_the_first_sample_from_an_instant_on_is_the_one_whose_instant_that_is(rate_hz: float) -> None:
    """At each sample's own instant and 1 µs beside it, in two blocks of which one reaches into the other."""
    count, start_us = 3_000, 123_456_789
    later_us = start_us + (int(2_500 * 1e6 / rate_hz) if rate_hz else 10)
    starts = numpy.array([start_us, later_us])
    line = Timeline(starts, numpy.array([0, count]), numpy.array([count, count]), rate_hz, 1 << 61)
    times = line.times_us(0, 2, 0, 2 * count)
    assert (numpy.diff(times) >= 0).all()
    for beside in (-1, 0, 1):
        expected = numpy.searchsorted(times, times + beside)
        assert numpy.array_equal(line.number_at(times + beside), expected)


def test_a_part_of_a_recording_takes_the_memory_of_that_part(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path, "lab1", "signal", segment_bytes=1 << 20)
    writer.begin("e1", StreamSpec("<f8", (100,), 1_000))
    samples = numpy.zeros((200, 100))
    for seq in range(0, 30_000, 200):
        writer.write_block(seq, samples, seq * 1_000, 0, 0)
    writer.close()
    assert sum(path.stat().st_size for path in tmp_path.glob("*.seg")) > 24_000_000
    tracemalloc.start()
    try:
        with open_recording(tmp_path) as recording:
            assert len(recording.read(15_000, 15_100)[0].samples) == 100
            recording.overview(0, 30_000_000, 1_000)
            assert sum(len(run.samples) for run in recording.chunks()) == 30_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12_000_000  # of which the overview has 3, and its pyramids 2


@pytest.mark.skipif(sys.platform != "linux", reason="asks which file a descriptor is of")
@pytest.mark.parametrize("seed", range(8))
def test_a_power_cut_leaves_what_was_put_onto_the_disk(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the disk has made of all that it was not asked to keep: files that are not there, or cut, with
    zeros or with garbage at their ends.
    """
    chance = Random(seed)
    folder, cut = tmp_path / "recording", tmp_path / "cut"
    kept_bytes: dict[str, int] = {}
    kept_names: set[str] = set()
    sync = writer_module._sync_data

    def record_sync(descriptor: int) -> None:
        sync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        kept_bytes[path.name] = path.stat().st_size

    def record_names(path: Path) -> None:
        sync_folder(path)
        kept_names.update(one.name for one in path.iterdir())

    monkeypatch.setattr(writer_module, "_sync_data", record_sync)
    monkeypatch.setattr(writer_module, "sync_folder", record_names)
    writer, written_end, synced_end = written(folder, segment_bytes=1_500), 0, 0
    for _ in range(150):
        count = chance.randrange(1, 40)
        segments = len(list(folder.glob("*.seg")))
        write(writer, written_end, count)
        if len(list(folder.glob("*.seg"))) > segments:
            synced_end = written_end  # with the end of a segment all of it is
        written_end += count
        if chance.random() < 0.1:
            writer.sync()
            synced_end = written_end
        if chance.random() < 0.3:
            _cut_power(folder, cut, kept_bytes, kept_names, chance)
            numbers = numbers_in(cut)
            assert numbers == list(range(len(numbers)))
            assert synced_end <= len(numbers) <= written_end
    writer.close()


def _cut_power(
    folder: Path, cut: Path, kept_bytes: dict[str, int], kept_names: set[str], chance: Random
) -> None:
    """Make of a recording what a disk may have of it."""
    shutil.rmtree(cut, ignore_errors=True)
    cut.mkdir()
    for path in folder.iterdir():
        content = path.read_bytes()
        kept = kept_bytes.get(path.name, len(content) if path.name == "recording.json" else 0)
        if (path.name in kept_names and path.suffix != ".idx") or chance.random() < 0.7:
            reached = chance.randrange(kept, len(content) + 1)
            rest = len(content) - reached
            after = chance.choice([b"", bytes(rest), chance.randbytes(rest)])
            (cut / path.name).write_bytes(content[:reached] + after)


@settings(max_examples=150)
@given(st.integers(0, 1 << 32).map(Random))
def test_a_record_with_any_body_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, chance: Random
) -> None:
    """With bytes changed at random, and a CRC that is right: in the segment and in the file beside it."""
    folder = tmp_path_factory.mktemp("recording")
    writer = written(folder)
    writer.write_clock(1, 2, 3)
    for seq in (0, 30):
        write(writer, seq, 20)
    writer.write_gap(50, 59, "lost")
    writer.write_mark(5, "mark")
    writer.close()
    for name in ("000001.seg", "000001.idx"):
        content = (folder / name).read_bytes()
        data, at, parts = memoryview(content), 0, []
        while (found := records.whole_record(data, at)) is not None:
            kind, begin, end = found
            body = bytearray(data[begin:end])
            if chance.random() < 0.4:
                for _ in range(chance.randrange(1, 4)):
                    body[chance.randrange(len(body))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, 0x22, 0x39])
            if chance.random() < 0.1:
                body = body[: chance.randrange(len(body))]
            parts.append(records.head_of(kind, [body]) + body)
            at = end
        if name.endswith(".idx") or chance.random() < 0.5:
            (folder / name).write_bytes(b"".join(parts))
    tracemalloc.start()
    try:
        with suppress(RecordingError), open_recording(folder) as recording:
            recording.read(0, 1 << 62)
            recording.read_between(-(1 << 62), 1 << 62)
            assert recording.epochs is not None
            assert len(recording.gaps) + len(recording.marks) + len(recording.clocks) < 10
            recording.overview(0, 1_000_000, 50)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 8_000_000
