"""The events of cameras for one listener, who holds up nobody."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from snyper.cameras.records import Event

_MAX_EVENTS = 1_000  # that wait for one listener


class Feed:
    """The events from now on, for one listener: `async for event in feed`. Who is slow loses the oldest: then
    the next event is of kind `lost`, with their `count`.
    """

    def __init__(self, on_close: Callable[["Feed"], None]) -> None:
        self._events: deque[Event] = deque()
        self._arrival = asyncio.Event()
        self._lost = 0
        self._is_closed = False
        self._on_close = on_close

    def put(self, event: Event) -> None:
        """Hand an event to the listener."""
        if len(self._events) >= _MAX_EVENTS:
            self._events.popleft()
            self._lost += 1
        self._events.append(event)
        self._arrival.set()

    def close(self) -> None:
        """Hear of nothing more: the iteration ends."""
        self._is_closed = True
        self._arrival.set()
        self._on_close(self)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._is_closed:
            if self._lost:
                count, self._lost = self._lost, 0
                return Event("lost", {"count": count})
            if self._events:
                return self._events.popleft()
            self._arrival.clear()
            await self._arrival.wait()
        raise StopAsyncIteration
