"""A target's state machine: one table of states and triggers. Pure: no pin, no clock, no socket.

Commands and signals go in, actions come out; the owner of the hardware carries them out in order.
"""

from snyper.shared.socket_protocol import (
    DEFAULT_DURATION_MS,
    MAX_AHEAD_MS,
    MAX_DURATION_MS,
    MAX_INTEGER,
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
_MAX_AHEAD_US = (MAX_AHEAD_MS + 1_000) * 1000  # the hub counts exactly; this side's idea of its clock may lag


class State:
    """The states of a target; the word is also what health and `register` say."""

    DOWN = "down"
    RISING = "rising"
    ARMING = "arming"  # rising, to be armed on arrival
    STANDING = "standing"
    ARMED = "armed"
    FALLING = "falling"
    FAULT = "fault"


class Trigger:
    """The triggers of the state machine. The first three are the commands, by their type on the wire."""

    STAND_UP = "stand_up"
    LAY_DOWN = "lay_down"
    ACTIVATE = "activate"
    ARRIVED = "arrived"  # the servo is where it was sent
    HIT = "hit"
    TIME_UP = "time_up"  # armed for the whole duration, and no hit
    LINK_LOST = "link_lost"
    SERVO_LOST = "servo_lost"


class Action:
    """The actions for the owner of the hardware. Each is the first item of a tuple."""

    REPLY = "reply"  # (REPLY, SocketMessage)
    RAISE = "raise"  # (RAISE,): move up, then signal ARRIVED
    LOWER = "lower"  # (LOWER,)
    ARM = "arm"  # (ARM, duration_ms): detect a hit, then signal HIT or TIME_UP
    DISARM = "disarm"  # (DISARM,)
    REPORT = "report"  # (REPORT, MessageType.HIT or MISS, data)
    SCHEDULE = "schedule"  # (SCHEDULE, at_us): call `due` at this instant of the hub's clock
    CANCEL = "cancel"  # (CANCEL,): do not


# What a command is answered with once it is so: as type and as status.
ANSWERS = {
    MessageType.STAND_UP: MessageType.STANDING,
    MessageType.LAY_DOWN: MessageType.DOWN,
    MessageType.ACTIVATE: MessageType.ACTIVATED,
}

_MOVE_UP = "move_up"
_MOVE_DOWN = "move_down"
_ANSWER = "answer"  # this command, and all that wait
_JOIN = "join"  # wait with those that wait
_ARM = "arm"
_SCORE = "score"
_DISARM = "disarm"  # armed, and ended by something that is no hit
_FAIL = "fail"

# One tuple for all that do so: on a board each takes memory.
_FALL = (State.FALLING, _MOVE_DOWN)
_BREAK = (State.FAULT, _FAIL)

# {(state, trigger): (next state, what is done)}. A command that is not here is `busy`; LAY_DOWN always is.
TRANSITIONS = {
    (State.DOWN, Trigger.STAND_UP): (State.RISING, _MOVE_UP),
    (State.DOWN, Trigger.ACTIVATE): (State.ARMING, _MOVE_UP),
    (State.DOWN, Trigger.LAY_DOWN): (State.DOWN, _ANSWER),
    (State.RISING, Trigger.STAND_UP): (State.RISING, _JOIN),
    (State.RISING, Trigger.LAY_DOWN): _FALL,
    (State.RISING, Trigger.ARRIVED): (State.STANDING, _ANSWER),
    (State.RISING, Trigger.LINK_LOST): _FALL,
    (State.RISING, Trigger.SERVO_LOST): _BREAK,
    (State.ARMING, Trigger.LAY_DOWN): _FALL,
    (State.ARMING, Trigger.ARRIVED): (State.ARMED, _ARM),
    (State.ARMING, Trigger.LINK_LOST): _FALL,
    (State.ARMING, Trigger.SERVO_LOST): _BREAK,
    (State.STANDING, Trigger.STAND_UP): (State.STANDING, _ANSWER),
    (State.STANDING, Trigger.ACTIVATE): (State.ARMED, _ARM),
    (State.STANDING, Trigger.LAY_DOWN): _FALL,
    (State.STANDING, Trigger.LINK_LOST): _FALL,
    (State.ARMED, Trigger.LAY_DOWN): (State.FALLING, _DISARM),
    (State.ARMED, Trigger.HIT): (State.FALLING, _SCORE),
    (State.ARMED, Trigger.TIME_UP): (State.FALLING, _SCORE),
    (State.ARMED, Trigger.LINK_LOST): (State.FALLING, _DISARM),
    (State.FALLING, Trigger.LAY_DOWN): (State.FALLING, _JOIN),
    (State.FALLING, Trigger.ARRIVED): (State.DOWN, _ANSWER),
    (State.FALLING, Trigger.SERVO_LOST): _BREAK,
    (State.FAULT, Trigger.LAY_DOWN): _FALL,
}


class TargetController:
    """The state machine of one target. Starts as FALLING: where the servo stood at power-up nobody knows."""

    since_us = 0  # by the hub's clock: when this boot first registered

    def __init__(self) -> None:
        self.state = State.FALLING
        self._waiting: "list[tuple[SocketMessage, dict[str, object] | None]]" = []  # with the reply's data
        self._scheduled: "SocketMessage | None" = None
        # Id and type of a command, target_id, status and data of its reply: as messages they would take three
        # times the memory of a board.
        self._answered: "list[tuple[str | int, str, str | None, str | None, dict[str, object] | None]]" = []
        self._duration_ms = DEFAULT_DURATION_MS

    def start(self) -> "list[tuple[Any, ...]]":
        """Return the actions at power-up."""
        return [(Action.LOWER,)]

    def command(self, message: SocketMessage, hub_us: "int | None" = None) -> "list[tuple[Any, ...]]":
        """Return the actions for STAND_UP, LAY_DOWN or ACTIVATE. `hub_us` is the hub's clock now, where it is
        known.

        An id seen before is answered as before, or once the motion it began ends, and not carried out again.
        One command with `at_us` can wait for its instant; what the state allows is judged then.
        """
        assert message.id is not None
        for id, message_type, target_id, status, data in self._answered:
            if id == message.id and message_type == message.type:
                if status is None:
                    return []
                word = status if status == ANSWERS[message_type] else MessageType.ERROR
                return [(Action.REPLY, SocketMessage(word, id, target_id, status, data))]
            if id == message.id:
                error = ProtocolError(ErrorCode.BAD_MESSAGE, "this id was a `%s`" % message_type)
                return [(Action.REPLY, error.to_message(message.id))]
        try:
            _duration_ms(message)
            at_us = _at_us(message, hub_us)
            if at_us >= 0:
                return self._schedule(message, at_us)
            actions = self.cancel(message.type) if message.type == MessageType.LAY_DOWN else []
            return actions + self._carry_out(message, None)
        except ProtocolError as error:
            return [(Action.REPLY, error.to_message(message.id))]

    def check_age(self, message: SocketMessage, hub_us: int) -> None:
        """Check that the time of any command is not over, and that it was sent to this boot. `hub_us` is the
        hub's clock now. One that was carried out is as good as ever: it is only answered again.

        Raises ProtocolError: `expired`, `bad_message`.
        """
        data = message.data or {}
        if "until_us" not in data or (message.id, message.type) in [entry[:2] for entry in self._answered]:
            return
        late_us = hub_us - integer_field(data, "until_us", 0, 0, MAX_INTEGER)
        if late_us > 0:
            raise ProtocolError(
                ErrorCode.EXPIRED, "its time was over %d ms ago" % (late_us // 1000), None, True
            )
        if integer_field(data, "sent_us", 0, 0, MAX_INTEGER) < self.since_us:
            raise ProtocolError(ErrorCode.EXPIRED, "it was sent before this board booted", None, True)

    def due(self, data: "dict[str, object]") -> "list[tuple[Any, ...]]":
        """Return the actions for the command whose instant has come. `data` goes into its reply, with
        whatever is put into it until then.
        """
        message = self._scheduled
        if message is None:
            return []
        self._scheduled = None
        try:
            return self._carry_out(message, data)
        except ProtocolError as error:
            reply = error.to_message(message.id)
            self._remember(message, reply)
            return [(Action.REPLY, reply)]

    def cancel(self, trigger: str) -> "list[tuple[Any, ...]]":
        """Return the actions that give up the command that waits for its instant, if one does, for
        `trigger`.
        """
        message = self._scheduled
        if message is None:
            return []
        self._scheduled = None
        reply = _given_up_for(trigger).to_message(message.id, message.target_id)
        self._remember(message, reply)
        return [(Action.CANCEL,), (Action.REPLY, reply)]

    def signal(self, trigger: str, data: "dict[str, object] | None" = None) -> "list[tuple[Any, ...]]":
        """Return the actions for anything but a command. `data` goes into the report of a HIT.

        A trigger that the state has no use for is ignored.
        """
        if (self.state, trigger) not in TRANSITIONS:
            return []
        return self._step(trigger, None, data)

    def _schedule(self, message: SocketMessage, at_us: int) -> "list[tuple[Any, ...]]":
        """Schedule a command for its instant. Raises ProtocolError `busy` while another waits for its own."""
        if self._scheduled is not None:
            raise ProtocolError(ErrorCode.BUSY, "another command waits for its `at_us`")
        self._remember(message, None)
        self._scheduled = message
        return [(Action.SCHEDULE, at_us)]

    def _carry_out(self, message: SocketMessage, data: "dict[str, object] | None") -> "list[tuple[Any, ...]]":
        """Carry out a command now. Raises ProtocolError `busy` or `fault` when the state has no use for
        it.
        """
        is_full = len(self._waiting) >= MAX_WAITING and message.type != MessageType.LAY_DOWN
        if (self.state, message.type) not in TRANSITIONS or is_full:
            code = ErrorCode.FAULT if self.state == State.FAULT else ErrorCode.BUSY
            raise ProtocolError(code, "the target is " + state_label(self.state))
        self._remember(message, None)
        if message.type == MessageType.ACTIVATE:
            self._duration_ms = _duration_ms(message)
        return self._step(message.type, message, data)

    def _step(
        self, trigger: str, message: "SocketMessage | None", data: "dict[str, object] | None"
    ) -> "list[tuple[Any, ...]]":
        self.state, effect = TRANSITIONS[(self.state, trigger)]
        if effect == _JOIN:
            actions = self._evict_longest()
            self._wait(message, data)
            return actions
        if effect == _ANSWER:
            self._wait(message, data)
            return self._answer(None)
        if effect == _ARM:
            self._wait(message, data)
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
        actions = self._answer(_given_up_for(trigger))
        if effect == _DISARM:
            actions.append((Action.DISARM,))
            actions.append((Action.REPORT, MessageType.MISS, {"reason": trigger}))
        self._wait(message, data)
        actions.append((Action.RAISE,) if effect == _MOVE_UP else (Action.LOWER,))
        return actions

    def _evict_longest(self) -> "list[tuple[Any, ...]]":
        """Give up the command that has waited longest when one more would be too many."""
        if len(self._waiting) < MAX_WAITING:
            return []
        later = self._waiting[1:]
        self._waiting = self._waiting[:1]
        actions = self._answer(ProtocolError(ErrorCode.SUPERSEDED, "too many wait for this motion"))
        self._waiting = later
        return actions

    def _wait(self, message: "SocketMessage | None", data: "dict[str, object] | None") -> None:
        if message is not None:
            self._waiting.append((message, data))

    def _answer(self, error: "ProtocolError | None") -> "list[tuple[Any, ...]]":
        """Reply to all that wait: that it is done, or `error`."""
        actions: "list[tuple[Any, ...]]" = []
        for message, data in self._waiting:
            if error is None:
                word = ANSWERS[message.type]
                reply = message.reply(word, word, data)
            else:
                reply = error.to_message(message.id, message.target_id)
            self._remember(message, reply)
            actions.append((Action.REPLY, reply))
        self._waiting = []
        return actions

    def _remember(self, message: SocketMessage, reply: "SocketMessage | None") -> None:
        assert message.id is not None
        self._answered = [entry for entry in self._answered if entry[0] != message.id][1 - MAX_ANSWERED :]
        if reply is None:
            self._answered.append((message.id, message.type, None, None, None))
        else:
            self._answered.append((message.id, message.type, reply.target_id, reply.status, reply.data))


def state_label(state: str) -> str:
    """Return the label of a state in a message for people, who see one for both ways up."""
    return State.RISING if state == State.ARMING else state


def _given_up_for(trigger: str) -> ProtocolError:
    return ProtocolError(ErrorCode.SUPERSEDED, "given up for `%s`" % trigger)


def _duration_ms(message: SocketMessage) -> int:
    """Read `duration_ms` of an ACTIVATE. Raises ProtocolError `bad_message`."""
    if message.type != MessageType.ACTIVATE:
        return 0
    data = message.data or {}
    return integer_field(data, "duration_ms", DEFAULT_DURATION_MS, MIN_DURATION_MS, MAX_DURATION_MS)


def _at_us(message: SocketMessage, hub_us: "int | None") -> int:
    """Read when the command is to be carried out by the hub's clock, -1 for now.

    Raises ProtocolError: `bad_message`, also for too far ahead; `expired`; `busy` while there is no clock.
    """
    data = message.data or {}
    if "at_us" not in data:
        return -1
    at_us = integer_field(data, "at_us", 0, 0, MAX_INTEGER)
    if hub_us is None:
        raise ProtocolError(ErrorCode.BUSY, "the hub's clock is not known yet: try again")
    ahead_us = at_us - hub_us
    if ahead_us <= 0:
        raise ProtocolError(ErrorCode.EXPIRED, "`at_us` was over %d ms ago" % (-ahead_us // 1000))
    if ahead_us > _MAX_AHEAD_US:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "`at_us` is at most %d ms ahead" % MAX_AHEAD_MS)
    return at_us
