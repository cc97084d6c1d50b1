"""A target's hardware in use: carries out what the controller decides, and tells it what the hardware did."""

import asyncio

from snyper.firmware.target.controller import Action, State, TargetController, Trigger
from snyper.firmware.target.outbox import Outbox
from snyper.shared.clock import now_ms, now_us
from snyper.shared.hub_clock import HubClock
from snyper.shared.link import Link
from snyper.shared.log import keep, log, log_exception
from snyper.shared.runtime import collect_garbage, heap_free_bytes, sleep_ms, sleep_rest_us
from snyper.shared.socket_protocol import MessageType, ProtocolError, SocketMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from snyper.firmware.target.peripherals import Piezo, Servo
    from snyper.shared.link import Handler

    Motion = Callable[[], Awaitable[None]]

MOTION_STUCK_MS = 5_000  # longer than any work that could keep the loop from a motion's end
HEAP_EVERY_MS = 10_000  # measuring takes the loop 20 ms

_HEALTH = b'{"state":"%s","dropped":%d,"rests_at":%d,"uptime_ms":%d'


class Target:
    """Joins a TargetController to a servo and a piezo, with the tasks that motion and detection need.

    `on_change` is called with the state's word at the start and at each change, `on_hit` at each hit. `clock`
    is the hub's, kept by the session.
    """

    def __init__(
        self,
        servo: "Servo",
        piezo: "Piezo",
        on_change: "Callable[[str], None] | None" = None,
        on_hit: "Callable[[], None] | None" = None,
    ) -> None:
        self.clock = HubClock()
        self.outbox = Outbox(self.clock)
        command = self._command  # one object: on a board each `self._command` takes memory
        self.handlers: "dict[str, Handler]" = {
            MessageType.STAND_UP: command,
            MessageType.LAY_DOWN: command,
            MessageType.ACTIVATE: command,
        }
        self._servo = servo
        self._piezo = piezo
        self._on_change = on_change
        self._on_hit = on_hit
        self._notified_state = ""
        self._controller = TargetController()
        self._link: "Link | None" = None
        self._motion: "asyncio.Task[None] | None" = None
        self._motion_began_ms = 0
        self._watch: "asyncio.Task[None] | None" = None
        self._schedule: "asyncio.Task[None] | None" = None
        self._timing: "dict[str, object] | None" = None  # of the command that is carried out at its instant
        self._at_rest = asyncio.Event()
        self._is_broken = False
        self._is_rest_said = False
        self._started_ms = now_ms()
        self._heap_free_bytes: "int | None" = None
        self._measured = b"}"  # of clock and heap, encoded, and the end
        self._heap_measured_ms = -HEAP_EVERY_MS
        self._health = self._encode_health()

    @property
    def state(self) -> str:
        return self._controller.state

    @property
    def is_idle(self) -> bool:
        """Whether it neither moves nor is armed, nor waits for an instant to do so."""
        return self._schedule is None and self.state in (State.DOWN, State.STANDING, State.FAULT)

    def health(self) -> bytes:
        """Return what a PONG says of this target, encoded: as it was when its state changed last, or when it
        was measured last. What is urgent comes before `uptime_ms`.
        """
        return self._health

    def measure_health(self) -> bytes:
        """Measure clock and heap, and return `health` as it is now. Not for while somebody waits."""
        self._measure_heap()
        clock, heap = self.clock, self._heap_free_bytes
        measured = b',"uncertainty_us":%d' % clock.uncertainty_us(now_us()) if clock.is_set else b""
        if heap is not None:
            measured += b',"heap_free_bytes":%d' % heap
        self._measured = measured + b"}"
        self._health = self._encode_health()
        return self._health

    def _encode_health(self) -> bytes:
        said = (
            self._controller.state.encode(),
            self.outbox.dropped,
            self._piezo.rests_at,
            now_ms() - self._started_ms,
        )
        return _HEALTH % said + self._measured

    def is_stuck(self, at_ms: int) -> bool:
        """Return whether, at `now_ms()` `at_ms`, only a reset can help: a motion has no end, or a task has
        died.
        """
        if self._is_broken:
            return True
        moves_for_ms = at_ms - self._motion_began_ms
        return self._motion is not None and moves_for_ms > self._servo.travel_ms + MOTION_STUCK_MS

    async def run(self) -> None:
        """Go to the resting pose, then deliver hits and misses for ever. May be cancelled."""
        self._perform(self._controller.start())
        try:
            await self.outbox.run()
        finally:
            _cancel(self._motion)
            _cancel(self._watch)
            _cancel(self._schedule)

    async def wait_at_rest(self) -> None:
        """Wait until nothing moves: a command that comes now is not `busy` for that reason."""
        await self._at_rest.wait()

    def forget_hub(self, since_us: int) -> None:
        """Obey another hub from now on, `since_us` by its clock: what was sent before is for another boot."""
        self.clock.reset()
        self._controller.since_us = since_us

    def connect(self, link: Link) -> None:
        """Take `link` to the hub: replies and reports go over it from now on."""
        self._link = link
        link.on_request = self._check_age
        self.outbox.connect(link)

    def disconnect(self, safe_pose: str) -> None:
        """Let go of the hub's link. `safe_pose` "down" lies down, "stay" lets a running round end as it
        may.
        """
        self._link = None
        self.outbox.connect(None)
        self._perform(self._controller.cancel(Trigger.LINK_LOST))
        if safe_pose == "down":
            self._count_hit()
            self._perform(self._controller.signal(Trigger.LINK_LOST))

    def _check_age(self, message: SocketMessage) -> None:
        """Check that a command of any kind has not come too late. Raises ProtocolError."""
        if self.clock.is_set:
            self._controller.check_age(message, self.clock.hub_us(now_us()))

    async def _command(self, link: Link, message: SocketMessage) -> None:
        self._link = link
        self._count_hit()
        hub_us = self.clock.hub_us(now_us()) if self.clock.is_set else None
        self._perform(self._controller.command(message, hub_us))

    def _perform(self, actions: "list[tuple[Any, ...]]") -> None:
        for action in actions:
            kind = action[0]
            if kind == Action.REPLY:
                self._reply(action[1])
            elif kind == Action.RAISE:
                self._move(self._servo.raise_up)
            elif kind == Action.LOWER:
                self._move(self._servo.lower)
            elif kind == Action.ARM:
                self._piezo.arm()
                self._watch = asyncio.create_task(self._guard(self._detect, action[1]))
            elif kind == Action.DISARM:
                _cancel(self._watch)
            elif kind == Action.SCHEDULE:
                self._schedule = asyncio.create_task(self._guard(self._wait_until, action[1]))
            elif kind == Action.CANCEL:
                _cancel(self._schedule)
                self._schedule = None
            else:
                action[2]["gap_us"] = self._piezo.gap_us
                self._record_rest_level(action[2])
                if action[1] == MessageType.HIT:
                    self.outbox.add(action[1], action[2], self._piezo.detected_us, self._piezo.unsampled_us)
                else:
                    self.outbox.add(action[1], action[2], now_us())
        self._notify_state()

    def _record_rest_level(self, data: "dict[str, object]") -> None:
        """Record in a report, and once in the log, that the piezo never lay below its threshold."""
        rests_at = self._piezo.rests_at
        if rests_at:
            data["rests_at"] = rests_at
            if not self._is_rest_said:
                keep("piezo", "rests at %d, not below its threshold: it cannot detect a hit" % rests_at)
        self._is_rest_said = rests_at > 0

    def _notify_state(self) -> None:
        state = self._controller.state
        if state != self._notified_state:
            self._notified_state = state
            self._health = self._encode_health()
            if self._on_change is not None:
                self._on_change(state)

    def _reply(self, message: SocketMessage) -> None:
        if self._link is not None:
            try:
                self._link.send_nowait(message)
            except ProtocolError as error:
                log("target", "`%s` could not be sent: %s" % (message.type, error))

    def _move(self, turn: "Motion") -> None:
        _cancel(self._motion)
        self._at_rest.clear()
        self._motion_began_ms = now_ms()
        self._motion = asyncio.create_task(self._guard(self._travel, turn, self._timing))

    async def _guard(self, work: "Callable[..., Awaitable[None]]", *arguments: "Any") -> None:
        """Run `work`, and log a defect in it: nobody awaits these tasks, so it would go unnoticed."""
        try:
            await work(*arguments)
        except Exception as error:
            self._is_broken = True
            log_exception("target", error)

    async def _wait_until(self, at_us: int) -> None:
        """Wait for `at_us` of the hub's clock, and carry out the scheduled command."""
        while True:
            # Half of what is left each time: meanwhile the clock is known better.
            wait_us = self.clock.local_us(at_us) - now_us()
            if wait_us < 1000:
                break
            await sleep_ms(wait_us // 2000 or 1)
        await sleep_rest_us(max(0, wait_us))
        self._schedule = None
        self._count_hit()
        self._timing = {"at_us": at_us}
        self._record_start(self._timing, now_us())
        self._perform(self._controller.due(self._timing))
        self._timing = None

    def _record_start(self, timing: "dict[str, Any]", began_us: int) -> None:
        """Record in `timing` how far from `at_us` the command began, and how far that can be wrong."""
        timing["error_us"] = self.clock.hub_us(began_us) - timing["at_us"]
        timing["uncertainty_us"] = self.clock.uncertainty_us(began_us)

    async def _travel(self, turn: "Motion", timing: "dict[str, Any] | None") -> None:
        trigger = Trigger.ARRIVED
        try:
            await turn()
        except (OSError, ValueError) as error:
            log("target", "the servo cannot be driven: %r" % error)
            trigger = Trigger.SERVO_LOST
        if timing is not None:
            self._record_start(timing, self._servo.began_us)
        self._motion = None
        self._at_rest.set()
        self._perform(self._controller.signal(trigger))
        collect_garbage()

    async def _detect(self, duration_ms: int) -> None:
        if await self._piezo.detect(duration_ms):
            self._score()
        else:
            self._perform(self._controller.signal(Trigger.TIME_UP))

    def _measure_heap(self) -> None:
        """Measure the free heap, seldom, and when nothing is timed."""
        at_ms = now_ms()
        is_busy = self._motion or self._schedule or self._controller.state == State.ARMED
        if not is_busy and at_ms - self._heap_measured_ms >= HEAP_EVERY_MS:
            self._heap_measured_ms = at_ms
            self._heap_free_bytes = heap_free_bytes()

    def _count_hit(self) -> None:
        """Count a hit whose peak is not over yet: what comes now must not make a miss of it."""
        if self._controller.state == State.ARMED and self._piezo.peak:
            _cancel(self._watch)
            self._score()

    def _score(self) -> None:
        if self._on_hit is not None:
            self._on_hit()
        hit: "dict[str, object]" = {"reaction_ms": self._piezo.reaction_ms, "peak": self._piezo.peak}
        self._perform(self._controller.signal(Trigger.HIT, hit))


def _cancel(task: "asyncio.Task[None] | None") -> None:
    if task is not None:
        task.cancel()
