"""A process that is killed before each of its steps in turn, and what is left of its files.

A step is a command to the file system or a statement of SQL. With `--power` what the process had not synced
is lost as well: bytes of files, and names in folders. `--no-links` is a file system without hard links.
"""

import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from tests.integration.harness import at_length

STRIDE = at_length(1, 4)  # of the steps at which the process is killed
LINK = os.link
STEPS = {"open", "os.link", "os.rename", "os.remove", "os.mkdir", "os.truncate", "fsync", "sql"}


def try_every_step(disk: "Disk", work: Callable[["Disk"], object], check: Callable[["Disk"], None]) -> int:
    """Kill a process that does `work` before each STRIDE-th of its steps, `check` what is left, and return
    how many such steps there were. Ends with a traceback where a check fails.
    """
    ends = 0
    for step in count(1, STRIDE):
        shutil.rmtree(disk.folder, ignore_errors=True)
        pid = os.fork()
        if not pid:
            end_at(step, disk)
            work(disk)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL, f"step {step} ended with {status}"
        if disk.loses_power:
            disk.lose_what_is_not_synced()
        try:
            check(disk)
        except BaseException:
            print(f"after step {step}", *sorted(disk.folder.rglob("*")), sep="\n", file=sys.stderr)
            raise
        ends += 1
    return ends


def no_link(*arguments: Any) -> None:
    """Refuse, as FAT does."""
    raise OSError(errno.EPERM, "no links here")


class Disk:
    """What is on the disk for certain: written down beside the folder, since the process dies."""

    def __init__(self, folder: Path, *watched: str, trusted: str = "") -> None:
        """`watched` are the folders in it whose files may be lost, and those below. Files that begin with
        `trusted` are a database's, which syncs them itself. The options come from the command line.
        """
        self.folder = folder.resolve()
        self.loses_power = "--power" in sys.argv
        self.has_links = "--no-links" not in sys.argv
        if not self.has_links:
            os.link = no_link  # type: ignore[assignment]
        self._watched = [self.folder, *(self.folder / one for one in watched)]
        self._trusted = trusted
        self.notes = self.folder.with_name(folder.name + ".notes")
        self.removed = self.folder.with_name(folder.name + ".removed")

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
        saved = {path.stat().st_ino: path for path in self.removed.iterdir()}
        below = [one for folder in self._watched[1:] for one in folder.glob("**/*") if one.is_dir()]
        for folder in below:
            if folder.name not in folders.get(str(folder.parent), {}):
                shutil.rmtree(folder)
        for folder in filter(Path.is_dir, [*self._watched, *below]):
            names = folders.get(str(folder), {})
            for path in self._losable(folder):
                if path.name not in names:
                    path.unlink()
            for name, inode in names.items():
                if not (folder / name).exists() and inode in saved:
                    LINK(saved[inode], folder / name)
            for path in self._losable(folder):
                if path.stat().st_ino not in files:
                    os.truncate(path, 0)
        shutil.rmtree(self.removed)  # which had given files another name

    def _losable(self, folder: Path) -> list[Path]:
        files = [path for path in folder.iterdir() if path.is_file()]
        return [path for path in files if not self._trusted or not path.name.startswith(self._trusted)]


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
