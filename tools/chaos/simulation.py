"""Simulate a range under faults: a hub, eight targets, a console and games in one process, without sockets.

The files are those that are flashed and installed, on an event loop with virtual time: so links, handshakes,
backoff, outbox, motion, clock synchronisation, routing, games, transfers and the log of events are tried
together, with every task and timer that they have, which two cores of links and a queue between them would
leave out. What is simulated lies below: network, clocks, disk, flash, servo and piezo. Python 3.11 needs a
loop of our own for it; libraries want 3.12 (simloop), or know neither faults nor a clock for each machine
(looptime, async-solipsism).

What it cannot show is what needs a real scheduler, kernel or flash: `python -m tools.chaos` without
`--simulated` has real processes, `make bench` the ticks of a busy hub.
"""

import asyncio
import gc
import itertools
import json
import logging
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from snyper.client import hub_client
from snyper.client.console_session import ConsoleSession
from snyper.client.reconnecting_client import ReconnectingClient
from snyper.firmware.master import server
from snyper.hub import journaled_events
from snyper.shared import attachment_receiver, link, runtime_cpython
from snyper.shared.handshake_server import Role
from snyper.shared.link_core import error_of
from snyper.shared.socket_protocol import MessageType, ProtocolError, SocketMessage
from tools.chaos.board_flash import files, open_file
from tools.chaos.invariants import Command, Invariants
from tools.chaos.machines import (
    HUB,
    PORT,
    Board,
    DiskJournal,
    DiskReader,
    HubMachine,
    end_all,
    virtual_machine,
)
from tools.chaos.network import Network
from tools.chaos.players import GAMES, Players
from tools.chaos.promises import BrokenPromise, Step, check_hits
from tools.chaos.transfers import CHUNK_BYTES, FLUSH_BYTES, Sender
from tools.chaos.virtual_time import EachMachines, Machine, MachineTime, Spinning, VirtualLoop

TARGETS = 8
SPAN_MS = 3_000
SETTLE_S = 40.0  # a board that is refused waits up to 15 s, and each of its attempts takes up to 5
CHECK_MS = 50
STRIKE_APART_S = 0.2
GAME_RATE = FILE_RATE = CEASE_FIRE_RATE = 0.4  # of the runs
LENGTHS = (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2_000, 4_000, 6_000)  # of files
LOWEST_PEAK, HIGHEST_PEAK = 1_500, 4_090  # of the converter's 12 bits: each strike has its own
BABBLE = b'{"type":"nonsense","id":1}\n{"type":\n\xff\xfe\n[]\n' + b"x" * 5_000
_HUB = f"{HUB}:{PORT}"

_ACTIONS: tuple[tuple[str, tuple[int, int], tuple[int, int]], ...] = (
    ("round", (300, 800), (-200, 500)),
    ("round", (300, 800), (100, 300)),
    ("scheduled", (300, 800), (50, 400)),
    ("rise_and_fall", (0, 200), (0, 0)),
    ("twice", (300, 500), (0, 30)),
)
_FAULTS: tuple[tuple[str, tuple[int, int], tuple[int, int]], ...] = (
    ("cut", (0, 0), (0, 0)),
    ("cut_one_side", (0, 1), (0, 0)),
    ("cut_at_report", (0, 1), (0, 5)),
    ("cut_at_ack", (0, 1), (0, 5)),
    ("hold", (0, 2), (50, 4_000)),
    ("slow", (1, 60), (0, 300)),
    ("tear", (0, 0), (0, 0)),
    ("cut_console", (0, 1), (0, 0)),
    ("hold_console", (0, 2), (50, 3_000)),
    ("kill_hub", (0, 1), (0, 1_500)),
    ("stop_hub", (0, 0), (0, 1_500)),
    ("kill_hub_at_report", (0, 1), (0, 800)),
    ("kill_hub_at_row", (0, 1), (0, 800)),
    ("kill_hub_at_ack", (0, 1), (0, 800)),
    ("power_cut", (0, 500), (0, 0)),
    ("power_cut_at_report", (0, 500), (0, 0)),
    ("reboot", (0, 500), (0, 0)),
    ("slow_disk", (20, 400), (0, 0)),
    ("guest", (300, 600), (1, 400)),
    ("deaf", (0, 0), (0, 0)),
    ("babble", (0, 0), (0, 0)),
)
_FILE_FAULTS: tuple[tuple[str, tuple[int, int], tuple[int, int]], ...] = (
    ("cut_at_chunk", (0, 1), (0, 20)),
    ("power_cut_at_chunk", (0, 500), (0, 20)),
    ("kill_hub_at_chunk", (0, 1), (0, 800)),
    ("full_flash", (0, 0), (50, 2_000)),
    ("lie", (0, 2_000), (0, 0)),
)


def plan(seed: int) -> list[Step]:
    """Make the steps of that seed's run, sorted by time."""
    rng = random.Random(seed)
    steps = []

    def add(kinds: Any, target: int) -> None:
        what, first, second = rng.choice(kinds)
        steps.append(Step(rng.randrange(SPAN_MS), what, target, rng.randint(*first), rng.randint(*second)))

    for target in range(TARGETS):
        for _ in range(rng.randint(0, 2)):
            add(_ACTIONS, target)
    if rng.random() < 0.3:
        steps.append(Step(rng.randrange(SPAN_MS), "all", 0, rng.randint(300, 600)))
    if rng.random() < GAME_RATE:
        for _ in range(rng.choice((1, 1, 1, 2))):
            at_ms = rng.randrange(SPAN_MS // 2)
            steps.append(Step(at_ms, "game", 0, rng.randrange(len(GAMES)), rng.randint(1, 2)))
        if rng.random() < 0.2:
            steps.append(Step(rng.randrange(SPAN_MS), "stop_game", 0))
    if rng.random() < FILE_RATE:
        target = rng.randrange(TARGETS)
        for _ in range(rng.choice((1, 1, 2))):
            at_ms = rng.randrange(SPAN_MS // 2)
            steps.append(Step(at_ms, "file", target, rng.choice(LENGTHS), rng.randrange(2)))
            what, first, second = rng.choice(_FILE_FAULTS)
            at_ms += rng.randrange(-100, 100)
            steps.append(Step(max(0, at_ms), what, target, rng.randint(*first), rng.randint(*second)))
    for _ in range(rng.randint(1, 5)):
        add(_FAULTS, rng.randrange(TARGETS))
    own = random.Random(seed + 7)
    if own.random() < CEASE_FIRE_RATE:
        held_ms = own.choice((0, own.randrange(SPAN_MS)))  # 0: until all is well again
        steps.append(Step(own.randrange(SPAN_MS), "cease_fire", 0, held_ms, own.randrange(2)))
    return sorted(steps, key=lambda step: step.at_ms)


@dataclass
class Outcome:
    """The outcome of a seed. `broken` is empty where every promise held, and `trace` unless it was wanted."""

    seed: int
    broken: str = ""
    trace: list[tuple[float, str, str]] = field(default_factory=list)
    virtual_s: float = 0.0


def run(seed: int, is_traced: bool = False) -> Outcome:
    """Run one seed, from power-up to all at rest again."""
    loop = VirtualLoop()
    with _deterministic(loop, seed):
        range_ = _Range(loop, seed)
        if is_traced:
            range_.invariants.trace = []
        with _logged(range_.invariants):
            try:
                range_.run()
            finally:
                loop.close()
    gc.collect(0)
    return Outcome(seed, range_.invariants.broken, range_.invariants.trace or [], loop.time())


def run_some(seeds: Sequence[int]) -> list[tuple[int, str]]:
    """Run these seeds; return each with what is broken."""
    return [(seed, run(seed).broken) for seed in seeds]


@contextmanager
def _deterministic(loop: VirtualLoop, seed: int) -> Iterator[None]:
    """Replace what differs from run to run: clocks, random numbers, ids, and when garbage is collected; and
    the file of the journal.
    """
    rng = random.Random(seed + 1)
    kept = [
        (runtime_cpython, "time", MachineTime(loop)),
        (server, "listen", loop.listen),
        (virtual_machine, "time", MachineTime(loop)),
        (sys.modules["network"], "time", MachineTime(loop)),  # the virtual board's
        (os, "urandom", lambda size: rng.randbytes(size)),
        (link, "_watched", EachMachines()),
        (link.Link, "max_chunk_bytes", CHUNK_BYTES),
        (attachment_receiver, "MAX_CHUNK_BYTES", CHUNK_BYTES),
        (attachment_receiver, "_FLUSH_BYTES", FLUSH_BYTES),
        (attachment_receiver, "os", files),
        (attachment_receiver, "open", open_file),
        (hub_client, "_ID_PREFIX", "simulated-"),
        (hub_client, "_requests", itertools.count(1)),
        (journaled_events, "Journal", DiskJournal),
        (journaled_events, "JournalReader", DiskReader),
    ]
    before = [(module, name, getattr(module, name, None)) for module, name, _ in kept]
    state = random.getstate()
    was_collecting = gc.isenabled()
    gc.disable()
    random.seed(seed)
    for module, name, value in kept:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            if value is None:
                delattr(module, name)  # it hid a builtin
            else:
                setattr(module, name, value)
        random.setstate(state)
        if was_collecting:
            gc.enable()


class _Log(logging.Handler):
    """Puts what is logged into the trace; what is logged as a defect breaks a promise."""

    def __init__(self, invariants: Invariants) -> None:
        super().__init__()
        self._invariants = invariants

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.ERROR:
            self._invariants.fail(f"a defect is logged: {text}")
        else:
            self._invariants.tell("log", text)


@contextmanager
def _logged(invariants: Invariants) -> Iterator[None]:
    handler = _Log(invariants)
    logger = logging.getLogger("snyper")
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if invariants.trace is not None else logging.ERROR)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


class _Range:
    """A hub, its targets and a console, for one run."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self._loop = loop
        self._rng = random.Random(seed + 2)
        self._steps = plan(seed)
        self._peaks = list(range(LOWEST_PEAK, HIGHEST_PEAK))
        self._rng.shuffle(self._peaks)
        self._network = Network(loop, random.Random(seed + 3))
        self._hub = HubMachine(loop, self._network, random.Random(seed + 4))
        self._boards = [
            Board(loop, self._network, random.Random(seed * 100 + number), number)
            for number in range(1, TARGETS + 1)
        ]
        self._console = Machine(loop, "console", "10.0.2.1")
        self._console.set_clock(77_000_000_000, 20.0)
        self._network.add(self._console)
        self._stranger = Machine(loop, "stranger", "10.0.2.2")
        self._stranger.set_clock(5_000_000_000, 0.0)
        self._network.add(self._stranger)
        self._guest = Machine(loop, "guest", "10.0.2.3")
        self._guest.set_clock(1 << 50, -20.0)
        self._network.add(self._guest).is_on = False
        self._world = Machine(loop, "world", "")
        consoles = {self._console, self._guest}
        self.invariants = Invariants(self._network, self._hub, self._boards, consoles)
        self._struck_s: dict[Board, float] = {}
        self._commands = 0
        self._began_s = 0.0

    def run(self) -> None:
        """Do all of it. What is broken is in `invariants.broken`."""
        loop, invariants = self._loop, self.invariants
        main = self._world.start(self._main())
        invariants.on_broken = main.cancel
        loop.set_exception_handler(self._on_exception)
        try:
            loop.run_until_complete(main)
        except asyncio.CancelledError:
            assert invariants.broken
        except (BrokenPromise, ProtocolError, Spinning) as error:
            invariants.fail(str(error))
        finally:
            invariants.on_broken = lambda: None
            for machine in self._network.machines.values():
                loop.run_until_complete(self._world.start(end_all(machine)))
            loop.run_until_complete(self._world.start(end_all(self._world)))
            loop.run_until_complete(loop.shutdown_asyncgens())

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, asyncio.CancelledError):  # of a connection whose machine was killed
            self.invariants.fail(f"a task or callback fails: {context.get('message')}: {error!r}")

    async def _main(self) -> None:
        self._world.start(self._check())
        self._hub.start()
        for board in self._boards:
            self._power_on(board)
        self.session = self._console.context.run(ConsoleSession, _HUB, "")
        self._console.start(self.session.run())
        self._client = self._console.context.run(ReconnectingClient, _HUB, "")
        self._console.start(self._watch())
        await self._until(self._is_here, "all should be here")
        self._began_s = self._loop.time()
        self._players = Players(
            self._client, self.invariants, random.Random(self._rng.random()), self._strike
        )
        self._sender = Sender(self._client, self.invariants.transfers, random.Random(self._rng.random()))
        tasks = [self._console.start(self._use(board, at)) for at, board in enumerate(self._boards)]
        tasks += [self._world.start(self._inject(step)) for step in self._steps]
        await asyncio.gather(*tasks)
        await self._recover()
        self._check_all()
        await self._until(
            self._is_idle, "the hub should have no command under way"
        )  # also of who has vanished
        await self._check_game()
        await self._stop_hub()

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(CHECK_MS / 1000)
            self.invariants.check()

    def _power_on(self, board: Board) -> None:
        self.invariants.tell(board.machine.name, "boots")
        board.power_on()
        self.invariants.on_boot(board)

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        ends_s = self._loop.time() + SETTLE_S
        while not condition():
            if self._loop.time() > ends_s:
                raise BrokenPromise(f"{what}, and did not within {SETTLE_S:.0f} s")
            await asyncio.sleep(0.02)

    def _is_here(self) -> bool:
        return (
            self._hub.is_on
            and hasattr(self._hub, "hub")
            and self._hub.hub.router.registry.count == TARGETS
            and self.session.link is not None
            and not self._client.is_lost
            and all(board.session.link is not None for board in self._boards)
        )

    async def _settle(self) -> None:
        """Wait until all are here, down and at rest; what stands lies down. Raises BrokenPromise."""
        ends_s = self._loop.time() + SETTLE_S
        while self._loop.time() < ends_s:
            await self._until(self._is_here, "all should be here again")
            if all(await asyncio.gather(*[self._console.start(self._lie(board)) for board in self._boards])):
                return
            await asyncio.sleep(0.1)
        raise BrokenPromise(f"the targets do not lie down within {SETTLE_S:.0f} s, and nothing is in the way")

    async def _lie(self, board: Board) -> bool:
        """Lay a target down, and return whether it says that it is. Raises BrokenPromise when it is not."""
        is_down = await self._command(board, MessageType.LAY_DOWN, {})
        if is_down and not board.hardware.is_down():
            raise BrokenPromise(f"{board.machine.name} says that it is down, and is not")
        return is_down

    async def _recover(self) -> None:
        """End every fault, and wait until all is well again."""
        for board in self._boards:
            if not board.has_power:
                self._power_on(board)
        for machine in self._network.machines.values():
            route = self._network.route(machine)
            route.hears = route.is_heard = True
            route.delay_ms, route.cut_up = (0.2, 2.0), 0.1
            self._network.heal(machine)
        self._hub.disk.write_ms = (0.5, 12.0)
        self._hub.start()
        self.invariants.tell("world", "recovers")
        await self._until(self._is_here, "all should be here again")
        await self._end_cease_fire()
        await self._until(self._is_no_game, "the game should be over")
        await self._settle()
        await self._until(self._is_reported, "all reports should be in the journal")
        await self._hub.machine.start(self._hub.hub.router.events.flush())
        await self._until(self._is_seen, "the console should have seen every event")

    async def _end_cease_fire(self) -> None:
        """Wait until every target lies, if one holds, and release it."""
        await self._until(self._is_safe, "a cease fire should have lowered all targets")
        while self._hub.hub.router.cease_fire is not None:
            await self._console.start(self._release())
            await self._until(self._is_here, "all should be here again")

    def _is_safe(self) -> bool:
        is_held = self._hub.hub.router.cease_fire is not None
        return not is_held or all(board.hardware.is_down() for board in self._boards)

    def _is_idle(self) -> bool:  # the link of who has vanished takes a while to end
        return not self._hub.hub.router.under_way

    def _is_no_game(self) -> bool:
        runner = self._hub.hub.game_runner
        return runner is None or runner.state()["status"] != "running"

    def _is_reported(self) -> bool:
        keys = self._hub.disk.reports
        boots = {board.machine.name: board.boot for board in self._boards}
        return all(key in keys for name, boot, key in self.invariants.reported if boots[name] == boot)

    def _is_seen(self) -> bool:
        return len(self.invariants.seen) == len(self._hub.disk.rows)

    def _check_all(self) -> None:
        """Check what holds once all is at rest. Raises BrokenPromise."""
        must = [(board.machine.name, peak, boot != board.boot) for board, boot, peak in self.invariants.must]
        check_hits(self.invariants.hits, must, self.invariants.may)
        for board in self._boards:
            if json.loads(board.session.health() if board.session.health else b"{}").get("dropped"):
                raise BrokenPromise(f"{board.machine.name} has dropped reports, and never had many")

    async def _check_game(self) -> None:
        """Check what the hub says of its last game. Raises BrokenPromise."""
        state = None
        while state is None:
            await self._until(self._is_here, "all should be here")
            with suppress(ProtocolError):  # a link that was cut at its other side knows it only now
                state = await self._console.start(self._client.game())
        self.invariants.games.check_state(state, self._hub.hub.boot_id)

    # --- the console

    async def _watch(self) -> None:
        async with self._client as client:
            async for event in client.events(after=0, on_gap=self._on_gap):
                self.invariants.on_event((event.seq, event.event, event.target_id or "", dict(event.data)))

    async def _inject_file(self, step: Step, board: Board) -> None:
        await self._console.start(self._sender.send(board, step))

    async def _inject_lie(self, step: Step, board: Board) -> None:
        await self._console.start(self._sender.lie(board, step))

    async def _inject_game(self, step: Step, board: Board) -> None:
        await self._console.start(self._players.start(step))

    async def _inject_cease_fire(self, step: Step, board: Board) -> None:
        """Call a cease fire, maybe twice at once while all are raised, and release it after a while."""
        self.invariants.begin_cease_fire()
        calls = []
        if step.second:
            calls.append(self._console.start(self._raise_all()))
            await asyncio.sleep(self._rng.uniform(0, 0.3))
        calls += [self._console.start(self._call_cease_fire()) for _ in range(1 + step.second)]
        await asyncio.gather(*calls)
        if step.first:
            await asyncio.sleep(step.first / 1000)
            await self._console.start(self._release())

    async def _raise_all(self) -> None:
        tag = self._new_tag(MessageType.STAND_UP)
        with suppress(ProtocolError):
            for result in await self._client.command("all", MessageType.STAND_UP, tag=tag):
                self.invariants.on_result(tag, result.target_id, result.ok, result.status, result.code)

    async def _call_cease_fire(self) -> None:
        with suppress(ProtocolError):  # the hub is lost: maybe it holds
            state = await self._client.cease_fire("chaos")
            self.invariants.tell("console", f"is told {state}")
            self.invariants.is_cease_fire = state.held

    async def _release(self) -> None:
        self.invariants.is_cease_fire = False
        self.invariants.tell("console", "releases")
        with suppress(ProtocolError):
            await self._client.release("chaos")

    async def _inject_stop_game(self, step: Step, board: Board) -> None:
        await self._console.start(self._players.stop(step))

    def _on_gap(self, missing: int | None) -> None:
        self.invariants.fail(f"the console is told of a gap of {missing} events, and there is none")

    async def _use(self, board: Board, number: int) -> None:
        """Carry out the commands and shots on one target, one after the other."""
        for step in self._steps:
            if step.target == number and step.what in ("round", "scheduled", "rise_and_fall", "twice", "all"):
                await self._wait_for(step)
                if step.what == "all":
                    await self._command_all(self.session.connection, step)
                elif step.what == "rise_and_fall":
                    await self._rise_and_fall(board, step)
                elif step.what == "twice":
                    await self._twice(board, step)
                else:
                    await self._round(board, step)

    async def _round(self, board: Board, step: Step) -> None:
        data: dict[str, object] = {"duration_ms": step.first}
        if step.what == "scheduled":
            data["in_ms"] = step.second
        if await self._command(board, MessageType.ACTIVATE, data) and step.second >= 0:
            await asyncio.sleep(step.second / 1000)
            self._strike(board)
            await asyncio.sleep(0.3)

    def _strike(self, board: Board) -> None:
        """Strike a target, unless it was struck just now: two strikes at once would be one hit."""
        if self._loop.time() - self._struck_s.get(board, 0.0) < STRIKE_APART_S:
            return
        self._struck_s[board] = self._loop.time()
        self.invariants.tell(board.machine.name, "is struck")
        board.strike(self._peaks.pop())

    async def _rise_and_fall(self, board: Board, step: Step) -> None:
        """Raise and lower the target, then send the first command's id again: it must move nothing."""
        message = self._message(board, MessageType.STAND_UP, {})
        link = self.session.link
        if await self._exchange(board, message):
            await asyncio.sleep(step.first / 1000)
            await self._command(board, MessageType.LAY_DOWN, {})
        tag = _tag_of(message)
        if board.machine.name in self.invariants.commands[tag].refused_by:
            return  # it may try again
        if link is self.session.link:  # over another connection the same id is another one
            await self._exchange(board, message, is_again=True)
            await self._command(board, MessageType.LAY_DOWN, {})

    async def _twice(self, board: Board, step: Step) -> None:
        """Send a command, and again before it is answered."""
        message = self._message(board, MessageType.ACTIVATE, {"duration_ms": step.first})
        sending = self._console.start(self._exchange(board, message))
        link = self.session.link
        await asyncio.sleep(step.second / 1000)
        if link is not None and link is self.session.link and not sending.done():
            self.invariants.commands[_tag_of(message)].is_repeated = True
            with suppress(ProtocolError):
                link.send_nowait(message)
        await sending

    async def _command_all(self, client: hub_client.HubClient | None, step: Step) -> None:
        if client is None or client.is_lost:
            return
        tag = self._new_tag(MessageType.ACTIVATE)
        with suppress(ProtocolError):
            for result in await client.command("all", "activate", duration_ms=step.first, tag=tag):
                self.invariants.on_result(tag, result.target_id, result.ok, result.status, result.code)

    async def _command(self, board: Board, word: str, data: dict[str, object]) -> bool:
        return await self._exchange(board, self._message(board, word, data))

    def _new_tag(self, word: str) -> int:
        self._commands += 1
        self.invariants.commands[self._commands] = Command(self._commands, word)
        return self._commands

    def _message(self, board: Board, word: str, data: dict[str, object]) -> SocketMessage:
        tag = self._new_tag(word)
        return SocketMessage(word, f"c{tag}", board.machine.name, data={**data, "tag": tag})

    async def _exchange(self, board: Board, message: SocketMessage, is_again: bool = False) -> bool:
        """Send a command, and return whether it is done."""
        link = self.session.link
        if link is None:
            return False
        name, tag = board.machine.name, _tag_of(message)
        try:
            reply = await link.exchange(message, 6_000)
            if reply.type == MessageType.ERROR:
                raise error_of(reply)
        except ProtocolError as error:
            if not is_again:  # else it says what has become of the second one
                status = "unknown" if error.unknown_fate else "error"
                self.invariants.on_result(tag, name, False, status, error.code)
            return False
        self.invariants.on_result(tag, name, True, reply.status or "", "")
        return True

    async def _wait_for(self, step: Step) -> None:
        await asyncio.sleep(max(0.0, self._began_s + step.at_ms / 1000 - self._loop.time()))

    # --- faults

    async def _inject(self, step: Step) -> None:
        inject = getattr(self, f"_inject_{step.what}", None)
        if inject is not None:
            await self._wait_for(step)
            self.invariants.tell("fault", str(step))
            await inject(step, self._boards[step.target])

    def _cut(self, machine: Machine, is_one_side: bool = False) -> None:
        for end in self._network.ends_of(machine):
            if is_one_side and end.peer is not None:
                end = self._rng.choice((end, end.peer))
            self._network.cut(end, not is_one_side)

    async def _inject_cut(self, step: Step, board: Board) -> None:
        self._cut(board.machine)

    async def _inject_cut_one_side(self, step: Step, board: Board) -> None:
        self._cut(board.machine, is_one_side=True)

    async def _inject_cut_console(self, step: Step, board: Board) -> None:
        self._cut(self._console, bool(step.first))

    async def _inject_hold(self, step: Step, board: Board) -> None:
        await self._hold(board.machine, step)

    async def _inject_hold_console(self, step: Step, board: Board) -> None:
        await self._hold(self._console, step)

    async def _hold(self, machine: Machine, step: Step) -> None:
        """Let nothing through: in both directions, or in one."""
        route = self._network.route(machine)
        route.hears, route.is_heard = step.first == 1, step.first == 2
        await asyncio.sleep(step.second / 1000)
        route.hears = route.is_heard = True
        self._network.heal(machine)

    async def _inject_slow(self, step: Step, board: Board) -> None:
        board.route.delay_ms = (step.first, step.first + step.second)

    async def _inject_tear(self, step: Step, board: Board) -> None:
        board.route.cut_up = 0.9

    async def _inject_slow_disk(self, step: Step, board: Board) -> None:
        self._hub.disk.write_ms = (step.first / 4, step.first)

    async def _inject_kill_hub(self, step: Step, board: Board) -> None:
        await self._hub.kill(bool(step.first))
        await asyncio.sleep(step.second / 1000)
        self._hub.start()

    async def _inject_stop_hub(self, step: Step, board: Board) -> None:
        await self._stop_hub()
        await asyncio.sleep(step.second / 1000)
        self._hub.start()

    async def _stop_hub(self) -> None:
        if await self._hub.stop():
            self.invariants.games.check_orderly_end(self._hub.hub.boot_id)

    async def _inject_power_cut(self, step: Step, board: Board) -> None:
        await self._restart(board, False, step.first)

    async def _inject_reboot(self, step: Step, board: Board) -> None:
        await self._restart(board, True, step.first)

    async def _restart(self, board: Board, orderly: bool, off_ms: int) -> None:
        if board.has_power:
            await board.power_off(orderly)
            await asyncio.sleep(off_ms / 1000)
            if not board.has_power:
                self._power_on(board)

    async def _inject_cut_at_report(self, step: Step, board: Board) -> None:
        if await self._at("on_report", board):
            await asyncio.sleep(step.second / 1000)
            self._cut(board.machine, bool(step.first))

    async def _inject_cut_at_ack(self, step: Step, board: Board) -> None:
        if await self._at("on_ack", board):
            await asyncio.sleep(step.second / 1000)
            self._cut(board.machine, bool(step.first))

    async def _inject_power_cut_at_report(self, step: Step, board: Board) -> None:
        if await self._at("on_report", board):
            await self._restart(board, False, step.first)

    async def _inject_kill_hub_at_report(self, step: Step, board: Board) -> None:
        if await self._at("on_report", None):
            await self._inject_kill_hub(step, board)

    async def _inject_kill_hub_at_row(self, step: Step, board: Board) -> None:
        if await self._at("on_row", None):
            await self._inject_kill_hub(step, board)

    async def _inject_kill_hub_at_ack(self, step: Step, board: Board) -> None:
        if await self._at("on_ack", None):
            await self._inject_kill_hub(step, board)

    async def _inject_cut_at_chunk(self, step: Step, board: Board) -> None:
        if await self._at_chunk(step.second, board):
            self._cut(board.machine, bool(step.first))

    async def _inject_power_cut_at_chunk(self, step: Step, board: Board) -> None:
        if await self._at_chunk(step.second, board):
            await self._restart(board, False, step.first)

    async def _inject_kill_hub_at_chunk(self, step: Step, board: Board) -> None:
        if await self._at_chunk(step.second % 20, board):
            await self._inject_kill_hub(step, board)

    async def _inject_full_flash(self, step: Step, board: Board) -> None:
        board.flash.is_full = board.flash.was_full = True
        await asyncio.sleep(step.second / 1000)
        board.flash.is_full = False

    async def _at_chunk(self, count: int, board: Board) -> bool:
        """Wait until a board gets a part of a file, and so many more; return whether it did."""
        for _ in range(count + 1):
            if not await self._at("on_chunk", board):
                return False
        return True

    async def _at(self, what: str, board: Board | None) -> bool:
        """Wait for the next report of a board, or any, at that point of its way; return whether one came."""
        came = asyncio.Event()
        watchers = self.invariants.watchers[what]
        watcher = (board.machine.name if board else "", came.set)
        watchers.append(watcher)
        try:
            async with asyncio.timeout(SPAN_MS / 1000):
                await came.wait()
        except TimeoutError:
            return False
        finally:
            watchers.remove(watcher)
        return True

    async def _inject_guest(self, step: Step, board: Board) -> None:
        """Let a second console come, command all targets, and vanish, maybe before it is answered."""
        route = self._network.route(self._guest)
        if route.is_on:
            return
        route.is_on = True
        self._network.heal(self._guest)
        self._guest.start(self._visit(step))
        await asyncio.sleep(step.second / 1000)
        route.is_on = False
        for end in self._network.ends_of(self._guest):
            end.vanish()
        await end_all(self._guest)

    async def _visit(self, step: Step) -> None:
        async with ReconnectingClient(_HUB, "") as client:
            await client.wait_until_connected()
            await self._command_all(client, step)

    async def _inject_deaf(self, step: Step, board: Board) -> None:
        """Subscribe to all events, and read none."""
        lines = b'{"type":"register","id":1,"data":{"role":"%s"}}\n' % Role.CONSOLE.encode()
        await self._stranger.start(self._say(lines + b'{"type":"subscribe","id":2,"data":{"after":0}}\n'))

    async def _inject_babble(self, step: Step, board: Board) -> None:
        await self._stranger.start(self._say(BABBLE))

    async def _say(self, lines: bytes) -> None:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(HUB, PORT)
            try:
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                writer.write(lines)
                await asyncio.sleep(2.5)
            finally:
                writer.transport.abort()


def _tag_of(message: SocketMessage) -> int:
    return int(str((message.data or {})["tag"]))
