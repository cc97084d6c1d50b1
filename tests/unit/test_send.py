"""What `snyper send` makes of its arguments."""

import pytest
import typer

from snyper.cli.send_command import parse, value_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-2.5", -2.5),
        ("true", True),
        ("null", None),
        ('"1"', "1"),
        ("[1,2]", [1, 2]),
        ('{"a":{"b":[]}}', {"a": {"b": []}}),
        ("left", "left"),
        ("", ""),
        ("a=b", "a=b"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("[1,", "[1,"),
        ("01", "01"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_a_value_is_json_or_text(text: str, value: object) -> None:
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


def test_targets_come_first_then_the_command() -> None:
    assert parse(["a", "group:b", "dance", "n=1", "how=well"]) == (
        ["a", "group:b"],
        "dance",
        {"n": 1, "how": "well"},
    )
    assert parse(["all", "ping"]) == (["all"], "ping", {})


@pytest.mark.parametrize(
    "words",
    [
        ["dancer"],
        ["dance", "steps=1"],
        ["dancer", "dance", "steps=1", "more"],
        ["dancer", "dance", "steps=1", "steps=2"],
        ["dancer", "dance", "=1"],
        ["dancer", "dance", "timeout_ms=5"],
        ["dancer", "reply"],
        ["dancer", "EVENT"],
        ["danc?r", "dance"],
        ["dancer", "dance!"],
        ["dancer", "dance", f"n={1 << 53}"],
        ["dancer", "dance", "text=" + "x" * 4_096],
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_what_cannot_be_sent_is_wrong_usage(words: list[str]) -> None:
    with pytest.raises(typer.BadParameter):
        parse(words)
