"""Calls and answers as lines: what is written by hand is what any reader of the wire reads."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from snyper.services import wire
from snyper.services.values import encode, is_plain
from snyper.services.wire import MAX_BODY_BYTES, RETURNED, Pieces, read_plain, unpack
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


def read_both_ways(pieces: Pieces) -> list[SocketMessage]:
    """Read a message as any, and if it is such a one by the shorter way too."""
    message = read(pieces)
    short = read_plain(bytes(pieces[0]), message.type) if len(pieces) == 1 else None
    return [message] if short is None else [message, short]


@given(st.lists(VALUES), st.dictionaries(st.text(), VALUES), st.text(), st.lists(st.text(), max_size=3))
def test_a_call_is_read_as_it_was_made(
    args: list[object], kwargs: dict[str, object], name: str, within: list[str]
) -> None:
    for message in read_both_ways(wire.call(7, name, 5, within, within[:1], args, kwargs, [3, 4])):
        data = message.data or {}
        assert (message.type, message.id, message.status) == ("call", 7, None)
        assert (data["name"], data["seen"]) == (name, 5)
        assert (data.get("chain", []), data.get("leases", [])) == (within, within[:1])
        assert wire.numbers(data, "open") == (3, 4)
        assert unpack(message, "arguments") == [args, kwargs]


@given(st.integers(1, 1 << 53 - 1) | st.text(min_size=1, max_size=64), VALUES)
def test_a_reply_is_read_as_it_was_made(id: str | int, value: object) -> None:
    for message in read_both_ways(wire.reply(id, RETURNED, value)):
        assert (message.type, message.id, message.status) == ("reply", id, "returned")
        assert unpack(message, "value") == value


@given(VALUES)
def test_an_item_is_read_as_it_was_made(value: object) -> None:
    message = read(wire.item(3, value))
    assert (message.type, message.id, message.status) == ("item", 3, None)
    assert unpack(message, "value") == value


@given(VALUES)
def test_what_is_plain_needs_no_encoding(value: object) -> None:
    assert not is_plain(value) or encode(value, []) is value


@pytest.mark.parametrize("value", [5, 2.5, None, True, "volt", [], {}, [[], {"samples": 20, "names": ["a"]}]])
def test_what_most_calls_have_is_plain(value: object) -> None:
    assert is_plain(value)


def test_what_contains_itself_is_not_plain() -> None:
    value: list[object] = []
    value += [value, value]
    assert not is_plain(value)


def test_half_a_character_in_a_name_does_not_travel() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        wire.call(1, "read_\ud800", 0, (), (), (), {})
