"""Recordings as the page of signals shows them: the list of them, and columns of what they have."""

import asyncio
import os
import re
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy

from snyper.dashboard.faults import log_fault
from snyper.recordings import Recording, RecordingError, open_recording
from snyper.recordings.layout import DESCRIPTION
from snyper.recordings.overview import drawn_channels, drawn_columns, overview_of
from snyper.recordings.recording import read_description
from snyper.recordings.retention import recordings_in
from snyper.streams import StreamSpec
from snyper.system import steady

Array = numpy.ndarray[Any, Any]

LIST_S = 2.0  # between two looks at the folder
GROWN_S = 10.0  # after which one that grows is opened again to see how much it has
MOST_LISTED = 50  # the newest
MOST_CHANNELS = 8
_SEGMENT = re.compile(r"\d{6,9}\.seg")


@dataclass(frozen=True)
class Shelved:
    """A recording in the list. Instants are in µs of its own clock."""

    folder: str
    stream: str  # SOURCE/STREAM
    begin_us: int
    end_us: int  # of the last sample
    samples: int
    missing: int
    utc_ahead_us: int | None  # of its clock


@dataclass(frozen=True, eq=False)
class Past:
    """Columns of recordings: a row for each that has samples, in order, with a value for each channel."""

    spec: StreamSpec
    numbers: Array
    columns: tuple[Array, ...]  # as `LiveColumns.fill` takes them
    end_us: int  # of the last sample
    marks: list[tuple[int, str]]


class RecordedPast:
    """The recordings in `place`, read in one thread of its own. Nothing is read while nobody asks, and
    nothing is open in between, so that retention may remove it.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.shelf: list[Shelved] = []  # the newest first
        self.count = 0  # of all, shown or not
        self.problem = ""
        self._known: dict[str, tuple[tuple[int, ...], float, Shelved | None]] = {}
        self._listed_s = -LIST_S
        self._listing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "recordings")

    def close(self) -> None:
        """Read no more."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def find(self, folder: str) -> Shelved | None:
        """Return a recording of the list."""
        return next((one for one in self.shelf if one.folder == folder), None)

    def is_there(self, folder: str) -> bool:
        """Tell whether a recording of the list is still one."""
        return (self.place / folder / DESCRIPTION).exists()

    def refresh(self, opened: Collection[str] = ()) -> None:
        """Have the list read, in the background, if that is due: of those that are open as they are now."""
        if self._listing is None and steady.now_s() - self._listed_s >= LIST_S:
            self._listing = asyncio.create_task(self._list(tuple(opened)))

    async def look_at(self, folder: str) -> Shelved | None:
        """Return a recording of the list as it is now."""
        found: Shelved | None = await self._run(self._about, self.place / folder, True)
        self.shelf = [found if found and one.folder == folder else one for one in self.shelf]
        return found

    async def of_stream(self, stream: str, window: "Window", utc_ahead_us: int | None) -> Past | None:
        """Return what the recordings of a stream have of a time of the hub's clock, which is so far behind
        the time of day; None for nothing.
        """
        found: Past | None = await self._run(self._of_stream, stream, window, utc_ahead_us, window.hub_id)
        return found

    async def of_recording(self, folder: str, window: "Window") -> Past | None:
        """Return what one has of a time of its own clock. Raises RecordingError, OSError."""
        found: Past | None = await self._run(_columns_of, self.place / folder, window, 0)
        return found

    async def _run(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def _list(self, opened: Collection[str]) -> None:
        try:
            await self._run(self._look, opened)
            self.problem = ""
        except OSError as error:
            self.problem = error.strerror or str(error)
        finally:
            self._listed_s, self._listing = steady.now_s(), None

    # --- in the thread

    def _look(self, opened: Collection[str]) -> None:
        folders = recordings_in(self.place)[::-1]
        found = [self._about(folder, folder.name in opened) for folder in folders[:MOST_LISTED]]
        names = {folder.name for folder in folders[:MOST_LISTED]}
        self._known = {name: known for name, known in self._known.items() if name in names}
        self.count = len(folders)
        self.shelf = [one for one in found if one is not None]

    def _about(self, folder: Path, is_wanted: bool = False) -> Shelved | None:
        """Return what the list says of a recording; None for one that cannot be read, or has nothing."""
        try:
            state = _state_of(folder)
        except OSError:  # gone meanwhile
            return None
        known = self._known.get(folder.name)
        is_known = known is not None and not is_wanted and steady.now_s() - known[1] < GROWN_S
        if known is not None and (known[0] == state or is_known):
            return known[2]
        about = None
        try:
            with open_recording(folder) as recording:
                about = _about(recording)
        except (RecordingError, OSError) as error:
            log_fault("a recording cannot be read", error)
        self._known[folder.name] = state, steady.now_s(), about
        return about

    def _of_stream(self, stream: str, window: "Window", utc_ahead_us: int | None, hub_id: str) -> Past | None:
        parts = []
        for folder in self._folders_of(stream):
            try:
                with open_recording(folder) as recording:
                    ahead_us = _ahead_us(recording, utc_ahead_us, hub_id)
                    if ahead_us is not None:
                        parts.append(_columns(recording, window, ahead_us))
            except (RecordingError, OSError, ValueError) as error:
                log_fault("a recording cannot be read", error)
        return _merged([part for part in parts if part is not None])

    def _folders_of(self, stream: str) -> list[Path]:
        """Return the newest recordings of a stream, in their order."""
        found: list[Path] = []
        for folder in recordings_in(self.place)[::-1]:
            with suppress(RecordingError, OSError):
                about = read_description(folder / DESCRIPTION)
                if f"{about['source']}/{about['stream']}" == stream:
                    found.append(folder)
            if len(found) == MOST_LISTED:
                break
        return found[::-1]

    def samples_of(
        self, stream: str, from_us: int, to_us: int, utc_ahead_us: int | None, hub_id: str
    ) -> Iterator[tuple[StreamSpec, Array]]:
        """Yield the samples that the recordings of a stream have of a time of the hub's clock, each once."""
        for folder in self._folders_of(stream):
            try:
                opened = open_recording(folder)
            except (RecordingError, OSError) as error:  # nor is it in the plot; or it is gone meanwhile
                log_fault("a recording cannot be read", error)
                continue
            with opened as recording:
                ahead_us = _ahead_us(recording, utc_ahead_us, hub_id)
                if ahead_us is not None:
                    yield from _samples(recording, from_us - ahead_us, to_us - ahead_us)
                    from_us = max(from_us, _end_us(recording) + 1 + ahead_us)

    def samples_in(self, folder: str, from_us: int, to_us: int) -> Iterator[tuple[StreamSpec, Array]]:
        """Yield the samples that a recording has of a time of its own clock."""
        with open_recording(self.place / folder) as recording:
            yield from _samples(recording, from_us, to_us)


@dataclass(frozen=True)
class Window:
    """The columns from `first` to `last`, of `width_us` each, in the clock of the hub with that boot id."""

    first: int
    last: int
    width_us: int
    hub_id: str = ""

    @property
    def from_us(self) -> int:
        """Return where the first begins."""
        return self.first * self.width_us

    @property
    def to_us(self) -> int:
        """Return where the last ends."""
        return (self.last + 1) * self.width_us


def _state_of(folder: Path) -> tuple[int, ...]:
    """Return what changes when a recording grows, or is another."""
    found = [entry.stat() for entry in os.scandir(folder) if _SEGMENT.fullmatch(entry.name) is not None]
    latest_ns = max((one.st_mtime_ns for one in found), default=0)
    return len(found), sum(one.st_size for one in found), latest_ns


def _ahead_us(recording: Recording, utc_ahead_us: int | None, hub_id: str) -> int | None:
    """Return how far the clock of the hub with that boot id is ahead of a recording's: of one of another run
    of the hub by the time of day. None where nobody knows.
    """
    last_id, base_us = recording.last_hub
    if hub_id and last_id == hub_id:
        return -base_us
    own_us = recording.utc_us(0)
    return None if own_us is None or utc_ahead_us is None else own_us - utc_ahead_us


def _about(recording: Recording) -> Shelved | None:
    epochs = recording.epochs
    samples = sum(one.samples for one in epochs)
    if not samples:
        return None
    begin_us, end_us = recording.span_us
    missing = sum(one.missing for one in epochs)
    stream = f"{recording.source}/{recording.stream}"
    return Shelved(recording.folder.name, stream, begin_us, end_us, samples, missing, recording.utc_us(0))


def _end_us(recording: Recording) -> int:
    try:
        return recording.span_us[1]
    except RecordingError:  # it has no samples
        return -(1 << 62)


def _columns_of(folder: Path, window: Window, ahead_us: int) -> Past | None:
    with open_recording(folder) as recording:
        return _columns(recording, window, ahead_us)


def _columns(recording: Recording, window: Window, ahead_us: int) -> Past | None:
    """Return what a recording has of a time, in a clock that is so far ahead of its own."""
    from_us, to_us = window.from_us - ahead_us, window.to_us - ahead_us
    epochs = [one for one in recording.epochs if one.samples and one.begin_us < to_us]
    if not epochs:
        return None
    end_us = recording.span_us[1]
    if end_us < from_us:
        return None
    spec = epochs[-1].spec  # what has other channels is left out
    channels = drawn_channels(spec, range(min(prod(spec.shape), MOST_CHANNELS)))
    found = overview_of(recording, from_us, to_us, window.last - window.first + 1, channels, spec)
    rows = numpy.flatnonzero(found.samples)
    numbers = (found.edges_us[rows] + ahead_us + window.width_us // 2) // window.width_us
    marks = [(mark.at_us + ahead_us, mark.name) for mark in recording.marks if from_us <= mark.at_us < to_us]
    return Past(spec, numbers, drawn_columns(found, rows), end_us + ahead_us, marks)


def _merged(parts: list[Past]) -> Past | None:
    """Return columns of several recordings one after the other, of those with the newest one's spec."""
    parts.sort(key=lambda part: part.end_us)
    parts = [part for part in parts if part.spec.shape == parts[-1].spec.shape and len(part.numbers)]
    if not parts:
        return None
    columns = tuple(map(numpy.concatenate, zip(*(part.columns for part in parts), strict=True)))
    numbers = numpy.concatenate([part.numbers for part in parts])
    marks = sorted({mark for part in parts for mark in part.marks})
    return Past(parts[-1].spec, numbers, columns, parts[-1].end_us, marks)


def _samples(recording: Recording, from_us: int, to_us: int) -> Iterator[tuple[StreamSpec, Array]]:
    """Yield what was captured in a time, a block at a time."""
    for run in recording.chunks((from_us, to_us)):
        yield run.spec, run.samples


def write_npy(file: IO[bytes], parts: Iterator[tuple[StreamSpec, Array]]) -> int:
    """Write samples as an array, those of the last spec alone; return how many. Raises OSError."""
    count, last, begin = 0, None, 0
    for spec, samples in parts:
        if last is None or (spec.dtype, spec.shape) != (last.dtype, last.shape):
            last, count = spec, 0
            file.seek(0)
            file.truncate()
            _write_head(file, spec, 0)
            begin = file.tell()
        count += len(samples)
        file.write(numpy.ascontiguousarray(samples, last.dtype).reshape(-1).view("u1").data)
    if last is not None:
        end = file.tell()
        file.seek(0)
        _write_head(file, last, count)  # which leaves room for the digits of any count
        if file.tell() != begin:
            raise OSError("the head of the array has no room")
        file.seek(end)
    return count


def _write_head(file: IO[bytes], spec: StreamSpec, count: int) -> None:
    head = {"descr": spec.dtype, "fortran_order": False, "shape": (count, *spec.shape)}
    numpy.lib.format.write_array_header_2_0(file, head)
