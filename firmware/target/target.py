"""A target's body: carries out what the controller decides, and tells it what the hardware felt."""

import asyncio

from firmware.target.controller import Action, TargetController, Trigger
from firmware.target.outbox import Outbox
from shared.clock import now_ms
from shared.link import Link
from shared.log import log
from shared.runtime import collect_garbage, sleep_ms
from shared.socket_protocol import MessageType, ProtocolError, SocketMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from firmware.target.peripherals import Piezo, Servo
    from shared.link import Handler


class Target:
    """Joins a TargetController to a servo and a piezo, with the tasks that motion and feeling need."""

    def __init__(self, servo: "Servo", piezo: "Piezo") -> None:
        self.outbox = Outbox()
        self.handlers: "dict[str, Handler]" = {
            MessageType.STAND_UP: self._command,
            MessageType.LAY_DOWN: self._command,
            MessageType.ACTIVATE: self._command,
        }
        self._servo = servo
        self._piezo = piezo
        self._controller = TargetController()
        self._link: "Link | None" = None
        self._motion: "asyncio.Task[None] | None" = None
        self._watch: "asyncio.Task[None] | None" = None
        self._at_rest = asyncio.Event()
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
            self._perform(self._controller.signal(Trigger.LINK_LOST))

    async def _command(self, link: Link, message: SocketMessage) -> None:
        self._link = link
        self._perform(self._controller.command(message))

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
                self._watch = asyncio.create_task(self._feel(action[1]))
            elif kind == Action.DISARM:
                _cancel(self._watch)
            else:
                self.outbox.add(action[1], action[2])

    def _reply(self, message: SocketMessage) -> None:
        if self._link is not None:
            try:
                self._link.post(message)
            except ProtocolError as error:
                log("target", "`%s` could not be sent: %s" % (message.type, error))

    def _move(self, turn: "Callable[[], None]") -> None:
        _cancel(self._motion)
        self._at_rest.clear()
        self._motion = asyncio.create_task(self._travel(turn))

    async def _travel(self, turn: "Callable[[], None]") -> None:
        try:
            turn()
        except (OSError, ValueError) as error:
            log("target", "the servo cannot be driven: %r" % error)
            self._at_rest.set()
            self._perform(self._controller.signal(Trigger.SERVO_FAILED))
            return
        await sleep_ms(self._servo.travel_ms)
        self._motion = None
        self._at_rest.set()
        self._perform(self._controller.signal(Trigger.ARRIVED))
        collect_garbage()

    async def _feel(self, duration_ms: int) -> None:
        piezo = self._piezo
        armed_ms = now_ms()
        piezo.settle(armed_ms)
        while True:
            elapsed_ms = now_ms() - armed_ms
            if elapsed_ms >= duration_ms:
                self._perform(self._controller.signal(Trigger.TIME_UP))
                return
            peak = piezo.sample(armed_ms + elapsed_ms)
            if peak:
                self._perform(self._controller.signal(Trigger.HIT, {"reaction_ms": elapsed_ms, "peak": peak}))
                return
            await sleep_ms(piezo.sample_ms)


def _cancel(task: "asyncio.Task[None] | None") -> None:
    if task is not None:
        task.cancel()
