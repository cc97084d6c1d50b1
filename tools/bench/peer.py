"""A scripted peer: a console to a hub, or the hub to a target, with as little as will do."""

import asyncio
import json
from typing import Any, cast

from snyper.shared.keys import NONCE_BYTES, Key, seals
from snyper.shared.seal import Seal
from tools.bench.processes import RECEIVE_BYTES, limit_reads

_STREAMED = ("result", "event", "item", "target")  # not what ends a request


def line_with(message: dict[str, Any]) -> bytes:
    """Encode a message in the form that this project's own encoders give it."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


class Peer(asyncio.Protocol):
    """One end of a connection, played with as little as will do: a console's, or the hub's to a target, which
    proves `key` to it where there is one.
    """

    transport: asyncio.Transport

    def __init__(self, key: Key | None = None) -> None:
        self._key = key
        self._sending: Seal | None = None
        self._receiving: Seal | None = None
        self.has_registered = asyncio.Event()
        self._begun = b""  # of a line
        self._last_id = 0
        self._reply: asyncio.Future[dict[str, Any]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        limit_reads(transport, RECEIVE_BYTES)

    def connection_lost(self, error: Exception | None) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(ConnectionResetError("the other end has hung up"))

    def data_received(self, data: bytes) -> None:
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            content = line if self._receiving is None else self._receiving.open(line + b"\n")
            assert content is not None, line
            self._take(json.loads(content))

    async def exchange(self, message: dict[str, object]) -> dict[str, Any]:
        """Send a request and return its reply, whatever that says. Raises ConnectionResetError."""
        self._last_id += 1
        self._reply = asyncio.get_running_loop().create_future()
        self._send({**message, "id": self._last_id})
        return await self._reply

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ping":
            self._send({"type": "pong", "id": message["id"]})
        elif kind == "hit":
            self._send({"type": "ack", "id": message["id"]})
        elif kind == "register" and self._key is not None and self._sending is None:
            own = bytes(NONCE_BYTES)  # nobody listens
            self._send({"type": "challenge", "id": message["id"], "data": {"nonce": own.hex()}})
            nonce = bytes.fromhex(message["data"]["nonce"])
            registered = (message["data"]["role"], message["target_id"])
            self._receiving, self._sending = seals(self._key, *registered, nonce, own)
        elif kind == "register":
            data = {"protocol": 1, "heartbeat_ms": 600, "dead_after_ms": 1800, "max_line_bytes": 4096}
            self._send({"type": "registered", "id": message["id"], "status": "registered", "data": data})
            self.has_registered.set()
        elif kind not in _STREAMED and message.get("id") == self._last_id:
            assert self._reply is not None
            self._reply.set_result(message)

    def _send(self, message: dict[str, Any]) -> None:
        line = line_with(message)
        self.transport.write(line if self._sending is None else self._sending.seal(line))
