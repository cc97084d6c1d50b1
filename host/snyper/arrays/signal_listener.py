"""A signal of a gateway, as who listens over its WebSocket gets it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from functools import partial
from ssl import SSLCertVerificationError
from typing import Any

import numpy
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from snyper.arrays.packet_format import SUBPROTOCOL, unpack
from snyper.arrays.way import OnData
from snyper.device.answer import reason_of, unanswered
from snyper.device.connection import Connection
from snyper.device.errors import BadAnswer, Unreachable
from snyper.device.retrying import check

_PATH = "/ws/stream"
_MAX_BYTES = 1 << 24  # a message
_CLOSE_S = 1.0  # for the server's goodbye, which may come after packets that nobody takes any more


class SignalListener:
    """Listens to the signal of the server that `connection` is for, once at a time, with a connection of its
    own.
    """

    def __init__(self, connection: Connection) -> None:
        self._server = connection
        self._url = "ws" + connection.url.removeprefix("http") + _PATH
        self._stopping: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def listen(self, on_data: OnData | None = None, auto_start: bool = True) -> None:
        """Listen until `stop` or cancelled. `on_data` is called with each packet, a dict whose `x` and `y`
        are arrays, and awaited where it returns something to await; who is slow loses the oldest packets.
        With `auto_start` the signal is started; else somebody else does it.

        Raises Unreachable where no server is there, or it is lost; Refused, ServerFailed, BadAnswer;
        ssl.SSLCertVerificationError; and what `on_data` raises.
        """
        self._loop = asyncio.get_running_loop()
        self._stopping = stopping = asyncio.Event()
        try:
            async with await self._connect() as web_socket:
                stop = asyncio.create_task(_stop_after(stopping, web_socket))
                try:
                    if auto_start:
                        await _say(web_socket, "start")
                    async for told in _arriving(web_socket):
                        if told.get("type") == "data" and on_data is not None and not stopping.is_set():
                            called = on_data(told)
                            if isinstance(called, Awaitable):
                                await called
                        elif _says_stopped(told) and stopping.is_set():
                            return
                finally:
                    stop.cancel()
            raise Unreachable(f"{self._url}: the server has ended it")
        finally:
            self._stopping = None

    def stop(self) -> bool:
        """Have the server stop the signal, for everybody, and `listen` return. Return whether there was one.
        From any thread.
        """
        loop, stopping = self._loop, self._stopping
        if loop is None or stopping is None:
            return False
        loop.call_soon_threadsafe(stopping.set)
        return True

    async def _connect(self) -> ClientConnection:
        key = self._server.key
        try:
            return await connect(
                self._url,
                ssl=self._server.tls(),
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                additional_headers={"Authorization": f"Bearer {key}"} if key else {},
                compression=None,
                max_size=_MAX_BYTES,
                close_timeout=_CLOSE_S,
                user_agent_header="snyper",
                proxy=None,
            )
        except InvalidStatus as error:
            check(error.response.status_code, partial(_detail, error, self._url))
            raise BadAnswer(f"{self._url} is no signal: {error}") from None
        except SSLCertVerificationError:
            raise
        except (OSError, WebSocketException) as error:
            is_lost = isinstance(error.__cause__, (EOFError, ConnectionResetError))
            reason = unanswered(self._url.startswith("wss")) if is_lost else reason_of(error)
            raise Unreachable(f"{self._url}: {reason}") from error


async def _say(web_socket: ClientConnection, action: str) -> None:
    await web_socket.send(json.dumps({"action": action}))


async def _stop_after(stopping: asyncio.Event, web_socket: ClientConnection) -> None:
    await stopping.wait()
    with suppress(ConnectionClosed):  # which whoever receives is told, too
        await _say(web_socket, "stop")


async def _arriving(web_socket: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    """Iterate over what the server says, until it says goodbye or is gone. Raises BadAnswer."""
    with suppress(ConnectionClosed):
        while True:
            message = await web_socket.recv()
            try:
                yield _told(message)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BadAnswer(f"the server sends what is no signal: {error}") from None


def _says_stopped(told: dict[str, Any]) -> bool:
    return told.get("type") == "status" and told.get("streaming") is False


def _told(message: str | bytes) -> dict[str, Any]:
    if isinstance(message, bytes):
        return unpack(message)
    told: dict[str, Any] = json.loads(message)
    if told.get("type") == "data":
        told["x"] = numpy.array(told["x"], float)  # of a server that has no other form
        told["y"] = numpy.array(told["y"], told["dtype"])
    return told


def _detail(error: InvalidStatus, url: str) -> str:
    """Return why a server refuses, as it says it."""
    try:
        return str(json.loads(error.response.body or b"")["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{url} is no signal: {error.response.reason_phrase}"
