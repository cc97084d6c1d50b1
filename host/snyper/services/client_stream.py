"""A stream at the client: what a served generator yields, as it comes."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

from snyper.services.context import until
from snyper.services.stream_end import Arrivals, Came, StreamEnd
from snyper.shared.socket_protocol import SocketMessage

_SLICE_S = 0.3  # Windows ends no wait for Ctrl-C


class Items(Arrivals):
    """Arrivals for which a thread can wait."""

    def __init__(self, tell: Callable[[], None] | None = None) -> None:
        super().__init__(tell)
        self._changed = threading.Condition()

    def put(self, message: SocketMessage | Exception) -> None:
        with self._changed:
            super().put(message)
            self._changed.notify_all()

    def take(self, until_s: float | None) -> Came:
        """Wait for the next item, and take it; return the end where none comes, None at the deadline."""
        with self._changed:
            while (came := self.next()) is None:
                left_s = _SLICE_S if until_s is None else min(until_s - time.monotonic(), _SLICE_S)
                if left_s <= 0:
                    return None
                self._changed.wait(left_s)
            return came


class RemoteStream(StreamEnd, Iterator[Any]):
    """Iterates over what a generator yields on the server, which runs at most some items ahead.

    A thread at a time may use it. `close`, or nobody having it any more, ends the generator there. Where the
    connection has broken, or a deadline is over, it raises StreamLost: the generator is not run again.
    """

    _stop = StopIteration

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        self._check()
        return self._take(self._items.take(until(self._timeout_s)))

    def close(self) -> None:
        """End it, and the generator on the server."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()
