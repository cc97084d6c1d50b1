"""Calls and answers as lines: what is written by hand is what any reader of the wire reads."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from snyper.services import wire
from snyper.services.values import are_plain, encode
from snyper.services.wire import MAX_BODY_BYTES, RETURNED, Call, Pieces, unpack
from snyper.shared.socket_protocol import MessageLineParser, SocketMessage

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES: Any = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=80,
)


def read(pieces: Pieces) -> SocketMessage:
    parser = MessageLineParser(max_chunk_bytes=MAX_BODY_BYTES)
    (message,) = parser.feed(b"".join(pieces))
    assert isinstance(message, SocketMessage)
    return message


@pytest.mark.slow
@given(st.lists(VALUES), st.dictionaries(st.text(), VALUES), st.text(), st.lists(st.text(), max_size=3))
def test_a_call_is_read_as_it_was_made(
    args: list[object], kwargs: dict[str, object], name: str, within: list[str]
) -> None:
    message = read(wire.call(7, name, 5, within, within[:1], args, kwargs, [3, 4]))
    data = message.data or {}
    assert (message.type, message.id, message.status) == ("call", 7, None)
    assert (data["name"], data["seen"]) == (name, 5)
    assert (data.get("chain", []), data.get("leases", [])) == (within, within[:1])
    assert wire.numbers(data, "open") == (3, 4)
    assert unpack(message, "arguments") == [args, kwargs]


NAMES = st.text(min_size=1, max_size=100) | st.from_regex("[A-Za-z][A-Za-z0-9_]{0,30}", fullmatch=True)


@pytest.mark.slow
@given(NAMES, st.lists(VALUES), st.dictionaries(st.text(), VALUES))
def test_a_usual_call_is_read_as_any(name: str, args: list[object], kwargs: dict[str, object]) -> None:
    pieces = wire.call(7, name, 5, (), (), args, kwargs)
    short = wire.read_usual_call(bytes(pieces[0]))
    expected = Call(7, name, 5, args, kwargs)
    assert short is None or vars(short) == vars(expected)


@given(st.integers(1, 1 << 53 - 1) | st.text(min_size=1, max_size=64), VALUES)
def test_a_reply_is_read_as_it_was_made(id: str | int, value: object) -> None:
    pieces = wire.reply(id, RETURNED, value)
    message = read(pieces)
    assert (message.type, message.id, message.status) == ("reply", id, "returned")
    assert unpack(message, "value") == value
    short = wire.read_usual_reply(bytes(pieces[0]))
    assert short is None or (short.id, short.value) == (id, value)


@given(VALUES)
def test_an_item_is_read_as_it_was_made(value: object) -> None:
    message = read(wire.item(3, value))
    assert (message.type, message.id, message.status) == ("item", 3, None)
    assert unpack(message, "value") == value


@pytest.mark.slow
@given(st.lists(VALUES))
def test_what_is_plain_needs_no_encoding(values: list[object]) -> None:
    assert not are_plain(values) or all(encode(value, []) is value for value in values)


def test_what_most_calls_have_goes_the_shorter_way() -> None:
    (line,) = wire.call(8, "read_voltage", 7, (), (), (1, "volt"), {"samples": 20, "slow": None})
    call = wire.read_usual_call(bytes(line))
    assert call is not None
    assert call.kwargs == {"samples": 20, "slow": None}
    (line,) = wire.reply(8, RETURNED, [2.5, True])
    reply = wire.read_usual_reply(bytes(line))
    assert reply is not None
    assert reply.value == [2.5, True]


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"call","id":07,"data":{"name":"read","seen":0,"arguments":[[],{}]}}\n',
        b'{"type":"call","id":7,"data":{"name":"read","seen":0,"arguments":[[]]}}\n',
        b'{"type":"call","id":7,"data":{"name":"read","seen":0,"arguments":{"a":1,"b":{}}}}\n',
        b'{"type":"call","id":7,"data":{"name":"read","seen":0,"arguments":[[],{"$":1}]}}\n',
        b'{"type":"call","id":7,"data":{"name":"read","seen":0,"arguments":[[],{"$":["dict",[1],[2]]}]}}\n',
        b'{"type":"call","id":7,"data":{"name":"read","seen":0,"arguments":[[],{}]},"bytes":3}\n',
        b'{"type":"call","id":7,"data":{"name":"read","seen":0,"arguments":[[],{}],"leases":[]}}\n',
        b'{"type":"call","id":7,"data":{"name":"read","seen":0,"arguments":[[' + b"[" * 70 + b"\n",
        b'{"type":"call","id":7,"data":{"name":"read","seen":0,"arguments":[["\xff"],{}]}}\n',
        b'{"type":"call","id":7,"data":{"name":"read","seen":0,"arguments":[["'
        + b"a" * 5_000
        + b'"],{}]}}\n',
    ],
)
def test_a_call_like_no_other_is_read_like_any_line(line: bytes) -> None:
    assert wire.read_usual_call(line) is None


def test_half_a_character_in_a_name_does_not_travel() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        wire.call(1, "read_\ud800", 0, (), (), (), {})
