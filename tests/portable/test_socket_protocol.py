"""The wire's core: messages to lines, lines to messages, and the parser that cuts a stream."""

from snyper.shared.socket_protocol import (
    MAX_INTEGER,
    MAX_LINE_BYTES,
    ErrorCode,
    MessageLineParser,
    ProtocolError,
    SocketMessage,
    is_target_id,
)
from tests.portable.support import equal, fields_of, raises, verdicts

_STREAM = (
    b'{"type":"ping","id":1}\n'
    b"\r\n"
    b'{"type":"PONG","id":"a\xc3\xa9","status":"alive","data":{"x":[1,"  \xf0\x9f\x8e\xaf"]}}\r\n'
    b"nonsense\n"
    b"\n  \n"
    b'{"type":"hit"}\n'
    b'{"type":"miss","id":-3,"target_id":"t_1","later":true}\n'
)
_STREAM_VERDICTS = [
    {"type": "ping", "id": 1},
    {"type": "pong", "id": "a\u00e9", "status": "alive", "data": {"x": [1, "  \U0001f3af"]}},
    ErrorCode.BAD_JSON,
    ErrorCode.BAD_MESSAGE,
    {"type": "miss", "id": -3, "target_id": "t_1"},
]


def _line_of(length: int) -> bytes:
    """A valid line of `length` bytes with its end."""
    start = b'{"type":"ping","id":1,"data":{"x":"'
    return start + b"x" * (length - len(start) - 4) + b'"}}\n'


def _refused(data: "dict[object, object]") -> ProtocolError:
    return raises(ErrorCode.BAD_MESSAGE, SocketMessage("ping", 1, data=data).to_line)  # type: ignore[arg-type]


# --- messages to lines and back


def test_every_field_goes_there_and_back() -> None:
    message = SocketMessage(
        "hit", "e-1", "t_1", "ok", {"peak": 3, "list": [1, None, True, "\u00e9"], "o": {}}
    )
    line = message.to_line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    again = SocketMessage.from_line(line)
    assert again == message
    assert equal(fields_of(again), fields_of(message))
    assert SocketMessage.from_line(bytearray(line)) == message
    assert SocketMessage.from_line(line[:-1]) == message


def test_fields_left_out_stay_out() -> None:
    line = SocketMessage("ping", 1).to_line()
    assert b"null" not in line
    message = SocketMessage.from_line(line)
    assert fields_of(message) == {"type": "ping", "id": 1}
    assert message.data is None


def test_text_is_sent_raw_and_in_one_line() -> None:
    line = SocketMessage("ping", 1, data={"x": "\u00e9\n\U0001f3af"}).to_line()
    assert "\u00e9".encode() in line
    assert "\U0001f3af".encode() in line
    assert line.count(b"\n") == 1


def test_type_is_lower_case_and_nothing_else_is() -> None:
    message = SocketMessage.from_line(
        b'{"type":"StAnD_uP","id":"Id","target_id":"T_1","data":{"Key":"Value"}}'
    )
    assert message.type == "stand_up"
    assert message.id == "Id"
    assert message.target_id == "T_1"
    assert message.data == {"Key": "Value"}
    assert SocketMessage("PING", 1).type == "ping"


def test_ids_are_echoed_unchanged() -> None:
    for id in (0, 1, -1, MAX_INTEGER, -MAX_INTEGER, "1", "a" * 64, "\u00e9", " ", "\U0001f3af" * 64, "\n"):
        line = SocketMessage("ping", id).to_line()
        reply = SocketMessage.from_line(line).reply("pong", "alive")
        again = SocketMessage.from_line(reply.to_line())
        assert equal(again.id, id)


def test_reply_carries_id_and_target() -> None:
    reply = SocketMessage("stand_up", "c-1", "t_1", data={"x": 1}).reply("STANDING", "standing", {"y": 2})
    assert reply == SocketMessage("standing", "c-1", "t_1", "standing", {"y": 2})
    assert SocketMessage("ping", 5).reply("pong") == SocketMessage("pong", 5)


def test_equality_is_by_every_field() -> None:
    message = SocketMessage("hit", 1, "t", "ok", {"x": 1})
    assert message == SocketMessage("hit", 1, "t", "ok", {"x": 1})
    for other in (
        SocketMessage("miss", 1, "t", "ok", {"x": 1}),
        SocketMessage("hit", 2, "t", "ok", {"x": 1}),
        SocketMessage("hit", 1, "u", "ok", {"x": 1}),
        SocketMessage("hit", 1, "t", "no", {"x": 1}),
        SocketMessage("hit", 1, "t", "ok", {"x": 2}),
        SocketMessage("hit", 1, "t", "ok"),
    ):
        assert message != other
    assert message != "hit"
    assert len({message, SocketMessage("hit", 1, "t", "ok", {"x": 1})}) == 1


def test_unknown_fields_are_ignored() -> None:
    message = SocketMessage.from_line(b'{"later":[1,{"a":2}],"byte":7,"type":"ping","id":1,"":null}')
    assert fields_of(message) == {"type": "ping", "id": 1}


# --- what may not be sent


def test_to_line_refuses_numbers_that_json_lacks() -> None:
    infinity = float("inf")
    for value in (float("nan"), infinity, -infinity, MAX_INTEGER + 1, -MAX_INTEGER - 1, 10**30):
        _refused({"x": value})
        _refused({"x": [value]})
        _refused({"x": {"y": value}})


def test_to_line_takes_the_numbers_at_the_limit() -> None:
    for value in (MAX_INTEGER, -MAX_INTEGER, 0, 1.5, -0.25):
        line = SocketMessage("ping", 1, data={"x": value}).to_line()
        assert equal(SocketMessage.from_line(line).data, {"x": value})


def test_to_line_refuses_what_json_lacks() -> None:
    for value in (b"bytes", bytearray(b"x"), (1, 2), {1}, object(), SocketMessage):
        _refused({"x": value})
        _refused({"x": [value]})


def test_to_line_refuses_keys_that_are_no_strings() -> None:
    for key in (1, None, True, b"x", 1.5):
        _refused({key: 1})
        _refused({"x": {key: 1}})
        _refused({"x": [{key: 1}]})


def test_to_line_refuses_deep_nesting() -> None:
    value: "list[object]" = []
    for _ in range(5):
        value = [value]
    SocketMessage("ping", 1, data={"x": value}).to_line()
    _refused({"x": [value]})
    loop: "list[object]" = []
    loop.append(loop)
    _refused({"x": loop})


def test_to_line_refuses_a_lone_surrogate() -> None:
    surrogate = b"\xed\xa0\x80".decode("utf-8", "surrogatepass")
    _refused({"x": surrogate})
    _refused({surrogate: 1})
    raises(ErrorCode.BAD_MESSAGE, SocketMessage("ping", surrogate).to_line)


def test_to_line_refuses_each_bad_field() -> None:
    for message in (
        SocketMessage("", 1),
        SocketMessage("stand up", 1),
        SocketMessage("t" * 33, 1),
        SocketMessage("ping"),
        SocketMessage("ping", ""),
        SocketMessage("ping", "i" * 65),
        SocketMessage("ping", MAX_INTEGER + 1),
        SocketMessage("ping", -MAX_INTEGER - 1),
        SocketMessage("ping", True),
        SocketMessage("ping", 1.0),  # type: ignore[arg-type]
        SocketMessage("ping", b"x"),  # type: ignore[arg-type]
        SocketMessage("ping", 1, ""),
        SocketMessage("ping", 1, "t" * 33),
        SocketMessage("ping", 1, "a b"),
        SocketMessage("ping", 1, "group:"),
        SocketMessage("ping", 1, "group:a:b"),
        SocketMessage("ping", 1, 5),  # type: ignore[arg-type]
        SocketMessage("ping", 1, None, ""),
        SocketMessage("ping", 1, None, "Alive"),
        SocketMessage("ping", 1, None, "s" * 33),
        SocketMessage("ping", 1, None, 5),  # type: ignore[arg-type]
        SocketMessage("ping", 1, data=[]),  # type: ignore[arg-type]
        SocketMessage("ping", 1, data="x"),  # type: ignore[arg-type]
    ):
        raises(ErrorCode.BAD_MESSAGE, message.to_line)


def test_to_line_takes_exactly_the_longest_line() -> None:
    start = len(SocketMessage("ping", 1, data={"x": ""}).to_line())
    longest = SocketMessage("ping", 1, data={"x": "x" * (MAX_LINE_BYTES - start)})
    assert len(longest.to_line()) == MAX_LINE_BYTES
    longer = SocketMessage("ping", 12, data={"x": "x" * (MAX_LINE_BYTES - start)})
    error = raises(ErrorCode.LINE_TOO_LONG, longer.to_line)
    assert error.id == 12
    # Bytes count, not characters.
    wide = SocketMessage("ping", 1, data={"x": "\u00e9" * (MAX_LINE_BYTES // 2)})
    raises(ErrorCode.LINE_TOO_LONG, wide.to_line)


def test_what_may_name_a_target() -> None:
    for name in ("a", "A-Z_a.z-09", "all", "t" * 32):
        assert is_target_id(name)
    for value in ("", "t" * 33, "a b", "group:a", "\u00e9", 5, None, b"a", ["a"]):
        assert not is_target_id(value)


# --- errors


def test_an_error_says_what_and_of_which_message() -> None:
    error = ProtocolError(ErrorCode.BUSY, "later", 7)
    assert error.to_message() == SocketMessage(
        "error", 7, None, "error", {"code": "busy", "message": "later"}
    )
    assert error.to_message("x", "t_1").id == "x"
    assert error.to_message("x", "t_1").target_id == "t_1"
    assert str(error) == "busy: later"
    unknown = ProtocolError(ErrorCode.TIMEOUT, "no answer", unknown_fate=True).to_message()
    assert unknown.status == "unknown"
    assert unknown.to_line()


def test_an_error_carries_the_id_where_it_could_be_read() -> None:
    for line, id in (
        (b'{"type":"ping","id":"x","data":[]}', "x"),
        (b'{"type":5,"id":-2}', -2),
        (b'{"id":9}', 9),
        (b'{"type":"ping","id":7,"target_id":"a b"}', 7),
        (b'{"type":"ping","id":0,"status":"A"}', 0),
        (b'{"type":"ping","id":[1]}', None),
        (b'{"type":"ping","id":""}', None),
        (b'{"type":"ping","id":9007199254740992}', None),
        (b'{"type":"ping"}', None),
        (b"[]", None),
        (b"7", None),
        (b'{"id":7', None),
    ):
        error = MessageLineParser().feed(line + b"\n")[0]
        assert isinstance(error, ProtocolError), line
        assert equal(error.id, id), line


# --- the parser


def test_a_stream_in_one_piece() -> None:
    assert equal(verdicts(MessageLineParser().feed(_STREAM)), _STREAM_VERDICTS)


def test_a_stream_byte_by_byte() -> None:
    parser = MessageLineParser()
    found = []
    for at in range(len(_STREAM)):
        found += verdicts(parser.feed(_STREAM[at : at + 1]))
    assert equal(found, _STREAM_VERDICTS)


def test_a_stream_cut_at_every_point() -> None:
    for at in range(len(_STREAM) + 1):
        parser = MessageLineParser()
        found = verdicts(parser.feed(_STREAM[:at]))
        found += verdicts(parser.feed(b""))
        found += verdicts(parser.feed(_STREAM[at:]))
        assert equal(found, _STREAM_VERDICTS), at


def test_a_line_comes_with_its_end_and_no_sooner() -> None:
    parser = MessageLineParser()
    assert parser.feed(b'{"type":"ping","id":1}') == []
    assert parser.feed(b"\r") == []
    assert parser.feed(b"\n") == [SocketMessage("ping", 1)]
    assert parser.feed(b"\n") == []


def test_what_was_fed_may_be_overwritten() -> None:
    buffer = bytearray(b'{"type":"ping","id":1}\n{"type":"p')
    parser = MessageLineParser()
    found = parser.feed(memoryview(buffer))
    for at in range(len(buffer)):
        buffer[at] = 0
    found += parser.feed(bytearray(b'ing","id":2}\n'))
    assert found == [SocketMessage("ping", 1), SocketMessage("ping", 2)]


def test_empty_lines_say_nothing() -> None:
    parser = MessageLineParser()
    assert parser.feed(b"\n\r\n \t \n\n") == []
    assert not parser.overrun


def test_the_longest_line_is_taken() -> None:
    line = _line_of(MAX_LINE_BYTES)
    assert len(line) == MAX_LINE_BYTES
    for cut in (0, 1, 2000, MAX_LINE_BYTES - 1):
        parser = MessageLineParser()
        found = parser.feed(line[:cut]) + parser.feed(line[cut:])
        assert len(found) == 1
        assert isinstance(found[0], SocketMessage)
        assert not parser.overrun


def test_a_carriage_return_counts() -> None:
    line = _line_of(MAX_LINE_BYTES - 1)[:-1]
    assert isinstance(MessageLineParser().feed(line + b"\r\n")[0], SocketMessage)
    assert verdicts(MessageLineParser().feed(line + b" \r\n")) == [ErrorCode.LINE_TOO_LONG]


def test_one_byte_more_is_one_error_and_then_silence() -> None:
    line = _line_of(MAX_LINE_BYTES + 1)
    for cut in (0, 1, 2000, MAX_LINE_BYTES - 1, MAX_LINE_BYTES, MAX_LINE_BYTES + 1):
        parser = MessageLineParser()
        found = verdicts(parser.feed(line[:cut])) + verdicts(parser.feed(line[cut:]))
        assert found == [ErrorCode.LINE_TOO_LONG], cut
        assert parser.overrun
        assert parser.feed(b'\n{"type":"ping","id":1}\n') == []


def test_a_line_without_end_is_refused_as_soon_as_it_is_too_long() -> None:
    parser = MessageLineParser()
    assert parser.feed(b"x" * (MAX_LINE_BYTES - 1)) == []
    assert verdicts(parser.feed(b"x")) == [ErrorCode.LINE_TOO_LONG]


def test_what_stands_before_an_over_long_line_is_found() -> None:
    parser = MessageLineParser()
    found = parser.feed(
        b'{"type":"ping","id":1}\n' + _line_of(MAX_LINE_BYTES + 1) + b'{"type":"ping","id":2}\n'
    )
    assert verdicts(found) == [{"type": "ping", "id": 1}, ErrorCode.LINE_TOO_LONG]


def test_the_limit_can_be_another() -> None:
    line = b'{"type":"ping","id":1}\n'
    assert len(MessageLineParser(len(line)).feed(line)) == 1
    assert verdicts(MessageLineParser(len(line)).feed(line)) == [{"type": "ping", "id": 1}]
    assert verdicts(MessageLineParser(len(line) - 1).feed(line)) == [ErrorCode.LINE_TOO_LONG]


# --- bytes that follow a line

_BYTES = b'\x00\n{"type":"ping","id":9}\n\xff'


def _with_bytes(id: int, attachment: bytes) -> bytes:
    return SocketMessage("chunk", id, attachment=attachment).to_line()


def _taken(items: "list[SocketMessage | ProtocolError]") -> "list[object]":
    return [
        item.code
        if isinstance(item, ProtocolError)
        else (item.id, item.attachment and bytes(item.attachment))
        for item in items
    ]


_STREAM_WITH_BYTES = (
    _with_bytes(1, _BYTES)
    + b'{"type":"ping","id":2}\n'
    + _with_bytes(3, b"")
    + b'{"type":5,"id":4,"bytes":7}\nx\n"bad"'
    + _with_bytes(5, b"\n" * 32)
    + b'{"type":"ping","id":6,"bytes":-1}\n'
    + b'{"type":"ping","id":7,"bytes":"8"}\n'
    + _with_bytes(8, b"8")
)
_STREAM_WITH_BYTES_TAKEN = [
    (1, _BYTES),
    (2, None),
    (3, b""),
    ErrorCode.BAD_MESSAGE,
    (5, b"\n" * 32),
    ErrorCode.BAD_MESSAGE,
    ErrorCode.BAD_MESSAGE,
    (8, b"8"),
]


def test_bytes_follow_their_line() -> None:
    message = SocketMessage("chunk", 1, attachment=_BYTES)
    line = message.to_line()
    assert line.endswith(b"\n" + _BYTES)
    assert b'"bytes":%d' % len(_BYTES) in line
    parser = MessageLineParser(max_chunk_bytes=len(_BYTES))
    assert parser.feed(line) == [message]
    assert parser.feed(line[:-1]) == []
    assert parser.feed(line[-1:]) == [message]
    assert SocketMessage("chunk", 1, attachment=b"other") != message


def test_a_stream_with_bytes_cut_at_every_point() -> None:
    assert _taken(MessageLineParser(max_chunk_bytes=32).feed(_STREAM_WITH_BYTES)) == _STREAM_WITH_BYTES_TAKEN
    for cut in range(len(_STREAM_WITH_BYTES)):
        parser = MessageLineParser(max_chunk_bytes=32)
        found = _taken(parser.feed(_STREAM_WITH_BYTES[:cut])) + _taken(parser.feed(_STREAM_WITH_BYTES[cut:]))
        assert found == _STREAM_WITH_BYTES_TAKEN, cut
        assert not parser.overrun


def test_a_stream_with_bytes_byte_by_byte() -> None:
    parser = MessageLineParser(max_chunk_bytes=32)
    piece = bytearray(1)  # one for all, as a board reads
    found = []
    for byte in _STREAM_WITH_BYTES:
        piece[0] = byte
        found += parser.feed(memoryview(piece))
    assert _taken(found) == _STREAM_WITH_BYTES_TAKEN


def test_more_bytes_than_announced_are_one_error_and_then_silence() -> None:
    for limit, line in (
        (0, b'{"type":"ping","id":1,"bytes":1}\n'),
        (32, b'{"type":"ping","id":1,"bytes":33}\n'),
        (32, b'{"type":5,"id":1,"bytes":9007199254740991}\n'),
        (32, b'{"type":"ping","id":1,"bytes":123456789012345678901234567890}\n'),
    ):
        parser = MessageLineParser(max_chunk_bytes=limit)
        [error] = parser.feed(line + b'x{"type":"ping","id":2}\n')
        assert isinstance(error, ProtocolError)
        assert error.code == ErrorCode.LINE_TOO_LONG
        assert error.id == 1
        assert parser.overrun
        assert parser.feed(b'{"type":"ping","id":3}\n') == []
