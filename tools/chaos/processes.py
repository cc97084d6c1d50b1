"""Inject random faults into a real hub with real boards, as processes, and check its promises.

A seed decides everything in a chaos run: the commands and shots on two targets, and the faults meanwhile:
links that are cut, held, late or deliver every line twice, `kill -9` of the hub or a board at any instant
(right after a report has come in, too), reboots. The hub is `snyper hub` with its journal, the boards are
real MicroPython, the console reconnects after every loss and asks for what it missed. When everything has
recovered:

- a command's id has raised its target at most once,
- every strike that a board detected is in the journal exactly once, as is every report, in order; but for
  what a board that lost its power had not sent yet,
- the console has received what is in the journal, all of it, once, in order.

Many runs share a hub and its boards, one after the other.
"""

import ast
import asyncio
import json
import os
import random
import sqlite3
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from snyper.boards.board import BoardProcess
from snyper.client import ReconnectingClient
from snyper.shared.link import Link
from snyper.shared.runtime import end_task
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage
from tools.chaos.promises import (
    BrokenPromise,
    Event,
    ReportOrder,
    Step,
    check_hits,
    check_seen,
    check_sound,
)
from tools.impaired_link import ImpairedLink
from tools.loopback import HOST, free_port

SERVO = "16"
PIEZO = "26"
TARGETS = 2
RUNS = 1_000
RANGES = 8  # at once: most of the time all of them wait for something
SPAN_MS = 2_000
SETTLE_S = 30.0
CONFIG = {"servo": {"travel_ms": 100}, "piezo": {"debounce_ms": 20}}
STRIKE_MS = 60  # less than a target needs to fall and rise: one strike is not detected twice
TAKEN_MS = 40  # a strike that the converter takes later than this may be over by then
LOWEST_PEAK, HIGHEST_PEAK = (
    1_500,
    4_090,
)  # of the converter's 12 bits: each strike has its own, by which it is known
CEASE_FIRE_RATE = 0.3  # of the runs
_POLL_S = 0.005
_REPORTS = (b'"hit"', b'"miss"')
_ACK = (b'"ack"',)


def plan(seed: int) -> list[Step]:
    """Make the steps of that seed's run, sorted by time."""
    rng = random.Random(seed)
    steps = _plan_actions(rng)
    faults: list[tuple[str, tuple[int, int], tuple[int, int]]] = [
        ("cut", (0, 0), (0, 0)),
        ("cut_at_report", (0, 2), (0, 0)),
        ("cut_at_ack", (0, 0), (0, 0)),
        ("cut_console", (0, 0), (0, 0)),
        ("hold", (50, 2_500), (0, 0)),
        ("delay", (0, 40), (0, 80)),
        ("double", (1, 3), (0, 0)),
        ("kill_hub", (0, 800), (0, 0)),
        ("kill_hub_at_report", (0, 800), (0, 20_000)),
        ("kill_hub_at_ack", (0, 800), (0, 1)),
        ("kill_board", (0, 500), (0, 0)),
        ("reboot", (0, 500), (0, 0)),
    ]
    for _ in range(rng.randint(1, 4)):
        what, first, second = rng.choice(faults)
        step = Step(
            rng.randrange(SPAN_MS),
            what,
            rng.randrange(TARGETS),
            rng.randint(*first),
            rng.randint(*second),
        )
        steps.append(step)
    own = random.Random(seed + 7)
    if own.random() < CEASE_FIRE_RATE:
        at_ms, hold_ms = own.randrange(SPAN_MS), own.randrange(SPAN_MS)
        steps.append(Step(at_ms, "cease_fire", 0, hold_ms))
        if own.random() < 0.5:
            steps.append(Step(at_ms + own.randrange(hold_ms + 1), "kill_hub", 0, own.randrange(800)))
    return sorted(steps, key=lambda step: step.at_ms)


def plan_kills(seed: int) -> list[Step]:
    """Make the steps of a run in which hub, board or both at once are killed, sorted by time."""
    rng = random.Random(seed)
    steps = _plan_actions(rng)
    at_ms, target = rng.randrange(SPAN_MS), rng.randrange(TARGETS)
    for what in (("kill_hub",), ("kill_board",), ("kill_hub", "kill_board"))[seed % 3]:
        steps.append(Step(at_ms, what, target, rng.randrange(500)))
    return sorted(steps, key=lambda step: step.at_ms)


def _plan_actions(rng: random.Random) -> list[Step]:
    steps = []
    for target in range(TARGETS):
        for _ in range(rng.randint(1, 3)):
            at_ms = rng.randrange(SPAN_MS)
            if rng.random() < 0.7:
                strike_ms = rng.randrange(400) if rng.random() < 0.8 else -1
                steps.append(Step(at_ms, "round", target, rng.randint(500, 900), strike_ms))
            else:
                steps.append(Step(at_ms, "rise_and_fall", target, rng.randrange(200)))
    return steps


class _Lost(Exception):
    """The console has no connection, or its command got no answer."""


class _Console:
    """A console that collects the events through every loss, and sends commands."""

    def __init__(self, port: int) -> None:
        self.events: list[Event] = []
        self.seq = 0
        self._client = ReconnectingClient(f"{HOST}:{port}", "")
        self._ids = 0

    @property
    def link(self) -> Link | None:
        """The link to the hub; None while there is none."""
        return self._client.link

    async def run(self) -> None:
        """Collect the events until cancelled.

        Raises:
            BrokenPromise: An event is missing.
        """
        async with self._client:
            async for event in self._client.events(0, on_gap=_break_on_gap):
                self.seq = event.seq
                self.events.append((event.seq, event.event, event.target_id, event.data))

    async def command(
        self, message_type: str, target_id: str | None, data: dict[str, object], id: str
    ) -> SocketMessage:
        """Send a command and return the reply.

        Raises:
            _Lost: There is no connection, or it ended without a reply.
        """
        link = self.link
        if link is None:
            raise _Lost
        try:
            return await link.exchange(SocketMessage(message_type, id, target_id, data=data), 6_000)
        except ProtocolError as error:
            raise _Lost from error

    async def call_cease_fire(self) -> tuple[bool, set[str]]:
        """Call a cease fire. Return whether it is known to hold and to outlive the hub, and who lies."""
        lying: set[str] = set()
        try:
            state = await self._client.cease_fire(
                "chaos", on_result=lambda result: lying.add(result.target_id) if result.ok else None
            )
        except ProtocolError:
            return False, set()
        return state.held and state.kept, lying

    async def is_cease_fire(self) -> bool | None:
        """Return whether one holds; None where that cannot be asked now."""
        with suppress(ProtocolError):
            state = await self._client.cease_fire_state()
            return state is not None and state.held
        return None

    async def release(self) -> bool:
        """Release the cease fire, and return whether none holds now, as far as is known."""
        with suppress(ProtocolError):
            return not (await self._client.release("chaos")).held
        return False

    def new_id(self) -> str:
        self._ids += 1
        return f"c{self._ids}"

    def has(self, peak: int) -> bool:
        """Tell whether a hit with this peak is among the last events."""
        return any(event[3].get("peak") == peak for event in self.events[-50:])


def _break_on_gap(missed: int | None) -> None:
    raise BrokenPromise(f"the journal has lost {'its count' if missed is None else f'{missed} events'}")


class _Hub:
    """`snyper hub` as a process that is killed and restarted, always with the same port and journal."""

    def __init__(self, directory: Path) -> None:
        self.journal = directory / "journal.sqlite3"
        self.port = free_port()
        self._is_ready = False
        self._is_killed = False
        self._log = directory / "hub.log"
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    @property
    def log(self) -> str:
        """Return all of its log."""
        return self._log.read_text()

    @property
    def is_on(self) -> bool:
        """Tell whether it listens."""
        return self._is_ready and self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it, unless it runs, and wait until it listens.

        Raises:
            BrokenPromise: It ended instead.
        """
        async with self._turn:
            while not self.is_on:
                await self._try_to_start()

    async def _try_to_start(self) -> None:
        command = ("hub", "--listen", f"{HOST}:{self.port}", "--journal", str(self.journal), "--json")
        self._is_killed = False
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "snyper.cli", *command),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=log,
                env={**os.environ, "XDG_DATA_HOME": str(self.journal.parent)},  # for a cease fire
            )
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            await self._process.wait()
            if self._is_killed:
                return  # before it had begun
            raise BrokenPromise("the hub did not start")
        self._is_ready = True

    def kill(self) -> None:
        """Kill it with SIGKILL, now."""
        if self._process is not None and self._process.returncode is None and not self._is_killed:
            self._is_killed = True  # once: a second signal would take the exit status from whoever waits
            self._process.kill()
        self._is_ready = False

    async def wait_killed(self) -> None:
        if self._process is not None:
            await self._process.wait()


class _Target:
    """A board behind an impaired link, and what is known of its present boot."""

    def __init__(self, directory: Path, number: int, link: ImpairedLink) -> None:
        self.name = f"target_{number}"
        self.link = link
        self.boot = 0
        self.has_power = True
        self.causes = 0  # of this boot: ids that may have raised it
        self.board = BoardProcess(
            directory / self.name,
            "target",
            {"target_id": self.name, "hub": [f"{HOST}:{link.port}"], **CONFIG},
        )

    def rises(self) -> int:
        """Count how often the servo has begun to rise in this boot."""
        return int(self.board.outputs().get("rises", {}).get(SERVO, 0))

    def samples(self) -> int:
        """Count how often this boot has sampled its piezo, as far as its outputs say."""
        return int(self.board.outputs()["adc"].get(PIEZO, {"samples": 0})["samples"])

    def has_sampled_since(self, samples: int) -> bool:
        """Tell whether `samples` has grown since it was that many."""
        return self.samples() != samples

    def check(self) -> None:
        """Compare how often it rose with how many command ids can have raised it.

        Raises:
            BrokenPromise: It rose more often.
        """
        if self.rises() > self.causes:
            raise BrokenPromise(f"{self.name} rose {self.rises()} times for {self.causes} commands")

    async def power_cut(self, orderly: bool, off_ms: int) -> None:
        self.has_power = False
        await asyncio.to_thread(self.board.stop if orderly else self.board.kill)
        self.check()
        await asyncio.sleep(off_ms / 1000)
        self.boot += 1
        self.causes = 0
        await asyncio.to_thread(self.board.start)
        self.has_power = True

    async def strike(self, raw: int) -> bool | None:
        """Strike; return whether the firmware detected it, None where that cannot be known."""
        file = self.board.directory / "strike"
        began = time.monotonic()
        had_power = self.has_power
        self.board.strike(raw << 4, STRIKE_MS)
        while file.exists():
            if time.monotonic() - began > STRIKE_MS / 1000:
                with suppress(FileNotFoundError):
                    file.unlink()
                    return False
                return None
            await asyncio.sleep(_POLL_S)
        if not (had_power and self.has_power):  # a board that starts clears away what was not for it
            return None
        return True if time.monotonic() - began < TAKEN_MS / 1000 else None


class _Range:
    """A hub, its targets and a console, for one chaos run after the other."""

    def __init__(
        self, hub: _Hub, targets: list[_Target], console: _Console, console_link: ImpairedLink
    ) -> None:
        self._hub = hub
        self._targets = targets
        self._console = console
        self._console_link = console_link
        self._reports = ReportOrder()
        self._peaks: Iterator[int] = iter(())
        self._detected: list[tuple[_Target, int, int]] = []  # target, its boot, peak
        self._maybe: list[tuple[str, int]] = []
        self._began = 0.0

    def evidence(self) -> str:
        """Return the last events and the end of every log."""
        events = "\n".join(map(str, self._console.events[-30:]))
        logs = "\n".join(f"{target.name}:\n{target.board.log[-1_500:]}" for target in self._targets)
        return f"{events}\n{logs}\nhub:\n{self._hub.log[-3_000:]}"

    async def run(self, seed: int, steps: list[Step]) -> None:
        """Do the steps of one seed's run, from all at rest to all at rest again.

        Raises:
            BrokenPromise: A promise did not hold.
        """
        peaks = list(range(LOWEST_PEAK, HIGHEST_PEAK))
        random.Random(seed).shuffle(peaks)
        self._peaks = iter(peaks)
        self._detected, self._maybe = [], []
        await self._settle()
        first_seq, first_event = self._console.seq, len(self._console.events)
        self._began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for target in self._targets:
                group.create_task(self._use(target, steps))
            group.create_task(self._inject_faults(steps))
        self._heal()
        await self._settle()
        for target in self._targets:
            await self._prove_delivered(target)
            target.check()
            if target.board.resets:
                raise BrokenPromise(f"{target.name} was reset by its own firmware")
        await _until(lambda: self._last_seq() == self._console.seq, "the console should have every event")
        self._check(first_seq, self._console.events[first_event:])

    # --- commands and shots

    async def _use(self, target: _Target, steps: list[Step]) -> None:
        """Carry out the commands and shots on one target, one after the other."""
        for step in steps:
            if self._targets[step.target] is target and step.what in ("round", "rise_and_fall"):
                await self._wait_for(step)
                with suppress(_Lost):
                    if step.what == "round":
                        await self._round(target, step.first, step.second)
                    else:
                        await self._rise_and_fall(target, step.first)

    async def _round(self, target: _Target, duration_ms: int, strike_ms: int) -> None:
        samples = target.samples()
        await self._command(target, MessageType.ACTIVATE, {"duration_ms": duration_ms})
        if strike_ms >= 0:
            await asyncio.sleep(strike_ms / 1000)
            await self._strike(target, samples)
        ends = time.monotonic() + duration_ms / 1000
        await _until(
            lambda: time.monotonic() > ends or not target.board.is_sampling(), "the round should end"
        )

    async def _strike(self, target: _Target, samples: int) -> int:
        """Strike with a peak of its own; return the peak as reports have it.

        Whether it was detected is kept. `samples` is the count before the target was armed: while it is the
        same, the strike may come before the target is armed, and is no hit.
        """
        raw = next(self._peaks)
        peak = raw << 4 | raw >> 8
        boot = target.boot
        is_armed = target.samples() != samples
        detected = await target.strike(raw)
        if detected and not is_armed:
            detected = None
        if detected:
            self._detected.append((target, boot, peak))
        elif detected is None:
            self._maybe.append((target.name, peak))
        return peak

    async def _rise_and_fall(self, target: _Target, wait_ms: int) -> None:
        """Raise and lower the target, then send the first command's id again: it must move nothing.

        Raises:
            BrokenPromise: The target rose again.
            _Lost: A command got no reply, or failed.
        """
        link, boot = self._console.link, target.boot
        id = await self._command(target, MessageType.STAND_UP, {})
        await asyncio.sleep(wait_ms / 1000)
        await self._command(target, MessageType.LAY_DOWN, {})
        if self._console.link is not link or link is None:
            return  # over another connection the same id is another one
        rises = target.rises()
        await self._console.command(MessageType.STAND_UP, target.name, {}, id)
        if target.boot == boot and target.has_power and target.rises() > rises:
            raise BrokenPromise(f"{target.name} rose again for the id {id}, after it had lain down")

    async def _command(self, target: _Target, message_type: str, data: dict[str, object]) -> str:
        """Send a command, wait until it is done, and return its id.

        Raises:
            _Lost: It was not done, or that is unknown.
        """
        id = self._console.new_id()
        raises = message_type != MessageType.LAY_DOWN
        target.causes += raises
        boot = target.boot
        reply = await self._console.command(message_type, target.name, data, id)
        if reply.type == MessageType.ERROR:
            begun = reply.status == "unknown" or (reply.data or {}).get("code") == ErrorCode.SUPERSEDED
            if raises and not begun and target.boot == boot:
                target.causes -= 1  # it says that nothing was done
            raise _Lost
        return id

    # --- faults

    async def _inject_faults(self, steps: list[Step]) -> None:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                if step.what not in ("round", "rise_and_fall"):
                    group.create_task(self._inject(step))

    async def _inject(self, step: Step) -> None:
        await self._wait_for(step)
        target = self._targets[step.target]
        if step.what == "cut":
            target.link.cut()
        elif step.what == "cut_at_report":
            await self._at_line(target, True, _REPORTS, target.link.cut, step.first)
        elif step.what == "cut_at_ack":
            await self._at_line(target, False, _ACK, target.link.cut, 0)
        elif step.what == "cut_console":
            self._console_link.cut()
        elif step.what == "hold":
            target.link.is_held = True
            await asyncio.sleep(step.first / 1000)
            target.link.is_held = False
        elif step.what == "delay":
            target.link.to_hub_ms = target.link.from_hub_ms = (step.first, step.first + step.second)
        elif step.what == "double":
            target.link.on_line = lambda to_hub, line: step.first
        elif step.what == "kill_hub":
            self._hub.kill()
            await self._restart_hub(step.first)
        elif step.what == "kill_hub_at_report":
            loop = asyncio.get_running_loop()

            def kill_soon() -> None:
                loop.call_later(step.second / 1_000_000, self._hub.kill)

            if await self._at_line(target, True, _REPORTS, kill_soon, 1):
                await asyncio.sleep(step.second / 1_000_000)
                self._hub.kill()
                await self._restart_hub(step.first)
        elif step.what == "kill_hub_at_ack":
            if await self._at_line(target, False, _ACK, self._hub.kill, step.second):
                await self._restart_hub(step.first)
        elif step.what == "cease_fire":
            await self._cease_fire(step.first)
        elif target.has_power:
            await target.power_cut(step.what == "reboot", step.first)

    async def _cease_fire(self, hold_ms: int) -> None:
        """Call a cease fire, and release it after `hold_ms`.

        Raises:
            BrokenPromise: A target rose that had been said to lie; or it could not be released.
        """
        is_held, results = await self._console.call_cease_fire()
        lying = [
            target for target in self._targets if is_held and target.name in results and target.has_power
        ]
        before = [(target, target.boot, target.rises()) for target in lying]
        await asyncio.sleep(hold_ms / 1000)
        for target, boot, rises in before:
            if target.has_power and target.boot == boot and target.rises() > rises:
                raise BrokenPromise(f"{target.name} rose while a cease fire held")
        began = time.monotonic()
        while is_held and (is_still := await self._console.is_cease_fire()) is not True:
            if is_still is False or time.monotonic() - began > SETTLE_S:
                raise BrokenPromise("the hub has forgotten a cease fire")
            await asyncio.sleep(_POLL_S)
        while not await self._console.release():
            if time.monotonic() - began > SETTLE_S:
                raise BrokenPromise(f"a cease fire was not released within {SETTLE_S:.0f} s")
            await asyncio.sleep(_POLL_S)

    async def _restart_hub(self, off_ms: int) -> None:
        await self._hub.wait_killed()
        await asyncio.sleep(off_ms / 1000)
        await self._hub.start()

    async def _at_line(
        self, target: _Target, to_hub: bool, words: tuple[bytes, ...], act: Callable[[], None], copies: int
    ) -> bool:
        """Call `act` at the first line with one of `words`, and deliver that `copies` times.

        Returns whether such a line came within SPAN_MS.
        """
        came = asyncio.Event()

        def on_line(is_to_hub: bool, line: bytes) -> int:
            if is_to_hub == to_hub and not came.is_set() and any(word in line for word in words):
                came.set()
                target.link.on_line = None
                act()
                return copies
            return 1

        target.link.on_line = on_line
        with suppress(TimeoutError):
            async with asyncio.timeout(SPAN_MS / 1000):
                await came.wait()
        if target.link.on_line is on_line:
            target.link.on_line = None  # nobody waits for what it would do
        return came.is_set()

    def _heal(self) -> None:
        for target in self._targets:
            target.link.on_line = None
            target.link.is_held = False
            target.link.to_hub_ms = target.link.from_hub_ms = (0, 0)

    async def _wait_for(self, step: Step) -> None:
        await asyncio.sleep(max(0.0, self._began + step.at_ms / 1000 - time.monotonic()))

    # --- promises

    async def _settle(self) -> None:
        """Wait until every target is registered, down and at rest.

        Raises:
            BrokenPromise: That took longer than SETTLE_S.
        """
        began = time.monotonic()
        while True:
            await self._hub.start()
            with suppress(_Lost):
                reply = await self._console.command(MessageType.LAY_DOWN, "all", {}, self._console.new_id())
                if (reply.data or {}).get("ok") == TARGETS and all(map(_is_down, self._targets)):
                    return
            if time.monotonic() - began > SETTLE_S:
                raise BrokenPromise(f"the targets were not all back at rest within {SETTLE_S:.0f} s")
            await asyncio.sleep(0.05)

    async def _prove_delivered(self, target: _Target) -> None:
        """Wait for one more hit: reports come in order, so all before it have come.

        Raises:
            BrokenPromise: It did not come within SETTLE_S.
        """
        began = time.monotonic()
        while True:
            with suppress(_Lost):
                samples = target.samples()
                await self._command(target, MessageType.ACTIVATE, {"duration_ms": 2_000})
                await _until(partial(target.has_sampled_since, samples), f"{target.name} should be armed")
                peak = await self._strike(target, samples)
                if self._detected[-1:] == [(target, target.boot, peak)]:
                    await _until(
                        partial(self._console.has, peak), f"the last hit of {target.name} should come"
                    )
                    await _until(partial(_is_down, target), f"{target.name} should lie down")
                    return
            if time.monotonic() - began > SETTLE_S:
                raise BrokenPromise(f"{target.name} could not be armed any more")
            await asyncio.sleep(0.1)

    def _last_seq(self) -> int:
        [[seq]] = self._query("SELECT coalesce(max(seq), 0) FROM events", ())
        return max(int(seq), self._console.seq)

    def _query(self, query: str, values: tuple[object, ...]) -> list[Any]:
        db = sqlite3.connect(self._hub.journal)
        try:
            return db.execute(query, values).fetchall()
        finally:
            db.close()

    def _check(self, first_seq: int, seen: list[Event]) -> None:
        rows = self._query(
            "SELECT seq, event, target_id, data, report FROM events WHERE seq > ? AND seq <= ? ORDER BY seq",
            (first_seq, self._console.seq),
        )
        kept = [(seq, event, target_id, json.loads(data)) for seq, event, target_id, data, _ in rows]
        check_sound(kept)
        check_seen(seen, kept)
        hits = [(target_id, data["peak"]) for _, event, target_id, data in kept if event == "hit"]
        detected = [(target.name, peak, boot != target.boot) for target, boot, peak in self._detected]
        check_hits(hits, detected, self._maybe)
        for row in rows:
            if row[4]:
                self._reports.check(ast.literal_eval(row[4]), json.loads(row[3]))


def _is_down(target: _Target) -> bool:
    pwm = target.board.outputs()["pwm"].get(SERVO, {"duty_ns": 0})
    return 0 < pwm["duty_ns"] < 600_000 and not target.board.is_sampling()


async def _until(condition: Callable[[], object], what: str) -> None:
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > SETTLE_S:
            raise BrokenPromise(f"{what}, and did not within {SETTLE_S:.0f} s")
        await asyncio.sleep(_POLL_S)


@asynccontextmanager
async def _range(directory: Path) -> AsyncIterator[_Range]:
    """Start a hub, its targets and a console; end them, and remove their files, at the end of the block."""
    await asyncio.to_thread(directory.mkdir)
    hub = _Hub(directory)
    async with AsyncExitStack() as stack:
        await hub.start()
        stack.push_async_callback(hub.wait_killed)
        stack.callback(hub.kill)
        console_link = await stack.enter_async_context(ImpairedLink(hub.port))
        console = _Console(console_link.port)
        following = asyncio.create_task(console.run())
        stack.push_async_callback(end_task, following)
        targets = []
        for number in range(1, TARGETS + 1):
            link = await stack.enter_async_context(ImpairedLink(hub.port, seed=number))
            targets.append(_Target(directory, number, link))
            stack.push_async_callback(asyncio.to_thread, targets[-1].board.kill)
            await asyncio.to_thread(targets[-1].board.start)
        yield _Range(hub, targets, console, console_link)


async def run(
    seeds: list[int],
    ranges: int,
    directory: Path,
    on_done: Callable[[int, str], None],
    plan: Callable[[int], list[Step]] = plan,
) -> dict[int, str]:
    """Do every seed's run, on `ranges` ranges at once, and return what was broken, by seed.

    `on_done(seed, broken)` is called after each run; `broken` is empty where every promise held. `plan`
    makes the steps of a seed.
    """
    left = list(reversed(seeds))
    broken: dict[int, str] = {}
    count = 0

    async def work() -> None:
        nonlocal count
        while left:
            count += 1
            async with _range(directory / f"range_{count}") as range_:
                while left and await holds(range_, left.pop()):
                    pass  # after a broken promise, the next run gets a range of its own

    async def holds(range_: _Range, seed: int) -> bool:
        try:
            await range_.run(seed, plan(seed))
        except* BrokenPromise as group:
            broken[seed] = "; ".join(map(str, _leaves(group))) + "\n" + range_.evidence()
        on_done(seed, broken.get(seed, ""))
        return seed not in broken

    async with asyncio.TaskGroup() as group:
        for _ in range(min(ranges, len(seeds))):
            group.create_task(work())
    return broken


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
