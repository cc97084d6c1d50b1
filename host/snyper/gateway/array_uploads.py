"""Arrays as they come: the head is judged before anything is kept, the elements go to the disk."""

from pathlib import Path

from snyper.arrays.npy import Head, NotTaken, read_head
from snyper.arrays.store import Store
from snyper.device.serving.forms import FileWriter


class ArrayWriter(FileWriter):
    """A `.npy` file that is written to `path`, as long as it can become an array of `store`.

    `write` and `close` raise NotTaken, NoRoom, OSError.
    """

    def __init__(self, path: Path, store: Store) -> None:
        super().__init__(path)
        self.path = path
        self._store = store
        self._begin = bytearray()
        self._head: Head | None = None

    @property
    def head(self) -> Head:
        """Its head, once it is closed."""
        assert self._head is not None
        return self._head

    async def write(self, part: bytes) -> None:
        """Take more of it."""
        if self._head is None:
            self._begin += part
            self._head = read_head(self._begin)
            if self._head is not None:
                self._begin.clear()
                self._store.check(self._head)
        if self._head is not None and self.size + len(part) > self._head.file_bytes:
            raise NotTaken("there are more bytes than its shape and type make")
        await super().write(part)

    async def close(self) -> None:
        """Write the rest of it, and check that it is whole."""
        if self._head is None:
            raise NotTaken("it ends within its head")
        if self.size != self._head.file_bytes:
            missing = self._head.file_bytes - self.size
            raise NotTaken(f"{missing:,} bytes are missing of those that its shape and type make")
        await super().close()
