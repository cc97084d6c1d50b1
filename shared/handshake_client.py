"""The handshake as the peer that dialled makes it: the proof of its key, its `register`, and the hub's
`registered`.
"""

import os
from binascii import hexlify

from snyper.shared.socket_protocol import (
    HEARTBEAT_MS,
    MAX_HEARTBEAT_MS,
    MAX_INTEGER,
    MAX_LINE_BYTES,
    MIN_HEARTBEAT_MS,
    MIN_LINE_BYTES,
    PROTOCOL_VERSION,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    integer_field,
    text_field,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.shared.link import Link


def register_message(
    message_id: "str | int",
    data: "dict[str, object]",
    target_id: "str | None" = None,
    max_chunk_bytes: int = 0,
) -> SocketMessage:
    """Build the `register` of a peer that says `data` of itself. `data` is the message's from now on.
    `max_chunk_bytes` may follow a line to the peer.
    """
    data["protocol"] = PROTOCOL_VERSION
    if max_chunk_bytes:
        data["max_chunk_bytes"] = max_chunk_bytes
    return SocketMessage(MessageType.REGISTER, message_id, target_id, data=data)


async def prove_key(
    link: "Link", key_text: str, data: "dict[str, object]", target_id: "str | None", timeout_ms: int
) -> None:
    """Have the hub challenge this peer, which says `data` of itself, and seal the link: what comes next
    proves to each that the other has the key. Until then the hub is served nothing.

    Raises ValueError for a text that is no key; ProtocolError: `unauthorized` for a hub that has no key, what
    the hub refuses the peer for, and what `Link.request` raises. May be cancelled.
    """
    from snyper.shared.keys import NONCE_BYTES, Key, nonce_field, seals
    from snyper.shared.sealed_stream import binding_of, seal_link

    handlers, health = link.handlers, link.health
    link.handlers = {}
    link.health = None
    key = Key(key_text)
    role = str(data.get("role", "target"))
    nonce = os.urandom(NONCE_BYTES)
    asked: "dict[str, object]" = {"role": role, "key": key.name, "nonce": hexlify(nonce).decode()}
    message = SocketMessage(MessageType.REGISTER, link.new_id(), target_id, data=asked)
    challenge = await link.request(message, timeout_ms)
    if challenge.type != MessageType.CHALLENGE:
        raise ProtocolError(ErrorCode.UNAUTHORIZED, "this hub has no key, and this peer wants one of it")
    to_hub, from_hub = seals(
        key, role, target_id or "", nonce, nonce_field(challenge.data or {}), binding_of(link)
    )
    seal_link(link, to_hub, from_hub, (role, target_id, key.name))
    link.handlers = handlers
    link.health = health


class Registered:
    """The hub's `registered`, checked."""

    def __init__(self, message: SocketMessage) -> None:
        """Raises ProtocolError: `unknown_type` for another message, which no hub sends, `bad_message` for a
        field that is out of bounds.
        """
        data = message.data or {}
        if message.type != MessageType.REGISTERED:
            raise ProtocolError(ErrorCode.UNKNOWN_TYPE, "`registered` was due, not `%s`" % message.type)
        self.heartbeat_ms = integer_field(
            data, "heartbeat_ms", HEARTBEAT_MS, MIN_HEARTBEAT_MS, MAX_HEARTBEAT_MS
        )
        self.max_line_bytes = integer_field(data, "max_line_bytes", MAX_LINE_BYTES, MIN_LINE_BYTES, 1 << 30)
        self.max_chunk_bytes = integer_field(data, "max_chunk_bytes", 0, 0, 1 << 30)
        self.boot_id = text_field(data, "boot_id", "")
        self.hub_us = integer_field(data, "hub_us", -1, -1, MAX_INTEGER)  # -1 where it does not say its clock
        self.open = data.get("open") is True  # to whoever reaches it, without a key

    def apply_to(self, link: "Link") -> None:
        """Set limits and heartbeat of the dialler's end of `link`.

        The hub pings first; this side asks only when it hears nothing, so that one PING serves both. A target
        pings all the time, for the hub's clock: then both hear enough.
        """
        link.peer_max_line_bytes = self.max_line_bytes
        link.peer_max_chunk_bytes = self.max_chunk_bytes
        link.start_heartbeat(self.heartbeat_ms, self.heartbeat_ms * 3 // 2)
