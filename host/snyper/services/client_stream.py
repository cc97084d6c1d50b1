"""A stream at the client: what a served generator yields, as it comes."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from snyper.services.client_session import ClientSession
from snyper.services.context import until
from snyper.services.remote_exceptions import StreamLost
from snyper.services.window import Taking
from snyper.shared.socket_protocol import MessageType, SocketMessage

_SLICE_S = 0.3  # Windows ends no wait for Ctrl-C


class Items:
    """The items that have come and that nobody has taken; one thread puts them there."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: deque[SocketMessage] = deque()
        self._end: SocketMessage | Exception | None = None

    def put(self, message: SocketMessage | Exception) -> None:
        """Take what comes: an item, or what ends it."""
        with self._changed:
            if isinstance(message, SocketMessage) and message.type == MessageType.ITEM:
                self._items.append(message)
            elif self._end is None:
                self._end = message
            self._changed.notify_all()

    def take(self, until_s: float | None) -> SocketMessage | Exception | None:
        """Wait for the next item, and take it; return the end where none comes, None at the deadline."""
        with self._changed:
            while not self._items and self._end is None:
                left_s = _SLICE_S if until_s is None else min(until_s - time.monotonic(), _SLICE_S)
                if left_s <= 0:
                    return None
                self._changed.wait(left_s)
            return self._items.popleft() if self._items else self._end


class Newest(Items):
    """Only the newest of the items that have come. `tell` says that one has, so that the next may."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def put(self, message: SocketMessage | Exception) -> None:
        """Take what comes: an item in place of the one before, or what ends it."""
        if isinstance(message, SocketMessage) and message.type == MessageType.ITEM:
            with self._changed:
                self._items.clear()
            self._tell()
        super().put(message)


class RemoteStream(Iterator[Any]):
    """Iterates over what a generator yields on the server, which runs at most some items ahead.

    A thread at a time may use it. `close`, or nobody having it any more, ends the generator there. Where the
    connection has broken, or a deadline is over, it raises StreamLost: the generator is not run again.
    """

    _is_over = False

    def __init__(
        self,
        items: Items,
        name: str,
        session: ClientSession,
        timeout_s: float | None,
        tell: Callable[[int], None],
        give_up: Callable[[], None],
    ) -> None:
        self._items = items
        self._name = name
        self._session = session
        self._timeout_s = timeout_s
        self._tell = tell
        self._give_up = give_up
        self._taking = Taking()

    def __iter__(self) -> "RemoteStream":
        return self

    def __next__(self) -> Any:
        if self._is_over:
            raise StopIteration
        came = self._items.take(until(self._timeout_s))
        if isinstance(came, SocketMessage) and came.type == MessageType.ITEM:
            if self._taking.take(len(came.attachment or b"")):
                self._tell(self._taking.count)
            return self._session.value(came, self._name)
        if came is None:
            self.close()
        self._is_over = True
        if not isinstance(came, SocketMessage):
            raise StreamLost(self._taking.count)
        try:
            returned = self._session.result(came, self._name)
        except StreamLost:
            raise StreamLost(self._taking.count) from None
        raise StopIteration(returned)

    def close(self) -> None:
        """End it, and the generator on the server."""
        if not self._is_over:
            self._is_over = True
            self._give_up()

    def __enter__(self) -> "RemoteStream":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
