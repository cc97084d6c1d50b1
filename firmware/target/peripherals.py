"""The target's hardware: servo, piezo, LED. The only importer of `machine`."""

import machine

_PERIOD_HZ = 50
_MIN_PULSE_NS = 500_000  # 0 degrees
_MAX_PULSE_NS = 2_500_000  # 180 degrees
_SERVO_DEGREES = 180


def hardware_id() -> str:
    """The chip's own serial number, in hexadecimal: the same for as long as the board exists."""
    serial: str = machine.unique_id().hex()
    return serial


class Servo:
    """A hobby servo: a pulse of 0.5 to 2.5 ms, 50 times a second, for 0 to 180 degrees. It reports nothing
    back, so that it has arrived is known by the time it needs: `travel_ms` from one end to the other.
    """

    def __init__(self, config: "dict[str, int]") -> None:
        self.travel_ms = config["travel_ms"]
        self._up_deg = config["up_deg"]
        self._down_deg = config["down_deg"]
        self._pwm = machine.PWM(machine.Pin(config["pin"]))
        self._pwm.freq(_PERIOD_HZ)

    def raise_up(self) -> None:
        """Begins to stand up. Raises OSError or ValueError when the pin cannot be driven."""
        self._turn_to(self._up_deg)

    def lower(self) -> None:
        """Begins to lie down. Raises like `raise_up`."""
        self._turn_to(self._down_deg)

    def _turn_to(self, degrees: int) -> None:
        self._pwm.duty_ns(_MIN_PULSE_NS + (_MAX_PULSE_NS - _MIN_PULSE_NS) * degrees // _SERVO_DEGREES)


class Piezo:
    """A piezo disc on an ADC pin. A sample of `threshold` or more (0 to 65,535) is a hit, unless it comes
    within `debounce_ms` of the one before it or of `settle`: a struck or just raised plate rings on.
    """

    def __init__(self, config: "dict[str, int]") -> None:
        self.sample_ms = config["sample_ms"]
        self._threshold = config["threshold"]
        self._debounce_ms = config["debounce_ms"]
        self._adc = machine.ADC(machine.Pin(config["pin"]))
        self._quiet_from_ms = 0

    def settle(self, now_ms: int) -> None:
        """From now on nothing counts for the debounce time."""
        self._quiet_from_ms = now_ms + self._debounce_ms

    def sample(self, now_ms: int) -> int:
        """The sample's value if it is a hit, else 0."""
        value: int = self._adc.read_u16()
        if value < self._threshold or now_ms < self._quiet_from_ms:
            return 0
        self.settle(now_ms)
        return value


class Led:
    """The light that says whether the hub is there."""

    def __init__(self, config: "dict[str, int | str]") -> None:
        self._pin = machine.Pin(config["pin"], machine.Pin.OUT)
        self.show(False)

    def show(self, on: bool) -> None:
        self._pin.value(1 if on else 0)
