"""A network without sockets: connections in memory that are late, cut, silent, half-open, or cut to pieces.

It keeps what TCP promises and nothing more: bytes of one direction come in order, or not at all. Pieces are
of any size, a sender that is not read is held up, and whoever writes to a connection that the other side has
lost is told so, once that news can get through.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tools.chaos.virtual_time import Machine, VirtualLoop

WINDOW_BYTES = 4_000  # on their way in one direction; a Pico W's are fewer
RETRANSMIT_S = (0.0, 0.3)  # until what was held goes on
SYN_S = 1.0  # between two attempts to open a connection: RFC 6298's first timer

Tap = Callable[["End", bytes], None]


class Route:
    """The route between a machine and all others: every connection of it goes through here."""

    def __init__(self) -> None:
        self.is_on = True  # else it has no power: it neither sends nor answers
        self.hears = True
        self.is_heard = True
        self.delay_ms = (0.2, 2.0)
        self.cut_up = 0.1  # how many of the pieces are cut in two
        self.held: list[Callable[[], None]] = []  # what waits until the route is whole again


class _Pipe:
    """One direction of a connection."""

    def __init__(self, network: "Network", source: "End", target: "End") -> None:
        self.network = network
        self.source = source
        self.target = target
        self.bytes_under_way = 0
        self._arrives_s = 0.0
        self._queue: deque[bytes | None] = deque()  # None: the end of the stream
        self._is_reset = False
        self._is_waiting = False  # for the route

    def send(self, piece: bytes | None) -> None:
        """Send a piece on its way; None ends the stream."""
        rng = self.network.rng
        route = self.network.route(self.source.machine)
        if piece and len(piece) > 1 and rng.random() < route.cut_up:
            cut = rng.randrange(1, len(piece))
            self._send(piece[:cut])
            piece = piece[cut:]
        self._send(piece)

    def reset(self) -> None:
        """Tell the other side that this one is no more, after what is under way."""
        self._is_reset = True
        self._send(None)

    def _send(self, piece: bytes | None) -> None:
        self.bytes_under_way += len(piece or b"")
        self._queue.append(piece)
        network = self.network
        delay_s = network.delay_s(self.source.machine) + network.delay_s(self.target.machine)
        self._arrives_s = max(network.loop.time() + delay_s, self._arrives_s)
        network.loop.call_at(self._arrives_s, self._arrive, context=self.target.machine.context)

    def _arrive(self) -> None:
        if self._is_waiting or not self._queue:
            return
        if not self.network.is_open(self.source.machine, self.target.machine):
            self._is_waiting = True
            self.network.wait_for_route(self.source.machine, self.target.machine, self._go_on)
            return
        if not self.target.reads and not self.target.is_gone:
            return  # `resume_reading` goes on
        piece = self._queue.popleft()
        if piece is not None:
            self.bytes_under_way -= len(piece)
        if self.target.is_gone:
            if piece is not None:
                self.network.refuse(self)
        elif piece is None:
            self.target.end_of_stream(self._is_reset)
        else:
            self.target.take(piece)
        self.source.on_room()

    def _go_on(self) -> None:
        self._is_waiting = False
        self.flush()

    def clear(self) -> None:
        """Lose what is under way."""
        self._queue.clear()
        self.bytes_under_way = 0

    def flush(self) -> None:
        """Let everything arrive that has waited."""
        for _ in range(len(self._queue)):
            self.target.machine.soon(self._arrive)


class End(asyncio.Transport):
    """One side's transport of a connection."""

    protocol: Any
    out: _Pipe

    def __init__(self, machine: Machine, network: "Network") -> None:
        super().__init__()
        self.machine = machine
        self.network = network
        self.is_gone = False  # for the other side: whoever sends to it is told so
        self.reads = False
        self.is_registered = False
        self.heard_s = network.loop.time()
        self.closed_s = 0.0
        self.peer: End | None = None
        self.key = ("", "", "")  # of the board at either end: its hardware, its name and its boot
        self.written = self.received = b""  # a line that is not whole yet, or its bytes, for the taps
        self._buffer = bytearray()
        self._is_closing = False
        self._is_paused = False

    def begin(self, protocol: Any) -> None:
        """Give the connection to its protocol."""
        self.protocol = protocol
        self.heard_s = self.network.loop.time()
        self.reads = True
        protocol.connection_made(self)
        if self.reads:
            self.resume_reading()

    # --- what the network does

    def take(self, piece: bytes) -> None:
        self.heard_s = self.network.loop.time()
        self.network.on_received(self, piece)
        if isinstance(self.protocol, asyncio.BufferedProtocol):
            memoryview(self.protocol.get_buffer(len(piece)))[: len(piece)] = piece
            self.protocol.buffer_updated(len(piece))
        else:
            self.protocol.data_received(piece)

    def end_of_stream(self, is_reset: bool) -> None:
        if is_reset:
            self.lose(ConnectionResetError(104, "Connection reset by peer"))
        elif not self.protocol.eof_received():
            self.abort()

    def lose(self, error: Exception | None) -> None:
        """End this side: its protocol learns of it."""
        if not self.is_gone:
            self.is_gone = True
            self._is_closing = True
            self.closed_s = self.network.loop.time()
            self._buffer.clear()
            self.network.ends.remove(self)
            if hasattr(self, "protocol"):
                self.machine.soon(self.protocol.connection_lost, error)

    def vanish(self) -> None:
        """End this side without a word to the other one, as a loss of power does."""
        self.out.clear()
        self.lose(ConnectionAbortedError(103, "Software caused connection abort"))

    def on_room(self) -> None:
        if self._buffer and not self.is_gone:
            self._push()
            if not self._buffer and self._is_paused:
                self._is_paused = False
                self.machine.soon(self._resume)

    def _resume(self) -> None:
        if not self.is_gone and not self._is_paused:
            self.protocol.resume_writing()

    def _push(self) -> None:
        room = WINDOW_BYTES - self.out.bytes_under_way
        if room > 0:
            piece = bytes(self._buffer[:room])
            del self._buffer[:room]
            self.out.send(piece)
        if not self._buffer and self._is_closing:
            self.abort()

    # --- what a transport does

    def write(self, data: Any) -> None:
        if not self._is_closing and data:
            self.network.on_written(self, bytes(data))
            self._buffer += data
            self._push()
            if self._buffer and not self._is_paused:
                self._is_paused = True
                self.protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: whatever the network has not taken is too much, as `configure_stream` wants it."""

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            if not self._buffer:
                self.abort()

    def abort(self) -> None:
        if not self.is_gone:
            if self.network.rng.random() < 0.5:
                self.out.send(None)
            else:
                self.out.reset()
            self.lose(None)

    def is_reading(self) -> bool:
        return self.reads

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True
        if self.peer is not None:
            self.peer.out.flush()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class _Server:
    """A server that listens."""

    def __init__(self, network: "Network", machine: Machine, factory: Any, port: int) -> None:
        self.factory = factory
        self.sockets = [self]
        self.family = 0
        self._network = network
        self._key = (machine.address, port)

    def getsockname(self) -> tuple[str, int]:
        return self._key

    async def close(self) -> None:
        if self._network.servers.get(self._key) is self:
            del self._network.servers[self._key]


class Network:
    """All machines, all connections. `on_written` and `on_received` see every piece, `on_dial(machine)` every
    attempt.
    """

    def __init__(self, loop: VirtualLoop, rng: random.Random) -> None:
        self.loop = loop
        self.rng = rng
        self.machines: dict[str, Machine] = {}
        self.servers: dict[tuple[str, int], _Server] = {}
        self.ends: list[End] = []
        self.on_written: Tap = lambda end, piece: None
        self.on_received: Tap = lambda end, piece: None
        self.on_dial: Callable[[Machine], None] = lambda machine: None
        self._routes: dict[Machine, Route] = {}
        loop.network = self

    def add(self, machine: Machine) -> Route:
        """Plug a machine in."""
        self.machines[machine.address] = machine
        self._routes[machine] = Route()
        return self._routes[machine]

    def route(self, machine: Machine) -> Route:
        return self._routes[machine]

    def delay_s(self, machine: Machine) -> float:
        """Return how long a piece needs to or from that machine, drawn anew."""
        low, high = self._routes[machine].delay_ms
        return (low + (high - low) * self.rng.random() ** 3) / 2_000

    def is_open(self, source: Machine, target: Machine) -> bool:
        """Return whether a packet gets through."""
        one, other = self._routes[source], self._routes[target]
        return one.is_on and one.is_heard and other.is_on and other.hears

    def wait_for_route(self, source: Machine, target: Machine, go_on: Callable[[], None]) -> None:
        """Call `go_on` once packets may get through again."""
        one, other = self._routes[source], self._routes[target]
        (other if one.is_on and one.is_heard else one).held.append(go_on)

    def heal(self, machine: Machine) -> None:
        """Let what has waited for a machine's route go on, after a retransmission timer."""
        route = self._routes[machine]
        held, route.held = route.held, []
        for go_on in held:
            machine.later(self.rng.uniform(*RETRANSMIT_S), go_on)

    def refuse(self, pipe: _Pipe) -> None:
        """Tell a sender that the other side knows nothing of its connection any more."""
        if pipe.target.is_gone and not pipe.source.is_gone:
            pipe.target.out.reset()

    def cut(self, end: End, is_both: bool) -> None:
        """Cut a connection at one side, or both."""
        end.lose(ConnectionResetError(104, "Connection reset by peer"))
        if is_both and end.peer is not None:
            end.peer.lose(ConnectionResetError(104, "Connection reset by peer"))

    def ends_of(self, machine: Machine) -> list[End]:
        """Return that machine's sides of its connections."""
        return [end for end in self.ends if end.machine is machine]

    def listen(self, machine: Machine, factory: Any, port: int) -> _Server:
        """Listen on that machine."""
        server = _Server(self, machine, factory, port)
        self.servers[machine.address, port] = server
        return server

    async def _pass(self, source: Machine, target: Machine) -> None:
        """Wait until a packet has come from the one to the other, however often it is sent."""
        while not self.is_open(source, target):
            healed = asyncio.Event()
            self.wait_for_route(source, target, healed.set)
            with suppress(TimeoutError):  # who would have told of the route may have crashed
                async with asyncio.timeout(SYN_S):
                    await healed.wait()
        await asyncio.sleep(self.delay_s(source) + self.delay_s(target))

    async def connect(self, machine: Machine, factory: Any, address: str, port: int) -> tuple[End, Any]:
        """Open a connection. Raises OSError. May be cancelled."""
        self.on_dial(machine)
        other = self.machines[address]
        await self._pass(machine, other)
        server = self.servers.get((address, port))
        near, far = End(machine, self), End(other, self)
        near.peer, far.peer = far, near
        near.out, far.out = _Pipe(self, near, far), _Pipe(self, far, near)
        if server is None:
            await self._pass(other, machine)
            raise ConnectionRefusedError(111, "Connection refused")
        self.ends += [near, far]
        other.soon(_accept, far, server.factory)
        try:
            await self._pass(other, machine)
        except asyncio.CancelledError:
            near.abort()
            raise
        if near.is_gone:
            raise ConnectionResetError(104, "Connection reset by peer")
        protocol = factory()
        near.begin(protocol)
        return near, protocol


def _accept(end: End, factory: Any) -> None:
    if not end.is_gone:
        end.begin(factory())
