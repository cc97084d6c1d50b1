"""One segment as it is read: what is in it and where, up to its last whole record."""

import zlib
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy

from snyper.device.strict_json import parse_strictly
from snyper.recordings import records
from snyper.recordings.errors import RecordingError
from snyper.recordings.layout import open_file, sidecar_path
from snyper.recordings.pyramid import BITS, Level, channels_of, empty_level, joined, reduced
from snyper.recordings.sidecar import (
    ENTRY,
    MAX_JSON_BYTES,
    Unfit,
    read_entries,
    read_level,
    read_summary,
    write_sidecar,
)
from snyper.streams import StreamSpec

Array = numpy.ndarray[Any, Any]

MAX_NUMBER = 1 << 62  # of a sample: so that no sum of two leaves 64 bits
MAX_US = 1 << 60  # of an instant, either way: 36,000 years
_CHUNK_BYTES = 1 << 20
_SMALL_CHUNK_BYTES = 1 << 16  # of a file that has several
_CHUNK_VALUES = 1 << 17  # for buckets at once: some megabytes while they are reduced
_END_BYTES = 4_096  # which have several CRC of records
_NUMBERS = ("end", "base_us", "next_seq", "samples")  # of a summary
_NUMBERS_OR_NONE = ("first_seq", "stored_end", "begin_us", "latest_us")


@dataclass(frozen=True)
class StoredBlock:
    """A block as it was written: its stamps raw, its samples not to be written."""

    seq: int
    source_us: int
    offset_us: int
    uncertainty_us: int
    samples: Array


class Segment:
    """A segment of one epoch and one spec, which may still grow: a file, or from the byte `begin` of one to
    its next spec. Raises RecordingError for what no recorder writes; what is only cut off or no record at all
    is its end.
    """

    def __init__(self, path: Path, number: int, begin: int = 0) -> None:
        self.path = path
        self.number = number  # of the file
        self.begin = begin
        self.next_begin: int | None = None  # where the one behind it in its file begins
        self.epoch = ""
        self.spec: StreamSpec | None = None  # until its first record is whole
        self.base_us = 0  # what is added to an instant of the hub's clock, which begins anew with each hub
        self.end = begin  # of the last whole record, in bytes
        self.first_seq: int | None = None  # the first number that a record of it tells of
        self.next_seq = 0  # the one after the last
        self.samples = 0  # that are stored
        self.stored_end: int | None = None  # the number after the last of them
        self.begin_us: int | None = None  # the stamp of its first block
        self.latest_us: int | None = None  # the latest stamp
        self._new = array("q")  # entries
        self._entries: Array | None = numpy.zeros(0, ENTRY)  # None while they are not in memory
        self._levels: dict[int, Level] = {}
        self._reduced = 0  # how many blocks the smallest buckets have
        self.has_sidecar = False  # which only a finished one has

    def open(self) -> None:
        """Read what is there, where it can be from the file beside it."""
        try:
            self._take_summary(read_summary(sidecar_path(self.path)))
        except (ValueError, OSError):
            self.grow()

    def grow(self) -> bool:
        """Read on, and return whether there was more."""
        if self.has_sidecar or self.next_begin is not None:
            return False
        before = self.end
        with open_file(self.path) as file:
            for offset, kind, body in scan(
                file, self.end, _SMALL_CHUNK_BYTES if self.begin else _CHUNK_BYTES
            ):
                if kind == records.SPEC and self.spec is not None:
                    self.next_begin = offset
                    break
                self._add(offset, kind, body)
                self.end = offset + records.HEAD.size + len(body)
        return self.end > before

    def release(self) -> None:
        """Give back the memory; what is asked for then is read again. Not while it grows."""
        self._entries, self._new, self._levels, self._reduced = None, array("q"), {}, 0

    def write_sidecar(self) -> None:
        """Write the file beside it, once it is finished. Raises OSError."""
        assert self.spec is not None
        summary = {name: getattr(self, name) for name in (*_NUMBERS, *_NUMBERS_OR_NONE, "epoch")}
        summary |= {"spec": self.spec.to_data(), "fingerprint": self._fingerprint()}
        levels = [self.level(bits) for bits in BITS]
        write_sidecar(sidecar_path(self.path), summary, self.entries, levels)

    @property
    def entries(self) -> Array:
        """Return an entry for each record, but for those of kinds that are not known."""
        if self._entries is None:
            self._entries = self._stored_entries() if self.has_sidecar else None
            if self._entries is None:
                self._entries = self._scanned_entries()
        if self._new:
            new = numpy.frombuffer(self._new.tobytes(), ENTRY)
            self._entries, self._new = numpy.concatenate([self._entries, new]), array("q")
        return self._entries

    @property
    def blocks(self) -> Array:
        """Return the entries of the blocks."""
        found: Array = self.entries[self.entries["kind"] == records.BLOCK]
        return found

    @property
    def sample_bytes(self) -> int:
        """Return the bytes of one sample."""
        assert self.spec is not None
        return self.spec.sample_bytes

    def level(self, bits: int) -> Level:
        """Return a level of the pyramid. Raises RecordingError, OSError."""
        assert self.spec is not None
        if self.has_sidecar and bits not in self._levels:
            with suppress(Unfit, OSError):
                self._levels[bits] = read_level(sidecar_path(self.path), bits, self.spec)
        if self.has_sidecar and bits in self._levels:
            return self._levels[bits]
        blocks = self.blocks
        if self._reduced < len(blocks) or BITS[0] not in self._levels:
            smallest = self._levels[BITS[0]] if self._reduced else empty_level(BITS[0], self.spec)
            self._levels = {BITS[0]: joined([smallest, *self._reduce(blocks[self._reduced :])])}
            self._reduced = len(blocks)
        if bits not in self._levels:
            self._levels[bits] = joined([self._levels[BITS[0]]], bits)
        return self._levels[bits]

    def read_blocks(self, file: BinaryIO, entries: Array) -> Iterator[StoredBlock]:
        """Yield the blocks of entries. Raises RecordingError."""
        assert self.spec is not None
        offsets = entries["offset"]
        heads = records.HEAD.size + records.BLOCK_HEAD.size
        ends = offsets + entries["count"] * self.sample_bytes + heads
        index = 0
        while index < len(entries):
            begin = int(offsets[index])
            until = max(index + 1, int(numpy.searchsorted(ends, begin + _CHUNK_BYTES, "right")))
            if not begin < ends[until - 1] <= self.end:
                self._refuse(begin, "does not fit into the file")
            data = memoryview(_read_at(file, begin, int(ends[until - 1]) - begin))
            columns = (entries[name][index:until].tolist() for name in ("offset", "first", "count"))
            for offset, first, count in zip(*columns, strict=True):
                yield self._block(data, offset - begin, offset, first, count)
            index = until

    def _block(self, data: memoryview, at: int, offset: int, first: int, count: int) -> StoredBlock:
        assert self.spec is not None
        found = records.whole_record(data, at)
        if found is None or found[0] != records.BLOCK:
            self._refuse(offset, "is damaged")
        body = data[found[1] : found[2]]
        if len(body) == records.BLOCK_HEAD.size + count * self.sample_bytes:
            seq, source_us, offset_us, uncertainty_us, stored = records.BLOCK_HEAD.unpack_from(body)
            if (seq, stored) == (first, count):
                samples = numpy.frombuffer(body[records.BLOCK_HEAD.size :], self.spec.dtype)
                shaped = samples.reshape(count, *self.spec.shape)
                return StoredBlock(seq, source_us, offset_us, uncertainty_us, shaped)
        self._refuse(offset, "is another block than its entry says")

    def read_text(self, file: BinaryIO, entry: Any) -> str:
        """Read the reason of a gap or the name of a mark. Raises RecordingError."""
        begin = (records.GAP_HEAD if entry["kind"] == records.GAP else records.MARK_HEAD).size
        return bytes(self._read(file, entry)[begin:]).decode(errors="replace")

    def read_clock(self, file: BinaryIO, entry: Any) -> tuple[int, int, int]:
        """Read what the clocks said: the hub's, the recorder's, UTC. Raises RecordingError."""
        hub_us, steady_us, utc_us = records.CLOCK_BODY.unpack(self._read(file, entry))
        return hub_us, steady_us, utc_us

    def _read(self, file: BinaryIO, entry: Any) -> memoryview:
        offset, kind = int(entry["offset"]), int(entry["kind"])
        length = records.needed_bytes(memoryview(_read_at(file, offset, records.HEAD.size)), 0)
        if not 0 < length <= self.end - offset:
            self._refuse(offset, "does not fit into the file")
        data = memoryview(_read_at(file, offset, length))
        found = records.whole_record(data, 0)
        if found is None or found[0] != kind:
            self._refuse(offset, "is damaged")
        return data[found[1] : found[2]]

    def _reduce(self, blocks: Array) -> Iterator[Level]:
        """Yield the smallest buckets of blocks: of several at once, where nothing is missing between them."""
        assert self.spec is not None
        waiting: list[Array] = []
        first = end = size = 0
        with open_file(self.path) as file:
            for block in self.read_blocks(file, blocks):
                if waiting and (block.seq != end or size >= _CHUNK_VALUES):
                    yield reduced(first, channels_of(numpy.concatenate(waiting), self.spec))
                    waiting, size = [], 0
                if not waiting:
                    first = block.seq
                waiting.append(block.samples)
                end, size = block.seq + len(block.samples), size + block.samples.size
        if waiting:
            yield reduced(first, channels_of(numpy.concatenate(waiting), self.spec))

    def _fingerprint(self) -> list[int]:
        """Return what tells the file from any other: its length, and a CRC of its end."""
        with open_file(self.path) as file:
            size = file.seek(0, 2)
            return [size, zlib.crc32(_read_at(file, max(0, size - _END_BYTES), _END_BYTES))]

    def _scanned_entries(self) -> Array:
        again = Segment(self.path, self.number, self.begin)
        again.grow()
        if again.samples != self.samples:
            raise RecordingError(f"{self.path} has other samples than before")
        self.has_sidecar = False
        return again.entries

    def _stored_entries(self) -> Array | None:
        """Read the entries beside the segment, where they are those that it has."""
        try:
            entries = read_entries(sidecar_path(self.path))
        except (Unfit, OSError):
            return None
        firsts, counts, offsets = entries["first"], entries["count"], entries["offset"]
        ends = firsts + counts
        blocks = entries[entries["kind"] == records.BLOCK]
        is_fit = (
            bool((offsets[:-1] < offsets[1:]).all() and (offsets >= 0).all() and (offsets < self.end).all())
            and bool((counts >= 0).all() and (counts <= MAX_NUMBER).all() and (firsts >= 0).all())
            and bool((firsts <= MAX_NUMBER).all() and (ends[:-1] <= firsts[1:]).all())
            and bool((numpy.abs(entries["at_us"]) <= MAX_US).all() and (blocks["count"] > 0).all())
            and int(blocks["count"].sum()) == self.samples
        )
        return entries if is_fit else None

    def _take_summary(self, summary: dict[str, Any]) -> None:
        """Take what the file beside the segment says of it. Raises ValueError where that is another."""
        values = [summary.get(name) for name in _NUMBERS]
        values += [one for name in _NUMBERS_OR_NONE if (one := summary.get(name)) is not None]
        if not all(type(value) is int and abs(value) <= MAX_NUMBER for value in values):
            raise Unfit
        epoch, spec = summary.get("epoch"), StreamSpec.from_data(summary.get("spec"))
        is_empty = [summary.get(name) is None for name in ("stored_end", "begin_us", "latest_us")]
        if not isinstance(epoch, str) or is_empty != [not summary["samples"]] * 3:
            raise Unfit
        if summary.get("fingerprint") != self._fingerprint():
            raise Unfit
        for name in (*_NUMBERS, *_NUMBERS_OR_NONE):
            setattr(self, name, summary.get(name))
        self.epoch, self.spec, self._entries, self.has_sidecar = epoch, spec, None, True

    def _add(self, offset: int, kind: int, body: memoryview) -> None:
        if self.spec is None and kind != records.SPEC:
            self._refuse(offset, "should be the spec")
        try:
            entry = _READERS.get(kind, _unknown)(self, body)
        except ValueError as error:
            self._refuse(offset, str(error))
        if entry is not None:
            self._new.extend((offset, kind, *entry))

    def _refuse(self, offset: int, what: str) -> NoReturn:
        raise RecordingError(f"{self.path}: the record at byte {offset:,} {what}")

    def _take_numbers(self, first: int, count: int) -> None:
        if not (self.next_seq <= first and count > 0 and first + count <= MAX_NUMBER):
            raise ValueError(f"has the numbers {first:,} and {count:,} on after {self.next_seq:,}")
        if self.first_seq is None:
            self.first_seq = first
        self.next_seq = first + count

    def _add_spec(self, body: memoryview) -> None:
        data = parse_json(body)
        epoch, base_us = data.get("epoch"), data.get("base_us")
        if not isinstance(epoch, str) or type(base_us) is not int:
            raise ValueError("has no epoch or no base")
        self.epoch, self.base_us = epoch, _instant(base_us)
        self.spec = StreamSpec.from_data(data.get("spec"))

    def _add_block(self, body: memoryview) -> tuple[int, int, int]:
        if len(body) < records.BLOCK_HEAD.size:
            raise ValueError("is too short for a block")
        seq, source_us, offset_us, _, count = records.BLOCK_HEAD.unpack_from(body)
        if len(body) != records.BLOCK_HEAD.size + count * self.sample_bytes:
            raise ValueError(f"has not the bytes of {count:,} samples")
        at_us = _instant(source_us + offset_us)
        self._take_numbers(seq, count)
        self.samples += count
        self.stored_end = seq + count
        if self.begin_us is None or self.latest_us is None:
            self.begin_us = self.latest_us = at_us
        elif at_us > self.latest_us:
            self.latest_us = at_us
        return seq, count, at_us

    def _add_gap(self, body: memoryview) -> tuple[int, int, int]:
        if len(body) < records.GAP_HEAD.size:
            raise ValueError("is too short for a gap")
        first, last = records.GAP_HEAD.unpack_from(body)
        self._take_numbers(first, last - first + 1)
        return first, last - first + 1, 0

    def _add_mark(self, body: memoryview) -> tuple[int, int, int]:
        if len(body) < records.MARK_HEAD.size:
            raise ValueError("is too short for a mark")
        return self.next_seq, 0, _instant(records.MARK_HEAD.unpack_from(body)[0])

    def _add_clock(self, body: memoryview) -> tuple[int, int, int]:
        if len(body) != records.CLOCK_BODY.size:
            raise ValueError("has not the bytes of three clocks")
        return self.next_seq, 0, _instant(records.CLOCK_BODY.unpack(body)[0])


def _unknown(segment: Segment, body: memoryview) -> None:
    return None


_READERS: dict[int, Any] = {
    records.SPEC: Segment._add_spec,
    records.BLOCK: Segment._add_block,
    records.GAP: Segment._add_gap,
    records.MARK: Segment._add_mark,
    records.CLOCK: Segment._add_clock,
}


def scan(file: BinaryIO, at: int, chunk_bytes: int = _CHUNK_BYTES) -> Iterator[tuple[int, int, memoryview]]:
    """Yield offset, kind and body of each record from `at` on, up to the first that is not whole; it is read
    in pieces of so many bytes.
    """
    wanted = chunk_bytes
    while True:
        data = memoryview(_read_at(file, at, wanted))
        offset = 0
        while (found := records.whole_record(data, offset)) is not None:
            kind, begin, end = found
            yield at + offset, kind, data[begin:end]
            offset = end
        at += offset
        needed = records.needed_bytes(data[offset:], 0)
        is_cut_here = len(data) == wanted and len(data) - offset < needed
        if not is_cut_here or needed > file.seek(0, 2) - at:
            return
        wanted = max(chunk_bytes, needed)


def parse_json(body: memoryview) -> dict[str, Any]:
    """Parse the JSON of a record, or of a file. Raises ValueError."""
    if len(body) > MAX_JSON_BYTES:
        raise ValueError(f"has more than {MAX_JSON_BYTES:,} bytes of JSON")
    try:
        data = parse_strictly(bytes(body))
    except ValueError as error:
        raise ValueError(f"is no JSON: {error}") from None
    if not isinstance(data, dict):
        raise ValueError("is no JSON object")
    return data


def _instant(at_us: int) -> int:
    if not -MAX_US <= at_us <= MAX_US:
        raise ValueError(f"has an instant beyond all limits: {at_us}")
    return at_us


def _read_at(file: BinaryIO, at: int, length: int) -> bytes:
    file.seek(at)
    return file.read(length)
