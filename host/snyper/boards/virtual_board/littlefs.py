"""A flash chip with LittleFS on it, as a Pico W has: what a board keeps when the power goes at any moment.

The chip knows two commands: to program, which clears bits, and to erase a block, which sets all of its bits.
Each one is written down, so that the chip can be brought again to what it was at any moment, on CPython too.
"""

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BLOCK_BYTES = 4096
PROGRAM_BYTES = 256  # ports/rp2/modules/_boot.py; what it reads at once is MicroPython's default
ERASE = 0  # in place of a command's size
HEADER = "<II"  # of a command that is written down: address, size; what is programmed follows

_BLOCK_COUNT = 4
_BLOCK_SIZE = 5
_BLOCK_ERASE = 6


class Chip:
    """The flash whose bytes are those of the file `content`, for MicroPython's file systems.

    `commands` is the file that gets each command before it is carried out, or None.
    """

    def __init__(self, content: "Any", blocks: int, commands: "Any" = None) -> None:
        self._content = content
        self._blocks = blocks
        self._commands = commands

    def readblocks(self, block: int, buffer: bytearray, offset: int = 0) -> None:
        self._content.seek(block * BLOCK_BYTES + offset)
        self._content.readinto(buffer)

    def writeblocks(self, block: int, data: "bytearray | bytes", offset: int) -> None:
        self.program(block * BLOCK_BYTES + offset, data)

    def ioctl(self, operation: int, argument: int) -> "int | None":
        if operation == _BLOCK_COUNT:
            return self._blocks
        if operation == _BLOCK_SIZE:
            return BLOCK_BYTES
        if operation == _BLOCK_ERASE:
            self.erase(argument * BLOCK_BYTES)
        return 0

    def carry_out(self, address: int, data: "bytes | None", part: "int | None" = None) -> None:
        """Carry out a command as `commands_of` returns it, or `part` bytes of it."""
        if data is None:
            self.erase(address, BLOCK_BYTES if part is None else part)
        else:
            self.program(address, data if part is None else data[:part])

    def program(self, address: int, data: "bytearray | bytes") -> None:
        self._write_down(address, len(data), data)
        self._content.seek(address)
        before = int.from_bytes(self._content.read(len(data)), "little")
        self._content.seek(address)
        self._content.write((before & int.from_bytes(data, "little")).to_bytes(len(data), "little"))

    def erase(self, address: int, size: int = BLOCK_BYTES) -> None:
        """Erase a block, or as much of it as the power was there for."""
        self._write_down(address, ERASE, b"")
        self._content.seek(address)
        self._content.write(b"\xff" * size)

    def _write_down(self, address: int, size: int, data: "bytearray | bytes") -> None:
        if self._commands is not None:
            self._commands.write(struct.pack(HEADER, address, size) + data)


def commands_of(data: bytes) -> "list[tuple[int, bytes | None]]":
    """Return what was written down: address and data of each command, None for one that erases a block."""
    commands: list[tuple[int, bytes | None]] = []
    at = 0
    while at < len(data):
        address, size = struct.unpack_from(HEADER, data, at)
        at += struct.calcsize(HEADER)
        commands.append((address, None if size == ERASE else data[at : at + size]))
        at += size
    return commands


def mounted(chip: Chip) -> "Any":
    """Mount the file system on the chip, which is made where there is none, as a Pico W's boot does.
    MicroPython only.
    """
    import vfs  # type: ignore[import-not-found]

    try:
        return vfs.VfsLfs2(chip, progsize=PROGRAM_BYTES)
    except OSError:
        vfs.VfsLfs2.mkfs(chip, progsize=PROGRAM_BYTES)
        return vfs.VfsLfs2(chip, progsize=PROGRAM_BYTES)
