"""Connect to a hub as a console: once, or again after every loss."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, overload

from snyper.client.console_session import ConsoleSession
from snyper.client.hub_client import HubClient
from snyper.client.reconnecting_client import ReconnectingClient
from snyper.shared.runtime import end_task
from snyper.shared.socket_protocol import PORT

DEFAULT_HUB = f"127.0.0.1:{PORT}"


@overload
def connect(
    hub: str = DEFAULT_HUB, key: str | None = None, *, reconnect: Literal[False] = False
) -> AbstractAsyncContextManager[HubClient]: ...
@overload
def connect(
    hub: str | Sequence[str] = DEFAULT_HUB,
    key: str | None = None,
    *,
    reconnect: Literal[True],
    wait_while_away: bool = False,
) -> AbstractAsyncContextManager[ReconnectingClient]: ...
@asynccontextmanager
async def connect(
    hub: str | Sequence[str] = DEFAULT_HUB,
    key: str | None = None,
    *,
    reconnect: bool = False,
    wait_while_away: bool = False,
) -> AsyncIterator[Any]:
    """Register with the hub at `hub` (HOST:PORT) as a console, and hang up at the end of the block.

    `key` is for a hub that wants one; by default it is this computer's (`environment.keys`). With `reconnect`
    the hub may go and come back meanwhile: see ReconnectingClient, whose `hub` may be several addresses.
    Raises ValueError for an address or a key that is none, NoHubError when no hub answers there,
    ProtocolError when it refuses. No OSError of the network's gets out of this, nor out of the methods of
    `HubClient`.
    """
    if reconnect:
        async with ReconnectingClient(hub, key, wait_while_away=wait_while_away) as reconnecting:
            await reconnecting.wait_until_tried()
            yield reconnecting
        return
    session = ConsoleSession(hub, key)
    running = asyncio.create_task(session.attempt())
    try:
        await session.wait_until_tried()
        if session.connection is None:
            raise session.error()
        yield session.connection
    finally:
        await end_task(running)
