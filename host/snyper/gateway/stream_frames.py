"""A packet as WebSockets carry it: encoded once for all who listen."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from snyper.arrays.packet_format import pack, to_json
from snyper.streams.packet import Packet


class Frames:
    """The same packet for everybody, each form made when the first asks for it."""

    def __init__(self, packet: Packet) -> None:
        self._packet = packet

    @cached_property
    def text(self) -> str:
        """The packet in JSON."""
        return to_json(self._head(), self._packet.x, self._packet.y)

    @cached_property
    def binary(self) -> bytes:
        """The packet in bytes."""
        return pack(self._head(), self._packet.x, self._packet.y)

    @property
    def value(self) -> dict[str, Any]:
        """The packet as values, arrays among them."""
        return {**self._head(), "x": self._packet.x, "y": self._packet.y}

    def _head(self) -> Mapping[str, Any]:
        packet = self._packet
        return {
            "type": "data",
            "timestamp": packet.timestamp,
            "shape": list(packet.y.shape),
            "dtype": str(packet.y.dtype),
        }
