"""The bus: events of an inbox, and those who handle them.

bus.subscribe("file.received", show)  # `show` gets {"path": …, "filename": …, "content_type": …}
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import threading
from collections.abc import Coroutine
from typing import Any, Callable, Dict, TypeVar

from snyper.device.inbox.records import Records
from snyper.device.inbox.records_thread import RecordsThread
from snyper.device.tasks import end_task
from snyper.device.text import one_line

HANDLER_LIMIT_S = 300.0
MAX_ABANDONED = 8  # threads of a handler that are past its limit, until it gets no more events
_BATCH = 100  # events read at once
_GOODBYE_S = 1.0  # for handlers to end when the inbox closes
_RETRY_S = 1.0  # after the disk has failed

T = TypeVar("T")
Handler = Callable[[Dict[str, Any]], Any]  # what it returns is awaited where that can be
_logger = logging.getLogger("snyper")


class _Subscription:
    """A handler, and what there is for it."""

    news: asyncio.Event  # which Python binds to a loop as it is made, before 3.10

    def __init__(self, kind: str, name: str, handler: Handler) -> None:
        self.kind = kind
        self.name = name
        self.handler = handler
        self.threads: list[threading.Thread] = []

    async def until_thread(self) -> None:
        """Wait until it may have one more thread."""
        is_said = False
        while True:
            self.threads = [thread for thread in self.threads if thread.is_alive()]
            if len(self.threads) < MAX_ABANDONED:
                return
            if not is_said:
                is_said = True
                _logger.error("%s waits: %d of its calls hang", self.name, len(self.threads))
            await asyncio.sleep(_RETRY_S / 10)


class Bus:
    """Events, each given to every handler of its kind.

    A handler gets its events one after the other, in the order in which they came, each once; after a crash
    those again that it had not finished. A plain function runs in a thread. What one raises, and that it has
    not finished after `limit_s`, is logged, and it gets the next event: it holds up nobody else.
    """

    def __init__(self, limit_s: float = HANDLER_LIMIT_S) -> None:
        self._limit_s = limit_s
        self._subscriptions: list[_Subscription] = []
        self._records: Records | None = None
        self._run: RecordsThread | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def subscribe(self, kind: str, handler: Handler) -> None:
        """Have `handler` called with each event of a kind, from before the inbox is opened. By its function's
        name it is known again after a restart. Raises ValueError where another of the kind has that name.
        """
        name = f"{kind} {getattr(handler, '__name__', type(handler).__name__)}"
        if self._run is not None:
            raise ValueError("the inbox is open already: subscribe before that")
        if any(name == one.name for one in self._subscriptions):
            raise ValueError(f"two handlers have the name {name}")
        self._subscriptions.append(_Subscription(kind, name, handler))

    def names(self, kind: str) -> list[str]:
        """Return the names of the handlers of a kind of events."""
        return [one.name for one in self._subscriptions if one.kind == kind]

    async def publish(self, kind: str, data: dict[str, Any]) -> None:
        """Give an event to its handlers. It is on the disk when this returns. Raises ValueError for what JSON
        cannot say.
        """
        assert self._records is not None
        assert self._run is not None, "the inbox is not open"
        text = json.dumps(data, allow_nan=False)
        await self._run(self._records.add_waiting, [(name, text) for name in self.names(kind)])
        self.wake()

    def wake(self) -> None:
        """Have every handler look for what is new."""
        for subscription in self._subscriptions:
            subscription.news.set()

    def start(self, records: Records, run: RecordsThread) -> None:
        """Begin to give events to the handlers; first those that wait since before."""
        self._records, self._run = records, run
        for name, count in records.count_waiting().items():
            if name not in [one.name for one in self._subscriptions]:
                _logger.warning("%d events wait for a handler that is not here: %s", count, name)
        for one in self._subscriptions:
            one.news = asyncio.Event()
            self._tasks.append(asyncio.create_task(self._serve(one, records, run)))

    async def stop(self) -> None:
        """End what runs. An event that is not finished comes again after the next start."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_GOODBYE_S)
        self._tasks.clear()
        self._run = None

    async def _serve(self, one: _Subscription, records: Records, run: RecordsThread) -> None:
        while True:
            one.news.clear()
            batch = await _surely(run, records.waiting, one.name, _BATCH)
            for number, text in batch:
                is_ending = await self._handle(one, json.loads(text))
                await _to_the_end(_surely(run, records.remove_waiting, number))
                if is_ending:
                    raise asyncio.CancelledError
            if not batch:
                await one.news.wait()

    async def _handle(self, one: _Subscription, event: dict[str, Any]) -> bool:
        """Have an event handled. Return whether this was cancelled as it was done already."""
        await one.until_thread()
        work: asyncio.Future[Any]
        if inspect.iscoroutinefunction(one.handler):
            work = asyncio.ensure_future(one.handler(event))
        else:
            work = _in_thread(one, event)
        is_ending = False
        try:
            await asyncio.wait([work], timeout=self._limit_s)
        except asyncio.CancelledError:
            is_ending = work.done()
            if not is_ending:
                await end_task(work)
                raise
        if not work.done():
            await end_task(work)
            _logger.error("%s has not finished within %g s: %s", one.name, self._limit_s, _shown(event))
        elif work.cancelled():
            _logger.error("%s was cancelled with %s", one.name, _shown(event))
        elif work.exception() is not None:
            _logger.error("%s raised with %s", one.name, _shown(event), exc_info=work.exception())
        return is_ending


def _in_thread(one: _Subscription, event: dict[str, Any]) -> asyncio.Future[None]:
    """Run a plain function in a thread that the end of the process does not wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if not done.done():
            done.set_result(None) if error is None else done.set_exception(error)

    def work() -> None:
        error: BaseException | None = None
        try:
            one.handler(event)
        except BaseException as raised:
            error = raised
            # SystemExit and the like no future takes; as for the last, it would be taken for its own.
            if not isinstance(raised, Exception) or isinstance(raised, asyncio.CancelledError):
                error = RuntimeError(f"{type(raised).__name__}: {raised}")
        try:
            loop.call_soon_threadsafe(finish, error)
        except RuntimeError:
            return  # the loop has ended

    thread = threading.Thread(target=work, name=one.name, daemon=True)
    one.threads.append(thread)
    thread.start()
    return done


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await `work`, which goes on to its end where this is cancelled: what is done is not done again."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _surely(run: RecordsThread, function: Callable[..., T], *arguments: Any) -> T:
    """Run a function of the records until the disk lets it."""
    while True:
        try:
            return await run(function, *arguments)
        except OSError as error:
            _logger.error("handlers wait: %s", error)
            await asyncio.sleep(_RETRY_S)


def _shown(event: dict[str, Any]) -> str:
    text = one_line(json.dumps(event, ensure_ascii=False))
    return text if len(text) <= 200 else text[:200] + "…"
