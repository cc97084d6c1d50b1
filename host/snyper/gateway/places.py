"""Places for requests: so many at once, the others wait for a while, in order."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from weakref import WeakValueDictionary

from snyper.device.serving.exchange import Refusal

RETRY_AFTER_S = 1
CALLED_OFF = "the work was called off before it began: come again"
_LEAST_HOLD_S = 1.0  # in which a worker that is free begins, on any computer


@dataclass(frozen=True, slots=True)
class Place:
    """A place that a request has. `end_reading` says that its body is there: that may take long, and nobody
    is to blame. It may be held for `hold_s` from then on.
    """

    hold_s: float
    end_reading: Callable[[], None]


class Places:
    """Places for requests whose body is read, waits or is worked on: so much of disk and memory is taken.

    An address has at most half of them, and one, while its bodies are read: of one that announces them and
    sends nothing, the others have the rest.
    """

    def __init__(self, count: int, hold_s: float) -> None:
        self.hold_s = hold_s
        self.waiting = 0  # requests
        self._free = asyncio.Semaphore(count)
        self._share = max(1, count // 2)
        self._reading: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._timeouts: set[asyncio.Timeout] = set()
        self._is_ended = False

    def end(self) -> None:
        """Refuse who waits for a place, and from now on who would have to."""
        self._is_ended = True
        for timeout in self._timeouts:
            timeout.reschedule(0)

    @asynccontextmanager
    async def one(self, address: str | None = None) -> AsyncIterator[Place]:
        """Wait for a place and take it for the block. `address` is whose body is to be read, None where there
        is none. Raises Refusal.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self.hold_s
        with ExitStack() as held, ExitStack() as reading:
            self.waiting += 1
            try:
                if address is not None:
                    share = self._reading.get(address) or asyncio.Semaphore(self._share)
                    self._reading[address] = share
                    await self._take(share, until_s)
                    reading.callback(share.release)
                await self._take(self._free, until_s)
                held.callback(self._free.release)
            finally:
                self.waiting -= 1
            yield Place(max(until_s - loop.time(), _LEAST_HOLD_S), reading.close)

    async def _take(self, places: asyncio.Semaphore, until_s: float) -> None:
        if not places.locked():  # without a wait there is none to limit, which takes longer than all else
            await places.acquire()
            return
        if self._is_ended:
            raise overloaded()
        timeout = asyncio.timeout_at(until_s)
        try:
            async with timeout:
                self._timeouts.add(timeout)
                await places.acquire()
        except TimeoutError:
            raise overloaded() from None
        finally:
            self._timeouts.discard(timeout)


def overloaded(detail: str = "too much is being worked on: come again") -> Refusal:
    """Return what is said of too much work. The document's clients repeat a 503, and no 429."""
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"retry-after": str(RETRY_AFTER_S)})
