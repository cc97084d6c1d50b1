"""Files as multipart/form-data, from the disk block by block, with their length known before."""

import os
import stat
from pathlib import Path
from typing import IO, Callable, Iterator, Mapping

from snyper.device.connection import Block, Body
from snyper.device.errors import FileChanged

BLOCK_BYTES = 64 * 1024

OnSent = Callable[[int, int], None]  # is told how many bytes of how many went out


class SentFile:
    """A file that is open to be sent: as it is now, or not at all.

    Raises OSError where it cannot be read, ValueError for what is no regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] = path.open("rb", buffering=0)
        self._state = os.fstat(self._file.fileno())
        self.size = self._state.st_size
        if not stat.S_ISREG(self._state.st_mode):
            self.close()
            raise ValueError(f"{path} is no regular file")

    def __enter__(self) -> "SentFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._file.close()

    def read(self, offset: int, size: int) -> bytes:
        """Return that part of it. Raises FileChanged where it has less."""
        self._file.seek(offset)
        content = b""
        while len(content) < size:
            block = self._file.read(size - len(content))
            if not block:
                raise FileChanged(f"{self.path} became shorter while it was sent")
            content = block if not content else content + block
        return content

    def check(self) -> None:
        """Check that nobody has changed it. Raises FileChanged."""
        now = os.fstat(self._file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self._state.st_size, self._state.st_mtime_ns):
            raise FileChanged(f"{self.path} was changed while it was sent")


def multipart(
    file: SentFile, field: str, filename: str, fields: Mapping[str, str], boundary: str, on_sent: OnSent
) -> Body:
    """Return a body with `fields` and the file, between lines of `boundary`, which nobody can guess.

    A file that changes meanwhile raises FileChanged before the body is whole, so that nobody takes it.
    """
    head = b"".join(
        _part(boundary, f'form-data; name="{escaped(name)}"') + value.encode("utf-8", "replace") + b"\r\n"
        for name, value in fields.items()
    ) + _part(
        boundary,
        f'form-data; name="{escaped(field)}"; filename="{escaped(filename)}"',
        "application/octet-stream",
    )
    tail = f"\r\n--{boundary}--\r\n".encode("ascii")
    return Body(len(head) + file.size + len(tail), _blocks(head, file, tail, on_sent))


def _part(boundary: str, disposition: str, media_type: str = "") -> bytes:
    lines = ["--" + boundary, "Content-Disposition: " + disposition]
    if media_type:
        lines.append("Content-Type: " + media_type)
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "replace")


def escaped(name: str) -> str:
    """Escape a name for a header as browsers do it."""
    return "".join(f"%{ord(one):02X}" if one == '"' or one < " " else one for one in name)


def _blocks(head: bytes, file: SentFile, tail: bytes, on_sent: OnSent) -> Iterator[Block]:
    yield head
    on_sent(0, file.size)
    for offset in range(0, file.size, BLOCK_BYTES):
        size = min(BLOCK_BYTES, file.size - offset)
        yield file.read(offset, size)
        on_sent(offset + size, file.size)
    file.check()
    yield tail
