"""A stream at a client over asyncio: what a served generator yields, as it comes."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

from snyper.services.context import until
from snyper.services.stream_end import Arrivals, Came, StreamEnd
from snyper.shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage


class AsyncItems(Arrivals):
    """Arrivals for which a task can wait. Of one event loop: elsewhere their connection has broken."""

    def __init__(self, tell: Callable[[], None] | None = None) -> None:
        super().__init__(tell)
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def put(self, message: SocketMessage | Exception) -> None:
        super().put(message)
        self._changed.set()

    async def take(self, until_s: float | None) -> Came:
        """Wait for the next item, and take it; return the end where none comes, None at the deadline."""
        if asyncio.get_running_loop() is not self._loop:
            return ProtocolError(ErrorCode.DISCONNECTED, "its event loop has ended")
        while (came := self.next()) is None:
            self._changed.clear()
            wait_s = None if until_s is None else until_s - time.monotonic()
            try:
                async with asyncio.timeout(wait_s) as limit:
                    await self._changed.wait()
            except TimeoutError:
                if not limit.expired():
                    raise
                return None
        return came


class AsyncRemoteStream(StreamEnd, AsyncIterator[Any]):
    """Iterates over what a generator yields on the server, which runs at most some items ahead.

    A task at a time may iterate, any may `aclose`. That, or nobody having it any more, ends the generator
    there. Where the connection has broken, or a deadline is over, it raises StreamLost: the generator is not
    run again.
    """

    _stop = StopAsyncIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        self._check()
        return self._take(await self._items.take(until(self._timeout_s)))

    async def aclose(self) -> None:
        """End it, and the generator on the server."""
        self._leave()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._leave()
