"""config.json over its defaults, and addresses as people write them."""

import os

from shared.address import parse_address
from shared.config import complete, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_DEFAULTS: "dict[str, object]" = {"name": "t", "pins": [1], "servo": {"pin": 16, "up_deg": 90}, "led": True}


def _refusal(function: "Callable[..., object]", *args: object) -> str:
    """What the ValueError says."""
    try:
        function(*args)
    except ValueError as error:
        return str(error)
    raise AssertionError("no ValueError for %r" % (args,))


def _load(text: str) -> "dict[str, object]":
    seed = os.urandom(6)
    path = "/tmp/snyper-test-%s.json" % "".join("%02x" % byte for byte in seed)
    with open(path, "w") as file:
        file.write(text)
    try:
        return load(path, _DEFAULTS)
    finally:
        os.remove(path)


def test_nothing_given_is_the_defaults() -> None:
    assert complete(_DEFAULTS, {}) == _DEFAULTS


def test_what_is_given_goes_over_the_defaults() -> None:
    config = complete(_DEFAULTS, {"servo": {"pin": 3}, "pins": [], "led": False})
    assert config == {"name": "t", "pins": [], "servo": {"pin": 3, "up_deg": 90}, "led": False}
    assert _DEFAULTS["servo"] == {"pin": 16, "up_deg": 90}


def test_an_unknown_key_is_named() -> None:
    assert "`nmae`" in _refusal(complete, _DEFAULTS, {"nmae": "x"})
    assert "`servo.pni`" in _refusal(complete, _DEFAULTS, {"servo": {"pni": 1}})


def test_another_type_is_named() -> None:
    for given, path, type_name in (
        ({"name": 5}, "`name`", "str"),
        ({"name": None}, "`name`", "str"),
        ({"pins": {}}, "`pins`", "list"),
        ({"servo": 16}, "`servo`", "dict"),
        ({"servo": {"pin": "16"}}, "`servo.pin`", "int"),
        ({"servo": {"pin": 16.5}}, "`servo.pin`", "int"),
        ({"servo": {"pin": True}}, "`servo.pin`", "int"),
        ({"led": 1}, "`led`", "bool"),
    ):
        said = _refusal(complete, _DEFAULTS, given)
        assert path in said, said
        assert type_name in said, said


def test_a_file() -> None:
    assert _load('{"name": "lane 1"}')["name"] == "lane 1"
    assert _load("{}") == _DEFAULTS


def test_a_file_that_is_no_json_is_a_value_error() -> None:
    for text in ("", "{", "nonsense", '{"name": }x'):
        _refusal(_load, text)


def test_a_file_that_is_no_object_is_a_value_error() -> None:
    for text in ("5", "null", "true", '"text"', "[]", "[1]", '["name"]', "{1: 2}", '{"servo": {2: 3}}'):
        _refusal(_load, text)


def test_no_file_is_an_os_error() -> None:
    try:
        load("/tmp/snyper-test-there-is-no-such-file.json", _DEFAULTS)
    except OSError:
        return
    raise AssertionError


def test_addresses() -> None:
    for text, address in (
        ("hub", ("hub", 8081)),
        ("192.168.4.1", ("192.168.4.1", 8081)),
        ("192.168.4.1:9000", ("192.168.4.1", 9000)),
        (":9000", ("", 9000)),
        ("[::1]:9000", ("::1", 9000)),
        ("[::1]", ("::1", 8081)),
        ("hub:65535", ("hub", 65535)),
    ):
        assert parse_address(text) == address, text


def test_what_is_no_address_is_shown() -> None:
    for text in ("hub:", "hub:x", "hub:65536", "hub:-1", "::1", "fe80::1:9000", "hub:80:81", "hub:8 1"):
        assert text in _refusal(parse_address, text)
