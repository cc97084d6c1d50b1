"""What holds for the core of a link whatever comes, and however it is cut."""

import json
from itertools import pairwise

from hypothesis import given, settings, strategies as st

from snyper.shared.link_core import State, ping_line
from snyper.shared.socket_protocol import MAX_INTEGER, SocketMessage
from tests.portable.test_link_core import Core

words = st.sampled_from(
    ["ping", "pong", "hit", "juggle", "ack", "reply", "item", "event", "error", "register"]
)
ids = st.one_of(
    st.integers(-MAX_INTEGER, MAX_INTEGER),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64),
)
messages = st.builds(
    lambda word, id, data: SocketMessage(word, id, data=data).to_line(),
    words,
    ids,
    st.none() | st.dictionaries(st.text("abc", max_size=3), st.integers(0, 9), max_size=3),
)
plain_pings = st.integers(0, 10**16).map(ping_line)
ENDS = (b" HTTP/1.", b'"bytes"')  # what ends a connection that takes no bytes after a line
junk = st.binary(max_size=40).filter(lambda junk: not any(word in junk for word in ENDS))
lines = st.one_of(messages, plain_pings, junk.map(lambda junk: junk + b"\n"))
streams = st.lists(lines, max_size=12).map(b"".join)


def outcome(pieces: list[bytes]) -> list[object]:
    core = Core(("hit",))
    core.on_stream = lambda message: core.logged.append(repr(message))
    core.health = lambda: b'{"state":"down"}'
    for id in ("mine", 7):
        core.start_request(id, b"", lambda token, reply: core.logged.append(repr(reply)), 0)
    for piece in pieces:
        core.take(piece)
    return [core.sent, core.logged, core.served, core.state]


@given(streams, st.lists(st.integers(0, 2_000), max_size=20))
@settings(max_examples=300, deadline=None)
def test_a_stream_means_the_same_wherever_it_is_cut(stream: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[begin:end] for begin, end in pairwise(edges)]
    assert outcome(pieces) == outcome([stream])


@given(streams)
@settings(max_examples=300, deadline=None)
def test_whatever_is_sent_is_a_line_of_the_wire(stream: bytes) -> None:
    core = Core(("hit",))
    core.take(stream)
    assert core.state == State.OPEN
    for line in core.sent:
        message = SocketMessage.from_line(line)
        assert message.type in ("pong", "error")
        assert line.endswith(b"\n")


@given(ids, st.booleans())
def test_a_ping_is_answered_with_its_id_in_either_form(id: str | int, as_json: bool) -> None:
    plain = json.dumps({"type": "ping", "id": id}, ensure_ascii=False, separators=(",", ":"))
    spaced = json.dumps({"id": id, "type": "ping"}, ensure_ascii=False)
    core = Core()
    core.take((spaced if as_json else plain).encode() + b"\n")
    [pong] = core.answers()
    assert (pong.type, pong.id) == ("pong", id)
    assert type(pong.id) is type(id)
