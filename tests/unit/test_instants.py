"""Instants as people write them."""

from datetime import datetime

import pytest

from snyper.instants import parse

NOW = datetime(2026, 3, 1, 18, 29, 40)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("18:30", datetime(2026, 3, 1, 18, 30)),
        ("18:30:00", datetime(2026, 3, 1, 18, 30)),
        ("18:29:40.5", datetime(2026, 3, 1, 18, 29, 40, 500_000)),
        ("123456789us", 123_456_789),
    ],
)
def test_an_instant(text: str, at: datetime | int) -> None:
    assert parse(text, NOW) == at


def test_just_after_midnight_is_tomorrow() -> None:
    assert parse("00:00:10", datetime(2026, 2, 28, 23, 59, 50)) == datetime(2026, 3, 1, 0, 0, 10)


@pytest.mark.parametrize(
    "text", ["", "soon", "25:00", "18", "12.5us", "-5us", "us", f"{1 << 53}us", "18:30:61"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no instant"):
        parse(text, NOW)


def test_what_is_over_or_too_far() -> None:
    with pytest.raises(ValueError, match=r"18:29 was 40\.0 s ago"):
        parse("18:29", NOW)
    with pytest.raises(ValueError, match="in 20 min: at most 60 s ahead"):
        parse("18:50", NOW)
