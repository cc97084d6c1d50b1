"""One segment as it is read: what is in it and where, up to its last whole record."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy

from snyper.device.strict_json import parse_strictly
from snyper.recordings import records
from snyper.recordings.errors import RecordingError
from snyper.streams import StreamSpec

Array = numpy.ndarray[Any, Any]

# A record each: `first` is the number of the first of `count` samples, of a block or of a gap.
ENTRY = numpy.dtype(
    [("offset", "<i8"), ("kind", "<i8"), ("first", "<i8"), ("count", "<i8"), ("at_us", "<i8")]
)
MAX_NUMBER = 1 << 62  # of a sample: so that no sum of two leaves 64 bits
MAX_US = 1 << 60  # of an instant, either way: 36,000 years
MAX_JSON_BYTES = 64 << 10
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredBlock:
    """A block as it was written: its stamps raw, its samples not to be written."""

    seq: int
    source_us: int
    offset_us: int
    uncertainty_us: int
    samples: Array


class Segment:
    """A segment of one epoch and one spec, which may still grow. Raises RecordingError for what no recorder
    writes; what is only cut off or no record at all is its end.
    """

    def __init__(self, path: Path, number: int) -> None:
        self.path = path
        self.number = number
        self.epoch = ""
        self.spec: StreamSpec | None = None  # until its first record is whole
        self.base_us = 0  # what is added to an instant of the hub's clock, which begins anew with each hub
        self.end = 0  # of the last whole record, in bytes
        self.first_seq: int | None = None  # the first number that a record of it tells of
        self.next_seq = 0  # the one after the last
        self.samples = 0  # that are stored
        self.begin_us: int | None = None  # the stamp of its first block
        self.latest_us: int | None = None  # the latest stamp
        self._entries = array("q")

    def grow(self) -> bool:
        """Read on, and return whether there was more."""
        before = self.end
        with self.path.open("rb", buffering=0) as file:
            for offset, kind, body in scan(file, self.end):
                self._add(offset, kind, body)
                self.end = offset + records.HEAD.size + len(body)
        return self.end > before

    @property
    def entries(self) -> Array:
        """Return an entry for each record, but for those of kinds that are not known."""
        return numpy.frombuffer(self._entries.tobytes(), ENTRY)

    @property
    def sample_bytes(self) -> int:
        """Return the bytes of one sample."""
        assert self.spec is not None
        return self.spec.sample_bytes

    def read_block(self, file: BinaryIO, entry: Any) -> StoredBlock:
        """Read the block of an entry. Raises RecordingError."""
        assert self.spec is not None
        count = int(entry["count"])
        body = self._read(file, entry, records.BLOCK_HEAD.size + count * self.sample_bytes)
        seq, source_us, offset_us, uncertainty_us, stored = records.BLOCK_HEAD.unpack_from(body)
        if (seq, stored) != (entry["first"], count):
            self._refuse(int(entry["offset"]), "is another block than its entry says")
        samples = numpy.frombuffer(body[records.BLOCK_HEAD.size :], self.spec.dtype)
        return StoredBlock(
            seq, source_us, offset_us, uncertainty_us, samples.reshape(count, *self.spec.shape)
        )

    def read_text(self, file: BinaryIO, entry: Any) -> str:
        """Read the reason of a gap or the name of a mark. Raises RecordingError."""
        begin = (records.GAP_HEAD if entry["kind"] == records.GAP else records.MARK_HEAD).size
        return bytes(self._read(file, entry)[begin:]).decode(errors="replace")

    def read_clock(self, file: BinaryIO, entry: Any) -> tuple[int, int, int]:
        """Read what the clocks said: the hub's, the recorder's, UTC. Raises RecordingError."""
        hub_us, steady_us, utc_us = records.CLOCK_BODY.unpack(self._read(file, entry))
        return hub_us, steady_us, utc_us

    def _read(self, file: BinaryIO, entry: Any, length: int | None = None) -> memoryview:
        offset, kind = int(entry["offset"]), int(entry["kind"])
        if length is None:
            length = records.needed_bytes(memoryview(_read_at(file, offset, records.HEAD.size)), 0)
        else:
            length += records.HEAD.size
        if not 0 < length <= self.end - offset:
            self._refuse(offset, "does not fit into the file")
        data = memoryview(_read_at(file, offset, length))
        found = records.whole_record(data, 0)
        if found is None or found[0] != kind:
            self._refuse(offset, "is damaged")
        return data[found[1] : found[2]]

    def _add(self, offset: int, kind: int, body: memoryview) -> None:
        if (self.spec is None) != (kind == records.SPEC):
            self._refuse(offset, "is a second spec" if self.spec else "should be the spec")
        try:
            entry = _READERS.get(kind, _unknown)(self, body)
        except ValueError as error:
            self._refuse(offset, str(error))
        if entry is not None:
            self._entries.extend((offset, kind, *entry))

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


def scan(file: BinaryIO, at: int) -> Iterator[tuple[int, int, memoryview]]:
    """Yield offset, kind and body of each record from `at` on, up to the first that is not whole."""
    wanted = _CHUNK_BYTES
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
        wanted = max(_CHUNK_BYTES, needed)


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
