"""The hub's server: listens, admits peers that register, and connects each link to its role's handlers."""

import asyncio
import os

from snyper.firmware.master.crosstalk import CROSSTALK_MS
from snyper.firmware.master.events import EventLog
from snyper.firmware.master.registry import Registry
from snyper.firmware.master.router import Router
from snyper.shared.clock import now_ms, now_us
from snyper.shared.link import Link
from snyper.shared.link_core import ANY_FOR_ANOTHER, CloseReason, State
from snyper.shared.log import log
from snyper.shared.runtime import (
    Stream,
    bound_port,
    close_server,
    collect_garbage,
    listen,
    sleep_ms,
    unload,
)
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snyper.firmware.master.game_runner import GameRunner
    from snyper.firmware.master.registry import Peer
    from snyper.shared.handshake_server import Registration

MAX_EVENTS = 24
REGISTER_MS = 5_000
_BACKLOG = 1024  # connections that wait to be accepted; the system may hold fewer
_MIN_BACKLOG = 16  # more than a few who dial again and again, so that they come one after the other
SWEEP_MS = 500
_SWEEP_OVERDUE_MS = 5_000
_NOBODY = 1
_OLDEST = 2
_HEALTH = b'{"hub_us":%d,"uptime_ms":%d,"targets":%d%s}'  # `data` of a `pong`


class Access:
    """The words for whom a hub admits."""

    LOCAL = "local"  # whoever reaches it: no stranger does
    KEYS = "keys"  # whoever proves a key
    OPEN = "open"  # whoever reaches it, strangers too, which each peer is told


class Hub:
    """A hub that listens on `host` (empty: all addresses) and `port` (on CPython 0 finds a free one).

    At most `max_targets` and `max_consoles` are connected at once: 4 and 1 on a Pico W, whose network stack
    has five connections. `keys` are as in `keyring.py`: where there are any, only who proves one is served.
    `max_events` is how many past events a console that comes back can ask for; `events` is a log that keeps
    more of them. `crosstalk_ms` is the window of `crosstalk.py`. The other limits may be changed before
    `start`.

    A stranger, who has not registered, has a place that nobody else needs: at most `unregistered` are
    there, and when one more comes the oldest goes. Who goes without having registered leaves its place empty
    for a while, so no more than `strangers_per_s` come.

    Each connection may send `lines_per_s`, and `lines_at_once` before it is held to that; each name may cause
    events likewise: a report, a change of state, that it came or went. Who hangs up and comes back goes on
    where it was.
    """

    # Here, and not in each hub: on a board every attribute that is set takes memory.
    access = Access.LOCAL
    cease_fire_file: "Any" = None  # in which a cease fire outlives the hub: of a board's flash the path
    released: "tuple[str, int] | None" = None  # who has released the last one, and when by `now_ms`
    unregistered = places = 4  # those that strangers may still take
    strangers_per_s = 4
    per_address = 64
    wrong_keys_at_once = 10
    register_ms = REGISTER_MS
    lines_at_once = 10_000  # a file of some megabytes
    lines_per_s = 100  # half of what a Pico W can answer
    events_at_once = 100  # more than what a target has to tell after an outage
    events_per_s = 20  # as often as the fastest servo rises and falls
    wrong_keys: "dict[object, int] | None" = None  # by address: see admission.py

    def __init__(
        self,
        host: str,
        port: int,
        max_targets: int,
        max_consoles: int,
        keys: str = "",
        max_events: int = MAX_EVENTS,
        events: "EventLog | None" = None,
        crosstalk_ms: int = CROSSTALK_MS,
    ) -> None:
        self.boot_id = os.urandom(4).hex()
        if events is None:
            events = EventLog(max_events, self.boot_id)
        registry = Registry(max_targets, max_consoles)
        self.router = Router(registry, events, self.boot_id, crosstalk_ms)
        self._host = host
        self.port = port
        self.max_connections = max_targets + max_consoles
        self._id_prefixes = 0
        self.links: "list[Link]" = []  # of all who are connected
        self.strangers: "list[Link]" = []  # those of them who have not registered, the oldest first
        self.caused: "dict[str, int]" = {}  # lately, how many events by whom: the sweep counts down
        events.listen(self._on_event)
        self._connections = 0
        self.keys = keys
        if keys:
            self.access = Access.KEYS
        self._health = self.health  # one object: on a board each `self.health` takes memory
        self._closed = self._on_closed
        self._started_ms = now_ms()
        self._swept_ms = now_ms()
        self.game_runner: "GameRunner | None" = None  # None until `games` is asked for

    @property
    def games(self) -> "GameRunner":
        """The runner of games: loaded when it is first asked for, and then it stays."""
        if self.game_runner is None:
            from snyper.firmware.master.game_runner import GameRunner

            self.game_runner = GameRunner(self.router, self.boot_id)
        return self.game_runner

    async def start(self) -> None:
        """Start to listen. Raises OSError when the address cannot be used."""
        backlog = max(_MIN_BACKLOG, min(self.max_connections, _BACKLOG))
        self._server = await listen(self._serve, self._host, self.port, backlog, self._may_accept)
        self.port = bound_port(self._server, self.port)
        self._sweeper = asyncio.create_task(self._sweep())
        log("hub", "listening on port %d" % self.port)

    async def shut_down(self) -> None:
        """End the game, stop listening, close every link and wait until all of them are gone."""
        if self.game_runner is not None:
            await self.game_runner.stop()
        self._sweeper.cancel()
        await close_server(self._server)
        for link in list(self.links):
            error = ProtocolError(ErrorCode.DISCONNECTED, "the hub stops")
            link.end(error, CloseReason.STOPPING)  # also one that has been told why it is not served
        while self.links:
            assert self.links[0].ending is not None
            await self.links[0].ending

    def is_alive(self) -> bool:
        """Return whether the task that attends to the links has done so lately."""
        return now_ms() - self._swept_ms < _SWEEP_OVERDUE_MS

    def health(self) -> bytes:
        """Encode what a PONG says of the hub. Each target asks for it all the time."""
        journal = self.router.events.journal
        return _HEALTH % (
            now_us(),
            now_ms() - self._started_ms,
            self.router.registry.count,
            b',"journal":"%s"' % journal.encode() if journal else b"",
        )

    async def _serve(self, stream: Stream) -> None:
        self._connections += 1
        try:
            link = Link(stream, {}, "link %d" % self._connections, self._register)
        except MemoryError:
            await stream.close()
            raise
        link.health = self._health
        self.links.append(link)
        self.strangers.append(link)
        self.places -= 1
        link.is_quiet = self.places < max(
            self.unregistered // 2, self.unregistered - 8
        )  # a few are in the log
        link.start(self._closed)
        try:
            self._make_room()
        except MemoryError as error:
            link.connection_lost(error)  # the newcomer's loss, and nobody else's
        if len(self.links) - len(self.strangers) >= self.max_connections:
            refuse(link, ErrorCode.BUSY, "this hub takes %d connections" % self.max_connections)

    def _on_closed(self, link: Link) -> None:
        if link.ending is None:
            try:
                link.ending = asyncio.create_task(self._forget(link))
            except MemoryError:
                return  # the link asks for it again

    async def _forget(self, link: Link) -> None:
        try:
            await link.let_go()
        finally:
            self.links.remove(link)
            if link in self.strangers:
                self.strangers.remove(link)

    def _may_accept(self) -> bool:
        """Tell whether one more stranger may come: where there is no room, the oldest has had its time."""
        return self.places > 0 and self._spare(1) != _NOBODY

    def _make_room(self) -> None:
        """Put the oldest out where there are too many. Not in `_serve`: what this loads would stay."""
        if self._spare(0) == _OLDEST:
            from snyper.firmware.master.admission import put_out_stranger

            unload("snyper.firmware.master.admission")
            put_out_stranger(self.strangers)

    def _spare(self, more: int) -> int:
        """Return who may go for so many `more` strangers: _NOBODY, the _OLDEST; 0 where nobody has to."""
        registered = len(self.links) - len(self.strangers)
        room = max(1, min(self.unregistered, self.max_connections - registered))
        if len(self.strangers) + more <= room:
            return 0
        if more and [link for link in self.strangers if link.state == State.CLOSED]:
            return _NOBODY  # who was put out has not gone yet
        had_ms = now_ms() - self.strangers[0].opened_ms
        return _NOBODY if had_ms * self.strangers_per_s < room * 1000 else _OLDEST

    async def _sweep(self) -> None:
        while True:
            await sleep_ms(SWEEP_MS)
            self._swept_ms = now_ms()
            self._put_out()
            if self.router.cease_fire is not None:
                self.router.cease_fire.enforce()

    def _put_out(self) -> None:
        """Put out who did not register in time, or says too much: each SWEEP_MS."""
        self.places = min(self.unregistered, self.places + self.strangers_per_s * SWEEP_MS // 1000)
        overdue_ms = now_ms() - self.register_ms
        for link in self.links[:]:
            if link.close_error is not None:
                continue
            if link.lines > self.lines_at_once:
                refuse(link, ErrorCode.BUSY, "too many lines")
            elif link.lines:
                link.lines = max(0, link.lines - self.lines_per_s * SWEEP_MS // 1000)
            if link.state == State.NEW and link.opened_ms <= overdue_ms:
                refuse(link, ErrorCode.NOT_REGISTERED, "the first message is `register`")
        rest = self.events_per_s * SWEEP_MS // 1000
        for name, count in list(self.caused.items()):
            if count > rest:
                self.caused[name] = count - rest
            else:
                del self.caused[name]

    def _on_event(self, seq: int, event: str, target_id: str, data: "dict[str, object]") -> None:
        peer = self.router.registry.named.get(target_id)
        if peer is not None:
            count = self.caused[target_id] = self.caused.get(target_id, 0) + 1
            if count > self.events_at_once and peer.link is not None:
                refuse(peer.link, ErrorCode.BUSY, "too many reports and changes of state")

    def _register(self, link: Link, message: SocketMessage) -> None:
        """Admit a peer, or say why not and hang up. What it says before it registers is one error each."""
        if message.type != MessageType.REGISTER:
            error = ProtocolError(ErrorCode.NOT_REGISTERED, "the first message is `register`")
            link.send_nowait(error.to_message(message.id, message.target_id))
            return
        from snyper.firmware.master.admission import register

        unload("snyper.firmware.master.admission", "snyper.shared.handshake_server")
        register(self, link, message)
        collect_garbage()  # what it needed lies between what stays

    def on_unproven(self, link: Link, why: ProtocolError) -> None:
        """Count a wrong key, for which `link` has ended. In admission.py the link would keep all that."""
        if why.code == ErrorCode.UNAUTHORIZED:
            from snyper.firmware.master.admission import count_wrong_key

            unload("snyper.firmware.master.admission")
            count_wrong_key(self, link._stream.address)

    def serve_peer(self, link: Link, message: SocketMessage, registration: "Registration") -> "Peer":
        """Admit a peer, instead of the link that it had before, and serve it from now on; return it.

        Raises ProtocolError: `unsupported`, `bad_message`, `duplicate_target`, `busy`.
        """
        from snyper.firmware.master.admission import admit, role_of

        unload("snyper.firmware.master.admission", "snyper.shared.handshake_server")
        peer, replaced = admit(self.router.registry, registration, link, role_of(registration.role))
        if replaced is not None:
            replaced.close(ProtocolError(ErrorCode.DISCONNECTED, "the board has come back over a new link"))
        peer.hub = self
        handlers = peer.handlers()
        handlers[MessageType.REGISTER] = seldom = self._answer
        if peer.is_named:  # a console has its own way to others
            handlers[ANY_FOR_ANOTHER] = seldom
        link.open(handlers, registration.target_id or registration.role)
        self.strangers.remove(link)
        link.is_quiet = False
        self.places += 1  # somebody who is known needs none
        link.on_health = peer.on_health
        link.on_stream = peer.on_item
        link.on_close = peer.on_close
        link.peer_max_line_bytes = registration.max_line_bytes
        link.peer_max_chunk_bytes = registration.max_chunk_bytes
        is_open = self.access == Access.OPEN
        link.send_nowait(registration.reply(message, self.boot_id, now_us(), link.max_chunk_bytes, is_open))
        link.start_heartbeat(registration.heartbeat_ms, registration.heartbeat_ms)
        peer.on_registered()
        return peer

    async def _answer(self, link: Link, message: SocketMessage) -> "SocketMessage | None":
        """Answer what comes once a connection, if at all."""
        from snyper.firmware.master.asking import answer

        unload("snyper.firmware.master.asking")
        return await answer(self, link, message)

    def new_id_prefix(self) -> str:
        """Return what the ids of one connection's commands begin with: a peer takes no other's for them."""
        self._id_prefixes += 1
        return "%s-%d-" % (self.boot_id, self._id_prefixes)


def refuse(
    link: Link, code: str, why: str, message: "SocketMessage | None" = None, quiet: bool = False
) -> None:
    """Tell a peer why it is not served, and hang up."""
    error = ProtocolError(code, why)
    try:
        link.send_nowait(error.to_message(message.id, message.target_id) if message else error.to_message())
    except ProtocolError as lost:
        link.log("refused, and it has gone: %s" % lost)
    link.close(error, linger=True, quiet=quiet)
