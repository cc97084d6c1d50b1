"""A link whose lines are sealed: nothing is taken but what the peer has sent, in its order."""

from snyper.shared.handshake_client import prove_key
from snyper.shared.keys import Key, seals
from snyper.shared.link_core import LinkCore, State, ping_line
from snyper.shared.seal import SEAL_BYTES, Seal
from snyper.shared.sealed_stream import SealedStream
from snyper.shared.socket_protocol import MAX_LINE_BYTES, ErrorCode, SocketMessage
from tests.portable.support import raises_async

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TEXT = "fleet:" + "5" * 64
COMMAND = SocketMessage("stand_up", 7).to_line()


def pair(text: str = TEXT, name: str = "t_1") -> "tuple[Seal, Seal]":
    return seals(Key(text), "target", name, b"a" * 16, b"b" * 16)


class Wire:
    """A Stream that keeps what is written to it."""

    address = ""

    def __init__(self) -> None:
        self.owner: "Any" = None
        self.written: "list[bytes]" = []

    def write(self, data: bytes, following: bytes = b"") -> bool:
        self.written.append(bytes(data) + bytes(following))
        return True

    def pause_reading(self) -> None:
        return


class Core(LinkCore):
    """An end of a link over a SealedStream, and what it is to serve."""

    max_chunk_bytes = 64
    peer_max_chunk_bytes = 64

    def __init__(self, sending: Seal, receiving: Seal) -> None:
        super().__init__({"stand_up": True}, "core", 0)
        self.served: "list[SocketMessage]" = []
        self.wire = Wire()
        wire: "Any" = self.wire
        link: "Any" = self
        self.stream = SealedStream(wire, link, sending, receiving, ("target", "t_1", "k"))

    def transmit(self, line: bytes) -> None:
        self.stream.write(line)

    def on_state(self) -> None:
        return

    def log(self, text: str) -> None:
        return

    def data_received(self, data: bytes) -> None:
        self.served += [request for request in self.receive_data(data, 1) if request is not None]

    def take(self, data: bytes) -> None:
        """Receive `data`."""
        self.wire.owner.data_received(data)

    def sent(self) -> "list[bytes]":
        """Return what was written since the last call."""
        written, self.wire.written = self.wire.written, []
        return written


def ends() -> "tuple[Core, Core]":
    """Make the peer's end, and the hub's."""
    to_hub, from_hub = pair()
    peer = Core(to_hub, from_hub)
    to_hub, from_hub = pair()
    return peer, Core(from_hub, to_hub)


def sent_by(peer: Core, *messages: SocketMessage) -> "list[bytes]":
    """What travels when the peer sends these."""
    for message in messages:
        peer.send_nowait(message)
    return peer.sent()


def commands(count: int) -> "list[SocketMessage]":
    return [SocketMessage("stand_up", number) for number in range(count)]


def ids(core: Core) -> "list[str | int | None]":
    return [message.id for message in core.served]


def assert_broken_off(hub: Core) -> None:
    assert hub.state == State.LINGERING
    assert hub.close_error is not None
    assert hub.close_error.code == ErrorCode.UNAUTHORIZED


def test_lines_pass_however_they_are_cut() -> None:
    for size in (1, 7, 100, 10_000):
        peer, hub = ends()
        stream = b"".join(sent_by(peer, *commands(5)))
        for at in range(0, len(stream), size):
            hub.take(stream[at : at + size])
        assert ids(hub) == [0, 1, 2, 3, 4]


def test_a_line_that_comes_byte_by_byte_is_kept_in_few_pieces() -> None:
    _, hub = ends()
    for _ in range(MAX_LINE_BYTES):
        hub.take(b"x")
    assert len(hub.stream._begun or ()) <= MAX_LINE_BYTES // 256 + 1
    assert hub.close_error is None


def test_a_part_of_a_line_is_a_sign_of_life() -> None:
    peer, hub = ends()
    [line] = sent_by(peer, *commands(1))
    hub.received_us = -1
    hub.take(line[:5])
    assert hub.received_us >= 0
    assert ids(hub) == []


def test_both_ways() -> None:
    peer, hub = ends()
    for _ in range(3):
        for line in sent_by(peer, *commands(1)):
            hub.take(line)
        for line in sent_by(hub, *commands(1)):
            peer.take(line)
    assert ids(hub) == ids(peer) == [0, 0, 0]


def test_heartbeats_are_sealed_too() -> None:
    peer, hub = ends()
    replies: "list[Any]" = []
    hub.start_request(9, ping_line(9), lambda token, reply: replies.append(reply), None)
    peer.take(hub.sent()[0])
    hub.take(peer.sent()[0])
    assert replies[0].type == "pong"
    hub.set_heartbeat(600, 0, 0)
    hub.check(1)
    peer.take(hub.sent()[0])
    hub.take(peer.sent()[0])
    assert hub.round_trip_us is not None
    assert hub.close_error is None


def test_bytes_that_follow_are_sealed_too() -> None:
    for size in (1, 5, 1_000):
        peer, hub = ends()
        message = SocketMessage("stand_up", 1)
        message.attachment = b"\n\x00" * 20
        stream = b"".join(sent_by(peer, message, *commands(1)))
        for at in range(0, len(stream), size):
            hub.take(stream[at : at + size])
        assert ids(hub) == [1, 0]
        assert bytes(hub.served[0].attachment or b"") == b"\n\x00" * 20


def test_what_is_changed_on_its_way_ends_the_link() -> None:
    peer, hub = ends()
    message = SocketMessage("stand_up", 1)
    message.attachment = b"abc"
    whole = b"".join(sent_by(peer, message, *commands(1)))
    for at in range(len(whole)):
        _, hub = ends()
        hub.take(whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :])
        hub.take(b"\n" * 5_000)  # whoever waits for more gets it
        assert_broken_off(hub)
        assert ids(hub) in ([], [1])


def test_what_is_injected_cut_out_repeated_or_turned_around_ends_the_link() -> None:
    peer, _ = ends()
    one, two, three = sent_by(peer, *commands(3))
    for stream, expected in (
        (b"\n", []),
        (COMMAND, []),
        (b'{"type":"ping","id":1}\n', []),
        (one + COMMAND, [0]),
        (one + b"\r\n" + two, [0]),
        (one + one, [0]),
        (one + three, [0]),
        (two + one, []),
        (one[:-1] + b"\r\n", []),
        (b" " + one, []),
        (one.replace(b"0", b"1", 1), []),
        (one + three[:SEAL_BYTES] + two[SEAL_BYTES:], [0]),
    ):
        for size in (1, 10_000):
            _, hub = ends()
            for at in range(0, len(stream), size):
                hub.take(stream[at : at + size])
            assert_broken_off(hub)
            assert ids(hub) == expected, stream
            hub.take(two + three)  # it stays so
            assert ids(hub) == expected


def test_what_comes_back_to_its_sender_ends_the_link() -> None:
    peer, _ = ends()
    for line in sent_by(peer, *commands(1)):
        peer.take(line)
    assert_broken_off(peer)


def test_another_key_or_another_name_ends_the_link() -> None:
    for seal, _ in (pair("fleet:" + "6" * 64), pair("fleez:" + "5" * 64), pair(name="t_2")):
        _, hub = ends()
        hub.take(seal.seal(COMMAND))
        assert_broken_off(hub)
        assert not ids(hub)


def test_the_longest_line_passes() -> None:
    peer, hub = ends()
    message = SocketMessage(
        "stand_up",
        1,
        data={"text": "x" * (MAX_LINE_BYTES - len(b'{"type":"stand_up","id":1,"data":{"text":""}}\n'))},
    )
    assert len(message.to_line()) == MAX_LINE_BYTES
    hub.take(sent_by(peer, message)[0])
    assert ids(hub) == [1]
    for _ in range(9):
        hub.take(b"x" * 500)
    assert hub.state == State.LINGERING
    assert hub.close_error is not None
    assert hub.close_error.code == ErrorCode.LINE_TOO_LONG


def test_more_bytes_than_may_follow_end_the_link() -> None:
    _, hub = ends()
    seal, _ = pair()
    hub.take(seal.seal(b"{}\n", 65))
    assert hub.state == State.LINGERING
    assert hub.close_error is not None
    assert hub.close_error.code == ErrorCode.LINE_TOO_LONG


def test_what_is_wrong_in_a_sealed_line_costs_one_error() -> None:
    peer, hub = ends()
    peer.send_line_nowait(b"not JSON\n")
    peer.send_nowait(SocketMessage("stand_up", 1))
    for line in peer.sent():
        hub.take(line)
    assert ids(hub) == [1]
    peer.take(hub.sent()[0])
    assert peer.close_error is None


class Asked:
    """A link whose hub answers that."""

    def __init__(self, reply: SocketMessage) -> None:
        self.reply = reply
        self.handlers: "dict[str, object]" = {"stand_up": True}
        self.health = None
        self.asked: "list[SocketMessage]" = []

    def new_id(self) -> int:
        return 1

    async def request(self, message: SocketMessage, timeout_ms: int) -> SocketMessage:
        self.asked.append(message)
        assert not self.handlers
        return self.reply


async def test_a_hub_that_does_not_challenge_is_refused() -> None:
    for reply, code in (
        (SocketMessage("registered", 1), ErrorCode.UNAUTHORIZED),
        (SocketMessage("challenge", 1), ErrorCode.BAD_MESSAGE),
        (SocketMessage("challenge", 1, data={"nonce": "a" * 31}), ErrorCode.BAD_MESSAGE),
        (SocketMessage("challenge", 1, data={"nonce": "A" * 32}), ErrorCode.BAD_MESSAGE),
        (SocketMessage("challenge", 1, data={"nonce": 5}), ErrorCode.BAD_MESSAGE),
    ):
        link: "Any" = Asked(reply)
        await raises_async(code, prove_key(link, TEXT, {"state": "down"}, "t_1", 100))
        [message] = link.asked
        assert "5555" not in message.to_line().decode()
        assert not link.handlers  # and it stays so
