"""The config.json of a target and of a hub board: each fault is named with its path."""

from snyper.firmware.master import config as master_config
from snyper.firmware.target import config as target_config
from snyper.shared.config import defaults
from tests.portable.config_faults import check_faults, fault
from tests.portable.support import equal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


# --- a target's


def test_a_targets_defaults() -> None:
    config = target_config.read({}, "rp2")
    assert equal(config, defaults(target_config.SCHEMA))
    assert equal(target_config.read(config, "rp2"), config)
    assert (config["target_id"], config["servo"]["pin"], config["piezo"]["pin"]) == ("target_1", 16, 26)
    assert config["hub"] == ["192.168.4.1:8081"]
    point = master_config.DEFAULTS["access_point"]  # of a hub board as it comes
    assert config["wifi"]["networks"] == [
        {"ssid": point["ssid"], "password": point["password"], "address": "", "gateway": "", "dns": ""}
    ]


def test_a_hub_is_where_its_address_says() -> None:
    hubs = ["hub", "hub.local:9000", "[::1]:8081", "[fe80::1%wlan0]"]
    assert target_config.read({"hub": hubs}, "rp2")["hub"] == hubs


def test_each_fault_of_a_target() -> None:
    def network(**settings: "Any") -> "dict[str, Any]":
        return {"wifi": {"networks": [{}, settings]}}

    check_faults(
        target_config.read,
        (
            ({"target_id": ""}, "target_id"),
            ({"target_id": "all"}, "target_id"),
            ({"target_id": "lane 1"}, "target_id"),
            ({"target_id": "x" * 33}, "target_id"),
            ({"groups": ["a"] * 9}, "groups"),
            ({"groups": ["a", "b c"]}, "groups[1]"),
            ({"hub": []}, "hub"),
            ({"hub": ["a"] * 5}, "hub"),
            ({"hub": "192.168.4.1"}, "hub"),
            ({"hub": ["a", ":8081"]}, "hub[1]"),
            ({"hub": ["a:0"]}, "hub[0]"),
            ({"hub": ["a:65536"]}, "hub[0]"),
            ({"hub": ["a b"]}, "hub[0]"),
            ({"hub": ["::1"]}, "hub[0]"),
            ({"hub": ["a:\u0663"]}, "hub[0]"),
            ({"hub": ["x" * 65]}, "hub[0]"),
            ({"key": "open sesame"}, "key"),
            ({"key": "k:" + "g" * 64}, "key"),
            ({"wifi": {"ssid": "old"}}, "wifi.ssid"),
            ({"wifi": {"hostname": "a_b"}}, "wifi.hostname"),
            ({"wifi": {"hostname": "-a"}}, "wifi.hostname"),
            ({"wifi": {"hostname": "a-"}}, "wifi.hostname"),
            ({"wifi": {"hostname": "a" * 33}}, "wifi.hostname"),
            ({"wifi": {"country": "gb"}}, "wifi.country"),
            ({"wifi": {"country": "GBR"}}, "wifi.country"),
            ({"wifi": {"networks": []}}, "wifi.networks"),
            ({"wifi": {"networks": [{}] * 9}}, "wifi.networks"),
            (network(ssid=""), "wifi.networks[1].ssid"),
            (network(ssid="x" * 33), "wifi.networks[1].ssid"),
            (network(password="1234567"), "wifi.networks[1].password"),
            (network(password="x" * 64), "wifi.networks[1].password"),
            (network(address="192.168.1.50"), "wifi.networks[1].address"),
            (network(address="192.168.1/24"), "wifi.networks[1].address"),
            (network(address="192.168.1.256/24"), "wifi.networks[1].address"),
            (network(address="192.168.1.50/31"), "wifi.networks[1].address"),
            (network(address="192.168.1.50/7"), "wifi.networks[1].address"),
            (network(address="192.168.1.50/24", gateway="192.168.1.1/24"), "wifi.networks[1].gateway"),
            (network(address="192.168.1.50/24", dns="one"), "wifi.networks[1].dns"),
            (network(gateway="192.168.1.1"), "wifi.networks[1].gateway"),
            (network(dns="192.168.1.1"), "wifi.networks[1].dns"),
            ({"servo": {"up_deg": 45, "down_deg": 45}}, "servo.up_deg"),
            ({"servo": {"down_deg": 90}}, "servo.up_deg"),
            ({"servo": {"min_pulse_us": 1500, "max_pulse_us": 1500}}, "servo.min_pulse_us"),
            ({"servo": {"min_pulse_us": 399}}, "servo.min_pulse_us"),
            ({"servo": {"max_pulse_us": 2601}}, "servo.max_pulse_us"),
            ({"servo": {"travel_ms": 49}}, "servo.travel_ms"),
            ({"servo": {"travel_ms": 2501}}, "servo.travel_ms"),
            ({"piezo": {"threshold": 0}}, "piezo.threshold"),
            ({"piezo": {"threshold": 65_536}}, "piezo.threshold"),
            ({"piezo": {"debounce_ms": -1}}, "piezo.debounce_ms"),
            ({"piezo": {"sample_ms": 0}}, "piezo.sample_ms"),
            ({"piezo": {"sample_ms": 101}}, "piezo.sample_ms"),
            ({"piezo": {"burst": 0}}, "piezo.burst"),
            ({"piezo": {"burst": 17}}, "piezo.burst"),
            ({"safe_pose": "up"}, "safe_pose"),
            ({"watchdog_ms": 999}, "watchdog_ms"),
            ({"watchdog_ms": 8389}, "watchdog_ms"),
        ),
        "rp2",
    )


def test_a_pin_has_one_use() -> None:
    for platform in ("rp2", "esp32", "linux"):
        check_faults(
            target_config.read,
            (
                ({"servo": {"pin": 26}}, "piezo.pin"),
                ({"servo": {"pin": "GP26"}}, "piezo.pin"),
                ({"piezo": {"pin": 27}, "led": {"pin": "GPIO27"}}, "led.pin"),
                ({"servo": {"pin": 5}, "led": {"pin": 5}}, "led.pin"),
            ),
            platform,
        )
    assert "`servo.pin`" in str(fault(target_config.read, {"led": {"pin": 16}}, "rp2"))
    assert fault(target_config.read, {"servo": {"pin": "LED"}}, "esp32").path == "led.pin"


def test_the_pins_of_a_pico_w() -> None:
    for function in ("servo", "piezo", "led"):
        for pin in (23, 24, 25, 29, 30, 48, "WL_GPIO1", "GP016", "gp16"):
            error = fault(target_config.read, {function: {"pin": pin}}, "rp2")
            assert error.path == function + ".pin", (function, pin, error)
    for pin in (0, 15, 22):
        assert fault(target_config.read, {"piezo": {"pin": pin}}, "rp2").path == "piezo.pin"
    assert fault(target_config.read, {"servo": {"pin": "LED"}, "led": {"pin": 2}}, "rp2").path == "servo.pin"
    for pin in (26, 27, 28, "GP28"):
        target_config.read({"piezo": {"pin": pin}}, "rp2")
    target_config.read({"servo": {"pin": 0}, "led": {"pin": 22}}, "rp2")


def test_the_pins_of_another_board() -> None:
    given = {"servo": {"pin": 25}, "piezo": {"pin": 34}, "led": {"pin": 2}}
    assert target_config.read(given, "esp32")["piezo"]["pin"] == 34
    assert fault(target_config.read, given, "rp2").path == "servo.pin"


def test_what_a_target_takes() -> None:
    for given in (
        {"target_id": "Lane-1.left_2"},
        {"groups": ["front", "left"] * 4},
        {"hub": ["hub", "hub.local:9000", "192.168.4.1:1", "[fe80::1]:65535"]},
        {"key": "k:" + "0" * 64},
        {"wifi": {"hostname": "a", "country": "GB"}},
        {"wifi": {"networks": [{"ssid": "\u00e4" * 16, "password": "x" * 63}] * 8}},
        {
            "wifi": {
                "networks": [
                    {"address": "10.0.0.2/8", "gateway": "10.0.0.1", "dns": "0.0.0.0"},
                    {"ssid": "b"},
                ]
            }
        },
        {"wifi": {"networks": [{"address": "255.255.255.255/30"}]}},
        {"servo": {"up_deg": 0, "down_deg": 180, "min_pulse_us": 400, "max_pulse_us": 2600}},
        {"piezo": {"threshold": 65_535, "debounce_ms": 0, "sample_ms": 100, "burst": 1}},
        {"safe_pose": "stay", "watchdog_ms": 0},
        {"watchdog_ms": 8388},
    ):
        config = target_config.read(given, "rp2")
        assert equal(target_config.read(config, "rp2"), config)


# --- a hub board's


def test_a_hub_boards_defaults() -> None:
    config = master_config.read({}, "rp2")
    assert equal(config, defaults(master_config.SCHEMA))
    assert equal(master_config.read(config, "rp2"), config)
    assert (config["listen"], config["max_targets"], config["max_consoles"]) == (":8081", 4, 1)


def test_each_fault_of_a_hub_board() -> None:
    check_faults(
        master_config.read,
        (
            ({"listen": ""}, "listen"),
            ({"listen": ":x"}, "listen"),
            ({"listen": 8081}, "listen"),
            ({"max_targets": 0}, "max_targets"),
            ({"max_targets": 65}, "max_targets"),
            ({"max_consoles": 0}, "max_consoles"),
            ({"max_consoles": 17}, "max_consoles"),
            ({"max_consoles": 2}, "max_consoles"),
            ({"max_targets": 5}, "max_consoles"),
            ({"key": 1}, "key"),
            ({"keys": "k:" + "0" * 64 + " console"}, "keys"),
            ({"keys": ["k:" + "0" * 64]}, "keys[0]"),
            ({"keys": ["k:" + "0" * 64 + " king"]}, "keys[0]"),
            ({"keys": ["k:" + "0" * 63 + " console"]}, "keys[0]"),
            ({"keys": [" console"]}, "keys[0]"),
            ({"keys": [""]}, "keys[0]"),
            ({"keys": ["k:" + "0" * 64 + " console", "k:" + "1" * 64 + " reader"]}, "keys"),
            ({"key": "k:" + "0" * 64, "keys": ["k:" + "1" * 64 + " reader"]}, "keys"),
            ({"keys": ["k%d:" % at + "0" * 64 + " reader" for at in range(17)]}, "keys"),
            ({"open": 1}, "open"),
            ({"open": "yes"}, "open"),
            ({"access_point": {"ssid": ""}}, "access_point.ssid"),
            ({"access_point": {"password": ""}}, "access_point.password"),
            ({"access_point": {"password": "1234567"}}, "access_point.password"),
            ({"access_point": {"password": "x" * 64}}, "access_point.password"),
            ({"access_point": {"channel": 0}}, "access_point.channel"),
            ({"access_point": {"channel": 14}}, "access_point.channel"),
            ({"access_point": {"country": "Gb"}}, "access_point.country"),
            ({"led": {"pin": 29}}, "led.pin"),
            ({"led": {"pin": 24}}, "led.pin"),
            ({"watchdog_ms": 1}, "watchdog_ms"),
            ({"target_id": "target_1"}, "target_id"),
            ({"screen": {"driver": "sh1106"}}, "screen.driver"),
            ({"screen": {"sda_pin": ""}}, "screen.sda_pin"),
            ({"screen": {"address": 0x78}}, "screen.address"),
            ({"screen": {"address": 7}}, "screen.address"),
            ({"buttons": {"choose_pin": -1}}, "buttons.choose_pin"),
            ({"buttons": {"start_pin": 23}}, "buttons.start_pin"),
            ({"buttons": {"start_pin": "LED"}}, "buttons.start_pin"),
        ),
        "rp2",
    )


def test_what_a_hub_board_takes_of_keys() -> None:
    rights = ("fleet", "device", "console", "reader") * 4
    lines = ["k%d:" % at + "0123456789abcdef" * 4 + " " + rights[at] for at in range(16)]
    given = {"key": "fleet:" + "0" * 64, "keys": lines, "open": True}
    config = master_config.read(given, "rp2")
    assert config["keys"] == lines
    assert config["open"] is True
    for wrong in ("0" * 63, "0" * 64):
        error = fault(master_config.read, {"keys": ["k:" + wrong]}, "rp2")
        assert wrong not in str(error)


def test_the_pins_of_a_screen() -> None:
    def screen(sda: int, scl: int, **other: "Any") -> "dict[str, Any]":
        given: "dict[str, Any]" = {"screen": {"driver": "ssd1306", "sda_pin": sda, "scl_pin": scl}}
        given.update(other)
        return given

    for sda, scl in ((4, 5), (0, 1), (2, 3), (6, 27), (16, 21), (26, 27), (28, 17)):
        master_config.read(screen(sda, scl), "rp2")
    check_faults(
        master_config.read,
        (
            (screen(5, 4), "screen.sda_pin"),
            (screen(4, 4), "screen.scl_pin"),
            (screen(4, 6), "screen.scl_pin"),
            (screen(4, 7), "screen.scl_pin"),
            (screen(22, 23), "screen.scl_pin"),
            (screen(24, 5), "screen.sda_pin"),
            (screen(4, 5, buttons={"choose_pin": 5}), "buttons.choose_pin"),
            (screen(4, 5, buttons={"choose_pin": 14, "start_pin": "GP14"}), "buttons.start_pin"),
            (screen(14, 15, led={"pin": 15}), "screen.scl_pin"),
        ),
        "rp2",
    )
    error = fault(master_config.read, screen(4, 7), "rp2")
    assert str(error).endswith("with SDA on GPIO 4 one of 1, 5, 9, 13, 17, 21 is expected, not 7"), error
    master_config.read(screen(21, 22), "esp32")  # whose I2C can be on any pin


def test_pins_of_what_a_hub_board_does_not_have_are_free() -> None:
    config = master_config.read({"buttons": {"start_pin": 4}}, "rp2")
    assert (config["screen"]["driver"], config["buttons"]) == ("none", {"choose_pin": "", "start_pin": 4})
    master_config.read({"screen": {"sda_pin": 5, "scl_pin": 5}, "led": {"pin": 5}}, "rp2")


def test_what_a_hub_board_takes() -> None:
    master_config.read({"max_targets": 3, "max_consoles": 2, "listen": "127.0.0.1:0"}, "rp2")
    master_config.read({"max_targets": 64, "max_consoles": 16}, "linux")
    master_config.read({"led": {"pin": 24}}, "esp32")
    master_config.read({"access_point": {"ssid": "a", "password": "x" * 63, "channel": 13}}, "rp2")
