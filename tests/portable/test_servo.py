"""A servo on a virtual board: what it is told."""

import asyncio

from tests.portable.virtual_hardware import (
    Board,
    is_between,
    machine,
    make_piezo,
    make_servo,
    peripherals,
    same_pulse,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

DOWN_NS = 500_000
UP_NS = 1_500_000


class _Time:
    """Time that passes only where a servo sleeps. For `with`. At `cancel_at_ms` the sleeper is cancelled."""

    def __init__(self, cancel_at_ms: "int | None" = None) -> None:
        self.ms = 0
        self._cancel_at_ms = cancel_at_ms

    def __enter__(self) -> "_Time":
        self._real = peripherals.now_ms, peripherals.sleep_ms
        peripherals.now_ms = lambda: self.ms
        peripherals.sleep_ms = self._sleep_ms
        return self

    def __exit__(self, *_: object) -> None:
        peripherals.now_ms, peripherals.sleep_ms = self._real

    async def _sleep_ms(self, duration_ms: int) -> None:
        self.ms += duration_ms
        if self._cancel_at_ms is not None and self.ms >= self._cancel_at_ms:
            raise asyncio.CancelledError


def _steps(pulses_ns: "list[int]") -> "list[int]":
    return [pulses_ns[at] - pulses_ns[at - 1] for at in range(1, len(pulses_ns))]


def test_a_servo_is_told_nothing_at_power_up() -> None:
    board = Board()
    machine.Pin(16, machine.Pin.OUT, value=1)
    make_servo()
    assert board.pin_levels == [1, 0]
    assert board.outputs()["pwm"] == {"16": {"freq_hz": 50, "duty_ns": 0}}
    assert board.pulses_ns == [0]


async def test_the_first_pulse_is_the_resting_pose_and_the_frequency_is_right() -> None:
    board = Board()
    servo = make_servo(travel_ms=300)
    with _Time() as passing:
        await servo.lower()
    assert len(board.pulses_ns) == 2
    assert same_pulse(board.pulses_ns[1], DOWN_NS)
    assert board.frequencies_hz == [50, 50]
    assert passing.ms == 300  # from wherever it stood


async def test_a_motion_is_a_ramp_as_long_as_travel_ms() -> None:
    for up_deg, down_deg in ((90, 0), (0, 90), (180, 0)):
        board = Board()
        servo = make_servo(300, up_deg, down_deg)
        down_ns, up_ns = (500_000 + 2_000_000 * degrees // 180 for degrees in (down_deg, up_deg))
        with _Time() as passing:
            await servo.lower()
            await servo.raise_up()
            assert passing.ms == 600
            await servo.lower()
            assert passing.ms == 900
        pulses_ns = board.pulses_ns[1:]
        top = pulses_ns.index(max(pulses_ns, key=lambda pulse_ns: abs(pulse_ns - down_ns)))
        assert same_pulse(pulses_ns[top], up_ns)
        assert same_pulse(pulses_ns[-1], down_ns)
        assert is_between(pulses_ns, down_ns, up_ns)
        up = 1 if up_ns > down_ns else -1
        assert all(step_ns * up > 0 for step_ns in _steps(pulses_ns[: top + 1]))
        assert all(step_ns * up < 0 for step_ns in _steps(pulses_ns[top:]))
        # 60 ms of 300 are left for the servo to follow: 240 ms in periods of 20.
        assert max(abs(step_ns) for step_ns in _steps(pulses_ns)) < abs(up_ns - down_ns) // 12 + 1000
        assert set(board.frequencies_hz) == {50}


async def test_a_reversal_begins_where_the_servo_is() -> None:
    board = Board()
    servo = make_servo()
    with _Time():
        await servo.lower()
    with _Time(cancel_at_ms=120):
        try:
            await servo.raise_up()
            raise AssertionError("was not cancelled")
        except asyncio.CancelledError:
            turned_ns = board.pulses_ns[-1]
    assert DOWN_NS < turned_ns < UP_NS
    at = len(board.pulses_ns)
    with _Time() as passing:
        await servo.lower()
    assert is_between(board.pulses_ns[at:], DOWN_NS, turned_ns)
    assert all(step_ns < 0 for step_ns in _steps(board.pulses_ns[at - 1 :]))
    assert same_pulse(board.pulses_ns[-1], DOWN_NS)
    assert 60 < passing.ms < 300  # half of the way


async def test_a_servo_that_is_there_already_is_told_nothing_new() -> None:
    board = Board()
    servo = make_servo()
    with _Time() as passing:
        await servo.lower()
        passing.ms = 0
        await servo.lower()
    assert len(board.pulses_ns) == 2
    assert passing.ms == 60


async def test_a_loop_that_is_late_makes_no_motion_longer() -> None:
    board = Board()
    servo = make_servo()
    with _Time() as passing:
        await servo.lower()
        passing.ms = 0

        def be_late(pulse_ns: int) -> None:
            passing.ms += 35

        board.on_pulse = be_late
        await servo.raise_up()
    assert same_pulse(board.pulses_ns[-1], UP_NS)
    assert is_between(board.pulses_ns[1:], DOWN_NS, UP_NS)
    assert passing.ms == 300


def test_pins_that_are_wrong() -> None:
    Board()
    for make, pin in ((make_servo, 30), (make_piezo, 16), (make_piezo, 30)):
        try:
            make(pin=pin)
        except ValueError:
            continue
        raise AssertionError(pin)
