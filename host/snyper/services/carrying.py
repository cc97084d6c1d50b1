"""A connection through a hub: a stream of bytes each way, as requests to a service and its replies. Pure.

A hub passes on what a client asks a service, and what that answers. So of a client's requests one at least is
with the service all the time, which answers it when it has bytes for the client. A request brings bytes the
other way. Each says where in its stream its bytes belong: replies may overtake each other.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

from snyper.shared.socket_protocol import (
    MAX_INTEGER,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    integer_field,
    text_field,
)
from snyper.shared.vocabulary import MAX_TIMEOUT_MS

EXCHANGE = "exchange"
QUIET_S = 5.0  # after which a service answers, though it has nothing to say
GONE_S = 12.0  # without a request, after which the client is gone
MAX_UNDER_WAY = 7  # requests of a client, of eight that a hub takes
MAX_HELD = 4  # of them that the service keeps, for what it will say, where the client says nothing else
_MAX_EARLY = 2 * MAX_UNDER_WAY  # pieces that came before their turn


@dataclass(frozen=True, slots=True)
class Proven:
    """A proof that the hub has had of a client: its `key`, by name, and the `name` that it has there.

    Without a key there is none, and both are empty; so is the name of a console.
    """

    key: str = ""
    name: str = ""

    @property
    def is_device(self) -> bool:
        """Tell whether the key is for this one name alone."""
        return bool(self.key) and self.key == self.name


NOTHING = Proven()  # of who dials a server itself


class InOrder:
    """Puts the pieces of a stream into their order."""

    def __init__(self) -> None:
        self._at = 0
        self._early: dict[int, bytes | bytearray] = {}
        self._end: int | None = None

    @property
    def is_over(self) -> bool:
        """Tell whether all has come."""
        return self._at == self._end

    def take(self, message: SocketMessage) -> list[bytes | bytearray]:
        """Take a piece; return those whose turn it is. Raises ProtocolError `bad_message`."""
        data = message.data or {}
        at, piece = integer_field(data, "at", 0, 0, MAX_INTEGER), message.attachment or b""
        if data.get("end") is True:
            self._end = at + len(piece)
        if not piece:
            return []
        if at < self._at or at in self._early or len(self._early) >= _MAX_EARLY:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "these bytes belong nowhere")
        self._early[at] = piece
        found = []
        while self._at in self._early:
            found.append(self._early.pop(self._at))
            self._at += len(found[-1])
        return found


class ClientEnd:
    """The client's end of the connection `id` to the service of that name. `max_bytes` go with a request."""

    def __init__(self, id: str, service: str, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.under_way = 0
        self._id = id
        self._service = service
        self._requests = 0
        self._sent_bytes = 0
        self._wanted = 1  # requests with the service: more while it has much to say
        self._received = InOrder()

    @property
    def is_over(self) -> bool:
        """Tell whether the service has ended the connection, and all that it said before has come."""
        return self._received.is_over

    @property
    def may_send(self) -> bool:
        """Tell whether one more request may be under way."""
        return self.under_way < MAX_UNDER_WAY

    @property
    def wants_another(self) -> bool:
        """Tell whether one more request is due, for what the service will say."""
        return self.under_way < self._wanted and not self.is_over

    def begin(self) -> SocketMessage:
        """Return the request that opens the connection, which is answered at once."""
        return self._request({"begin": True})

    def exchange(self, piece: bytes = b"", ends: bool = False, has_room: bool = True) -> SocketMessage:
        """Return a request that brings `piece`, and with `ends` the end of the stream. Without `has_room` the
        reply is to bring nothing.
        """
        data: dict[str, object] = {"at": self._sent_bytes}
        self._sent_bytes += len(piece)
        if ends:
            data["end"] = True
        if not has_room:
            data["room_bytes"] = 0
        return self._request(data, piece or None)

    def take(self, reply: SocketMessage) -> list[bytes | bytearray]:
        """Take a reply of the service; return the bytes whose turn it is. Raises ProtocolError."""
        self.under_way -= 1
        size = len(reply.attachment or b"")
        self._wanted = MAX_HELD if size >= self.max_bytes // 2 else max(1, self._wanted - (not size))
        return self._received.take(reply)

    def _request(self, data: dict[str, object], piece: bytes | None = None) -> SocketMessage:
        self.under_way += 1
        self._requests += 1
        data["connection"] = self._id
        data["timeout_ms"] = MAX_TIMEOUT_MS
        return SocketMessage(EXCHANGE, self._requests, self._service, data=data, attachment=piece)


class ServiceEnd:
    """The service's end of a connection. `max_bytes` go with a reply."""

    def __init__(self, max_bytes: int) -> None:
        self.held: deque[tuple[Any, int]] = deque()  # the requests to answer: their ids, and room for bytes
        self._max_bytes = max_bytes
        self._sent_bytes = 0
        self._max_held = MAX_HELD
        self._received = InOrder()

    @property
    def has_surplus(self) -> bool:
        """Tell whether a request is to be answered, though there is nothing to say, so that more can come."""
        return len(self.held) > self._max_held

    @property
    def is_over(self) -> bool:
        """Tell whether the client has ended the connection, and all that it said before has come."""
        return self._received.is_over

    @property
    def room_bytes(self) -> int:
        """Return how many bytes may go with the next reply, 0 where there is none to give."""
        return max((room for _, room in self.held), default=0)

    def take(self, message: SocketMessage) -> list[bytes | bytearray]:
        """Take a request; return the bytes whose turn it is. Raises ProtocolError."""
        if len(self.held) > MAX_UNDER_WAY:
            raise ProtocolError(ErrorCode.BUSY, "too many requests under way")
        found = self._received.take(message)
        data = message.data or {}
        room = integer_field(data, "room_bytes", self._max_bytes, 0, MAX_INTEGER)
        self._max_held = integer_field(data, "max_held", self._max_held, 1, MAX_HELD)
        self.held.append((message.id, min(room, self._max_bytes)))
        return found

    def answer(self, piece: bytes = b"", ends: bool = False) -> SocketMessage:
        """Return the reply to the oldest request that has room for `piece`; with `ends` it is the last."""
        at = next(at for at, (_, room) in enumerate(self.held) if room >= len(piece))
        id, _ = self.held[at]
        del self.held[at]
        data: dict[str, object] = {"at": self._sent_bytes}
        self._sent_bytes += len(piece)
        if ends:
            data["end"] = True
        return SocketMessage(MessageType.REPLY, id, None, "ok", data, piece or None)


def connection_of(message: SocketMessage) -> tuple[str, bool]:
    """Return which connection a request is of, and whether it begins it. Raises ProtocolError."""
    data = message.data or {}
    name = text_field(data, "connection", "")
    if not name:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "`connection` is the name of one")
    return name, data.get("begin") is True


def proven_of(message: SocketMessage) -> Proven:
    """Return what a hub says that a client has proven; one that says none has no keys, or is of before."""
    said = (message.data or {}).get("proven")
    if not isinstance(said, list) or len(said) != 2:
        return Proven()
    name, key = ("" if one is None else str(one) for one in said)
    return Proven(key, name)
