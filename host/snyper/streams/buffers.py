"""Buffers that are used again: memory that is new costs a page fault for each 4 KiB."""

import sys

_KEPT = 16
_SMALL_BYTES = 32_768  # which the allocator has at hand
_OURS = 3  # references: the list, the loop's name, and the argument that counts them


class Buffers:
    """A maker of buffers of any size: the same ones again, once nobody has them any more."""

    def __init__(self) -> None:
        self._kept: list[bytearray] = []

    def __call__(self, size: int) -> bytearray:
        if size <= _SMALL_BYTES:
            return bytearray(size)
        for buffer in self._kept:
            if len(buffer) == size and sys.getrefcount(buffer) == _OURS:
                return buffer
        made = bytearray(size)
        self._kept = [*self._kept[1 - _KEPT :], made]
        return made
