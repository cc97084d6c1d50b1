"""The web server: uvicorn's, with limits for how many connections there are and how long a request takes."""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from asyncio.transports import BaseTransport
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from snyper.device.serving.accepting import Acceptor
from snyper.device.serving.connections import Connection
from snyper.system.process import raise_descriptor_limit

_GOODBYE_S = 1  # for browsers' connections to end by themselves
_RECEIVE_BYTES = 65_536  # at once: asyncio's own 256 KiB are several times that in memory, and no faster
_PING_S = 20  # between pings of a WebSocket, and for each to be answered
_UNREAD_S = 10.0  # for the peer of a closed connection to take the rest: one that reads nothing never would
_GATHERED_BYTES = 16_384  # what is longer is not copied
_MAX_AHEAD = 32  # requests of a connection that wait for the answers before theirs: uvicorn takes any number


class _Gathering:
    """A transport that sends what is written in one step of the loop at once, or when it is flushed: head and
    body of an answer are one packet, and wake the peer once. All else goes to the transport itself.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._written: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self.flush)
        self._written.append(data)
        if len(data) > _GATHERED_BYTES:
            self.flush()

    def close(self) -> None:
        self.flush()
        if self._transport.is_closing():  # over TLS it may have no buffer any more
            return
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._loop.call_later(_UNREAD_S, self._transport.abort)

    def flush(self) -> None:
        written, self._written = self._written, []
        if written and not self._transport.is_closing():
            self._transport.write(b"".join(written) if len(written) > 1 else written[0])


class _Protocol(HttpToolsProtocol):
    """HTTP, whose peer has so long for each part of a request, and to take the answer."""

    def __init__(self, connection: Connection, limits: Mapping[str, int], *arguments: Any) -> None:
        """Of `limits` a head has `head_ms`, from the connection's start or the last answer's end. Without
        `body_ms` and `body_bytes` a body is for the application to limit.
        """
        super().__init__(*arguments)
        self._connection = connection
        self._limits = limits
        self._owes = ""  # a "head" or a "body"
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None
        self._body_bytes = 0
        self._loose_bytes = 0  # that came last, and are no body and no whole head

    def connection_made(self, transport: BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(_Gathering(transport))  # type: ignore[arg-type]
        if hasattr(transport, "max_size"):
            transport.max_size = _RECEIVE_BYTES
        self._connection.abort = transport.abort
        self._settle("head")

    def connection_lost(self, exc: Exception | None) -> None:
        self._settle("")
        self._take_write_deadline_off()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._loose_bytes += len(data)
        if self._owes == "body":
            self._body_bytes += len(data)
            if self._body_bytes > self._limits.get("body_bytes", self._body_bytes):
                self.transport.abort()
                return
        super().data_received(data)
        if self._loose_bytes > self._limits["head_bytes"] and self._owes in ("head", "body"):
            self.transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._owes != "body":  # what follows a body is of no use to anybody
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._loose_bytes = 0
        head_bytes = sum(len(name) + len(value) for name, value in self.headers)
        if head_bytes > self._limits["head_bytes"] or len(self.pipeline) >= _MAX_AHEAD:
            self.transport.abort()
            return
        self._settle("body")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._loose_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._loose_bytes = 0
        if self._owes == "body":
            is_answered = self.cycle is None or self.cycle.response_complete
            self._settle("head" if is_answered else "")
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.transport.flush()  # type: ignore[attr-defined]
        super().on_response_complete()
        if self._owes == "" and self.cycle.response_complete and not self.transport.is_closing():
            self._unset_keepalive_if_required()  # the time for a head is that, too
            self._settle("head")

    def handle_websocket_upgrade(self) -> None:
        self._settle("")
        self._owes = "nothing"  # from here on it speaks another protocol
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._take_write_deadline_off()
        self._write_deadline = self.loop.call_later(self._limits["answer_ms"] / 1000, self.transport.abort)

    def resume_writing(self) -> None:
        self._take_write_deadline_off()
        super().resume_writing()

    def _take_write_deadline_off(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def _settle(self, owes: str) -> None:
        """Set what it owes, and until when."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._owes = owes
        self._body_bytes = 0
        self._connection.waits_since_s = time.monotonic() if owes else None
        if f"{owes}_ms" in self._limits:
            self._deadline = self.loop.call_later(self._limits[f"{owes}_ms"] / 1000, self.transport.abort)


def _is_fault(record: logging.LogRecord) -> bool:
    """Tell whether what uvicorn logs is more than that a request was under way at the end."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _web_socket(limits: Mapping[str, int], message_bytes: Mapping[str, int]) -> Any:
    from snyper.web.web_socket import limited_web_socket  # whose package not every server needs

    return limited_web_socket(limits, message_bytes)


class WebServer(uvicorn.Server):
    """Leaves signals to the command, and says when it serves (`serves`). `tls`: it speaks HTTPS. What others
    cause is told to `log_fault`. Whoever sets `should_exit` ends it: requests under way have `goodbye_s`.
    Without `has_lifespan` the application is not told of its start and end; without `deflates` no message of
    a WebSocket is packed. `message_bytes` are the limits of a WebSocket's messages at paths that have others.
    """

    def __init__(
        self,
        app: Any,
        socks: Sequence[socket.socket],
        tls: ssl.SSLContext | None,
        limits: Mapping[str, int],
        log_fault: Callable[[str, BaseException], None],
        goodbye_s: int = _GOODBYE_S,
        has_lifespan: bool = True,
        deflates: bool = True,
        message_bytes: Mapping[str, int] = {},
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws=_web_socket(limits, message_bytes) if "message_bytes" in limits else "none",
                ws_max_size=limits.get("message_bytes", 0),
                ws_per_message_deflate=deflates,
                ws_ping_interval=limits.get("ping_s", _PING_S),
                ws_ping_timeout=limits.get("ping_s", _PING_S),
                lifespan="on" if has_lifespan else "off",
                log_config=None,  # the command decides how it logs
                log_level=logging.ERROR,  # its warnings are what strangers send
                access_log=False,
                proxy_headers=False,  # whose address it is anybody could write
                server_header=False,
                timeout_graceful_shutdown=goodbye_s,
            )
        )
        logging.getLogger("uvicorn.error").addFilter(_is_fault)
        self.serves = asyncio.Event()
        self._socks = socks
        # Half of the descriptors that the system gives are left to the program itself.
        may_open = raise_descriptor_limit(2 * limits["connections"])
        self._acceptor = Acceptor(self._make_protocol, tls, limits, log_fault, may_open // 2)
        self._limits = limits

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise OSError("the web server cannot start: what it said is above")
        self.servers = []
        self._acceptor.start(self._socks)
        self.started = True
        self.serves.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._acceptor.stop()
        await super().shutdown(sockets)

    def _make_protocol(self, connection: Connection) -> _Protocol:
        return _Protocol(connection, self._limits, self.config, self.server_state, self.lifespan.state)
