"""The face of a client: its classes and its server, whether calls block or are awaited."""

import inspect
import warnings
from collections.abc import Coroutine
from typing import Any, Protocol, Self, TypedDict

from snyper.services.context import check_seconds
from snyper.services.mirror import mirror
from snyper.services.places import check_place, place_of
from snyper.services.skew import differences
from snyper.services.wire import PORT


class Options(TypedDict, total=False):
    """The keywords of a client, for a type checker: those of `ClientFace`."""

    address: str | None
    port: int
    secret: str | None
    timeout: float | None
    hub: str | None
    name: str | None
    key: str | None


class Awaited(Protocol):
    """A client whose calls are awaited, for a type checker: an AsyncClient, or what `snyper stubs` writes.

    Whoever takes it, or else any object as a client that blocks, has overloads that overlap: of an object it
    is not known whether it is one.
    """

    def help(self, command: str | None = None, /) -> Coroutine[Any, Any, None]: ...


def check_help(command: object) -> None:
    """Raise TypeError for what names no command, such as a method itself."""
    if not isinstance(command, str | None):
        raise TypeError(f"help() takes the name of a command, as text, not {command!r}")


class ClientFace:
    """The names of what is served, each a call."""

    _caller_type: Any  # of what makes the calls
    _snyper: Any  # one of that
    _classes: tuple[Any, ...]  # that are to be compared with what is served
    _shown: tuple[Any, ...]
    _skewed: frozenset[str]  # the names of theirs that differ
    _is_async = False

    def __new__(cls, *classes: Any, **options: Any) -> Self:
        return object.__new__(mirror(cls, classes, cls._is_async))

    def __init__(
        self,
        *classes: Any,
        address: str | None = None,
        port: int = PORT,
        secret: str | None = None,
        timeout: float | None = None,
        hub: str | None = None,
        name: str | None = None,
        key: str | None = None,
    ) -> None:
        check_place(address, port, secret)
        if timeout is not None:
            check_seconds(timeout, "timeout")
        self._classes = self._shown = classes
        self._skewed = frozenset()
        self._snyper = self._caller_type(place_of(address, port, hub, name, key), secret, timeout)

    __new__.__signature__ = inspect.signature(__init__)  # type: ignore[attr-defined] # for help()

    def call(self, command: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call what the server serves as `command`; return what it returns, raise what it raises."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._snyper.where}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # never on the wire: IPython and copy look for many
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

        def command(*args: Any, **kwargs: Any) -> Any:
            return self.call(name, *args, **kwargs)

        command.__name__ = command.__qualname__ = name
        return command

    def _take_description(self, described: Any, where: str) -> None:
        """Compare the classes with what is served, once: the server's signatures decide."""
        classes, self._classes = self._classes, ()
        found = differences(classes, described)
        self._skewed = frozenset(found)
        if found:
            depth = 3 if self._is_async else 4  # to the line that calls
            warnings.warn(f"{where} differs from the class: {'; '.join(found.values())}", stacklevel=depth)


def face_of(client: object) -> ClientFace:
    """Return a client as what it is, whatever it shows. Raises TypeError for what is none."""
    if not isinstance(client, ClientFace):
        raise TypeError(f"{client!r} is no client")
    return client
