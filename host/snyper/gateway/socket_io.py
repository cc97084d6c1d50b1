"""Socket.IO inside of a gateway: its sessions over polling and WebSockets, each with limits of its own."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

import engineio  # type: ignore[import-untyped]
import socketio  # type: ignore[import-untyped]
from engineio.packet import NOOP, Packet  # type: ignore[import-untyped]
from engineio.payload import Payload  # type: ignore[import-untyped]
from socketio.exceptions import ConnectionRefusedError  # type: ignore[import-untyped]
from socketio.packet import ACK, EVENT  # type: ignore[import-untyped]

from snyper.device.serving.exchange import Exchange, HungUp, Message, Receive, Refusal, Send, deny
from snyper.gateway.app import Gateway
from snyper.gateway.outgoing import DEAF_S, Outgoing
from snyper.gateway.places import Places, overloaded, places_for
from snyper.gateway.socket_packets import limited_packet

PATH = "/socket.io/"
MAX_DECODE_PACKETS = 1_000  # of one request: clients send what has gathered
_CONNECT_S = 10.0  # for a session to say which of the server's names it wants
_CHECK_S = 0.5  # between two looks at who has not answered a ping
_MAX_UNDER_WAY = 32  # events of a client, whose next messages wait
_MAX_UNDER_WAY_BYTES = 32_000_000  # of them
_MAX_ALL_BYTES = 128_000_000  # of the events of all clients, beyond which an event is refused
_MAX_PARTS_BYTES = 64_000_000  # of packets whose attachments are not all there

PRINCIPAL: ContextVar[str] = ContextVar("PRINCIPAL", default="")  # who sent the event that is served

_log = logging.getLogger("snyper")
_silent = logging.getLogger("snyper.socket_io")  # Socket.IO's own, which logs what strangers send
_silent.setLevel(logging.CRITICAL + 1)


class _Engine(engineio.AsyncServer):  # type: ignore[misc]
    """Engine.IO, whose queues have an end."""

    dropped = 0

    def create_queue(self, *_: object, **__: object) -> Outgoing:
        queue = Outgoing(self._count, lambda: self._cut_off(queue))
        return queue

    def _count(self) -> None:
        self.dropped += 1

    def _cut_off(self, queue: Outgoing) -> None:
        for socket in list(self.sockets.values()):
            if socket.queue is queue and not socket.closed:
                queue.abandon()
                self.start_background_task(self.cut_off, socket)

    async def disconnect(self, sid: str | None = None) -> None:
        """End a session at once, or all; of a client that breaks rules, too."""
        for socket in [self.sockets.get(sid)] if sid is not None else list(self.sockets.values()):
            if socket is not None:
                await self.cut_off(socket)

    async def cut_off(self, socket: Any) -> None:
        """End a session at once, whatever its client takes."""
        await socket.close(wait=False, abort=True, reason=self.reason.SERVER_DISCONNECT)
        socket.queue.abandon()
        self.sockets.pop(socket.sid, None)


class _Client:
    """One session: how much of what it sent is under way."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.events = 0
        self.bytes = 0
        self.size = 0  # of the packet that is read
        self.has_room = asyncio.Event()

    async def take(self) -> int:
        """Wait until one more event may be under way; return what it counts for, for `release`."""
        size = self.size
        while self.events and (self.events >= _MAX_UNDER_WAY or self.bytes + size > _MAX_UNDER_WAY_BYTES):
            self.has_room.clear()
            await self.has_room.wait()
        self.events += 1
        self.bytes += size
        return size

    def release(self, size: int) -> None:
        self.events -= 1
        self.bytes -= size
        self.has_room.set()


class SocketServer(socketio.AsyncServer):  # type: ignore[misc]
    """The Socket.IO of a gateway. Events of a client begin in order, several at once; its acknowledgements
    are what handlers return. `limits` are `clients`, `message_bytes`, `sio_ping_s` and `sio_answer_s`.
    """

    def __init__(self, gateway: Gateway, refusal: Callable[[], object]) -> None:
        """`refusal` makes what is answered, as event `error`, to an event for which there is no room."""
        limits = gateway.limits
        self._message_bytes = limits["sio_message_mb"] * 1_000_000
        super().__init__(
            async_mode="asgi",
            serializer=limited_packet(self._message_bytes),
            logger=_silent,
            engineio_logger=_silent,
            ping_interval=limits["sio_ping_s"],
            ping_timeout=limits["sio_answer_s"],
            max_http_buffer_size=self._message_bytes,
            http_compression=False,
            cors_allowed_origins=[],  # the gateway's guard has looked
            monitor_clients=False,  # which takes up to twice the time
        )
        self._gateway = gateway
        self._refusal = refusal
        self._bytes = 0  # of events under way
        self._parts: dict[str, int] = {}
        self._most = limits["sio_clients"]
        self._places = Places(limits["places"], limits["hold_s"])
        self._clients: dict[str, _Client] = {}
        self._of_address: Counter[str] = Counter()
        self._principals: dict[str, str] = {}
        self._on_left: list[Callable[[str], object]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.on("connect", self._connect)
        self.on("disconnect", self._disconnect)
        Payload.max_decode_packets = MAX_DECODE_PACKETS

    def _engineio_server_class(self) -> type[_Engine]:
        return _Engine

    @property
    def count(self) -> int:
        """How many are connected."""
        return sum(1 for _ in self.manager.get_participants("/", None))

    @property
    def dropped(self) -> int:
        """How many packets were not sent to those who did not take them."""
        dropped: int = self.eio.dropped
        return dropped

    def principals(self) -> set[str]:
        """Return the names of the keys of those who are connected, "" for none."""
        return set(self._principals.values())

    def cut(self, keys: Collection[str]) -> None:
        """End the sessions of those who came with a key of one of these names."""
        for sid in [sid for sid, principal in self._principals.items() if principal in keys]:
            eio_sid = self.manager.eio_sid_from_sid(sid, "/")
            if eio_sid is not None:
                self._start(self._cut_off(eio_sid))

    def is_here(self, sid: str) -> bool:
        """Tell whether a client is connected."""
        return sid in self._principals

    async def tell(self, sid: str, event: str, data: object) -> None:
        """Emit an event to one client, if it is connected: `emit` makes a task for each that it tells."""
        eio_sid = self.manager.eio_sid_from_sid(sid, "/")
        if eio_sid is not None:
            packet = self.packet_class(EVENT, namespace="/", data=[event, data])
            with suppress(engineio.exceptions.EngineIOError):  # it is going
                await self._send_packet(eio_sid, packet)

    async def tell_room(self, room: str, event: str, data: object) -> None:
        """Emit an event to those in a room: where there is nobody it is not even encoded."""
        if next(self.manager.get_participants("/", room), None) is not None:
            await self.emit(event, data, to=room)

    def on_left(self, callback: Callable[[str], object]) -> None:
        """Have `callback` called with the id of each client that is gone."""
        self._on_left.append(callback)

    def add_to(self, gateway: Gateway) -> None:
        """Serve it."""
        for path in (PATH, PATH.rstrip("/")):
            gateway.guard.leave_open(path)
            gateway.add("GET", path, self._answer)
            gateway.add("POST", path, self._answer)
            gateway.add_app(path, self._web_socket, self._message_bytes)
        gateway.on_drain(lambda: self._start(self.end()))

    async def watch(self) -> None:
        """End sessions whose client does not answer in time, until cancelled."""
        while True:
            await asyncio.sleep(_CHECK_S)
            for socket in list(self.eio.sockets.values()):
                if socket.closed:
                    self.eio.sockets.pop(socket.sid, None)
                elif not socket.closing:
                    with suppress(engineio.exceptions.EngineIOError):
                        await socket.check_ping_timeout()

    async def end(self) -> None:
        """End all sessions."""
        self._most = 0
        for socket in list(self.eio.sockets.values()):
            with suppress(engineio.exceptions.EngineIOError):
                await socket.close(wait=False, reason=self.eio.reason.SERVER_DISCONNECT)
                socket.queue.put_nowait(None)

    async def _connect(self, sid: str, environ: Mapping[str, Any], auth: object = None) -> None:
        """Note the name of the key that a client came with, in its first request or as `auth`. Raises
        ConnectionRefusedError.
        """
        scope = environ["asgi.scope"]
        principal: str = scope.get("state", {}).get("principal", "")
        if not principal:
            token = auth.get("token", "") if isinstance(auth, Mapping) else ""
            try:
                principal = self._gateway.guard.admit(str(token).encode(errors="replace"), _address(scope))
            except Refusal as refusal:
                raise ConnectionRefusedError(refusal.detail) from None
        self._principals[sid] = principal

    async def _disconnect(self, sid: str, reason: object = None) -> None:
        self._principals.pop(sid, None)
        for callback in self._on_left:
            callback(sid)

    # --- over HTTP and WebSockets

    def _check_room(self, scope: Any) -> None:
        """Raise Refusal for a new session where there are too many."""
        if b"sid=" in scope["query_string"]:
            return
        if len(self.eio.sockets) >= self._most or self._of_address[_address(scope)] >= max(
            1, self._most // 2
        ):
            raise overloaded("too many are connected: come again")

    async def _answer(self, exchange: Exchange) -> None:
        """Answer a request of the polling transport. Raises Refusal, HungUp."""
        self._check_room(exchange.scope)
        if exchange.scope["method"] == "GET":
            async for _ in exchange.body(0):
                pass
            await self._handle(exchange, b"", exchange.gone())
            return
        count = places_for(exchange, self._message_bytes)
        if not count:
            await self._handle(exchange, await self._body(exchange), None)
            return
        async with self._places.one(exchange.address, count):
            await self._handle(exchange, await self._body(exchange), None)

    async def _body(self, exchange: Exchange) -> bytes:
        pieces = [piece async for piece in exchange.body(self._message_bytes, "the message")]
        return b"".join(pieces)

    async def _handle(self, exchange: Exchange, body: bytes, gone: Any) -> None:
        scope = dict(exchange.scope)
        others = [(name, value) for name, value in scope["headers"] if name not in _OF_THE_BODY]
        scope["headers"] = [*others, (b"content-length", str(len(body)).encode())]
        answer: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            answer.append(message)

        handling = asyncio.ensure_future(self.handle_request(scope, receive, send))
        watching = asyncio.ensure_future(gone) if gone is not None else None
        try:
            await asyncio.wait(
                [handling, *([watching] if watching else [])], return_when=asyncio.FIRST_COMPLETED
            )
            if not handling.done():
                raise HungUp
            handling.result()
        except KeyError:  # as Engine.IO has it between the end of a session and its removal
            raise Refusal(HTTPStatus.BAD_REQUEST, "the session is over") from None
        finally:
            if watching is not None:
                watching.cancel()
            if not handling.done():
                handling.cancel()  # which ends the session: what it was to be sent is lost
                await asyncio.wait([handling])
        head, content = answer
        media_type = dict(head["headers"]).get(b"Content-Type", b"text/plain").decode("latin-1")
        await exchange.answer(head["status"], content["body"], media_type, {"cache-control": "no-store"})

    async def _web_socket(self, scope: Any, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(DEAF_S):
                await send(message)

        try:
            self._check_room(scope)
            await self.handle_request(scope, receive, send_in_time)
        except Refusal as refusal:
            await receive()
            await deny(refusal, send)
        except Exception as error:
            _log.debug("a client of Socket.IO breaks its rules (%s)", type(error).__name__)
            with suppress(OSError, RuntimeError):  # which is gone, or was told already
                await send_in_time({"type": "websocket.close", "code": 1002})

    # --- as Socket.IO calls it

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        address = _address(environ["asgi.scope"])
        self._clients[eio_sid] = _Client(address)
        self._of_address[address] += 1
        self._expect_connect(eio_sid)
        await super()._handle_eio_connect(eio_sid, environ)

    async def _handle_disconnect(self, eio_sid: str, namespace: str, reason: str | None = None) -> None:
        await super()._handle_disconnect(eio_sid, namespace, reason)
        self._expect_connect(eio_sid)

    def _expect_connect(self, eio_sid: str) -> None:
        asyncio.get_running_loop().call_later(_CONNECT_S, self._check_connected, eio_sid)

    def _check_connected(self, eio_sid: str) -> None:
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None and not self.manager.sid_from_eio_sid(eio_sid, "/"):
            self._start(self._cut_off(eio_sid))

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        await super()._handle_eio_disconnect(eio_sid, reason)
        self._binary_packet.pop(eio_sid, None)
        self._parts.pop(eio_sid, None)
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None:  # what waits for more to send is to end
            is_over = socket.upgraded and reason == self.reason.CLIENT_DISCONNECT
            socket.queue.put_nowait(None if is_over else Packet(NOOP))
        client = self._clients.pop(eio_sid, None)
        if client is not None:
            self._of_address[client.address] -= 1
            if not self._of_address[client.address]:
                del self._of_address[client.address]

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        client = self._clients.get(eio_sid)
        if client is None:
            return
        part = self._binary_packet.get(eio_sid)
        client.size = len(data) + sum(map(len, part.attachments) if part else ())
        try:
            if not data:
                raise ValueError("an empty packet")
            await super()._handle_eio_message(eio_sid, data)
        except Exception as error:  # what is served has its own
            _log.debug("a client of Socket.IO breaks its rules (%s)", type(error).__name__)
            await self._cut_off(eio_sid)
            return
        self._parts.pop(eio_sid, None)
        if eio_sid in self._binary_packet:
            self._parts[eio_sid] = client.size
            while sum(self._parts.values()) > _MAX_PARTS_BYTES:
                await self._cut_off(max(self._parts, key=self._parts.__getitem__))

    async def _cut_off(self, eio_sid: str) -> None:
        self._parts.pop(eio_sid, None)
        self._binary_packet.pop(eio_sid, None)
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None:
            await self.eio.cut_off(socket)

    async def _send_eio_packet(self, eio_sid: str, eio_pkt: Any) -> None:
        with suppress(engineio.exceptions.EngineIOError):  # it is gone
            await super()._send_eio_packet(eio_sid, eio_pkt)

    async def _handle_event(self, eio_sid: str, namespace: str, id: int | None, data: list[Any]) -> None:
        client = self._clients.get(eio_sid)
        namespace = namespace or "/"
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        if client is None or not self.manager.is_connected(sid, namespace):
            return
        principal = self._principals.get(sid, "")
        if self._bytes + client.size > _MAX_ALL_BYTES:
            answer = self._refusal()
            await self.tell(sid, "error", answer)
            if id is not None:
                packet = self.packet_class(ACK, namespace=namespace, id=id, data=[answer])
                await self._send_packet(eio_sid, packet)
            return
        size = await client.take()
        self._bytes += size
        self._start(self._serve_event(client, size, principal, (sid, eio_sid, data, namespace, id)))

    async def _serve_event(self, client: _Client, size: int, principal: str, event: tuple[Any, ...]) -> None:
        """Serve an event that has come, also of a client who is gone meanwhile."""
        PRINCIPAL.set(principal)
        try:
            await self._handle_event_internal(self, *event)
        except Exception:
            _log.exception("an event of Socket.IO ended with an error of the server's own")
        finally:
            client.release(size)
            self._bytes -= size

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_OF_THE_BODY = (b"content-length", b"content-encoding", b"transfer-encoding")


def _address(scope: Any) -> str:
    address: str = (scope.get("client") or ("",))[0]
    return address
