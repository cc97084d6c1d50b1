"""A server of functions and objects in an event loop: `AsyncServer`."""

import asyncio
from typing import Self

from snyper.services.coroutines import Coroutines
from snyper.services.server import BaseServer


class AsyncServer(BaseServer):
    """Serves coroutine functions, which run in the event loop that runs the server, and ordinary ones, which
    run in threads. Calls to one instance are one at a time, also while one awaits something.
    """

    async def run(self) -> None:
        """Listen, print how clients reach it, and serve until `close`, or until the task is cancelled.

        Raises OSError when the address cannot be used, Refused where the hub does not take it.
        """
        async with self:
            print(self._hint(), flush=True)
            await self._ended.wait()

    async def drain(self) -> None:
        """Take no more calls, and wait until those that run have ended and their answers are on the way.

        Those that wait for their turn, and those that come, are Busy: nothing of them was done. May be
        cancelled; `close` is to follow.
        """
        loop, drained = asyncio.get_running_loop(), asyncio.Event()
        self._drain(lambda: loop.call_soon_threadsafe(drained.set))
        await drained.wait()

    async def close(self) -> None:
        """Stop: no call is taken any more, and who waits for one learns of it. Coroutines are cancelled."""
        if self._engine is not None:
            self._engine.end()
            self._coroutines.end()
            await self._ended.wait()
            await asyncio.to_thread(self._leave)

    async def __aenter__(self) -> Self:
        """Listen and serve, without a word."""
        loop = asyncio.get_running_loop()
        self._coroutines = Coroutines(loop)
        self._ended = asyncio.Event()
        self._start(lambda: loop.call_soon_threadsafe(self._ended.set))
        try:
            await asyncio.to_thread(self._join)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
