"""The watches of a client: `watch`."""

from collections.abc import Iterator
from typing import Any

from snyper.services.client import caller_of
from snyper.services.context import until
from snyper.services.remote_exceptions import CallError, StreamLost
from snyper.shared.socket_protocol import MessageType, SocketMessage


class watch(Iterator[Any]):
    """Iterates over the values of a property at the server: the one now, and each that is set by whomever.

        for value in snyper.watch(pm, "range"):
            ...

    `name` is that of a property, with its prefix: `range`, `pump_range`. With `every`, in seconds from 0.01
    to 3,600, it is read in that time, once for all who watch it so, and each value comes; then `name` may
    also be a method or function that needs no argument. Who is slow gets the newest value; `missed` counts
    those that were passed over just before it. Where the connection breaks it goes on with the value then.

    Nothing is read while somebody else has a lease, but what he has left open. What reading raises is raised,
    and ends it. Raises Locked, NotServed, Refused for what is no property, other CallErrors; ValueError;
    StreamLost when a deadline is over.
    """

    missed = 0

    def __init__(self, client: object, name: str, *, every: float | None = None) -> None:
        if every is not None and not 0.01 <= every <= 3_600:
            raise ValueError(f"every is 0.01 to 3,600 s, not {every!r}")
        self._caller = caller_of(client)
        self._name = name
        self._data: dict[str, object] = {"name": name}
        if every is not None:
            self._data["every_ms"] = round(every * 1_000)
        self._is_over = True
        self._values = 0
        self._begin()

    def __iter__(self) -> "watch":
        return self

    def __next__(self) -> Any:
        while not self._is_over:
            came = self._items.take(until(None))
            if isinstance(came, SocketMessage) and came.type == MessageType.ITEM:
                return self._take(came)
            if came is None:
                self.close()
                raise StreamLost(self._values)
            self._is_over = True
            if isinstance(came, Exception):  # the connection has broken
                self._begin()
                continue
            self._caller.session.result(came, self._name)
        raise StopIteration

    def close(self) -> None:
        """End it."""
        if not self._is_over:
            self._is_over = True
            self._give_up()

    def __enter__(self) -> "watch":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_is_over", True):
            self.close()

    # ---

    def _begin(self) -> None:
        self._items, self._give_up = self._caller.watch(self._data, self._name)
        self._last: int | None = None  # the number of a value here
        self._is_over = False

    def _take(self, message: SocketMessage) -> Any:
        number = (message.data or {}).get("n")
        if type(number) is not int:
            raise CallError(f"{self._caller.where} does not number the values of {self._name}")
        self.missed = 0 if self._last is None else max(0, number - self._last - 1)
        self._last = number
        self._values += 1
        return self._caller.session.value(message, self._name)
