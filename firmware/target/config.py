"""The schema of a target's config.json, with its defaults.

The meaning of each setting is in docs/configuration.md, which tools/configuration_doc.py makes from here.
"""

from snyper.shared.address import parse_hub
from snyper.shared.config import (
    COUNTRY,
    KEY,
    LED,
    WATCHDOG_MS,
    Choice,
    ConfigError,
    Integer,
    List,
    Pattern,
    Pin,
    Text,
    check_gpio,
    complete,
    defaults,
    is_word,
    whole_number,
)
from snyper.shared.socket_protocol import ALL_TARGETS, MAX_GROUPS, is_target_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_RP2_ADC_GPIOS = (26, 27, 28)


def _is_own_id(text: str) -> bool:
    return text != ALL_TARGETS and is_target_id(text)


def _is_hub(text: str) -> bool:
    try:
        host, port, _ = parse_hub(text)
    except ValueError:
        return False
    return host != "" and port > 0 and len(text) <= 64 and is_word(text, ".-_:[]%/")


def _is_hostname(text: str) -> bool:
    return len(text) <= 32 and is_word(text, "-") and text[0] != "-" and text[-1] != "-"


def _is_ip(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(0 <= whole_number(part) <= 255 for part in parts)


def _is_ip_with_bits(text: str) -> bool:
    ip, _, bits = text.partition("/")
    return _is_ip(ip) and 8 <= whole_number(bits) <= 30


_NAME = "1 to 32 of A-Z a-z 0-9 _ - ."
_IP = "an address such as 192.168.1.1"

SCHEMA = {
    "target_id": Pattern("target_1", _is_own_id, _NAME + ' but not "all"'),
    "groups": List(Pattern("", is_target_id, _NAME), (), 0, MAX_GROUPS),
    "hub": List(Pattern("", _is_hub, "HOST, HOST:PORT or tls://HOST:PORT"), ("192.168.4.1:8081",), 1, 4),
    "key": KEY,
    "certificate": Text("", 256, 1024, or_empty=True),
    "wifi": {
        "hostname": Pattern("", _is_hostname, "1 to 32 of A-Z a-z 0-9 - with no - at an end", True),
        "country": COUNTRY,
        "networks": List(
            {
                "ssid": Text("snyper", 1, 32),
                "password": Text("", 8, 63, or_empty=True, secret=True),
                "address": Pattern("", _is_ip_with_bits, "an address such as 192.168.1.50/24", True),
                "gateway": Pattern("", _is_ip, _IP, True),
                "dns": Pattern("", _is_ip, _IP, True),
            },
            ({"password": "pop-up-targets"},),  # a hub board's own, as it comes
            1,
            8,
        ),
    },
    "servo": {
        "pin": Pin(16),
        "up_deg": Integer(90, 0, 180),
        "down_deg": Integer(0, 0, 180),
        "min_pulse_us": Integer(500, 400, 2600),
        "max_pulse_us": Integer(2500, 400, 2600),
        "travel_ms": Integer(300, 50, 2500),
    },
    "piezo": {
        "pin": Pin(26),
        "threshold": Integer(20_000, 1, 65_535),
        "debounce_ms": Integer(50, 0, 5000),
        "sample_ms": Integer(2, 1, 100),
        "burst": Integer(4, 1, 16),
    },
    "led": LED,
    "safe_pose": Choice("down", ("down", "stay")),
    "watchdog_ms": WATCHDOG_MS,
}

DEFAULTS = defaults(SCHEMA)


def read(given: "Any", platform: str) -> "dict[str, Any]":
    """Complete the configuration of a target that a file gives. `platform` is the board's `sys.platform`.

    Raises ConfigError.
    """
    config = complete(SCHEMA, given)
    check(config, platform)
    return config


def check(config: "dict[str, Any]", platform: str) -> None:
    """Check that the settings go together, and go on this board. Raises ConfigError."""
    servo = config["servo"]
    if servo["up_deg"] == servo["down_deg"]:
        raise ConfigError("servo.up_deg", "`servo.down_deg` is the same: the target would not move")
    if servo["min_pulse_us"] >= servo["max_pulse_us"]:
        raise ConfigError("servo.min_pulse_us", "less than `servo.max_pulse_us` is expected")
    if not config["certificate"] and [hub for hub in config["hub"] if parse_hub(hub)[2]]:
        raise ConfigError(
            "certificate", "`hub` asks for TLS: `snyper deploy` writes the hub's, which it needs"
        )
    networks = config["wifi"]["networks"]
    for at in range(len(networks)):
        for name in ("gateway", "dns"):
            if networks[at][name] and not networks[at]["address"]:
                path = "wifi.networks[%d].%s" % (at, name)
                raise ConfigError(path, "goes with an `address` only: without one, DHCP says it")
    _check_pins(config, platform)


def _check_pins(config: "dict[str, Any]", platform: str) -> None:
    for function, others in (("servo", ()), ("piezo", ("servo",)), ("led", ("servo", "piezo"))):
        path = function + ".pin"
        pin = config[function]["pin"]
        for other in others:
            if config[other]["pin"] == pin:
                raise ConfigError(path, "`%s.pin` is the same pin, %s" % (other, pin))
        check_gpio(pin, path, platform, "LED" if function == "led" else "")
    if platform == "rp2" and config["piezo"]["pin"] not in _RP2_ADC_GPIOS:
        raise ConfigError("piezo.pin", "a pin that measures is expected: 26, 27 or 28")
