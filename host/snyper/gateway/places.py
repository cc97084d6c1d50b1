"""Places for requests: so many at once, the others wait for a while, in order."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from weakref import WeakValueDictionary

from snyper.device.serving.exchange import Exchange, Refusal

RETRY_AFTER_S = 1
CALLED_OFF = "the work was called off before it began: come again"
PLACE_BYTES = 1_000_000
_SMALL_BYTES = 65_536  # a body of which needs no place
_LEAST_HOLD_S = 1.0  # in which a worker that is free begins, on any computer


@dataclass(frozen=True, slots=True)
class Place:
    """A place that a request has. `end_reading` says that its body is there: that may take long, and nobody
    is to blame. It may be held for `hold_s` from then on.
    """

    hold_s: float
    end_reading: Callable[[], None]


class _Pool(asyncio.Semaphore):
    """A number of places. Who wants several has its turn: two who have some of them might wait for ever."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.turn = asyncio.Lock()


class Places:
    """Places for requests whose body is read, waits or is worked on: so much of disk and memory is taken.

    An address has at most half of them, and one, while its bodies are read: of one that announces them and
    sends nothing, the others have the rest.
    """

    def __init__(self, count: int, hold_s: float) -> None:
        self.hold_s = hold_s
        self.waiting = 0  # requests
        self._free = _Pool(count)
        self._share = max(1, count // 2)
        self._reading: WeakValueDictionary[str, _Pool] = WeakValueDictionary()
        self._timeouts: set[asyncio.Timeout] = set()
        self._is_ended = False

    def end(self) -> None:
        """Refuse who waits for a place, and from now on who would have to."""
        self._is_ended = True
        for timeout in self._timeouts:
            timeout.reschedule(0)

    @asynccontextmanager
    async def one(self, address: str | None = None, count: int = 1) -> AsyncIterator[Place]:
        """Wait for a place and take it for the block. `address` is whose body is to be read, None where there
        is none. `count` is how many a request takes that is as large as so many; half of all at most. Raises
        Refusal.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self.hold_s
        count = min(count, self._share)
        with ExitStack() as held, ExitStack() as reading:
            self.waiting += 1
            try:
                if address is not None:
                    share = self._reading.get(address) or _Pool(self._share)
                    self._reading[address] = share
                    await self._take(share, count, until_s, reading)
                await self._take(self._free, count, until_s, held)
            finally:
                self.waiting -= 1
            yield Place(max(until_s - loop.time(), _LEAST_HOLD_S), reading.close)

    async def _take(self, pool: _Pool, count: int, until_s: float, taken: ExitStack) -> None:
        """Take places, which `taken` gives back."""
        if count == 1 and not pool.locked():  # without a wait none is limited, which takes longer than all
            await pool.acquire()
            taken.callback(pool.release)
            return
        timeout = asyncio.timeout_at(0.0 if self._is_ended else until_s)
        try:
            async with timeout:
                self._timeouts.add(timeout)
                async with pool.turn:
                    for _ in range(count):
                        await pool.acquire()
                        taken.callback(pool.release)
        except TimeoutError:
            raise overloaded() from None
        finally:
            self._timeouts.discard(timeout)


def places_for(exchange: Exchange, most_bytes: int) -> int:
    """Return how many places a body takes while it is in memory, none where it is small: one for each
    megabyte that it announces. What says nothing, or is packed, may have `most_bytes`.
    """
    announced = exchange.header("content-length")
    is_told = announced.isdecimal() and not exchange.header("content-encoding")
    length = min(int(announced), most_bytes) if is_told else most_bytes
    return 0 if length <= _SMALL_BYTES else math.ceil(length / PLACE_BYTES)


def overloaded(detail: str = "too much is being worked on: come again") -> Refusal:
    """Return what is said of too much work. The document's clients repeat a 503, and no 429."""
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"retry-after": str(RETRY_AFTER_S)})
