"""A client of a server of functions and objects: `AsyncClient`, whose calls are awaited."""

import asyncio
import pydoc
from collections.abc import Coroutine
from typing import Any, Self

from snyper.services.async_caller import AsyncCaller
from snyper.services.client_face import ClientFace, check_help
from snyper.services.wire import DESCRIBE
from snyper.system.text import harmless


class AsyncClient(ClientFace):
    """Calls functions and objects of another machine as if they were here, each awaited: `await pm.identity`,
    `await pm.set_range(3)`, `await pm.read_voltage(samples=20)`.

    As `Client`, with any number of calls under way over one connection, from the tasks of one event loop at a
    time. A task that is cancelled gives its call up: one that waits is never begun. `timeout` in seconds
    limits each call, as do `asyncio.timeout` and `snyper.deadline`; without them none is limited.
    """

    _caller_type = AsyncCaller
    _snyper: AsyncCaller
    _is_async = True

    def call(self, command: str, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Call what the server serves as `command`; return what it returns, raise what it raises."""
        if self._classes:
            return self._compare_and_call(command, args, kwargs)
        return self._snyper.call(command, args, kwargs)

    async def help(self, command: str | None = None) -> None:
        """Show what the server serves, or what one command is documented as: in a pager on a terminal."""
        check_help(command)
        text = harmless(str(await self._snyper.ask(DESCRIBE, help=command)))
        await asyncio.to_thread(pydoc.pager, text + "\n")

    async def close(self) -> None:
        """Hang up. The next call connects again."""
        await self._snyper.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def _compare_and_call(self, command: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        described = await self._snyper.ask(DESCRIBE)
        if self._classes:  # no other task was faster
            self._take_description(described, self._snyper.where)
        return await self._snyper.call(command, args, kwargs)


def limit_answers(client: AsyncClient, max_body_bytes: int) -> None:
    """Have a client that has not called yet take no answer with more bytes than that, which it would read on
    its event loop: that of a server that nobody knows. Its connection ends, and the call raises CallError.
    """
    client._snyper.max_body_bytes = max_body_bytes
