"""The files of a simulated machine, which outlive its power; what was not flushed is lost with that, in part.

`files` stands in for the module `os`, `open_file` for `open`, of the machine whose code runs.
"""

import random
from collections.abc import Callable
from typing import Any

from tools.chaos.virtual_time import current

FREE_BYTES = 1_000_000
_FULL = OSError(28, "No space left on device")


class Flash:
    """The files of a flash. `on_change(path)` is called when a file is there that was not, or is
    another one.
    """

    def __init__(self, rng: random.Random) -> None:
        self.files: dict[str, bytes] = {}
        self.directories: set[str] = set()
        self.is_full = False
        self.was_full = False
        self.on_change: Callable[[str], object] = lambda path: None
        self.rng = rng
        self.opened: list[_Appending] = []

    def size(self, path: str) -> int:
        """Return the size of a file, with what is written and not flushed."""
        waiting = sum(len(file.waiting) for file in self.opened if file.path == path)
        return len(self.files.get(path, b"")) + waiting

    def lose_power(self) -> None:
        """Lose what was not flushed, but for a part of it."""
        for file in self.opened:
            self.files[file.path] += bytes(file.waiting[: self.rng.randint(0, len(file.waiting))])
        self.opened = []


class _Appending:
    """A file that is written to."""

    def __init__(self, flash: Flash, path: str) -> None:
        self.path = path
        self.waiting = bytearray()
        self._flash = flash
        flash.files.setdefault(path, b"")
        flash.opened.append(self)
        flash.on_change(path)

    def write(self, data: bytes) -> int:
        if self._flash.is_full:
            raise _FULL
        self.waiting += data
        return len(data)

    def flush(self) -> None:
        if self in self._flash.opened:
            self._flash.files[self.path] += bytes(self.waiting)
            self.waiting = bytearray()

    def close(self) -> None:
        self.flush()
        if self in self._flash.opened:
            self._flash.opened.remove(self)


class _Reading:
    """A file that is read."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __enter__(self) -> "_Reading":
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing: it holds nothing."""

    def read(self, count: int) -> bytes:
        piece, self._data = self._data[:count], self._data[count:]
        return piece


def open_file(path: str, mode: str) -> Any:
    """Open a file of the machine whose code runs. Raises OSError."""
    flash = current().flash
    if mode == "ab":
        return _Appending(flash, path)
    return _Reading(_found(flash, path))


def _found(flash: Flash, path: str) -> bytes:
    if path not in flash.files:
        raise FileNotFoundError(2, "No such file or directory")
    return flash.files[path]


class _Files:
    """The calls of `os` that are used. As on a board there is no fsync: a flush is on the flash."""

    def stat(self, path: str) -> tuple[int, ...]:
        return (0,) * 6 + (len(_found(current().flash, path)),)

    def listdir(self, path: str) -> list[str]:
        flash = current().flash
        if path not in flash.directories:
            raise FileNotFoundError(2, "No such file or directory")
        return [name.removeprefix(path + "/") for name in flash.files]

    def mkdir(self, path: str) -> None:
        current().flash.directories.add(path)

    def remove(self, path: str) -> None:
        flash = current().flash
        _found(flash, path)
        del flash.files[path]

    def rename(self, path: str, to: str) -> None:
        flash = current().flash
        flash.files[to] = _found(flash, path)
        del flash.files[path]
        flash.on_change(to)

    replace = rename

    def statvfs(self, path: str) -> tuple[int, ...]:
        used = sum(map(len, current().flash.files.values()))
        return (1, 1, 0, 0, FREE_BYTES - used)


files = _Files()
