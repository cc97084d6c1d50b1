"""Calls on the wire: what they and their answers are as lines, with the bytes that follow them. Pure.

What a line takes stands in it. Else it follows as a body: JSON with the value and the lengths of its buffers,
then those buffers.
"""

import json
from collections.abc import Sequence
from typing import Any

from snyper.services.values import decode, encode
from snyper.shared.socket_protocol import (
    MAX_LINE_BYTES,
    MAX_WORD_CHARS,
    ErrorCode,
    ProtocolError,
    SocketMessage,
    encode_json,
)

PORT = 4440
CALL = "call"
CANCEL = "cancel"
DESCRIBE = "describe"
RUNNING = "running"
RETURNED = "returned"  # the status of a `reply`
RAISED = "raised"
REFUSED = "refused"  # by the server itself
MAX_BODY_BYTES = 1 << 30  # of one call, or one answer
_MAX_INLINE_BYTES = MAX_LINE_BYTES // 2  # of a value in a line: beside it the rest has room
_MAX_INLINE_DEPTH = 5  # in `data`, below which a message may have no more

Buffer = bytes | bytearray | memoryview
Pieces = tuple[Buffer, ...]  # a line, and what follows it


def pack(
    message_type: str,
    id: str | int,
    status: str | None,
    data: dict[str, object],
    name: str,
    value: object,
    target_id: str | None = None,
) -> Pieces:
    """Encode a message whose field `name` of `data` is `value`, which need not be JSON.

    Raises TypeError, ValueError for a value that does not travel, ProtocolError `line_too_long` for one of
    more than MAX_BODY_BYTES.
    """
    buffers: list[Buffer] = []
    encoded = encode(value, buffers)
    if not buffers and _is_shallow(encoded, _MAX_INLINE_DEPTH):
        text = encode_json(encoded)
        if len(text) <= _MAX_INLINE_BYTES:
            data[name] = encoded
            return (SocketMessage(message_type, id, target_id, status, data).to_line(),)
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    head = json.dumps([encoded, [len(view) for view in views]], separators=(",", ":")).encode()
    size = len(head) + sum(len(view) for view in views)
    if size > MAX_BODY_BYTES:
        raise ProtocolError(ErrorCode.LINE_TOO_LONG, f"{size:,} bytes: at most {MAX_BODY_BYTES:,} travel")
    data["body"] = name
    data["json_bytes"] = len(head)
    line = SocketMessage(message_type, id, target_id, status, data, _Length(size)).to_line()
    return (line, head, *views)


def unpack(message: SocketMessage, name: str) -> object:
    """Return the value of the field `name`. Raises ValueError for what no peer of this project sends."""
    data = message.data or {}
    if "body" not in data:
        if name not in data:
            raise ValueError(f"`{name}` is missing")
        return decode(data[name], ())
    body = memoryview(message.attachment or b"")
    size = data.get("json_bytes")
    if data["body"] != name or type(size) is not int or not 0 < size <= len(body):
        raise ValueError("a body without its value")
    try:
        found = json.loads(bytes(body[:size]))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is no value: {error}") from None
    if not isinstance(found, list) or len(found) != 2:
        raise ValueError("the body is no value with the lengths of its buffers")
    return decode(found[0], _cut(body[size:], found[1]))


def _cut(rest: memoryview, lengths: object) -> Sequence[memoryview]:
    if not isinstance(lengths, list):
        raise ValueError("the body does not say the lengths of its buffers")
    buffers = []
    for length in lengths:
        if type(length) is not int or not 0 <= length <= len(rest):
            raise ValueError("a buffer of the body has another length than it says")
        buffers.append(rest[:length])
        rest = rest[length:]
    if len(rest):
        raise ValueError("more bytes came than the body has buffers for")
    return buffers


def word(data: dict[str, Any], name: str, max_chars: int = 4 * MAX_WORD_CHARS) -> str:
    """Read the string `data[name]`. Raises ProtocolError `bad_message`."""
    value = data.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= max_chars:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, f"`{name}` is a string of 1 to {max_chars} characters")
    return value


def _is_shallow(value: object, depth: int) -> bool:
    kind = type(value)
    if kind is dict or kind is list:
        if not depth:
            return False
        items: Any = value.values() if isinstance(value, dict) else value
        return all(_is_shallow(item, depth - 1) for item in items)
    return True


class _Length:
    """Stands for bytes that are sent beside their line."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __radd__(self, line: bytes) -> bytes:
        return line
