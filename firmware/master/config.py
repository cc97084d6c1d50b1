"""What a person may set on a hub board in config.json, and what holds where it is left out.

The meaning of each setting is in docs/configuration.md, which tools/configuration_doc.py makes from here.
"""

from shared.address import parse_address
from shared.config import (
    COUNTRY,
    KEY,
    LED,
    WATCHDOG_MS,
    ConfigError,
    Integer,
    Pattern,
    Text,
    check_gpio,
    complete,
    defaults,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RP2_CONNECTIONS = 5  # of the network stack on a Pico W; the access point takes four stations


def _is_listen(text: str) -> bool:
    try:
        parse_address(text)
    except ValueError:
        return False
    return True


SCHEMA = {
    "listen": Pattern(":8081", _is_listen, ":PORT or HOST:PORT"),
    "max_targets": Integer(4, 1, 64),
    "max_consoles": Integer(1, 1, 16),
    "key": KEY,
    "access_point": {
        "ssid": Text("snyper", 1, 32),
        "password": Text("pop-up-targets", 8, 63, secret=True),
        "channel": Integer(6, 1, 13),
        "country": COUNTRY,
    },
    "led": LED,
    "watchdog_ms": WATCHDOG_MS,
}

DEFAULTS = defaults(SCHEMA)


def read(given: "Any", platform: str) -> "dict[str, Any]":
    """The whole configuration of a hub board from what a file says. `platform` is the board's
    `sys.platform`. Raises ConfigError.
    """
    config = complete(SCHEMA, given)
    check(config, platform)
    return config


def check(config: "dict[str, Any]", platform: str) -> None:
    """Raises ConfigError for settings that are fine each by itself, but not together or on this board."""
    check_gpio(config["led"]["pin"], "led.pin", platform, "LED")
    if platform == "rp2" and config["max_targets"] + config["max_consoles"] > RP2_CONNECTIONS:
        raise ConfigError(
            "max_consoles", "with `max_targets` more than the board's %d connections" % RP2_CONNECTIONS
        )
