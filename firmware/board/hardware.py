"""The hardware of every board: serial number, light, watchdog, reset."""

import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def hardware_id() -> str:
    """Return the chip's serial number, in hexadecimal: the same for as long as the board exists."""
    serial: str = machine.unique_id().hex()
    return serial


def light(pin: "int | str") -> "Callable[[bool], None]":
    """Return a function that switches the light on `pin` on (true) or off. Raises ValueError for a pin that
    there is not.
    """
    output = machine.Pin(pin, machine.Pin.OUT)

    def switch(on: bool) -> None:
        output.value(1 if on else 0)

    return switch


def reset() -> None:
    """Reset the board, as after power-up. Does not return."""
    machine.reset()


def reset_cause() -> str:
    """Return why the board was reset: `power on` or `watchdog`; a reset by the firmware or over USB also says
    `watchdog`. Else `reset`.
    """
    cause = machine.reset_cause()
    if cause == machine.PWRON_RESET:
        return "power on"
    return "watchdog" if cause == machine.WDT_RESET else "reset"


class Watchdog:
    """A watchdog: resets the board unless it is fed within `timeout_ms`, which on a Pico W is at most 8,388.
    It cannot be stopped. With 0 there is none.
    """

    def __init__(self, timeout_ms: int) -> None:
        self._wdt = machine.WDT(timeout=timeout_ms) if timeout_ms else None

    def feed(self) -> None:
        """Put the reset off by another `timeout_ms`."""
        if self._wdt is not None:
            self._wdt.feed()
