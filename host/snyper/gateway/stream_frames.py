"""A packet as WebSockets carry it: encoded once for all who listen."""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from snyper.arrays.encoding import json_of
from snyper.arrays.packet_bytes import pack
from snyper.streams.packet import Packet


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
        """The packet in bytes."""
        return pack(self._head(), self._packet.x, self._packet.y)

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
