"""One call of what a service of the hub serves: its arguments as they are read, its answer. See `device.py`.

A service speaks with whoever calls it over a stream of bytes each way, which the hub carries as requests to
the service and its replies (docs/protocol.md, 'Through a hub').
"""

import asyncio
import json
import os
import sys
from array import array
from binascii import hexlify

from snyper.shared.link_core import error_of
from snyper.shared.runtime import sleep_ms
from snyper.shared.socket_protocol import (
    MAX_INTEGER,
    PROTOCOL_VERSION,
    ErrorCode,
    MessageLineParser,
    MessageType,
    ProtocolError,
    SocketMessage,
    integer_field,
)
from snyper.shared.vocabulary import MAX_TIMEOUT_MS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from snyper.shared.link import Link

MAX_ANSWER_BYTES = 16_384  # of JSON and bytes, on a board a part of its memory
MAX_UNDER_WAY = 3  # requests: one waits with the service for its answer, the others carry
_MAX_EARLY = 2 * MAX_UNDER_WAY  # pieces that came before their turn
_MAX_PIECE_BYTES = 2_048  # with a request, also where the hub takes more: that many are kept to be repeated
_BUSY_MS = 20  # until what a slow link did not take is tried again
_MAX_DEPTH = 60  # of what is nested, as lists: a service reads 64
_CALL = "call"
_EXCHANGE = "exchange"
_TAG = "$"
_JOINED_BYTES = 256  # of JSON: what is small goes on together
_YIELD_BYTES = 1_024  # that are counted, before other tasks get their turn
_KINDS = {"b": "i", "B": "u", "h": "i", "H": "u", "i": "i", "I": "u", "l": "i", "L": "u", "q": "i", "Q": "u"}
_KINDS.update({"f": "f", "d": "f"})


class RemoteError(Exception):
    """An exception of a service's function, or a refusal to call it. `type_name` is its type's, and `snyper.`
    and a word where it is of the service itself. One that is busy, `snyper.Busy`, has done nothing, and may
    say after how many seconds to call again: `retry_after_s`.
    """

    retry_after_s: "float | None" = None

    def __init__(self, type_name: str, message: str) -> None:
        super().__init__(type_name, message)
        self.type_name = type_name
        self.message = message

    def __str__(self) -> str:
        return "%s: %s" % (self.type_name, self.message)


class ServiceCall:
    """One call, to be carried out at most once, over as many connections as it takes."""

    on_progress: "Any" = None  # called with the share that is done, where the service says it

    def __init__(self, service: str, name: str, args: "tuple[object, ...]", kwargs: "dict[str, Any]") -> None:
        self.was_sent = False  # as a whole: it may have been carried out
        self.is_lost = False  # the service has begun anew since, and knows nothing of it
        self.has_moved = False  # something of the last way has come through
        self._service = service
        self._name = name
        self._session = hexlify(os.urandom(16)).decode()
        self._buffers: "list[Any]" = []
        self._value = [list(args), kwargs]
        self._json_bytes = 0
        self._lengths: "list[int]" = []

    async def measure(self) -> None:
        """Find out how long the arguments are, which is said first.

        Raises TypeError, ValueError for one that does not travel.
        """
        yields_at = _YIELD_BYTES
        for piece in _json_of(self._value, self._buffers, 0):
            self._json_bytes += len(piece)
            if self._json_bytes >= yields_at:
                yields_at = self._json_bytes + _YIELD_BYTES
                await sleep_ms(0)
        self._lengths = [_size_of(buffer) for buffer in self._buffers]

    async def carry_out(self, link: "Link") -> object:
        """Carry it out over `link`, once it is measured, and return the answer. May be repeated.

        Raises RemoteError; ValueError for a file that has changed; ProtocolError where the way is cut. May be
        cancelled.
        """
        self.has_moved = False
        stream = _Stream(link, self._service)
        try:
            await stream.begin()
            self.has_moved = True
            await self._register(stream)
            for piece in self._pieces():
                await stream.write(piece)
            await stream.flush()
            self.was_sent = True
            while True:
                message = await stream.read()
                if message.type == MessageType.REPLY:
                    stream.close()
                    return _value_of(message)
                if message.status == "streams":
                    raise RemoteError("TypeError", "%s gives many answers: a device takes one" % self._name)
                if message.status == "progress" and self.on_progress is not None:
                    done = (message.data or {}).get("done")
                    if type(done) is int or type(done) is float:
                        self.on_progress(done)
        except BaseException as error:
            may_repeat = isinstance(error, ProtocolError)
            stream.close(None if may_repeat else SocketMessage("cancel", 2, None, None, {"call": 1}))
            raise

    async def _register(self, stream: "_Stream") -> None:
        data = {"role": "console", "protocol": PROTOCOL_VERSION, "session": self._session, "who": "a device"}
        await stream.write(SocketMessage(MessageType.REGISTER, 0, None, None, data).to_line())
        await stream.flush()
        message = await stream.read()
        if message.type != MessageType.REGISTERED:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "no service of calls answers: `%s`" % message.type)
        if self.was_sent and (message.data or {}).get("known") is not True:
            self.is_lost = True
            raise ProtocolError(ErrorCode.DISCONNECTED, "%s has begun anew since" % self._service)

    def _pieces(self) -> "Iterator[bytes | bytearray]":
        """Encode the call, piece by piece."""
        tail = ",%s]" % json.dumps(self._lengths).replace(" ", "")
        json_bytes = self._json_bytes + 1 + len(tail)
        data = {"name": self._name, "seen": 0, "body": "arguments", "json_bytes": json_bytes}
        head = '{"type":"call","id":1,"data":%s,"bytes":%d}\n'
        yield (head % (json.dumps(data), json_bytes + sum(self._lengths))).encode()
        yield b"["
        for piece in _json_of(self._value, [], 0):
            yield piece
        yield tail.encode()
        for buffer, length in zip(self._buffers, self._lengths):
            for piece in _bytes_of(buffer, length):
                yield piece


class _Stream:
    """A stream of bytes each way between here and a service, through the hub."""

    def __init__(self, link: "Link", service: str) -> None:
        self._link = link
        self._service = service
        self._connection = hexlify(os.urandom(16)).decode()
        self._parser = MessageLineParser(max_chunk_bytes=MAX_ANSWER_BYTES)
        self._messages: "list[Any]" = []  # that have come
        self._unsent = bytearray()
        self._sent_bytes = 0
        self._received_bytes = 0
        self._early: "dict[int, Any]" = {}  # what came before its turn, by where it belongs
        # By their ids, encoded: where the link queues one too there is one of it.
        self._under_way: "dict[int, bytes]" = {}
        self._repeated: "list[tuple[int, bytes]]" = []  # what the service had no place for
        self._error: "ProtocolError | None" = None
        self._is_empty = False  # the last reply brought nothing
        self._changed = asyncio.Event()
        self._piece_bytes = min(_MAX_PIECE_BYTES, link.peer_max_chunk_bytes)
        if not self._piece_bytes:
            raise ProtocolError(ErrorCode.UNSUPPORTED, "this hub passes no bytes on")

    async def begin(self) -> None:
        """Open it. Raises ProtocolError."""
        await self._ask({"begin": True, "max_held": 1}, None)
        while self._under_way or self._repeated:
            await self._wait()

    async def write(self, piece: "bytes | bytearray") -> None:
        """Send bytes, once there are enough of them. Raises ProtocolError."""
        self._unsent += piece
        while len(self._unsent) >= self._piece_bytes:
            await self._send(self._piece_bytes)

    async def flush(self) -> None:
        """Send what is left of them. Raises ProtocolError."""
        while self._unsent:
            await self._send(min(len(self._unsent), self._piece_bytes))

    async def read(self) -> SocketMessage:
        """Return the next message of the service. Raises ProtocolError, for an `error` too."""
        while not self._messages:
            if not (self._under_way or self._repeated):
                if self._is_empty:
                    await sleep_ms(_BUSY_MS)  # of a service that cannot wait
                await self._ask({"at": self._sent_bytes}, None)
            await self._wait()
        message = self._messages.pop(0)
        if isinstance(message, ProtocolError):
            raise message
        if message.type == MessageType.ERROR:
            raise error_of(message)
        return message  # type: ignore[no-any-return]

    def close(self, last: "SocketMessage | None" = None) -> None:
        """Hang up, once `last` is said. May be repeated."""
        for id in list(self._under_way):
            self._link.cancel_request(id)
        self._under_way = {}
        if self._error is None:
            self._error = ProtocolError(ErrorCode.DISCONNECTED, "this side has hung up")
            piece = None if last is None or self._unsent else last.to_line()
            message = self._message({"at": self._sent_bytes, "end": True}, piece)
            try:
                self._link.send_nowait(message)
            except ProtocolError as error:
                self._link.log("the service is not told that the call is over: %s" % error)

    async def _send(self, count: int) -> None:
        piece = bytes(memoryview(self._unsent)[:count])
        self._unsent = self._unsent[count:]
        at = self._sent_bytes
        self._sent_bytes += count
        await self._ask({"at": at}, piece)

    async def _ask(self, data: "dict[str, object]", piece: "bytes | None") -> None:
        # What is to be repeated first: a service keeps few bytes whose turn it is not.
        while self._repeated or len(self._under_way) >= MAX_UNDER_WAY:
            await self._wait()
        message = self._message(data, piece)
        assert isinstance(message.id, int)
        await self._request(message.id, message.to_line())

    def _message(self, data: "dict[str, object]", piece: "bytes | None") -> SocketMessage:
        data["connection"] = self._connection
        data["timeout_ms"] = MAX_TIMEOUT_MS
        data["room_bytes"] = self._link.max_chunk_bytes
        return SocketMessage(_EXCHANGE, self._link.new_id(), self._service, None, data, piece)

    async def _request(self, id: int, line: bytes) -> None:
        self._under_way[id] = line
        while True:
            try:
                self._link.start_request(id, line, self._on_reply, id)
                return
            except ProtocolError as error:
                if error.code != ErrorCode.BUSY:
                    raise
            await sleep_ms(_BUSY_MS)

    async def _wait(self) -> None:
        """Wait until something has come. Raises ProtocolError where nothing more will."""
        if self._error is not None:
            raise self._error
        if self._repeated:
            id, line = self._repeated.pop(0)
            await sleep_ms(_BUSY_MS)
            await self._request(id, line)
            return
        await self._changed.wait()
        self._changed.clear()
        if self._error is not None:
            raise self._error

    def _on_reply(self, id: int, reply: "SocketMessage | ProtocolError") -> None:
        line = self._under_way.pop(id, None)
        self._changed.set()
        if line is None:
            return
        try:
            if isinstance(reply, ProtocolError):
                raise reply
            if reply.type == MessageType.ERROR:
                error = error_of(reply)
                if error.code != ErrorCode.BUSY or error.unknown_fate:
                    raise error
                self._repeated.append((id, line))
                return
            self._take(reply.data or {}, reply.attachment)
        except ProtocolError as error:
            self._error = error

    def _take(self, data: "dict[str, object]", piece: "Any") -> None:
        self._is_empty = not piece
        if piece:
            at = integer_field(data, "at", 0, 0, MAX_INTEGER)
            if at < self._received_bytes or at in self._early or len(self._early) >= _MAX_EARLY:
                raise ProtocolError(ErrorCode.BAD_MESSAGE, "these bytes belong nowhere")
            self._early[at] = piece
        while self._received_bytes in self._early:
            piece = self._early.pop(self._received_bytes)
            self._received_bytes += len(piece)
            self._messages += self._parser.feed(piece)
        if data.get("end") is True and not self._messages:
            raise ProtocolError(ErrorCode.DISCONNECTED, "the service hung up")


def _json_of(value: "Any", buffers: "list[Any]", depth: int) -> "Iterator[bytes | bytearray]":
    """Encode `value`, piece by piece; what has bytes of its own goes to `buffers`.

    Raises TypeError, ValueError for what does not travel.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("nested deeper than %d" % _MAX_DEPTH)
    if callable(value):
        value = value()
        is_dict = False
    else:
        is_dict = isinstance(value, dict)
        if not is_dict and not isinstance(value, (list, tuple)):
            yield _leaf(value, buffers)
            return
    joined: "bytes | bytearray" = bytearray(b"{" if is_dict else b"[")
    separator = b""
    for item in value:
        joined += separator
        separator = b","
        if is_dict:
            if not isinstance(item, str) or item == _TAG:
                raise TypeError("a dict with the key %r does not travel from a device" % (item,))
            joined += json.dumps(item).encode() + b":"
            item = value[item]
        if type(item) is int and -MAX_INTEGER <= item <= MAX_INTEGER:
            joined += b"%d" % item  # here: readings are many, and `_leaf` would take as long again
        elif isinstance(item, (list, tuple, dict)) or callable(item):
            for piece in _json_of(item, buffers, depth + 1):
                yield joined
                joined = piece
        else:
            joined += _leaf(item, buffers)
        if len(joined) >= _JOINED_BYTES:
            yield joined
            joined = bytearray()
    joined += b"}" if is_dict else b"]"
    yield joined


def _leaf(value: "Any", buffers: "list[Any]") -> bytes:
    """Encode what nothing is nested in. Raises TypeError for what does not travel."""
    if value is None or isinstance(value, (bool, str)):
        return json.dumps(value).encode()
    if isinstance(value, int):
        return (b"%d" % value) if -MAX_INTEGER <= value <= MAX_INTEGER else _tagged("int", "%x" % value)
    if isinstance(value, float):
        return repr(value).encode() if value - value == 0 else _tagged("float", repr(value))
    return _reference(value, buffers)


def _reference(value: "Any", buffers: "list[Any]") -> bytes:
    """Keep what has bytes of its own in `buffers`; return what stands for it."""
    at = len(buffers)
    if isinstance(value, (bytes, bytearray, memoryview)) or hasattr(value, "readinto"):
        buffers.append(value)
        return b'{"$":["bytes",%d]}' % at
    if isinstance(value, array):
        code = repr(value[:0])[7]  # MicroPython has no `typecode`
        buffers.append(value)
        kind = _KINDS.get(code, "")
        if kind:
            order = "<" if sys.byteorder == "little" else ">"
            dtype = "%s%s%d" % (order if _item_bytes(value) > 1 else "|", kind, _item_bytes(value))
            return ('{"$":["array",%d,"%s",[%d]]}' % (at, dtype, len(value))).encode()
    raise TypeError("a %s does not travel from a device" % type(value).__name__)


def _item_bytes(value: "Any") -> int:
    if isinstance(value, array):
        return len(bytes(array(repr(value[:0])[7], [0])))
    return len(bytes(value[:1])) or 1


def _size_of(value: "Any") -> int:
    """Return how many bytes of its own a value has."""
    if hasattr(value, "readinto"):
        size: int = value.seek(0, 2)
        return size
    return len(value) * _item_bytes(value)


def _bytes_of(value: "Any", size: int) -> "Iterator[bytes]":
    """Read the bytes of a value, piece by piece. Raises ValueError where a file has not got them any more."""
    if hasattr(value, "readinto"):
        value.seek(0)
        while size:
            piece = value.read(min(size, _MAX_PIECE_BYTES))
            if not piece:
                raise ValueError("the file has become shorter")
            size -= len(piece)
            yield piece
        return
    view = memoryview(value)
    count = _MAX_PIECE_BYTES // _item_bytes(value)
    for at in range(0, len(value), count):
        yield bytes(view[at : at + count])


def _tagged(kind: str, text: str) -> bytes:
    return ('{"$":["%s","%s"]}' % (kind, text)).encode()


def _value_of(message: SocketMessage) -> "Any":
    """Read the value of a reply. Raises RemoteError where it is an exception; ProtocolError."""
    data: "Any" = message.data or {}
    try:
        body = memoryview(message.attachment or b"")
        if "body" in data:
            value, lengths = json.loads(bytes(body[: data["json_bytes"]]))
            value = _decoded(value, body[data["json_bytes"] :], lengths)
        else:
            value = _decoded(data["value"], body, [])
        if message.status == "returned":
            return value
        error = RemoteError(str(value["type"]), str(value["message"]))
        if error.type_name == "snyper.Busy":
            error.retry_after_s = (value["args"] + [None])[1]
        raise error
    except (KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:  # the last: nested too deep
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "the answer is none: %r" % error) from None


def _decoded(value: "Any", body: "memoryview", lengths: "list[int]") -> "Any":
    """Turn what a service says into values. What a device has no type for stays as it is on the wire."""
    if isinstance(value, list):
        return [_decoded(item, body, lengths) for item in value]
    if not isinstance(value, dict):
        return value
    fields = value.get(_TAG)
    if fields is None:
        return {name: _decoded(value[name], body, lengths) for name in value}
    kind = fields[0]
    if kind in ("bytes", "bytearray"):
        begin = sum(lengths[: fields[1]])
        return bytes(body[begin : begin + lengths[fields[1]]])
    if kind == "tuple":
        return tuple(_decoded(item, body, lengths) for item in fields[1:])
    if kind == "float":
        return float(fields[1])
    if kind == "int":
        return int(fields[1], 16)
    return value
