"""A client of a server of functions and objects: `Client`, which blocks."""

from collections.abc import Callable
from typing import Any

from snyper.services.caller import Caller
from snyper.services.mirror import mirror
from snyper.services.wire import DESCRIBE, PORT, RUNNING


class Client:
    """Calls functions and objects of another machine as if they were here.

    `classes` are those whose methods and properties the client shows, each alone or with the prefix that the
    server gave its instance. Connects with the first call, and again whenever it has to: a call waits for a
    server that is not there yet. `timeout` in seconds limits each call; without it none is limited.
    """

    _snyper: Caller

    def __new__(cls, *classes: Any, **options: Any) -> "Client":
        return object.__new__(mirror(cls, classes) if classes else cls)

    def __init__(
        self,
        *classes: Any,
        address: str = "localhost",
        port: int = PORT,
        secret: str | None = None,
        timeout: float | None = None,
    ) -> None:
        object.__setattr__(self, "_snyper", Caller(address, port, secret, timeout))

    def call(self, command: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call what the server serves as `command`; return what it returns, raise what it raises."""
        return self._snyper.call(command, args, kwargs)

    def help(self, command: str | None = None) -> None:
        """Show what the server serves, or what one command is documented as."""
        import pydoc

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

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def running(client: Client) -> list[dict[str, Any]]:
    """Return the calls that run or wait at the server of a client, at once whatever it does.

    Of each: `name`; `who` called; `state`, running or waiting; `seconds` that it runs; `cancelled`, whether
    its caller has given it up. Raises CallError.
    """
    found: list[dict[str, Any]] = client._snyper.ask(RUNNING)
    return found
