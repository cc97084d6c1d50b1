"""A Pico W's `machine` module for a computer: the same calls, limits and errors, on a `VirtualBoard`.

It runs on MicroPython's unix port, where one process is one board, and on CPython, where one process may
hold many. Read off MicroPython's ports/rp2 (machine_pin.c, machine_pwm.c, machine_adc.c, machine_wdt.c,
modmachine.c). What firmware of this project does not use is missing rather than guessed. What a real board
lacks stands in the first half of the file; firmware uses only the second.

A board that is a process of its own (power_on.py starts it) speaks with the world through a directory:
  board.json    what it is and what surrounds it: unique_id (16 hex digits), seed, hit_rate, reaction_ms, air,
                and what power_on.py reads
  outputs.json  what it does to the world: `VirtualBoard.outputs()`, written at each change
  strike        an impact on a piezo for it to detect: gpio, peak, from_ns, until_ns of the wall clock
  levels        what the next samples of a pin find, before it is again as its pull has it: gpio, levels, each
                with how many find it
  screen.json   what the screen shows, if there is one: `Screen.save` of i2c.py, written at each change
  watchdog      when the running watchdog bites, in ns of the wall clock; whoever runs the process enforces it
  reset         present once the firmware has asked for a reset: the next boot's `reset_cause()`
"""

import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PWRON_RESET = 1
WDT_RESET = 3

WDT_MAX_MS = 8388  # 24 bits of microseconds, counted twice each
SYSTEM_HZ = 125_000_000
AIR_REFRESH_NS = 20_000_000
OUTPUTS_REFRESH_NS = 50_000_000  # while an ADC is sampled
PWM_REST_US = 200_000  # a pulse that changes after this long begins a motion; steps of one follow every 20 ms

_MASK_32 = 0xFFFFFFFF
_ADC_GPIOS = (26, 27, 28, 29)
_RAW_27_C = 876  # RP2040 datasheet, section 4.9.5
_LED = "LED"


class BoardReset(BaseException):
    """The firmware reset its board, where the board is not a process of its own. No handler of an Exception
    stops it, as none stops a real reset.
    """


# --- the board and what surrounds it


class Rng:
    """Numbers that depend on the seed alone, on both runtimes, whatever the firmware does with `random`.

    xorshift32, G. Marsaglia, 2003.
    """

    def __init__(self, seed: int) -> None:
        self._state = (seed * 0x9E3779B1 + 0x7F4A7C15) & _MASK_32 or 1
        for _ in range(8):
            self.below(2)

    def below(self, limit: int) -> int:
        """Return a number from 0 to `limit` - 1."""
        state = self._state
        state ^= (state << 13) & _MASK_32
        state ^= state >> 17
        state ^= (state << 5) & _MASK_32
        self._state = state
        return state % limit


class Shooter:
    """A shooter with a toy gun, who shoots at a target once each time it is armed.

    A shot hits with the probability `hit_rate`, after a reaction time within `reaction_ms`. Same seed, same
    shots.
    """

    PEAK = 48_000  # u16; the threshold is usually near 20,000

    def __init__(self, seed: int, hit_rate: float, reaction_ms: "tuple[int, int]", impact_ms: int) -> None:
        self._rng = Rng(seed)
        self._hits_of_10000 = int(hit_rate * 10_000)
        self._reaction_ms = reaction_ms
        self.impact_ms = impact_ms

    def shoot(self) -> "int | None":
        """Return after how many milliseconds the shot hits; None when it goes wide."""
        low, high = self._reaction_ms
        hits = self._rng.below(10_000) < self._hits_of_10000
        delay_ms = low + self._rng.below(high - low + 1)
        return delay_ms if hits else None


class _PinState:
    """A pin as every `Pin` object of the same id sees it."""

    def __init__(self) -> None:
        self.mode = Pin.IN
        self.pull = 0
        self.level = 0


class _PwmSlice:
    """One of the eight PWM generators: two neighbouring pins share its frequency."""

    def __init__(self) -> None:
        self.div16 = 16
        self.top = 0xFFFF
        self.has_freq = False
        self.enabled = False

    def hz(self) -> int:
        return (16 * SYSTEM_HZ + self.div16 // 2) // self.div16


class _AdcInput:
    """The state of one ADC pin: how often it was read, and the impacts under way or to come."""

    def __init__(self) -> None:
        self.samples = 0
        self.at_ns = 0
        self.mirrored_ns = 0
        self.impacts: list[tuple[int, int, int]] = []  # from_ns, until_ns, peak


class VirtualBoard:
    """The hardware of one board and its surroundings.

    `unique_id` has 8 bytes. `air` is the radio around it: `ssid` and `password` of the one access point, or
    `networks`, a list of such pairs, empty where any network can be joined; whether they are `up`, whether
    `dhcp` gives addresses, whether the radio `rejoins` by itself after a loss, and whether it `lies` (a
    network that was joined once stays joined, whatever happens to it). `hit_rate` (0 to 1), `reaction_ms`
    (shortest and longest) and `impact_ms` describe the seeded shooter, who takes aim when an ADC is read
    again after a pause of more than `rest_ms`. The board's clock runs `speed` times as fast as the world's.
    """

    def __init__(
        self,
        unique_id: bytes = b"\xe6\x61\x00\x00\x00\x00\x00\x00",
        seed: int = 0,
        hit_rate: float = 0.0,
        air: "dict[str, object] | None" = None,
        reaction_ms: "tuple[int, int]" = (150, 900),
        impact_ms: int = 30,
        rest_ms: int = 100,
        speed: int = 1,
    ) -> None:
        self.unique_id = unique_id
        self._air: dict[str, object] = {"ssid": "snyper", "password": "", "up": True, "rejoins": False}
        self._air.update({"dhcp": True, "lies": False})
        self._air.update(air or {})
        self.speed = speed
        self.rest_ns = self.world_ns(rest_ms)
        self._shooter = Shooter(seed, hit_rate, reaction_ms, impact_ms)
        self._noise = Rng(seed + 1)
        self.boot(PWRON_RESET)

    def boot(self, reset_cause: int) -> None:
        """Put the hardware into the state after a reset; the surroundings stay."""
        self.reset_cause = reset_cause
        self.hostname = "PicoW"
        self.country = "XX"
        self.interfaces: dict[int, object] = {}  # network.py's
        self.pins: dict[int | str, _PinState] = {}
        self.slices = [_PwmSlice() for _ in range(8)]
        self.pwms: dict[int, PWM] = {}
        self.adc_inputs: dict[int, _AdcInput] = {}
        self.next_levels: dict[int | str, list[list[int]]] = {}
        self.bus: Any = None  # i2c.py's
        self.watchdog_ns: int | None = None
        self.wifi: dict[str, object] = {"joins": 0, "activations": 0, "ssid": "", "pm": None}
        self.changed()

    def world_ns(self, board_ms: int) -> int:
        """Return how long the world waits while `board_ms` pass on the board."""
        return board_ms * 1_000_000 // self.speed

    def outputs(self) -> "dict[str, dict[str, Any]]":
        """Return what the board does to the world, as JSON: `pins` (`level`), `pwm` (`freq_hz`, `duty_ns`,
        both 0 while it is off) and `adc` (`samples` so far, `at_ns` of the last), each by its pin's name; and
        `wifi`: how often the station has joined (`joins`) and was switched on (`activations`) since the boot,
        the `ssid` that it last tried, its `hostname`, `country` and power management (`pm`). `motions` says
        for the pins of PWMs that have moved when the last motion began, in µs of the world's monotonic clock,
        and `rises` how often their pulse began to grow.
        """
        pins = {str(id): {"level": pin.level} for id, pin in self.pins.items() if pin.mode == Pin.OUT}
        adc = {str(id): {"samples": adc.samples, "at_ns": adc.at_ns} for id, adc in self.adc_inputs.items()}
        pwm = {}
        for gpio, channel in self.pwms.items():
            on = self.slices[channel.slice].enabled
            freq_hz, duty_ns = (channel.freq(), channel.duty_ns()) if on else (0, 0)
            pwm[str(gpio)] = {"freq_hz": freq_hz, "duty_ns": duty_ns}
        motions = {str(gpio): channel.began_us for gpio, channel in self.pwms.items() if channel.began_us}
        rises = {str(gpio): channel.rises for gpio, channel in self.pwms.items() if channel.rises}
        wifi = self.wifi.copy()
        wifi.update({"hostname": self.hostname, "country": self.country})
        return {"pins": pins, "pwm": pwm, "adc": adc, "motions": motions, "rises": rises, "wifi": wifi}

    def changed(self) -> None:
        """React to a change: called after each change of what `outputs` says."""

    def air(self) -> "dict[str, object]":
        """Return the radio around the board, as it is now."""
        return self._air

    def set_air(self, changes: "dict[str, object]") -> None:
        """Change the radio around the board: any of what `air` is."""
        self._air.update(changes)

    def strike(self, peak: int, duration_ms: int, gpio: int = 26) -> None:
        """Strike now: the piezo gives `peak` (u16) for `duration_ms`, whether it is read or not."""
        self._strike_at(time.time_ns(), peak, duration_ms, gpio)

    def _strike_at(self, from_ns: int, peak: int, duration_ms: int, gpio: int) -> None:
        impacts = self._adc_input(gpio).impacts
        impacts.append((from_ns, from_ns + self.world_ns(duration_ms), peak))

    def _adc_input(self, gpio: int) -> _AdcInput:
        if gpio not in self.adc_inputs:
            self.adc_inputs[gpio] = _AdcInput()
        return self.adc_inputs[gpio]

    def press(self, gpio: int, levels: "list[list[int]]") -> None:
        """Let the next samples of a pin find these levels, each so many times; then it is as its pull has
        it.
        """
        self.next_levels[gpio] = self.next_levels.get(gpio, []) + levels

    def level(self, id: "int | str", pulled: int) -> int:
        """Return what a sample of an input finds, which a pull alone would set to `pulled`."""
        levels = self.next_levels.get(id)
        if not levels:
            return pulled
        level, count = levels[0]
        if count > 1:
            levels[0][1] = count - 1
        else:
            levels.pop(0)
        return level

    def sample(self, gpio: int) -> int:
        """Return what the ADC measures on `gpio` now, 0 to 4095."""
        self._read_strike()  # first: an impact that is known has begun before `now_ns`
        now_ns = time.time_ns()
        adc = self._adc_input(gpio)
        if now_ns - adc.at_ns > self.rest_ns:
            self._take_aim(now_ns, gpio)
        adc.samples += 1
        adc.at_ns = now_ns
        self._sampled(adc, now_ns)
        level = self._noise.below(32)
        for impact in adc.impacts:
            if impact[0] <= now_ns < impact[1]:
                level = max(level, impact[2] >> 4)
        if adc.impacts and adc.impacts[0][1] <= now_ns:
            adc.impacts.pop(0)
        return level

    def _read_strike(self) -> None:
        """Take a strike of the world, if there is one: called before every sample."""

    def _sampled(self, adc: _AdcInput, now_ns: int) -> None:
        """Count a sample: called for every one."""

    def _take_aim(self, now_ns: int, gpio: int) -> None:
        delay_ms = self._shooter.shoot()
        if delay_ms is not None:
            from_ns = now_ns + self.world_ns(delay_ms)
            self._strike_at(from_ns, Shooter.PEAK, self._shooter.impact_ms, gpio)

    def set_watchdog(self, deadline_ns: int) -> None:
        """Let the running watchdog bite at this time of the wall clock."""
        self.watchdog_ns = deadline_ns

    def reset(self, reset_cause: int) -> None:
        """End the firmware; the next boot reports `reset_cause`. Does not return."""
        self.watchdog_ns = None
        raise BoardReset(reset_cause)

    def soft_reset(self) -> None:
        """End the firmware; the next boot reports what this one does."""
        self.reset(self.reset_cause)


class ProcessBoard(VirtualBoard):
    """A board that is a process of its own and speaks with the world through the files of a directory.

    `directory` has `open` and `rename`, as a file system has that is not mounted; `settings` is what
    board.json says.
    """

    def __init__(self, directory: "Any", settings: "dict[str, Any]", reset_cause: int) -> None:
        self._directory = directory
        self._air_ns = time.time_ns()
        self._has_usb = bool(settings["usb"])
        super().__init__(
            bytes(int(settings["unique_id"][at : at + 2], 16) for at in range(0, 16, 2)),
            settings["seed"],
            settings["hit_rate"],
            settings["air"],
            tuple(settings["reaction_ms"]),
            settings["impact_ms"],
            speed=settings["speed"],
        )
        self.reset_cause = reset_cause

    def changed(self) -> None:
        self.write("outputs.json", self.outputs())

    def air(self) -> "dict[str, object]":
        now_ns = time.time_ns()
        if now_ns - self._air_ns > AIR_REFRESH_NS:
            self._air_ns = now_ns
            self._air.update(self.read("board.json")["air"])
        return self._air

    def set_watchdog(self, deadline_ns: int) -> None:
        self.write("watchdog", deadline_ns)

    def reset(self, reset_cause: int) -> None:
        self.write("reset", reset_cause)
        self.die()

    def soft_reset(self) -> None:
        if self._has_usb:
            raise SystemExit
        self.reset(self.reset_cause)

    def die(self) -> None:
        """Take the power away."""
        # Nothing that the firmware could catch: a reset runs no `finally`.
        while True:
            os.system("kill -9 $PPID")

    def level(self, id: "int | str", pulled: int) -> int:
        if self._is_taken("levels"):
            told = self.read("levels.taken")
            self.press(told["gpio"], told["levels"])
        return super().level(id, pulled)

    def _is_taken(self, name: str) -> bool:
        # Taking the file away and looking whether it is there are one call: 2 µs, where a stat costs 1.
        try:
            self._directory.rename("/" + name, "/" + name + ".taken")
        except OSError:
            return False
        return True

    def _sampled(self, adc: _AdcInput, now_ns: int) -> None:
        if now_ns - adc.mirrored_ns > OUTPUTS_REFRESH_NS:
            adc.mirrored_ns = now_ns
            self.changed()

    def _read_strike(self) -> None:
        if not self._is_taken("strike"):
            return
        strike = self.read("strike.taken")
        self._adc_input(strike["gpio"]).impacts.append(
            (strike["from_ns"], strike["until_ns"], strike["peak"])
        )

    def read(self, name: str):  # type: ignore[no-untyped-def]
        with self._directory.open("/" + name, "r") as file:
            return json.load(file)

    def write(self, name: str, value: object) -> None:
        with self._directory.open("/" + name + ".new", "w") as file:
            file.write(json.dumps(value))  # one call of the system, where `dump` makes one of each word
        self._directory.rename("/" + name + ".new", "/" + name)


_board: "VirtualBoard | None" = None


def use(board: VirtualBoard) -> None:
    """Give later objects of `machine` and `network` to `board`, for as long as they live."""
    global _board
    _board = board


def current() -> VirtualBoard:
    """Return the board that new objects belong to: the one in `use`."""
    global _board
    if _board is None:
        _board = VirtualBoard()
    return _board


# --- what firmware calls


class Pin:
    """`machine.Pin` of a Pico W: GPIO 0 to 29 by number or name, and "LED", which hangs on the Wi-Fi chip."""

    IN = 0
    OUT = 1
    OPEN_DRAIN = 2
    ALT = 3
    PULL_UP = 1
    PULL_DOWN = 2

    def __init__(
        self,
        id: "int | str | Pin",
        mode: "int | None" = None,
        pull: "int | None" = None,
        *,
        value: "int | None" = None,
    ) -> None:
        """Raises ValueError for a pin that the board does not have, or a pull on "LED"."""
        self._board = current()
        self._id = _pin_id(id)
        self._state = self._board.pins.setdefault(self._id, _PinState())
        if mode is not None or pull is not None or value is not None:
            self._init(mode, pull, value)

    def init(
        self, mode: "int | None" = None, pull: "int | None" = None, *, value: "int | None" = None
    ) -> None:
        """Configure the pin again; a pull that is left out is switched off."""
        self._init(mode, pull, value)

    def _init(self, mode: "int | None", pull: "int | None", value: "int | None") -> None:
        if self._id == _LED and pull is not None:
            raise ValueError("pulls are not supported for external pins")
        if mode is not None:
            if value is not None and mode != Pin.IN:
                self._state.level = int(bool(value))
            self._state.mode = mode
            _detach_pwm(self._board, self._id)
        self._state.pull = pull or 0
        self._board.changed()

    def value(self, value: "object | None" = None) -> "int | None":
        """Return the level, 0 or 1; with an argument sets it."""
        if value is None:
            if self._state.mode == Pin.IN:
                return self._board.level(self._id, int(self._state.pull == Pin.PULL_UP))
            return self._state.level
        level = int(bool(value))
        if level != self._state.level:
            self._state.level = level
            self._board.changed()
        return None

    def __call__(self, value: "object | None" = None) -> "int | None":
        return self.value(value)

    def on(self) -> None:
        self.value(1)

    def off(self) -> None:
        self.value(0)

    def toggle(self) -> None:
        self.value(1 - self._state.level)

    high = on
    low = off

    def __repr__(self) -> str:
        mode = ("IN", "OUT", "OPEN_DRAIN", "ALT")[self._state.mode]
        name = f"GPIO{self._id}" if type(self._id) is int else "WL_GPIO0"
        return f"Pin({name}, mode={mode})"


def _pin_id(id: "int | str | Pin") -> "int | str":
    if isinstance(id, Pin):
        return id._id
    if type(id) is str:
        if id in (_LED, "WL_GPIO0"):
            return _LED
        digits = id[4:] if id.startswith("GPIO") else id[2:] if id.startswith("GP") else ""
        if digits.isdigit() and int(digits) < 30:
            return int(digits)
        raise ValueError(f'unknown named pin "{id}"')
    if type(id) is int and 0 <= id < 30:
        return id
    raise ValueError("invalid pin")


def gpio_of(id: "int | str | Pin") -> int:
    """Return the number of a pin of the RP2040. Raises ValueError for any other."""
    gpio = _pin_id(id)
    if type(gpio) is not int:
        raise ValueError("invalid pin")  # the Wi-Fi chip's pins have neither PWM nor ADC nor I2C
    return gpio


def _detach_pwm(board: VirtualBoard, id: "int | str") -> None:
    if type(id) is int:
        board.pwms.pop(id, None)


class PWM:
    """`machine.PWM`: 8 Hz to 62.5 MHz, one frequency for the two pins of a slice."""

    MAX_TOP = 65_534  # one less than the counter, so that 65,535 is all of the period

    def __init__(
        self,
        pin: "int | str | Pin",
        freq: int = -1,
        *,
        duty_u16: int = -1,
        duty_ns: int = -1,
        invert: int = -1,
    ) -> None:
        """Give the pin to the PWM; it runs once it has a frequency and a duty. Raises ValueError."""
        self._board = current()
        self._gpio = gpio_of(pin)
        self.slice = self._gpio >> 1 & 7
        self._generator = self._board.slices[self.slice]
        self._duty: int | None = None
        self._duty_is_ns = False
        self._level = 0
        self._invert = 0
        self.began_us = self._changed_us = self.rises = 0
        self._is_rising = False
        self.init(freq, duty_u16=duty_u16, duty_ns=duty_ns, invert=invert)
        self._board.pins.setdefault(self._gpio, _PinState()).mode = Pin.ALT
        self._board.pwms[self._gpio] = self
        self._board.changed()

    def init(self, freq: int = -1, *, duty_u16: int = -1, duty_ns: int = -1, invert: int = -1) -> None:
        """Set what is given. Raises ValueError."""
        if freq != -1:
            self._set_freq(freq)
        if duty_u16 != -1:
            self._set_duty(duty_u16, False)
        if duty_ns != -1:
            self._set_duty(duty_ns, True)
        if invert != -1:
            self._invert = int(bool(invert))

    def deinit(self) -> None:
        """Stop the slice, and so the other pin on it too. Setting a duty starts it again."""
        self._generator.enabled = False
        self._board.changed()

    def freq(self, value: "int | None" = None) -> int:
        """Return the frequency in Hz, 0 before there is one; with an argument sets it. Raises ValueError."""
        generator = self._generator
        if value is not None:
            self._set_freq(value)
            self._board.changed()
        if not generator.has_freq:
            return 0
        period16 = generator.div16 * (generator.top + 1)
        return (16 * SYSTEM_HZ + period16 // 2) // period16

    def duty_ns(self, value: "int | None" = None) -> int:
        """Return the pulse in ns, as exactly as the counter can; with an argument sets it, at most to the
        period.
        """
        if value is not None:
            before = self._level
            self._set_duty(value, True)
            self._record_motion(before)
            self._board.changed()
        if self._duty is None or not self._generator.has_freq:
            return 0
        hz = self._generator.hz()
        return (self._level * 1_000_000_000 + hz // 2) // hz

    def _record_motion(self, before: int) -> None:
        change = self._level - before
        if before and change:
            self.rises += change > 0 and not self._is_rising
            self._is_rising = change > 0
        now_us = _world_us()
        if now_us - self._changed_us > PWM_REST_US:
            self.began_us = now_us
        self._changed_us = now_us

    def duty_u16(self, value: "int | None" = None) -> int:
        """Return the pulse as a share of the period, 0 to 65,535; with an argument sets it."""
        if value is not None:
            self._set_duty(value, False)
            self._board.changed()
        if self._duty is None or not self._generator.has_freq:
            return 0
        period = self._generator.top + 1
        return (self._level * 65_535 + period // 2) // period

    def _set_freq(self, freq: int) -> None:
        if freq <= 0:
            raise ValueError("freq too small")
        generator = self._generator
        period = (SYSTEM_HZ + freq // 2) // freq
        if period < PWM.MAX_TOP:
            div16 = 16
            top = period - 1
        else:
            div16 = (16 * SYSTEM_HZ + PWM.MAX_TOP * freq - 1) // (PWM.MAX_TOP * freq)
            top = (16 * SYSTEM_HZ + div16 * freq // 2) // (div16 * freq) - 1
        if div16 >= 256 * 16:
            raise ValueError("freq too small")
        if top < 1:
            raise ValueError("freq too large")
        generator.div16 = div16
        generator.top = top
        generator.has_freq = True
        if self._duty is not None:
            self._set_duty(self._duty, self._duty_is_ns)
        neighbour = self._board.pwms.get(self._gpio ^ 1)
        if neighbour is not None and neighbour._duty is not None:
            neighbour._set_duty(neighbour._duty, neighbour._duty_is_ns)

    def _set_duty(self, duty: int, is_ns: bool) -> None:
        generator = self._generator
        if is_ns:
            level = (duty * generator.hz() + 500_000_000) // 1_000_000_000
        else:
            level = (min(duty, 65_535) * (generator.top + 1) + 32_767) // 65_535
        # The register is unsigned: a negative duty is a full one.
        self._level = min(level & _MASK_32, generator.top + 1)
        self._duty = duty
        self._duty_is_ns = is_ns
        if generator.has_freq:
            generator.enabled = True

    def __repr__(self) -> str:
        return f"<PWM slice={self.slice} channel={self._gpio & 1} invert={self._invert}>"


class ADC:
    """`machine.ADC`: channels 0 to 3 or their pins GPIO 26 to 29, and channel 4, the temperature."""

    CORE_TEMP = 4

    def __init__(self, source: "int | str | Pin") -> None:
        """Raises ValueError for what no ADC channel is connected to."""
        self._board = current()
        if type(source) is int:
            if not (0 <= source <= ADC.CORE_TEMP or source in _ADC_GPIOS):
                raise ValueError("invalid channel")
            channel = source
        else:
            channel = gpio_of(source)
            if channel not in _ADC_GPIOS:
                raise ValueError("Pin doesn't have ADC capabilities")
        self._gpio = channel + 26 if channel < ADC.CORE_TEMP else channel
        if self._gpio in _ADC_GPIOS:
            self._board.pins.setdefault(self._gpio, _PinState()).mode = Pin.ALT

    def read_u16(self) -> int:
        """Return the voltage, 0 to 65,535 for 0 to 3.3 V, in the 4,096 steps that the converter has."""
        raw = _RAW_27_C if self._gpio == ADC.CORE_TEMP else self._board.sample(self._gpio)
        return raw << 4 | raw >> 8

    def __repr__(self) -> str:
        return f"<ADC channel={self._gpio - 26 if self._gpio in _ADC_GPIOS else self._gpio}>"


class WDT:
    """`machine.WDT`: once made it runs until the board is reset, by it or otherwise."""

    def __init__(self, id: int = 0, timeout: int = 5000) -> None:
        """Start a watchdog of `timeout` ms. Raises ValueError beyond 8,388."""
        if id != 0:
            raise ValueError(f"WDT({id}) doesn't exist")
        if not 0 <= timeout <= WDT_MAX_MS:
            raise ValueError(f"timeout exceeds {WDT_MAX_MS}")
        self._board = current()
        self._timeout_ns = self._board.world_ns(timeout)
        self.feed()

    def feed(self) -> None:
        """Put the reset off by another `timeout`."""
        self._board.set_watchdog(time.time_ns() + self._timeout_ns)


def _world_us() -> int:
    """Return the world's monotonic clock, whatever the board's says."""
    ticks_us: Any = getattr(time, "ticks_us", None)
    now_us: int = ticks_us() if ticks_us else time.monotonic_ns() // 1000
    return now_us


def unique_id() -> bytes:
    """Return the 8 bytes that no other board has."""
    return current().unique_id


def reset() -> None:
    """Reset the board; nothing after it runs. `reset_cause()` then says WDT_RESET, as on a Pico W."""
    current().reset(WDT_RESET)


def soft_reset() -> None:
    """Start the firmware anew; what `reset_cause()` says stays."""
    current().soft_reset()


def reset_cause() -> int:
    """Return PWRON_RESET or WDT_RESET."""
    return current().reset_cause


def freq() -> int:
    """Return the processor's clock in Hz."""
    return SYSTEM_HZ
