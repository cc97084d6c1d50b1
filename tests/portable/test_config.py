"""config.json against its schema, and addresses as people write them. Each fault is named with its path."""

import os

from snyper.shared.address import format_address, parse_address
from snyper.shared.config import (
    MAX_BYTES,
    Choice,
    Integer,
    List,
    Pattern,
    Pin,
    Text,
    complete,
    defaults,
    parse,
    read_file,
    whole_number,
)
from snyper.shared.runtime import MICROPYTHON
from tests.portable.config_faults import check_faults, fault
from tests.portable.support import equal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SCHEMA = {
    "name": Text("t", 1, 8),
    "password": Text("", 4, 8, or_empty=True, secret=True),
    "word": Pattern("", str.isalpha, "letters", or_empty=True),
    "letters": Pattern("abc", str.isalpha, "letters"),
    "servo": {"pin": Pin(16), "up_deg": Integer(90, 0, 180), "off_ms": Integer(0, 100, 200, or_zero=True)},
    "mode": Choice("down", ("down", "stay")),
    "tags": List(Pattern("", str.isalpha, "letters"), ("a",), 1, 2),
    "networks": List({"ssid": Text("x", 1, 4), "key": Text("", 0, 4, secret=True)}, ({},), 1, 3),
}
_DEFAULTS = {
    "name": "t",
    "password": "",
    "word": "",
    "letters": "abc",
    "servo": {"pin": 16, "up_deg": 90, "off_ms": 0},
    "mode": "down",
    "tags": ["a"],
    "networks": [{"ssid": "x", "key": ""}],
}


def _refusal(function: "Callable[..., object]", *args: "Any") -> str:
    """What the ValueError says."""
    try:
        function(*args)
    except ValueError as error:
        return str(error)
    raise AssertionError("no ValueError for %r" % (args,))


def _complete(given: "Any") -> "dict[str, Any]":
    return complete(_SCHEMA, given)


def _load(content: "str | bytes") -> "dict[str, Any]":
    path = "/tmp/snyper-test-%s.json" % "".join("%02x" % byte for byte in os.urandom(6))
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    try:
        return complete(_SCHEMA, read_file(path))
    finally:
        os.remove(path)


# --- the schema's kinds


def test_nothing_given_is_the_defaults() -> None:
    assert equal(_complete({}), _DEFAULTS)
    assert equal(defaults(_SCHEMA), _DEFAULTS)


def test_what_is_given_goes_over_the_defaults() -> None:
    given = {"servo": {"pin": 3}, "networks": [{}, {"ssid": "y"}], "word": "w", "mode": "stay"}
    config = _complete(given)
    assert config["servo"] == {"pin": 3, "up_deg": 90, "off_ms": 0}
    assert config["networks"] == [{"ssid": "x", "key": ""}, {"ssid": "y", "key": ""}]
    assert (config["word"], config["mode"], config["name"]) == ("w", "stay", "t")


def test_a_configuration_shares_nothing_with_another() -> None:
    given: "dict[str, Any]" = {"tags": ["b"]}
    for one, other in ((_complete({}), _complete({})), (_complete(given), _complete(given))):
        one["tags"].append("c")
        one["networks"][0]["ssid"] = "y"
        one["servo"]["pin"] = 1
        assert other["tags"] != one["tags"]
        assert other["networks"] == _DEFAULTS["networks"]
        assert other["servo"] == _DEFAULTS["servo"]
    assert given == {"tags": ["b"]}


def test_an_unknown_key_is_named_beside_the_known_ones() -> None:
    check_faults(
        _complete,
        (
            ({"nmae": "x"}, "nmae"),
            ({"servo": {"pni": 1}}, "servo.pni"),
            ({"servo": {"": 1}}, "servo."),
            ({"networks": [{}, {"sid": "x"}]}, "networks[1].sid"),
        ),
    )
    assert "known ones are off_ms, pin, up_deg" in str(fault(_complete, {"servo": {"pni": 1}}))
    assert "\n" not in str(fault(_complete, {"a\nb": 1}))
    assert len(str(fault(_complete, {"k" * 999: 1}))) < 200


def test_another_type_is_named() -> None:
    value: "Any"
    for path in ("name", "password", "word", "letters", "mode"):
        for value in (5, None, True, 1.5, [], {}):
            assert fault(_complete, {path: value}).path == path
    for key in ("pin", "up_deg", "off_ms"):
        for value in (True, False, None, 16.0, 1.5, "16", [], {}):
            assert fault(_complete, {"servo": {key: value}}).path == "servo." + key
    for path in ("tags", "networks"):
        for value in (5, None, True, "ab", {}, {"0": "a"}):
            assert fault(_complete, {path: value}).path == path
    check_faults(
        _complete,
        (
            ({"servo": 16}, "servo"),
            ({"servo": []}, "servo"),
            ({"servo": None}, "servo"),
            ({"tags": ["a", 5]}, "tags[1]"),
            ({"networks": ["x"]}, "networks[0]"),
            ({"networks": [{"ssid": 5}]}, "networks[0].ssid"),
        ),
    )


def test_a_value_out_of_its_limits_is_named() -> None:
    check_faults(
        _complete,
        (
            ({"servo": {"up_deg": -1}}, "servo.up_deg"),
            ({"servo": {"up_deg": 181}}, "servo.up_deg"),
            ({"servo": {"up_deg": 1 << 70}}, "servo.up_deg"),
            ({"servo": {"off_ms": 1}}, "servo.off_ms"),
            ({"servo": {"off_ms": 201}}, "servo.off_ms"),
            ({"name": ""}, "name"),
            ({"name": "123456789"}, "name"),
            ({"password": "abc"}, "password"),
            ({"password": "abcdefghi"}, "password"),
            ({"word": "a1"}, "word"),
            ({"letters": ""}, "letters"),
            ({"mode": "up"}, "mode"),
            ({"mode": ""}, "mode"),
            ({"mode": "dow"}, "mode"),
            ({"tags": []}, "tags"),
            ({"tags": ["a", "b", "c"]}, "tags"),
            ({"tags": ["a", ""]}, "tags[1]"),
            ({"networks": [{}, {}, {"ssid": "abcde"}]}, "networks[2].ssid"),
            ({"networks": [{}, {}, {}, {}]}, "networks"),
        ),
    )


def test_limits_are_within() -> None:
    for given in (
        {"servo": {"up_deg": 0, "off_ms": 100}},
        {"servo": {"up_deg": 180, "off_ms": 200}},
        {"name": "12345678", "password": "abcdefgh"},
        {"password": "abcd", "word": "w", "letters": "z"},
        {"tags": ["a", "b"], "networks": [{}, {}, {}]},
    ):
        _complete(given)


def test_a_text_is_measured_in_bytes() -> None:
    assert _complete({"name": "\u00e4" * 4})["name"] == "\u00e4" * 4
    assert fault(_complete, {"name": "\u00e4" * 5}).path == "name"


def test_what_is_expected_and_what_was_found() -> None:
    for given, said in (
        ({"servo": {"up_deg": 200}}, "`servo.up_deg`: an integer from 0 to 180 is expected, not 200"),
        ({"servo": {"up_deg": True}}, "an integer from 0 to 180 is expected, not true"),
        ({"servo": {"up_deg": "90"}}, 'is expected, not "90"'),
        ({"servo": {"up_deg": None}}, "is expected, not null"),
        ({"servo": {"up_deg": 1.5}}, "is expected, not 1.5"),
        ({"servo": {"off_ms": 7}}, "0 or an integer from 100 to 200 is expected, not 7"),
        ({"servo": 7}, "`servo`: an object is expected, not a number"),
        ({"servo": []}, "an object is expected, not a list"),
        ({"servo": False}, "an object is expected, not true or false"),
        ({"name": {}}, "`name`: a string of 1 to 8 bytes is expected, not an object"),
        ({"password": "abc"}, '"" or a string of 4 to 8 bytes is expected, not a string of 3 characters'),
        ({"word": "a1"}, '`word`: "" or letters is expected, not "a1"'),
        ({"mode": "up"}, '`mode`: "down" or "stay" is expected, not "up"'),
        ({"tags": []}, "`tags`: a list of 1 to 2 entries is expected, not 0"),
        ({"servo": {"pin": -1}}, 'a GPIO number or a name such as "GP16" or "LED" is expected, not -1'),
    ):
        assert said in _refusal(_complete, given), _refusal(_complete, given)


def test_a_long_value_is_cut() -> None:
    assert len(_refusal(_complete, {"mode": "x" * 2000})) < 120
    assert "\n" not in _refusal(_complete, {"mode": "x\ny"})


def test_a_secret_is_in_no_message() -> None:
    secret = "correct horse"
    for given in (
        {"password": secret},
        {"password": 73550817},
        {"password": [secret]},
        {"password": {"is": secret}},
        {"networks": [{"key": secret}]},
        {"networks": secret},
        {"networks": [secret]},
        {"networks": {"key": secret}},
        {"pasword": secret},
    ):
        error = fault(_complete, given)
        assert secret not in str(error), error
        assert "73550817" not in str(error), error
        assert secret not in repr(error), error


def test_a_pin_is_a_number_or_a_name() -> None:
    for given, pin in (
        (0, 0),
        (28, 28),
        (48, 48),
        ("GP16", 16),
        ("GPIO16", 16),
        ("GP0", 0),
        ("LED", "LED"),
        ("WL_GPIO0", "WL_GPIO0"),
        ("GP016", "GP016"),
        ("GP", "GP"),
    ):
        config = _complete({"servo": {"pin": given}})
        assert equal(config["servo"]["pin"], pin), given
        assert equal(_complete(config), config), given
    for wrong in (
        -1,
        49,
        "",
        "16",
        "_A",
        "GP 16",
        "GP49",
        "GP\u00b2",
        "LED ",
        "\u00c4B",
        "A" * 17,
        16.0,
        True,
    ):
        assert fault(_complete, {"servo": {"pin": wrong}}).path == "servo.pin", wrong


def test_whole_numbers_are_ascii_digits_without_leading_zeros() -> None:
    for text, number in (("0", 0), ("7", 7), ("255", 255), ("999999999", 999_999_999)):
        assert whole_number(text) == number
    for text in ("", "00", "01", "-1", "+1", "1.0", " 1", "1_0", "a", "\u00b2", "\u0663", "1000000000"):
        assert whole_number(text) == -1, text


# --- files


def test_a_file() -> None:
    assert _load('{"name": "lane 1"}')["name"] == "lane 1"
    assert equal(_load("{}"), _DEFAULTS)
    assert _load('\ufeff{"name": "marked"}')["name"] == "marked"
    assert _load('{"name": "\u00e4\U0001f3af"}')["name"] == "\u00e4\U0001f3af"


def test_a_file_that_is_no_json_is_a_fault() -> None:
    for text in ("", " ", "{", "nonsense", '{"name": }x', '{"name": "x"', "[[[", '{"name": ' * 9):
        error = fault(_load, text)
        assert error.path == "", text
        assert str(error).startswith("not JSON"), text
    for text in ("[" * 4000, "[" * 2000 + "]" * 2000, '{"name": ' * 400):
        fault(_load, text)


def test_a_file_that_is_no_object_is_a_fault() -> None:
    for text in ("5", "null", "true", '"text"', "[]", "[1]", '["name"]'):
        assert "an object in { } is expected" in str(fault(_load, text)), text
    for text in ("{1: 2}", '{"servo": {2: 3}}'):  # MicroPython reads these
        fault(_load, text)


def test_a_file_that_is_not_utf_8_is_a_fault() -> None:
    for content in (b'{"name": "\xe4"}', b'{"name": "\xc3"}', b"\xff\xfe{\x00}\x00"):
        assert str(fault(_load, content)).startswith("not UTF-8"), content


def test_half_a_character_is_a_fault() -> None:
    for escape in ("\\ud83c\\udfaf", "\\uD83C\\uDFAF", "\\udfaf", "\\uDbff"):
        assert "itself" in str(fault(_load, '{"name": "%s"}' % escape)), escape
    assert _load('{"name": "\\u00e4\\ud55c"}')["name"] == "\u00e4\ud55c"


def test_a_file_has_an_end() -> None:
    text = '{"name": "x"}'
    assert parse((text + " " * (MAX_BYTES - len(text))).encode()) == {"name": "x"}
    assert "longer than" in str(fault(_load, text + " " * MAX_BYTES))


def test_no_file_is_an_os_error() -> None:
    try:
        read_file("/tmp/snyper-test-there-is-no-such-file.json")
    except OSError:
        return
    raise AssertionError


if MICROPYTHON:

    def test_a_file_that_memory_does_not_hold_is_a_fault() -> None:
        data = b'{"tags": [' + b"[]," * 1300 + b"[]]}"
        space = [bytearray(MAX_BYTES + 200), bytearray(MAX_BYTES + 200)]  # for the text, not for what it says
        ballast = []
        try:
            while True:
                ballast.append(bytearray(200))
        except MemoryError:
            space.clear()
        error = fault(parse, data)
        ballast.clear()
        assert str(error) == "no memory to read it", error


# --- addresses


def test_addresses() -> None:
    for text, address in (
        ("hub", ("hub", 8081)),
        ("192.168.4.1", ("192.168.4.1", 8081)),
        ("192.168.4.1:9000", ("192.168.4.1", 9000)),
        (":9000", ("", 9000)),
        ("[::1]:9000", ("::1", 9000)),
        ("[::1]", ("::1", 8081)),
        ("hub:65535", ("hub", 65535)),
        ("[fe80::1%eth0]:9000", ("fe80::1%eth0", 9000)),
    ):
        assert parse_address(text) == address, text
        assert parse_address(format_address(*address)) == address, text


def test_what_is_no_address_is_shown() -> None:
    odd = ("hub:\u00b2", "hub:\u0663", "hub:" + "1" * 5_000)  # digits to some, but none of a port
    for text in ("hub:", "hub:x", "hub:65536", "hub:-1", "::1", "fe80::1:9000", "hub:80:81", "hub:8 1") + odd:
        assert text in _refusal(parse_address, text)
