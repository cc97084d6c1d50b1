"""The core of a link: bytes and the time in; lines, replies and requests to serve out.

Pure: no socket, no clock, no task.

A driver subclasses LinkCore, with the methods `transmit`, `on_state` and `log`, and calls, in any order:

    core.set_heartbeat(...)                      what is due next is at `core.due_us`
    for request in core.receive_data(data, now_us):
        ...                                      each is one line; None is one that is dealt with already
    core.end("the peer closed the connection")   at the end of the stream
    if core.due_us and now_us >= core.due_us:
        core.check(now_us)
    core.start_request(...), core.send_nowait(...), core.close(...)

`Link` is the driver over a connection. A simulation needs no more than a queue of bytes for each direction
and a number for the time: two cores are a link when what the one transmits is what the other receives.
"""

from snyper.shared.socket_protocol import (
    DEAD_AFTER_BEATS,
    MAX_ID_CHARS,
    MAX_LINE_BYTES,
    MAX_WORD_CHARS,
    STREAM_TYPES,
    ErrorCode,
    MessageLineParser,
    MessageType,
    ProtocolError,
    SocketMessage,
    clip,
    encode_json,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    OnReply = Callable[[Any, "SocketMessage | ProtocolError"], None]

MAX_HANDLERS = 8  # requests of one peer under way at once
# Ids of requests that are no longer waited for: as many replies as a peer of this project can still owe.
_MAX_LATE_IDS = MAX_HANDLERS
ANY_FOR_ANOTHER = "*"  # in `handlers`: what serves every other message that has a `target_id`
# Of what a peer says went wrong: it is kept, and may become part of a line that has at least 1,024.
_MAX_REASON_BYTES = 256
LINGER_MS = 1_000  # after a fatal error the peer has this long to read it before the socket goes

LOG_EVERY_US = 1_000_000  # what a peer reports is in the log once in that time: it may never end
_AT_ONCE = 1  # as `due_us`

# A heartbeat is no command: in this form, which our own encoder gives it, it is told and answered as bytes.
_PING = b'{"type":"ping","id":'
_PING_BYTES = 20  # of this: on a board a builtin like `len` is looked for in a long list
_PING_LINE = b'{"type":"ping","id":%d}\n'
_PING_DATA_LINE = b'{"type":"ping","id":%d,"data":%s}\n'
_PONG_LINE = b'{"type":"pong","id":%s,"status":"alive"}\n'
_PLAIN_ID_CHARS = b"0123456789abcdef-ghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_."
_QUOTE = 0x22
_ZERO = 0x30
_MAX_PLAIN_DIGITS = 15  # fewer than MAX_INTEGER has


class State:
    """The states of a link."""

    NEW = "new"  # the peer has not registered
    OPEN = "open"
    LINGERING = "lingering"  # it has been told why it is not served, and has LINGER_MS to read it
    CLOSED = "closed"


class Trigger:
    """The triggers that change the state of a link."""

    ADMIT = "admit"
    REFUSE = "refuse"  # this side ends it, once the peer has read why
    END = "end"  # this side ends it at once, or the connection has ended


# What is not here changes nothing.
TRANSITIONS = {
    (State.NEW, Trigger.ADMIT): State.OPEN,
    (State.NEW, Trigger.REFUSE): State.LINGERING,
    (State.NEW, Trigger.END): State.CLOSED,
    (State.OPEN, Trigger.REFUSE): State.LINGERING,
    (State.OPEN, Trigger.END): State.CLOSED,
    (State.LINGERING, Trigger.END): State.CLOSED,
}


class CloseReason:
    """The reasons for which a link has ended, a word each."""

    SILENT = "silent"  # nothing came for DEAD_AFTER_BEATS heartbeats
    CLOSED = "closed"  # the peer hung up
    BROKEN = "broken"  # the network says so
    REFUSED = "refused"  # for what the peer says, or does not read
    FAULT = "fault"  # of this side: a defect, or no memory
    STOPPING = "stopping"  # this side ends in an orderly way


class LinkCore:
    """One end of a link.

    `handlers` has the types that this side serves; what serves them is the driver's. `admit` is for the side
    that listens: until `open` is called, it gets the link and every request instead. `health` returns the
    `data` of every `pong`, encoded; `on_health` gets each `ping` of the peer and each answer to
    this side's own heartbeat that has `data`, `on_stream` each item of a stream in order, `on_close` the end
    of the link as soon as it is known. All may be replaced at any time.

    `due_us` is when `check` is to be called next; 0 for never. While `writable` is false, which the driver
    sets, nobody is pinged.
    """

    # Here, and not in each link: on a board every attribute that is set takes memory.
    health: "Callable[[], bytes] | None" = None
    on_health: "Callable[[SocketMessage], None] | None" = None
    on_stream: "Callable[[SocketMessage], None] | None" = None
    on_close: "Callable[[Any, ProtocolError], None] | None" = None
    peer_max_line_bytes = MAX_LINE_BYTES
    peer_max_chunk_bytes = 0  # that may follow a line
    max_chunk_bytes = 0  # that this side takes
    round_trip_us: "int | None" = None
    close_error: "ProtocolError | None" = None
    close_reason = ""  # of CloseReason, once `close_error` is set
    due_us = 0
    writable = True
    under_way = 0  # requests that the driver serves now
    lines = 0  # that have come, for whoever sets it back to know how many since
    _last_word: "ProtocolError | None" = None
    _logged_us = -LOG_EVERY_US
    _next_id = 0
    _late_ids: "list[str | int] | None" = None
    _heartbeat_ms = 0
    _ping_after_ms = 0
    _ping_id: "int | None" = None  # of the last heartbeat, while it is to be answered
    _pinged_us = 0
    _pong = b""  # the answer to that, where it says nothing else
    # What a driver has. `transmit` sends a line, or raises ProtocolError: `busy`, `disconnected`. `on_state`
    # is called when `state` has changed. `log` writes what a person may want to read.
    transmit: "Callable[[bytes], None]"
    on_state: "Callable[[], None]"
    log: "Callable[[str], None]"

    def __init__(
        self,
        handlers: "dict[str, Any]",
        name: str,
        now_us: int,
        admit: "Callable[[Any, SocketMessage], None] | None" = None,
    ) -> None:
        self.handlers = handlers
        self.name = name
        self.state = State.OPEN if admit is None else State.NEW
        self.admit = admit
        self.received_us = now_us  # when the last bytes came, or the peer took what had waited for it
        self._parser = MessageLineParser(max_chunk_bytes=self.max_chunk_bytes)
        self._pending: "dict[str | int, tuple[OnReply, object]]" = {}

    def receive_data(self, data: "Any", now_us: int) -> "Iterator[SocketMessage | None] | tuple[()]":
        """Take the next bytes of the stream, or a view of the parser's `buffer` that has them; iterate over
        what they hold, line by line: a request to serve, or None where the line is dealt with. Nothing more
        is done while nobody iterates, and all has to be taken before the next bytes are given.

        Raises ProtocolError, here and while iterating, when an answer cannot be sent.
        """
        self.received_us = now_us
        parser = self._parser
        if parser.missing:
            return parser.follow(self, data, 0)  # type: ignore[no-any-return]
        if not parser.is_between_lines():
            return self._take_each(data)
        if self.state == State.OPEN:
            # A heartbeat that says no more than that it is one.
            if data.startswith(_PING):
                id = _plain_id(data)
                if id:
                    self._last_word = None
                    self.lines += 1
                    self._answer_ping(id)
                    return ()
            elif data == self._pong:
                self._last_word = None
                self.lines += 1
                self._on_pong()
                return ()
        size = parser.line_bytes(data)
        if size != len(data):
            if size and parser.follow is not None:
                return parser.follow(self, data, size)  # type: ignore[no-any-return]
            return self._take_each(data)
        if self.close_error is None:
            item = parser.parse_line(data)
            if item is not None or not parser.missing:
                request = self._take(item)
                if request is not None:
                    return iter((request,))
        return ()

    def check(self, now_us: int) -> None:
        """Do what is due at `due_us`: ping a silent peer, give up a dead one or one that lingers.

        Raises ProtocolError when the ping cannot be sent.
        """
        if self.state == State.LINGERING:
            if self.due_us == _AT_ONCE:
                self.due_us = now_us + LINGER_MS * 1000
            else:
                self._enter(Trigger.END, "it had %d ms to hang up" % LINGER_MS)
        if self.state != State.OPEN and self.state != State.NEW:
            return
        # Time in which this process did not run (a flash write, a suspended laptop) is not the peer's.
        overslept_us = now_us - self.due_us
        if overslept_us > self._heartbeat_ms * 1000:
            self.received_us += overslept_us
        silence_ms = (now_us - self.received_us) // 1000
        dead_after_ms = DEAD_AFTER_BEATS * self._heartbeat_ms
        if silence_ms >= dead_after_ms:
            error = ProtocolError(ErrorCode.TIMEOUT, "silent for %d ms" % silence_ms)
            self.close(error, reason=CloseReason.SILENT)
            return
        if silence_ms < self._ping_after_ms:
            wait_ms = min(self._ping_after_ms, dead_after_ms) - silence_ms
        else:
            if self.writable:
                self._ping_id = id = self.new_id()
                self._pong = _PONG_LINE % (b"%d" % id)
                self._pinged_us = now_us
                self.send_line_nowait(ping_line(id))
            wait_ms = min(self._heartbeat_ms, dead_after_ms - silence_ms)
        self.due_us = now_us + wait_ms * 1000

    def set_heartbeat(self, heartbeat_ms: int, ping_after_ms: int, now_us: int) -> None:
        """Give the peer up as dead, from now on, after DEAD_AFTER_BEATS x `heartbeat_ms` of silence, and ask
        it with a PING after `ping_after_ms` of it.
        """
        self._heartbeat_ms = heartbeat_ms
        self._ping_after_ms = ping_after_ms
        self.received_us = now_us
        if self.close_error is None:
            self.due_us = now_us + min(ping_after_ms, DEAD_AFTER_BEATS * heartbeat_ms) * 1000

    def open(self, handlers: "dict[str, Any]", name: str) -> None:
        """Admit the peer: from now on `handlers` serve it, and the log calls it `name`."""
        self.handlers = handlers
        self.admit = None
        self._enter(Trigger.ADMIT, "as " + name)
        self.name = name

    def new_id(self) -> int:
        """Return an id that no request under way on this side has."""
        self._next_id += 1
        while self._next_id in self._pending:
            self._next_id += 1
        return self._next_id

    def send_nowait(self, message: SocketMessage) -> None:
        """Send `message` at once.

        Raises ProtocolError: `bad_message` or `line_too_long` for what the wire or the peer does not take,
        `busy` when the peer reads too slowly, `disconnected`.
        """
        self.send_line_nowait(message.to_line())

    def send_line_nowait(self, line: bytes) -> None:
        """Send an encoded line at once, with the bytes that follow it: one line for many links is encoded
        once.

        Raises ProtocolError: `line_too_long` for more than the peer takes, `busy` when it reads too slowly,
        `disconnected`.
        """
        if self.close_error is not None:
            raise ProtocolError(ErrorCode.DISCONNECTED, "the link is closed")
        line_bytes = line.find(b"\n") + 1
        if line_bytes > self.peer_max_line_bytes or len(line) - line_bytes > self.peer_max_chunk_bytes:
            limits = (self.peer_max_line_bytes, self.peer_max_chunk_bytes)
            raise ProtocolError(ErrorCode.LINE_TOO_LONG, "the peer takes lines of %d bytes, then %d" % limits)
        self.transmit(line)

    def start_request(self, id: "str | int", line: bytes, on_reply: "OnReply", token: object) -> None:
        """Send a request and return. `on_reply(token, reply)` is called once, with a SocketMessage or, when
        the link ends first, a ProtocolError; never after `cancel_request(id)`.

        Raises ProtocolError: `line_too_long` for more than the peer takes, `busy` when it reads too slowly or
        when a request with this id is under way, `disconnected`.
        """
        if id in self._pending:
            raise ProtocolError(ErrorCode.BUSY, "a request with this id is under way", id)
        self.send_line_nowait(line)
        self._pending[id] = (on_reply, token)
        if id == self._ping_id:
            self._end_ping()  # what comes is the reply to this

    def cancel_request(self, id: "str | int") -> None:
        """Stop waiting for the reply to `id`; one that still comes is dropped."""
        if self._pending.pop(id, None) is not None:
            # Not in place: an empty list is one more thing that each link of a board would keep.
            self._late_ids = ((self._late_ids or []) + [id])[-_MAX_LATE_IDS:]

    def end(self, error: "ProtocolError | None" = None, reason: str = CloseReason.CLOSED) -> None:
        """Take the end of the connection: the peer's own, or what broke it."""
        if self.close_error is not None:
            self._enter(Trigger.END, "the connection has ended")
        else:
            hung_up = ProtocolError(ErrorCode.DISCONNECTED, "the peer closed the connection")
            self.close(error or self._last_word or hung_up, reason=reason)

    def close(
        self,
        error: ProtocolError,
        linger: bool = False,
        quiet: bool = False,
        reason: str = CloseReason.REFUSED,
    ) -> None:
        """End the link for `error`. Only the first call counts. `quiet` leaves the log out.

        With `linger` the peer gets up to LINGER_MS to hang up first: a socket that is closed with unread
        bytes in it takes back what was sent last, which here says why.
        """
        if self.close_error is not None:
            return
        self.close_error = error
        self.close_reason = reason
        self._enter(Trigger.REFUSE if linger else Trigger.END, "" if quiet else str(error))
        pending = self._pending
        self._pending = {}
        for id in pending:
            on_reply, token = pending[id]
            on_reply(
                token, ProtocolError(ErrorCode.DISCONNECTED, "the link ended before the answer", id, True)
            )
        if self.on_close is not None:
            self.on_close(self, error)

    # --- states

    def _enter(self, trigger: str, why: str) -> None:
        """Change the state, as nothing else does, and have it logged."""
        state = TRANSITIONS.get((self.state, trigger))
        if state is not None:
            self.state = state
            if state != State.OPEN:
                self.due_us = _AT_ONCE if state == State.LINGERING else 0
            if why:
                self.log(state + ": " + why)
            self.on_state()

    # --- what comes

    def _take_each(self, data: bytes) -> "Iterator[SocketMessage | None]":
        for item in self._parser.read(data):
            if self.close_error is not None:
                return
            yield self._take(item)

    def _take(self, item: "SocketMessage | ProtocolError | None") -> "SocketMessage | None":
        """Deal with one line. Returns the request that it is, if the driver is to serve it."""
        self.lines += 1
        if item is None:
            return None
        if isinstance(item, ProtocolError):
            self._refuse(item)
            return None
        message_type = item.type
        self._last_word = None
        if message_type in STREAM_TYPES and self.admit is None:  # which nobody answers
            if self.on_stream is not None:
                self.on_stream(item)
            return None
        id = item.id
        if id is not None and id in self._pending and self._may_be_reply(item):
            on_reply, token = self._pending.pop(id)
            on_reply(token, item)
        elif message_type == MessageType.ERROR:
            error = error_of(item)
            if id is None:
                self._last_word = error  # why it hangs up, if it does so now
            if self.received_us - self._logged_us >= LOG_EVERY_US:
                self._logged_us = self.received_us
                self.log("the peer reports %s" % error)
        elif message_type == MessageType.PONG:  # of nobody who waits, but for the heartbeat
            if id == self._ping_id:
                self._on_pong()
            self._notify_health(item)
        elif self._is_late(item):
            return None
        elif self.admit is not None:
            self.admit(self, item)
        elif message_type == MessageType.PING and item.target_id is None:
            assert id is not None
            self._answer_ping(encode_json(id))
            self._notify_health(item)
        elif self.handler_of(item) is None:
            self._refuse(ProtocolError(ErrorCode.UNKNOWN_TYPE, "nobody here answers `%s`" % message_type, id))
        elif self.under_way >= MAX_HANDLERS + (message_type == MessageType.CEASE_FIRE):
            self._refuse(ProtocolError(ErrorCode.BUSY, "too many requests under way", id))
        else:
            return item
        return None

    def handler_of(self, message: SocketMessage) -> "Any":
        """Return what serves `message` here; None where nothing does."""
        return self.handlers.get(message.type) or (
            None if message.target_id is None else self.handlers.get(ANY_FOR_ANOTHER)
        )

    def _may_be_reply(self, message: SocketMessage) -> bool:
        """Tell whether a message with an id that is waited for is that reply: what this side serves itself is
        a request of a peer that uses the same id, and an item of a stream has its reply still to come. A
        `target_id` makes no difference: whoever answers may say its name.
        """
        return not (
            self.handlers.get(message.type)
            or message.type in STREAM_TYPES
            or message.type == MessageType.PING
        )

    def _is_late(self, message: SocketMessage) -> bool:
        """Tell whether `message` is a reply that nobody waits for any more: no request of an unknown type."""
        if message.type == MessageType.REPLY:
            return True
        if not self._late_ids or message.id not in self._late_ids or not self._may_be_reply(message):
            return False
        self._late_ids.remove(message.id)
        return True

    def _refuse(self, error: ProtocolError) -> None:
        self.send_nowait(error.to_message())
        if error.code == ErrorCode.LINE_TOO_LONG or error.code == ErrorCode.UNSUPPORTED:
            self.close(error, linger=True)

    def _answer_ping(self, id: bytes) -> None:
        # Straight to the driver: it is shorter than what any peer has to take.
        health = self.health
        if health is None:
            pong = _PONG_LINE % id
        else:  # on a board joined in half the time of `%`
            pong = b"".join((b'{"type":"pong","id":', id, b',"status":"alive","data":', health(), b"}\n"))
        self.transmit(pong)

    def _on_pong(self) -> None:
        self.round_trip_us = self.received_us - self._pinged_us
        self._end_ping()

    def _end_ping(self) -> None:
        self._ping_id = None
        self._pong = b""

    def _notify_health(self, message: SocketMessage) -> None:
        if self.on_health is not None and message.data:
            self.on_health(message)


def ping_line(id: int, health: bytes = b"") -> bytes:
    """Encode a PING to the peer itself, which says the encoded `health`, or nothing."""
    return _PING_DATA_LINE % (id, health) if health else _PING_LINE % id


def _plain_id(line: bytes) -> bytes:
    """Return the id of a PING as it stands in its `line`, which begins with _PING; nothing where what came is
    no such line, says more than that, or may not be valid.
    """
    id = line[_PING_BYTES:-2]
    size = len(id)
    if not line.endswith(b"}\n") or not size:
        return b""
    if id[0] == _QUOTE:
        is_plain = 2 < size <= MAX_ID_CHARS + 2 and id[-1] == _QUOTE and not id[1:-1].strip(_PLAIN_ID_CHARS)
    else:
        is_plain = id.isdigit() and size <= _MAX_PLAIN_DIGITS and (id[0] != _ZERO or size == 1)
    return id if is_plain else b""


def error_of(message: SocketMessage) -> ProtocolError:
    """Return what an `error` message reports."""
    data = message.data or {}
    return ProtocolError(
        str(data.get("code", ErrorCode.INTERNAL))[:MAX_WORD_CHARS],
        clip(str(data.get("message", ""))[:_MAX_REASON_BYTES], _MAX_REASON_BYTES),
        message.id,
        message.status == "unknown",
    )
