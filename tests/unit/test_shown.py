"""Arguments as a log shows them: short, harmless, nothing secret, at no cost for what is large."""

import itertools
import sys
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy
import pytest
from hypothesis import given, strategies as st

from snyper.services.shown import HIDDEN, MAX_CHARS, Shown, is_secret
from snyper.services.surface import Surface
from tests.unit.test_values import VALUES


def shown(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    surface = Surface()
    surface.add(function, "f" if function.__name__ == "<lambda>" else function.__name__)
    of = Shown(surface.find(surface.calls()[0]))
    note = of.note(args, kwargs)
    text = of.text(args, kwargs)
    assert (note if isinstance(note, str) else note()) == text
    return text


def anything(*args: Any, **options: Any) -> None:
    pass


SHOWN: list[tuple[object, str]] = [
    (None, "None"),
    (True, "True"),
    (20, "20"),
    (-2.5, "-2.5"),
    (1 - 2j, "(1-2j)"),
    ("µW", "'µW'"),
    ("\x1b[2J\r\n\u202e\ud800", r"'\x1b[2J\r\n\u202e\ud800'"),
    ("a" * 61, "'" + "a" * 60 + "'… of 61"),
    (b"raw\0", r"b'raw\x00'"),
    (bytearray(61), "<bytearray of 61>"),
    ([1, (2,), {3}], "[1, (2,), {3}]"),
    (list(range(1_000_000)), "[0, 1, 2, 3, 4, 5, … of 1,000,000]"),
    ({"a": 1, 2: None}, "{'a': 1, 2: None}"),
    (frozenset([1]), "frozenset({1})"),
    ([[[[[[]]]]]], "[[[[<list of 1>]]]]"),
    (1 << 10_000_000, "<int of 10,000,001 bits>"),
    (Decimal("1.50"), "1.50"),
    (Decimal("1" * 5_000), "<Decimal>"),
    (Decimal("1e999999"), "1E+999999"),
    (timedelta(seconds=90), "0:01:30"),
    (datetime(2025, 7, 25, tzinfo=UTC), "2025-07-25 00:00:00+00:00"),
    (numpy.float32(1.5), "1.5"),
    (numpy.datetime64("2025-07-25"), "2025-07-25"),
    (numpy.zeros((1_000, 2)), "<float64 array (1000, 2)>"),
    (numpy.zeros((), "u1"), "<uint8 array ()>"),
    (numpy.array(["x" * 1_000]), "<str32000 array (1,)>"),
    (numpy.zeros(3, [("a", "<f4")])[0], "<void32 array ()>"),
]


@pytest.mark.parametrize("at", range(len(SHOWN)))
def test_a_value(at: int) -> None:
    value, text = SHOWN[at]
    assert shown(anything, value) == text
    assert shown(anything, x=value) == f"x={text}"


def test_positional_and_named_ones() -> None:
    assert shown(anything) == ""
    assert shown(anything, 1, "a", samples=20) == "1, 'a', samples=20"
    assert shown(anything, *range(9)) == "0, 1, 2, 3, 4, 5, …"
    assert shown(anything, **{"no name\n": 1}) == r"'no name\n'=1"
    assert len(shown(anything, *["x" * 60] * 6)) == MAX_CHARS


@pytest.mark.parametrize(
    "name",
    [
        *("password", "Passwd", "db_password", "passphrase", "PWD", "secret", "client_secret", "token"),
        *("accessToken", "api_key", "apiKey", "APIKEY", "X-Api-Key", "key", "pin", "pin_code", "credentials"),
        *("authorization", "sessionCookie", "user_pw", "ＰＡＳＳＷＯＲＤ", b"password", "k" * 61),
    ],
)
def test_a_name_of_a_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["keyboard", "monkey", "samples", "range", "spin", "pins_down", "author", "x", 3]
)
def test_a_name_of_none(name: object) -> None:
    assert not is_secret(name)


def test_what_is_secret_is_not_shown() -> None:
    def login(user: str, password: str, *, retries: int = 1) -> None: ...

    assert shown(login, "eve", "hunter2") == "'eve', ***"
    assert shown(login, "eve", password="hunter2", retries=2) == "'eve', password=***, retries=2"
    assert shown(login, user="eve", token="hunter2") == "user='eve', token=***"

    def connect(*secrets: str, **credentials: str) -> None: ...

    assert shown(connect, "hunter2", a="hunter2") == "***, a=***"

    def set_api_key(value: str) -> None: ...

    assert shown(set_api_key, "hunter2") == "***"
    nested = {"user": "eve", "login": {"password": "hunter2"}, b"token": 1, "more": [{"pin": 1234}]}
    assert shown(anything, nested) == (
        "{'user': 'eve', 'login': {'password': ***}, b'token': ***, 'more': [{'pin': ***}]}"
    )


def test_a_property_s_own_name_counts() -> None:
    class Door:
        @property
        def pin(self) -> int:
            return 0

        @pin.setter
        def pin(self, value: int) -> None: ...

    surface = Surface()
    surface.add(Door(), "front_")
    assert Shown(surface.find("set_front_pin")).text((1234,), {}) == "***"


def test_no_secret_in_what_was_raised() -> None:
    def login(user: str, password: str, options: object = None) -> None: ...

    surface = Surface()
    surface.add(login)
    of = Shown(surface.find("login"))
    said = "ValueError: no hunter2 for eve, nor 12345 or 9"
    hidden = of.without_secrets(said, ("eve", "hunter2"), {"options": {"pin": 12345, "key": "9"}})
    assert hidden == "ValueError: no *** for eve, nor *** or 9"
    for secret in ("it's", 'it"s', "back\\slash", "two\nlines", b"\x00\xff\\", 1234.5):
        hidden = of.without_secrets(f"ValueError: no {secret!r}", ("eve", secret), {})
        assert hidden.replace(HIDDEN, "").strip("b'\"") == "ValueError: no "


def test_a_foreign_object_is_not_asked() -> None:
    class Stubborn:
        def __repr__(self) -> str:
            raise AssertionError

        __str__ = __len__ = __bool__ = __eq__ = __hash__ = __iter__ = __repr__  # type: ignore[assignment]

    assert shown(anything, Stubborn(), [Stubborn()], x={"a": Stubborn()}) == (
        "<Stubborn>, [<Stubborn>], x={'a': <Stubborn>}"
    )


def test_nothing_large_is_kept_alive() -> None:
    def f(value: Any, *more: Any) -> None: ...

    surface = Surface()
    surface.add(f)
    of = Shown(surface.find("f"))
    values: list[Any] = [numpy.zeros(1_000), {1, 2}]
    while values:
        gone = weakref.ref(values[-1])
        note = of.note((values.pop(),), {})
        assert gone() is None, note
    assert all(isinstance(of.note((one,), {}), str) for one in ("x" * 1_000, 1 << 1_000, [1], b"x"))
    assert not isinstance(of.note((1,), {}), str)


def test_what_is_large_costs_no_more_than_what_is_small() -> None:
    """In steps of Python's, not in time."""

    def steps(value: object) -> int:
        counted = itertools.count()
        sys.setprofile(lambda *_: next(counted) and None)
        try:
            of.text((value,), {})
        finally:
            sys.setprofile(None)
        return next(counted)

    surface = Surface()
    surface.add(anything)
    of = Shown(surface.find("anything"))
    deep: list[object] = []
    for _ in range(60):
        deep = [deep] * 10
    for large in (list(range(100_000)), dict.fromkeys(range(100_000)), "x" * 1_000_000, deep):
        assert steps(large) < 20_000


@given(st.lists(VALUES, max_size=3), st.dictionaries(st.text(), VALUES, max_size=3))
def test_any_values_make_a_short_harmless_line(args: list[Any], kwargs: dict[str, Any]) -> None:
    text = shown(anything, *args, **kwargs)
    assert len(text) <= MAX_CHARS
    assert text.isprintable()
