"""The event loop, in a thread of its own, of what goes through a hub."""

import asyncio
import os
import socket
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def run(coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
    """Run a coroutine there, and return what comes of it as a future. Any thread may call this."""
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="snyper hub", daemon=True).start()
    return asyncio.run_coroutine_threadsafe(coroutine, _loop)


async def streams_of(sock: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return the streams of a socket, which is theirs from now on: whoever closed it beside them would leave
    the loop waiting for one that is gone, and deaf to the next of that number.
    """
    try:
        return await asyncio.open_connection(sock=sock)
    except BaseException:
        sock.close()
        raise


def _on_fork() -> None:
    """Have a child start a thread of its own: it has none of its parent's."""
    global _loop, _lock
    _loop, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_on_fork)
