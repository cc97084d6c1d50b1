"""The schema of a hub board's config.json, with its defaults.

The meaning of each setting is in docs/configuration.md, which tools/configuration_doc.py makes from here.
"""

from snyper.firmware.master.access import PUBLISHED_PASSWORD
from snyper.firmware.master.crosstalk import CROSSTALK_MS, MAX_CROSSTALK_MS
from snyper.shared.address import parse_address
from snyper.shared.config import (
    COUNTRY,
    KEY,
    LED,
    WATCHDOG_MS,
    Choice,
    ConfigError,
    Field,
    Integer,
    List,
    Pattern,
    Pin,
    Text,
    check_gpio,
    complete,
    defaults,
)
from snyper.shared.keys import Rights

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_KEYS = 16  # beside `key`: what fits the file
RP2_CONNECTIONS = 5  # of the network stack on a Pico W; the access point takes four stations


def _is_listen(text: str) -> bool:
    try:
        parse_address(text)
    except ValueError:
        return False
    return True


LIMITS = {
    "max_events": Integer(24, 4, 256),  # 2.4 kB; a computer has memory for more
    "unregistered": Integer(4, 1, 64),
    "strangers_per_s": Integer(4, 2, 64),
    "per_address": Integer(64, 1, 64),
    "register_ms": Integer(5_000, 500, 600_000),
    "wrong_keys_at_once": Integer(10, 1, 1_000),
    "lines_at_once": Integer(10_000, 100, 1_000_000),
    "lines_per_s": Integer(100, 20, 100_000),
    "events_at_once": Integer(100, 20, 100_000),
    "events_per_s": Integer(20, 2, 10_000),
}


class Flag(Field):
    """True or false."""

    def accepts(self, value: "Any") -> bool:
        return type(value) is bool

    def expects(self) -> str:
        return "true or false"


def _is_key_line(text: str) -> bool:
    key, _, rights = text.partition(" ")
    is_right = rights in (Rights.FLEET, Rights.DEVICE, Rights.READER, Rights.CONSOLE)
    return is_right and key != "" and KEY.accepts(key)


SCHEMA = {
    "listen": Pattern(":8081", _is_listen, ":PORT or HOST:PORT"),
    "max_targets": Integer(4, 1, 64),
    "max_consoles": Integer(1, 1, 16),
    "key": KEY,
    "keys": List(Pattern("", _is_key_line, "NAME:HEX RIGHTS", secret=True), (), 0, MAX_KEYS),
    "open": Flag(False),
    "crosstalk_ms": Integer(CROSSTALK_MS, 0, MAX_CROSSTALK_MS),
    "limits": LIMITS,
    "access_point": {
        "ssid": Text("snyper", 1, 32),
        "password": Text(PUBLISHED_PASSWORD, 8, 63, secret=True),
        "channel": Integer(6, 1, 13),
        "country": COUNTRY,
    },
    "screen": {
        "driver": Choice("none", ("none", "ssd1306")),
        "sda_pin": Pin(4),
        "scl_pin": Pin(5),
        "address": Integer(0x3C, 0x08, 0x77),  # what I2C leaves to devices
    },
    "buttons": {"choose_pin": Pin("", or_empty=True), "start_pin": Pin("", or_empty=True)},
    "led": LED,
    "watchdog_ms": WATCHDOG_MS,
}

DEFAULTS = defaults(SCHEMA)


def read(given: "Any", platform: str) -> "dict[str, Any]":
    """Complete the configuration of a hub board that a file gives. `platform` is the board's
    `sys.platform`. Raises ConfigError.
    """
    config = complete(SCHEMA, given)
    check(config, platform)
    return config


def check(config: "dict[str, Any]", platform: str) -> None:
    """Check that the settings go together, and go on this board. Raises ConfigError."""
    _check_pins(config, platform)
    names: "list[str]" = []
    for line in [config["key"]] + config["keys"]:
        name = line.partition(":")[0]
        if line and name in names:
            raise ConfigError("keys", "two keys are called %s" % name)
        names.append(name)
    if platform == "rp2" and config["max_targets"] + config["max_consoles"] > RP2_CONNECTIONS:
        raise ConfigError(
            "max_consoles", "with `max_targets` more than the board's %d connections" % RP2_CONNECTIONS
        )


def _check_pins(config: "dict[str, Any]", platform: str) -> None:
    screen = config["screen"]
    pins = [("led.pin", config["led"]["pin"])]
    if screen["driver"] != "none":
        pins += [("screen.sda_pin", screen["sda_pin"]), ("screen.scl_pin", screen["scl_pin"])]
    for name in ("choose_pin", "start_pin"):
        if config["buttons"][name] != "":
            pins.append(("buttons." + name, config["buttons"][name]))
    for at in range(len(pins)):
        path, pin = pins[at]
        for other_path, other in pins[:at]:
            if pin == other:
                raise ConfigError(path, "`%s` is the same pin, %s" % (other_path, pin))
        check_gpio(pin, path, platform, "LED" if path == "led.pin" else "")
    if screen["driver"] != "none" and platform == "rp2":
        _check_bus(screen["sda_pin"], screen["scl_pin"])


def _check_bus(sda: int, scl: int) -> None:
    """Check the pins of the I2C bus. Raises ConfigError. An RP2040 has two I2C: of every four GPIOs the first
    two can be SDA and SCL of one, the next two of the other (RP2040 datasheet, section 1.4.3).
    """
    if sda % 2:
        raise ConfigError("screen.sda_pin", "GPIO %d cannot be SDA: the even ones can" % sda)
    if scl % 4 != sda % 4 + 1:
        fitting = [pin for pin in range(sda % 4 + 1, 28, 4) if pin != 25 and pin != 23]
        raise ConfigError(
            "screen.scl_pin",
            "with SDA on GPIO %d one of %s is expected, not %d"
            % (sda, ", ".join(["%d" % pin for pin in fitting]), scl),
        )
