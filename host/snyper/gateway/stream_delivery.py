"""The delivery of a signal: from one source to all who listen, a bounded queue each."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress

from snyper.gateway.stream_frames import Frames
from snyper.shared.runtime import end_task
from snyper.streams.packet import PacketSource

_log = logging.getLogger("snyper")

MAX_QUEUED = 8  # packets of a listener: 10 may come after a stop, and two are on their way to the system
# For which a newcomer to a running signal may say what it wants: what it is answered comes before any data.
_HEED_S = 0.25
_LINGER_S = 1.0  # for which a signal that nobody wants goes on: clients come and go
_RETRY_S = 1.0  # after a source broke off


class Listener:
    """Somebody who listens, with the packets that wait for him: the oldest makes space for the newest."""

    def __init__(self, heed_s: float) -> None:
        self.dropped = 0
        self._queued: deque[Frames] = deque(maxlen=MAX_QUEUED)
        self._is_any = asyncio.Event()
        self._heeds_until_s = asyncio.get_running_loop().time() + heed_s

    def offer(self, frames: Frames) -> None:
        """Queue a packet."""
        if asyncio.get_running_loop().time() < self._heeds_until_s:
            return
        self.dropped += len(self._queued) == MAX_QUEUED
        self._queued.append(frames)
        self._is_any.set()

    def heed(self) -> None:
        """Note that it was answered: it may have data from here on."""
        self._heeds_until_s = 0.0

    def clear(self) -> None:
        """Leave out what is queued."""
        self._queued.clear()

    async def take(self) -> Frames:
        """Wait for the next packet."""
        while not self._queued:
            self._is_any.clear()
            await self._is_any.wait()
        return self._queued.popleft()


class Delivery:
    """Delivers the packets of a source while it is started and somebody listens, from the next one on."""

    def __init__(self, source: PacketSource) -> None:
        self.is_started = False
        self._source = source
        self._listeners: set[Listener] = set()
        self._dropped = 0  # by those that are gone
        self._is_wanted = asyncio.Event()
        self._is_unwanted = asyncio.Event()

    @property
    def count(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        """Listen for the block."""
        listener = Listener(_HEED_S if self.is_started else 0.0)
        self._listeners.add(listener)
        self._settle()
        try:
            yield listener
        finally:
            self._listeners.remove(listener)
            self._dropped += listener.dropped
            self._settle()

    def start(self) -> None:
        """Deliver to everybody."""
        self.is_started = True
        self._settle()

    def stop(self) -> None:
        """Deliver to nobody, nor what is queued."""
        self.is_started = False
        self._settle()
        for listener in self._listeners:
            listener.clear()

    def _settle(self) -> None:
        if self.is_started and self._listeners:
            self._is_wanted.set()
        else:
            self._is_wanted.clear()
            self._is_unwanted.set()

    def health(self) -> dict[str, object]:
        """Return how it stands: exactly who listens, and how many packets slow ones have lost."""
        return {
            "status": "healthy",
            "streaming": self.is_started,
            "connections": self.count,
            "dropped": self._dropped + sum(listener.dropped for listener in self._listeners),
            **self._source.health(),
        }

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            await self._is_wanted.wait()
            delivering = asyncio.create_task(self._deliver())
            try:
                await self._wait_until_unwanted()
            finally:
                await end_task(delivering)

    async def _wait_until_unwanted(self) -> None:
        """Wait until nobody has wanted it for _LINGER_S."""
        while self._is_wanted.is_set():
            self._is_unwanted.clear()
            await self._is_unwanted.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_wanted.wait(), _LINGER_S)

    async def _deliver(self) -> None:
        while True:
            try:
                async with aclosing(self._source.packets()) as packets:
                    async for packet in packets:
                        self._give(Frames(packet))
            except Exception:
                _log.exception("the signal broke off, and is asked for again")
            await asyncio.sleep(_RETRY_S)

    def _give(self, frames: Frames) -> None:
        if self.is_started:
            for listener in self._listeners:
                listener.offer(frames)
