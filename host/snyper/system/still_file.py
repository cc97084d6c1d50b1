"""A file that others write at any time, such as one of keys: it is read once it is still."""

import stat
from contextlib import suppress
from pathlib import Path

POLL_S = 0.4  # between two looks, two of which see a change before it is taken
_UNKNOWN = object()


class StillFile:
    """A file that is looked at now and then. A change counts once the file is as it was at the last look: who
    writes it in place has it empty, or in part, for a moment.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.stamp: object = _UNKNOWN  # another once the file has changed, None where there is none to read
        self._taken: object = _UNKNOWN

    def has_changed(self) -> bool:
        """Look at it, and tell whether it is still, and another than the one that was taken."""
        last, self.stamp = self.stamp, _stamp(self._path)
        return self.stamp == last and self.stamp != self._taken

    def take(self) -> None:
        """Note that it was taken as it is."""
        self._taken = self.stamp


def _stamp(path: Path) -> object:
    """Return what is another once the file has changed; None where there is none that can be read twice."""
    with suppress(OSError):
        found = path.stat()
        if stat.S_ISREG(found.st_mode):
            return found.st_mtime_ns, found.st_ino, found.st_size
    return None
