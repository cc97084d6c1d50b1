"""What those who ask for stored arrays are answered, over HTTP and through a hub alike."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import BinaryIO, NamedTuple
from unicodedata import normalize

import numpy

from snyper.arrays.npy import Head, NotTaken, head_bytes
from snyper.arrays.slices import Selection, file_order, pieces, select, whole
from snyper.arrays.store import Entry, Store, Upload
from snyper.device.inbox.names import MAX_TEXT_CHARS, safe_name
from snyper.gateway.array_uploads import ArrayWriter
from snyper.gateway.places import Places

PAGE = 1_000  # entries at once
INDEX = re.compile(r"[+-]?\d{1,19}", re.ASCII)
SHOWN_CHARS = 100
_UNNAMED = "array"


class Missing(LookupError):
    """There is no such array; the message says so."""

    def __init__(self, which: str) -> None:
        super().__init__(f"there is no array {which[:SHOWN_CHARS]}")


class Npy(NamedTuple):
    """A `.npy` file that is made as it is read: how many bytes it has, and these."""

    length: int
    blocks: Iterator[bytes]


class StoredArrays:
    """The arrays of a store, by their indices and names. Its methods may be called from any thread, and raise
    sqlite3.Error.
    """

    def __init__(self, store: Store, places: Places) -> None:
        self.store = store
        self.places = places  # for uploads

    def entry(self, which: str) -> Entry:
        """Return the array of an index, or the newest of a name, or of a file's. Raises Missing."""
        if INDEX.fullmatch(which):
            entry = self.store.get(int(which))
        else:
            name = normalize("NFC", which)
            entry = self.store.find(name) or self.store.find(_without_suffix(name))
        if entry is None:
            raise Missing(which)
        return entry

    def open(self, which: str) -> tuple[Entry, BinaryIO]:
        """Return the array of an index or a name, and its file. Raises Missing, OSError."""
        entry = self.entry(which)
        try:
            return entry, self.store.path(entry.index).open("rb", buffering=0)
        except FileNotFoundError:  # deleted since, or by somebody else
            raise Missing(which) from None

    def delete(self, which: str) -> dict[str, object]:
        """Delete the array of an index or a name; return what is answered. Raises Missing, OSError."""
        entry = self.entry(which)
        if not self.store.delete(entry.index):
            raise Missing(which)
        return {"status": "success", "index": entry.index}

    def page(self, after: int, limit: int, with_previews: bool) -> dict[str, object]:
        """Return the first `limit` arrays whose index is above `after`, with all that is known of them."""
        return self._page(self.store.page(after, limit + 1), limit, with_previews)

    def newest(self, before: int, limit: int, with_previews: bool) -> dict[str, object]:
        """Return the last `limit` arrays whose index is below `before`, the newest first."""
        return self._page(self.store.newest(before, limit + 1), limit, with_previews)

    def _page(self, entries: list[Entry], limit: int, with_previews: bool) -> dict[str, object]:
        is_last = len(entries) <= limit
        del entries[limit:]
        described = [_described(entry) for entry in entries]
        if with_previews and entries:
            indices = [entry.index for entry in entries]
            previews = self.store.previews(min(indices), max(indices))
            for one, entry in zip(described, entries, strict=True):
                preview = previews.get(entry.index)
                one["preview"] = None if preview is None else preview.to_data()
        following = None if is_last else entries[-1].index
        return {"count": self.store.count, "arrays": described, "next": following}

    def add(self, writer: ArrayWriter, name: str, key: str | None) -> dict[str, object]:
        """Store what was written; return what is answered. Raises NotTaken, KeyReused, NoRoom, OSError."""
        upload = Upload(name_of(name), key, writer.digest.hexdigest())
        entry = self.store.add(writer.path, writer.head, upload)
        head = entry.head
        return {
            "status": "success",
            "shape": list(head.shape),
            "dtype": _type_name(head.dtype),
            "index": entry.index,
        }


def selection_of(head: Head, part: str | None) -> Selection:
    """Return what a slice selects of an array, all of it for None. Raises NoSlice."""
    return whole(head.shape) if part is None else select(part, head.shape)


def npy_of(head: Head, file: BinaryIO, selection: Selection, block_bytes: int) -> Npy:
    """Return what is selected of the array in an open file as a `.npy` file, in blocks of at most so many
    bytes. Taking one raises OSError where the file is shorter than its head says.
    """
    selected = Head(head.dtype, selection.shape, head.is_fortran)
    begin = head_bytes(selected)

    def blocks() -> Iterator[bytes]:
        yield begin
        for piece in pieces(file, *file_order(head, selection), block_bytes):
            yield piece.tobytes()

    return Npy(len(begin) + selected.file_bytes, blocks())


def check_name(text: object) -> None:
    """Raise NotTaken for what cannot become an array's name."""
    if not isinstance(text, str) or len(text) > MAX_TEXT_CHARS or _has_halves(text):
        raise NotTaken(f"a name is a text of at most {MAX_TEXT_CHARS:,} characters, none a half of one")


def _has_halves(text: str) -> bool:
    return any("\ud800" <= one <= "\udfff" for one in text)


def name_of(text: str) -> str:
    """Return the name of an array for what its sender calls it, or its file. Raises NotTaken."""
    check_name(text)
    return _without_suffix(safe_name(text)) if text else _UNNAMED


def _without_suffix(name: str) -> str:
    """Return a name without `.npy`, unless it would be an index then."""
    stem = name[:-4] if name.lower().endswith(".npy") else name
    return stem if stem and not INDEX.fullmatch(stem) else f"{stem}.npy"


def shown(entry: Entry) -> dict[str, object]:
    """Return what existing clients are told of an array."""
    return {"index": entry.index, "shape": list(entry.head.shape), "dtype": _type_name(entry.head.dtype)}


def _described(entry: Entry) -> dict[str, object]:
    created = datetime.fromtimestamp(entry.created_s, UTC).isoformat(timespec="milliseconds")
    return {
        **shown(entry),
        "name": entry.name,
        "bytes": entry.head.data_bytes,
        "created": created.replace("+00:00", "Z"),
    }


@lru_cache
def _type_name(dtype: str) -> str:
    return str(numpy.dtype(dtype))
