"""The events that wait for a journal's disk. Pure."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """An event that waits. `at_ms` is of the steady clock, but for one that came with its `unix_ms`. `report`
    is None for what is no report: for a report somebody waits.
    """

    log_id: str
    seq: int
    at_ms: int
    unix_ms: int | None
    event: str
    target_id: str
    data: str
    report: str | None


class Backlog:
    """A queue of rows. Where it has `size` of them, the oldest that nobody waits for gives way to another:
    `dropped` counts these.
    """

    def __init__(self, size: int) -> None:
        self.dropped = 0
        self._size = size
        self._rows: deque[Row] = deque()
        self._reports = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def is_full(self) -> bool:
        """Whether another row costs one."""
        return len(self._rows) >= self._size

    @property
    def is_full_of_reports(self) -> bool:
        """Whether there is nothing that could give way."""
        return self._reports >= self._size

    def add(self, row: Row) -> None:
        """Add the newest row."""
        self._rows.append(row)
        self._reports += row.report is not None
        self._shrink()

    def take(self, count: int) -> list[Row]:
        """Take the oldest rows, up to `count`."""
        taken = [self._rows.popleft() for _ in range(min(count, len(self._rows)))]
        self._reports -= sum(row.report is not None for row in taken)
        return taken

    def give_back(self, rows: Sequence[Row]) -> None:
        """Put rows back that were taken."""
        self._rows.extendleft(reversed(rows))
        self._reports += sum(row.report is not None for row in rows)
        self._shrink()

    def _shrink(self) -> None:
        while len(self._rows) > max(self._size, self._reports):
            at = next(at for at, row in enumerate(self._rows) if row.report is None)
            del self._rows[at]
            self.dropped += 1
