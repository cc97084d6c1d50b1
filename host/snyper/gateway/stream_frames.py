"""A packet as WebSockets carry it: encoded once for all who listen."""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from snyper.arrays.encoding import json_of
from snyper.streams.packet import Packet

BINARY = "snyper.binary"  # the subprotocol of who asks for bytes
_ALIGNMENT = 8  # of the numbers in a message, as a browser's Float64Array wants them


class Frames:
    """The same packet for everybody, each form made when the first asks for it."""

    def __init__(self, packet: Packet) -> None:
        self._packet = packet

    @cached_property
    def text(self) -> str:
        """The packet in JSON, with NaN and infinities as stored arrays have them."""
        x, y = json_of(self._packet.x), json_of(self._packet.y)
        return f'{_compact(self._head())[:-1]},"x":{x},"y":{y}}}'

    @cached_property
    def binary(self) -> bytes:
        """The length of a head in 4 bytes, little-endian; the head in JSON, with blanks at its end; then x
        and y as their dtypes have them.
        """
        packet = self._packet
        head = _compact({**self._head(), "x_dtype": str(packet.x.dtype)}).encode()
        head += b" " * (-(len(head) + 4) % _ALIGNMENT)
        x = packet.x.tobytes()
        padding = b"\0" * (-len(x) % _ALIGNMENT)
        return b"".join((len(head).to_bytes(4, "little"), head, x, padding, packet.y.tobytes()))

    def _head(self) -> Mapping[str, Any]:
        packet = self._packet
        return {
            "type": "data",
            "timestamp": packet.timestamp,
            "shape": list(packet.y.shape),
            "dtype": str(packet.y.dtype),
        }


def _compact(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))
