"""What happened, in order: the hub's last events, for consoles that subscribe now or come back."""

import asyncio


class _ReportWords:
    """What is in reports and states. MicroPython keeps a string that is a name in the firmware once; any
    other once in each message, which for a ring full of hits is 8 kB.
    """

    reaction_ms = peak = gap_us = reason = time_up = lay_down = link_lost = None
    rising = arming = falling = fault = None


class EventLog:
    """A ring of the last `size` events. `seq` counts from 1 at each start of the hub and never repeats."""

    def __init__(self, size: int) -> None:
        self.seq = 0
        self._size = size
        self._ring: "list[tuple[int, str, str, dict[str, object]]]" = []
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
        self._ring.append((self.seq, event, target_id, data))
        for reader in self._readers:
            reader.set()

    def after(self, seq: int) -> "list[tuple[int, str, str, dict[str, object]]]":
        """The events with a greater `seq` that are still here, as (seq, event, target_id, data)."""
        count = min(self.seq - seq, len(self._ring))
        return self._ring[len(self._ring) - count :] if count > 0 else []

    def attach(self, reader: asyncio.Event) -> None:
        """From now on `reader` is set at each event."""
        self._readers.append(reader)

    def detach(self, reader: asyncio.Event) -> None:
        self._readers.remove(reader)
