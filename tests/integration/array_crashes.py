"""Ends a process that stores and deletes arrays at each of its steps, and checks what is left.

    python -m tests.integration.array_crashes FOLDER [--power] [--no-links]

See crashing_disk.py. Prints how many ends there were.
"""

import hashlib
import sys
from pathlib import Path

import numpy

from snyper.arrays.npy import read_head
from snyper.arrays.store import Store, Upload
from tests.integration.arrays_harness import saved
from tests.integration.crashing_disk import Disk, try_every_step

CONTENTS = [saved(numpy.arange(1_000) + number) for number in range(3)]


def main() -> None:
    """Try every step, and print how many there were."""
    disk = Disk(Path(sys.argv[1]), ".arrays/parts", trusted="arrays.db")
    print(try_every_step(disk, work, check))


def open_store(folder: Path) -> Store:
    store = Store(folder)
    store._db.set_trace_callback(lambda statement: sys.audit("sql"))
    return store


def add(store: Store, content: bytes) -> int:
    """Store an array as whoever sends it again after a failure, with a key."""
    part = store.new_part()
    part.write_bytes(content)
    head = read_head(content)
    assert head is not None
    digest = hashlib.sha256(content).hexdigest()
    return store.add(part, head, Upload("array", digest, digest)).index


def work(disk: Disk) -> None:
    store = open_store(disk.folder)
    for number, content in enumerate(CONTENTS):
        assert add(store, content) == number
        disk.say(f"stored {number}")
    for number in (2, 0):
        disk.say(f"deleting {number}")
        store.delete(number)
        disk.say(f"deleted {number}")


def check(disk: Disk) -> None:
    """Check what a process finds that starts now, and what comes of the next array."""
    said = disk.said()
    store = open_store(disk.folder)
    entries = {entry.index: entry for entry in store.page(-1, 10)}
    assert store.count == len(entries)
    for index in entries:
        assert store.path(index).read_bytes() == CONTENTS[index]
    for number in range(3):
        if f"stored {number}" in said and f"deleting {number}" not in said:
            assert number in entries
        if f"deleted {number}" in said:
            assert number not in entries
    if disk.has_links:  # else a file may be left that nobody knows, in whose place none is put
        assert names(disk.folder) == {f"{index}.npy" for index in entries}
    assert list(store.parts.iterdir()) == []
    used = [number for number in range(3) if f"stored {number}" in said]
    again = add(store, saved([1.5]))
    assert again not in entries
    assert again > max(used, default=-1)
    if 1 in entries:
        assert add(store, CONTENTS[1]) == 1  # who sends it again
    store.close()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.npy")}


if __name__ == "__main__":
    main()
