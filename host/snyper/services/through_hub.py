"""The way of a client to a service through a hub, which carries what both say."""

import asyncio
import os
import socket
from typing import Any

from snyper.client.console_session import ConsoleSession
from snyper.client.service_session import ServiceSession, check_name, hardware_id_of
from snyper.services import hub_loop
from snyper.services.bell import SLICE_S
from snyper.services.carrying import QUIET_S, ClientEnd
from snyper.shared.handshake_client import Registered
from snyper.shared.handshake_server import Role
from snyper.shared.link import Link
from snyper.shared.link_core import error_of
from snyper.shared.runtime import end_task
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage

HEARTBEAT_MS = 4_000  # a peer is gone after three: it may hold its interpreter for as long
_BUSY_S = 0.02  # until what a slow link did not take is tried again
# What of a hub means that it may go better the next time.
_TRANSIENT = (ErrorCode.BUSY, ErrorCode.TIMEOUT, ErrorCode.DISCONNECTED)


class ThroughHub:
    """The place of a service: its name, and the hub that knows it. `key` is for a hub that wants one; by
    default it is this computer's. Who goes there is a console, or the `device` of that name. Raises
    ValueError for an address, a name or a key that is none.
    """

    def __init__(self, hub: str, name: str, key: str | None, device: str | None = None) -> None:
        check_name(name)
        self._device = device
        self.where = f"{name} through {hub}"
        self._hub = hub
        self._name = name
        self._key = key
        self._session()

    def _session(self) -> ConsoleSession:
        if self._device is None:
            return _ClientSession(self._hub, self._key)
        return _DeviceSession(self._hub, self._device, self._key)

    def connect(self, timeout_s: float) -> socket.socket:
        """Return a socket that leads there. Raises OSError; ProtocolError: `disconnected` where it may go
        better the next time.
        """
        opening = hub_loop.run(self._open(timeout_s))
        try:
            while True:
                try:
                    return opening.result(SLICE_S)
                except TimeoutError:
                    if opening.done():
                        raise
        except BaseException:
            opening.cancel()
            raise

    async def towards(self, timeout_s: float) -> dict[str, Any]:
        """Return a socket that leads there. Raises OSError; ProtocolError: `disconnected` where it may go
        better the next time.
        """
        opened = await asyncio.wrap_future(hub_loop.run(self._open(timeout_s)))
        return {"sock": opened}

    async def _open(self, timeout_s: float) -> socket.socket:
        session = self._session()
        being = asyncio.create_task(session.attempt())
        try:
            async with asyncio.timeout(timeout_s):
                await session.wait_until_tried()
                if session.link is None:
                    raise session.error()
                carrier = _Carrier(session.link, self._name)
                await carrier.begin()
        except BaseException as error:
            await end_task(being)
            if isinstance(error, TimeoutError):
                raise TimeoutError("it does not answer") from None
            if isinstance(error, ProtocolError):
                raise self._meant(error) from None
            raise
        near, far = socket.socketpair()
        _carriers.add(task := asyncio.create_task(_live(carrier, near, being)))
        task.add_done_callback(_carriers.discard)
        return far

    def _meant(self, error: ProtocolError) -> ProtocolError:
        """Return what an error of the hub means for who dials."""
        if error.code == ErrorCode.UNKNOWN_TARGET:
            why = f"the hub knows no {self._name}: `snyper services` lists those it knows"
            return ProtocolError(ErrorCode.DISCONNECTED, why)
        if error.code in _TRANSIENT:
            return ProtocolError(ErrorCode.DISCONNECTED, error.message)
        if error.code == ErrorCode.UNKNOWN_TYPE:
            why = f"{self._name} serves no calls, or {self._hub} is no hub: address= and port= are a server's"
            return ProtocolError(ErrorCode.UNKNOWN_TYPE, why)
        return error


class _ClientSession(ConsoleSession):
    """A client's session with the hub."""

    def registration(self) -> dict[str, object]:
        return {"role": Role.CONSOLE, "heartbeat_ms": HEARTBEAT_MS}

    def on_registered(self, link: Link, registered: Registered, asked_us: int) -> None:
        super().on_registered(link, registered, asked_us)
        link.reads_always = True


class _DeviceSession(ServiceSession):
    """A device's session with the hub: it has a name there, and may be let in by a key for that alone."""

    def __init__(self, hub: str, name: str, key: str | None) -> None:
        super().__init__(hub, name, key, hardware_id_of(name))

    def about(self) -> str:
        return "a device"

    def registration(self) -> dict[str, object]:
        return super().registration() | {"heartbeat_ms": HEARTBEAT_MS}

    def on_registered(self, link: Link, registered: Registered, asked_us: int) -> None:
        super().on_registered(link, registered, asked_us)
        link.reads_always = True


class _Carrier:
    """Carries what a client says to a service, and what that answers, over a link to their hub."""

    def __init__(self, link: Link, service: str) -> None:
        self._link = link
        self._end = ClientEnd(os.urandom(16).hex(), service, link.peer_max_chunk_bytes)
        self._replies: asyncio.Queue[tuple[SocketMessage, SocketMessage | ProtocolError]] = asyncio.Queue()
        self._has_room = asyncio.Event()

    async def begin(self) -> None:
        """Open the connection. Raises ProtocolError of the hub or the service."""
        await self._ask(self._end.begin())
        self._end.take(await self._next_reply())

    async def run(self, sock: socket.socket) -> None:
        """Carry until either end hangs up; the socket is closed then.

        Raises ProtocolError where the hub or the service is lost, OSError where the client is.
        """
        reader, writer = await hub_loop.streams_of(sock)
        sending = asyncio.create_task(self._send(reader))
        taking = asyncio.create_task(self._take(writer))
        try:
            await asyncio.wait((sending, taking), return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():  # the client has hung up: the service answers that
                await asyncio.wait((taking,), timeout=QUIET_S)
            for task in (sending, taking):
                if task.done():
                    task.result()
        finally:
            writer.close()
            await end_task(sending)
            await end_task(taking)

    async def _send(self, reader: asyncio.StreamReader) -> None:
        while True:
            while not self._end.may_send:
                self._has_room.clear()
                await self._has_room.wait()
            piece = await reader.read(self._end.max_bytes)
            await self._ask(self._end.exchange(piece, ends=not piece))
            if not piece:
                return

    async def _take(self, writer: asyncio.StreamWriter) -> None:
        while self._end.wants_another:
            await self._ask(self._end.exchange())
        while not self._end.is_over:
            reply = await self._next_reply()
            for piece in self._end.take(reply):
                writer.write(piece)
            self._has_room.set()
            await self._drain(writer)
            if not (reply.attachment or self._end.under_way):  # of a service that cannot wait
                await asyncio.sleep(_BUSY_S)
            while self._end.wants_another:
                await self._ask(self._end.exchange())

    async def _drain(self, writer: asyncio.StreamWriter) -> None:
        """Wait until the client has taken most of it; the service hears all the while that it is there."""
        while True:
            try:
                async with asyncio.timeout(QUIET_S):
                    await writer.drain()
                    return
            except TimeoutError:
                if not self._end.under_way:
                    await self._ask(self._end.exchange(has_room=False))

    async def _next_reply(self) -> SocketMessage:
        while True:
            message, reply = await self._replies.get()
            if isinstance(reply, ProtocolError):
                raise reply
            if reply.type != MessageType.ERROR:
                return reply
            error = error_of(reply)
            if error.code != ErrorCode.BUSY or error.unknown_fate:
                raise error
            await asyncio.sleep(_BUSY_S)
            await self._ask(message)

    async def _ask(self, message: SocketMessage) -> None:
        assert message.id is not None
        line = message.to_line()
        while True:
            try:
                self._link.start_request(message.id, line, self._on_reply, message)
                return
            except ProtocolError as error:
                if error.code != ErrorCode.BUSY:
                    raise
            await asyncio.sleep(_BUSY_S)

    def _on_reply(self, message: Any, reply: SocketMessage | ProtocolError) -> None:
        self._replies.put_nowait((message, reply))


_carriers: set[asyncio.Task[None]] = set()  # which a loop alone would not keep


async def _live(carrier: _Carrier, sock: socket.socket, being: "asyncio.Task[None]") -> None:
    """Carry for a client until it hangs up, or is to learn that it has to dial anew."""
    try:
        await carrier.run(sock)
    except (OSError, ProtocolError):
        pass  # its socket ends, and so it learns
    finally:
        await end_task(being)
