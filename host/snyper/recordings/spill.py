"""A queue of bytes on a disk: files that are written at one end and removed at the other."""

import os
import threading
from collections import deque
from pathlib import Path

from snyper.recordings import records

FILE_BYTES = 16 << 20


class Spill:
    """Items of bytes in a folder, first in, first out, `limit` bytes at most. Raises OSError where the disk
    takes no more; then the item is not in it. Used by a thread at each end.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.bytes = 0
        self._folder = folder
        self._limit = limit
        self._written = 0
        self._files: deque[Path] = deque()  # the last is written to, the first is read
        self._size = 0  # of the last
        self._read = 0  # of the first
        self._lengths: deque[int] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._lengths)

    def put(self, parts: list[records.Buffer]) -> bool:
        """Add an item, or return that there is no room for it. Raises OSError."""
        length = sum(len(part) for part in parts)
        with self._lock:
            if self.bytes + length > self._limit:
                return False
            if not self._files or self._size >= FILE_BYTES:
                self._written += 1
                self._files.append(self._folder / f"{self._written:09}.spill")
                self._size = 0
            with self._files[-1].open("ab", buffering=0) as file:
                try:
                    for part in parts:
                        rest = memoryview(part)
                        while rest:
                            rest = rest[file.write(rest) :]
                except OSError:
                    os.ftruncate(file.fileno(), self._size)
                    raise
            self._size += length
            self.bytes += length
            self._lengths.append(length)
            return True

    def get(self) -> bytes:
        """Take the oldest item. Raises OSError, and then it is lost; IndexError where there is none."""
        with self._lock:
            length = self._lengths.popleft()
            self.bytes -= length
            at, self._read = self._read, self._read + length
            first, is_last, is_used_up = self._files[0], len(self._files) == 1, False
            try:
                with first.open("rb", buffering=0) as file:
                    file.seek(at)
                    data = file.read(length)
                    is_used_up = self._read >= file.seek(0, 2)
            finally:
                if not self._lengths or (not is_last and is_used_up):
                    self._files.popleft()
                    self._read = 0
                    first.unlink(missing_ok=True)
        if len(data) < length:
            raise OSError(f"{first} is shorter than it was written")
        return data
