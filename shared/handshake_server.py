"""The handshake as who listens makes it: a peer's `register`, checked, its challenge, and `registered`."""

import os
from binascii import hexlify

from snyper.shared.socket_protocol import (
    DEAD_AFTER_BEATS,
    HEARTBEAT_MS,
    MAX_GROUPS,
    MAX_HEARTBEAT_MS,
    MAX_ID_CHARS,
    MAX_LINE_BYTES,
    MIN_HEARTBEAT_MS,
    MIN_LINE_BYTES,
    PROTOCOL_VERSION,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    clip,
    integer_field,
    is_target_id,
    text_field,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.shared.keys import Key
    from snyper.shared.link import Link


class Role:
    """The roles that a peer registers with."""

    TARGET = "target"
    CONSOLE = "console"
    SERVICE = "service"


_MAX_TEXT_BYTES = MAX_ID_CHARS + 2  # so that a `target` fits any line, whatever they are made of


class Registration:
    """The peer's `register`, checked. A field that it left out has its default. `may_command` is false for a
    console whose key says so.
    """

    may_command = True

    def __init__(self, message: SocketMessage) -> None:
        """Raises ProtocolError: `bad_message`, or `unsupported` for another protocol."""
        data = message.data or {}
        self.target_id = message.target_id
        self.role = text_field(data, "role", Role.TARGET)
        self.hardware_id = text_field(data, "hardware_id", "")
        self.boot_id = text_field(data, "boot_id", "")
        self.firmware = clip(text_field(data, "firmware", ""), _MAX_TEXT_BYTES)
        self.state = clip(text_field(data, "state", ""), _MAX_TEXT_BYTES)
        self.key = text_field(data, "key", "")
        self.wants_challenge = "nonce" in data
        self.devices = data.get("devices") is True
        self.groups = groups_field(data)
        self.heartbeat_ms = integer_field(
            data, "heartbeat_ms", HEARTBEAT_MS, MIN_HEARTBEAT_MS, MAX_HEARTBEAT_MS
        )
        self.max_line_bytes = integer_field(data, "max_line_bytes", MAX_LINE_BYTES, MIN_LINE_BYTES, 1 << 30)
        self.max_chunk_bytes = integer_field(data, "max_chunk_bytes", 0, 0, 1 << 30)
        protocol = integer_field(data, "protocol", PROTOCOL_VERSION, 1, 1 << 30)
        if protocol != PROTOCOL_VERSION:
            raise ProtocolError(
                ErrorCode.UNSUPPORTED,
                "this side speaks protocol %d: update the older one" % PROTOCOL_VERSION,
            )

    def reply(
        self,
        message: SocketMessage,
        boot_id: str,
        hub_us: int,
        max_chunk_bytes: int = 0,
        is_open: bool = False,
    ) -> SocketMessage:
        """Make the hub's answer to `message`, its `register`. `boot_id` is the hub's own, `hub_us` its clock
        in microseconds; `max_chunk_bytes` may follow a line to it; `is_open` says that it lets everybody in.
        """
        data: "dict[str, object]" = {
            "protocol": PROTOCOL_VERSION,
            "heartbeat_ms": self.heartbeat_ms,
            "dead_after_ms": self.heartbeat_ms * DEAD_AFTER_BEATS,
            "max_line_bytes": MAX_LINE_BYTES,
            "max_chunk_bytes": max_chunk_bytes,
            "boot_id": boot_id,
            "hub_us": hub_us,
        }
        if is_open:
            data["open"] = True
        return message.reply(MessageType.REGISTERED, "registered", data)


def challenge(link: "Link", message: SocketMessage, registration: Registration, key: "Key") -> None:
    """Challenge a peer to prove `key`: what it says from now on has to be sealed. Raises ProtocolError
    `bad_message` for no nonce.
    """
    from snyper.shared.keys import NONCE_BYTES, nonce_field, seals
    from snyper.shared.sealed_stream import binding_of, seal_link

    nonce = nonce_field(message.data or {})
    own = os.urandom(NONCE_BYTES)
    to_hub, from_hub = seals(
        key, registration.role, registration.target_id or "", nonce, own, binding_of(link)
    )
    link.send_nowait(message.reply(MessageType.CHALLENGE, "challenged", {"nonce": hexlify(own).decode()}))
    seal_link(link, from_hub, to_hub, (registration.role, registration.target_id, key.name))
    # Not sealed before the peer's proof: from what is, anybody could guess a key off line.
    link._stream = link.sealed._stream  # type: ignore[union-attr]


def _bad(message: str) -> ProtocolError:
    return ProtocolError(ErrorCode.BAD_MESSAGE, message)


def groups_field(data: "dict[str, object]") -> "list[str]":
    """Read `data["groups"]`, none where it is left out. Raises ProtocolError `bad_message`."""
    value = data.get("groups", [])
    if not isinstance(value, list) or len(value) > MAX_GROUPS:
        raise _bad("`groups` is a list of at most %d names" % MAX_GROUPS)
    for name in value:
        if not is_target_id(name):
            raise _bad("a group's name is like a `target_id`")
    return value
