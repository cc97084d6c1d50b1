"""The firmware's peripherals on a virtual board, in this process, under either runtime."""

import gc
import sys

_VIRTUAL_BOARD = __file__.rpartition("/")[0] + "/../../host/snyper/boards/virtual_board"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from snyper.boards.virtual_board import machine as machine
    from snyper.firmware.target.peripherals import Piezo, Servo
else:
    sys.path.insert(0, _VIRTUAL_BOARD)
    gc.collect()  # the largest of all sources wants its memory in one piece
    try:
        import machine
    finally:
        sys.path.remove(_VIRTUAL_BOARD)

# It imports `machine`, and so comes after it.
from snyper.firmware.target import peripherals as _peripherals  # noqa: E402

peripherals: "Any" = _peripherals  # of no fixed type, so that a test may give it another clock

SERVO_PIN = 16
PIEZO_PIN = 26

_COUNTER_NS = 307  # what a PWM can be wrong by


class Board(machine.VirtualBoard):
    """Records the pulses that its servo gets, and gives the samples that a test says."""

    def __init__(self) -> None:
        self.pin_levels: "list[int]" = []
        self.pulses_ns: "list[int]" = []
        self.frequencies_hz: "list[int]" = []
        self.on_pulse: "Callable[[int], None]" = lambda pulse_ns: None
        self.on_sample: "Callable[[], int]" = lambda: 0
        super().__init__()
        machine.use(self)

    def changed(self) -> None:
        """Record what a servo sees on its line: only a change, but every one."""
        outputs: "Any" = self.outputs()
        pin, told = outputs["pins"].get(str(SERVO_PIN)), outputs["pwm"].get(str(SERVO_PIN))
        if pin is not None:
            self.pin_levels.append(pin["level"])
        if told is not None and [told["duty_ns"]] != self.pulses_ns[-1:]:
            self.frequencies_hz.append(told["freq_hz"])
            self.pulses_ns.append(told["duty_ns"])
            self.on_pulse(told["duty_ns"])

    def sample(self, gpio: int) -> int:
        """Return the 12 bits of `on_sample()`, a u16."""
        assert gpio == PIEZO_PIN
        return self.on_sample() >> 4


def make_servo(travel_ms: int = 300, up_deg: int = 90, down_deg: int = 0, pin: int = SERVO_PIN) -> "Servo":
    """Make a servo of the board in use; 0 to 180 degrees are 500 to 2,500 µs."""
    return _peripherals.Servo(
        {
            "pin": pin,
            "up_deg": up_deg,
            "down_deg": down_deg,
            "min_pulse_us": 500,
            "max_pulse_us": 2500,
            "travel_ms": travel_ms,
        }
    )


def make_piezo(debounce_ms: int = 0, pin: int = PIEZO_PIN) -> "Piezo":
    """Make a piezo of the board in use, with a threshold of 20,000, read 4 times every 2 ms."""
    return _peripherals.Piezo(
        {"pin": pin, "threshold": 20_000, "debounce_ms": debounce_ms, "sample_ms": 2, "burst": 4}
    )


def same_pulse(a_ns: int, b_ns: int) -> bool:
    """Tell whether a PWM cannot tell the two apart."""
    return abs(a_ns - b_ns) <= _COUNTER_NS


def is_between(pulses_ns: "list[int]", a_ns: int, b_ns: int) -> bool:
    """Tell whether all pulses lie between the two, which stand in any order."""
    low_ns, high_ns = min(a_ns, b_ns) - _COUNTER_NS, max(a_ns, b_ns) + _COUNTER_NS
    return all(low_ns <= pulse_ns <= high_ns for pulse_ns in pulses_ns)
