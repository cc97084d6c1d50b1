"""Ends a process that receives at each of its steps, and checks what is left.

    python tests/integration/inbox_crashes.py FOLDER [--power] [--no-links]

The process is a fork. A step is a command to the file system or a statement of SQL. Before it the process is
killed, and with `--power` what it had not synced is lost as well: bytes of files, and names in folders.
`--no-links` is a file system without hard links. Prints how many ends there were.
"""

import errno
import hashlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from snyper.device.disk import sync_file
from snyper.device.inbox.limits import Limits
from snyper.device.inbox.store import Store

LINK = os.link
CONTENT = b"0123456789" * 1_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
STEPS = {"open", "os.link", "os.rename", "os.remove", "os.mkdir", "os.truncate", "fsync", "sql"}


def main() -> None:
    """Try every step. Ends with a traceback where something was lost, torn or kept twice."""
    folder = Path(sys.argv[1]).resolve()
    loses_power, has_links = "--power" in sys.argv, "--no-links" not in sys.argv
    if not has_links:
        os.link = no_link  # type: ignore[assignment]
    step = 0
    while True:
        step += 1
        shutil.rmtree(folder, ignore_errors=True)
        disk = Disk(folder)
        pid = os.fork()
        if not pid:
            end_at(step, disk)
            receive(open_store(folder), disk)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL, f"step {step} ended with {status}"
        if loses_power:
            disk.lose_what_is_not_synced()
        try:
            check(folder, has_links)
        except BaseException:
            print(f"after step {step}", *sorted(folder.rglob("*")), sep="\n", file=sys.stderr)
            raise
    print(step - 1)


def no_link(*arguments: Any) -> None:
    """Refuse, as FAT does."""
    raise OSError(errno.EPERM, "no links here")


def open_store(folder: Path) -> Store:
    store = Store(folder, Limits(), lambda kind: [kind])
    store.records._db.set_trace_callback(lambda statement: sys.audit("sql"))
    return store


def receive(store: Store, disk: "Disk | None" = None) -> str:
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


def check(folder: Path, has_links: bool) -> None:
    """Check what a process finds that starts now, and that the sender's next try brings what is missing."""
    torn = [path for path in visible(folder) if path.read_bytes() != CONTENT]
    assert not torn or (not has_links and not torn[0].stat().st_size), torn
    answered = Disk(folder).said()
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


class Disk:
    """What is on the disk for certain: written down beside the folder, since the process dies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder.with_name(folder.name + ".notes")
        self.removed = folder.with_name(folder.name + ".removed")

    def begin(self) -> None:
        shutil.rmtree(self.removed, ignore_errors=True)
        self.removed.mkdir()
        self.notes.write_text("")

    def say(self, text: str) -> None:
        with self.notes.open("a") as file:
            file.write(text + "\n")

    def said(self) -> list[str]:
        return self.notes.read_text().splitlines()

    def lose_what_is_not_synced(self) -> None:
        files: set[int] = set()
        folders: dict[str, dict[str, int]] = {}
        for line in self.said():
            word, _, rest = line.partition(" ")
            if word == "file":
                files.add(int(rest))
            elif word == "folder":
                folders.update(json.loads(rest))
        watched = [self.folder, self.folder / ".inbox" / "parts"]
        saved = {path.stat().st_ino: path for path in self.removed.iterdir()}
        for folder in filter(Path.is_dir, watched):
            names = folders.get(str(folder), {})
            for path in folder.iterdir():
                if path.is_file() and path.name not in names:
                    path.unlink()
            for name, inode in names.items():
                if not (folder / name).exists() and inode in saved:
                    LINK(saved[inode], folder / name)
            for path in folder.iterdir():
                if path.is_file() and path.stat().st_ino not in files:
                    os.truncate(path, 0)
        shutil.rmtree(self.removed)  # which had given files another name


def end_at(step: int, disk: Disk) -> None:
    """Have this process killed before its step of that number."""
    disk.begin()
    count = 0
    is_watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count, is_watching
        if event not in STEPS or not is_watching or not is_ours(event, arguments, disk.folder):
            return
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGKILL)
        if event == "os.remove":
            is_watching = False
            LINK(arguments[0], disk.removed / str(count))
            is_watching = True

    sync = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal is_watching
        sys.audit("fsync")
        sync(descriptor)
        is_watching = False
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            names = {one.name: one.stat().st_ino for one in path.iterdir()}
            disk.say("folder " + json.dumps({str(path): names}))
        else:
            disk.say(f"file {path.stat().st_ino}")
        is_watching = True

    os.fsync = fsync  # type: ignore[assignment]
    sys.addaudithook(watch)


def is_ours(event: str, arguments: tuple[Any, ...], folder: Path) -> bool:
    return event in ("fsync", "sql") or str(arguments[0]).startswith(str(folder) + "/")


if __name__ == "__main__":
    main()
