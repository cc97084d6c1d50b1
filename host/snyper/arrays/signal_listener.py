"""A signal of a gateway, as who listens over its WebSocket gets it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from snyper.arrays.packet_bytes import SUBPROTOCOL, unpack

_PATH = "/ws/stream"
_MAX_BYTES = 1 << 24  # a message
_CLOSE_S = 1.0  # for the server's goodbye, which may come after packets that nobody takes any more

OnData = Callable[[dict[str, Any]], object]


class SignalListener:
    """Listens to the signal of the server at `url`, such as http://localhost:8000, once at a time.

    `headers` go with the request: a key, if it asks for one.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._url = "ws" + url.rstrip("/").removeprefix("http") + _PATH
        self._headers = dict(headers or {})
        self._stopping: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def listen(self, on_data: OnData | None = None, auto_start: bool = True) -> None:
        """Listen until `stop` or cancelled. `on_data` is called with each packet, a dict whose `x` and `y`
        are arrays, and awaited where it returns something to await; who is slow loses the oldest packets.
        With `auto_start` the signal is started; else somebody else does it.

        Raises OSError where no server is there, it refuses, or it is lost; ValueError where it sends no
        packets; and what `on_data` raises.
        """
        self._loop = asyncio.get_running_loop()
        self._stopping = stopping = asyncio.Event()
        try:
            async with self._connect() as web_socket:
                if auto_start:
                    await _say(web_socket, "start")
                stop = asyncio.create_task(_stop_after(stopping, web_socket))
                try:
                    await _receive(web_socket, on_data, stopping)
                finally:
                    stop.cancel()
        except InvalidStatus as error:
            raise ConnectionError(f"{self._url} refuses: {_detail(error)}") from None
        except InvalidHandshake as error:
            raise ConnectionError(f"{self._url} has no signal: {error}") from None
        except WebSocketException as error:
            raise ConnectionError(f"{self._url} is lost: {error}") from None
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

    def _connect(self) -> connect:
        return connect(
            self._url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            additional_headers=self._headers,
            compression=None,
            max_size=_MAX_BYTES,
            close_timeout=_CLOSE_S,
            user_agent_header="snyper",
        )


async def _say(web_socket: ClientConnection, action: str) -> None:
    await web_socket.send(json.dumps({"action": action}))


async def _stop_after(stopping: asyncio.Event, web_socket: ClientConnection) -> None:
    await stopping.wait()
    with suppress(ConnectionClosed):  # which whoever receives is told, too
        await _say(web_socket, "stop")


async def _receive(web_socket: ClientConnection, on_data: OnData | None, stopping: asyncio.Event) -> None:
    """Pass packets on, until the server says that it has stopped as it was told."""
    async for message in web_socket:
        told = _told(message)
        if told.get("type") == "data" and on_data is not None and not stopping.is_set():
            called = on_data(told)
            if isinstance(called, Awaitable):
                await called
        elif told.get("type") == "status" and not told.get("streaming") and stopping.is_set():
            return
    raise ConnectionError("the server has ended the signal")


def _told(message: str | bytes) -> dict[str, Any]:
    if isinstance(message, bytes):
        return unpack(message)
    told: dict[str, Any] = json.loads(message)
    if told.get("type") == "data":
        told["x"] = numpy.array(told["x"], float)  # of a server that has no other form
        told["y"] = numpy.array(told["y"], told["dtype"])
    return told


def _detail(error: InvalidStatus) -> str:
    """Return why a server refuses, as it says it."""
    response = error.response
    try:
        return str(json.loads(response.body or b"")["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.reason_phrase}"
