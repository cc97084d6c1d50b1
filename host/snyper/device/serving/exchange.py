"""One request and its answer, over ASGI: heads, a limited body, refusals, hang-ups."""

from __future__ import annotations

import asyncio
import json
import logging
import zlib
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import Any, Awaitable, Callable, Mapping, MutableMapping

from snyper.device.tasks import Timeout, in_executor

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]
Headers = Mapping[str, str]
Handler = Callable[["Exchange"], Awaitable[None]]
Add = Callable[[str, str, Handler], None]  # serves a method of a path by a handler

_log = logging.getLogger("snyper")

UNPACK_BYTES = 65_536  # at once
_GATHERED_BYTES = 65_536  # of an answer, before a thread waits for the client to take it
_SLOWEST_BYTES_PER_S = 1_000  # on average, after twice the limit `stall_s`: a body holds a place
_LINGER_S = 5.0  # for which a refused body is read on: a client that only writes would not see the answer
_SHOWN_CHARS = 200  # of a path that a stranger made up
ACCEPT_ENCODING = "gzip, identity"
_GZIP = 31  # zlib's word for that format


class Refusal(Exception):
    """A request that is answered with an error. `detail` says to people what is wrong."""

    def __init__(self, status: int, detail: str, headers: Headers | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


class HungUp(Exception):
    """The client is gone."""


_OWN_ERROR = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "the server has an error: its terminal says which")


class Exchange:
    """A request and its answer. `principal` is the name of the key that it came with, "" for none."""

    def __init__(self, scope: Any, receive: Receive, send: Send, stall_s: float) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._stall_s = stall_s
        self._is_read = False  # to the end of its body
        self.principal: str = scope.get("state", {}).get("principal", "")
        self.address: str = (scope.get("client") or ("",))[0]
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self.has_answered = False
        self.is_gone = False  # as far as `gone` was asked
        self.answer_headers: dict[str, str] = {}  # that its answer has, whatever that is
        self.is_stale = False  # its client has gone on elsewhere, and reads nothing here
        self.error_of: Callable[[str], object] = lambda detail: {"detail": detail}  # what an error answers

    def header(self, name: str) -> str:
        """Return a header's value, "" where there is none. `name` is in lower case."""
        return self._headers.get(name.encode(), b"").decode("latin-1").strip()

    @property
    def path_values(self) -> dict[str, str]:
        """What stands in the path for the names in its route."""
        found: dict[str, str] = self.scope.get("path_params", {})
        return found

    async def body(self, most_bytes: int, what: str = "the body") -> AsyncIterator[bytes]:
        """Iterate over the body, unpacked. Raises Refusal once it, or what it announces, is above
        `most_bytes`, for an encoding other than gzip, and when it comes too slowly; HungUp.
        """
        announced = self.header("content-length")
        if announced.isdecimal() and int(announced) > most_bytes:
            raise too_large(what, most_bytes)
        encoding = self.header("content-encoding").lower()
        if encoding in ("", "identity"):
            unpack = _Counted(most_bytes, what).take
        elif encoding in ("gzip", "x-gzip"):
            unpack = _Unpacked(most_bytes, what).take
        else:
            raise Refusal(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"the body is encoded as {encoding!r}: send it as it is, or as gzip",
                {"accept-encoding": ACCEPT_ENCODING},
            )
        loop = asyncio.get_running_loop()
        until_s = loop.time() + 2 * self._stall_s
        while not self._is_read:
            chunk = await self._chunk(min(self._stall_s, until_s - loop.time()))
            until_s += len(chunk) / _SLOWEST_BYTES_PER_S
            for part in unpack(chunk, self._is_read):
                yield part

    async def _chunk(self, timeout_s: float) -> bytes:
        try:
            async with Timeout(timeout_s):
                message = await self._receive()
        except asyncio.TimeoutError:
            raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "the body comes too slowly, or no more of it") from None
        if message["type"] != "http.request":
            raise HungUp
        self._is_read = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    async def gone(self) -> None:
        """Wait until the client hangs up. Only once the body is read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True

    async def answer(
        self,
        status: int,
        content: bytes,
        media_type: str = "application/json",
        headers: Headers | None = None,
    ) -> None:
        """Send the whole answer."""
        await self.begin_answer(status, len(content), media_type, headers or {})
        await self.send(content, is_last=True)

    async def answer_json(self, value: object, status: int = 200, headers: Headers | None = None) -> None:
        """Send JSON as the answer."""
        content = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
        await self.answer(status, content, headers=headers)

    async def refuse(self, refusal: Refusal) -> None:
        """Send an error as the answer. The client sees it though it is still writing its body."""
        content = json.dumps(self.error_of(refusal.detail)).encode()
        headers = dict(refusal.headers)
        if not self._is_read:
            headers["connection"] = "close"
        await self.begin_answer(refusal.status, len(content), "application/json", headers)
        await self.send(content, is_last=self._is_read)
        if not self._is_read:
            if not self.is_stale:
                await self._linger()
            await self.send(b"", is_last=True)

    async def begin_answer(self, status: int, length: int | None, media_type: str, headers: Headers) -> None:
        """Send the answer's head. `length` is that of its body in bytes, None where only its end will say."""
        named = {
            "content-type": media_type,
            **({} if length is None else {"content-length": str(length)}),
            "x-content-type-options": "nosniff",
            **headers,
        }
        await self._begin_answer(status, named)

    async def answer_empty(self, status: int, headers: Headers) -> None:
        """Send an answer without a body."""
        length = {} if status == HTTPStatus.NO_CONTENT else {"content-length": "0"}
        await self._begin_answer(status, {**length, **headers})
        await self.send(b"", is_last=True)

    async def _begin_answer(self, status: int, headers: Headers) -> None:
        self.has_answered = True
        named = {**self.answer_headers, **headers}
        encoded = [(name.encode("ascii"), value.encode("latin-1")) for name, value in named.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})

    async def send(self, content: bytes, is_last: bool) -> None:
        """Send a part of the answer's body."""
        await self._send({"type": "http.response.body", "body": content, "more_body": not is_last})

    async def stream(
        self,
        parts: Iterator[bytes],
        media_type: str,
        headers: Headers | None = None,
        length: int | None = None,
    ) -> None:
        """Send an answer as a thread makes it, part by part, as fast as the client takes it. `length` is that
        of all parts, None where only their end will say. Raises HungUp.
        """
        content, is_last = await in_executor(_gathered, parts)
        await self.begin_answer(200, len(content) if is_last else length, media_type, headers or {})
        gone = asyncio.create_task(self.gone())
        try:
            while not is_last and self.scope["method"] != "HEAD":
                await self.send(content, is_last=False)
                if gone.done():
                    raise HungUp
                content, is_last = await in_executor(_gathered, parts)
        finally:
            gone.cancel()
        await self.send(content, is_last=True)

    async def _linger(self) -> None:
        """Take what the client is still sending, for a while: closed with it unread, the connection would be
        reset, and the answer lost.
        """
        try:
            async with Timeout(_LINGER_S):
                while not self._is_read:
                    await self._chunk(_LINGER_S)
        except (asyncio.TimeoutError, Refusal, HungUp):
            pass


def _gathered(parts: Iterator[bytes]) -> tuple[bytes, bool]:
    """Return the next parts, some bytes together, and whether they are the last."""
    gathered: list[bytes] = []
    size = 0
    for part in parts:
        gathered.append(part)
        size += len(part)
        if size >= _GATHERED_BYTES:
            return b"".join(gathered), False
    return b"".join(gathered), True


def too_large(what: str, most_bytes: int) -> Refusal:
    """Return what is said of more than `most_bytes`."""
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{what} is above the limit of {most_bytes:,} bytes")


def nothing_at(path: str) -> Refusal:
    """Return what is said of a path that nothing is served at."""
    return Refusal(HTTPStatus.NOT_FOUND, f"there is nothing at {path[:_SHOWN_CHARS]}")


def wrong_method(allowed: str) -> Refusal:
    """Return what is said of a method that a path does not take; also of OPTIONS, by which a client asks for
    the encodings.
    """
    headers = {"allow": allowed, "accept-encoding": ACCEPT_ENCODING}
    return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "this path does not take that method", headers)


class _Counted:
    """A body as it comes, up to a limit."""

    def __init__(self, most_bytes: int, what: str) -> None:
        self._left = most_bytes
        self._refusal = too_large(what, most_bytes)

    def take(self, chunk: bytes, is_last: bool) -> list[bytes]:
        self._left -= len(chunk)
        if self._left < 0:
            raise self._refusal
        return [chunk] if chunk else []


class _Unpacked:
    """A body out of gzip, up to a limit: never more than a step at once in memory."""

    def __init__(self, most_bytes: int, what: str) -> None:
        self._counted = _Counted(most_bytes, f"{what}, unpacked,")
        self._member = zlib.decompressobj(_GZIP)
        self._has_begun = False

    def take(self, chunk: bytes, is_last: bool) -> Any:
        try:
            yield from self._parts(chunk)
        except zlib.error:
            raise Refusal(HTTPStatus.BAD_REQUEST, "the body is no gzip, though it says so") from None
        if is_last and (self._has_begun and not self._member.eof):
            raise Refusal(HTTPStatus.BAD_REQUEST, "the body's gzip ends in the middle")

    def _parts(self, chunk: bytes) -> Any:
        while chunk:
            if self._member.eof:  # another member follows
                self._member = zlib.decompressobj(_GZIP)
            self._has_begun = True
            part = self._member.decompress(chunk, UNPACK_BYTES)
            yield from self._counted.take(part, False)
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail


def endpoint(handler: Handler, stall_s: float) -> App:
    """Make an ASGI application of `handler`, whose refusals are sent, and who may be hung up on."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, stall_s)
        try:
            await handler(exchange)
        except Refusal as refusal:
            await exchange.refuse(refusal)
        except HungUp:
            pass
        except asyncio.CancelledError:  # which is an Exception in Python 3.7
            raise
        except Exception:
            _log.exception(
                "%s %s was answered with an error of the server's own", scope["method"], scope["path"]
            )
            if exchange.has_answered:
                raise
            await exchange.refuse(_OWN_ERROR)

    return app


async def deny(refusal: Refusal, send: Send) -> None:
    """Answer a request for a WebSocket as one for a page is refused."""
    content = json.dumps({"detail": refusal.detail}).encode()
    headers = {"content-type": "application/json", **refusal.headers}
    encoded = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": encoded})
    await send({"type": "websocket.http.response.body", "body": content})
