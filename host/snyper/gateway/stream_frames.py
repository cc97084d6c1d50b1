"""A packet as WebSockets carry it: encoded once for all who listen."""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy

from snyper.streams.packet import Array, Packet

BINARY = "snyper.binary"  # the subprotocol of who asks for bytes
_ALIGNMENT = 8  # of the numbers in a message, as a browser's Float64Array wants them


class Frames:
    """The same packet for everybody, each form made when the first asks for it."""

    def __init__(self, packet: Packet) -> None:
        self._packet = packet

    @cached_property
    def text(self) -> str:
        """The packet in JSON. NaN is null, infinities are words, which `numpy.array` takes with a dtype."""
        packet = self._packet
        data = {**self._head(), "x": _plain(packet.x), "y": _plain(packet.y)}
        return json.dumps(data, separators=(",", ":"), allow_nan=False)

    @cached_property
    def binary(self) -> bytes:
        """The length of a head in 4 bytes, little-endian; the head in JSON, with blanks at its end; then x
        and y as their dtypes have them.
        """
        packet = self._packet
        head = json.dumps({**self._head(), "x_dtype": packet.x.dtype.str}, separators=(",", ":")).encode()
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


def _plain(values: Array) -> object:
    if values.dtype.kind == "f" and not numpy.isfinite(values).all():
        return _with_words(values.tolist())
    return values.tolist()


def _with_words(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_words(one) for one in value]
    if value != value:
        return None
    return {float("inf"): "Infinity", float("-inf"): "-Infinity"}.get(value, value)
