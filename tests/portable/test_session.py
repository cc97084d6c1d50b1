"""A session's way to its hub: the table of states, what goes wrong where, what comes after a loss."""

import asyncio

from snyper.shared.runtime import MAX_CHUNK_BYTES, end_task
from snyper.shared.session import TRANSITIONS, Session, SessionState
from snyper.shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage
from tests.portable.loopback import RawPeer, StreamServer
from tests.portable.support import begin, never_ends, within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.shared.handshake_client import Registered
    from snyper.shared.link import Link

NOWHERE = "nowhere:1"
FAILED_TO_JOIN = ["joining", "waiting"]
FAILED_TO_DIAL = ["joining", "connecting", "waiting"]
REFUSED = ["joining", "connecting", "handshake", "waiting"]
LOST = ["joining", "connecting", "handshake", "connected", "waiting"]


class _Peer(Session):
    """A peer without a network of its own, which finds no host whose name begins with `nowhere`."""

    max_retry_ms = 20

    def __init__(self, *hubs: str, target_id: str = "t_1", key: str = "") -> None:
        super().__init__(hubs, {}, target_id, key)
        self.states: "list[str]" = []
        self.found: "list[str]" = []
        self.lost: "list[tuple[str, object]]" = []
        self.served: "list[str]" = []
        self.fails_to_join = False
        self.hangs_in = ""
        self._changed = asyncio.Event()

    async def until(self, *states: str) -> None:
        """Return once these have come in this order, without any between them."""
        while self.states[-len(states) :] != list(states):
            self._changed.clear()
            await within(self._changed.wait())

    async def join(self) -> None:
        if self.hangs_in == "join":
            await never_ends()
        if self.fails_to_join:
            raise OSError(5, "no Wi-Fi here")

    async def find(self, host: str) -> str:
        self.found.append(host)
        if self.hangs_in == "find":
            await never_ends()
        if host.startswith("nowhere"):
            raise OSError(5, "no such host")
        return host

    def registration(self) -> "dict[str, object]":
        return {"state": "down"}

    def on_registered(self, link: "Link", registered: "Registered", asked_us: int) -> None:
        assert link is self.link
        assert 0 < asked_us <= link.received_us
        self.served.append("began with " + registered.boot_id)

    async def serve(self, link: "Link") -> None:
        try:
            await never_ends()
        finally:
            self.served.append("ended")

    def on_lost(self) -> None:
        assert self.link is None
        self.lost.append((self.state, getattr(self.last_error, "code", None)))

    def on_state(self, state: str) -> None:
        assert state == self.state
        self.states.append(state)
        self._changed.set()


async def _registering(server: StreamServer) -> "tuple[RawPeer, SocketMessage]":
    """The hub's end of the next connection, and the `register` that has come over it."""
    peer = RawPeer(await server.accept())
    message = await peer.next()
    assert message is not None
    assert message.type == "register"
    return peer, message


async def _admitted(server: StreamServer, boot_id: str = "h") -> RawPeer:
    peer, message = await _registering(server)
    await peer.send(message.reply("registered", "registered", {"boot_id": boot_id}).to_line())
    return peer


# --- the table


def test_every_state_is_reached_and_only_stopped_is_the_end() -> None:
    reached = {SessionState.OFFLINE}
    for _ in TRANSITIONS:
        reached |= {TRANSITIONS[key] for key in TRANSITIONS if key[0] in reached}
    assert reached == {getattr(SessionState, name) for name in dir(SessionState) if name.isupper()}
    assert {state for state, _ in TRANSITIONS} == reached - {SessionState.STOPPED}


def test_an_attempt_can_end_at_any_step() -> None:
    under_way = {state for state, _ in TRANSITIONS} - {SessionState.OFFLINE, SessionState.WAITING}
    assert len(under_way) == 4
    for state in under_way:
        assert TRANSITIONS[(state, "end")] == SessionState.WAITING


def test_what_is_not_in_the_table_is_a_defect() -> None:
    try:
        _Peer(NOWHERE)._change("end")
    except KeyError:
        return
    raise AssertionError("offline, and it ends")


# --- without a hub


async def test_without_a_network_no_hub_is_asked() -> None:
    peer = _Peer(NOWHERE)
    peer.fails_to_join = True
    await peer.attempt()
    assert (peer.states, peer.found, peer.lost) == (FAILED_TO_JOIN, [], [])
    assert str(peer.last_error).endswith("no Wi-Fi here")


async def test_each_hub_in_its_turn() -> None:
    peer = _Peer(NOWHERE, "nowhere-else:1")
    for _ in range(3):
        await peer.attempt()
        assert isinstance(peer.last_error, OSError)
    assert peer.states == 3 * FAILED_TO_DIAL
    assert peer.found == ["nowhere", "nowhere-else", "nowhere"]
    assert not peer.is_refused


async def test_it_tries_again_until_it_is_cancelled() -> None:
    peer = _Peer(NOWHERE)
    running = asyncio.create_task(peer.run())
    await peer.until(*3 * FAILED_TO_DIAL)
    await end_task(running)
    assert peer.state == SessionState.STOPPED


async def test_it_is_cancelled_on_its_way() -> None:
    for where, state in (("join", "joining"), ("find", "connecting")):
        peer = _Peer(NOWHERE)
        peer.hangs_in = where
        running = asyncio.create_task(peer.run())
        await peer.until(state)
        await end_task(running)
        assert peer.states[-3:] == [state, "waiting", "stopped"]
        assert peer.last_error is None


async def test_ctrl_c_in_the_middle_of_a_change_is_told_as_that() -> None:
    """A board prints each change to its USB, which can take a while; there a Ctrl-C is no failed boot."""

    def interrupt(state: str) -> None:
        seen.append(state)
        if state == at:
            raise KeyboardInterrupt

    for at in FAILED_TO_DIAL:
        seen: "list[str]" = []
        peer = _Peer(NOWHERE)
        peer.on_state = interrupt  # type: ignore[method-assign]
        try:
            await peer.run()
        except KeyboardInterrupt:
            assert at in seen
            continue
        raise AssertionError("it should end")


# --- with one


async def test_it_registers_again_with_a_hub_that_it_has_lost() -> None:
    async with StreamServer() as server:
        peer = _Peer(NOWHERE, server.address)
        running = asyncio.create_task(peer.run())
        hub, message = await _registering(server)
        assert message.target_id == "t_1"
        assert message.data == {
            "protocol": 1,
            "max_chunk_bytes": MAX_CHUNK_BYTES,
            "state": "down",
        }
        await hub.send(message.reply("registered", "registered", {"boot_id": "h1"}).to_line())
        await peer.until("connected")
        assert peer.states == FAILED_TO_DIAL + LOST[:-1]
        assert peer.last_error is None
        await hub.close()
        hub = await _admitted(server, "h2")
        await peer.until(*LOST, *LOST[:-1])  # and the other address was not tried again
        assert peer.served == ["began with h1", "ended", "began with h2"]
        assert peer.lost == [("connected", ErrorCode.DISCONNECTED)]
        await end_task(running)
        assert peer.states[-2:] == ["waiting", "stopped"]
        assert peer.served[-1] == "ended"
        assert peer.link is None
        assert await hub.next() is None
        await hub.close()


async def test_a_refusal_is_the_reason() -> None:
    for code, is_refused in (
        (ErrorCode.BUSY, False),
        (ErrorCode.UNAUTHORIZED, True),
        (ErrorCode.DUPLICATE_TARGET, True),
    ):
        async with StreamServer() as server:
            peer = _Peer(server.address)
            attempt = begin(peer.attempt())
            hub, message = await _registering(server)
            await hub.send(ProtocolError(code, "not today").to_message(message.id).to_line())
            await within(attempt)
            assert peer.states == REFUSED
            assert peer.lost == [("handshake", code)]
            assert peer.is_refused is is_refused, code
            assert peer.served == []
            await hub.close()


async def test_a_hub_that_goes_before_it_answers_is_none() -> None:
    async with StreamServer() as server:
        peer = _Peer(server.address)
        attempt = begin(peer.attempt())
        hub, _ = await _registering(server)
        await hub.close()
        await within(attempt)
        assert peer.states == REFUSED
        assert peer.lost == [("handshake", ErrorCode.DISCONNECTED)]


async def test_what_answers_otherwise_is_no_hub() -> None:
    async with StreamServer() as server:
        peer = _Peer(server.address)
        peer.register_timeout_ms = 100
        attempt = begin(peer.attempt())
        hub, _ = await _registering(server)  # and says nothing
        await within(attempt)
        await hub.close()
        assert peer.lost.pop() == ("handshake", ErrorCode.TIMEOUT)
        attempt = begin(peer.attempt())
        hub, message = await _registering(server)
        await hub.send(message.reply("pong", "alive").to_line())
        await within(attempt)
        assert peer.lost.pop() == ("handshake", ErrorCode.UNKNOWN_TYPE)
        await hub.close()
