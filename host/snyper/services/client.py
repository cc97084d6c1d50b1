"""A client of a server of functions and objects: `Client`, which blocks."""

import pydoc
import warnings
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast, overload

from snyper.services.caller import Caller
from snyper.services.mirror import mirror
from snyper.services.skew import differences
from snyper.services.wire import DESCRIBE, PORT, RUNNING

T = TypeVar("T")


class BaseClient:
    """Calls functions and objects of another machine as if they were here.

    `classes` are those whose methods and properties the client shows, each alone or with the prefix that the
    server gave its instance. Connects with the first call, and again whenever it has to: a call waits for a
    server that is not there yet. `timeout` in seconds limits each call; without it none is limited.
    """

    _snyper: Caller
    _classes: tuple[Any, ...]  # that are to be compared with what is served
    _shown: tuple[Any, ...]
    _skewed: frozenset[str]  # the names of theirs that differ

    def __new__(cls, *classes: Any, **options: Any) -> "BaseClient":
        return object.__new__(mirror(cls, classes))

    def __init__(
        self,
        *classes: Any,
        address: str = "localhost",
        port: int = PORT,
        secret: str | None = None,
        timeout: float | None = None,
    ) -> None:
        self._snyper = Caller(address, port, secret, timeout)
        self._classes = self._shown = classes
        self._skewed = frozenset()

    def call(self, command: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call what the server serves as `command`; return what it returns, raise what it raises."""
        if self._classes:
            self._compare()
        return self._snyper.call(command, args, kwargs)

    def help(self, command: str | None = None) -> None:
        """Show what the server serves, or what one command is documented as: in a pager on a terminal."""
        pydoc.pager(str(self._snyper.ask(DESCRIBE, help=command)) + "\n")

    def close(self) -> None:
        """Hang up. The next call connects again."""
        self._snyper.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):  # never on the wire: IPython and copy look for many
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

        def command(*args: Any, **kwargs: Any) -> Any:
            return self.call(name, *args, **kwargs)

        command.__name__ = command.__qualname__ = name
        return command

    def __enter__(self) -> "BaseClient":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _compare(self) -> None:
        """Compare the classes with what is served, once: the server's signatures decide."""
        described = self._snyper.ask(DESCRIBE)
        classes, self._classes = self._classes, ()
        found = differences(classes, described)
        self._skewed = frozenset(found)
        if found:
            words = "; ".join(found.values())
            warnings.warn(f"{self._snyper.where} differs from the class: {words}", stacklevel=4)


class _ClientOf(Protocol):
    @overload
    def __call__(
        self,
        one: type[T],
        /,
        *,
        address: str = ...,
        port: int = ...,
        secret: str | None = ...,
        timeout: float | None = ...,
    ) -> T: ...
    @overload
    def __call__(
        self,
        *classes: Any,
        address: str = ...,
        port: int = ...,
        secret: str | None = ...,
        timeout: float | None = ...,
    ) -> Any: ...
    def __call__(self, *classes: Any, **options: Any) -> Any:
        """Make a client: of one class without a prefix it has, for a type checker, that type."""


BaseClient.__name__ = BaseClient.__qualname__ = "Client"
Client = cast(_ClientOf, BaseClient)


def running(client: object) -> list[dict[str, Any]]:
    """Return the calls that run or wait at the server of a client, at once whatever it does.

    Of each: `name`; `who` called; `state`, running or waiting; `seconds` that it runs; `cancelled`, whether
    its caller has given it up. Raises CallError, TypeError for what is no client.
    """
    found: list[dict[str, Any]] = caller_of(client).ask(RUNNING)
    return found


def caller_of(client: object) -> Caller:
    """Return what makes the calls of a client. Raises TypeError for what is none."""
    if not isinstance(client, BaseClient):
        raise TypeError(f"{client!r} is no client")
    return client._snyper
