"""A flash during whose writing the power goes, which gets full, or which does not keep what is written.

What is wrong is `faults` of board.json, which may change at any time:
  cut_at          the step in which the power goes and stays off, or null; `steps` counts them from power-on
  capacity_bytes  how large the flash is, or null; a file takes whole blocks
  corrupts        in a file whose path ends so, a bit flips whenever it is written, or null

Every call that changes the flash is a step: a file opened for writing, a piece written to it, its end,
`rename`, `remove`, `mkdir`, `rmdir`. A cut leaves half of a piece, and of the others nothing, but for a file
opened for writing, which is empty then.
"""

import io

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import machine
    from computer import Directory  # type: ignore[import-not-found]

BLOCK_BYTES = 4096
_ENOSPC = 28


class FaultyFlash:
    """`files` as a file system with the faults of `board`."""

    def __init__(self, files: "Directory", board: "machine.ProcessBoard") -> None:
        self._files = files
        self._board = board

    def __getattr__(self, name: str) -> object:
        return getattr(self._files, name)

    def open(self, path: str, mode: str) -> object:
        if not any(letter in mode for letter in "wax+"):
            return self._files.open(path, mode)
        is_cut = self._step()
        try:
            return _File(self, path, self._files.open(path, mode))
        finally:
            if is_cut:
                self._board.die()

    def rename(self, old: str, new: str) -> None:
        self.whole_step()
        self._files.rename(old, new)

    def remove(self, path: str) -> None:
        self.whole_step()
        self._files.remove(path)

    def mkdir(self, path: str) -> None:
        self.whole_step()
        self._files.mkdir(path)

    def rmdir(self, path: str) -> None:
        self.whole_step()
        self._files.rmdir(path)

    def statvfs(self, path: str) -> "tuple[int, ...]":
        capacity = self._faults()["capacity_bytes"]
        if capacity is None:
            return self._files.statvfs(path)  # type: ignore[no-any-return]
        blocks = capacity // BLOCK_BYTES
        free = max(0, blocks - self._used_blocks("/"))
        return (BLOCK_BYTES, BLOCK_BYTES, blocks, free, free, 0, 0, 0, 0, 255)

    def write(self, path: str, file: "Any", data: "bytes | str") -> int:
        """Write a piece, as far as the faults let it. Raises OSError ENOSPC."""
        written = bytearray(data.encode() if isinstance(data, str) else data)
        faults = self._faults()
        is_cut = self._step()
        try:
            if faults["capacity_bytes"] is not None:
                self._need_space(path, len(written), faults["capacity_bytes"])
            if faults["corrupts"] and path.endswith(faults["corrupts"]) and written:
                written[0] ^= 1
            file.write(written[: len(written) // 2] if is_cut else written)
        finally:
            if is_cut:
                self._board.die()
        return len(data)

    def whole_step(self) -> None:
        """Take a step wholly or not at all: this returns, or the power goes."""
        if self._step():
            self._board.die()

    def _step(self) -> bool:
        """Count a step; return whether the power goes in it."""
        try:
            steps = self._board.read("steps") + 1
        except OSError:
            steps = 1
        self._board.write("steps", steps)
        if steps != self._faults()["cut_at"]:
            return False
        self._board.write("cut", steps)
        return True

    def _faults(self) -> "dict[str, Any]":
        faults = {"cut_at": None, "capacity_bytes": None, "corrupts": None}
        faults.update(self._board.read("board.json")["faults"])
        return faults

    def _need_space(self, path: str, growth_bytes: int, capacity_bytes: int) -> None:
        size = self._files.stat(path)[6]
        more = _blocks(size + growth_bytes) - _blocks(size)
        if (self._used_blocks("/") + more) * BLOCK_BYTES > capacity_bytes:
            raise OSError(_ENOSPC)

    def _used_blocks(self, directory: str) -> int:
        used = 0
        for entry in self._files.ilistdir(directory):
            path = directory + entry[0]
            used += (
                self._used_blocks(path + "/") if entry[1] == 0x4000 else _blocks(self._files.stat(path)[6])
            )
        return used


class _File(io.IOBase):
    """A file that is open for writing."""

    def __init__(self, flash: FaultyFlash, path: str, file: "Any") -> None:
        self._flash = flash
        self._path = path
        self._file = file
        self._is_open = True

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def write(self, data: "bytes | str") -> int:
        return self._flash.write(self._path, self._file, data)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._flash.whole_step()
            self._file.close()


def _blocks(size_bytes: int) -> int:
    return (size_bytes + BLOCK_BYTES - 1) // BLOCK_BYTES
