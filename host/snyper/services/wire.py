"""Calls on the wire: what they and their answers are as lines, with the bytes that follow them. Pure.

What a line takes stands in it. Else it follows as a body: JSON with the value and the lengths of its buffers,
then those buffers.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from snyper.services.remote_exceptions import CallError, to_wire
from snyper.services.values import MAX_DEPTH as MAX_VALUE_DEPTH, TAG, are_plain, decode, encode
from snyper.shared.socket_protocol import (
    MAX_DEPTH,
    MAX_LINE_BYTES,
    MAX_WORD_CHARS,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
)

PORT = 4440
CALL = "call"
CANCEL = "cancel"
DESCRIBE = "describe"
LEASES = "leases"
LOCK = "lock"
LOG = "log"
RENEW = "renew"
RUNNING = "running"
STATISTICS = "statistics"
UNLOCK = "unlock"
WATCH = "watch"
RETURNED = "returned"  # the status of a `reply`
RAISED = "raised"
REFUSED = "refused"  # by the server itself
STREAMS = "streams"  # the status of an `item` before the first
PROGRESS = "progress"  # and of one that says how much of a call is done
MAX_BODY_BYTES = 1 << 30  # of one call, or one answer
_JSON_TAKES = 30  # times its bytes, in memory
MAX_JSON_BYTES = 1 << 24  # of that in JSON: nothing else is done while it is read
_COPIED_BYTES = 1 << 22  # at once, some ms
MAX_OPEN = 1_000  # calls that a call says have no answer yet
MAX_WORDS = 16  # in a list that a message has: calls within each other, leases, names
_MAX_NAME_CHARS = 4 * MAX_WORD_CHARS
_MAX_INLINE_BYTES = 3_072  # of a line: a hub that passes it on adds to it
_MAX_INLINE_DEPTH = MAX_DEPTH - 2  # below `data`

Buffer = bytes | bytearray | memoryview
Pieces = tuple[Buffer, ...]  # a line, and what follows it


def call(
    seq: int,
    name: str,
    seen: int,
    chain: Sequence[str],
    leases: Sequence[str],
    args: Sequence[object],
    kwargs: dict[str, object],
    open: Sequence[int] = (),
) -> Pieces:
    """Encode a call. `open` are those up to `seen` that have no answer yet.

    Raises TypeError, ValueError for an argument or a name that does not travel, or for more than
    MAX_BODY_BYTES; ProtocolError `line_too_long`.
    """
    head = f'{{"type":"call","id":{seq},"data":{{"name":{_quote(name)},"seen":{seen},'
    if chain:
        head += f'"chain":{_to_json(chain)},'
    if open:
        head += f'"open":{_to_json(open)},'
    if leases:
        head += f'"leases":{_to_json(leases)},'
    is_flat = (not args or are_plain(args)) and (
        not kwargs or (are_plain(kwargs.values()) and TAG not in kwargs and "".join(kwargs).isascii())
    )
    return _pack(head, "arguments", (args, kwargs) if is_flat else [list(args), kwargs], is_flat)


def reply(id: str | int, status: str, value: object) -> Pieces:
    """Encode the answer to a request. Raises TypeError, ValueError, ProtocolError `line_too_long`."""
    shown = _quote(id) if isinstance(id, str) else id
    head = f'{{"type":"reply","id":{shown},"status":"{status}","data":{{'
    return _pack(head, "value", value, are_plain((value,)))


def item(seq: int, value: object) -> Pieces:
    """Encode an item of a stream. Raises TypeError, ValueError, ProtocolError `line_too_long`."""
    return _pack(f'{{"type":"item","id":{seq},"data":{{', "value", value, are_plain((value,)))


def _pack(head: str, field: str, value: object, is_flat: bool) -> Pieces:
    """Encode a message whose line begins with `head`, up to the `field` of its data that is `value`. The
    pieces share memory with that. What `is_flat` is JSON as it is, and as a field not too deep.
    """
    buffers: list[Buffer] = []
    encoded = value if is_flat else encode(value, buffers, field)
    if not buffers:
        text = "".join(_encode_json(encoded, 0))
        if len(text) < _MAX_INLINE_BYTES and (is_flat or _depth_of(encoded) <= _MAX_INLINE_DEPTH):
            line = f'{head}"{field}":{text}}}}}\n'.encode()
            if len(line) <= _MAX_INLINE_BYTES:
                return (line,)
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    first = json.dumps([encoded, [len(view) for view in views]], separators=(",", ":")).encode()
    if len(first) > MAX_JSON_BYTES:
        raise ValueError(_too_long(len(first)))
    size = len(first) + sum(len(view) for view in views)
    if size > MAX_BODY_BYTES:
        raise ValueError(f"{size:,} bytes: at most {MAX_BODY_BYTES:,} travel in one call, or one answer")
    line = f'{head}"body":"{field}","json_bytes":{len(first)}}},"bytes":{size}}}\n'.encode()
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(ErrorCode.LINE_TOO_LONG, f"a line has at most {MAX_LINE_BYTES:,} bytes")
    return (line, first, *views)


def _too_long(size: int) -> str:
    return f"{size:,} bytes of JSON: at most {MAX_JSON_BYTES:,} travel beside what is bytes or an array"


def _to_json(value: object) -> str:
    return "".join(_encode_json(value, 0))


class Call(SocketMessage):
    """A call as a server takes it: `id` is its number, `seen` and `open` say which answers have come."""

    target_id = status = data = attachment = None
    open: Sequence[int] = ()
    chain: tuple[str, ...] = ()
    leases: tuple[str, ...] = ()
    size = 0  # of its arguments, in bytes of memory, but for those in its line

    def __init__(self, seq: int, name: str, seen: int, args: list[object], kwargs: dict[str, object]) -> None:
        self.type = CALL
        self.id = seq
        self.name = name
        self.seen = seen
        self.args = args
        self.kwargs = kwargs


class Returned(SocketMessage):
    """The answer to a call that has returned a value."""

    status = RETURNED
    target_id = data = attachment = None

    def __init__(self, seq: int, value: object) -> None:
        self.type = MessageType.REPLY
        self.id = seq
        self.value = value


def read_usual_call(line: bytes) -> Call | None:
    """Read a line as `call` makes most of them, in a third of the time that any line takes; None for one that
    is to be read like any other.
    """
    try:
        text = line.decode()
        head = _match_call(text)
        if head is None or len(line) > MAX_LINE_BYTES:
            return None
        args, kwargs = _value_at(text, head.end())
        "".join(kwargs)  # a TypeError where one is no text
        seq, name, seen = head.groups()
    except _UNUSUAL:
        return None
    if type(args) is not list or type(kwargs) is not dict:
        return None
    return Call(int(seq), name, int(seen), args, kwargs)


def read_usual_reply(line: bytes) -> Returned | None:
    """Read a line as `reply` makes most of them, likewise."""
    try:
        text = line.decode()
        head = _match_reply(text)
        if head is None or len(line) > MAX_LINE_BYTES:
            return None
        return Returned(int(head[1]), _value_at(text, head.end()))
    except _UNUSUAL:
        return None


def _value_at(text: str, at: int) -> Any:
    """Return the value in a line behind which nothing else comes. Raises one of _UNUSUAL."""
    found, end = _decode_json(text, at)
    if text[end:] != "}}\n":
        raise ValueError
    if (TAG in text or "\\" in text) or (
        len(text) > 2 * MAX_VALUE_DEPTH and text.count("[") + text.count("{") > MAX_VALUE_DEPTH
    ):
        return decode(found, ())
    return found  # JSON as it is


def read_call(message: SocketMessage) -> Call:
    """Read any call. Raises ValueError, ProtocolError for what no peer of this project sends."""
    data: Any = message.data or {}
    name, seen = data.get("name"), data.get("seen", 0)
    if type(name) is not str or not 0 < len(name) <= _MAX_NAME_CHARS:
        raise ValueError(f"the name of a call has 1 to {_MAX_NAME_CHARS} characters")
    if type(message.id) is not int or type(seen) is not int:
        raise ValueError("the id of a call, and what it has seen, are integers that count them")
    found = unpack(message, "arguments")
    if type(found) is not list or len(found) != 2 or type(found[0]) is not list or type(found[1]) is not dict:
        raise ValueError("`arguments` is a list and an object")
    args, kwargs = found
    for key in kwargs:
        if type(key) is not str:
            raise ValueError("an argument's name is a string")
    call = Call(message.id, name, seen, args, kwargs)
    call.open, call.chain, call.leases = numbers(data, "open"), words(data, "chain"), words(data, "leases")
    if message.attachment is not None:
        size = data.get("json_bytes")
        call.size = len(message.attachment) + (size * _JSON_TAKES if type(size) is int else 0)
    return call


def own(pieces: Pieces) -> Pieces:
    """Return pieces that share memory with nobody, so that they stay what they are. What is copied is in
    more of them, so that other threads run between two: to copy 1 GiB takes a second.
    """
    owned: list[Buffer] = []
    for piece in pieces:
        if type(piece) is bytes or type(memoryview(piece).obj) is bytes:
            owned.append(piece)
        else:
            owned += [bytes(piece[at : at + _COPIED_BYTES]) for at in range(0, len(piece), _COPIED_BYTES)]
    return tuple(owned)


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
    if size > MAX_JSON_BYTES:
        raise ValueError(_too_long(size))
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


def word(data: dict[str, Any], name: str, max_chars: int = _MAX_NAME_CHARS) -> str:
    """Read the string `data[name]`. Raises ProtocolError `bad_message`."""
    value = data.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= max_chars:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, f"`{name}` is a string of 1 to {max_chars} characters")
    return value


def numbers(data: dict[str, object], name: str) -> tuple[int, ...]:
    """Read the integers in the list `data[name]`, if there is one. Raises ProtocolError `bad_message`."""
    found = data.get(name, [])
    if type(found) is not list or len(found) > MAX_OPEN or not all(type(one) is int for one in found):
        raise ProtocolError(ErrorCode.BAD_MESSAGE, f"`{name}` is a list of at most {MAX_OPEN} integers")
    return tuple(found)


def words(data: dict[str, object], name: str) -> tuple[str, ...]:
    """Read the strings in the list `data[name]`, if there is one. Raises ProtocolError `bad_message`."""
    found = data.get(name, [])
    if (
        not isinstance(found, list)
        or len(found) > MAX_WORDS
        or not all(isinstance(text, str) for text in found)
    ):
        raise ProtocolError(ErrorCode.BAD_MESSAGE, f"`{name}` is a list of at most {MAX_WORDS} strings")
    return tuple(found)


def refusal(id: str | int, error: CallError) -> Pieces:
    """Encode the reply to a request that the server does not carry out."""
    return reply(id, REFUSED, to_wire(error))


def _depth_of(value: object) -> int:
    if not isinstance(value, dict | list):
        return 0
    items: Any = value.values() if isinstance(value, dict) else value
    return 1 + max((_depth_of(item) for item in items), default=0)


# What CPython's own functions do around these at each call takes as long again.
_json: Any = json
_quote: Callable[[str], str] = _json.encoder.encode_basestring
_encode_json = _json.encoder.c_make_encoder(None, None, _quote, None, ":", ",", False, False, True)
_decode_json = _json.decoder.JSONDecoder().scan_once
_NUMBER = r"(0|[1-9]\d{0,14})"
_match_call = re.compile(
    rf'\{{"type":"call","id":{_NUMBER},"data":\{{"name":"([A-Za-z]\w{{0,99}})","seen":{_NUMBER},"arguments":',
    re.A,
).match
_match_reply = re.compile(
    rf'\{{"type":"reply","id":{_NUMBER},"status":"returned","data":\{{"value":', re.A
).match
_UNUSUAL = (ValueError, TypeError, RecursionError, StopIteration)
