"""Recordings as they are drawn: the extremes of each column, exact at every zoom."""

from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy
import pytest
from hypothesis import given, settings, strategies as st

from snyper.recordings import Recording, RecordingError, open_recording, records
from snyper.recordings.overview import Overview
from snyper.recordings.segment import Segment
from snyper.recordings.writer import RecordingWriter
from snyper.streams import StreamSpec
from snyper.streams.columns import column_width_us

Array = numpy.ndarray[Any, Any]


def brute(recording: Recording, overview: Overview) -> list[Any]:
    """Work the columns out from all samples."""
    found: list[Any] = []
    edges = overview.edges_us
    runs = recording.read_between(int(edges[0]), int(edges[-1]))
    for begin, end in pairwise(edges):
        inside = [run.samples[(begin <= run.times_us) & (run.times_us < end)] for run in runs]
        channels: Array = numpy.concatenate(
            [_channels(one) for one in inside if len(one)] or [numpy.zeros((0, 1))]
        )
        if len(channels):
            low, high = numpy.fmin.reduce(channels), numpy.fmax.reduce(channels)
            nans = numpy.isnan(channels).sum(0) if channels.dtype.kind == "f" else low * 0
            found.append((len(channels), low.tolist(), high.tolist(), nans.tolist()))
        else:
            found.append(None)
    return found


def _channels(samples: Array) -> Array:
    flat = samples.reshape(len(samples), -1)
    if flat.dtype.kind == "c":
        return numpy.stack([flat.real, flat.imag, numpy.abs(flat)], 2).reshape(len(samples), -1)
    return flat.astype("u1") if flat.dtype.kind == "b" else flat


def check_moments(recording: Recording, overview: Overview) -> None:
    """Compare mean and deviation of each column with those of its samples."""
    runs = recording.read_between(int(overview.edges_us[0]), int(overview.edges_us[-1]))
    times = numpy.concatenate([run.times_us for run in runs])
    channels = numpy.concatenate([_channels(run.samples) for run in runs]).astype("f8")
    owners = numpy.searchsorted(overview.edges_us, times, "right") - 1
    for column in numpy.flatnonzero(overview.samples):
        inside = channels[owners == column]
        for channel in range(channels.shape[1]):
            numbers = inside[numpy.isfinite(inside[:, channel]), channel]
            assert overview.counts[column, channel] == len(numbers)
            if len(numbers):
                near = max(1e-9, 1e-9 * float(numpy.abs(numbers).max()))
                assert abs(overview.means[column, channel] - numbers.mean()) <= near
                deviation = (overview.squares[column, channel] / len(numbers)) ** 0.5
                assert abs(deviation - numbers.std()) <= max(near, 1e-6 * numbers.std())


def columns_of(overview: Overview) -> list[Any]:
    return [
        (int(count), low.tolist(), high.tolist(), nans.tolist()) if count else None
        for count, low, high, nans in zip(
            overview.samples, overview.low, overview.high, overview.nans, strict=True
        )
    ]


def is_same(one: Any, other: Any) -> bool:
    """Compare, where NaN is NaN."""
    return repr(one) == repr(other)


@st.composite
def signals(draw: st.DrawFn) -> tuple[StreamSpec, list[tuple[str, int, Array]]]:
    """Draw blocks of perhaps many samples with gaps, in two epochs; floats, some of them NaN or infinite."""
    shape = draw(st.sampled_from([(), (1,), (2,), (2, 2)]))
    dtype = draw(st.sampled_from(["<f4", ">f8", "<i2", "|u1", ">u4", "|b1", "<c8", "<f2"]))
    spec = StreamSpec(dtype, shape, draw(st.sampled_from([0, 7.5, 1_000, 1e6, 44_100])))
    random = numpy.random.default_rng(draw(st.integers(0, 1 << 32)))
    blocks = []
    for epoch in ("a", "b")[: draw(st.integers(1, 2))]:
        seq = draw(st.integers(0, 10_000))
        for gap, count in draw(
            st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 100]), st.integers(1, 6_000)), max_size=8)
        ):
            seq += gap
            samples = (random.normal(size=(count, *shape)) * 100).astype(dtype)
            if samples.dtype.kind == "f":
                samples[random.random(samples.shape) < 0.01] = numpy.nan
                samples[random.random(samples.shape) < 0.001] = -numpy.inf
                if random.random() < 0.2:
                    samples[:] = numpy.nan
            blocks.append((epoch, seq, samples))
            seq += count
    return spec, blocks


@pytest.mark.slow
@settings(max_examples=40)
@given(signals(), st.integers(1_000, 200_000), st.integers(0, 1 << 32).map(Random))
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_every_column_is_what_its_samples_are(
    tmp_path_factory: pytest.TempPathFactory, signal: Any, segment_bytes: int, random: Any
) -> None:
    spec, blocks = signal
    folder = tmp_path_factory.mktemp("recording")
    writer = RecordingWriter(folder, "s", "t", segment_bytes)
    at_us, epoch = 0, ""
    for id, seq, samples in blocks:
        if id != epoch:
            writer.begin(id, spec)
            epoch = id
        writer.write_block(seq, samples, at_us, 0, 0)
        at_us += int(len(samples) * 1e6 / spec.rate_hz) if spec.rate_hz else 1_000
        at_us += random.choice([0, 0, -3, 5])
    writer.close()
    if random.random() < 0.5:
        for path in folder.glob("*.idx"):
            path.unlink()
    with open_recording(folder) as recording:
        for _ in range(6):
            begin, end = sorted(random.sample(range(-1_000, at_us + 2_000), 2))
            overview = recording.overview(begin, end, random.choice([1, 3, 50, 700]))
            assert overview.edges_us[0] <= begin < end <= overview.edges_us[-1]
            with numpy.errstate(invalid="ignore"):
                assert is_same(columns_of(overview), brute(recording, overview))
                if overview.samples.any():
                    check_moments(recording, overview)


def test_one_spike_in_ten_million_samples_is_seen_at_every_zoom(tmp_path: Path) -> None:
    spike = 7_654_321
    writer = RecordingWriter(tmp_path, "s", "t")
    writer.begin("e", StreamSpec("<i2", (), 10_000))
    for seq in range(0, 10_000_000, 100_000):
        samples = numpy.zeros(100_000, "<i2")
        if seq <= spike < seq + 100_000:
            samples[spike - seq] = 99
        writer.write_block(seq, samples, seq * 100, 0, 0)
    writer.close()
    with open_recording(tmp_path) as recording:
        length, at_us = 1_000_000_000, spike * 100
        while length >= 100:
            begin = at_us - length // 3
            overview = recording.overview(begin, begin + length, 900)
            (column,) = numpy.flatnonzero(overview.high[:, 0] == 99)
            assert overview.edges_us[column] <= at_us < overview.edges_us[column + 1]
            assert not overview.is_broken[1:].any() or begin < 0
            length //= 3


def test_edges_stay_where_they_are_while_the_window_moves(tmp_path: Path) -> None:
    edges: set[int] = set()
    for begin in range(0, 50_000, 777):
        width = column_width_us(1_000_003 - begin % 5, 700)
        assert 1_000_003 / 700 <= width < 1_000_003 / 700 * 1.13
        edges.add(width)
    assert len(edges) == 1
    writer = RecordingWriter(tmp_path, "s", "t")
    writer.begin("e", StreamSpec("<f4", (), 1_000))
    samples = numpy.random.default_rng(5).normal(size=10_000).astype("<f4")
    writer.write_block(0, samples, 0, 0, 0)
    writer.close()
    with open_recording(tmp_path) as recording:
        seen: dict[int, tuple[float, float]] = {}
        for begin in range(1_000, 4_000_000, 313_131):
            overview = recording.overview(begin, begin + 2_000_000, 333)
            for at, low, high in zip(
                overview.edges_us, overview.low[:, 0], overview.high[:, 0], strict=False
            ):
                assert seen.setdefault(int(at), (low, high)) == (low, high)


@pytest.mark.parametrize(
    ("dtype", "channels", "shown"), [("<f4", None, 2), ("<f4", [1], 1), ("<c8", None, 6), ("<c8", [5, 0], 2)]
)
def test_a_time_without_samples_has_the_channels_that_others_have(
    tmp_path: Path, dtype: str, channels: list[int] | None, shown: int
) -> None:
    writer = RecordingWriter(tmp_path, "s", "t")
    writer.begin("a", StreamSpec(dtype, (2,), 1_000))
    writer.write_block(0, numpy.zeros((10, 2), dtype), 1_000_000, 0, 0)
    writer.close()
    with open_recording(tmp_path) as recording:
        with_samples = recording.overview(1_000_000, 1_010_000, 5, channels)
        without = recording.overview(2_000_000, 2_010_000, 5, channels)
    assert with_samples.samples.sum() == 10
    assert not without.samples.any()
    assert without.low.shape[1] == without.means.shape[1] == with_samples.low.shape[1] == shown


def test_a_column_with_something_missing_is_broken(tmp_path: Path) -> None:
    spec = StreamSpec("<f4", (), 1_000)
    writer = RecordingWriter(tmp_path, "s", "t", segment_bytes=600)
    writer.begin("e", spec)
    for seq in (0, 100, 300, 400, 500):
        writer.write_block(seq, numpy.ones(100, "<f4"), seq * 1_000, 0, 0)
    writer.begin("f", spec)
    writer.write_block(0, numpy.ones(100, "<f4"), 600_000, 0, 0)
    writer.close()
    with open_recording(tmp_path) as recording:
        overview = recording.overview(0, 700_000, 700)
        broken = overview.edges_us[:-1][overview.is_broken].tolist()
        width = int(overview.edges_us[1] - overview.edges_us[0])
        assert broken == [at // width * width for at in (0, 300_000, 600_000)]
        later = recording.overview(350_000, 550_000, 700)
        assert not later.is_broken.any()


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path, "s", "t")
    writer.begin("e", StreamSpec("|u1", (10_000,), 1))
    writer.write_block(0, numpy.ones((1, 10_000), "u1"), 0, 0, 0)
    writer.begin("f", StreamSpec("|u1", (), 1))
    writer.write_block(0, numpy.ones(1, "u1"), 10, 0, 0)
    writer.close()
    with open_recording(tmp_path) as recording:
        with pytest.raises(ValueError, match="channels"):
            recording.overview(0, 20, 20)
        with pytest.raises(ValueError, match="at most 419 columns"):
            recording.overview(0, 5_000, 1_000)
        for begin, end, columns in ((0, 0, 5), (5, 4, 5), (0, 5, 0), (0, 1 << 62, 5)):
            with pytest.raises(ValueError, match="at least one column"):
                recording.overview(begin, end, columns)
        assert recording.overview(1_000, 2_000, 10).samples.sum() == 0


def finished(folder: Path) -> tuple[Path, Path, list[int]]:
    """Write a recording of three segments; return the first of them, the file beside it, and its samples."""
    writer = RecordingWriter(folder, "s", "t", segment_bytes=10_000)
    writer.begin("e", StreamSpec("<i4", (), 1_000))
    for seq in range(0, 6_000, 100):
        writer.write_block(seq, numpy.arange(seq, seq + 100, dtype="<i4"), seq * 1_000, 0, 0)
    writer.close()
    return folder / "000001.seg", folder / "000001.idx", list(range(6_000))


def contents(folder: Path) -> tuple[list[int], list[Any]]:
    with open_recording(folder) as recording:
        (run,) = recording.read(0, 10_000)
        return run.samples.tolist(), columns_of(recording.overview(0, 6_000_000, 40))


def test_the_file_beside_a_segment_is_no_matter(tmp_path: Path) -> None:
    """Gone, cut anywhere, with a wrong byte anywhere, of another segment: the recording is what it is."""
    _, beside, expected = finished(tmp_path)
    content = beside.read_bytes()
    before = contents(tmp_path)
    assert before[0] == expected
    variants = [content[:length] for length in range(0, len(content), 97)]
    variants += [
        content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :] for at in range(0, len(content), 97)
    ]
    variants += [(tmp_path / "000002.idx").read_bytes(), bytes(5_000)]
    for variant in variants:
        beside.write_bytes(variant)
        assert contents(tmp_path) == before
    beside.unlink()
    assert contents(tmp_path) == before


def test_a_finished_segment_is_read_from_the_file_beside_it(tmp_path: Path) -> None:
    path, _, _ = finished(tmp_path)
    segment = Segment(path, 1)
    segment.open()
    assert segment.has_sidecar
    assert segment.level(6).numbers.tolist() == list(range((segment.next_seq - 1) // 64 + 1))
    assert segment.has_sidecar


def test_a_damaged_block_is_named(tmp_path: Path) -> None:
    path, _, _ = finished(tmp_path)
    content = bytearray(path.read_bytes())
    content[5_000] ^= 1
    path.write_bytes(content)
    with open_recording(tmp_path) as recording:
        with pytest.raises(RecordingError, match=r"000001\.seg: the record at byte [\d,]+ is damaged"):
            recording.read(0, 6_000)
        assert len(recording.read(3_000, 6_000)[0].samples) == 3_000


def test_an_entry_that_lies_is_found(tmp_path: Path) -> None:
    """The file beside a segment with a right CRC and places where other records are."""
    _, beside, expected = finished(tmp_path)
    content = beside.read_bytes()
    data = memoryview(content)
    found = records.whole_record(data, 0)
    assert found is not None
    at = found[2]
    for offset in (0, 8, 16, 24, 32):
        for value in (-1, 1, 1 << 61, 1 << 63):
            whole = records.whole_record(data, at)
            assert whole is not None
            body = bytearray(data[whole[1] : whole[2]])
            body[80 + offset : 88 + offset] = (value % (1 << 64)).to_bytes(8, "little")
            lie = records.head_of(records.ENTRIES, [body]) + body
            beside.write_bytes(content[:at] + lie + content[whole[2] :])
            with suppress(RecordingError):
                assert contents(tmp_path)[0] == expected
