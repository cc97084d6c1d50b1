"""The event loop on which a server runs coroutines: one that there is, or one of its own in a thread."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any


class Coroutines:
    """The coroutines that run, each with a key. Without a `loop` one is started for the first of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop
        self._ends: asyncio.Event | None = None  # of a loop of its own
        self._tasks: dict[object, asyncio.Task[Any]] = {}

    def run(self, key: object, coroutine: Coroutine[Any, Any, Any], on_done: Callable[[Any], None]) -> None:
        """Run a coroutine, which raises nothing, and give what it returns to `on_done`, on the loop. One
        thread at a time may call this.
        """

        def begin() -> None:
            assert self._loop is not None
            task = self._tasks[key] = self._loop.create_task(coroutine)
            task.add_done_callback(end)

        def end(task: asyncio.Task[Any]) -> None:
            del self._tasks[key]
            if not task.cancelled():  # before it began: the loop ends
                on_done(task.result())

        if self._loop is None:
            self._start()
        if not self._post(begin):
            coroutine.close()

    def cancel(self, key: object) -> None:
        """Cancel a coroutine, if it runs."""

        def cancel() -> None:
            if key in self._tasks:
                self._cancel(self._tasks[key])

        self._post(cancel)

    def end(self) -> None:
        """Cancel all, and end the loop if it is one of its own."""

        def end() -> None:
            for task in self._tasks.values():
                self._cancel(task)
            if self._ends is not None:
                self._ends.set()

        self._post(end)

    # ---

    def _cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task once it has begun: before, its coroutine would end without a word."""
        task.get_loop().call_soon(task.cancel)

    def _post(self, callback: Callable[[], None]) -> bool:
        """Have the loop call `callback`; return whether there is a loop."""
        with contextlib.suppress(RuntimeError):  # it is closed
            if self._loop is not None:
                self._loop.call_soon_threadsafe(callback)
                return True
        return False

    def _start(self) -> None:
        started = threading.Event()

        async def live() -> None:
            self._loop, self._ends = asyncio.get_running_loop(), asyncio.Event()
            started.set()
            await self._ends.wait()

        threading.Thread(target=lambda: asyncio.run(live()), name="snyper coroutines", daemon=True).start()
        started.wait()
