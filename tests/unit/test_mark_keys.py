"""What marks are made of keys."""

import pytest

from snyper.cli.mark_keys import Typing
from snyper.client.labels import mark_name


@pytest.mark.parametrize(
    ("pieces", "marks", "shown"),
    [
        (("m",), ["m"], ""),
        (("1", "2", "m"), ["1", "2", "m"], ""),
        (("12",), ["1", "2"], ""),
        (("\n", "door", "\n"), ["door"], ""),
        (("\rdoor open\r7",), ["door open", "7"], ""),
        (("\n", "dor", "\x7f", "or"), [], "mark: door_"),
        (("\n", "door", "\x1b", "m"), ["m"], ""),
        (("\n", "\n", "m"), ["m"], ""),
        (("\n  \n",), [], ""),
        (("\n\x7f\x7fa\n",), ["a"], ""),
        (("\x1b[A", "\x1bOP", " ", "-", "\t", "\x04", "\x00"), [], ""),
        (("ü", "\nTür\x02 \x07auf\n"), ["ü", "Tür auf"], ""),
    ],
)
def test_keys_and_names(pieces: tuple[str, ...], marks: list[str], shown: str) -> None:
    found: list[str] = []
    lines: list[str] = []
    typing = Typing(found.append, lines.append)
    for piece in pieces:
        typing.take(piece)
    assert (found, typing.shown()) == (marks, shown)
    assert not lines or lines[-1] == shown


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("door", "door"),
        ("  a\x1b[31mb\x00 ", "a[31mb"),
        ("ä" * 30, "ä" * 24),
        ("a" * 49, "a" * 48),
        (" \t", ""),
    ],
)
def test_the_name_of_what_is_typed(text: str, name: str) -> None:
    assert mark_name(text) == name
