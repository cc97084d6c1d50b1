"""The watches of a client: `watch`."""

from collections.abc import AsyncIterator, Callable, Iterator
from numbers import Real
from typing import Any, Self, overload

from snyper.services.client_face import Awaited, ClientFace, face_of
from snyper.services.client_session import ClientSession
from snyper.services.context import until
from snyper.services.remote_exceptions import CallError, StreamLost
from snyper.services.stream_end import Came
from snyper.shared.socket_protocol import MessageType, SocketMessage


@overload
def watch(  # type: ignore[overload-overlap]
    client: Awaited, name: str, *, every: float | None = None
) -> "AsyncWatch": ...
@overload
def watch(client: object, name: str, *, every: float | None = None) -> "Watch": ...
def watch(client: object, name: str, *, every: float | None = None) -> "Watch | AsyncWatch":
    """Iterate over the values of a property at the server: the one now, and each other one that is set.

        for value in snyper.watch(pm, "range"):
            ...

    `name` is that of a property, with its prefix: `range`, `pump_range`. With `every`, in seconds from 0.01
    to 3,600, it is read in that time, once for all who watch it so, and each value comes; then `name` may
    also be a method or function that needs no argument. Who is slow gets the newest value; `missed` counts
    those that were passed over just before it. Where the connection breaks it goes on with the value then.

    Nothing is read while somebody else has a lease, but what he has left open. What reading raises is raised,
    and ends it. Raises Locked, NotServed, Refused for what is no property, other CallErrors; ValueError,
    TypeError; StreamLost when a deadline is over.

    For an AsyncClient it is `async for`, begins with the first step, and may be left by cancelling that.
    """
    face = face_of(client)
    return (AsyncWatch if face._is_async else Watch)(face, name, every)


class _Watching:
    """An iterator over the values of a property, but for the waiting."""

    missed = 0
    _is_over = True
    _items: Any = None  # none before it has begun, and where that is to be done anew
    _give_up: Callable[[], None]
    _session: ClientSession

    def __init__(self, face: ClientFace, name: str, every: float | None) -> None:
        if not isinstance(name, str):
            raise TypeError(f"what is watched has a name, not {name!r}")
        if every is not None:
            if not isinstance(every, Real):
                raise TypeError(f"every is a number of seconds, not {every!r}")
            if not 0.01 <= every <= 3_600:
                raise ValueError(f"every is 0.01 to 3,600 s, not {every!r}")
        self._caller = face._snyper
        self._name = name
        self._data: dict[str, object] = {"name": name}
        if every is not None:
            self._data["every_ms"] = round(every * 1_000)
        self._values = 0
        self._is_over = False

    @property
    def _has_begun(self) -> bool:
        return self._items is not None and not self._session.is_inherited

    def _take_begun(self, begun: tuple[Any, Callable[[], None]]) -> None:
        self._items, self._give_up = begun
        self._session = self._caller.session
        self._last: int | None = None  # the number of a value here
        if self._is_over:  # closed while it began anew
            self._give_up()

    def _is_value(self, came: Came) -> bool:
        """Tell whether a value came; false where the connection has broken. Raises what the end means."""
        if isinstance(came, SocketMessage) and came.type == MessageType.ITEM:
            return True
        if isinstance(came, Exception):
            self._items = None
            return False
        if came is None:
            self._close()
            raise StreamLost(self._values)
        self._is_over = True
        self._session.result(came, self._name)
        raise CallError(f"{self._caller.where} has ended the watch of {self._name}")

    def _value(self, message: SocketMessage) -> Any:
        number = (message.data or {}).get("n")
        if type(number) is not int:
            raise CallError(f"{self._caller.where} does not number the values of {self._name}")
        self.missed = 0 if self._last is None else max(0, number - self._last - 1)
        self._last = number
        self._values += 1
        return self._session.value(message, self._name)

    def _close(self) -> None:
        if not self._is_over:
            self._is_over = True
            if self._has_begun:
                self._give_up()

    def _leave(self) -> None:
        items = self._items
        self._close()
        if items is not None:
            items.leave()

    def __del__(self) -> None:
        self._close()


class Watch(_Watching, Iterator[Any]):
    """An iterator over the values of a property: `for`. One thread iterates, any may `close`."""

    def __init__(self, face: ClientFace, name: str, every: float | None) -> None:
        super().__init__(face, name, every)
        self._begin()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        while not self._is_over:
            if not self._has_begun:
                self._begin()
                continue
            came = self._items.take(until(None))
            if not self._is_over and self._is_value(came):
                return self._value(came)
        raise StopIteration

    def close(self) -> None:
        """End it."""
        self._leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._leave()

    def _begin(self) -> None:
        self._take_begun(self._caller.watch(self._data, self._name))


class AsyncWatch(_Watching, AsyncIterator[Any]):
    """An iterator over the values of a property: `async for`. One task iterates, any may `aclose`."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while not self._is_over:
            if not self._has_begun:
                self._take_begun(await self._caller.watch(self._data, self._name))
                continue
            came = await self._items.take(until(None))
            if not self._is_over and self._is_value(came):
                return self._value(came)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End it."""
        self._leave()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._leave()
