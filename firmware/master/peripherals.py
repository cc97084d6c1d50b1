"""The hub board's own hardware: the screen's bus and the buttons."""

import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_BUS_HZ = 400_000  # the SSD1306's clock period is 2.5 µs at least (datasheet, table 13-6)
_BUS_TIMEOUT_US = 10_000  # three times what a page takes: a line that is held low stops the hub for no longer


def screen_bus(config: "dict[str, Any]") -> "Any":
    """Open the I2C bus of the screen. Raises ValueError for pins that have none."""
    sda = config["sda_pin"]
    bus = (
        sda >> 1 & 1 if type(sda) is int else 0
    )  # of an RP2040 (datasheet, section 1.4.3); others take any pin
    return machine.I2C(
        bus,
        scl=machine.Pin(config["scl_pin"]),
        sda=machine.Pin(sda),
        freq=_BUS_HZ,
        timeout=_BUS_TIMEOUT_US,
    )


def button(pin: "int | str") -> "Callable[[], bool]":
    """Return a function that reads whether the button between `pin` and ground is down. Raises ValueError for
    a pin that there is not.
    """
    contact = machine.Pin(pin, machine.Pin.IN, machine.Pin.PULL_UP)
    return lambda: contact.value() == 0
