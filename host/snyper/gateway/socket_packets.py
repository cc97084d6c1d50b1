"""Packets of Socket.IO as strangers send them: so many attachments, JSON that is one."""

import json
from typing import Any

from socketio.packet import (  # type: ignore[import-untyped]
    ACK,
    BINARY_ACK,
    BINARY_EVENT,
    EVENT,
    Packet,
)

MAX_ATTACHMENTS = 128  # pictures of one detection: one of all, and one of each plate
_RESERVED = (
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "*",
)  # names with a meaning of their own

_encode = json.JSONEncoder(separators=(",", ":")).encode


class _Json:
    """JSON as Socket.IO asks for it."""

    @staticmethod
    def dumps(value: object, **_: Any) -> str:
        return _encode(value)

    @staticmethod
    def loads(text: str) -> object:
        try:
            return json.loads(text)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None


def limited_packet(most_bytes: int) -> type[Packet]:
    """Return the class of packets whose attachments have `most_bytes` together. Packets that are none raise
    ValueError.
    """

    class LimitedPacket(Packet):  # type: ignore[misc]
        json = _Json

        def decode(self, encoded_packet: object) -> int:
            if not isinstance(encoded_packet, str):
                raise ValueError("an attachment of nothing")
            count: int = super().decode(encoded_packet)
            if count > MAX_ATTACHMENTS:
                raise ValueError("too many attachments")
            if self.packet_type in (ACK, BINARY_ACK) and not isinstance(self.data, list):
                raise ValueError("no acknowledgement")
            if self.packet_type in (EVENT, BINARY_EVENT) and not _is_event(self.data):
                raise ValueError("no event")
            return count

        def add_attachment(self, attachment: object) -> bool:
            if not isinstance(attachment, bytes):
                raise ValueError("no attachment")
            if sum(map(len, self.attachments)) + len(attachment) > most_bytes:
                raise ValueError("attachments are too large")
            complete: bool = super().add_attachment(attachment)
            return complete

    return LimitedPacket


def _is_event(data: object) -> bool:
    """Tell whether it begins with a name that a client may say."""
    return isinstance(data, list) and bool(data) and isinstance(data[0], str) and data[0] not in _RESERVED
