"""A target's body: carries out what the controller decides, and tells it what the hardware felt."""

import asyncio

from firmware.target.controller import Action, State, TargetController, Trigger
from firmware.target.outbox import Outbox
from shared.clock import now_ms
from shared.link import Link
from shared.log import log, log_exception
from shared.runtime import collect_garbage
from shared.socket_protocol import MessageType, ProtocolError, SocketMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from firmware.target.peripherals import Piezo, Servo
    from shared.link import Handler

    Motion = Callable[[], Awaitable[None]]

MOTION_STUCK_MS = 5_000  # longer than any work that could keep the loop from a motion's end


class Target:
    """Joins a TargetController to a servo and a piezo, with the tasks that motion and feeling need.

    `on_change` is called with the state's word at the start and at each change, `on_hit` at each hit.
    """

    def __init__(
        self,
        servo: "Servo",
        piezo: "Piezo",
        on_change: "Callable[[str], None] | None" = None,
        on_hit: "Callable[[], None] | None" = None,
    ) -> None:
        self.outbox = Outbox()
        self.handlers: "dict[str, Handler]" = {
            MessageType.STAND_UP: self._command,
            MessageType.LAY_DOWN: self._command,
            MessageType.ACTIVATE: self._command,
        }
        self._servo = servo
        self._piezo = piezo
        self._on_change = on_change
        self._on_hit = on_hit
        self._told_state = ""
        self._controller = TargetController()
        self._link: "Link | None" = None
        self._motion: "asyncio.Task[None] | None" = None
        self._motion_began_ms = 0
        self._watch: "asyncio.Task[None] | None" = None
        self._at_rest = asyncio.Event()
        self._is_broken = False
        self._started_ms = now_ms()

    @property
    def state(self) -> str:
        return self._controller.state

    def health(self) -> "dict[str, object]":
        """What a PONG says of this target."""
        return {
            "state": self._controller.state,
            "uptime_ms": now_ms() - self._started_ms,
            "dropped": self.outbox.dropped,
        }

    def is_stuck(self, at_ms: int) -> bool:
        """Whether, at `now_ms()` `at_ms`, only a reset can help: a motion has no end, or a task has died."""
        if self._is_broken:
            return True
        moves_for_ms = at_ms - self._motion_began_ms
        return self._motion is not None and moves_for_ms > self._servo.travel_ms + MOTION_STUCK_MS

    async def run(self) -> None:
        """Goes to the resting pose, then delivers hits and misses for ever. May be cancelled."""
        self._perform(self._controller.start())
        try:
            await self.outbox.run()
        finally:
            _cancel(self._motion)
            _cancel(self._watch)

    async def wait_at_rest(self) -> None:
        """Returns when nothing moves: a command that comes now is not `busy` for that reason."""
        await self._at_rest.wait()

    def connect(self, link: Link) -> None:
        """The hub is there: answers and events go over `link`."""
        self._link = link
        self.outbox.connect(link)

    def disconnect(self, safe_pose: str) -> None:
        """The hub is gone. `safe_pose` "down" lies down, "stay" lets a running round end as it may."""
        self._link = None
        self.outbox.connect(None)
        if safe_pose == "down":
            self._count_hit()
            self._perform(self._controller.signal(Trigger.LINK_LOST))

    async def _command(self, link: Link, message: SocketMessage) -> None:
        self._link = link
        self._count_hit()
        self._perform(self._controller.command(message))

    def _perform(self, actions: "list[tuple[Any, ...]]") -> None:
        self._tell_state()
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
                self._watch = asyncio.create_task(self._guard(self._feel, action[1]))
            elif kind == Action.DISARM:
                _cancel(self._watch)
            else:
                action[2]["gap_us"] = self._piezo.gap_us
                self.outbox.add(action[1], action[2])

    def _tell_state(self) -> None:
        state = self._controller.state
        if state != self._told_state:
            self._told_state = state
            if self._on_change is not None:
                self._on_change(state)

    def _reply(self, message: SocketMessage) -> None:
        if self._link is not None:
            try:
                self._link.post(message)
            except ProtocolError as error:
                log("target", "`%s` could not be sent: %s" % (message.type, error))

    def _move(self, turn: "Motion") -> None:
        _cancel(self._motion)
        self._at_rest.clear()
        self._motion_began_ms = now_ms()
        self._motion = asyncio.create_task(self._guard(self._travel, turn))

    async def _guard(self, work: "Callable[[Any], Awaitable[None]]", argument: "Any") -> None:
        """Nobody awaits these tasks: a defect in one would go unnoticed."""
        try:
            await work(argument)
        except Exception as error:
            self._is_broken = True
            log_exception("target", error)

    async def _travel(self, turn: "Motion") -> None:
        trigger = Trigger.ARRIVED
        try:
            await turn()
        except (OSError, ValueError) as error:
            log("target", "the servo cannot be driven: %r" % error)
            trigger = Trigger.SERVO_FAILED
        self._motion = None
        self._at_rest.set()
        self._perform(self._controller.signal(trigger))
        collect_garbage()

    async def _feel(self, duration_ms: int) -> None:
        if await self._piezo.feel(duration_ms):
            self._score()
        else:
            self._perform(self._controller.signal(Trigger.TIME_UP))

    def _count_hit(self) -> None:
        """Counts a hit whose peak is not over yet: what comes now must not make a miss of it."""
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
