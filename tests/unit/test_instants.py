"""Instants as people write them, in the time zones that they live in."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest

from snyper.cli.history_commands import _since_ms
from snyper.client.instants import parse
from snyper.system.text import span

NOW = datetime(2026, 3, 1, 18, 29, 40).astimezone()
Live = Callable[[str], None]


@pytest.fixture
def live_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    """Sets the time zone of this process, for the test."""

    def live(zone: str) -> None:
        try:
            ZoneInfo(zone)
        except ZoneInfoNotFoundError:
            pytest.skip("no time zones here")
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield live
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("18:30", datetime(2026, 3, 1, 18, 30).astimezone()),
        ("18:30:00", datetime(2026, 3, 1, 18, 30).astimezone()),
        ("18:29:40.5", datetime(2026, 3, 1, 18, 29, 40, 500_000).astimezone()),
        ("123456789us", 123_456_789),
    ],
)
def test_an_instant(text: str, at: datetime | int) -> None:
    assert parse(text, NOW) == at


def test_just_after_midnight_is_tomorrow() -> None:
    now = datetime(2026, 2, 28, 23, 59, 50).astimezone()
    assert parse("00:00:10", now) == now + timedelta(seconds=20)


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


# --- where the clocks change


@pytest.mark.parametrize(
    ("zone", "now", "text", "ahead_s"),
    [
        ("Europe/Berlin", "2026-03-29 00:59:55", "03:00:02", 7),  # 01:59:55, and 02:00 is 03:00
        ("Europe/Berlin", "2026-10-25 00:30:00", "02:30:08", 8),  # the first 02:30
        ("Europe/Berlin", "2026-10-25 01:30:00", "02:30:08", 8),  # the second
        ("Europe/Berlin", "2026-10-25 00:59:58", "02:00:03", 5),  # out of the first into the second
        ("Europe/Berlin", "2026-10-25 01:59:58", "03:00:03", 5),
        ("America/New_York", "2026-11-01 05:59:59", "01:00:01", 2),
        ("Australia/Lord_Howe", "2026-10-03 15:29:58", "02:30:02", 4),  # half an hour forward
        ("Australia/Lord_Howe", "2026-04-04 14:59:58", "01:30:02", 4),  # and back
        ("Asia/Kathmandu", "2026-06-01 18:14:58", "00:00:02", 4),  # 5:45 h ahead of UTC
        ("Africa/Cairo", "2026-10-29 20:59:58", "23:00:03", 5),  # back over midnight
        ("America/St_Johns", "2006-10-29 02:30:58", "23:01:03", 5),  # back into yesterday
        ("UTC", "2026-03-29 00:59:55", "01:00:02", 7),
    ],
)
def test_the_next_such_instant(live_in: Live, zone: str, now: str, text: str, ahead_s: int) -> None:
    live_in(zone)
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert parse(text, at) == at + timedelta(seconds=ahead_s)


@pytest.mark.parametrize(
    ("zone", "now", "text"),
    [
        ("Europe/Berlin", "2026-03-29 00:59:55", "02:00:02"),
        ("Europe/Berlin", "2026-03-29 00:59:55", "02:30"),
        ("Australia/Lord_Howe", "2026-10-03 15:29:58", "02:00:02"),
        ("Africa/Cairo", "2026-04-23 21:59:58", "00:00:03"),  # tomorrow begins at 01:00
    ],
)
def test_what_the_clocks_go_over_is_said(live_in: Live, zone: str, now: str, text: str) -> None:
    live_in(zone)
    with pytest.raises(ValueError, match=f"there is no {text} on .*: the clocks go forward over it"):
        parse(text, datetime.fromisoformat(now).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("now", "text", "words"),
    [
        ("2026-10-25 00:31:00", "02:30", "in 59 min"),  # the second is to come
        ("2026-10-25 01:31:00", "02:30", "60.0 s ago"),  # both are over
        ("2026-03-29 01:00:01", "01:59:59", "2.0 s ago"),
    ],
)
def test_what_is_out_of_reach_as_the_clocks_change(live_in: Live, now: str, text: str, words: str) -> None:
    live_in("Europe/Berlin")
    with pytest.raises(ValueError, match=words):
        parse(text, datetime.fromisoformat(now).replace(tzinfo=UTC))


def test_so_many_hours_back_are_hours_that_have_passed(live_in: Live) -> None:
    live_in("Europe/Berlin")
    for text, hours in (("90m", 1.5), ("12h", 12), ("7d", 168), ("13w", 2184), ("26w", 4368)):
        since_ms = _since_ms(text)
        assert since_ms is not None
        assert abs(time.time() - hours * 3600 - since_ms / 1000) < 5, text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((2.35, "2.4 s"), (119, "119.0 s"), (3_000, "50 min"), (17_800.3, "4 h 57 min")),
        *((100_000, "27 h 47 min"), (3 * 86_400 - 1, "3 d 0 h"), (1e8, "1,157 d 10 h")),
    ],
)
def test_a_span_has_the_units_that_matter(seconds: float, words: str) -> None:
    assert span(seconds) == words
