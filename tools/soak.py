"""Boards under load for as long as one likes, at a pace faster than the world's: what is left of their heap.

A target gets commands, shots and outages from a hub at the world's pace; a hub board gets four targets and a
console. Both run the very firmware, with `memory_probe` beside it. A heartbeat of HEARTBEAT_MS instead of 600
leaves a busy computer time to answer within the board's patience; a link that is lost all the same is one
more outage.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from snyper.boards.board import BoardProcess
from snyper.firmware.master.registry import Peer
from snyper.firmware.master.server import Hub
from snyper.firmware.target.controller import ANSWERS
from snyper.shared.handshake_client import prove_key
from snyper.shared.handshake_server import Registration
from snyper.shared.link import Link
from snyper.shared.runtime import dial
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage
from tools.loopback import HOST, free_port
from tools.watched_board import Sample, modules_of, sample, until, watched_board

if TYPE_CHECKING:
    from snyper.shared.link import Handler

SPEED = 50
MINUTE_S = 60 / SPEED  # of the world's time
HEARTBEAT_MS = 3_000  # dead after 9 s of the board's clock: 180 ms here
WARM_UP_S = 600  # of the board's clock: what is meant to fill up (events, remembered names) has
OUTAGE_S = 0.3  # 15 s of the board's clock, longer than HEARTBEAT_MS and three beats
RETRY_S = 0.02
TARGETS = 4

# From a peer that has lost its mind: no JSON, no message, a wrong answer, too much of it, a line without end.
WRONG = (
    b"babble\n\xff\xfe\n{}\n[]\n",
    b'{"type":"standing","id":"never-asked"}\n{"type":"registered","id":0,"data":{"protocol":7}}\n' * 8,
    b"[" * 400 + b"\n" + b'{"type":"pong","id":' + b"9" * 300 + b"}\n",
    b'{"type":"' + b"x" * 9_000,
)


@dataclass
class Report:
    """The report of a soak, in bytes. `heap` is the board's; `stand_ins` is what stands in for its hardware,
    with the probe, which the soak adds to the heap.
    """

    role: str
    has_key: bool
    heap: int
    stand_ins: int
    samples: list[Sample] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)

    @property
    def least_free(self) -> int:
        """Return the least that was ever free."""
        return min(sample.free for sample in self.samples)

    @property
    def least_largest(self) -> int:
        """Return the largest piece that was free when that was least."""
        return min(sample.largest for sample in self.samples)

    @property
    def typical_largest(self) -> int:
        """Return the largest piece that was free, in the middle of all samples."""
        return round(median(sample.largest for sample in self.samples))

    @property
    def typical_free(self) -> int:
        """Return what was free in the middle of all samples."""
        return round(median(sample.free for sample in self.samples))

    @property
    def share(self) -> float:
        """Return `typical_free` as a share of the heap."""
        return self.typical_free / self.heap

    @property
    def least_share(self) -> float:
        """Return `least_free` as a share of the heap."""
        return self.least_free / self.heap

    @property
    def raw_share(self) -> float:
        """Return `share`, had the stand-ins to live in the board's heap; negative where they do not fit."""
        return (self.typical_free - self.stand_ins) / self.heap

    @property
    def growth(self) -> int:
        """Return by how many bytes more is in use in the last quarter of the time after WARM_UP_S than in its
        first, in the middle of the quiet samples; 0 where there are too few.
        """
        free = [sample.free for sample in self.samples if sample.is_quiet and sample.at_s >= WARM_UP_S]
        quarter = len(free) // 4
        return round(median(free[:quarter]) - median(free[-quarter:])) if quarter else 0


async def soak(
    role: str,
    directory: Path,
    minutes: int,
    on_minute: Callable[[int], None] = lambda minute: None,
    key: str = "",
) -> Report:
    """Run a board of that role for so many minutes of its clock; `directory` holds it. `on_minute` is told
    each one that has passed. With `key` all have that one. Raises RuntimeError when the board fails,
    TimeoutError when it does not come back after an outage, OSError.
    """
    play = {"target": _TargetPlay, "master": _HubPlay}[role](key)
    board, heap, stand_ins = await watched_board(directory, role, play.config, play.options, SPEED)
    report = Report(role, bool(key), heap, stand_ins)
    try:
        board.start()
        async with play.running(board):
            await play.wait_until_idle()
            began = time.monotonic()
            for minute in range(1, minutes + 1):
                end = began + minute * MINUTE_S
                await play.disturb(minute)
                await play.act()
                report.samples.append(await sample(board, is_quiet=False))
                while time.monotonic() < end:
                    await play.act()
                await play.wait_until_idle()
                report.samples.append(await sample(board, is_quiet=True))
                on_minute(minute)
        report.counts = play.counts
        report.modules = modules_of(board)
    finally:
        board.kill()
    return report


# --- what happens to the boards


class _Play:
    """A script for one board: `act` is one round of commands, `disturb` one outage, a new one each time."""

    config: dict[str, Any]
    options: dict[str, Any]

    def __init__(self, key: str) -> None:
        self.key = key
        self.counts: dict[str, int] = {}

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    @asynccontextmanager
    async def running(self, board: BoardProcess) -> AsyncIterator[None]:
        """Set up everything around the board."""
        raise NotImplementedError
        yield

    async def act(self) -> None:
        raise NotImplementedError

    async def disturb(self, turn: int) -> None:
        raise NotImplementedError

    async def wait_until_idle(self) -> None:
        """Return when everybody is connected and nothing is under way."""
        raise NotImplementedError


class PatientHub(Hub):
    """A hub at the world's pace whose targets' clocks are faster."""

    strangers_per_s = 400
    lines_at_once = events_at_once = 1_000_000

    heartbeat_ms = HEARTBEAT_MS

    def serve_peer(self, link: Link, message: SocketMessage, registration: Registration) -> Peer:
        registration.heartbeat_ms = self.heartbeat_ms
        return super().serve_peer(link, message, registration)


class _TargetPlay(_Play):
    """A hub that has its target stand up, lie down and wait for shots."""

    NAME = "target_1"

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self._hub = PatientHub(HOST, 0, 1, 1, key)
        self._relay = Relay()
        self.config = {"target_id": self.NAME, "hub": [f"{HOST}:{self._relay.port}"], "key": key}
        # The shortest wait here takes 50 ms of the board's clock, and an impact must not fall between two.
        self.options = {"hit_rate": 0.5, "reaction_ms": (450, 900), "impact_ms": 200}
        self._report = asyncio.Event()

    @asynccontextmanager
    async def running(self, board: BoardProcess) -> AsyncIterator[None]:
        self._board = board
        self._hub.router.events.listen(self._on_event)
        await self._hub.start()
        try:
            async with self._relay.running(self._hub.port):
                yield
        finally:
            await self._hub.shut_down()

    async def act(self) -> None:
        router = self._hub.router
        commands: list[tuple[str, dict[str, object] | None]] = [
            (MessageType.STAND_UP, None),
            (MessageType.PING, None),
            (MessageType.LAY_DOWN, None),
            (MessageType.IDENTIFY, {"duration_ms": 500}),
            (MessageType.READ_LOG, {"offset": 0}),
            (MessageType.READ_TRACE, {"offset": 0}),
            (MessageType.LISTEN, {"duration_ms": 100}),
            (MessageType.CONFIGURE, {"threshold": 20_000, "groups": ["left"]}),
            (MessageType.ACTIVATE, {"duration_ms": 2_000}),
        ]
        for message_type, data in commands:
            self._report.clear()
            try:
                peers = router.registry.select(self.NAME)
                results = await router.send(message_type, peers, data, 1_000).results()
            except ProtocolError:  # it has never registered yet
                return
            if not results[0].ok:
                self.count("refused or lost commands")
                await asyncio.sleep(RETRY_S)
                return
            self.count("commands")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._report.wait(), 1.0)

    async def disturb(self, turn: int) -> None:
        self.count("outages")
        kind = turn % 4
        if kind == 0:  # the hub's process is killed, and comes back later
            await self._relay.close()
            await asyncio.sleep(OUTAGE_S)
            await self._relay.open()
        elif kind == 1:  # the hub is frozen
            self._relay.carries = False
            await asyncio.sleep(OUTAGE_S)
            self._relay.carries = True
        elif kind == 2:  # the Wi-Fi is gone
            self._relay.carries = False
            self._board.set_air(up=False)
            await asyncio.sleep(OUTAGE_S)
            self._board.set_air(up=True)
            self._relay.carries = True
        else:
            self._relay.inject(WRONG[turn // 4 % len(WRONG)])

    async def wait_until_idle(self) -> None:
        async def is_down() -> bool:
            router = self._hub.router
            peers = router.registry.connected()
            if not peers:
                return False
            [result] = await router.send(MessageType.LAY_DOWN, peers, None, 1_000).results()
            return result.ok

        await _until_so(is_down, "the target should be back", self._board)

    def _on_event(self, seq: int, event: str, target_id: str, data: dict[str, Any]) -> None:
        if event in ("hit", "miss"):
            self.count("hits" if event == "hit" else "misses")
            self._report.set()


class _HubPlay(_Play):
    """Four targets and a console that commands them, each over a wire of its own."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self._port = free_port()
        self.config = {
            "listen": f"{HOST}:{self._port}",
            "max_targets": TARGETS,
            "max_consoles": 1,
            "key": key,
        }
        self.options: dict[str, Any] = {}
        names = [f"target_{number + 1}" for number in range(TARGETS)]
        self._targets = [TargetPeer(name, key, self.count) for name in names]
        self._console = _ConsolePeer("console", key, self.count)

    @asynccontextmanager
    async def running(self, board: BoardProcess) -> AsyncIterator[None]:
        self._board = board
        peers = [*self._targets, self._console]
        await until(lambda: board.times_up, "the hub should listen", board)
        running = [asyncio.create_task(peer.run(self._port)) for peer in peers]
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def act(self) -> None:
        ask = self._console.ask
        await ask(MessageType.STAND_UP, "all")
        await ask(MessageType.LAY_DOWN, "target_2")
        await ask(MessageType.PING, "all")
        await ask(MessageType.READ_LOG, "target_1", {"offset": 0})
        await ask(MessageType.LIST_TARGETS)
        await ask(MessageType.ACTIVATE, "all", {"duration_ms": 2_000})
        await asyncio.sleep(RETRY_S)  # for the reports

    async def disturb(self, turn: int) -> None:
        self.count("outages")
        target = self._targets[turn % TARGETS]
        kind = turn % 6
        if kind == 0:  # a target loses power, with a command under way
            pending = asyncio.create_task(self._console.ask(MessageType.ACTIVATE, "all"))
            await target.relay.close()
            await asyncio.sleep(OUTAGE_S)
            await target.relay.open()
            await pending
        elif kind == 1:  # a target hangs
            await self._silence([target.relay])
        elif kind == 2:  # the Wi-Fi is gone
            await self._silence([peer.relay for peer in (*self._targets, self._console)])
        elif kind == 3:
            target.relay.inject(WRONG[turn // 6 % len(WRONG)], toward_dialler=False)
        elif kind == 4:  # the console goes, with commands under way
            pending = asyncio.create_task(self._console.ask(MessageType.ACTIVATE, "all"))
            await self._console.relay.close()
            await self._console.relay.open()
            await pending
        else:  # strangers, who find no place or have no manners
            for wrong in WRONG:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection(HOST, self._port)
                    writer.write(wrong)
                    await asyncio.sleep(RETRY_S)
                    writer.transport.abort()

    async def wait_until_idle(self) -> None:
        async def is_everybody_here() -> bool:
            reply = await self._console.ask(MessageType.PING, "all")
            return reply is not None and reply.data == {"ok": TARGETS, "failed": 0}

        await _until_so(is_everybody_here, "everybody should be back", self._board)

    @staticmethod
    async def _silence(relays: "list[Relay]") -> None:
        for relay in relays:
            relay.carries = False
        await asyncio.sleep(OUTAGE_S)
        for relay in relays:
            relay.carries = True


class _Peer:
    """A peer that dials the hub board over `relay`, registers, and again after any loss."""

    role = "target"
    heartbeat_ms = HEARTBEAT_MS

    def __init__(self, name: str, key: str, count: Callable[[str], None]) -> None:
        self.relay = Relay()
        self.name = name
        self.key = key
        self.count = count
        self.link: Link | None = None
        self.handlers: dict[str, Handler] = {}

    async def run(self, hub_port: int) -> None:
        async with self.relay.running(hub_port):
            while True:
                with suppress(OSError, ProtocolError):
                    await self._visit()
                await asyncio.sleep(RETRY_S)

    async def _visit(self) -> None:
        stream = await dial(HOST, self.relay.port, 1_000)
        link = Link(stream, self.handlers, self.name)
        link.on_stream = lambda message: None
        link.health = lambda: b'{"state":"down","uptime_ms":60000,"dropped":0}'
        closed = asyncio.Event()
        link.start(lambda link: closed.set())
        try:
            if self.key:
                await prove_key(link, self.key, {"role": self.role}, self._target_id(), 1_000)
            await link.request(self._registration(), 1_000)
            await self.registered(link)
            self.link = link
            await closed.wait()
        finally:
            self.link = None
            link.end(ProtocolError(ErrorCode.DISCONNECTED, "it ends the link"))
            await link.let_go()

    def _registration(self) -> SocketMessage:
        data = {"role": self.role, "heartbeat_ms": self.heartbeat_ms, "hardware_id": self.name}
        return SocketMessage(MessageType.REGISTER, 0, self._target_id(), data=data)

    def _target_id(self) -> str | None:
        return self.name if self.role == "target" else None

    async def registered(self, link: Link) -> None:
        """Do what this peer does first."""


class TargetPeer(_Peer):
    """A target that does what it is told, at once, and reports a hit or a miss for each `activate`."""

    def __init__(self, name: str, key: str, count: Callable[[str], None]) -> None:
        super().__init__(name, key, count)
        for message_type in (
            MessageType.STAND_UP,
            MessageType.LAY_DOWN,
            MessageType.READ_LOG,
            MessageType.ACTIVATE,
        ):
            self.handlers[message_type] = self._obey
        self._reports = 0
        self._reporting: set[asyncio.Task[None]] = set()

    async def _obey(self, link: Link, message: SocketMessage) -> SocketMessage:
        data: dict[str, object] | None = None
        if message.type == MessageType.READ_LOG:
            data = {"text": "12.345 boot: target 0.1.0, reset by power on\n" * 11, "next": 512}
        elif message.type == MessageType.ACTIVATE:
            task = asyncio.create_task(self._report(link))
            self._reporting.add(task)
            task.add_done_callback(self._reporting.discard)
        reply = ANSWERS.get(message.type, MessageType.LOG)
        return message.reply(reply, reply, data)

    async def _report(self, link: Link) -> None:
        self._reports += 1
        is_hit = self._reports % 2
        data: dict[str, object] = {
            "gap_us": 2_345,
            "at_us": time.monotonic_ns() // 1000,
            "uncertainty_us": 940,
        }
        data.update({"reaction_ms": 412, "peak": 48_000} if is_hit else {"reason": "time_up"})
        report = MessageType.HIT if is_hit else MessageType.MISS
        with suppress(ProtocolError):
            await link.request(SocketMessage(report, f"{self.name}-{self._reports}", data=data), 1_000)
            self.count("hits" if is_hit else "misses")


class _ConsolePeer(_Peer):
    """A console that is subscribed to all events."""

    role = "console"

    async def registered(self, link: Link) -> None:
        await link.request(SocketMessage(MessageType.SUBSCRIBE, link.new_id(), data={"after": 0}), 1_000)

    async def ask(
        self, message_type: str, target: str | None = None, data: dict[str, object] | None = None
    ) -> SocketMessage | None:
        """Return the hub's reply; None when there is none."""
        if self.link is not None:
            with suppress(ProtocolError):
                message = SocketMessage(message_type, self.link.new_id(), target, data=data)
                reply = await self.link.request(message, 1_000)
                self.count("commands")
                return reply
        self.count("refused or lost commands")
        await asyncio.sleep(RETRY_S)
        return None


class Relay:
    """A wire from whoever dials `port` to a port of this computer. While it does not carry, bytes vanish, as
    on the air: nobody is told.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.carries = True
        self._to_port = 0
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[Any]] = set()
        self._diallers: list[asyncio.StreamWriter] = []
        self._dialled: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def running(self, to_port: int) -> AsyncIterator[None]:
        """Lead to `to_port` from now on."""
        self._to_port = to_port
        await self.open()
        try:
            yield
        finally:
            await self.close()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, self.port)

    async def close(self) -> None:
        """Hang up on both sides and refuse whoever dials."""
        if self._server is not None:
            self._server.close()
        for writer in (*self._diallers, *self._dialled):
            writer.transport.abort()
        await asyncio.gather(*self._links, return_exceptions=True)

    def inject(self, wrong: bytes, toward_dialler: bool = True) -> None:
        """Say `wrong` in the name of the other side."""
        for writer in self._diallers if toward_dialler else self._dialled:
            writer.write(wrong)

    async def _serve(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        self._diallers.append(near)
        if not self.carries:  # then nobody is reached either, until the dialler gives up
            with suppress(OSError):
                await near_reader.read(-1)
            near.transport.abort()
            self._diallers.remove(near)
            self._links.discard(task)
            return
        try:
            far_reader, far = await asyncio.open_connection(HOST, self._to_port)
        except OSError:
            near.transport.abort()
            self._diallers.remove(near)
            self._links.discard(task)
            return
        self._dialled.append(far)
        try:
            await asyncio.gather(self._carry(near_reader, far), self._carry(far_reader, near))
        finally:
            self._diallers.remove(near)
            self._dialled.remove(far)
            self._links.discard(task)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while piece := await source.read(4_096):
                if self.carries:
                    sink.write(piece)
                    await sink.drain()
        except OSError:
            pass  # the other end is told below
        finally:
            sink.transport.abort()


async def _until_so(
    condition: Callable[[], Coroutine[Any, Any, bool]], what: str, board: BoardProcess
) -> None:
    is_so = False

    async def ask() -> None:
        nonlocal is_so
        while not is_so:
            is_so = await condition()
            await asyncio.sleep(RETRY_S)

    asking = asyncio.create_task(ask())
    try:
        await until(lambda: is_so or asking.done(), what, board)
    finally:
        if not is_so:
            asking.cancel()
        await asking
