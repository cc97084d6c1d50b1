"""The log of the hub's last events, in order, for listeners now and for consoles that come back."""

import asyncio

from snyper.shared.log import log_exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    OnEvent = Callable[[int, str, str, dict[str, Any]], None]


_MAX_SHAPES = 29  # of this project's events there are 28

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
        self._listeners: "list[OnEvent]" = []
        self._pending: "list[tuple[Any, ...]]" = []
        self._published = asyncio.Event()  # never stays set: it wakes the tasks that wait at that moment

    @property
    def oldest_seq(self) -> int:
        """The oldest event that is still here, or the one that comes next."""
        return self._ring[0][0] if self._ring else self.seq + 1

    def add(self, event: str, target_id: str, data: "dict[str, Any]", report_key: "str | None" = None) -> int:
        """Count an event of a target, or of none where `target_id` is empty, and return its `seq`. Nobody
        changes `data` any more. `report_key` is what a report is known by for ever, empty where nobody knows;
        None is no report.
        """
        seq = self.seq + 1
        self._publish(seq, event, target_id, data)
        self._notify(seq, event, target_id, data)
        return seq

    def listen(self, on_event: "OnEvent") -> "Callable[[], None]":
        """Call `on_event(seq, event, target_id, data)` for each event from now on, as it is counted; what is
        returned ends that, at any time and also twice.

        All listeners get all events, in the order of `seq`: one that is added by a listener comes after the
        one that it was told of. A listener must not wait or change `data`. What it raises is logged.
        """

        def stop() -> None:
            if on_event in self._listeners:
                self._listeners.remove(on_event)

        self._listeners.append(on_event)
        return stop

    def _notify(self, *event: "Any") -> None:
        """Notify the listeners."""
        self._pending.append(event)
        if len(self._pending) > 1:
            return  # a listener has added it; the call that notifies of the first goes on with this
        while self._pending:
            for on_event in list(self._listeners):
                if on_event not in self._listeners:
                    continue  # another has stopped it just now
                try:
                    on_event(*self._pending[0])
                except Exception as error:
                    log_exception("events", error)
            self._pending.pop(0)

    def _publish(self, seq: int, event: str, target_id: str, data: "dict[str, Any]") -> None:
        """Publish an event to consoles."""
        self.seq = seq
        if len(self._ring) >= self._size:
            self._ring.pop(0)
        shape = self._shape(tuple(data))
        entry: "list[object]" = [seq, event, target_id, shape]
        for name in shape:
            value = data[name]
            entry.append(_WORDS.get(value, value) if isinstance(value, str) else value)
        self._ring.append(tuple(entry))
        self._published.set()
        self._published.clear()

    def _shape(self, names: "tuple[str, ...]") -> "tuple[str, ...]":
        for shape in self._shapes:
            if shape == names:
                return shape
        if len(self._shapes) >= _MAX_SHAPES:
            self._shapes.pop(0)
        self._shapes.append(names)
        return names

    async def is_known(self, report_key: str) -> bool:
        """Return whether a report was recorded before the hub's start. A ring does not know. Raises
        ProtocolError `fault` where another cannot be kept.
        """
        return False

    async def flush(self) -> None:
        """Wait until all that was added is as safe as it can be made. May be cancelled, and repeated. Raises
        ProtocolError `fault` while a disk does not take it.
        """

    async def page(self, seq: int) -> "Iterator[tuple[int, str, str, dict[str, object]]]":
        """Return the first events with a greater `seq`, as `after` gives them; waits until there is one. May
        be cancelled.
        """
        while seq >= self.seq or not self._ring:
            await self._published.wait()
        return self.after(seq)

    def after(self, seq: int) -> "Iterator[tuple[int, str, str, dict[str, object]]]":
        """Return the events with a greater `seq` that are still here, as (seq, event, target_id, data)."""
        count = max(0, min(self.seq - seq, len(self._ring)))
        return (_unpacked(entry) for entry in self._ring[len(self._ring) - count :])


def _unpacked(entry: "tuple[Any, ...]") -> "tuple[int, str, str, dict[str, object]]":
    names = entry[3]
    return entry[0], entry[1], entry[2], {names[at]: entry[4 + at] for at in range(len(names))}
