"""A packet of a signal as WebSockets carry it: in JSON, or in bytes to who asks for that. Pure.

In bytes it is the length of a head in 4 bytes, little-endian; the head in JSON, with blanks at its end; then
`x` and `y` as `x_dtype` and `dtype` of the head say. Each begins at a multiple of 8 bytes, as a browser's
Float64Array must.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy

from snyper.arrays.encoding import json_of

SUBPROTOCOL = "snyper.binary"
_ALIGNMENT = 8
_LENGTH_BYTES = 4


def to_json(head: Mapping[str, Any], x: Any, y: Any) -> str:
    """Return a packet in JSON, with NaN and infinities as stored arrays have them."""
    return f'{_compact(head)[:-1]},"x":{json_of(x)},"y":{json_of(y)}}}'


def pack(head: Mapping[str, Any], x: Any, y: Any) -> bytes:
    """Return a packet in bytes. `head` has the `dtype` of `y`, and the `shape` of both."""
    told = _compact({**head, "x_dtype": str(x.dtype)}).encode()
    told += b" " * (-(len(told) + _LENGTH_BYTES) % _ALIGNMENT)
    begin = x.tobytes()
    begin += b"\0" * (-len(begin) % _ALIGNMENT)
    return b"".join((len(told).to_bytes(_LENGTH_BYTES, "little"), told, begin, y.tobytes()))


def unpack(packet: bytes) -> dict[str, Any]:
    """Return a packet as JSON has it, but for its `x` and `y`, which are arrays. Raises ValueError."""
    begin = _LENGTH_BYTES + int.from_bytes(packet[:_LENGTH_BYTES], "little")
    try:
        told: dict[str, Any] = json.loads(packet[_LENGTH_BYTES:begin])
        shape = told["shape"]
        x = numpy.frombuffer(packet, told.pop("x_dtype"), numpy.prod(shape, dtype=int), begin)
        begin += x.nbytes + -x.nbytes % _ALIGNMENT
        y = numpy.frombuffer(packet, told["dtype"], x.size, begin)
        return {**told, "x": x.reshape(shape), "y": y.reshape(shape)}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no packet: {error}") from None


def _compact(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))
