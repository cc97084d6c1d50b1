"""Tasks of asyncio as Python 3.7 has them: their ends, their limits of time, work in threads."""

import asyncio
from types import TracebackType
from typing import Any, Callable, Optional, Type, TypeVar

T = TypeVar("T")


async def end_task(task: "asyncio.Future[Any]") -> None:
    """Cancel `task`, and return when it has ended; one that has ended before may be given too."""
    task.cancel()
    await asyncio.wait([task])  # not `await task`: that could not tell its cancellation from ours


async def in_executor(function: Callable[..., T], *arguments: Any) -> T:
    """Return what `function` returns, called in a thread. Cancelled, it does not wait for that."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


class Timeout:
    """An asynchronous context manager whose block has `seconds`, else asyncio.TimeoutError is raised in its
    place: what `asyncio.timeout` is from Python 3.11 on.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.has_expired = False

    async def __aenter__(self) -> "Timeout":
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._task = task
        self._was_cancelled = _cancelling(task)
        self._timer = loop.call_later(max(0.0, self._seconds), self._expire)
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._timer.cancel()
        if not self.has_expired:
            return
        if hasattr(self._task, "uncancel"):
            self._task.uncancel()
        if kind is asyncio.CancelledError and _cancelling(self._task) <= self._was_cancelled:
            raise asyncio.TimeoutError from error

    def _expire(self) -> None:
        self.has_expired = True
        self._task.cancel()


def _cancelling(task: "asyncio.Task[Any]") -> int:
    """Return how often a task was cancelled, as far as this Python says it."""
    return task.cancelling() if hasattr(task, "cancelling") else 0
