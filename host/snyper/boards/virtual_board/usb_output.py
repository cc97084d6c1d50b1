"""`sys.stdout` of a board with USB, where `buffer` is the way out for bytes that nobody may touch.

Text gets a carriage return before each line feed on its way out, which the holder of the terminal adds. He is
told how many bytes to leave alone.
"""

import io
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_stdout: "Any" = sys.stdout


class _Bytes:
    """`sys.stdout.buffer`."""

    def __getattr__(self, name: str) -> object:
        return getattr(_stdout.buffer, name)

    def write(self, data: "bytes | bytearray | memoryview", size: "int | None" = None) -> int:
        piece = bytes(data if size is None else memoryview(data)[:size])
        _stdout.write("\x1b]snyper;bytes %d\x07" % len(piece))  # noqa: UP031
        _stdout.buffer.write(piece)
        return len(piece)


class Output(io.IOBase):
    """`sys.stdout`."""

    def __init__(self) -> None:
        self.buffer = _Bytes()

    def __getattr__(self, name: str) -> object:
        return getattr(_stdout, name)

    def write(self, text: "str | bytes") -> int:
        return _stdout.write(text)  # type: ignore[no-any-return]
