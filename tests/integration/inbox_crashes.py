"""Ends a process that receives at each of its steps, and checks what is left.

    python -m tests.integration.inbox_crashes FOLDER [--power] [--no-links]

See crashing_disk.py. Prints how many ends there were.
"""

import hashlib
import json
import sys
from pathlib import Path

from snyper.device.disk import sync_file
from snyper.device.inbox.limits import Limits
from snyper.device.inbox.store import Store
from tests.integration.crashing_disk import Disk, try_every_step

CONTENT = b"0123456789" * 1_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def main() -> None:
    """Try every step, and print how many there were."""
    disk = Disk(Path(sys.argv[1]), ".inbox/parts")
    print(try_every_step(disk, lambda disk: receive(open_store(disk.folder), disk), check))


def open_store(folder: Path) -> Store:
    store = Store(folder, Limits(), lambda kind: [kind])
    store.records._db.set_trace_callback(lambda statement: sys.audit("sql"))
    return store


def receive(store: Store, disk: Disk | None = None) -> str:
    """Receive a file and a datum as whoever sends them again after a failure, with a key each."""
    part = store.new_part()
    part.write_bytes(CONTENT)
    sync_file(part)
    path = store.keep_file(part, "file-key", DIGEST, "picture.jpg", "image/jpeg")
    if disk is not None:
        disk.say("answered file")
    store.keep_data({"n": 1}, "data-key", "digest", 7)
    if disk is not None:
        disk.say("answered data")
    return path


def check(disk: Disk) -> None:
    """Check what a process finds that starts now, and that the sender's next try brings what is missing."""
    folder = disk.folder
    torn = [path for path in visible(folder) if path.read_bytes() != CONTENT]
    assert not torn or (not disk.has_links and not torn[0].stat().st_size), torn
    answered = disk.said()
    store = open_store(folder)
    events = [kind for kind, count in store.records.count_waiting().items() for _ in range(count)]
    if "answered file" in answered:
        assert [path.read_bytes() for path in visible(folder)] == [CONTENT]
        assert "file.received" in events
    if "answered data" in answered:
        assert "data.received" in events
    path = receive(store)
    store.remove_strays(set())
    assert [str(one) for one in visible(folder)] == [path]
    assert Path(path).read_bytes() == CONTENT
    assert list(store.parts.iterdir()) == []
    assert store.records.count_waiting() == {"file.received": 1, "data.received": 1}
    [[_, event]] = store.records.waiting("file.received", 2)
    assert json.loads(event)["path"] == path
    store.close()


def visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != ".inbox"] if folder.exists() else []


if __name__ == "__main__":
    main()
