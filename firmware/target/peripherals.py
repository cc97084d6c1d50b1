"""The target's own hardware: servo and piezo."""

import machine

from snyper.firmware.target.trace import Trace
from snyper.shared.clock import now_ms, now_us, ticks_diff, ticks_us
from snyper.shared.runtime import sleep_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from snyper.firmware.target.piezo_stream import PiezoStream

_GREATEST = 65_535  # of a sample
_PERIOD_HZ = 50
_PERIOD_MS = 20
_SERVO_DEGREES = 180
_SETTLE_MS = 60  # three periods: one until the last pulse goes out, two for the servo to follow it
_PEAK_MS = 5  # a struck plate's first swings, which are its highest
_CALM_MS = 50  # without a sample at the threshold: longer than a struck plate rings, and than a period of hum


class Servo:
    """A hobby servo, told where to be by a pulse 50 times a second: `min_pulse_us` is 0, `max_pulse_us` is
    180 degrees. It gets pulses between those of `up_deg` and `down_deg` and no others.

    It moves in steps of a period, so that it needs `travel_ms` from one end to the other and neither slams
    nor draws its stall current. It reports nothing back: that it has arrived is known by the time alone.

    Where it stands at power-up nobody knows. Its line is held low, which moves nothing, until the first
    motion; that one is a single step, to its end.
    """

    def __init__(self, config: "dict[str, int]") -> None:
        """Raises ValueError for a pin that the board does not have."""
        self.travel_ms = config["travel_ms"]
        self.began_us = 0  # when the last motion began, by `now_us()`
        self._up_ns = _pulse_ns(config, config["up_deg"])
        self._down_ns = _pulse_ns(config, config["down_deg"])
        self._settle_ms = min(_SETTLE_MS, self.travel_ms)
        pin = machine.Pin(config["pin"], machine.Pin.OUT, value=0)
        # A pulse of no length, at the right frequency before the pin is the PWM's: the line stays low.
        self._pwm = machine.PWM(pin, freq=_PERIOD_HZ, duty_ns=0)
        self._now_ns = 0

    async def raise_up(self) -> None:
        """Move up, and return on arrival. Raises OSError or ValueError when the pin cannot be driven.

        If it is cancelled the servo stays at the step it has reached, and the next motion begins there.
        """
        await self._turn_to(self._up_ns)

    async def lower(self) -> None:
        """Move down, and return on arrival. Raises OSError or ValueError when the pin cannot be driven.

        If it is cancelled the servo stays at the step it has reached, and the next motion begins there.
        """
        await self._turn_to(self._down_ns)

    async def _turn_to(self, end_ns: int) -> None:
        self.began_us = now_us()
        if self._now_ns == 0:
            self._pwm.duty_ns(end_ns)
            self._now_ns = end_ns
            await sleep_ms(self.travel_ms)
            return
        start_ns, way_ns = self._now_ns, end_ns - self._now_ns
        all_ns = max(1, abs(self._up_ns - self._down_ns))
        ramp_ms = (self.travel_ms - self._settle_ms) * abs(way_ns) // all_ns
        begin_ms = now_ms()
        while True:
            step_ms = now_ms() - begin_ms + _PERIOD_MS
            pulse_ns = end_ns if step_ms >= ramp_ms else start_ns + way_ns * step_ms // ramp_ms
            self._pwm.duty_ns(pulse_ns)
            self._now_ns = pulse_ns
            if pulse_ns == end_ns:
                break
            await sleep_ms(_PERIOD_MS)
        await sleep_ms(begin_ms + ramp_ms + self._settle_ms - now_ms())


def _pulse_ns(config: "dict[str, int]", degrees: int) -> int:
    min_us, max_us = config["min_pulse_us"], config["max_pulse_us"]
    return min_us * 1000 + (max_us - min_us) * 1000 * degrees // _SERVO_DEGREES


class Piezo:
    """A piezo disc on an ADC pin. It detects a hit where a sample rises to `threshold` or more (0 to 65,535).

    Every `sample_ms` it is read `burst` times in a row, because a struck disc rings: a single sample can fall
    where the swing crosses zero. For `debounce_ms` after it is armed nothing counts, since a plate that has
    just stopped rings on. What reaches the threshold already when it is armed is no hit: then nothing counts
    until all samples of _CALM_MS lay below it.
    """

    stream: "PiezoStream | None" = None  # while somebody reads it

    def __init__(self, config: "dict[str, int]") -> None:
        """Raises ValueError for a pin that is no ADC's."""
        self.armed_us = 0  # when it was armed last, by `now_us()`
        self.detected_us = 0  # when the sample that is the hit was taken, by the same clock
        self.unsampled_us = 0  # the time without a sample before it, in which the hit may have begun
        self.reaction_ms = 0  # from arming to the hit
        self.peak = 0  # the hit's greatest sample so far, 0 while there is no hit
        self.gap_us = 0  # the longest time without a sample: a longer signal was not missed
        self._floor = 0  # what each burst since arming has reached, once there were _CALM_MS of them
        self.streamed = 0  # samples of its stream, since the board started
        self.is_listening = False  # sampled by maintenance while it is not armed
        self.threshold = config["threshold"]
        self.sample_ms = config["sample_ms"]
        self.burst = config["burst"]
        self.trace = Trace()
        self._debounce_ms = config["debounce_ms"]
        adc: "Any" = machine.ADC(machine.Pin(config["pin"]))
        if hasattr(machine.ADC, "ATTN_11DB"):
            adc.atten(machine.ADC.ATTN_11DB)  # an ESP32, whose converter would end at 1 V
        self._read_u16: "Callable[[], int]" = adc.read_u16

    @property
    def rests_at(self) -> int:
        """The level it rests at, if no burst since it was armed lay below the threshold; else 0."""
        return self._floor if self._floor >= self.threshold else 0

    def arm(self) -> None:
        """Clear the last hit. From now on the time counts."""
        self._floor = 0
        self.armed_us = now_us()
        self.detected_us = self.reaction_ms = self.peak = self.gap_us = 0
        self.trace.begin()

    async def detect(self, duration_ms: int) -> bool:
        """Wait for a hit, and return whether there is one within `duration_ms` of arming. Returns once its
        peak is over, some 5 ms after the hit itself. May be cancelled; what it has detected stays.
        """
        armed_ms = self.armed_us // 1000
        calm_bursts = _CALM_MS // self.sample_ms + 1
        self.sample()
        floor = self.trace.least(self.burst)
        # Bursts that have to lie below the threshold before one that does not is a hit.
        until_calm = 0 if floor < self.threshold else calm_bursts
        first_us = ticks_us()
        await sleep_ms(min(self._debounce_ms, duration_ms))
        last_us = ticks_us()
        debounced_us = ticks_diff(last_us, first_us)
        while True:
            at_us = ticks_us()
            elapsed_ms = now_ms() - armed_ms
            unsampled_us = ticks_diff(at_us, last_us)
            self.gap_us = max(self.gap_us, unsampled_us)
            if elapsed_ms >= duration_ms:
                return False
            last_us = at_us
            value = self.sample()
            if value < self.threshold:
                until_calm = max(0, until_calm - 1)
            elif until_calm:
                until_calm = calm_bursts
            else:
                break
            debounced_us = 0
            floor = min(floor, value)
            if elapsed_ms >= self._debounce_ms + _CALM_MS:
                self._floor = floor
            await sleep_ms(self.sample_ms)
        self.detected_us = self.trace.mark(self.threshold, self.burst)
        self.unsampled_us = unsampled_us + debounced_us
        self.reaction_ms = (self.detected_us - self.armed_us) // 1000
        self.peak = value
        peak_over_ms = now_ms() + _PEAK_MS
        while now_ms() < peak_over_ms:
            # Burst upon burst while the trace takes more: this is where the plate rings.
            await sleep_ms(0 if self.trace.remaining else self.sample_ms)
            self.peak = max(self.peak, self.sample())
        self.trace.end()
        return True

    def spec(self) -> "dict[str, object]":
        """Return what it gives as a stream: the greatest sample of each burst."""
        return {"dtype": "<u2", "shape": [], "rate_hz": 1000 / self.sample_ms}

    def sample(self) -> int:
        """Take a burst of samples, and return the greatest."""
        return self.trace.read(self._read_u16, self.burst)
