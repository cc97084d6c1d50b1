"""The core of a connection of calls: however what comes is cut, its shorter ways read what any link reads."""

from typing import Any

from hypothesis import example, given, strategies as st

from snyper.services import wire
from snyper.services.client_session import ClientSession
from snyper.services.core import Core
from snyper.services.wire import CALL
from snyper.shared.link_core import LinkCore
from snyper.shared.socket_protocol import SocketMessage

CALLS = st.builds(
    lambda seq, value: b"".join(wire.call(seq, "read", seq - 1, (), (), [value], {})),
    st.integers(1, 1_000),
    st.none() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=5_000) | st.integers(),
)
OTHERS = st.sampled_from(
    [
        b'{"type":"ping","id":3}\n',
        b'{"type":"describe","id":"describe-1"}\n',
        b'{"type":"call","id":1}{"type":"call","id":2}\n',
        b'{"type":"call",\n"id":9,"data":{"name":"read"}}\n',
        b'{"type":"reply","id":7,"status":"returned"}\n',
        b"\n",
    ]
)
PIECES = st.lists(st.sampled_from([1, 7, 60, 700, 16_384]), min_size=1)


class Said:
    """What a core has said."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def requests(self, core: LinkCore, stream: bytes, sizes: list[int]) -> list[SocketMessage]:
        """Feed a stream as a driver does: what follows a line goes to where it belongs."""
        core.transmit = self.lines.append
        found = []
        rest = memoryview(stream)
        for turn in range(len(stream)):
            size = sizes[turn % len(sizes)]
            buffer = core._parser.buffer
            data: Any = bytes(rest[:size])
            if buffer is not None:
                size = min(size, len(buffer))
                buffer[:size] = rest[:size]
                data = buffer[:size]
            rest = rest[size:]
            found += [one for one in core.receive_data(data, 0) if one is not None]
            if not rest:
                break
        return found


class Link(LinkCore):
    max_chunk_bytes = Core.max_chunk_bytes

    def on_state(self) -> None:
        pass

    def log(self, text: str) -> None:
        pass


def seen(messages: list[SocketMessage]) -> list[Any]:
    return [as_call(one) if one.type == CALL else (one.type, one.id, one.data) for one in messages]


def as_call(message: SocketMessage) -> Any:
    """Return what a server takes of a call, or what is wrong with it."""
    try:
        call = message if isinstance(message, wire.Call) else wire.read_call(message)
    except ValueError as error:
        return str(error)
    return (
        call.id,
        call.name,
        call.seen,
        call.args,
        call.kwargs,
        call.open,
        call.chain,
        call.leases,
        call.size,
    )


@given(st.lists(CALLS | OTHERS, max_size=8).map(b"".join), PIECES)
@example(b'{"type":"call",\n"id":9,"data":{"name":"read"}}\n', [16_384])
def test_a_server_reads_what_a_link_reads(stream: bytes, sizes: list[int]) -> None:
    handlers = {CALL: True, "describe": True}
    said, expected = Said(), Said()
    core = Core(handlers, "client", lambda line: None, wire.read_usual_call)
    assert seen(said.requests(core, stream, sizes)) == seen(
        expected.requests(Link(handlers, "client", 0), stream, sizes)
    )
    assert said.lines == expected.lines


@given(st.lists(st.integers(1, 6), max_size=8), PIECES)
def test_a_client_takes_each_reply_once(ids: list[int], sizes: list[int]) -> None:
    core = Core({}, "server", lambda line: None, wire.read_usual_reply)
    came: list[Any] = []
    for id in (1, 2, 3):
        core.start_request(id, b"\n", list.append, came)
    stream = b"".join(b"".join(wire.reply(id, "returned", b"raw" * id)) for id in ids)
    Said().requests(core, stream, sizes)
    assert [one.id for one in came] == [id for id in dict.fromkeys(ids) if id <= 3]
    assert [wire.unpack(one, "value") for one in came] == [b"raw" * one.id for one in came]


@given(st.lists(st.tuples(st.integers(1, 6), st.integers() | st.text()), max_size=8), PIECES)
def test_a_client_takes_each_value_once(answers: list[tuple[int, Any]], sizes: list[int]) -> None:
    core = Core({}, "server", lambda line: None, wire.read_usual_reply)
    came: list[Any] = []
    for id in (1, 2, 3):
        core.start_request(id, b"\n", list.append, came)
    stream = b"".join(b"".join(wire.reply(id, "returned", value)) for id, value in answers)
    Said().requests(core, stream, sizes)
    session = ClientSession("here")
    first = dict(reversed([one for one in answers if one[0] <= 3]))
    assert {one.id: session.result(one, "read") for one in came} == first
    assert len(came) == len(first)
