"""Retention as people write it, in TOML. Pure.

days = 30
picture_days = 14
max_picture_gb = 50

[[rule]]
camera = "lane"
class = "person"
days = 7
"""

import math
from collections.abc import Mapping

from snyper.cameras.grants import check_is_one
from snyper.cameras.records import MAX_NAME_CHARS
from snyper.cameras.retention import Retention, RetentionRule
from snyper.cameras.tables import check_known, read_tables

FILE = "retention.toml"
MAX_DAYS = 36_500
MAX_GB = 1_000_000
MAX_RULES = 100
_GB = 1e9
_AGES = ("days", "picture_days")


def read_retention(text: str) -> Retention:
    """Read a retention; what it leaves out is as Retention has it. Raises ValueError with what is wrong, of a
    field that is not known too.
    """
    table = read_tables(text)
    check_known(table, (*_AGES, "log_days", "max_picture_gb", "min_free_gb", "rule"), "the file")
    usual = Retention()
    days, picture_days = _ages(table, usual.days, "the file")
    rules = table.get("rule", [])
    if not isinstance(rules, list) or len(rules) > MAX_RULES:
        raise ValueError(f"there are up to {MAX_RULES} rules, each below a line [[rule]]")
    most_gb = _number(table, "max_picture_gb", math.inf, MAX_GB, "the file")
    return Retention(
        days,
        picture_days,
        _number(table, "log_days", usual.log_days, MAX_DAYS, "the file"),
        tuple(_rule(rule, days, f"rule {number}") for number, rule in enumerate(rules, 1)),
        None if most_gb == math.inf else int(most_gb * _GB),
        int(_number(table, "min_free_gb", usual.min_free_bytes / _GB, MAX_GB, "the file") * _GB),
    )


def _rule(given: object, usual_days: float, where: str) -> RetentionRule:
    if not isinstance(given, Mapping):
        raise ValueError(f"{where} is no table: write [[rule]]")
    check_known(given, ("camera", "class", *_AGES), where)
    camera, class_name = _text(given, "camera", where), _text(given, "class", where)
    if camera is None and class_name is None:
        raise ValueError(f"{where} names neither a camera nor a class")
    if camera is not None:
        check_is_one(camera, f"camera of {where}")
    if not given.keys() & set(_AGES):
        raise ValueError(f"{where} has neither days nor picture_days")
    return RetentionRule(*_ages(given, usual_days, where), camera, class_name)


def _ages(table: Mapping[str, object], usual_days: float, where: str) -> tuple[float, float]:
    """Return how long records are kept, and their pictures: by default as long."""
    days = _number(table, "days", usual_days, MAX_DAYS, where)
    picture_days = _number(table, "picture_days", days, MAX_DAYS, where)
    if picture_days > days:
        raise ValueError(f"picture_days of {where} is more than its days: a picture goes with its record")
    return days, picture_days


def _number(table: Mapping[str, object], name: str, usual: float, most: float, where: str) -> float:
    if name not in table:
        return usual
    given = table[name]
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= most:
        raise ValueError(f"{name} of {where} is a number from 0 to {most:,}, not {given!r}")
    return float(given)


def _text(table: Mapping[str, object], name: str, where: str) -> str | None:
    given = table.get(name)
    if name in table and not (isinstance(given, str) and 0 < len(given) <= MAX_NAME_CHARS):
        raise ValueError(f"{name} of {where} is a text of 1 to {MAX_NAME_CHARS} characters")
    return given if isinstance(given, str) else None
