"""The target's state machine: every cell of its table, and what the table does not say."""

from snyper.firmware.target.controller import (
    MAX_ANSWERED,
    MAX_WAITING,
    TRANSITIONS,
    Action,
    State,
    TargetController,
    Trigger,
)
from snyper.shared.socket_protocol import ErrorCode, SocketMessage
from tests.portable.support import raises

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Actions = list[tuple[Any, ...]]

_STATES = ("down", "rising", "arming", "standing", "armed", "falling", "fault")
_COMMANDS = ("stand_up", "lay_down", "activate")
_SIGNALS = ("arrived", "hit", "time_up", "link_lost", "servo_lost")

# Ids of the commands that brought the target where it is, and of the one that is tried there.
_BEFORE = "before"
_NOW = "now"


def _in(state: str) -> TargetController:
    """A controller that came to `state` on the usual way; RISING, ARMING have `_BEFORE` waiting."""
    target = TargetController()
    target.start()
    if state == State.FALLING:
        return target
    target.signal(Trigger.ARRIVED)
    if state in (State.RISING, State.STANDING):
        target.command(SocketMessage("stand_up", _BEFORE, "t_1"))
    elif state in (State.ARMING, State.ARMED, State.FAULT):
        target.command(SocketMessage("activate", _BEFORE, "t_1", data={"duration_ms": 700}))
    if state in (State.STANDING, State.ARMED):
        target.signal(Trigger.ARRIVED)
    elif state == State.FAULT:
        target.signal(Trigger.SERVO_LOST)
    assert target.state == state
    return target


def _ok(id: str, message_type: str, status: str, target_id: "str | None" = None) -> "tuple[Any, ...]":
    return (Action.REPLY, SocketMessage(message_type, id, target_id, status))


def test_a_refusal_says_the_word_that_people_see() -> None:
    for state, word in (
        ("arming", "rising"),
        ("rising", "rising"),
        ("armed", "armed"),
        ("falling", "falling"),
    ):
        [(_, reply)] = _in(state).command(SocketMessage("activate", _NOW))
        assert reply.data["message"] == "the target is " + word, state


def _codes(actions: "Actions") -> "list[object]":
    """The actions with each error reply as (id, code), to compare without its wording."""
    return [
        (action[1].id, action[1].data["code"])
        if action[0] == Action.REPLY and action[1].type == "error"
        else action
        for action in actions
    ]


_LOWER = (Action.LOWER,)
_RAISE = (Action.RAISE,)
_DISARM = (Action.DISARM,)


def _report(message_type: str, reason: str) -> "tuple[Any, ...]":
    return (Action.REPORT, message_type, {"reason": reason})


_SUPERSEDED = (_BEFORE, ErrorCode.SUPERSEDED)

# What each cell does: the state after it and the actions.
_CELLS: "dict[tuple[str, str], tuple[str, list[object]]]" = {
    ("down", "stand_up"): ("rising", [_RAISE]),
    ("down", "activate"): ("arming", [_RAISE]),
    ("down", "lay_down"): ("down", [_ok(_NOW, "down", "down")]),
    ("rising", "stand_up"): ("rising", []),
    ("rising", "lay_down"): ("falling", [_SUPERSEDED, _LOWER]),
    ("rising", "arrived"): ("standing", [_ok(_BEFORE, "standing", "standing", "t_1")]),
    ("rising", "link_lost"): ("falling", [_SUPERSEDED, _LOWER]),
    ("rising", "servo_lost"): ("fault", [(_BEFORE, ErrorCode.FAULT)]),
    ("arming", "lay_down"): ("falling", [_SUPERSEDED, _LOWER]),
    ("arming", "arrived"): ("armed", [_ok(_BEFORE, "activated", "activated", "t_1"), (Action.ARM, 700)]),
    ("arming", "link_lost"): ("falling", [_SUPERSEDED, _LOWER]),
    ("arming", "servo_lost"): ("fault", [(_BEFORE, ErrorCode.FAULT)]),
    ("standing", "stand_up"): ("standing", [_ok(_NOW, "standing", "standing")]),
    ("standing", "activate"): ("armed", [_ok(_NOW, "activated", "activated"), (Action.ARM, 5000)]),
    ("standing", "lay_down"): ("falling", [_LOWER]),
    ("standing", "link_lost"): ("falling", [_LOWER]),
    ("armed", "lay_down"): ("falling", [_DISARM, _report("miss", "lay_down"), _LOWER]),
    ("armed", "hit"): ("falling", [_report("hit", "hit"), _LOWER]),
    ("armed", "time_up"): ("falling", [_report("miss", "time_up"), _LOWER]),
    ("armed", "link_lost"): ("falling", [_DISARM, _report("miss", "link_lost"), _LOWER]),
    ("falling", "lay_down"): ("falling", []),
    ("falling", "arrived"): ("down", []),
    ("falling", "servo_lost"): ("fault", []),
    ("fault", "lay_down"): ("falling", [_LOWER]),
}


def test_the_table_is_the_one_that_is_tested() -> None:
    assert set(TRANSITIONS) == set(_CELLS)


def test_every_cell() -> None:
    for state in _STATES:
        for trigger in _COMMANDS + _SIGNALS:
            target = _in(state)
            if trigger in _COMMANDS:
                actions = target.command(SocketMessage(trigger, _NOW))
            else:
                actions = target.signal(trigger)
            if (state, trigger) in _CELLS:
                after, due = _CELLS[(state, trigger)]
            else:
                code = ErrorCode.FAULT if state == "fault" else ErrorCode.BUSY
                after, due = state, [(_NOW, code)] if trigger in _COMMANDS else []
            assert target.state == after, (state, trigger, target.state)
            assert _codes(actions) == due, (state, trigger, actions)


def test_it_lies_down_at_power_up() -> None:
    target = TargetController()
    assert target.state == "falling"
    assert target.start() == [_LOWER]
    assert target.signal("arrived") == []
    assert target.state == "down"


def test_lay_down_wins_everywhere() -> None:
    for state in _STATES:
        target = _in(state)
        target.command(SocketMessage("lay_down", _NOW))
        if target.state != "down":
            assert target.state == "falling", state
            assert _codes(target.signal("arrived")) == [_ok(_NOW, "down", "down")], state
        assert target.state == "down"


def test_lay_down_wins_over_any_number_of_others() -> None:
    target = _in("rising")
    for number in range(MAX_WAITING - 1):
        assert target.command(SocketMessage("stand_up", number)) == []
    actions = _codes(target.command(SocketMessage("lay_down", _NOW)))
    assert target.state == "falling"
    assert actions[-1] == _LOWER
    assert len(actions) == MAX_WAITING + 1
    assert actions[:-1] == [(id, ErrorCode.SUPERSEDED) for id in (_BEFORE, 0, 1, 2, 3, 4, 5, 6)]


def test_those_that_wait_are_bounded() -> None:
    target = _in("rising")
    for number in range(MAX_WAITING - 1):
        assert target.command(SocketMessage("stand_up", number)) == []
    assert _codes(target.command(SocketMessage("stand_up", _NOW))) == [(_NOW, ErrorCode.BUSY)]
    replies = target.signal("arrived")
    assert [action[1].id for action in replies] == [_BEFORE, 0, 1, 2, 3, 4, 5, 6]
    # It was not begun, so it may be asked again.
    assert target.command(SocketMessage("stand_up", _NOW)) == [_ok(_NOW, "standing", "standing")]


def test_those_that_wait_for_one_motion_are_answered_together() -> None:
    target = _in("rising")
    target.command(SocketMessage("stand_up", _NOW, "t_1"))
    assert target.signal("arrived") == [
        _ok(_BEFORE, "standing", "standing", "t_1"),
        _ok(_NOW, "standing", "standing", "t_1"),
    ]
    assert target.signal("arrived") == []


def test_lay_downs_share_one_motion() -> None:
    target = _in("standing")
    assert target.command(SocketMessage("lay_down", "a")) == [_LOWER]
    assert target.command(SocketMessage("lay_down", "b")) == []
    assert target.signal("arrived") == [_ok("a", "down", "down"), _ok("b", "down", "down")]


def test_a_repeated_id_waits_for_the_first() -> None:
    target = _in("rising")
    again = SocketMessage("stand_up", _BEFORE, "t_1")
    assert target.command(again) == []
    assert len(target.signal("arrived")) == 1


def test_a_repeated_id_is_answered_as_before_and_not_carried_out() -> None:
    target = _in("standing")
    target.command(SocketMessage("lay_down", _NOW))
    target.signal("arrived")
    assert target.state == "down"
    # It lies, but the stand_up with this id was carried out: it said `standing`.
    assert target.command(SocketMessage("stand_up", _BEFORE)) == [_ok(_BEFORE, "standing", "standing", "t_1")]
    assert target.state == "down"


def test_a_repeated_id_of_a_superseded_command_says_superseded() -> None:
    target = _in("rising")
    target.command(SocketMessage("lay_down", _NOW))
    assert _codes(target.command(SocketMessage("stand_up", _BEFORE))) == [_SUPERSEDED]
    assert target.state == "falling"


def test_an_id_is_of_one_type() -> None:
    target = _in("standing")
    for message_type in ("activate", "lay_down"):
        assert _codes(target.command(SocketMessage(message_type, _BEFORE))) == [
            (_BEFORE, ErrorCode.BAD_MESSAGE)
        ]
        assert target.state == "standing"
    target = _in("rising")
    assert _codes(target.command(SocketMessage("lay_down", _BEFORE))) == [(_BEFORE, ErrorCode.BAD_MESSAGE)]
    assert target.state == "rising"


def test_a_number_and_its_text_are_two_ids() -> None:
    target = _in("standing")
    assert target.command(SocketMessage("stand_up", 1)) == [
        (Action.REPLY, SocketMessage("standing", 1, None, "standing"))
    ]
    assert target.command(SocketMessage("lay_down", "1")) == [_LOWER]


def test_a_command_that_was_refused_may_come_again_with_its_id() -> None:
    target = _in("armed")
    assert _codes(target.command(SocketMessage("stand_up", _NOW))) == [(_NOW, ErrorCode.BUSY)]
    target.signal("time_up")
    target.signal("arrived")
    assert target.command(SocketMessage("stand_up", _NOW)) == [_RAISE]


def test_the_last_ids_are_remembered_and_no_more() -> None:
    target = _in("down")
    for number in range(MAX_ANSWERED + 1):
        target.command(SocketMessage("lay_down", number))
    # Number 1 is the oldest that is still known; number 0 is taken for new.
    assert _codes(target.command(SocketMessage("stand_up", 1))) == [(1, ErrorCode.BAD_MESSAGE)]
    assert target.command(SocketMessage("stand_up", 0)) == [_RAISE]


def test_every_round_ends_with_one_report() -> None:
    for ends, message_type in (
        (["hit", "time_up"], "hit"),
        (["time_up", "hit"], "miss"),
        (["link_lost", "hit"], "miss"),
    ):
        target = _in("armed")
        actions = []
        for trigger in ends:
            actions += target.signal(trigger)
        assert [action[1] for action in actions if action[0] == Action.REPORT] == [message_type]


def test_a_hit_reports_what_was_detected() -> None:
    target = _in("armed")
    data: "dict[str, object]" = {"reaction_ms": 120, "peak": 30000}
    assert target.signal("hit", data) == [(Action.REPORT, "hit", data), _LOWER]


def test_the_limits_of_duration() -> None:
    for duration_ms in (100, 101, 600000):
        target = _in("standing")
        actions = target.command(SocketMessage("activate", _NOW, data={"duration_ms": duration_ms}))
        assert actions[-1] == (Action.ARM, duration_ms)
    for bad in (99, 600001, 0, -1, 1000.0, "1000", None, True, [1000]):
        target = _in("standing")
        actions = target.command(SocketMessage("activate", _NOW, data={"duration_ms": bad}))
        assert _codes(actions) == [(_NOW, ErrorCode.BAD_MESSAGE)], bad
        assert target.state == "standing"


def test_a_refused_activation_leaves_the_running_one_its_duration() -> None:
    target = _in("arming")
    assert _codes(target.command(SocketMessage("activate", _NOW, data={"duration_ms": 9000}))) == [
        (_NOW, ErrorCode.BUSY)
    ]
    assert target.signal("arrived")[-1] == (Action.ARM, 700)


# --- commands for an instant to come

_NOW_US = 5_000_000
_AT_US = 7_000_000


def _later(message_type: str = "stand_up", id: str = _NOW, at_us: "Any" = _AT_US) -> SocketMessage:
    return SocketMessage(message_type, id, data={"at_us": at_us})


def _timing() -> "dict[str, object]":
    return {"at_us": _AT_US, "error_us": 3, "uncertainty_us": 40}


def _ok_at(message_type: str, status: str) -> "tuple[Any, ...]":
    return (Action.REPLY, SocketMessage(message_type, _NOW, None, status, _timing()))


def test_a_command_with_an_instant_waits_for_it() -> None:
    for state in _STATES:
        for message_type in _COMMANDS:
            target = _in(state)
            assert target.command(_later(message_type), _NOW_US) == [(Action.SCHEDULE, _AT_US)]
            assert target.state == state, "nothing moves before"


def test_at_its_instant_every_cell_is_that_of_the_command() -> None:
    for state in _STATES:
        for message_type in _COMMANDS:
            target = _in(state)
            target.command(_later(message_type), _NOW_US)
            actions = target.due(_timing())
            plain = _in(state)
            expected = plain.command(SocketMessage(message_type, _NOW))
            assert target.state == plain.state, (state, message_type)
            for action in expected:
                if action[0] == Action.REPLY and action[1].type != "error" and action[1].id == _NOW:
                    action[1].data = _timing()
            assert _codes(actions) == _codes(expected), (state, message_type)


def test_the_reply_says_how_well_the_instant_was_met() -> None:
    target = _in("down")
    target.command(_later(), _NOW_US)
    timing: "dict[str, object]" = {"at_us": _AT_US}
    assert target.due(timing) == [_RAISE]
    timing.update(_timing())  # once it moves, whoever moves it knows
    assert target.signal("arrived") == [_ok_at("standing", "standing")]
    # Repeated, it says so again.
    assert target.command(_later(), _AT_US + 9) == [_ok_at("standing", "standing")]


def test_an_activation_at_an_instant_keeps_its_duration() -> None:
    target = _in("standing")
    message = SocketMessage("activate", _NOW, data={"at_us": _AT_US, "duration_ms": 900})
    target.command(message, _NOW_US)
    assert target.due(_timing()) == [_ok_at("activated", "activated"), (Action.ARM, 900)]


def test_an_instant_that_cannot_be_met_is_refused() -> None:
    far_us = _NOW_US + 61_000_000
    for at_us, hub_us, code in (
        (_NOW_US, _NOW_US, ErrorCode.EXPIRED),
        (0, _NOW_US, ErrorCode.EXPIRED),
        (far_us + 1, _NOW_US, ErrorCode.BAD_MESSAGE),
        (_AT_US, None, ErrorCode.BUSY),  # nobody knows the hub's clock
        ("soon", _NOW_US, ErrorCode.BAD_MESSAGE),
        (-1, _NOW_US, ErrorCode.BAD_MESSAGE),
        (None, _NOW_US, ErrorCode.BAD_MESSAGE),
        (1.5, _NOW_US, ErrorCode.BAD_MESSAGE),
        (True, _NOW_US, ErrorCode.BAD_MESSAGE),
    ):
        for message_type in _COMMANDS:
            target = _in("standing")
            assert _codes(target.command(_later(message_type, at_us=at_us), hub_us)) == [(_NOW, code)], at_us
            assert target.state == "standing"
            # It was not begun, so it may be asked again.
            assert target.command(_later(message_type), _NOW_US) == [(Action.SCHEDULE, _AT_US)]
    for at_us in (_NOW_US + 1, far_us):
        assert _in("down").command(_later(at_us=at_us), _NOW_US) == [(Action.SCHEDULE, at_us)]


def test_one_command_waits_at_a_time() -> None:
    for message_type in _COMMANDS:
        target = _in("down")
        target.command(_later(), _NOW_US)
        assert _codes(target.command(_later(message_type, "other"), _NOW_US)) == [("other", ErrorCode.BUSY)]
        assert target.due(_timing()) == [_RAISE]


def test_a_repeated_command_that_waits_is_not_scheduled_twice() -> None:
    target = _in("down")
    target.command(_later(), _NOW_US)
    assert target.command(_later(), _NOW_US) == []
    assert target.due(_timing()) == [_RAISE]
    assert target.command(_later(), _AT_US + 9) == []
    assert target.due(_timing()) == []
    assert target.signal("arrived") == [_ok_at("standing", "standing")]


def test_lay_down_calls_off_what_waits() -> None:
    for state in _STATES:
        target = _in(state)
        target.command(_later(), _NOW_US)
        plain = _in(state)
        actions = _codes(target.command(SocketMessage("lay_down", "other")))
        assert actions[:2] == [(Action.CANCEL,), (_NOW, ErrorCode.SUPERSEDED)]
        assert actions[2:] == _codes(plain.command(SocketMessage("lay_down", "other")))
        assert target.state == plain.state
        assert target.due(_timing()) == []


def test_a_lost_link_calls_off_what_waits() -> None:
    target = _in("down")
    assert target.cancel("link_lost") == []
    target.command(_later(), _NOW_US)
    assert _codes(target.cancel("link_lost")) == [(Action.CANCEL,), (_NOW, ErrorCode.SUPERSEDED)]
    assert target.due(_timing()) == []
    assert target.state == "down"
    # The fate is remembered: it was not carried out, and will not be.
    assert _codes(target.command(_later(), _NOW_US)) == [(_NOW, ErrorCode.SUPERSEDED)]


def test_what_the_state_does_not_allow_at_the_instant_is_refused_then_and_for_ever() -> None:
    target = _in("armed")
    target.command(_later(), _NOW_US)
    assert _codes(target.due(_timing())) == [(_NOW, ErrorCode.BUSY)]
    target.signal("time_up")
    target.signal("arrived")
    assert _codes(target.command(_later(), _NOW_US)) == [(_NOW, ErrorCode.BUSY)]
    target = _in("fault")
    target.command(_later(), _NOW_US)
    assert _codes(target.due(_timing())) == [(_NOW, ErrorCode.FAULT)]


def test_other_commands_go_on_while_one_waits() -> None:
    target = _in("down")
    target.command(_later("activate"), _NOW_US)
    assert target.command(SocketMessage("stand_up", "a")) == [_RAISE]
    target.signal("arrived")
    actions = target.due(_timing())
    assert target.state == "armed"
    assert actions == [_ok_at("activated", "activated"), (Action.ARM, 5000)]


def test_a_lost_link_does_not_disturb_what_lies_or_falls() -> None:
    for state in ("down", "falling", "fault"):
        target = _in(state)
        assert target.signal("link_lost") == []
        assert target.state == state


def _sent(sent_us: int, until_us: "Any", word: str = "stand_up") -> SocketMessage:
    return SocketMessage(word, _NOW, data={"sent_us": sent_us, "until_us": until_us})


def test_what_is_late_or_for_an_earlier_boot_is_refused() -> None:
    target = _in("down")
    target.since_us = 1_000
    for word in ("stand_up", "lay_down", "configure", "dance"):
        for message, hub_us in ((_sent(1_500, 2_000, word), 2_001), (_sent(999, 9_000, word), 1_100)):
            error = raises(ErrorCode.EXPIRED, target.check_age, message, hub_us)
            assert error.unknown_fate
        for wrong in (-1, "1", 1.5, True, None):
            raises(ErrorCode.BAD_MESSAGE, target.check_age, _sent(1_000, wrong, word), 1_100)
        target.check_age(_sent(1_000, 2_000, word), 2_000)


def test_what_was_carried_out_in_time_is_answered_for_ever() -> None:
    target = _in("down")
    target.command(_sent(1_000, 2_000))
    target.signal(Trigger.ARRIVED)
    target.check_age(_sent(1_000, 2_000), 9_000)
    assert target.command(_sent(1_000, 2_000)) == [_ok(_NOW, "standing", "standing")]
    raises(ErrorCode.EXPIRED, target.check_age, _sent(1_000, 2_000, "configure"), 9_000)


def test_what_says_no_time_has_no_age() -> None:
    _in("down").check_age(SocketMessage("stand_up", _NOW), 9_000)
