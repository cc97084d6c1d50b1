"""Writes a recording: a record with one call each, which is on the disk a second later whatever happens."""

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy

from snyper.device.disk import sync_folder
from snyper.recordings import records
from snyper.recordings.errors import InUse
from snyper.recordings.layout import (
    DESCRIPTION,
    FORMAT,
    READERS_LOCK,
    WRITER_LOCK,
    segment_path,
    segments_in,
)
from snyper.recordings.recording import read_description
from snyper.recordings.segment import Segment
from snyper.streams import StreamSpec
from snyper.system.files import PRIVATE_FOLDER, lock, write_private

SEGMENT_BYTES = 16 << 20  # what a reader scans of a recording that has just lost its power: 0.1 s
# Of a file with several epochs, which has no file beside it: it is scanned in a few milliseconds.
_SHARED_SHARE = 16
SYNC_S = 0.5  # at most so long after it was written a record is on the disk, if `sync_if_due` is called


class RecordingWriter:
    """A recording that is written, in a folder that is new or empty, or that `continues` one there. Used by
    one thread at a time.

    Every method that writes raises OSError where the disk takes no more; then the record is not in the
    recording, and the next that is written begins another segment.
    """

    def __init__(
        self,
        folder: Path,
        source: str,
        stream: str,
        segment_bytes: int = SEGMENT_BYTES,
        continues: bool = False,
    ) -> None:
        self.folder = folder
        self._segment_bytes = self._most_bytes = segment_bytes
        self._number = 0
        self._file: BinaryIO | None = None
        self._size = 0
        self._has_blocks = False
        self._spec: list[bytes] | None = None
        self._sync_due_s: float | None = None
        folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        self._lock = _locked(folder / WRITER_LOCK)
        try:
            self._description: dict[str, Any] = {"format": FORMAT, "source": source, "stream": stream}
            if continues:
                self._continue()
            elif (folder / DESCRIPTION).exists() or segments_in(folder):
                raise InUse(f"{folder} has a recording already")
            (folder / READERS_LOCK).touch()
            self._write_description()
            sync_folder(folder)
            sync_folder(folder.parent)
        except BaseException:
            os.close(self._lock)
            raise

    def _continue(self) -> None:
        """Go on behind what is there, which may have been cut off anywhere."""
        before = read_description(self.folder / DESCRIPTION)
        for name in ("source", "stream"):
            if before[name] != self._description[name]:
                raise ValueError(f"{self.folder} is a recording of {before['source']}/{before['stream']}")
        self._description = before
        numbers = segments_in(self.folder)
        if numbers:
            self._number = numbers[-1]
            self._write_sidecar()

    def begin(self, epoch: str, spec: StreamSpec, base_us: int = 0, hub_id: str = "") -> None:
        """Have what follows be of this epoch and spec. `base_us` is added to instants of the hub's clock, so
        that they go on where another hub's clock began anew. While a segment is small it is added to that, so
        that a source with a new epoch for each block costs a record for it, and not a file. The boot id of
        the hub is for who goes on here.
        """
        if (hub_id, base_us) != (self._description.get("hub", ""), self._description.get("base_us", 0)):
            self._description |= {"hub": hub_id, "base_us": base_us}
            self._write_description()
        body = {"epoch": epoch, "spec": spec.to_data(), "base_us": base_us}
        self._spec = [json.dumps(body).encode()]
        shared_bytes = self._segment_bytes // _SHARED_SHARE
        if self._file is None or self._size >= shared_bytes:
            self._end_segment()
        else:
            self._most_bytes = shared_bytes
            self._write(records.SPEC, *self._spec)

    def write_block(
        self, seq: int, samples: numpy.ndarray[Any, Any], source_us: int, offset_us: int, uncertainty_us: int
    ) -> None:
        """Write samples, as many as 256 MiB have, whose numbers are beyond all that were written before in
        this epoch. Raises ValueError for more.
        """
        head = records.BLOCK_HEAD.pack(seq, source_us, offset_us, uncertainty_us, len(samples))
        content = numpy.ascontiguousarray(samples).reshape(-1).view(numpy.uint8).data
        if self._has_blocks and self._size + len(content) > self._most_bytes:
            self._end_segment()
        self._write(records.BLOCK, head, content)
        self._has_blocks = True

    def write_gap(self, first: int, last: int, why: str) -> None:
        """Write that the samples `first` to `last` are not recorded."""
        self._write(records.GAP, records.GAP_HEAD.pack(first, last), why.encode())

    def write_mark(self, at_us: int, name: str) -> None:
        """Write a named instant of the hub's clock."""
        self._write(records.MARK, records.MARK_HEAD.pack(at_us), name.encode(errors="replace"))

    def write_clock(self, hub_us: int, steady_us: int, utc_us: int) -> None:
        """Write what three clocks say at one instant: the hub's, this computer's steady one, UTC.

        The first is what the time of day of the whole recording is worked out from.
        """
        if "utc_us" not in self._description:
            self._description |= {"hub_us": hub_us, "utc_us": utc_us}
            self._write_description()
        self._write(records.CLOCK, records.CLOCK_BODY.pack(hub_us, steady_us, utc_us))

    @property
    def sync_in_s(self) -> float | None:
        """In how many seconds `sync_if_due` is to be called, or None while all is on the disk."""
        return None if self._sync_due_s is None else max(0.0, self._sync_due_s - time.monotonic())

    def sync_if_due(self) -> None:
        """Have what was written on the disk, where the oldest of it has waited for SYNC_S."""
        if self._sync_due_s is not None and time.monotonic() >= self._sync_due_s:
            self.sync()

    def sync(self) -> None:
        """Have all on the disk that was written."""
        if self._file is not None:
            try:
                _sync_data(self._file.fileno())
            except OSError:
                # Nobody knows what of it is on the disk then: nothing more is added to it.
                self._drop_file(is_sound=False)
                raise
        self._sync_due_s = None

    def close(self) -> None:
        """Have all on the disk, and end. The folder is free for retention then, even where this raises."""
        try:
            self._end_segment()
        finally:
            self._drop_file()
            os.close(self._lock)

    def _write_description(self) -> None:
        write_private(self.folder / DESCRIPTION, json.dumps(self._description, indent=1).encode() + b"\n")

    def _write(self, kind: int, *body: records.Buffer) -> None:
        if self._file is None:
            self._begin_segment()
        assert self._file is not None
        try:
            self._size += _append(self._file, [records.head_of(kind, body), *body])
        except OSError:
            self._drop_file()  # a record that is cut off is the end of its segment
            raise
        if self._sync_due_s is None:
            self._sync_due_s = time.monotonic() + SYNC_S

    def _begin_segment(self) -> None:
        assert self._spec is not None, "what is recorded has an epoch"
        path = segment_path(self.folder, self._number + 1)
        file = path.open("xb", buffering=0)
        try:
            size = _append(file, [records.head_of(records.SPEC, self._spec), *self._spec])
            _sync_data(file.fileno())
            sync_folder(self.folder)
        except BaseException:
            file.close()
            path.unlink(missing_ok=True)
            raise
        self._number += 1
        self._file, self._size, self._has_blocks = file, size, False
        self._most_bytes = self._segment_bytes

    def _end_segment(self) -> None:
        """Have the segment on the disk before there is another."""
        if self._file is not None:
            self.sync()
            self._drop_file()

    def _drop_file(self, is_sound: bool = True) -> None:
        """End the segment. One that is sound has its file beside it, once all of it is on the disk."""
        file, self._file, self._sync_due_s = self._file, None, None
        if file is None:
            return
        with suppress(OSError):  # a reader does without it
            with file:
                if not is_sound:
                    return
                _sync_data(file.fileno())
            self._write_sidecar()

    def _write_sidecar(self) -> None:
        """Write the file beside the last segment, for a reader: it does without one, too."""
        segment = Segment(segment_path(self.folder, self._number), self._number)
        with suppress(OSError):
            segment.open()
            if segment.spec is not None and segment.next_begin is None and not segment.has_sidecar:
                segment.write_sidecar()


def _append(file: BinaryIO, parts: list[records.Buffer]) -> int:
    """Write all with one call of the system, where it takes all. Raises OSError."""
    size = sum(len(part) for part in parts)
    written = os.writev(file.fileno(), parts) if hasattr(os, "writev") else file.write(b"".join(parts))
    if written < size:  # a disk that is full takes what it can, and says so with the next
        rest = memoryview(b"".join(parts))[written:]
        while rest:
            rest = rest[file.write(rest) :]
    return size


def _sync_data(descriptor: int) -> None:
    (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(descriptor)


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if not lock(descriptor, waits=False):
        os.close(descriptor)
        raise InUse(f"another recorder writes to {path.parent}")
    return descriptor
