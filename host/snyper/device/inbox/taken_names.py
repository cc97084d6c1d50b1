"""The names of the files in the folder of an inbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from snyper.device.inbox.names import candidates, folded


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
