"""A directory of the computer, as a file system for a board."""

import vfs  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Directory:
    """The directory `path` as a file system that can be mounted; it can also be used unmounted, and then
    every path begins with "/". It has what VfsPosix has, with what that leaves out of a board's.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._files = vfs.VfsPosix(path)
        self._computer = vfs.VfsPosix()

    def __getattr__(self, name: str) -> object:
        return getattr(self._files, name)

    def rename(self, old: str, new: str) -> None:
        # A VfsPosix with a root of its own has one buffer for both names.
        self._computer.rename(self._full(old), self._full(new))

    def ilistdir(self, path: str) -> "Iterator[tuple[str, int, int, int]]":
        for entry in self._files.ilistdir(path):
            size = self._files.stat((path.rstrip("/") + "/" if path else "") + entry[0])[6]
            yield entry[0], entry[1], 0, size

    def _full(self, path: str) -> str:
        return self._path + path if path.startswith("/") else path
