"""What a target does when: one table of states and triggers. Pure: no pin, no clock, no socket.

Commands and signals go in, actions come out; whoever owns the hardware carries them out in order.
"""

from shared.socket_protocol import (
    COMMAND_REPLIES,
    DEFAULT_DURATION_MS,
    MAX_DURATION_MS,
    MIN_DURATION_MS,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    integer_field,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_WAITING = 8  # commands that one motion answers together
MAX_ANSWERED = 16  # ids remembered, so that a repeated command is answered and not carried out


class State:
    """Where the target is; the word is also what health and `register` report."""

    DOWN = "down"
    RISING = "rising"
    ARMING = "arming"  # rising, to be armed on arrival
    STANDING = "standing"
    ARMED = "armed"
    FALLING = "falling"
    FAULT = "fault"


class Trigger:
    """What can happen to a target. The first three are the commands, by their type on the wire."""

    STAND_UP = MessageType.STAND_UP
    LAY_DOWN = MessageType.LAY_DOWN
    ACTIVATE = MessageType.ACTIVATE
    ARRIVED = "arrived"  # the servo is where it was sent
    HIT = "hit"
    TIME_UP = "time_up"  # armed for the whole duration, and no hit
    LINK_LOST = "link_lost"
    SERVO_FAILED = "servo_failed"


class Action:
    """What the owner of the hardware is asked to do. Each is the first item of a tuple."""

    REPLY = "reply"  # (REPLY, SocketMessage)
    RAISE = "raise"  # (RAISE,): move up, then signal ARRIVED
    LOWER = "lower"  # (LOWER,)
    ARM = "arm"  # (ARM, duration_ms): feel for a hit, then signal HIT or TIME_UP
    DISARM = "disarm"  # (DISARM,)
    REPORT = "report"  # (REPORT, MessageType.HIT or MISS, data)


_MOVE_UP = "move_up"
_MOVE_DOWN = "move_down"
_ANSWER = "answer"  # this command, and all that wait
_JOIN = "join"  # wait with those that wait
_ARM = "arm"
_SCORE = "score"
_CALL_OFF = "call_off"  # armed, and ended by something that is no hit
_FAIL = "fail"

# {(state, trigger): (next state, what is done)}. A command that is not here is `busy`; LAY_DOWN always is.
TRANSITIONS = {
    (State.DOWN, Trigger.STAND_UP): (State.RISING, _MOVE_UP),
    (State.DOWN, Trigger.ACTIVATE): (State.ARMING, _MOVE_UP),
    (State.DOWN, Trigger.LAY_DOWN): (State.DOWN, _ANSWER),
    (State.RISING, Trigger.STAND_UP): (State.RISING, _JOIN),
    (State.RISING, Trigger.LAY_DOWN): (State.FALLING, _MOVE_DOWN),
    (State.RISING, Trigger.ARRIVED): (State.STANDING, _ANSWER),
    (State.RISING, Trigger.LINK_LOST): (State.FALLING, _MOVE_DOWN),
    (State.RISING, Trigger.SERVO_FAILED): (State.FAULT, _FAIL),
    (State.ARMING, Trigger.LAY_DOWN): (State.FALLING, _MOVE_DOWN),
    (State.ARMING, Trigger.ARRIVED): (State.ARMED, _ARM),
    (State.ARMING, Trigger.LINK_LOST): (State.FALLING, _MOVE_DOWN),
    (State.ARMING, Trigger.SERVO_FAILED): (State.FAULT, _FAIL),
    (State.STANDING, Trigger.STAND_UP): (State.STANDING, _ANSWER),
    (State.STANDING, Trigger.ACTIVATE): (State.ARMED, _ARM),
    (State.STANDING, Trigger.LAY_DOWN): (State.FALLING, _MOVE_DOWN),
    (State.STANDING, Trigger.LINK_LOST): (State.FALLING, _MOVE_DOWN),
    (State.ARMED, Trigger.LAY_DOWN): (State.FALLING, _CALL_OFF),
    (State.ARMED, Trigger.HIT): (State.FALLING, _SCORE),
    (State.ARMED, Trigger.TIME_UP): (State.FALLING, _SCORE),
    (State.ARMED, Trigger.LINK_LOST): (State.FALLING, _CALL_OFF),
    (State.FALLING, Trigger.LAY_DOWN): (State.FALLING, _JOIN),
    (State.FALLING, Trigger.ARRIVED): (State.DOWN, _ANSWER),
    (State.FALLING, Trigger.SERVO_FAILED): (State.FAULT, _FAIL),
    (State.FAULT, Trigger.LAY_DOWN): (State.FALLING, _MOVE_DOWN),
}


class TargetController:
    """The state of one target. Starts as FALLING: where the servo stood at power-up nobody knows."""

    def __init__(self) -> None:
        self.state = State.FALLING
        self._waiting: "list[SocketMessage]" = []
        self._answered: "list[tuple[str | int, str, SocketMessage | None]]" = []
        self._duration_ms = DEFAULT_DURATION_MS

    def start(self) -> "list[tuple[Any, ...]]":
        """The actions at power-up."""
        return [(Action.LOWER,)]

    def command(self, message: SocketMessage) -> "list[tuple[Any, ...]]":
        """The actions for STAND_UP, LAY_DOWN or ACTIVATE.

        An id seen before is answered as before, or once the motion it began ends, and not carried out again.
        """
        assert message.id is not None
        for id, type, reply in self._answered:
            if id == message.id and type == message.type:
                return [(Action.REPLY, reply)] if reply is not None else []
            if id == message.id:
                error = ProtocolError(ErrorCode.BAD_MESSAGE, "this id was a `%s`" % type)
                return [(Action.REPLY, error.to_message(message.id))]
        if message.type == MessageType.ACTIVATE:
            try:
                duration_ms = _duration_ms(message)
            except ProtocolError as error:
                return [(Action.REPLY, error.to_message(message.id))]
        is_full = len(self._waiting) >= MAX_WAITING and message.type != MessageType.LAY_DOWN
        if (self.state, message.type) not in TRANSITIONS or is_full:
            code = ErrorCode.FAULT if self.state == State.FAULT else ErrorCode.BUSY
            return [(Action.REPLY, ProtocolError(code, "the target is " + self.state).to_message(message.id))]
        self._remember(message, None)
        if message.type == MessageType.ACTIVATE:
            self._duration_ms = duration_ms
        return self._step(message.type, message, None)

    def signal(self, trigger: str, data: "dict[str, object] | None" = None) -> "list[tuple[Any, ...]]":
        """The actions for anything but a command. `data` goes into the report of a HIT.

        A trigger that the state has no use for is ignored.
        """
        if (self.state, trigger) not in TRANSITIONS:
            return []
        return self._step(trigger, None, data)

    def _step(
        self, trigger: str, message: "SocketMessage | None", data: "dict[str, object] | None"
    ) -> "list[tuple[Any, ...]]":
        self.state, effect = TRANSITIONS[(self.state, trigger)]
        if effect == _JOIN:
            actions = self._make_room()
            self._wait(message)
            return actions
        if effect == _ANSWER:
            self._wait(message)
            return self._answer(None)
        if effect == _ARM:
            self._wait(message)
            return self._answer(None) + [(Action.ARM, self._duration_ms)]
        if effect == _FAIL:
            return self._answer(ProtocolError(ErrorCode.FAULT, "the servo does not answer"))
        if effect == _SCORE:
            hit = trigger == Trigger.HIT
            report = (
                Action.REPORT,
                MessageType.HIT if hit else MessageType.MISS,
                data or {"reason": trigger},
            )
            return [report, (Action.LOWER,)]
        actions = self._answer(ProtocolError(ErrorCode.SUPERSEDED, "given up for `%s`" % trigger))
        if effect == _CALL_OFF:
            actions.append((Action.DISARM,))
            actions.append((Action.REPORT, MessageType.MISS, {"reason": trigger}))
        self._wait(message)
        actions.append((Action.RAISE,) if effect == _MOVE_UP else (Action.LOWER,))
        return actions

    def _make_room(self) -> "list[tuple[Any, ...]]":
        """Gives up the command that has waited longest when one more would be too many."""
        if len(self._waiting) < MAX_WAITING:
            return []
        later = self._waiting[1:]
        self._waiting = self._waiting[:1]
        actions = self._answer(ProtocolError(ErrorCode.SUPERSEDED, "too many wait for this motion"))
        self._waiting = later
        return actions

    def _wait(self, message: "SocketMessage | None") -> None:
        if message is not None:
            self._waiting.append(message)

    def _answer(self, error: "ProtocolError | None") -> "list[tuple[Any, ...]]":
        """Replies to all that wait: that it is so, or `error`."""
        actions: "list[tuple[Any, ...]]" = []
        for message in self._waiting:
            if error is None:
                type, status = COMMAND_REPLIES[message.type]
                reply = message.reply(type, status)
            else:
                reply = error.to_message(message.id, message.target_id)
            self._remember(message, reply)
            actions.append((Action.REPLY, reply))
        self._waiting = []
        return actions

    def _remember(self, message: SocketMessage, reply: "SocketMessage | None") -> None:
        assert message.id is not None
        self._answered = [entry for entry in self._answered if entry[0] != message.id][1 - MAX_ANSWERED :]
        self._answered.append((message.id, message.type, reply))


def _duration_ms(message: SocketMessage) -> int:
    data = message.data or {}
    if "at_us" in data:
        raise ProtocolError(ErrorCode.UNSUPPORTED, "this firmware cannot arm at a later time")
    return integer_field(data, "duration_ms", DEFAULT_DURATION_MS, MIN_DURATION_MS, MAX_DURATION_MS)
