"""A client's end of a stream: what has come, what the server is told, what the end of it means. Pure."""

from collections import deque
from collections.abc import Callable
from typing import Any

from snyper.services.client_session import ClientSession
from snyper.services.remote_exceptions import StreamLost
from snyper.services.window import MAX_BYTES, MAX_ITEMS, Taking
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage

Came = SocketMessage | Exception | None  # an item, or what ends it; None where neither has come


class Arrivals:
    """The items that have come and that nobody has taken; with `tell` the newest alone, and it is called at
    each, so that the server sends the next.
    """

    def __init__(self, tell: Callable[[], None] | None = None) -> None:
        self._tell = tell
        self._items: deque[SocketMessage] = deque(maxlen=None if tell is None else 1)
        self._end: SocketMessage | Exception | None = None

    def put(self, message: SocketMessage | Exception) -> None:
        """Take what comes: an item, or what ends it. Raises ProtocolError for more items than may come before
        some are taken.
        """
        if isinstance(message, SocketMessage) and message.type == MessageType.ITEM:
            if self._tell is not None:
                self._tell()
            elif not _is_room_behind(list(self._items)):
                raise ProtocolError(ErrorCode.BAD_MESSAGE, "it sends items that nobody has room for")
            self._items.append(message)
        elif self._end is None:
            self._end = message

    def leave(self) -> None:
        """Take that nobody wants more: who waits is to look whether it is over."""
        self.put(ProtocolError(ErrorCode.DISCONNECTED, "it was closed"))

    def next(self) -> Came:
        """Take the next item; return the end where there is none, None where more is to come."""
        end = self._end  # looked at first: behind it nothing comes
        return self._items.popleft() if self._items else end


def _is_room_behind(items: list[SocketMessage]) -> bool:
    """Tell whether a server that keeps to the window may send one more before any of these is taken."""
    return len(items) < MAX_ITEMS and sum(len(one.attachment or b"") for one in items) < MAX_BYTES


class StreamEnd:
    """An iterator over what a generator yields on the server, but for the waiting.

    `tell` is called with how many items were taken, now and then, `give_up` where no more will be.
    """

    _stop: type[Exception]  # which says to who iterates that it is over
    _is_over = False

    def __init__(
        self,
        items: Any,
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

    def _check(self) -> None:
        """Raise what says that it is over, if it is, or the parent's."""
        if self._is_over:
            raise self._stop
        if self._session.is_inherited:
            self._is_over = True
            raise StreamLost(self._taking.count)

    def _take(self, came: Came) -> Any:
        """Return the value of the item that came; None came until the deadline. Raises what the end means."""
        self._check()  # another may have closed it meanwhile
        if isinstance(came, SocketMessage) and came.type == MessageType.ITEM:
            if self._taking.take(len(came.attachment or b"")):
                self._tell(self._taking.count)
            return self._session.value(came, self._name)
        if came is None:
            self._close()
        self._is_over = True
        if not isinstance(came, SocketMessage):
            raise StreamLost(self._taking.count)
        try:
            returned = self._session.result(came, self._name)
        except StreamLost:
            raise StreamLost(self._taking.count) from None
        raise self._stop(returned)

    def _close(self) -> None:
        if not self._is_over:
            self._is_over = True
            if not self._session.is_inherited:
                self._give_up()

    def _leave(self) -> None:
        self._close()
        self._items.leave()

    def __del__(self) -> None:
        self._close()
