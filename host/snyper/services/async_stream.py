"""A stream at a client over asyncio: what a served generator yields, as it comes."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

from snyper.services.client_session import ClientSession
from snyper.services.context import until
from snyper.services.remote_exceptions import StreamLost
from snyper.services.window import Taking
from snyper.shared.socket_protocol import MessageType, SocketMessage


class AsyncItems:
    """The items that have come and that nobody has taken. Of one event loop."""

    def __init__(self) -> None:
        self._items: deque[SocketMessage] = deque()
        self._end: SocketMessage | Exception | None = None
        self._changed = asyncio.Event()

    def put(self, message: SocketMessage | Exception) -> None:
        """Take what comes: an item, or what ends it."""
        if isinstance(message, SocketMessage) and message.type == MessageType.ITEM:
            self._items.append(message)
        elif self._end is None:
            self._end = message
        self._changed.set()

    async def take(self, until_s: float | None) -> SocketMessage | Exception | None:
        """Wait for the next item, and take it; return the end where none comes, None at the deadline."""
        while not self._items and self._end is None:
            self._changed.clear()
            wait_s = None if until_s is None else until_s - time.monotonic()
            try:
                async with asyncio.timeout(wait_s) as limit:
                    await self._changed.wait()
            except TimeoutError:
                if not limit.expired():
                    raise
                return None
        return self._items.popleft() if self._items else self._end


class AsyncRemoteStream(AsyncIterator[Any]):
    """Iterates over what a generator yields on the server, which runs at most some items ahead.

    A task at a time may use it. `aclose`, or nobody having it any more, ends the generator there. Where the
    connection has broken, or a deadline is over, it raises StreamLost: the generator is not run again.
    """

    _is_over = False

    def __init__(
        self,
        items: AsyncItems,
        name: str,
        session: ClientSession,
        timeout_s: float | None,
        tell: Callable[[int], None],
        give_up: Callable[[], None],
    ) -> None:
        self._items = items
        self._name = name
        self._session = session
        self._timeout_s = timeout_s
        self._tell = tell
        self._give_up = give_up
        self._taking = Taking()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if self._is_over:
            raise StopAsyncIteration
        came = await self._items.take(until(self._timeout_s))
        if isinstance(came, SocketMessage) and came.type == MessageType.ITEM:
            if self._taking.take(len(came.attachment or b"")):
                self._tell(self._taking.count)
            return self._session.value(came, self._name)
        if came is None:
            self._close()
        self._is_over = True
        if not isinstance(came, SocketMessage):
            raise StreamLost(self._taking.count)
        try:
            self._session.result(came, self._name)
        except StreamLost:
            raise StreamLost(self._taking.count) from None
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End it, and the generator on the server."""
        self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._close()

    def __del__(self) -> None:
        self._close()

    def _close(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._give_up()
