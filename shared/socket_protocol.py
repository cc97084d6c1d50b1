"""The SNYPER wire, version 1: one JSON object on one line.

Pure: no socket, no clock, no task. Bytes go in, messages and errors come out, and the other way round. The
same file runs on the boards and on computers. JSON: RFC 8259; whole numbers: RFC 7493, section 2.2.
"""

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

PROTOCOL_VERSION = 1
PORT = 8081

MAX_LINE_BYTES = 4096  # with its end; five connections' worth fits a Pico W's heap ten times over
MIN_LINE_BYTES = 1024  # the least a peer may announce: the longest `target` has 802 in ASCII
MAX_DEPTH = 8  # the message itself is level 1
MAX_ID_CHARS = 64
MAX_TARGET_ID_CHARS = 32
MAX_WORD_CHARS = 32  # `type` and `status`
MAX_GROUPS = 8  # of one target
MAX_INTEGER = (1 << 53) - 1  # what every JSON reader holds exactly

HEARTBEAT_MS = 600
MIN_HEARTBEAT_MS = 250
MAX_HEARTBEAT_MS = 60_000
DEAD_AFTER_BEATS = 3  # 1,800 ms by default: a vanished peer is known within 2 s

MIN_DURATION_MS = 100
MAX_DURATION_MS = 600_000
DEFAULT_DURATION_MS = 5_000
MIN_IDENTIFY_MS = 100
MAX_IDENTIFY_MS = 60_000
IDENTIFY_MS = 10_000  # time to look for the light
MAX_AHEAD_MS = 60_000  # how far in the future `at_us` may be
MAX_PLAYERS = 8  # of one game
MAX_PLAYER_CHARS = 24

ALL_TARGETS = "all"
GROUP_PREFIX = "group:"


class MessageType:
    """The types of messages: every `type` of version 1."""

    PING = "ping"
    PONG = "pong"
    STAND_UP = "stand_up"
    STANDING = "standing"
    LAY_DOWN = "lay_down"
    DOWN = "down"
    ACTIVATE = "activate"
    ACTIVATED = "activated"
    IDENTIFY = "identify"
    IDENTIFIED = "identified"
    READ_LOG = "read_log"
    LOG = "log"
    CONFIGURE = "configure"
    CONFIGURED = "configured"
    LISTEN = "listen"
    LISTENED = "listened"
    READ_TRACE = "read_trace"
    OFFER = "offer"
    CHUNK = "chunk"
    TRACE = "trace"
    REGISTER = "register"
    CHALLENGE = "challenge"
    REGISTERED = "registered"
    HIT = "hit"
    MISS = "miss"
    ACK = "ack"
    LIST_TARGETS = "list_targets"
    TARGET = "target"
    TARGETS = "targets"
    SUBSCRIBE = "subscribe"
    SUBSCRIBED = "subscribed"
    EVENT = "event"
    LIST_SERVICES = "list_services"
    LIST_GAMES = "list_games"
    GAME = "game"
    GAMES = "games"
    START_GAME = "start_game"
    GAME_STARTED = "game_started"
    STOP_GAME = "stop_game"
    GAME_STOPPED = "game_stopped"
    GET_GAME = "get_game"
    GAME_STATE = "game_state"
    CEASE_FIRE = "cease_fire"
    RELEASE = "release"
    GET_CEASE_FIRE = "get_cease_fire"
    RESULT = "result"
    ITEM = "item"
    REPLY = "reply"  # the one answer to a word that has none of its own
    ERROR = "error"


# One of many that come before the reply to a request, or after that to a `subscribe`. Nobody answers them.
# Words born later need none of their own: they are `item`.
STREAM_TYPES = frozenset(
    (MessageType.ITEM, MessageType.TARGET, MessageType.RESULT, MessageType.EVENT, MessageType.GAME)
)


class ErrorCode:
    """The codes of errors: every `data.code` of an `error`."""

    BAD_JSON = "bad_json"  # the line is no JSON text in UTF-8
    BAD_MESSAGE = "bad_message"  # JSON, but not a message of this wire
    UNKNOWN_TYPE = "unknown_type"
    LINE_TOO_LONG = "line_too_long"  # the connection is closed after it
    NOT_REGISTERED = "not_registered"
    UNAUTHORIZED = "unauthorized"
    DUPLICATE_TARGET = "duplicate_target"
    UNKNOWN_TARGET = "unknown_target"
    BUSY = "busy"  # nothing was done; ask again later
    EXPIRED = "expired"  # `at_us` was over when the command came
    UNSUPPORTED = "unsupported"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    SUPERSEDED = "superseded"  # begun, then given up for a command that goes first
    FAULT = "fault"  # the target's hardware failed
    INTERNAL = "internal"  # a defect or no memory on the answering side; its log says more
    CEASE_FIRE = "cease_fire"  # nothing is raised or armed; the message says by whom, since when and why


class ProtocolError(Exception):
    """An error between two peers, with one of `ErrorCode`.

    `id` is the id of the message it is about, where that could be read. `unknown_fate` is true where a
    command was sent and nobody can say whether it was carried out. `attachment` is the number of bytes that
    follow the line that it is about.
    """

    attachment: "Any" = None

    def __init__(
        self, code: str, message: str, id: "str | int | None" = None, unknown_fate: bool = False
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.id = id
        self.unknown_fate = unknown_fate

    def __str__(self) -> str:
        return self.code + ": " + self.message

    def to_message(self, id: "str | int | None" = None, target_id: "str | None" = None) -> "SocketMessage":
        """Make the `error` message that tells a peer of this."""
        return SocketMessage(
            MessageType.ERROR,
            self.id if id is None else id,
            target_id,
            "unknown" if self.unknown_fate else "error",
            {"code": self.code, "message": self.message},
        )


class SocketMessage:
    """One message. `type` is turned to lower case; every other field is kept as it is.

    Fields: `id` a string of 1 to 64 characters or an integer within ±(2^53 - 1); `target_id` 1 to 32 of
    `A-Z a-z 0-9 _ - .`, or `all`, or `group:NAME`; `status` one word of at most 32 of `a-z 0-9 _`;
    `data` a dict of JSON values, at most 7 deep in itself; `attachment` raw bytes that follow the line, whose
    number its field `bytes` says. None means that the field is left out.
    """

    __slots__ = ("attachment", "data", "id", "status", "target_id", "type")

    def __init__(
        self,
        message_type: str,
        id: "str | int | None" = None,
        target_id: "str | None" = None,
        status: "str | None" = None,
        data: "dict[str, object] | None" = None,
        attachment: "Any" = None,
    ) -> None:
        self.type = message_type.lower()
        self.id = id
        self.target_id = target_id
        self.status = status
        self.data = data
        self.attachment = attachment

    def reply(
        self, message_type: str, status: "str | None" = None, data: "dict[str, object] | None" = None
    ) -> "SocketMessage":
        """Make a message of `message_type` that carries this one's `id` and `target_id` back."""
        return SocketMessage(message_type, self.id, self.target_id, status, data)

    def to_line(self) -> bytes:
        """Encode the message as a line, with its `\\n` and the bytes that follow it.

        Raises ProtocolError: `bad_message` for a field that the wire does not take, `line_too_long` for
        more than MAX_LINE_BYTES.
        """
        fields = self._fields()
        _validate(fields)
        line = encode_json(fields)
        if len(line) >= MAX_LINE_BYTES:
            raise ProtocolError(
                ErrorCode.LINE_TOO_LONG, "a line has at most %d bytes" % MAX_LINE_BYTES, self.id
            )
        if self.attachment is None:
            return line + b"\n"
        whole: bytes = line + b"\n" + self.attachment
        return whole

    @staticmethod
    def from_line(line: "bytes | bytearray") -> "SocketMessage":
        """Decode the message in one line, given with or without its end. Where it says that bytes follow,
        `attachment` is what it says of their number.

        Raises ProtocolError: `bad_json` or `bad_message`; MemoryError.
        """
        line = bytes(line)
        text, fields = _decode(line)
        get = fields.get
        try:
            _validate(fields)
            _check_text(text, line, fields)
        except ProtocolError as error:
            error.id = _sendable_id(get("id"))
            error.attachment = get("bytes")
            raise
        return SocketMessage(
            fields["type"], get("id"), get("target_id"), get("status"), get("data"), get("bytes")
        )

    def _fields(self) -> "dict[str, object]":
        fields: "dict[str, object]" = {"type": self.type}
        if self.id is not None:
            fields["id"] = self.id
        if self.target_id is not None:
            fields["target_id"] = self.target_id
        if self.status is not None:
            fields["status"] = self.status
        if self.data is not None:
            fields["data"] = self.data
        if self.attachment is not None:
            fields["bytes"] = len(self.attachment)
        return fields

    def __eq__(self, other: object) -> bool:
        return (
            type(other) is SocketMessage
            and self._fields() == other._fields()
            and self.attachment == other.attachment
        )

    def __hash__(self) -> int:
        return hash((self.type, self.id))

    def __repr__(self) -> str:
        return "SocketMessage(%r)" % self._fields()


class MessageLineParser:
    """Cuts a stream into lines and lines into messages, with the bytes that follow some: at most
    `max_chunk_bytes`. Keeps at most one line and one message's bytes between calls.
    """

    # Here, and not in each parser: on a board every attribute that is set takes memory.
    missing = 0  # bytes that are still to come after the last line
    message: "SocketMessage | None" = None  # that they belong to; None where they are to be skipped
    buffer: "memoryview | None" = None  # where in it they belong: they may be put there before they are fed
    new_buffer: "Any" = bytearray  # makes room for so many
    follow: "Any" = (
        None  # takes them for a LinkCore, once a line has said that some follow: attachment_bytes'
    )
    from_line: "Any" = staticmethod(SocketMessage.from_line)  # reads a line

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES, max_chunk_bytes: int = 0) -> None:
        self._max_line_bytes = max_line_bytes
        self.max_chunk_bytes = max_chunk_bytes
        self._pieces: "list[bytes]" = []  # of the line that has begun; joined once, when it is whole
        self._begun_bytes = 0  # of the line that has begun, also where it is given up
        self._skipping = False
        self.overrun = False

    def feed(self, data: "bytes | bytearray | memoryview") -> "list[SocketMessage | ProtocolError]":
        """Feed the stream's next piece, and return what it completes, in order. Never raises for what a peer
        sent.

        After a line longer than the limit, or one that more bytes follow than the limit, comes one
        `line_too_long`; from then on `overrun` is true and everything that follows is thrown away, because
        nobody can tell where the next message begins. A line that there is no memory for is one `internal`,
        but where bytes may follow it: then it is `line_too_long`, too.
        """
        return [item for item in self.read(data) if item is not None]

    def read(
        self, data: "bytes | bytearray | memoryview"
    ) -> "Iterator[SocketMessage | ProtocolError | None]":
        """Feed the stream's next piece, and iterate over what it completes, with None for a line that says
        nothing: a piece full of rubbish costs no more memory than its worst line. To be taken to its end
        before the next piece is given.
        """
        while not self.overrun:
            message = None
            if self.missing:
                from snyper.shared.attachment_bytes import fill

                message, data = fill(self, data)
                if self.missing:
                    return
            try:
                data = bytes(data)
                lines = data.split(b"\n")
            except MemoryError:
                if message is not None:
                    yield message
                yield self._give_line_up(data)
                return
            if message is not None:
                yield message
            rest = lines.pop()
            at = 0
            for line in lines:
                at += len(line) + 1
                error = self._keep(line)
                item = None if self.overrun else self._finish()
                if error is not None:
                    yield error
                elif item is not None or not (self.missing or self.overrun):
                    yield item
                if self.missing or self.overrun:
                    break
            if self.missing:
                data = data[at:]
                continue
            if rest and not self.overrun:
                error = self._keep(rest)
                if error is not None:
                    yield error
            return

    def line_bytes(self, data: bytes) -> int:
        """Return the size of the line that `data` begins with, for `parse_line`; 0 where it is not whole, or
        too long.
        """
        size = data.find(b"\n") + 1
        return size if size <= self._max_line_bytes else 0

    def is_between_lines(self) -> bool:
        """Tell whether what comes next begins a line."""
        return not (self._begun_bytes or self.missing or self.overrun)

    def _keep(self, piece: bytes) -> "ProtocolError | None":
        """Keep a piece of the line that has begun. Returns what is wrong with it."""
        self._begun_bytes += len(piece)
        if self._begun_bytes >= self._max_line_bytes:
            self.overrun = True
            self._pieces = []
            return ProtocolError(
                ErrorCode.LINE_TOO_LONG, "a line has at most %d bytes" % self._max_line_bytes
            )
        try:
            if self._pieces and len(self._pieces[-1]) < _PIECE_BYTES:
                self._pieces[-1] += piece
            elif not self._skipping:
                self._pieces.append(piece)
            elif self._may_say_bytes(piece):
                return self._no_memory((piece,))
        except MemoryError:
            return self._give_line_up(piece)
        return None

    def _finish(self) -> "SocketMessage | ProtocolError | None":
        """Read the line that is now whole. None for an empty one, for one that was given up, and for one that
        bytes follow.
        """
        pieces = self._pieces
        skipped = self._skipping
        self._pieces = []
        self._begun_bytes = 0
        self._skipping = False
        if skipped:
            return None
        try:
            line = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        except MemoryError:
            return self._no_memory(pieces)
        return self.parse_line(line)

    def parse_line(self, line: bytes) -> "SocketMessage | ProtocolError | None":
        """Read one whole line; None for an empty one, and for one that bytes follow. Never raises for what a
        peer sent.
        """
        try:
            if not line or line.isspace():
                return None
            item: "SocketMessage | ProtocolError" = self.from_line(line)
        except ProtocolError as error:
            item = error
        except MemoryError:
            return self._no_memory((line,))
        if item.attachment is None:
            return item
        try:
            from snyper.shared.attachment_bytes import expect
        except MemoryError:
            return self._no_memory((line,))
        return expect(self, item, item.attachment)

    def _give_line_up(self, piece: "Any") -> ProtocolError:
        """Discard what follows up to the next end of a line, whose last piece so far is `piece`."""
        error = self._no_memory(self._pieces)
        if not self.overrun:
            error = self._no_memory((piece,))
        self._pieces = []
        self._skipping = True
        self._begun_bytes = self._begun_bytes or 1
        return error

    def _no_memory(self, pieces: "Iterable[bytes]") -> ProtocolError:
        """Return the error of a line for which there is no memory. Bytes that may follow it are no lines:
        then all that comes is thrown away.
        """
        for piece in pieces:
            if self._may_say_bytes(piece):
                self.overrun = True
                return ProtocolError(
                    ErrorCode.LINE_TOO_LONG, "no memory for this line, which bytes may follow"
                )
        return ProtocolError(ErrorCode.INTERNAL, "no memory for this line")

    def _may_say_bytes(self, piece: "Any") -> bool:
        return self.max_chunk_bytes > 0 and b'"bytes"' in piece


_PIECE_BYTES = 256  # of a line that comes in smaller pieces as many are put together at once
_FIELDS = ("type", "id", "target_id", "status", "data")
_WORD_CHARS = "abcdefghijklmnopqrstuvwxyz0123456789_"
# Not only what `lower` turns into the above: on CPython that takes the Kelvin sign too.
_ANY_CASE_CHARS = _WORD_CHARS + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TARGET_ID_CHARS = _ANY_CASE_CHARS + "-."


def is_target_id(value: object) -> bool:
    """Return whether `value` can name one target or one group."""
    return type(value) is str and 0 < len(value) <= MAX_TARGET_ID_CHARS and not value.strip(_TARGET_ID_CHARS)


def is_target_selector(value: object) -> bool:
    """Return whether `value` can stand in `target_id`: a name, `all` or `group:NAME`."""
    if type(value) is str and value.startswith(GROUP_PREFIX):
        return is_target_id(value[len(GROUP_PREFIX) :])
    return is_target_id(value)


def _is_id(value: object) -> bool:
    if type(value) is str:
        return 0 < len(value) <= MAX_ID_CHARS
    return type(value) is int and -MAX_INTEGER <= value <= MAX_INTEGER


def _sendable_id(value: "Any") -> "str | int | None":
    """Return `value` if an error can carry it back, else None. A line's text may not have been looked at
    yet.
    """
    try:
        if _is_id(value):
            encode_json({"id": value})
            return value  # type: ignore[no-any-return]
    except ProtocolError:
        pass
    return None


def _is_word(value: object, letters: str) -> bool:
    # `strip` at the speed of C; a set of letters would take 1 kB of a board.
    return type(value) is str and 0 < len(value) <= MAX_WORD_CHARS and not value.strip(letters)


def clip(text: str, max_bytes: int) -> str:
    """Clip `text` to a beginning that takes at most so many bytes as a string of a line, quotes included.
    It may take six for each character.
    """
    while len(encode_json({"": text})) > max_bytes + len('{"":}'):
        text = text[: len(text) * 3 // 4]
    return text


def text_field(data: "dict[str, object]", name: str, default: str) -> str:
    """Read the string `data[name]` of at most MAX_ID_CHARS. Raises ProtocolError `bad_message`."""
    value = data.get(name, default)
    if not isinstance(value, str) or len(value) > MAX_ID_CHARS:
        raise _bad("`%s` is a string of at most %d characters" % (name, MAX_ID_CHARS))
    return value


def integer_field(data: "dict[str, Any]", name: str, default: int, low: int, high: int) -> int:
    """Read the integer `data[name]`, or `default` where it is left out. Raises ProtocolError `bad_message`
    unless it is an integer from `low` to `high`.
    """
    value = data.get(name, default)
    if type(value) is not int or not low <= value <= high:
        raise _bad("`%s` is an integer from %d to %d" % (name, low, high))
    return value


def _bad(message: str) -> ProtocolError:
    return ProtocolError(ErrorCode.BAD_MESSAGE, message)


def _validate(fields: "dict[str, Any]") -> None:
    """Check that `fields` is a message of this wire. Runs for every line, both ways. Raises ProtocolError
    `bad_message`.
    """
    message_type: Any = fields.get("type")
    if not _is_word(message_type, _ANY_CASE_CHARS):
        raise _bad("`type` is a word of 1 to %d of a-z 0-9 _" % MAX_WORD_CHARS)
    checked = 1
    value = fields.get("id")
    if value is not None:
        if not _is_id(value):
            raise _bad("`id` is a string of 1 to %d characters or an integer" % MAX_ID_CHARS)
        checked += 1
    elif message_type.lower() != MessageType.ERROR:
        raise _bad("`id` is missing")
    value = fields.get("target_id")
    if value is not None:
        if not is_target_selector(value):
            raise _bad("`target_id` is 1 to %d of A-Z a-z 0-9 _ - ." % MAX_TARGET_ID_CHARS)
        checked += 1
    value = fields.get("status")
    if value is not None:
        if not _is_word(value, _WORD_CHARS):
            raise _bad("`status` is a word of 1 to %d of a-z 0-9 _" % MAX_WORD_CHARS)
        checked += 1
    value = fields.get("data")
    if value is not None:
        if type(value) is not dict:
            raise _bad("`data` is an object")
        _check_items(value.items(), 2)
        checked += 1
    if checked != len(fields):
        _check_items(fields.items(), 1)
        for name in _FIELDS:
            if name in fields and fields[name] is None:
                raise _bad("`%s` is null: leave it out" % name)


def _check_items(items: "Iterable[tuple[object, Any]]", depth: int) -> None:
    """Check the object or array at `depth` against JSON and the limits. Raises ProtocolError
    `bad_message`.
    """
    if depth > MAX_DEPTH:
        raise _bad("nesting is at most %d deep" % MAX_DEPTH)
    for key, value in items:
        kind = type(value)
        if type(key) is not str:
            raise _bad("a key is a string")
        if kind is int:
            if not -MAX_INTEGER <= value <= MAX_INTEGER:
                raise _bad("an integer is within 53 bits")
        elif kind is str or kind is bool or value is None:
            pass
        elif kind is dict:
            _check_items(value.items(), depth + 1)
        elif kind is list:
            _check_items([("", item) for item in value], depth + 1)
        elif kind is not float:
            raise _bad("%s is no JSON value" % kind.__name__)
        elif value - value != 0.0:  # nan and the infinities
            raise _bad("a number is finite")


_json: "Any" = json
if hasattr(json, "encoder"):
    # What CPython's own functions do around these at each call takes as long again: an encoder is built anew,
    # and spaces around a text are looked for with expressions.
    class _Json:
        def __init__(self, encoder: "Any") -> None:
            escape = encoder.encode_basestring
            self._encode = encoder.c_make_encoder(None, None, escape, None, ":", ",", False, False, True)
            self._decode = json.JSONDecoder().raw_decode

        def dumps(self, value: object, separators: "tuple[str, str]") -> str:
            return "".join(self._encode(value, 0))

        def loads(self, text: str) -> object:
            text = text.strip(" \t\r\n")
            value, end = self._decode(text)
            if end != len(text):
                raise ValueError("more than one value")
            return value

    _json = _Json(json.encoder)


def _has_duplicate_key(text: str, fields: "dict[str, Any]") -> bool:
    """Return whether a key stands twice in one object of `text`, of which a reader keeps only the last.

    Every key has its colon, and a colon can also be inside a string: so too many of them show it, without a
    look at each byte. One that is balanced by a colon written as an escape goes unnoticed.
    """
    colons = text.count(":")
    data = fields.get("data")
    if colons == len(fields) + (len(data) if type(data) is dict else 0):
        return False
    kept: int = _json.dumps(fields, separators=(",", ":")).count(":")
    return colons > kept


def _is_utf8(text: bytes) -> bool:
    from snyper.shared.utf8 import is_utf8  # many peers never say what is not ASCII

    return is_utf8(text)


def encode_json(value: object) -> bytes:
    """Encode a value as it stands in a line. It is not checked, but for text that is no UTF-8: for that
    raises ProtocolError `bad_message`.
    """
    try:
        text = _json.dumps(value, separators=(",", ":"))
        line = text.encode()
    except UnicodeError:
        line = b""
    if not line or (len(line) != len(text) and not _is_utf8(line)):
        raise _bad("a string holds a lone surrogate")
    return line  # type: ignore[no-any-return]


def _decode(line: bytes) -> "tuple[str, dict[str, Any]]":
    try:
        text = line.decode()
    except UnicodeError:
        text = ""
    if not text or (len(text) != len(line) and not _is_utf8(line)):
        raise ProtocolError(ErrorCode.BAD_JSON, "not UTF-8")
    try:
        fields = _json.loads(text)
    except (ValueError, RuntimeError):  # RuntimeError: nested too deep for the parser
        # A browser says for any web page what stands behind the head of its request.
        code = ErrorCode.UNSUPPORTED if " HTTP/1." in text else ErrorCode.BAD_JSON
        raise ProtocolError(code, "not JSON") from None
    if type(fields) is not dict:
        raise _bad("a message is an object")
    return text, fields


def _check_text(text: str, line: bytes, fields: "dict[str, Any]") -> None:
    """Check what only the text shows, once `fields` is known to be harmless. Raises ProtocolError
    `bad_message`.
    """
    if _has_duplicate_key(text, fields):
        raise _bad("a key stands twice in one object")
    if b"\\u" in line:
        encode_json(fields)  # only an escape can smuggle a surrogate in
