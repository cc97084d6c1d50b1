"""What happened, in order: the hub's last events, for consoles that subscribe now or come back."""

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


# What reports and states are made of. On a board a word that comes out of a message takes memory each time.
_WORDS: "dict[str, str]" = {}
for _word in (
    "reaction_ms",
    "peak",
    "gap_us",
    "reason",
    "time_up",
    "lay_down",
    "link_lost",
    "rising",
    "arming",
    "falling",
    "fault",
):
    _WORDS[_word] = _word


class EventLog:
    """A ring of the last `size` events. `seq` counts from 1 at each start of the hub and never repeats."""

    def __init__(self, size: int) -> None:
        self.seq = 0
        self._size = size
        # seq, event, target_id, then name and value in turn: a dict in each takes two thirds more memory.
        self._ring: "list[tuple[Any, ...]]" = []
        self._readers: "list[asyncio.Event]" = []

    @property
    def oldest_seq(self) -> int:
        """The oldest event that is still here, or the one that comes next."""
        return self._ring[0][0] if self._ring else self.seq + 1

    def add(self, event: str, target_id: str, data: "dict[str, object]") -> None:
        """Notes that `event` (`registered`, `lost`, `state`, `hit`, `miss`) happened to a target."""
        self.seq += 1
        if len(self._ring) >= self._size:
            self._ring.pop(0)
        entry: "list[object]" = [self.seq, event, target_id]
        for name in data:
            value = data[name]
            entry.append(_WORDS.get(name, name))
            entry.append(_WORDS.get(value, value) if isinstance(value, str) else value)
        self._ring.append(tuple(entry))
        for reader in self._readers:
            reader.set()

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
    data = {entry[at]: entry[at + 1] for at in range(3, len(entry), 2)}
    return entry[0], entry[1], entry[2], data
