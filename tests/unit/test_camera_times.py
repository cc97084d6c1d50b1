"""Stamps as cameras send them, days of a zone, pictures that do not change."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from snyper.cameras.still import SAME_PICTURES, StillPictures
from snyper.cameras.times import bound_of, day_bounds, day_of, hour_of, iso, seconds_of, why_none, zone_named
from snyper.cameras.zones import Zones

BANGKOK, BERLIN = ZoneInfo("Asia/Bangkok"), ZoneInfo("Europe/Berlin")
TEN_S = datetime(2024, 12, 19, 10, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2024-12-19T10:00:00Z", TEN_S),
        ("2024-12-19T17:00:00+07:00", TEN_S),
        ("2024-12-19T17:00:00", TEN_S),
        ("2024-12-19 17:00:00.250", TEN_S + 0.25),
        ("2024-12-19T10:00:00.123456789Z", TEN_S + 0.123456),
        (" 2024-12-19T10:00:00Z\n", TEN_S),
        ("", None),
        ("yesterday", None),
        ("1734602400", None),
        ("0001-01-01T00:00:00", None),
        ("9999-12-31T23:59:59-23:59", None),
        ("2024-02-30T00:00:00Z", None),
        ("2024-12-19T10:00:00Z" + "0" * 100_000, None),
    ],
)
def test_a_stamp_means_this(stamp: str, expected: float | None) -> None:
    assert seconds_of(stamp, BANGKOK) == expected


@pytest.mark.parametrize(
    ("stamp", "why"),
    [
        ("yesterday", "is no ISO 8601"),
        ("2024-12-19T10:00:00Z" + " " * 64, "is no ISO 8601"),
        ("2024-02-30T00:00:00Z", "is no ISO 8601"),
        ("0001-01-01T00:00:00+14:00", "is before 1970"),
        ("1969-12-31T23:59:59Z", "is before 1970"),
        ("1970-01-01T00:00:00+07:00", "is before 1970"),
        ("9999-12-31T23:59:59Z", "is at the end of the calendar, in 9999"),
        ("9999-12-31T23:59:59-23:59", "is at the end of the calendar, in 9999"),
    ],
)
def test_a_stamp_that_means_nothing_says_why(stamp: str, why: str) -> None:
    assert (seconds_of(stamp, UTC), why_none(stamp)) == (None, why)


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2024-12-19", "2024-12-18T17:00:00.000Z"),
        ("2024-12-19T17:00:00", "2024-12-19T10:00:00.000Z"),
        ("0001-01-01", "1970-01-01T00:00:00.000Z"),
        ("1970-01-01", "1970-01-01T00:00:00.000Z"),
        ("9999-12-31", "9999-12-30T17:00:00.000Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T00:00:00.000Z"),
        ("yesterday", None),
    ],
)
def test_an_end_of_a_span_is_this(stamp: str, expected: str | None) -> None:
    found = bound_of(stamp, BANGKOK)
    assert (None if found is None else iso(found)) == expected


@given(st.text(max_size=80))
def test_no_stamp_does_harm(stamp: str) -> None:
    seconds = seconds_of(stamp, BERLIN)
    if seconds is not None:
        assert seconds_of(iso(seconds), BANGKOK) == pytest.approx(seconds, abs=0.001)
        day_of(seconds, BERLIN)


def test_an_hour_that_is_there_twice_or_not_at_all() -> None:
    assert seconds_of("2026-10-25T02:30:00", BERLIN) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
    assert seconds_of("2026-03-29T02:30:00", BERLIN) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC).timestamp()


def test_of_an_hour_that_is_there_twice_the_nearer_is_meant() -> None:
    """Or what comes in the second would be an hour late for all rules."""
    first_s, stamp = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp(), "2026-10-25T02:30:00"
    for after_s, expected_s in (
        (-60, 0),
        (2, 0),
        (1_790, 0),
        (1_810, 3_600),
        (3_602, 3_600),
        (90_000, 3_600),
    ):
        assert seconds_of(stamp, BERLIN, first_s + after_s) == first_s + expected_s
    assert seconds_of(f"{stamp}+02:00", BERLIN, first_s + 3_600) == first_s
    spring_s = datetime(2026, 3, 29, 1, 30, tzinfo=UTC).timestamp()  # of a clock that was not set
    assert seconds_of("2026-03-29T02:30:00", BERLIN, spring_s) == spring_s


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 6, 1), 24)])
def test_a_day_has_its_hours(day: tuple[int, int, int], hours: int) -> None:
    begin, end = day_bounds(date(*day), BERLIN)
    assert (end - begin) / 3600 == hours
    assert day_of(begin, BERLIN) == day_of(end - 0.001, BERLIN) == date(*day)
    assert day_of(begin - 0.001, BERLIN) != day_of(end, BERLIN) != date(*day)


@pytest.mark.parametrize("name", ["", "Nowhere", "../../etc/passwd", "/etc/passwd", "a\0b", "x" * 300])
def test_a_zone_that_is_none_is_said(name: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        zone_named(name)


def test_each_camera_has_its_zone() -> None:
    zones = Zones("Europe/Berlin", {"lane": "Asia/Bangkok"})
    assert (zones.of("lane"), zones.of("yard"), zones.zone) == (BANGKOK, BERLIN, BERLIN)


def test_a_picture_that_does_not_change_is_noticed() -> None:
    still = StillPictures()
    for _ in range(SAME_PICTURES):
        assert not still.is_still("lane")
        still.see("lane", "same")
    assert still.is_still("lane")
    still.see("lane", "other")
    assert not still.is_still("lane")


@pytest.mark.parametrize(
    ("zone", "stamp", "begin"),
    [
        ("UTC", "2026-12-01T10:59:59.9+00:00", "2026-12-01T10:00:00+00:00"),
        ("Asia/Kolkata", "2026-12-01T10:10:00+00:00", "2026-12-01T09:30:00+00:00"),
        ("Europe/Berlin", "2026-10-25T01:30:00+00:00", "2026-10-25T01:00:00+00:00"),  # the hour that is twice
        ("Australia/Lord_Howe", "2026-04-04T15:10:00+00:00", "2026-04-04T14:30:00+00:00"),  # the half hour
    ],
)
def test_when_an_hour_began(zone: str, stamp: str, begin: str) -> None:
    moment, expected = (datetime.fromisoformat(one).timestamp() for one in (stamp, begin))
    assert hour_of(moment, zone_named(zone)) == expected
