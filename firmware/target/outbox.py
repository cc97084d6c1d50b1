"""Hits and misses that the hub has not acknowledged yet: kept in order, sent until they are."""

import asyncio

from shared.link import Link
from shared.log import log
from shared.runtime import sleep_ms
from shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage

MAX_EVENTS = 16  # an hour of play fits the link's own queue; this is for an outage
ACK_TIMEOUT_MS = 2_000
_RETRY_MS = 200
_REFUSALS = (ErrorCode.BAD_MESSAGE, ErrorCode.UNKNOWN_TYPE, ErrorCode.LINE_TOO_LONG)  # sending again is vain


class Outbox:
    """A bounded queue. When it is full the oldest is dropped, and `dropped` counts it."""

    def __init__(self) -> None:
        self.dropped = 0
        self._events: "list[SocketMessage]" = []
        self._count = 0
        self._link: "Link | None" = None
        self._changed = asyncio.Event()

    def add(self, type: str, data: "dict[str, object]") -> None:
        """Queues a `hit` or `miss`. Its id is unlike any other since this boot."""
        if len(self._events) >= MAX_EVENTS:
            self._events.pop(0)
            self.dropped += 1
        self._count += 1
        self._events.append(SocketMessage(type, "e%d" % self._count, data=data))
        self._changed.set()

    def connect(self, link: "Link | None") -> None:
        """Sends over `link` from now on, or waits for the next one."""
        self._link = link
        self._changed.set()

    async def run(self) -> None:
        """Delivers for ever."""
        while True:
            if self._link is None or not self._events:
                self._changed.clear()
                await self._changed.wait()
                continue
            event = self._events[0]
            try:
                await self._link.request(event, ACK_TIMEOUT_MS)
            except ProtocolError as error:
                if error.code not in _REFUSALS:
                    await sleep_ms(_RETRY_MS)
                    continue
                log("outbox", "the hub takes no %s: %s" % (event.type, error))
                self.dropped += 1
            if self._events and self._events[0] is event:
                self._events.pop(0)
