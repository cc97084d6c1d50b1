"""For how long cameras may be silent: their intervals, grace, sleep."""

from datetime import UTC, datetime

import pytest

from snyper.cameras.records import CameraSettings
from snyper.cameras.silence import (
    FIRST_S,
    LEAST_S,
    MAX_KNOWN,
    MOST_S,
    Expectation,
    Intervals,
    read_expectations,
)
from snyper.gateway.camera_settings import changed_settings


def test_three_intervals() -> None:
    intervals = Intervals()
    assert intervals.hear("a", 0.0) == FIRST_S
    assert intervals.hear("a", 10.0) == 30.0
    assert intervals.hear("b", 10.0) == FIRST_S
    for time_s in (20.0, 20.1, 20.2, 30.2):  # some at once are one
        silence_s = intervals.hear("a", time_s)
    assert silence_s == 30.0


def test_an_interval_that_is_known() -> None:
    intervals = Intervals()
    assert [intervals.hear("a", time_s, 7.0) for time_s in (0.0, 1.0, 2.0)] == [21.0] * 3
    assert intervals.hear("a", 3.0) == FIRST_S


def test_one_long_gap_changes_nothing() -> None:
    intervals = Intervals()
    for time_s in (0.0, 10.0, 20.0, 30.0, 1_000.0):
        silence_s = intervals.hear("a", time_s)
    assert silence_s == 30.0
    for number in range(1, 4):
        silence_s = intervals.hear("a", 1_000.0 + 100.0 * number)
    assert silence_s == 300.0


def test_bounds() -> None:
    intervals = Intervals()
    for time_s in (0.0, 1.0, 2.0):
        assert intervals.hear("a", time_s) >= LEAST_S
    assert [intervals.hear("b", time_s) for time_s in (0.0, 1e9)] == [FIRST_S, MOST_S]
    for number in range(2 * MAX_KNOWN):
        intervals.hear(str(number), float(number))
    assert len(intervals._heard) == MAX_KNOWN
    assert intervals.hear("a", 1e9) == FIRST_S


@pytest.mark.parametrize(
    ("span", "asleep", "awake"),
    [
        ("22:00-06:00", ("22:00", "23:59", "00:00", "05:59"), ("21:59", "06:00", "12:00")),
        ("12:00-13:30", ("12:00", "13:29"), ("11:59", "13:30", "00:00")),
        ("00:00-00:00", ("00:00", "12:00"), ()),
    ],
)
def test_sleep(span: str, asleep: tuple[str, ...], awake: tuple[str, ...]) -> None:
    [expected] = read_expectations(f'[a]\ngrace_s = 2.5\ninterval_s = 10\nasleep = ["{span}"]').values()
    assert (expected.grace_s, expected.interval_s) == (2.5, 10.0)
    for text in (*asleep, *awake):
        until = expected.asleep_until(datetime.fromisoformat(f"2026-03-29T{text}"))
        assert (until is not None) == (text in asleep), text


def test_nothing_is_expected_by_default() -> None:
    assert read_expectations("") == {}
    assert read_expectations('["camera 1"]') == {"camera 1": Expectation()}
    assert Expectation().asleep_until(datetime(2026, 1, 1)) is None


def test_a_file_may_name_as_long_a_time_as_a_request() -> None:
    [expected] = read_expectations("[a]\ninterval_s = 604800\ngrace_s = 604800").values()
    body = {"interval_s": expected.interval_s, "grace_s": expected.grace_s}
    settings = changed_settings(CameraSettings(), body, UTC)
    assert (settings.interval_s, settings.grace_s) == (604_800, 604_800)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a", "no TOML"),
        ("a = 1", "no table"),
        ("[a]\ngrace = 1", "'grace'"),
        ("[a]\ngrace_s = true", "grace_s"),
        ("[a]\ngrace_s = -1", "grace_s"),
        ("[a]\ngrace_s = nan", "grace_s"),
        ("[a]\ninterval_s = 604801", "up to 604,800"),
        ("[a]\ninterval_s = 1e9", "interval_s"),
        ('[a]\nasleep = "22:00-06:00"', "a list"),
        ('[a]\nasleep = ["22-6"]', "parts of a day"),
        ('[a]\nasleep = ["24:00-06:00"]', "parts of a day"),
        ("[a]\nasleep = [7]", "parts of a day"),
        ('["gate/*"]\ngrace_s = 1', "the id of one camera"),
    ],
)
def test_what_is_no_expectation(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_expectations(text)
