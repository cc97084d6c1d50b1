"""Gives a complete part its name in the folder: whole or not at all, over any loss of power, and never in the
place of another file.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from snyper.inbox.names import candidates, folded

# What file systems without hard links (FAT, some of the network) say of one.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}


class Names:
    """The names in a folder: read again where others have changed it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: set[str] = set()
        self._read_ns = 0  # when the folder was last changed, as it was read

    def free(self, name: str) -> Iterator[str]:
        """Yield what a file may be called that is to be `name`: no other there looks like it on any system.
        Who uses one finds out whether it is still free, and says so.
        """
        if self._folder.stat().st_mtime_ns != self._read_ns:
            self._read_ns = self._folder.stat().st_mtime_ns
            self._taken = {folded(one.name) for one in self._folder.iterdir()}
        yield from (one for one in candidates(name) if folded(one) not in self._taken)

    def add(self, name: str) -> None:
        """Take a name that was just used."""
        self._taken.add(folded(name))
        self._read_ns = self._folder.stat().st_mtime_ns


def place(part: Path, path: Path, is_again: bool = False) -> None:
    """Have the file `part` at `path` too, or there alone where there are no hard links. After a crash
    `is_placed` tells, and this may be repeated: `is_again`. Raises FileExistsError where something is there,
    OSError.
    """
    try:
        os.link(part, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _move(part, path, is_again)
    sync_folder(path.parent)


def is_placed(part: Path, path: Path) -> bool:
    """Tell whether `part`, which was to be placed at `path`, has been: it is there too, or has no name of its
    own any more.
    """
    if not part.exists():
        return True
    try:
        return part.samefile(path)
    except FileNotFoundError:
        return False


def sync_file(path: Path) -> None:
    """Have what was written to a file on the disk. Raises OSError."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can do that. Raises OSError."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # of a file system that has no such thing
            raise
    finally:
        os.close(descriptor)


def _move(part: Path, path: Path, is_again: bool) -> None:
    """Reserve the name with an empty file, and put the part in its place."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        if not is_again or path.stat().st_size:  # else it is the reservation of the process that died
            raise
    part.replace(path)
