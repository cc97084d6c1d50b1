"""A server of calls as a service of a hub: each client that reaches it there is a socket to the server."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

from snyper.client.service_session import ServiceSession, hardware_id_of
from snyper.services import hub_loop
from snyper.services.carrying import (
    EXCHANGE,
    GONE_S,
    QUIET_S,
    Proven,
    ServiceEnd,
    connection_of,
    proven_of,
)
from snyper.services.remote_exceptions import Refused
from snyper.services.through_hub import HEARTBEAT_MS
from snyper.shared.handshake_client import Registered
from snyper.shared.link import Link
from snyper.shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage
from snyper.system.text import one_line

MAX_UNTAKEN_BYTES = 1 << 20  # of one client, that wait for the server
MAX_CONNECTIONS = 4_096  # of clients at a time
MAX_TEXT_CHARS = 64  # that a peer says of itself
Take = Callable[[socket.socket, str, Proven], object]
_LEAVE_S = 1.0
_log = logging.getLogger("snyper")


class HubService:
    """Registers as the service `name` with the hub at `hub`, and again after every loss. `take(sock, whose,
    proven)` gets the socket of each client; any thread may call it. `about()` says for people what is served.
    `key` is for a hub that wants one; by default it is this computer's. With `devices` it is there for
    targets and other services as well as for consoles.

    Raises ValueError for an address, a name or a key that is none.
    """

    def __init__(
        self, hub: str, name: str, key: str | None, about: Callable[[], str], take: Take, devices: bool
    ) -> None:
        self.hub = hub
        self.name = name
        self._session = _ServiceSession(hub, name, key, about, take, devices)
        self._being: Any = None

    def start(self) -> None:
        """Register. A hub that is not there yet is waited for, in the background.

        Raises Refused where the hub does not take the service.
        """
        self._being = hub_loop.run(self._session.run())
        error = hub_loop.run(self._tried()).result()
        why = "" if error is None else one_line(error.message)  # a hub's own words
        if error is not None and self._session.is_refused:
            self.stop()
            raise Refused(f"{self.name} at {self.hub}: {why}")
        if error is not None:
            _log.warning("%s at %s: %s: trying on", self.name, self.hub, why)

    def stop(self) -> None:
        """Leave the hub, once its clients had a moment to learn that the server has hung up on them."""
        if self._being is not None:
            hub_loop.run(self._session.leave()).result()
            self._being.cancel()

    async def _tried(self) -> ProtocolError | None:
        await self._session.wait_until_tried()
        return None if self._session.link is not None else self._session.error()


class _ServiceSession(ServiceSession):
    """The service's session with the hub."""

    def __init__(
        self, hub: str, name: str, key: str | None, about: Callable[[], str], take: Take, devices: bool
    ) -> None:
        super().__init__(hub, name, key, hardware_id_of(name))
        self._about = about
        self._take = take
        self._devices = devices
        self._carried: dict[tuple[str, str], _Carried] = {}
        self._handlers[EXCHANGE] = self._on_exchange

    def about(self) -> str:
        return self._about()[:MAX_TEXT_CHARS]

    def registration(self) -> dict[str, object]:
        return super().registration() | {"heartbeat_ms": HEARTBEAT_MS, "devices": self._devices}

    def on_registered(self, link: Link, registered: Registered, asked_us: int) -> None:
        super().on_registered(link, registered, asked_us)
        link.reads_always = True
        link.on_stream = self._on_gone

    def on_lost(self) -> None:
        for carried in self._carried.values():
            carried.stop()

    def _on_gone(self, message: SocketMessage) -> None:
        """Take that the client of a request has gone."""
        for carried in self._carried.values():
            if carried.holds(message.id):
                carried.stop()
                return

    async def leave(self) -> None:
        """Wait until the clients know that the server has hung up on them, but not for long."""
        if self._carried:
            await asyncio.wait([carried.task for carried in self._carried.values()], timeout=_LEAVE_S)
        self.on_lost()

    async def _on_exchange(self, link: Link, message: SocketMessage) -> None:
        console = _console_of(message)
        connection, begins = connection_of(message)
        name = console, connection  # who comes to know another's gets nothing by it
        carried = self._carried.get(name)
        if begins and carried is None:
            if len(self._carried) >= MAX_CONNECTIONS:
                raise ProtocolError(ErrorCode.BUSY, f"this service takes {MAX_CONNECTIONS} clients")
            carried = _Carried(link)
            carried.take(message)
            try:
                near, far = socket.socketpair()
            except OSError as error:  # there are no descriptors
                raise ProtocolError(ErrorCode.BUSY, f"no more clients for now: {error.strerror}") from None
            self._carried[name] = carried
            self._take(far, f"{console} of the hub", proven_of(message))
            carried.task = asyncio.create_task(self._serve(name, carried, near))
        elif begins or carried is None:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "there is no such connection")
        else:
            carried.take(message)

    async def _serve(self, name: tuple[str, str], carried: "_Carried", near: socket.socket) -> None:
        try:
            await carried.run(near)
        except (OSError, ProtocolError):
            pass  # the client, the server or the hub has gone: the server's end sees it
        finally:
            del self._carried[name]


class _Carried:
    """The connection of one client, over the link that it came by."""

    task: "asyncio.Task[None]"

    def __init__(self, link: Link) -> None:
        self._link = link
        self._end = ServiceEnd(link.peer_max_chunk_bytes)
        self._asked = asyncio.Event()  # there is room for bytes in a reply
        self._came: asyncio.Queue[bytes | bytearray | None] = asyncio.Queue()  # None for the end
        self._asked_s = self._answered_s = time.monotonic()
        self._untaken_bytes = 0  # of what has come, which the server has not read

    def stop(self) -> None:
        """End it: the client has gone, or the hub."""
        self.task.cancel()

    def holds(self, id: object) -> bool:
        """Tell whether the request of that id is to be answered."""
        return any(id == held for held, _ in self._end.held)

    def take(self, message: SocketMessage) -> None:
        """Take a request of the client. Raises ProtocolError: `busy` where the server does not read what came
        before, which is no answer to the request.
        """
        if message.attachment and self._untaken_bytes > MAX_UNTAKEN_BYTES:
            raise ProtocolError(ErrorCode.BUSY, "the server has not read what came before")
        for piece in self._end.take(message):
            self._untaken_bytes += len(piece)
            self._came.put_nowait(piece)
        self._asked_s = time.monotonic()
        if self._end.is_over:
            self._came.put_nowait(None)
        if self._end.room_bytes:
            self._asked.set()

    async def run(self, sock: socket.socket) -> None:
        """Carry until either end hangs up, or the client is gone; the socket is closed then.

        Raises OSError, ProtocolError.
        """
        reader, writer = await hub_loop.streams_of(sock)
        tasks = [
            asyncio.create_task(step) for step in (self._send(reader), self._take(writer), self._watch())
        ]
        try:
            await self._link.send(self._end.answer())
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            while self._end.held:
                await self._link.send(self._end.answer(ends=True))
        finally:
            writer.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # several may have failed in one moment

    async def _send(self, reader: asyncio.StreamReader) -> None:
        """Answer with what the server says, until it hangs up."""
        while True:
            piece = await reader.read(self._link.peer_max_chunk_bytes)
            if not piece:
                return  # who asks nothing now is told when he does
            while piece:
                room = await self._room_bytes()
                await self._answer(piece[:room])
                piece = piece[room:]

    async def _room_bytes(self) -> int:
        while not self._end.room_bytes:
            self._asked.clear()
            await self._asked.wait()
        return self._end.room_bytes

    async def _take(self, writer: asyncio.StreamWriter) -> None:
        """Give the server what the client says, until that hangs up."""
        while (piece := await self._came.get()) is not None:
            writer.write(piece)
            await writer.drain()
            self._untaken_bytes -= len(piece)
            while self._end.has_surplus:
                await self._answer()

    async def _watch(self) -> None:
        """Have the client hear now and then that the service is there, until it is gone itself."""
        while True:
            now_s = time.monotonic()
            if not self._end.held and now_s - self._asked_s > GONE_S:
                return
            if self._end.held and now_s - self._answered_s > QUIET_S:
                await self._answer()
            await asyncio.sleep(QUIET_S / 5)

    async def _answer(self, piece: bytes = b"") -> None:
        self._answered_s = time.monotonic()
        await self._link.send(self._end.answer(piece))


def _console_of(message: SocketMessage) -> str:
    """Return which console a request is of: a hub gives it an id of its own run, the console, and what that
    has called it.
    """
    parts = str(message.id).split("-", 2)
    return f"console {parts[1] if len(parts) == 3 else '?'}"
