"""A client of a server of functions and objects: `Client`, which blocks."""

import contextlib
import pydoc
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, Protocol, TypeVar, Unpack, cast, overload

from snyper.services.caller import Caller
from snyper.services.client_face import Awaited, ClientFace, Options, check_help, face_of
from snyper.services.wire import DESCRIBE, LOG, RUNNING, STATISTICS
from snyper.system.text import harmless

T = TypeVar("T")


class BaseClient(ClientFace):
    """Calls functions and objects of another machine as if they were here.

    `classes` are those whose methods and properties the client shows, each alone or with the prefix that the
    server gave its instance. Connects with the first call, and again whenever it has to: a call waits for a
    server that is not there yet. `timeout` in seconds limits each call; without it none is limited.

    With `hub` (HOST:PORT) and `name` it reaches the server which that hub knows by that name. `key` is for a
    hub that wants one; by default it is this computer's.
    """

    _caller_type = Caller
    _snyper: Caller

    def call(self, command: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call what the server serves as `command`; return what it returns, raise what it raises."""
        if self._classes:
            self._take_description(self._snyper.ask(DESCRIBE), self._snyper.where)
        return self._snyper.call(command, args, kwargs)

    def help(self, command: str | None = None) -> None:
        """Show what the server serves, or what one command is documented as: in a pager on a terminal."""
        check_help(command)
        pydoc.pager(harmless(str(self._snyper.ask(DESCRIBE, help=command))) + "\n")

    def close(self) -> None:
        """Hang up. The next call connects again."""
        self._snyper.close()

    def __enter__(self) -> "BaseClient":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _ClientOf(Protocol):
    @overload
    def __call__(self, one: type[T], /, **options: Unpack[Options]) -> T: ...
    @overload
    def __call__(self, *classes: Any, **options: Unpack[Options]) -> Any: ...
    def __call__(self, *classes: Any, **options: Any) -> Any:
        """Make a client: of one class without a prefix it has, for a type checker, that type."""


BaseClient.__name__ = BaseClient.__qualname__ = "Client"
Client = cast(_ClientOf, BaseClient)


@overload
def close(client: Awaited) -> Coroutine[Any, Any, None]: ...  # type: ignore[overload-overlap]
@overload
def close(client: object) -> None: ...
def close(client: object) -> Any:
    """Hang up, as `client.close()` does, which type checkers do not see where `client` is one of a class; to
    be awaited where it is an AsyncClient. The next call connects again.

    Raises TypeError for what is no client.
    """
    return face_of(client)._snyper.close()


@contextlib.contextmanager
def closing(client: T) -> Iterator[T]:
    """Give a client to a block, and hang up at its end.

        with snyper.closing(snyper.Client(Powermeter, address="lab1")) as pm:
            ...

    So `with client:` does, which type checkers do not see where it is one of a class. An AsyncClient has
    `async with` alone. Raises TypeError for that, and for what is no client.
    """
    if face_of(client)._is_async:
        raise TypeError(f"{client!r} has `async with`")
    try:
        yield client
    finally:
        close(client)


@overload
def running(  # type: ignore[overload-overlap]
    client: Awaited,
) -> Coroutine[Any, Any, list[dict[str, Any]]]: ...
@overload
def running(client: object) -> list[dict[str, Any]]: ...
def running(client: object) -> Any:
    """Return the calls that run or wait at the server of a client, at once whatever it does; to be awaited
    where it is an AsyncClient.

    Of each: `name`; `who` called; `state`, running or waiting; `seconds` that it runs; `cancelled`, whether
    its caller has given it up. Raises CallError, TypeError for what is no client.
    """
    return face_of(client)._snyper.ask(RUNNING)


@overload
def call_log(  # type: ignore[overload-overlap]
    client: Awaited, after: int | Mapping[str, Any] = 0
) -> Coroutine[Any, Any, list[dict[str, Any]]]: ...
@overload
def call_log(client: object, after: int | Mapping[str, Any] = 0) -> list[dict[str, Any]]: ...
def call_log(client: object, after: int | Mapping[str, Any] = 0) -> Any:
    """Return who has called what at the server of a client: calls that have ended but those that read, and
    what became of leases; to be awaited where it is an AsyncClient.

    At most 200 entries, the oldest first: those after a number, or after an entry, `call_log(pm, log[-1])`.
    Of each: `number`, counted from 1 in each `run` of the server; `at`, when it began; `who` and from where;
    `name`; `arguments` as text, shortened, `***` for what is secret; `seconds`; `outcome`. The server keeps
    the last 10,000. Where it was started anew since that entry, all of the new run come.

    Raises CallError, TypeError for what is no client.
    """
    data: dict[str, Any] = {"after": after}
    if not isinstance(after, int):
        data = {"after": after["number"], "run": after["run"]}
    return face_of(client)._snyper.ask(LOG, **data)


@overload
def statistics(client: Awaited) -> Coroutine[Any, Any, Any]: ...
@overload
def statistics(client: object) -> Any: ...
def statistics(client: object) -> Any:
    """Return what the server of a client says of what does its work, such as its workers; None where it says
    nothing. To be awaited where it is an AsyncClient. Raises CallError, TypeError for what is no client.
    """
    return face_of(client)._snyper.ask(STATISTICS)


def caller_of(client: object) -> Caller:
    """Return what makes the calls of a client that blocks. Raises TypeError for what is none."""
    if not isinstance(client, BaseClient):
        raise TypeError(f"{client!r} is no client that blocks")
    return client._snyper
