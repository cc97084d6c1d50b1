"""Blocking work for an event loop, in a thread of its own."""

import asyncio
import contextlib
import threading
from typing import Any, Awaitable, Callable

from snyper.device.limits import Limits


async def in_thread(work: Callable[[], Any], limits: Limits) -> Any:
    """Return what `work` returns. Cancelled, it stops the work by its limits, and does not wait for it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def deliver(set_outcome: Callable[[Any], None], outcome: Any) -> None:
        if not future.done():
            set_outcome(outcome)

    def run() -> None:
        try:
            outcome, set_outcome = work(), future.set_result
        except BaseException as error:
            outcome, set_outcome = error, future.set_exception
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(deliver, set_outcome, outcome)

    threading.Thread(target=run, name="snyper-device", daemon=True).start()
    waiting: Awaitable[Any] = future
    try:
        return await waiting
    except asyncio.CancelledError:
        limits.stop()
        raise
