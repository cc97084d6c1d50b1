"""A hub's client that outlives its connections.

async with snyper.connect("127.0.0.1:8081", reconnect=True) as hub:
    async for event in hub.events():  # goes on after the hub's restart, from the last event on
        print(event)
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from snyper.client.console_session import ConsoleSession
from snyper.client.errors import NoHubError
from snyper.client.hub_client import REPLY_TIMEOUT_MS, HubClient
from snyper.client.models import Event
from snyper.shared.link import Link
from snyper.shared.log import log_exception
from snyper.shared.runtime import MAX_CHUNK_BYTES, end_task
from snyper.shared.session import SessionState
from snyper.shared.socket_protocol import ProtocolError, SocketMessage


class ReconnectingClient(HubClient):
    """A HubClient that connects again after every loss, for as long as its `async with` block lasts.

    The block begins at once, whether there is a hub or not. `hubs` is one address or several, tried in order;
    `key` is as for `connect`. Raises ValueError for an address or a key that is none.

    While there is no hub a call raises NoHubError, which says why and is never of unknown fate: nothing was
    sent. With `wait_while_away` it waits for the hub first, as long as it may take itself. A call that is
    under way when the hub is lost raises `disconnected`, as every HubClient's; it is not sent again.
    """

    reconnects = True

    def __init__(
        self, hubs: str | Sequence[str], key: str | None = None, *, wait_while_away: bool = False
    ) -> None:
        self.wait_while_away = wait_while_away
        self._session = ConsoleSession(hubs, key, self._on_state)
        self._listeners: list[Callable[[str], None]] = []
        self._is_here = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "ReconnectingClient":
        self._running = asyncio.create_task(self._session.run())
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._running is not None:
            await end_task(self._running)

    @property
    def state(self) -> str:
        """The state of the connection: a word of SessionState, such as `connected` and `waiting`."""
        return self._session.state

    @property
    def last_error(self) -> ProtocolError | None:
        """The reason why there is no hub, or was none before; None while there is one, and at first."""
        return None if self._session.last_error is None else self._session.error()

    @property
    def link(self) -> Link | None:
        """The link to the hub, for whoever speaks the wire himself; None while there is none."""
        return self._session.link

    @property
    def is_lost(self) -> bool:
        """Whether there is no connection now."""
        return self._session.connection is None or self._session.connection.is_lost

    def on_state(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Call `listener` with each change of the state until the function that this returns is called. What
        it raises is logged.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    async def wait_until_tried(self) -> None:
        """Wait until there is a hub, or each has been asked once. Raises NoHubError then, or ProtocolError
        when it refuses; it is asked again all the same.
        """
        await self._session.wait_until_tried()
        if self.is_lost:
            raise self._session.error()

    async def wait_until_connected(self, timeout_s: float | None = None) -> None:
        """Wait until there is a hub. Raises NoHubError when there is none within `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._next_connection()
        except TimeoutError:
            raise NoHubError(self._session.error().message) from None

    async def connections(self) -> AsyncIterator[HubClient]:
        """Yield each connection to the hub as it is made, for what begins anew with each. Asking for the next
        one ends the one before.
        """
        while True:
            connection = await self._next_connection()
            yield connection
            connection.hang_up()

    def hang_up(self) -> None:
        """End the connection that there is. Another one is made."""
        if self._session.connection is not None:
            self._session.connection.hang_up()

    async def subscribe(self, after: int | None = None, log_id: str | None = None) -> None:
        """Have the hub send its events over the connection that there is.

        Raises NoHubError where there is no hub, and ProtocolError: `bad_message` for an `after` that is no
        count, `timeout`, and `disconnected` when the hub is lost.
        """
        connection = await self._connection(REPLY_TIMEOUT_MS)
        await connection.subscribe(after, log_id)
        self.log_id = connection.log_id
        self.oldest_seq = connection.oldest_seq
        self.subscribed_seq = connection.subscribed_seq

    async def events(
        self,
        after: int | None = None,
        log_id: str | None = None,
        on_gap: Callable[[int | None], None] | None = None,
    ) -> AsyncIterator[Event]:
        """Yield what happens from now on, or since the event with the `seq` that `after` gives; and go on
        after each loss with what happened meanwhile, as far as the hub still has it.

        `on_gap` is called where the hub has no more what comes next: with how many events are missing, or
        with None where nobody knows, because the hub counts anew: in another log, or in this one from an
        earlier event on, since it has lost the later ones.
        """
        while True:
            connection = await self._next_connection()
            try:
                await self.subscribe(after, log_id)
                if after is not None and on_gap is not None:
                    if log_id not in (None, self.log_id) or after > self.subscribed_seq:
                        on_gap(None)
                    elif self.oldest_seq > after + 1:
                        on_gap(self.oldest_seq - after - 1)
                log_id = self.log_id
                if after is None:
                    after = self.subscribed_seq
                async for event in connection._arriving_events():
                    after = event.seq
                    yield event
            except ProtocolError:
                if not connection.is_lost:
                    raise

    async def _call(
        self,
        message: SocketMessage,
        timeout_ms: int,
        on_stream: Callable[[SocketMessage], None] | None = None,
    ) -> SocketMessage:
        return await (await self._connection(timeout_ms))._call(message, timeout_ms, on_stream)

    def _max_chunk_bytes(self) -> int:
        connection = self._session.connection
        return MAX_CHUNK_BYTES if connection is None else connection._max_chunk_bytes()

    def _may_retry(self, error: ProtocolError) -> bool:
        return True

    async def _connection(self, timeout_ms: int) -> HubClient:
        """Return the connection that there is; wait for it, if told so. Raises NoHubError."""
        if self.wait_while_away:
            await self.wait_until_connected(timeout_ms / 1000)
        if self.is_lost or self._session.connection is None:
            raise NoHubError(self._session.error().message)
        return self._session.connection

    async def _live_connection(self) -> HubClient:
        return await self._next_connection()

    async def _next_connection(self) -> HubClient:
        """Wait for a connection. Raises NoHubError once the block has ended: there will be none."""
        while self._session.connection is None or self._session.connection.is_lost:
            if self.state == SessionState.STOPPED:
                raise NoHubError("this side has ended it")
            self._is_here.clear()
            await self._is_here.wait()
        return self._session.connection

    def _on_state(self, state: str) -> None:
        if state == SessionState.CONNECTED and self._session.connection is not None:
            self.boot_id = self._session.connection.boot_id
            self.is_open = self._session.connection.is_open
            self._is_here.set()
        elif state == SessionState.STOPPED:
            self._is_here.set()  # for who waits: there will be none
        for listener in list(self._listeners):
            try:
                listener(state)
            except Exception as error:
                log_exception("client", error)
