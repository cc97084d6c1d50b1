"""The core of a link without a connection: bytes and the time in, bytes and requests out."""

from snyper.shared.link_core import LINGER_MS, MAX_HANDLERS, TRANSITIONS, LinkCore, State, Trigger, ping_line
from snyper.shared.socket_protocol import (
    DEAD_AFTER_BEATS,
    MAX_INTEGER,
    MAX_LINE_BYTES,
    ErrorCode,
    MessageLineParser,
    ProtocolError,
    SocketMessage,
)
from tests.portable.support import raises

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

STATES = (State.NEW, State.OPEN, State.LINGERING, State.CLOSED)
TRIGGERS = (Trigger.ADMIT, Trigger.REFUSE, Trigger.END)
BEAT_MS = 600


class Core(LinkCore):
    """A core whose lines are kept in `sent`, or given on `to` another, and whose log is in `logged`."""

    def __init__(
        self, handlers: "tuple[str, ...]" = (), admit: "Callable[[Core, SocketMessage], None] | None" = None
    ) -> None:
        super().__init__(dict.fromkeys(handlers, True), "core", 0, admit)
        self.sent: "list[bytes]" = []
        self.logged: "list[str]" = []
        self.served: "list[SocketMessage]" = []

    def transmit(self, line: bytes) -> None:
        self.sent.append(line)

    def on_state(self) -> None:
        return

    def log(self, text: str) -> None:
        self.logged.append(text)

    def take(self, data: "bytes | memoryview", now_us: int = 0) -> "list[SocketMessage]":
        """What is to be served of `data`."""
        served = [request for request in self.receive_data(data, now_us) if request is not None]
        self.served += served
        return served

    def answers(self) -> "list[SocketMessage]":
        """What was sent since the last call."""
        found = MessageLineParser().feed(b"".join(self.sent))
        self.sent = []
        for item in found:
            assert isinstance(item, SocketMessage), item
        return found  # type: ignore[return-value]


class ChunkCore(Core):
    """A core that takes bytes after a line."""

    max_chunk_bytes = 1_024


# --- states


def test_every_trigger_has_its_effect_in_every_state() -> None:
    expected = {
        State.NEW: (State.OPEN, State.LINGERING, State.CLOSED),
        State.OPEN: (State.OPEN, State.LINGERING, State.CLOSED),
        State.LINGERING: (State.LINGERING, State.LINGERING, State.CLOSED),
        State.CLOSED: (State.CLOSED, State.CLOSED, State.CLOSED),
    }
    for state in STATES:
        found = tuple(TRANSITIONS.get((state, trigger), state) for trigger in TRIGGERS)
        assert found == expected[state], state
    assert {state for state, _ in TRANSITIONS} | set(TRANSITIONS.values()) == set(STATES)
    assert {trigger for _, trigger in TRANSITIONS} == set(TRIGGERS)


def test_the_calls_lead_through_the_table_and_are_logged() -> None:
    core = Core(admit=lambda link, message: None)
    assert core.state == State.NEW
    core.open({}, "target_1")
    core.open({}, "target_1")
    assert (core.state, core.name) == (State.OPEN, "target_1")
    core.close(ProtocolError(ErrorCode.BUSY, "full"), linger=True)
    assert core.state == State.LINGERING
    core.close(ProtocolError(ErrorCode.BUSY, "a second time"))
    assert core.state == State.LINGERING
    core.end()
    core.end()
    assert core.state == State.CLOSED
    assert str(core.close_error) == "busy: full"
    assert core.logged == [
        "open: as target_1",
        "lingering: busy: full",
        "closed: the connection has ended",
    ]


def test_an_end_that_is_quiet_is_not_logged() -> None:
    core = Core()
    core.close(ProtocolError(ErrorCode.BUSY, "full"), quiet=True)
    assert (core.state, core.logged) == (State.CLOSED, [])


def test_one_that_lingers_is_given_its_time() -> None:
    core = Core()
    core.close(ProtocolError(ErrorCode.BUSY, "full"), linger=True)
    core.check(5_000)
    assert core.state == State.LINGERING
    assert core.due_us == 5_000 + LINGER_MS * 1000
    assert core.take(SocketMessage("ping", 1).to_line() * 2) == core.sent == []
    core.check(core.due_us)
    assert (core.state, core.due_us) == (State.CLOSED, 0)


def test_the_end_fails_what_is_pending_and_takes_nothing_more() -> None:
    core = Core()
    heard: "list[object]" = []
    core.on_close = lambda link, error: heard.append(error.code)
    core.start_request("a", SocketMessage("hit", "a").to_line(), lambda token, reply: heard.append(reply), 0)
    core.end()
    assert isinstance(heard[0], ProtocolError)
    assert heard[0].unknown_fate
    assert heard[1:] == [ErrorCode.DISCONNECTED]
    raises(ErrorCode.DISCONNECTED, core.send_nowait, SocketMessage("ping", 1))


# --- the heartbeat, as bytes


def test_a_plain_ping_is_answered_as_it_stands() -> None:
    core = Core()
    for id in (b"0", b"7", b"123456789012345", b'"a"', b'"9c41d02e-12"', b'"' + b"x" * 64 + b'"'):
        core.take(b'{"type":"ping","id":%s}\n' % id)
        assert core.sent.pop() == b'{"type":"pong","id":%s,"status":"alive"}\n' % id
    core.health = lambda: b'{"hub_us":5}'
    core.take(ping_line(3))
    assert core.sent == [b'{"type":"pong","id":3,"status":"alive","data":{"hub_us":5}}\n']


def test_a_ping_in_any_other_form_is_answered_too() -> None:
    core = Core()
    for text, id in (
        ('{"id":1,"type":"ping"}', 1),
        ('{ "type" : "PING", "id" : "b" }', "b"),
        ('{"type":"ping","id":"\u00e9"}', "\u00e9"),
        ('{"type":"ping","id":"\\\\\\""}', '\\"'),
        ('{"type":"ping","id":-3}', -3),
        ('{"type":"ping","id":%d}' % MAX_INTEGER, MAX_INTEGER),
        ('{"type":"ping","id":4,"data":{}}', 4),
        ('{"type":"ping","id":5,"more":6}', 5),
        ('{"type":"ping","id":"a}"}', "a}"),
        ('{"type":"ping","id":8}\r', 8),
    ):
        core.take(text.encode() + b"\n")
        [pong] = core.answers()
        assert (pong.type, pong.id, pong.status) == ("pong", id, "alive"), text


def test_what_looks_like_a_ping_and_is_none_costs_one_error() -> None:
    core = Core()
    for text in (
        '{"type":"ping","id":}',
        '{"type":"ping","id":""}',
        '{"type":"ping","id":"a""}',
        '{"type":"ping","id":"' + "x" * 65 + '"}',
        '{"type":"ping","id":' + "9" * 20 + "}",
        '{"type":"ping","id":1',
        '{"type":"ping","id":"',
    ):
        core.take(text.encode() + b"\n")
        [error] = core.answers()
        assert error.type == "error", text


def test_a_ping_for_another_is_no_heartbeat() -> None:
    core = Core(("ping",))
    [request] = core.take(b'{"type":"ping","id":1,"target_id":"t"}\n')
    assert (request.type, request.target_id, core.sent) == ("ping", "t", [])


def test_before_admission_no_ping_is_answered() -> None:
    asked: "list[SocketMessage]" = []
    core = Core(admit=lambda link, message: asked.append(message))
    core.take(ping_line(1))
    assert asked == [SocketMessage("ping", 1)]
    assert core.sent == []


def test_a_silent_peer_is_pinged_then_given_up() -> None:
    core = Core()
    core.set_heartbeat(BEAT_MS, BEAT_MS, 0)
    times = []
    while core.state == State.OPEN:
        times.append(core.due_us // 1000)
        core.check(core.due_us)
    assert times == [BEAT_MS * (beat + 1) for beat in range(DEAD_AFTER_BEATS)]
    assert [ping.type for ping in core.answers()] == ["ping"] * (DEAD_AFTER_BEATS - 1)
    assert core.close_error is not None
    assert core.close_error.code == ErrorCode.TIMEOUT


def test_any_byte_is_a_sign_of_life() -> None:
    core = Core()
    core.set_heartbeat(BEAT_MS, BEAT_MS, 0)
    for beat in range(1, 20):
        core.take(b"\n", beat * 500_000)
        if core.due_us <= beat * 500_000:
            core.check(beat * 500_000)
    assert (core.state, core.sent) == (State.OPEN, [])


def test_the_answer_to_the_heartbeat_measures_the_round() -> None:
    for pong in (
        b'{"type":"pong","id":1,"status":"alive"}\n',
        b'{"type":"pong","id":1,"data":{"state":"down"}}\n',
    ):
        core = Core()
        told: "list[object]" = []
        core.on_health = lambda message, told=told: told.append(message.data)
        core.set_heartbeat(BEAT_MS, BEAT_MS, 0)
        core.check(core.due_us)
        assert core.sent == [ping_line(1)]
        core.take(pong, BEAT_MS * 1000 + 250)
        assert core.round_trip_us == 250
        assert told == ([{"state": "down"}] if b"data" in pong else [])
        core.take(pong, BEAT_MS * 1000 + 900)  # again: it belongs to nothing
        assert core.round_trip_us == 250
        assert len(core.sent) == 1


def test_a_pong_to_no_heartbeat_measures_nothing() -> None:
    for id in (b"0", b"1", b"-1", b'"0"'):
        core = Core()
        core.take(b'{"type":"pong","id":%s,"status":"alive"}\n' % id, 700_000)
        assert (core.round_trip_us, core.sent) == (None, [])


def test_a_pong_that_somebody_waits_for_is_no_heartbeat() -> None:
    core = Core()
    core.set_heartbeat(BEAT_MS, BEAT_MS, 0)
    core.check(core.due_us)
    heard: "list[object]" = []
    core.start_request(1, ping_line(1), lambda token, reply: heard.append(reply), 0)
    core.take(b'{"type":"pong","id":1,"status":"alive"}\n', 700_000)
    assert heard == [SocketMessage("pong", 1, None, "alive")]
    assert core.round_trip_us is None


def test_time_in_which_nothing_ran_is_not_the_peers() -> None:
    core = Core()
    core.set_heartbeat(BEAT_MS, BEAT_MS, 0)
    core.check(60_000_000)
    assert core.state == State.OPEN


def test_nobody_is_pinged_while_lines_wait() -> None:
    core = Core()
    core.writable = False
    core.set_heartbeat(BEAT_MS, BEAT_MS, 0)
    core.check(core.due_us)
    assert core.sent == []


# --- requests and replies, byte by byte


SAMPLES = (
    SocketMessage("hit", 1, data={"n": 1}).to_line()
    + ping_line(2)
    + b"\r\n\n"
    + b"nonsense\n"
    + SocketMessage("juggle", 3).to_line()
    + b'{"type":"error","data":{"code":"busy"}}\n'
    + SocketMessage("ack", "mine").to_line()
    + SocketMessage("event", 4).to_line()
    + b'{"type":"PING","id":5}\r\n'
    + SocketMessage("hit", "\u00e9", data={"x": "y" * 300}).to_line()
)


def test_nobody_answers_an_item_of_a_stream() -> None:
    core = Core()
    for word in ("event", "item", "result", "target", "game"):
        core.take(SocketMessage(word, 1).to_line())
    assert (core.sent, core.served) == ([], [])


def _outcome(pieces: "list[bytes]") -> "list[object]":
    """All that a core makes of a stream in such pieces."""
    core = Core(("hit",))
    core.on_stream = lambda message: core.logged.append("item " + str(message.id))
    mine = SocketMessage("hit", "mine").to_line()
    core.start_request("mine", mine, lambda token, reply: core.logged.append("reply %r" % reply), 0)
    for piece in pieces:
        core.take(piece)
    return [core.sent, core.logged, core.served, core.state]


def test_a_stream_means_the_same_however_it_is_cut() -> None:
    whole = _outcome([SAMPLES])
    assert whole[1] == ["the peer reports busy: ", "reply %r" % SocketMessage("ack", "mine"), "item 4"]
    assert len(whole[2]) == 2  # type: ignore[arg-type]
    assert _outcome([SAMPLES[at : at + 1] for at in range(len(SAMPLES))]) == whole
    lines = [line + b"\n" for line in SAMPLES.split(b"\n")[:-1]]
    assert _outcome(lines) == whole
    for at in range(0, len(SAMPLES), 7):
        assert _outcome([SAMPLES[:at], SAMPLES[at:]]) == whole, at


BYTES = (
    b'{"type":"hit","id":1,"bytes":9}\n{"x":1}\n\n'
    + b'{"type":"hit","id":2,"bytes":0}\n\n{"type":"ping","id":3}\n{"type":"hit","id":3,"bytes":1}\n\n'
    + b'{"type":"hit","id":4,"data":5,"bytes":3}\n\n\n{{"type":"item","id":5,"bytes":2}\n}\n'
    + b'{"type":"item","id":6}\n'
)


def _outcome_of_bytes(pieces: "list[bytes]") -> "list[object]":
    core = ChunkCore(("hit",))
    items: "list[SocketMessage]" = []
    core.on_stream = items.append
    for piece in pieces:
        core.take(piece)
    return [core.sent, core.served, items, core.lines, core._parser.buffer]


def test_bytes_after_lines_mean_the_same_however_they_are_cut() -> None:
    whole = _outcome_of_bytes([BYTES])
    assert [request.attachment for request in whole[1]] == [b'{"x":1}\n\n', b"", b"\n"]  # type: ignore[attr-defined]
    assert [item.attachment for item in whole[2]] == [b"}\n", None]  # type: ignore[attr-defined]
    assert whole[3] == 8, "an empty line and one that is refused are lines, and what follows a line is none"
    assert _outcome_of_bytes([BYTES[at : at + 1] for at in range(len(BYTES))]) == whole
    for at in range(1, len(BYTES)):
        assert _outcome_of_bytes([BYTES[:at], BYTES[at:]]) == whole, at
        for end in range(at + 1, len(BYTES), 5):
            assert _outcome_of_bytes([BYTES[:at], BYTES[at:end], BYTES[end:]]) == whole, (at, end)


def test_lines_are_taken_one_by_one() -> None:
    core = Core()
    taken = iter(core.receive_data(ping_line(1) + ping_line(2) + ping_line(3), 0))
    for count in (1, 2):
        assert next(taken) is None
        assert len(core.sent) == count
    core.close(ProtocolError(ErrorCode.BUSY, "enough"))
    assert list(taken) == []
    assert len(core.sent) == 2


def test_an_over_long_line_ends_the_link_slowly() -> None:
    core = Core()
    core.take(b"x" * MAX_LINE_BYTES)
    [error] = core.answers()
    assert error.data is not None
    assert error.data["code"] == ErrorCode.LINE_TOO_LONG
    assert core.state == State.LINGERING


def test_too_much_under_way_is_busy() -> None:
    core = Core(("hit",))
    core.under_way = MAX_HANDLERS
    assert core.take(SocketMessage("hit", 1).to_line()) == []
    [error] = core.answers()
    assert error.data is not None
    assert error.data["code"] == ErrorCode.BUSY


# --- two of them


def test_two_cores_joined_in_memory_are_a_link() -> None:
    near, far = Core(), Core(("hit",))
    heard: "list[tuple[int, object]]" = []
    near.set_heartbeat(BEAT_MS, BEAT_MS, 0)
    far.set_heartbeat(BEAT_MS, BEAT_MS * 3 // 2, 0)
    for now_ms in range(0, 60_000, 50):
        now_us = now_ms * 1000
        for core in (near, far):
            if core.due_us <= now_us:
                core.check(now_us)
        if now_ms % 1_000 == 0:
            id = near.new_id()
            line = SocketMessage("hit", id).to_line()
            near.start_request(id, line, lambda token, reply: heard.append((token, reply)), now_ms)
        while near.sent or far.sent:
            for source, sink in ((near, far), (far, near)):
                data = b"".join(source.sent)
                source.sent = []
                for request in sink.take(data, now_us + 10) if data else ():
                    sink.send_nowait(request.reply("ack", "ok"))
    assert [now_ms for now_ms, _ in heard] == list(range(0, 60_000, 1_000))
    assert all(isinstance(reply, SocketMessage) and reply.type == "ack" for _, reply in heard)
    assert near.state == far.state == State.OPEN
    assert near.round_trip_us == 10
    assert far.round_trip_us is None, "one side asks"


def test_bytes_that_look_like_a_heartbeat_are_none() -> None:
    core = ChunkCore(("hit",))
    line = ping_line(1)
    assert core.take(b'{"type":"hit","id":1,"bytes":%d}\n' % (2 * len(line))) == []
    assert core.take(line) == []
    [request] = core.take(line)
    assert request.attachment == line * 2
    assert core.sent == []
    core.take(line)
    assert len(core.sent) == 1


def test_bytes_that_a_driver_reads_right_into_their_message() -> None:
    core = ChunkCore(("hit",))
    assert core._parser.buffer is None
    assert core.take(b'{"type":"hit","id":1,"bytes":5}\nab') == []
    found: "list[SocketMessage]" = []
    for rest in (b"cd", b"e"):
        buffer = core._parser.buffer
        assert buffer is not None
        buffer[: len(rest)] = rest
        found = core.take(buffer[: len(rest)])
    [request] = found
    assert request.attachment == b"abcde"
    assert core._parser.buffer is None
    core.take(b'{"type":"hit","id":3,"data":5,"bytes":2}\n')
    assert core._parser.buffer is None, "they are skipped"
    [request] = core.take(b'{}{"type":"hit","id":4}\n')
    assert request.id == 4
