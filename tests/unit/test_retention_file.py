"""Retention as people write it."""

import pytest

from snyper.cameras.retention import Retention, RetentionRule
from snyper.cameras.retention_file import read_retention


def test_what_is_left_out_is_as_ever() -> None:
    assert read_retention("") == Retention()
    assert read_retention("days = 90") == Retention(days=90, picture_days=90)
    assert read_retention("picture_days = 7") == Retention(picture_days=7)


def test_all_of_it() -> None:
    text = """
    days = 365
    picture_days = 30.5
    log_days = 0
    max_picture_gb = 0.5
    min_free_gb = 2

    [[rule]]
    camera = "lane"
    class = "person"
    days = 7
    picture_days = 0

    [[rule]]
    class = "car"
    picture_days = 3
    """
    rules = RetentionRule(7, 0, "lane", "person"), RetentionRule(365, 3, None, "car")
    assert read_retention(text) == Retention(365, 30.5, 0, rules, 500_000_000, 2_000_000_000)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("day = 3", "the file has 'day'"),
        ("days = -1", "days of the file is a number from 0 to 36,500, not -1"),
        ("days = nan", "days of the file"),
        ("days = inf", "days of the file"),
        ("days = true", "days of the file"),
        ("days = '3'", "days of the file"),
        ("days = 7\npicture_days = 8", "picture_days of the file is more than its days"),
        ("picture_days = 31", "picture_days of the file is more than its days"),
        ("max_picture_gb = -1", "max_picture_gb"),
        ("max_picture_gb = inf", "max_picture_gb"),
        ("min_free_gb = 1e9", "min_free_gb"),
        ("log_days = []", "log_days"),
        ("rule = 3", "below a line"),
        ("rule = [3]", "rule 1 is no table"),
        ("[[rule]]\ndays = 1", "rule 1 names neither"),
        ("[[rule]]\ncamera = 'gate/*'\ndays = 1", "camera of rule 1 is the id of one camera"),
        ("[[rule]]\nclass = 'a'", "rule 1 has neither"),
        ("[[rule]]\ncamera = 'a'\ndays = 1\n[[rule]]\ncamera = ''", "camera of rule 2"),
        ("[[rule]]\nclass = 7", "class of rule 1"),
        ("[[rule]]\nclass = 'a'\nfor = 1", "rule 1 has 'for'"),
        ("[[rule]]\nclass = 'a'\ndays = 1\npicture_days = 2", "picture_days of rule 1"),
        ("[[rule]]\nclass = 'a'\n" * 101, "up to 100 rules"),
        ("not toml", "no TOML"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_retention(text)
