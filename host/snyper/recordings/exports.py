"""Recordings as others read them: `.npy`, CSV, Zarr. What is written takes no memory beyond a few blocks."""

import csv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy

from snyper.recordings.errors import RecordingError
from snyper.recordings.recording import Epoch, Recording, Run
from snyper.system.text import table_cell
from snyper.system.unfinished import part_folder

Progress = Callable[[int, int], None]  # with samples that are done, and how many there are
_CHUNK_BYTES = 1 << 20  # of Zarr's chunks
_1970 = datetime(1970, 1, 1, tzinfo=UTC)


def _no_progress(done: int, total: int) -> None: ...


def write_npy(
    recording: Recording, file: BinaryIO, epoch: str | None = None, on_progress: Progress = _no_progress
) -> int:
    """Write the samples of one epoch as an array of the shape (n, *spec.shape); return how many they are.

    `epoch` may be left out where there is but one. Where samples are missing those after them follow at once.
    Raises RecordingError, OSError.
    """
    epochs = _epochs_of(recording, epoch)
    if len({(one.id, one.spec) for one in epochs}) != 1:
        names = ", ".join(one.id for one in epochs) or "none"
        raise RecordingError(f"an array has the samples of one epoch: name one of {names}")
    spec, total = epochs[0].spec, sum(one.samples for one in epochs)
    head = {"descr": spec.dtype, "fortran_order": False, "shape": (total, *spec.shape)}
    numpy.lib.format.write_array_header_2_0(file, head)
    for done, run in _counted(recording, epochs):
        file.write(numpy.ascontiguousarray(run.samples).data)
        on_progress(done, total)
    return total


def write_csv(
    recording: Recording, file: TextIO, epoch: str | None = None, on_progress: Progress = _no_progress
) -> int:
    """Write a row for each sample; return how many. Raises RecordingError, OSError.

    It has the epoch, the number, the instant in µs of the hub's clock and in UTC, then a column a channel.
    """
    epochs = _epochs_of(recording, epoch)
    columns = {tuple(_columns_of(one)) for one in epochs}
    if len(columns) > 1:
        raise RecordingError("the channels of two epochs are not the same: name one of them")
    rows = csv.writer(file)
    names = columns.pop() if columns else ()
    rows.writerow(["epoch", "number", "at_us", "utc", *map(table_cell, names)])
    total = sum(one.samples for one in epochs)
    for done, run in _counted(recording, epochs):
        values = run.samples.reshape(len(run.samples), -1).tolist()
        name = table_cell(run.epoch)
        for number, (at_us, sample) in enumerate(zip(run.times_us.tolist(), values, strict=True), run.first):
            rows.writerow([name, number, at_us, _utc(recording, at_us), *sample])
        on_progress(done, total)
    return total


def write_zarr(
    recording: Recording, path: Path, epoch: str | None = None, on_progress: Progress = _no_progress
) -> int:
    """Write a Zarr group into a folder that is not there yet; return how many samples it has.

    Each epoch is a group in it, from `0` on, with the arrays `samples`, `numbers` and `times_us`. Attributes
    say what they are and what is missing. Raises FileExistsError, RecordingError, OSError, and ImportError
    without the package zarr.
    """
    import zarr

    if path.exists():
        raise FileExistsError(f"{path} is there already: remove it, or name another")
    epochs = _epochs_of(recording, epoch)
    total = sum(one.samples for one in epochs)
    with part_folder(path) as part:
        whole = part / path.name
        root = zarr.open_group(whole, mode="w")
        root.attrs.update(_attributes_of(recording))
        done = 0
        for index, one in enumerate(epochs):
            group = root.create_group(str(index), attributes=_attributes_of_epoch(recording, one))
            rows = max(1, min(one.samples, _CHUNK_BYTES // one.spec.sample_bytes))
            shape = (one.samples, *one.spec.shape)
            chunks = (rows, *one.spec.shape)
            samples = group.create_array("samples", shape=shape, chunks=chunks, dtype=one.spec.dtype)
            numbers, times = (
                group.create_array(name, shape=shape[:1], chunks=(rows,), dtype="int64")
                for name in ("numbers", "times_us")
            )
            at = 0
            for batch in _batches(_runs_of(recording, one), rows):
                until = at + len(batch[0])
                numbers[at:until], samples[at:until], times[at:until] = batch
                on_progress(done + until, total)
                at = until
            done += at
        whole.rename(path)
    return total


def _epochs_of(recording: Recording, epoch: str | None) -> list[Epoch]:
    found = [one for one in recording.epochs if one.samples and epoch in (None, one.id)]
    if epoch is not None and not found:
        raise RecordingError(f"{recording.folder} has no samples of an epoch {epoch}")
    return found


def _runs_of(recording: Recording, epoch: Epoch) -> Iterator[Run]:
    for run in recording.chunks():
        if (run.epoch, run.spec) == (epoch.id, epoch.spec) and epoch.first <= run.first < epoch.end:
            yield run


def _counted(recording: Recording, epochs: list[Epoch]) -> Iterator[tuple[int, Run]]:
    done = 0
    ids = {one.id for one in epochs}
    for run in recording.chunks():
        if run.epoch in ids:
            done += len(run.samples)
            yield done, run


def _batches(runs: Iterator[Run], rows: int) -> Iterator[tuple[Any, Any, Any]]:
    """Yield numbers, samples and instants of so many samples each, the last of fewer."""
    waiting: list[tuple[Any, Any, Any]] = []
    count = 0
    for run in runs:
        waiting.append((numpy.arange(run.first, run.first + len(run.samples)), run.samples, run.times_us))
        count += len(run.samples)
        if count >= rows:
            joined = tuple(numpy.concatenate(columns) for columns in zip(*waiting, strict=True))
            whole = count // rows * rows
            for begin in range(0, whole, rows):
                numbers, samples, times = (column[begin : begin + rows] for column in joined)
                yield numbers, samples, times
            numbers, samples, times = (column[whole:] for column in joined)
            waiting, count = [(numbers, samples, times)], len(numbers)
    if count:
        numbers, samples, times = (numpy.concatenate(columns) for columns in zip(*waiting, strict=True))
        yield numbers, samples, times


def _columns_of(epoch: Epoch) -> Iterator[str]:
    spec = epoch.spec
    for index in range(spec.sample_bytes // numpy.dtype(spec.dtype).itemsize):
        name = spec.names[index] if spec.names else f"channel {index}"
        yield f"{name} [{spec.units[index]}]" if spec.units and spec.units[index] else name


def _utc(recording: Recording, at_us: int) -> str:
    utc_us = recording.utc_us(at_us)
    if utc_us is None:
        return ""
    try:
        return (_1970 + timedelta(microseconds=utc_us)).isoformat(timespec="microseconds")
    except OverflowError:  # a clock that is out of the calendar
        return ""


def _attributes_of(recording: Recording) -> dict[str, Any]:
    return {
        "source": recording.source,
        "stream": recording.stream,
        "gaps": [[gap.epoch, gap.first, gap.last, gap.why] for gap in recording.gaps],
        "marks": [[mark.at_us, mark.name] for mark in recording.marks],
    }


def _attributes_of_epoch(recording: Recording, epoch: Epoch) -> dict[str, Any]:
    spec = epoch.spec.to_data()
    return {"epoch": epoch.id, **spec, "begin_utc": _utc(recording, epoch.begin_us)}
