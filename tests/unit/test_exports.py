"""Recordings as others read them."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy
import pytest
import zarr

from snyper.recordings import Recording, RecordingError, open_recording
from snyper.recordings.exports import write_csv, write_npy, write_zarr
from snyper.recordings.writer import RecordingWriter
from snyper.streams import StreamSpec

SPEC = StreamSpec(">f4", (2,), 1_000, ("x", "y"), ("m/s²", ""))


def samples_of(first: int, count: int) -> Any:
    return numpy.stack([numpy.arange(first, first + count), -numpy.arange(first, first + count)], 1).astype(
        ">f4"
    )


@pytest.fixture
def recording(tmp_path: Path) -> Any:
    writer = RecordingWriter(tmp_path / "r", "lab1", "signal", segment_bytes=3_000)
    writer.begin("a", SPEC)
    writer.write_clock(0, 0, 1_700_000_000_000_000)
    for seq in (0, 100, 200, 350):
        writer.write_block(seq, samples_of(seq, 100), seq * 1_000, 0, 0)
    writer.write_mark(150_000, "door")
    writer.begin("b", SPEC)
    writer.write_block(0, samples_of(0, 70_000), 500_000, 0, 0)
    writer.close()
    with open_recording(tmp_path / "r") as opened:
        yield opened


def test_npy(recording: Recording) -> None:
    file = io.BytesIO()
    seen: list[tuple[int, int]] = []
    assert write_npy(recording, file, "a", lambda *both: seen.append(both)) == 400
    array = numpy.load(io.BytesIO(file.getvalue()))
    assert array.dtype == ">f4"
    expected = numpy.concatenate([samples_of(0, 300), samples_of(350, 100)])
    assert numpy.array_equal(array, expected)
    assert seen[-1] == (400, 400)
    with pytest.raises(RecordingError, match="name one of a, b"):
        write_npy(recording, io.BytesIO())
    with pytest.raises(RecordingError, match="no samples of an epoch c"):
        write_npy(recording, io.BytesIO(), "c")


def test_csv(recording: Recording) -> None:
    file = io.StringIO()
    assert write_csv(recording, file, "a") == 400
    head, *rows = csv.reader(io.StringIO(file.getvalue()))
    assert head == ["epoch", "number", "at_us", "utc", "x [m/s²]", "y"]
    assert len(rows) == 400
    assert rows[0] == ["a", "0", "0", "2023-11-14T22:13:20.000000+00:00", "0.0", "0.0"]
    assert rows[300][:3] == ["a", "350", "350000"]
    assert write_csv(recording, io.StringIO()) == 70_400


def test_zarr(recording: Recording, tmp_path: Path) -> None:
    somebodys = tmp_path / "out.zarr.part"
    somebodys.mkdir()
    (somebodys / "notes.txt").touch()
    assert write_zarr(recording, tmp_path / "out.zarr") == 70_400
    root: Any = zarr.open_group(tmp_path / "out.zarr", mode="r")
    assert root.attrs["source"] == "lab1"
    assert root.attrs["gaps"] == [["a", 300, 349, "not recorded"]]
    assert root.attrs["marks"] == [[150_000, "door"]]
    assert root["0"].attrs["epoch"] == "a"
    assert root["0"].attrs["units"] == ["m/s²", ""]
    assert numpy.array_equal(root["0/samples"][300:], samples_of(350, 100))
    assert root["0/numbers"][300] == 350
    assert root["0/times_us"][300] == 350_000
    assert numpy.array_equal(root["1/samples"][:], samples_of(0, 70_000))
    assert root["1/samples"].dtype == "f4"
    with pytest.raises(FileExistsError):
        write_zarr(recording, tmp_path / "out.zarr")
    there = [path.name for path in tmp_path.iterdir() if path.suffix in (".zarr", ".part")]
    assert sorted(there) == ["out.zarr", "out.zarr.part"]
    assert (somebodys / "notes.txt").exists()


def test_what_a_source_says_is_no_formula_in_a_table(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r", "lab1", "signal")
    writer.begin("=e()\n", StreamSpec("<f4", (2,), 1_000, ("=cmd()", "\x1b[31mx"), ("<b>", "\n@m")))
    writer.write_block(0, numpy.zeros((1, 2), "<f4"), 0, 0, 0)
    writer.close()
    file = io.StringIO()
    with open_recording(tmp_path / "r") as opened:
        write_csv(opened, file)
    head, row = csv.reader(io.StringIO(file.getvalue()))
    assert head[4:] == ["'=cmd() [<b>]", "[31mx [ @m]"]
    assert row[0] == "'=e()"
