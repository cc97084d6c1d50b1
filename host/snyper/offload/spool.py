"""Folders for pieces of work, each of which has one to itself."""

import os
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_MAX_FREE = 64


class Spool:
    """Folders for pieces of work, in a folder of this process alone. An empty one is used again: on some
    disks it takes longer to remove one than to do what it was for.
    """

    def __init__(self, folder: Path) -> None:
        """Make `folder`, or empty it: what is in there is of a process that was killed. Raises OSError."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(0o700, parents=True)
        self._folder = folder
        self._free: list[Path] = []
        self._remover = ThreadPoolExecutor(1, "remover")  # a large file takes a while

    def take(self) -> Path:
        """Return an empty folder, which is given back. Raises OSError."""
        if self._free:
            return self._free.pop()
        folder = self._folder / secrets.token_hex(16)
        folder.mkdir(0o700)
        return folder

    def give_back(self, folder: Path) -> None:
        """Remove all that is in a folder. To be called once."""
        try:
            with os.scandir(folder) as found:
                is_empty = next(found, None) is None
        except OSError:
            is_empty = False
        if is_empty and len(self._free) < _MAX_FREE:
            self._free.append(folder)
        else:
            self._remover.submit(shutil.rmtree, folder, ignore_errors=True)

    def close(self) -> None:
        """Remove all folders, once those that are given back are gone."""
        self._remover.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)
