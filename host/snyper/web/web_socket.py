"""The protocol of WebSockets: uvicorn's, whose peer takes what is sent and sends no more than it may."""

import asyncio
import socket
from asyncio.transports import BaseTransport
from collections.abc import Callable, Mapping
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

# At once: each frame in it is read before anybody else has a turn, and the shortest has 6 bytes.
_RECEIVE_BYTES = 4_096
_RECEIVE_MORE_BYTES = 65_536  # where messages are large
# What the system and the transport hold for a peer that reads slowly is old when he gets it, and memory: what
# is sent queues up where it may be left out.
_SEND_BYTES = 65_536
_UNSENT_BYTES = 16_384
# Pings, and frames of messages that come in pieces: each is answered or kept whether anybody reads or not.
_MOST_EXTRA = 1_000
_EXTRA_PER_S = 100

# Of messages that are not whole yet, of all peers that may send large ones.
_MAX_PARTS_BYTES = 128_000_000

_GOODBYE_S = 1.0  # for a peer to take what is left for it as the server ends


def limited_web_socket(
    limits: Mapping[str, int], message_bytes: Mapping[str, int]
) -> Callable[..., asyncio.Protocol]:
    """Return what makes the protocol of a WebSocket, whose peer has `answer_ms` to take what is sent.
    `message_bytes` are the limits of messages at paths that have others.
    """

    parts = _Parts()

    def make(**arguments: Any) -> asyncio.Protocol:
        return _Protocol(limits["answer_ms"] / 1000, message_bytes, parts, **arguments)

    return make


class _Parts:
    """The parts of large messages, together within a limit: the message that has taken longest goes first."""

    def __init__(self) -> None:
        self._of: dict[_Protocol, int] = {}  # since when it began
        self._bytes = 0

    def add(self, protocol: "_Protocol", size: int) -> None:
        self._of[protocol] = self._of.get(protocol, 0) + size
        self._bytes += size
        while self._bytes > _MAX_PARTS_BYTES:
            slowest = next(iter(self._of))
            self.end(slowest)
            slowest.transport.abort()

    def end(self, protocol: "_Protocol") -> None:
        self._bytes -= self._of.pop(protocol, 0)


class _Protocol(WebSocketsSansIOProtocol):
    def __init__(
        self, answer_s: float, message_bytes: Mapping[str, int], parts: _Parts, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self._answer_s = answer_s
        self._message_bytes = message_bytes
        self._parts = parts
        self._is_large = False  # what its peer may send
        self._deadline: asyncio.TimerHandle | None = None
        self._extra = float(_MOST_EXTRA)
        self._extra_at_s = self.loop.time()

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        if hasattr(transport, "max_size"):
            transport.max_size = _RECEIVE_BYTES
        self.transport.set_write_buffer_limits(_UNSENT_BYTES)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)

    def handle_connect(self, event: Request) -> None:
        most = self._message_bytes.get(event.path.partition("?")[0])
        if most is not None:
            self.conn.max_message_size = most
            self._is_large = True
            if hasattr(self.transport, "max_size"):
                self.transport.max_size = _RECEIVE_MORE_BYTES
        super().handle_connect(event)

    def data_received(self, data: bytes) -> None:
        if self._is_large:
            self._parts.add(self, len(data))
        super().data_received(data)

    def send_receive_event_to_app(self) -> None:
        self._parts.end(self)
        super().send_receive_event_to_app()

    def connection_lost(self, exc: Exception | None) -> None:
        self._parts.end(self)
        self._take_deadline_off()
        super().connection_lost(exc)
        # Protocol and parser refer to each other, so what is left of a message would stay for long.
        self.conn.reader.discard()
        self.frames.clear()

    def shutdown(self) -> None:
        super().shutdown()
        self.loop.call_later(_GOODBYE_S, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._take_deadline_off()
        self._deadline = self.loop.call_later(self._answer_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._take_deadline_off()
        super().resume_writing()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # by a refusal, which is no error of ours

    def handle_cont(self, event: Frame) -> None:
        if self._may_send_extra():
            super().handle_cont(event)

    def handle_ping(self) -> None:
        if self._may_send_extra():
            super().handle_ping()

    def _may_send_extra(self) -> bool:
        """Count a frame; end the connection of who sends too many."""
        now_s = self.loop.time()
        self._extra = min(_MOST_EXTRA, self._extra + (now_s - self._extra_at_s) * _EXTRA_PER_S) - 1
        self._extra_at_s = now_s
        if self._extra < 0:
            self.transport.abort()
        return self._extra >= 0

    def _take_deadline_off(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
