"""The schemas against any input, and docs/configuration.md against the schemas."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from snyper.firmware.master import config as master
from snyper.hub.limits import LIMITS
from snyper.shared.config import MAX_BYTES, ConfigError, Field, List, complete, defaults, parse
from tools import configuration_doc as doc

ROLES = tuple(doc.SCHEMAS)
PLATFORMS = ("rp2", "esp32", "linux")
SECRET = "open5esame"
SECRET_NUMBER = 73550817

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
# What is right somewhere, and so nearly right everywhere.
_words = st.sampled_from(
    [
        *(0, 1, 2, 15, 16, 23, 26, 27, 28, 34, 90, 180, 400, 1000, 2600, 8000, 8388, 65_535),
        *("", "a", "LED", "GP16", "GPIO26", "GP27", "stay", "down", "all", "GB", "lane-3", "x" * 33),
        *("192.168.1.5", "192.168.1.5/24", "hub:8081", ":8081", "12345678", "ä" * 16, "\ud800"),
    ]
)


def inputs(field: Any) -> st.SearchStrategy[Any]:
    """Values for a field or a schema, of which many are right."""
    if isinstance(field, dict):
        known = st.fixed_dictionaries({}, optional={name: inputs(inner) for name, inner in field.items()})
        return known | known | known | _json
    if isinstance(field, List):
        return st.lists(inputs(field.entry), max_size=4) | _json
    return st.just(field.default) | _words | _json


def secrets_in(field: Any) -> st.SearchStrategy[Any]:
    """Values in which every secret setting holds SECRET, as it is or in some wrong form."""
    if isinstance(field, dict):
        return st.fixed_dictionaries({}, optional={name: secrets_in(inner) for name, inner in field.items()})
    if isinstance(field, List):
        return st.lists(secrets_in(field.entry), min_size=1, max_size=4)
    if field.secret:
        return st.sampled_from(
            [
                SECRET,
                SECRET * 9,
                SECRET_NUMBER,
                [SECRET],
                {SECRET: SECRET},
                {"word": SECRET},
                f"{SECRET}\ud800",
            ]
        )
    return st.just(field.default) | _words


def fault_of(function: Any, *args: Any) -> ConfigError | None:
    try:
        function(*args)
    except ConfigError as error:
        return error
    return None


def test_any_value_is_refused_or_read() -> None:
    taken = dict.fromkeys(ROLES, 0)

    @given(st.sampled_from(ROLES).flatmap(lambda role: st.tuples(st.just(role), inputs(doc.SCHEMAS[role]))))
    def check(case: tuple[str, Any]) -> None:
        role, value = case
        for platform in PLATFORMS:
            before = json.dumps(value)
            error = fault_of(doc.READ[role], value, platform)
            if error is not None:
                assert "\n" not in str(error)
                assert len(str(error)) < 400
                continue
            taken[role] += 1
            config = doc.READ[role](value, platform)
            assert doc.READ[role](config, platform) == config
            assert parse(json.dumps(config, ensure_ascii=False).encode()) == config
            assert json.dumps(value) == before
            assert config.keys() == doc.SCHEMAS[role].keys()

    check()
    assert min(taken.values()) > 0, "the property has said nothing of what is right"


@given(st.sampled_from(ROLES).flatmap(lambda role: st.tuples(st.just(role), secrets_in(doc.SCHEMAS[role]))))
def test_no_fault_says_a_secret(case: tuple[str, Any]) -> None:
    role, value = case
    error = fault_of(doc.READ[role], value, "rp2")
    shown = f"{error} {error!r} {error.path if error else ''}"
    assert str(SECRET_NUMBER) not in shown
    assert SECRET not in shown


@pytest.mark.parametrize("role", ROLES)
def test_every_password_and_key_is_secret(role: str) -> None:
    fields = dict(doc.settings(doc.SCHEMAS[role]))
    secret = {path for path, field in fields.items() if field.secret}
    assert secret == {path for path in fields if path.rpartition(".")[2] in ("password", "key")}
    assert len(secret) == 2


def test_half_a_character_is_in_no_text() -> None:
    for path, value in (("ssid", "lane\ud800"), ("password", "12345678\ud800")):
        error = fault_of(doc.READ["target"], {"wifi": {"networks": [{path: value}]}}, "rp2")
        assert error is not None
        assert error.path == f"wifi.networks[0].{path}"


@given(st.binary(max_size=60) | _json.map(lambda value: json.dumps(value, ensure_ascii=True).encode()))
def test_any_bytes_are_refused_or_an_object(data: bytes) -> None:
    error = fault_of(parse, data)
    if error is None:
        assert type(parse(data)) is dict
    else:
        assert error.path == ""
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("data", "line"), [(b'{\n"a": 1,\n"b" 2\n}', 3), (b"", 1), (b"{\n\n", 3)], ids=["colon", "empty", "end"]
)
def test_where_json_breaks_is_said(data: bytes, line: int) -> None:
    assert str(fault_of(parse, data)) == f"not JSON: see line {line}"


def test_the_fault_in_json_says_nothing_of_the_text() -> None:
    for end in ("", "\\", '\\q"', '"x', '"]'):
        error = fault_of(parse, f'{{"password": "{SECRET}{end}'.encode())
        assert error is not None
        assert SECRET not in str(error)
        assert error.__suppress_context__


def test_the_whole_of_a_large_configuration_fits_a_file() -> None:
    """Eight networks with the longest of everything, as a person indents it."""
    networks = [
        {
            "ssid": "s" * 32,
            "password": "p" * 63,
            "address": "192.168.100.100/24",
            "gateway": "192.168.100.101",
            "dns": "192.168.100.102",
        }
    ] * 8
    given = {
        **defaults(doc.SCHEMAS["target"]),
        "target_id": "t" * 32,
        "groups": ["g" * 32] * 8,
        "hub": ["h" * 64] * 4,
        "key": "k" * 32 + ":" + "0" * 64,
        "wifi": {"hostname": "n" * 32, "country": "GB", "networks": networks},
    }
    text = json.dumps(given, indent=2)
    assert len(text) < MAX_BYTES
    assert doc.READ["target"](parse(text.encode()), "rp2") == given


def test_a_path_in_front() -> None:
    error = fault_of(complete, doc.SCHEMAS["target"], {"servo": {"pin": -1}}, "board[2]")
    assert error is not None
    assert error.path == "board[2].servo.pin"


# --- the page


@pytest.mark.parametrize("role", ROLES)
def test_each_setting_has_a_meaning_and_no_meaning_is_left_over(role: str) -> None:
    paths = [path for path, _ in doc.settings(doc.SCHEMAS[role])]
    assert len(paths) == len(set(paths))
    assert set(doc.MEANINGS[role]) == set(paths)
    assert all(doc.MEANINGS[role].values())


def test_the_page_is_current() -> None:
    assert doc.PAGE.read_text(encoding="utf-8") == doc.page(), "python -m tools.configuration_doc"


def test_a_change_of_the_schema_makes_the_page_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    field = doc.SCHEMAS["target"]["safe_pose"]
    monkeypatch.setattr(field, "default", "stay")
    assert doc.page() != doc.PAGE.read_text(encoding="utf-8")
    monkeypatch.undo()
    monkeypatch.setitem(doc.SCHEMAS["target"], "unsaid", field)
    with pytest.raises(KeyError, match="unsaid"):
        doc.page()


def test_check_and_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doc, "ROOT", tmp_path)
    monkeypatch.setattr(doc, "PAGE", tmp_path / "configuration.md")
    assert doc.main(["--check"]) == 1
    assert "python -m tools.configuration_doc" in capsys.readouterr().err
    assert not doc.PAGE.exists()
    assert doc.main([]) == 0
    assert doc.main(["--check"]) == 0
    doc.PAGE.write_text("old", encoding="utf-8")
    assert doc.main(["--check"]) == 1
    assert doc.PAGE.read_text(encoding="utf-8") == "old"
    assert doc.main(["--chek"]) == 2
    assert "usage" in capsys.readouterr().err


def rows() -> Iterator[list[str]]:
    for line in doc.page().partition("\n## Limits\n")[0].splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_each_setting_is_a_row_with_its_default() -> None:
    expected = [
        (f"`{path}`", f"`{json.dumps(field.default)}`")
        for role in ROLES
        for path, field in doc.settings(doc.SCHEMAS[role])
    ]
    found = list(rows())
    assert all(len(row) == 4 for row in found)
    assert [(row[0], row[2]) for row in found] == expected


def test_each_limit_is_a_row_with_its_defaults() -> None:
    board: dict[str, Any] = {**master.SCHEMA, **master.LIMITS}
    for name, field in LIMITS.items():
        there = board[name].default if name in board else "none"
        row = f"| `{name}` | {field.expects()} | {field.default} | {there} |"
        assert row in doc.page()
    assert set(master.LIMITS) <= set(LIMITS)


def test_the_examples_on_the_page_are_valid() -> None:
    blocks = re.findall(r"^```json\n(.*?)^```$", doc.page(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == len(doc.EXAMPLES)
    for block, example in zip(blocks, doc.EXAMPLES, strict=True):
        given = parse(block.encode())
        assert given == example.config
        doc.READ[example.role](given, example.platform)


def test_the_esp32s_example_needs_no_pin_of_another_board() -> None:
    example = next(example for example in doc.EXAMPLES if example.platform == "esp32")
    config = doc.READ[example.role](example.config, example.platform)
    assert 32 <= config["piezo"]["pin"] <= 39
    assert type(config["led"]["pin"]) is int


def test_a_field_says_what_it_expects() -> None:
    for role in ROLES:
        for _, field in doc.settings(doc.SCHEMAS[role]):
            assert isinstance(field, Field)
            assert field.expects()
    with pytest.raises(NotImplementedError):
        Field(0).expects()
