"""HTTP/1.1 without any package: serves an ASGI application over asyncio, as far as an Exchange takes it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Callable, Mapping, Sequence

from snyper.device.serving.accepting import Acceptor, LogFault
from snyper.device.serving.bodies import PIECE_BYTES, Body, Hang
from snyper.device.serving.connections import Connection
from snyper.device.serving.exchange import App, Exchange, HungUp, Message, Refusal
from snyper.device.serving.heads import Head, parse_head
from snyper.device.tasks import Timeout

_HEAD_END = b"\r\n\r\n"
_UNREAD_S = 10.0  # for the peer of a closed connection to take the rest: one that reads nothing never would
_LAST_S = 1.0  # for what is cut off to end
_log = logging.getLogger("snyper")


class HttpServer:
    """Serves `application`. `tls`: it speaks HTTPS. What others cause is told to `log_fault`.

    A connection ends that has not brought a head within `head_ms`, since its begin or the last answer, or one
    of more than `head_bytes`, or does not take an answer within `answer_ms`. How slowly a body may come is
    the application's to say.
    """

    def __init__(
        self,
        application: App,
        tls: ssl.SSLContext | None,
        limits: Mapping[str, int],
        log_fault: LogFault,
    ) -> None:
        self.application = application
        self.limits = limits
        self.is_ending = False
        self._acceptor = Acceptor(self._make_protocol, tls, limits, log_fault)
        self._running: set[_Conversation] = set()

    def start(self, socks: Sequence[socket.socket]) -> None:
        """Serve from now on."""
        self._acceptor.start(socks)

    async def stop(self, seconds: float) -> None:
        """Take no more connections and requests; those under way have so long."""
        self.is_ending = True
        await self._acceptor.stop()
        for one in list(self._running):
            one.end_if_idle()
        await self._until_ended(seconds)
        self.abort()
        await self._until_ended(_LAST_S)

    def abort(self) -> None:
        """Cut off what is under way."""
        for one in list(self._running):
            one.abort()

    async def _until_ended(self, seconds: float) -> None:
        if self._running:
            await asyncio.wait([one.task for one in self._running], timeout=seconds)

    def _make_protocol(self, connection: Connection) -> asyncio.BaseProtocol:
        reader = asyncio.StreamReader(limit=max(PIECE_BYTES, self.limits["head_bytes"]))

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            conversation = _Conversation(self, connection, reader, writer, protocol.lost)
            self._running.add(conversation)
            conversation.task.add_done_callback(lambda _: self._running.discard(conversation))

        protocol = _Protocol(reader, begin)
        return protocol


class _Protocol(asyncio.StreamReaderProtocol):
    """A stream that also tells that it is lost."""

    def __init__(self, reader: asyncio.StreamReader, begin: Callable[..., None]) -> None:
        super().__init__(reader, begin)
        self.lost = asyncio.Event()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.lost.set()


class _Conversation:
    """The requests of one connection, one after the other."""

    def __init__(
        self,
        server: HttpServer,
        connection: Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        lost: asyncio.Event,
    ) -> None:
        self.server = server
        self.lost = lost
        self.reader = reader
        self.writer = writer
        self._connection = connection
        self._is_idle = True
        connection.abort = self.abort
        self.task = asyncio.ensure_future(self._run())

    def abort(self) -> None:
        """End it at once."""
        self.writer.transport.abort()
        self.task.cancel()

    def end_if_idle(self) -> None:
        """End it if no request is under way."""
        if self._is_idle:
            self.abort()

    def owe(self, owes: bool) -> None:
        """Note that its peer owes something from now on, or nothing."""
        self._connection.waits_since_s = time.monotonic() if owes else None

    async def _run(self) -> None:
        try:
            while await self._serve_next():
                pass
        except (asyncio.TimeoutError, OSError):
            self.writer.transport.abort()
        except asyncio.CancelledError:  # which is an Exception in Python 3.7
            raise
        except Exception:
            _log.exception("a connection ended with an error of the server's own")
        finally:
            transport = self.writer.transport
            transport.close()
            if transport.get_extra_info("sslcontext") or transport.get_write_buffer_size():
                asyncio.get_running_loop().call_later(_UNREAD_S, transport.abort)

    async def _serve_next(self) -> bool:
        """Serve a request, and return whether another may follow."""
        self._is_idle = True
        self.owe(True)
        try:
            async with Timeout(self.server.limits["head_ms"] / 1000):
                head = await self._head()
        except Refusal as refusal:
            await self._refuse(refusal)
            return False
        if head is None or self.server.is_ending:
            return False
        self._is_idle = False
        body = Body(self.reader, head.length, is_chunked=head.length is None)
        self.owe(not body.is_read)
        exchange = _Answering(self, head, body)
        scope = {
            "type": "http",
            "method": head.method,
            "path": head.path,
            "query_string": head.query,
            "headers": head.fields,
            "client": self.writer.get_extra_info("peername"),
        }
        await self.server.application(scope, exchange.receive, exchange.send)
        return exchange.may_follow

    async def _head(self) -> Head | None:
        """Wait for a head; None: the peer has ended. Raises Refusal."""
        content = b""
        try:
            while not content:  # RFC 9112, 2.2: empty lines before it are nothing
                content = (await self.reader.readuntil(_HEAD_END))[: -len(_HEAD_END)].lstrip(b"\r\n")
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError:
            raise _too_large_head() from None
        if len(content) > self.server.limits["head_bytes"]:
            raise _too_large_head()
        return parse_head(content)

    async def _refuse(self, refusal: Refusal) -> None:
        """Answer what is no request: it has no end but that of the connection."""
        head = Head("", "", b"", [], None, lasts=False, waits=False)
        answering = _Answering(self, head, Body(self.reader, None))
        scope = {"headers": [], "client": self.writer.get_extra_info("peername")}
        with contextlib.suppress(HungUp):
            await Exchange(scope, answering.receive, answering.send, _UNREAD_S).refuse(refusal)


class _Answering:
    """The two ends of a request that ASGI has: its body, and its answer."""

    def __init__(self, conversation: _Conversation, head: Head, body: Body) -> None:
        self._conversation = conversation
        self._head = head
        self._body = body
        self._waits = head.waits
        self._has_ended = False  # as far as the application was told
        self._begun = b""  # the head of the answer, until there is something behind it
        self._has_content = True
        self._is_sent = False
        self._lasts = head.lasts

    @property
    def may_follow(self) -> bool:
        """Whether the answer is there whole, and another request may come."""
        return self._is_sent and self._lasts

    async def receive(self) -> Message:
        """Return more of the body; then wait until the connection is lost."""
        if self._has_ended:
            await self._conversation.lost.wait()
            return {"type": "http.disconnect"}
        if self._waits:
            self._waits = False
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            piece = await self._body.read()
        except (Hang, OSError):
            self._lasts = False
            return {"type": "http.disconnect"}
        self._has_ended = self._body.is_read
        if self._has_ended:
            self._conversation.owe(False)
        return {"type": "http.request", "body": piece, "more_body": not self._has_ended}

    async def send(self, message: Message) -> None:
        """Send the answer, as fast as the peer takes it."""
        if message["type"] == "http.response.start":
            self._begin(message["status"], message["headers"])
            return
        content = message.get("body", b"") if self._has_content else b""
        self._write(self._begun + content)
        self._begun = b""
        self._is_sent = not message.get("more_body", False)
        try:
            async with Timeout(self._conversation.server.limits["answer_ms"] / 1000):
                await self._conversation.writer.drain()
        except asyncio.TimeoutError:
            self._conversation.writer.transport.abort()
            self._lasts = False
        except OSError:
            self._lasts = False

    def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        named = dict(headers)
        if not self._body.is_read or self._conversation.server.is_ending:
            named[b"connection"] = b"close"
        if named.get(b"connection") == b"close":
            self._lasts = False
        if not self._lasts:
            named[b"connection"] = b"close"
        named.setdefault(b"date", formatdate(usegmt=True).encode())
        self._has_content = self._head.method != "HEAD" and status not in (
            HTTPStatus.NO_CONTENT,
            HTTPStatus.NOT_MODIFIED,
        )
        line = b"HTTP/1.1 %d %s\r\n" % (status, _phrase(status))
        self._begun = line + b"".join(b"%s: %s\r\n" % field for field in named.items()) + b"\r\n"

    def _write(self, content: bytes) -> None:
        if content and not self._conversation.writer.transport.is_closing():
            self._conversation.writer.write(content)


def _too_large_head() -> Refusal:
    return Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the head of the request is too large")


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""
