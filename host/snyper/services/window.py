"""The flow control of a stream: how far the sender may be ahead of who takes its items. Pure."""

from collections import deque

MAX_ITEMS = 32  # that were sent and not yet taken
MAX_BYTES = 1 << 20  # of those, where there is more than one


class Sending:
    """The sender's end."""

    def __init__(self) -> None:
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._taken = 0

    @property
    def is_open(self) -> bool:
        """Tell whether one more may be sent."""
        return len(self._sizes) < MAX_ITEMS and self._bytes < MAX_BYTES

    def sent(self, size: int) -> None:
        """Note that an item of so many bytes after its line was sent."""
        self._sizes.append(size)
        self._bytes += size

    def taken(self, count: int) -> None:
        """Note that so many items of all were taken. Raises ValueError for a count that cannot be."""
        more = count - self._taken
        if not 0 <= more <= len(self._sizes):
            raise ValueError(f"{count} items cannot have been taken")
        self._taken = count
        for _ in range(more):
            self._bytes -= self._sizes.popleft()


class Taking:
    """The end of who takes the items."""

    def __init__(self) -> None:
        self.count = 0
        self._said = 0
        self._bytes = 0

    def take(self, size: int) -> bool:
        """Note that an item was taken; return whether the sender is to be told the `count`: when half of what
        it may be ahead was.
        """
        self.count += 1
        self._bytes += size
        if self.count - self._said < MAX_ITEMS // 2 and self._bytes < MAX_BYTES // 2:
            return False
        self._said = self.count
        self._bytes = 0
        return True
