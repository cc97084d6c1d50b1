"""What happened, in order: the hub's last events, for consoles that subscribe now or come back."""

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


_MAX_SHAPES = 28  # of this project's events there are 25

# On a board a word that comes out of a message takes memory each time.
_WORDS: "dict[str, str]" = {}
for _word in ("time_up", "lay_down", "link_lost", "standing", "armed", "down", "fault"):
    _WORDS[_word] = _word


class EventLog:
    """A ring of the last `size` events. `seq` counts from 1 at each start of the hub and never repeats;
    `log_id` says whose count it is. `journal` is "ok" or "failing" where what happened is kept on a disk too,
    which another class does; `seq` is then that of the last event on it.
    """

    journal = ""

    def __init__(self, size: int, log_id: str = "") -> None:
        self.seq = 0
        self.log_id = log_id
        self._size = size
        # seq, event, target_id, the names of its data, then their values. Events with the same names share
        # them: a dict in each would take three times the memory.
        self._ring: "list[tuple[Any, ...]]" = []
        self._shapes: "list[tuple[str, ...]]" = []
        self._readers: "list[asyncio.Event]" = []

    @property
    def oldest_seq(self) -> int:
        """The oldest event that is still here, or the one that comes next."""
        return self._ring[0][0] if self._ring else self.seq + 1

    def add(self, event: str, target_id: str, data: "dict[str, Any]", report_key: str = "") -> int:
        """Notes that `event` happened to a target, or where `target_id` is empty, to none; its `seq`.
        `report_key` is what a report is known by for ever.
        """
        self._show(self.seq + 1, event, target_id, data)
        return self.seq

    def _show(self, seq: int, event: str, target_id: str, data: "dict[str, Any]") -> None:
        """From now on the event is there for consoles."""
        self.seq = seq
        if len(self._ring) >= self._size:
            self._ring.pop(0)
        shape = self._shape(tuple(data))
        entry: "list[object]" = [seq, event, target_id, shape]
        for name in shape:
            value = data[name]
            entry.append(_WORDS.get(value, value) if isinstance(value, str) else value)
        self._ring.append(tuple(entry))
        for reader in self._readers:
            reader.set()

    def _shape(self, names: "tuple[str, ...]") -> "tuple[str, ...]":
        for shape in self._shapes:
            if shape == names:
                return shape
        if len(self._shapes) >= _MAX_SHAPES:
            self._shapes.pop(0)
        self._shapes.append(names)
        return names

    async def is_known(self, report_key: str) -> bool:
        """Whether a report was noted before the hub's start. A ring does not know."""
        return False

    async def settle(self) -> None:
        """Returns once all that was added is as safe as it can be made. May be cancelled, and repeated."""

    async def page(self, seq: int) -> "Iterator[tuple[int, str, str, dict[str, object]]]":
        """The first events with a greater `seq`, as `after` gives them; none when there are no more."""
        return self.after(seq)

    def after(self, seq: int) -> "Iterator[tuple[int, str, str, dict[str, object]]]":
        """The events with a greater `seq` that are still here, as (seq, event, target_id, data)."""
        count = max(0, min(self.seq - seq, len(self._ring)))
        return (_unpacked(entry) for entry in self._ring[len(self._ring) - count :])

    def attach(self, reader: asyncio.Event) -> None:
        """From now on `reader` is set at each event."""
        self._readers.append(reader)

    def detach(self, reader: asyncio.Event) -> None:
        self._readers.remove(reader)


def _unpacked(entry: "tuple[Any, ...]") -> "tuple[int, str, str, dict[str, object]]":
    names = entry[3]
    return entry[0], entry[1], entry[2], {names[at]: entry[4 + at] for at in range(len(names))}
