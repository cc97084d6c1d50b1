"""One WebSocket over ASGI: who opens it, its messages each way, its end."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from snyper.device.serving.exchange import App, HungUp, Receive, Refusal, Send, deny

_log = logging.getLogger("snyper")

_OWN_ERROR = 1011  # RFC 6455, as the next
_POLICY = 1008


class WebSocket:
    """A WebSocket that somebody asks for. `principal` is the name of the key that it came with, or ""."""

    def __init__(self, scope: Any, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.principal: str = scope.get("state", {}).get("principal", "")
        self.address: str = (scope.get("client") or ("",))[0]
        self.subprotocols: list[str] = list(scope.get("subprotocols", ()))
        self.is_open = False

    async def accept(self, subprotocol: str | None = None) -> None:
        """Open it, with one of `subprotocols` or none. Raises HungUp."""
        if (await self._receive())["type"] != "websocket.connect":
            raise HungUp
        self.is_open = True
        await self._pass({"type": "websocket.accept", "subprotocol": subprotocol})

    async def receive(self) -> str | bytes:
        """Wait for a message. Raises HungUp."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            raise HungUp
        text: str | None = message.get("text")
        content: bytes = message.get("bytes") or b""
        return content if text is None else text

    async def send(self, content: str | bytes) -> None:
        """Send a message, once its peer takes it. Raises HungUp."""
        kind = "text" if isinstance(content, str) else "bytes"
        await self._pass({"type": "websocket.send", kind: content})

    async def close(self, code: int, reason: str = "") -> None:
        """Close it. Raises HungUp."""
        self.is_open = False
        await self._pass({"type": "websocket.close", "code": code, "reason": reason})

    async def _pass(self, message: dict[str, object]) -> None:
        try:
            await self._send(message)
        except OSError:  # as ASGI says that the peer is gone
            raise HungUp from None


SocketHandler = Callable[[WebSocket], Awaitable[None]]


def web_socket_endpoint(handler: SocketHandler) -> App:
    """Make an ASGI application of `handler`, which may refuse to open a WebSocket, and be hung up on."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        web_socket = WebSocket(scope, receive, send)
        try:
            await handler(web_socket)
        except Refusal as refusal:
            await deny(refusal, send)
        except HungUp:
            pass
        except Exception:
            _log.exception("the WebSocket %s ended with an error of the server's own", scope["path"])
            if not web_socket.is_open:
                raise
            await web_socket.close(_OWN_ERROR)

    return app
