"""A stream at the client: what a served generator yields, as it comes."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Self

from snyper.services.bell import SLICE_S, Bell
from snyper.services.context import until
from snyper.services.stream_end import Arrivals, Came, StreamEnd
from snyper.shared.socket_protocol import SocketMessage


class Items(Arrivals):
    """Arrivals for which a thread can wait; another puts them there."""

    def __init__(self, tell: Callable[[], None] | None = None) -> None:
        super().__init__(tell)
        self._came = Bell()

    def put(self, message: SocketMessage | Exception) -> None:
        super().put(message)
        self._came.ring()

    def take(self, until_s: float | None) -> Came:
        """Wait for the next item, and take it; return the end where none comes, None at the deadline."""
        while (came := self.next()) is None:
            left_s = SLICE_S if until_s is None else min(until_s - time.monotonic(), SLICE_S)
            if left_s <= 0:
                return None
            self._came.wait(left_s)
        return came


class RemoteStream(StreamEnd, Iterator[Any]):
    """Iterates over what a generator yields on the server, which runs at most some items ahead.

    A thread at a time may iterate, any may `close`. That, or nobody having it any more, ends the generator
    there. Where the connection has broken, or a deadline is over, it raises StreamLost: the generator is not
    run again.
    """

    _stop = StopIteration

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        self._check()
        return self._take(self._items.take(until(self._timeout_s)))

    def close(self) -> None:
        """End it, and the generator on the server."""
        self._leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._leave()
