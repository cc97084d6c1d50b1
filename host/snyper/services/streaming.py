"""A generator that a server runs for a client, as far as that takes its items."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from snyper.services.context import current_job
from snyper.services.desk import Job
from snyper.services.execution import raised
from snyper.services.remote_exceptions import StreamLost, to_wire
from snyper.services.window import Sending
from snyper.services.wire import REFUSED, RETURNED, STREAMS, Pieces, item, own, reply
from snyper.shared.socket_protocol import MessageType, SocketMessage

_LOOK_S = 0.5  # after which one that waits looks whether the server runs still


class Streaming:
    """A stream over the connection on which it has begun.

    `send` gives pieces to that connection, from any thread. `is_over` tells whether the server has stopped.
    """

    def __init__(
        self,
        job: Job,
        generator: "GeneratorType[Any, Any, Any] | AsyncGeneratorType[Any, Any]",
        send: Callable[[Pieces], None],
        is_over: Callable[[], bool],
        tracebacks: bool,
    ) -> None:
        self.is_stopped = False
        self._job = job
        self._generator: Any = generator
        self._send = send
        self._is_over = is_over
        self._tracebacks = tracebacks
        self._window = Sending()
        self._changed = threading.Condition()

    def taken(self, count: int) -> None:
        """Take that the client has had so many items. Raises ValueError."""
        with self._changed:
            self._window.taken(count)
            self._changed.notify()

    def stop(self) -> None:
        """Have the generator closed: nobody takes its items any more."""
        with self._changed:
            self.is_stopped = True
            self._changed.notify()

    def run(self) -> Pieces:
        """Run the generator to its end, in a thread of its own; return the answer to the call."""
        seq, generator = self._job.seq, self._generator
        current_job.set(self._job)
        try:
            self._begin()
            while self._may_go_on():
                try:
                    value = next(generator)
                except StopIteration as end:
                    return own(reply(seq, RETURNED, end.value))
                self._send_item(value)
            generator.close()
        except BaseException as error:  # whatever it raises is the caller's to know
            return raised(self._job, error, self._tracebacks)
        finally:
            with contextlib.suppress(BaseException):  # of one that has raised already
                generator.close()
        return lost(seq)

    def _begin(self) -> None:
        self._send((SocketMessage(MessageType.ITEM, self._job.seq, None, STREAMS).to_line(),))

    def _send_item(self, value: object) -> None:
        pieces = own(item(self._job.seq, value))
        with self._changed:
            self._window.sent(sum(map(len, pieces[1:])))
        self._send(pieces)

    def _may_go_on(self) -> bool:
        with self._changed:
            while not (self._window.is_open or self.is_stopped or self._is_over()):
                self._changed.wait(_LOOK_S)
            return not (self.is_stopped or self._is_over())


class AsyncStreaming(Streaming):
    """The same of an asynchronous generator, which a task of an event loop runs."""

    _loop: asyncio.AbstractEventLoop | None = None
    _woken: asyncio.Event

    def taken(self, count: int) -> None:
        super().taken(count)
        self._wake()

    def stop(self) -> None:
        super().stop()
        self._wake()

    async def run_async(self) -> Pieces:
        """Run the generator to its end; return the answer to the call."""
        self._woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        seq, generator = self._job.seq, self._generator
        current_job.set(self._job)  # for this task
        try:
            self._begin()
            while await self._may_go_on_async():
                try:
                    value = await anext(generator)
                except StopAsyncIteration:
                    return reply(seq, RETURNED, None)
                self._send_item(value)
            await generator.aclose()
        except BaseException as error:  # whatever it raises is the caller's to know
            return raised(self._job, error, self._tracebacks)
        finally:
            with contextlib.suppress(BaseException):  # of one that has raised already
                await generator.aclose()
        return lost(seq)

    async def _may_go_on_async(self) -> bool:
        while True:
            self._woken.clear()
            with self._changed:
                if self.is_stopped or self._window.is_open:
                    return not self.is_stopped
            await self._woken.wait()

    def _wake(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(self._woken.set)


def lost(seq: int) -> Pieces:
    """Return the answer to a call whose stream has begun and is not there any more."""
    return reply(seq, REFUSED, to_wire(StreamLost(0)))
