"""A client's connection to its server over asyncio: dialled, let in, and used by any number of tasks."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Generator
from functools import partial
from hashlib import sha256
from typing import Any

from snyper.services.async_stream import AsyncItems
from snyper.services.client_connection import MAX_LATER, tls_context, tls_failure, who
from snyper.services.client_session import Request, cancelling
from snyper.services.core import Core
from snyper.services.dialling import ALIVE_S, IDLE_S
from snyper.services.handshake import ClientHandshake
from snyper.services.places import Place
from snyper.services.sockets import configure_connection, readiness
from snyper.services.wire import MAX_BODY_BYTES, STREAMS, Buffer, Pieces, read_usual_reply
from snyper.shared.clock import now_us
from snyper.shared.link_core import CloseReason
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage

_IDLE_US = round(IDLE_S * 1_000_000)
_BUFFER_BYTES = 1 << 16  # of lines: what follows them goes straight to where it belongs
_CLOSE_S = 1.0  # for the server to take what is still to be sent, and the end of TLS

Steps = Generator[bytes, bytes, bytes]
Outcome = asyncio.Future[SocketMessage | ProtocolError | AsyncItems]


class AsyncConnection(asyncio.BufferedProtocol):
    """A connection of one event loop. `instance` names the run of the server once it has let the client in,
    `is_known` tells whether it remembers the session.
    """

    instance = ""
    is_known = False
    _is_receiving = False
    _is_paused = False  # the server does not read
    _later = 0  # answers since then
    _transport: asyncio.Transport
    _is_ready: Callable[[float], object]
    _into: memoryview

    def __init__(self, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self.loop = asyncio.get_running_loop()
        self._core = Core({}, "server", self._write, read_usual_reply)
        self._core._parser.max_chunk_bytes = max_body_bytes
        self._core.on_stream = self._on_item
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._shown: dict[str | int, Request] = {}  # whose progress somebody wants to know
        self._unsent: list[Buffer] = []  # lines, which go together
        self._came: asyncio.Queue[bytes] | None = asyncio.Queue()  # during the handshake; empty at its end
        self._closed: asyncio.Future[None] = self.loop.create_future()

    @property
    def is_closed(self) -> bool:
        """Tell whether it has ended, as far as that is known."""
        return self._core.close_error is not None

    @property
    def needs_trial(self) -> bool:
        """Tell whether it may have ended unnoticed: nothing came for long, or nobody has read it yet. While
        something is under way the system sees to it; a server that is slow is not dead.
        """
        core = self._core
        return not core._pending and (now_us() - core.received_us > _IDLE_US or bool(self._is_ready(0)))

    async def shake_hands(self, handshake: ClientHandshake, is_slow: bool) -> None:
        """Be let in; with `is_slow`, for a secret is stretched, in a thread. Raises ProtocolError."""
        came = self._came
        assert came is not None
        steps = handshake.steps()
        answer, rest = next(steps), None
        while rest is None:
            self._transport.write(answer)
            data = await came.get()
            answer, rest = await asyncio.to_thread(_step, steps, data) if is_slow else _step(steps, data)
        self.instance, self.is_known = handshake.instance, handshake.is_known
        self._came = None
        while not came.empty():
            rest += came.get_nowait()
        if rest:
            self._receive(rest)

    def request(self, request: Request, where: str) -> Outcome:
        """Send a request; return what comes of it: the reply, the items of a stream, whose reply comes behind
        them, or a ProtocolError when the connection ends.

        Raises OutcomeUnknown where another run of the server may have it; ProtocolError.
        """
        if self._core.close_error is not None:
            raise ProtocolError(ErrorCode.DISCONNECTED, "the connection has ended")
        request.send_to(self.instance, self.is_known, where)
        outcome = self._begin(request.id, request.pieces)
        if request.shows_progress:
            self._shown[request.id] = request
            outcome.add_done_callback(lambda _: self._shown.pop(request.id, None))
        return outcome

    async def is_alive(self) -> bool:
        """Ask the server for a sign of life, and tell whether one comes in time."""
        if self.is_closed:
            return False
        line = SocketMessage(MessageType.PING, "alive").to_line()
        try:
            async with asyncio.timeout(ALIVE_S):
                return isinstance(await self._begin("alive", (line,)), SocketMessage)
        except TimeoutError:
            return False
        finally:
            self._core.cancel_request("alive")

    def give_up(self, id: str | int) -> None:
        """Tell the server that nobody waits for a call any more."""
        self._core.cancel_request(id)
        if self._core.close_error is None:
            self._core.send_line_nowait(cancelling(id))

    def tell(self, message: SocketMessage) -> None:
        """Send what nobody answers."""
        if self._core.close_error is None:
            self._core.send_nowait(message)

    def abandon(self) -> None:
        """Hang up from anywhere, also where the event loop has been closed since."""
        try:
            self.loop.call_soon_threadsafe(self.abort)
        except RuntimeError:
            with contextlib.suppress(OSError):
                self._transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def abort(self) -> None:
        """Hang up at once; who waits for a reply learns of it."""
        self._end(ProtocolError(ErrorCode.DISCONNECTED, "closed here"), CloseReason.STOPPING)
        self._break_off()

    async def close(self) -> None:
        """Hang up once all is sent; after a moment at once, for the server may never take it."""
        self._flush()
        self._end(ProtocolError(ErrorCode.DISCONNECTED, "closed here"), CloseReason.STOPPING)
        self._transport.close()
        await asyncio.wait((self._closed,), timeout=_CLOSE_S)
        self._break_off()
        await asyncio.shield(self._closed)

    def _break_off(self) -> None:
        if not self._closed.done():  # a transport that has ended by itself may have no loop to do it in
            self._transport.abort()

    # --- asyncio's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        sock = transport.get_extra_info("socket")
        configure_connection(sock)
        self._is_ready = readiness(sock.fileno())

    def get_buffer(self, sizehint: int) -> memoryview:
        self._into = self._core._parser.buffer or self._buffer
        return self._into

    def buffer_updated(self, nbytes: int) -> None:
        data: Any = self._into[:nbytes]
        if self._into is self._buffer:
            data = bytes(data)
            if self._came is not None:
                self._came.put_nowait(data)
                return
        self._receive(data)

    def pause_writing(self) -> None:
        self._is_paused, self._later = True, 0

    def resume_writing(self) -> None:
        self._is_paused = False

    def eof_received(self) -> None:
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            self._end()
        else:
            broken = ProtocolError(ErrorCode.DISCONNECTED, f"the connection broke: {exc}")
            self._end(broken, CloseReason.BROKEN)
        if not self._closed.done():
            self._closed.set_result(None)

    # ---

    def _begin(self, id: str | int, pieces: Pieces) -> Outcome:
        outcome: Outcome = self.loop.create_future()
        self._send(pieces)
        self._core._pending[id] = _settle, outcome
        return outcome

    def _receive(self, data: Any) -> None:
        self._is_receiving = True
        try:
            for _ in self._core.receive_data(data, now_us()):
                pass  # a server asks nothing
        except ProtocolError as error:
            self._end(error, CloseReason.BROKEN)
        finally:
            self._is_receiving = False
        if self._core.close_error is not None:
            self._transport.abort()

    def _on_item(self, message: SocketMessage) -> None:
        pending = None if message.id is None else self._core._pending.get(message.id)
        if pending is None:
            return
        outcome: Any = pending[1]
        if outcome.done():
            _settle(outcome, message)
        elif message.status == STREAMS:
            is_watch = isinstance(message.id, str)
            taken = SocketMessage(MessageType.ITEM, message.id)
            outcome.set_result(AsyncItems(partial(self.tell, taken) if is_watch else None))
        elif message.id in self._shown:
            self._shown[message.id].take_progress(message)

    def _write(self, line: bytes) -> None:
        self._send((line,))

    def _send(self, pieces: Pieces) -> None:
        """Send a line, with those that others send in this turn of the loop: one packet costs less than many.
        What follows it goes at once.
        """
        if self._is_receiving and self._is_paused:
            self._later += 1
            if self._later > MAX_LATER:
                raise ProtocolError(ErrorCode.DISCONNECTED, "it asks without end, and does not read")
        if not self._unsent:
            self.loop.call_soon(self._flush)
        self._unsent.append(pieces[0])
        if len(pieces) > 1:
            self._flush()
            for piece in pieces[1:]:
                self._transport.write(piece)

    def _flush(self) -> None:
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            self._transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))

    def _end(self, error: ProtocolError | None = None, reason: str = CloseReason.CLOSED) -> None:
        self._core.end(error, reason)
        if self._came is not None:
            self._came.put_nowait(b"")


def _settle(outcome: Outcome, message: SocketMessage | ProtocolError) -> None:
    """Take what comes of a request: where it is a stream already, one more item, or its end."""
    if not outcome.done():
        outcome.set_result(message)
    elif not outcome.cancelled():
        items = outcome.result()
        if isinstance(items, AsyncItems):
            items.put(message)


def _step(steps: Steps, data: bytes) -> tuple[bytes, bytes | None]:
    """Take a step of the handshake: return what is to be sent, or what came behind it once it is done."""
    try:
        return steps.send(data), None
    except StopIteration as end:
        return b"", end.value


async def dial(
    place: Place, session: str, secret: str | None, timeout_s: float, max_body_bytes: int
) -> AsyncConnection:
    """Connect and be let in within that time. An answer above `max_body_bytes` ends the connection.

    Raises OSError; ProtocolError: `disconnected` where it may go better the next time, else why this client
    is not let in.
    """
    connection = AsyncConnection(max_body_bytes)
    tls: Any = (
        {}
        if secret is None
        else {
            "ssl": tls_context(),
            "server_hostname": "",
            "ssl_shutdown_timeout": _CLOSE_S,
        }
    )
    try:
        async with asyncio.timeout(timeout_s):
            towards = await place.towards(timeout_s) | tls
            transport, _ = await connection.loop.create_connection(lambda: connection, **towards)
            try:
                binding = b""
                if secret is not None:
                    shown = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
                    binding = sha256(shown or b"").digest()
                handshake = ClientHandshake(session, who(), secret, binding)
                await connection.shake_hands(handshake, is_slow=secret is not None)
            except BaseException:
                transport.abort()
                raise
    except ssl.SSLError as error:
        raise tls_failure(error) from None
    except ConnectionRefusedError:
        raise ProtocolError(ErrorCode.DISCONNECTED, "nobody listens there") from None
    except TimeoutError:
        raise ProtocolError(ErrorCode.DISCONNECTED, "it does not answer") from None
    return connection
