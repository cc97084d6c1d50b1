"""Calls to one server from the tasks of an event loop: each once, over one connection after the other."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from snyper.services.async_connection import AsyncConnection, dial
from snyper.services.async_stream import AsyncItems, AsyncRemoteStream
from snyper.services.client_session import ClientSession, Request, is_answer
from snyper.services.context import until
from snyper.services.dialling import Dialling
from snyper.services.places import Place
from snyper.services.remote_exceptions import CallError, OutcomeUnknown, Refused, Unreachable
from snyper.services.wire import MAX_BODY_BYTES, WATCH
from snyper.shared.socket_protocol import MessageType, ProtocolError, SocketMessage

Answer = tuple[SocketMessage | AsyncItems, AsyncConnection]


class AsyncCaller:
    """Makes calls to one server. Any number of tasks of one event loop at a time may use it.

    Each call has a number. A connection that breaks is made anew, and the call is sent again under its
    number: the server carries it out once, and answers again.
    """

    _connection: AsyncConnection | None
    max_body_bytes = MAX_BODY_BYTES  # of an answer, on connections that are made from now on

    def __init__(self, place: Place, secret: str | None, timeout_s: float | None) -> None:
        self.where = place.where
        self._place = place
        self._secret = secret
        self._timeout_s = timeout_s
        self._begin_session()

    async def call(self, name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        """Have the server call what it serves as `name`, and return what that returns; raise what it raises.

        Cancelled, it gives the call up: one that waits is never begun.

        Raises TypeError, ValueError for an argument that does not travel; CallError.
        """
        self._check_process()
        session = self.session
        seq, pieces, shown = session.call(name, args, kwargs)
        try:
            reply, connection = await self._answered(Request(seq, pieces, shown))
        finally:
            session.end(seq)
        if isinstance(reply, AsyncItems):
            return self._stream(reply, connection, seq, shown)
        return session.result(reply, shown)

    async def ask(self, message_type: str, **data: object) -> Any:
        """Ask the server what needs no function. Raises CallError."""
        self._check_process()
        request = Request(*self.session.ask(message_type, data))
        reply, _ = await self._answered(request)
        assert isinstance(reply, SocketMessage)
        return self.session.result(reply, request.name)

    async def watch(self, data: dict[str, object], name: str) -> tuple[AsyncItems, Callable[[], None]]:
        """Have the server tell values from now on; return them as they come, and what gives that up.

        Raises CallError.
        """
        self._check_process()
        session = self.session
        request = Request(*session.ask(WATCH, data))
        reply, connection = await self._answered(request)
        if isinstance(reply, AsyncItems):
            return reply, partial(_give_up, connection, request.id)
        session.result(reply, name)
        raise CallError(f"{self.where} watches nothing")

    async def close(self) -> None:
        """Hang up. The next call connects anew; one that is under way does so at once."""
        self._check_process()
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.loop is asyncio.get_running_loop():
            await connection.close()
        else:
            connection.abandon()

    def __del__(self) -> None:
        connection = getattr(self, "_connection", None)
        if connection is not None and not self.session.is_inherited:
            connection.abandon()

    # ---

    def _begin_session(self) -> None:
        self.session = ClientSession(self.where)
        self._connection = None
        self._connecting: asyncio.Task[AsyncConnection] | None = None  # for all who wait for it
        self._dialling: Dialling | None = None  # that it is at
        self._waiting = 0

    def _check_process(self) -> None:
        if self.session.is_inherited:  # the connection is the parent's
            self._begin_session()

    def _answered(self, request: Request) -> Coroutine[Any, Any, Answer]:
        until_s = until(self._timeout_s)
        return self._answer(request) if until_s is None else self._answer_until(request, until_s)

    async def _answer_until(self, request: Request, until_s: float) -> Answer:
        try:
            async with asyncio.timeout(until_s - time.monotonic()) as limit:
                return await self._answer(request)
        except TimeoutError:
            if not limit.expired():
                raise
        if request.sent_to:
            raise OutcomeUnknown(request.name, "it has not ended at its deadline")
        why = self._dialling.why if self._dialling is not None else "it does not answer"
        raise Unreachable(self.where, why)

    async def _answer(self, request: Request) -> Answer:
        while True:
            connection = self._connection
            if connection is None or not _is_usable(connection) or connection.needs_trial:
                try:
                    connection = await self._connected()
                except (Unreachable, Refused) as error:
                    raise request.unreached(error) from None
            outcome: Any
            try:
                reply = connection.request(request, self.where)
            except ProtocolError as error:
                outcome = error
            else:
                try:
                    outcome = await reply
                except BaseException:
                    connection.give_up(request.id)
                    raise
            if isinstance(outcome, SocketMessage | AsyncItems) or is_answer(outcome):
                return outcome, connection

    def _stream(
        self, items: AsyncItems, connection: AsyncConnection, seq: int, name: str
    ) -> AsyncRemoteStream:
        def tell(count: int) -> None:
            connection.tell(SocketMessage(MessageType.ITEM, seq, data={"taken": count}))

        give_up = partial(_give_up, connection, seq)
        return AsyncRemoteStream(items, name, self.session, self._timeout_s, tell, give_up)

    async def _connected(self) -> AsyncConnection:
        """Return a connection that the server answers on, which one task makes for all who wait."""
        task = self._connecting
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            task = self._connecting = asyncio.create_task(self._connect())
            self._waiting = 0
        self._waiting += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting -= 1
            if not self._waiting and self._connecting is task:
                self._connecting = None
                task.cancel()

    async def _connect(self) -> AsyncConnection:
        connection = self._connection
        if connection is not None:
            if _is_usable(connection) and await connection.is_alive():
                return connection
            self._connection = None
            connection.abandon()
        dialling = self._dialling = Dialling(self.where, None)
        await asyncio.sleep(dialling.delay_s(self.session.unanswered))
        self.session.unanswered += 1
        while True:
            try:
                connection = await dial(
                    *(self._place, self.session.id, self._secret, dialling.timeout_s(), self.max_body_bytes)
                )
            except (OSError, ProtocolError) as error:
                pause_s = dialling.pause_s(error)
            else:
                self._connection = connection
                return connection
            await asyncio.sleep(pause_s)


def _is_usable(connection: AsyncConnection) -> bool:
    return not connection.is_closed and connection.loop is asyncio.get_running_loop()


def _give_up(connection: AsyncConnection, id: str | int) -> None:
    """Tell the server, from any thread, that nobody takes what comes of a request any more."""
    with contextlib.suppress(RuntimeError):  # the loop is closed, and with it the connection
        connection.loop.call_soon_threadsafe(connection.give_up, id)
