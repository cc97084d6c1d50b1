"""Places for requests: so many at once, the others wait for a while, in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from http import HTTPStatus

from snyper.gateway.exchange import Refusal

RETRY_AFTER_S = 1
_LEAST_HOLD_S = 1.0  # in which a worker that is free begins, on any computer


class Places:
    """Places for requests whose body is read, waits or is worked on: so much of disk and memory is taken."""

    def __init__(self, count: int, hold_s: float) -> None:
        self.hold_s = hold_s
        self._semaphore = asyncio.Semaphore(count)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[float]:
        """Wait for a place and take it for the block, which gets how many seconds the request may be held for
        yet, once its body is there: that may take long, and nobody is to blame. Raises Refusal.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self.hold_s
        try:
            # Without a wait there is none to limit, which takes longer than all else here.
            async with nullcontext() if not self._semaphore.locked() else asyncio.timeout_at(until_s):
                await self._semaphore.acquire()
        except TimeoutError:
            raise overloaded() from None
        try:
            yield max(until_s - loop.time(), _LEAST_HOLD_S)
        finally:
            self._semaphore.release()


def overloaded(detail: str = "too much is being worked on: come again") -> Refusal:
    """Return what is said of too much work. The document's clients repeat a 503, and no 429."""
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"retry-after": str(RETRY_AFTER_S)})
