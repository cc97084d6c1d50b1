"""Plates as they are folded and compared."""

import pytest
from hypothesis import given, strategies as st

from snyper.cameras.plates import (
    MAX_PLATE_CHARS,
    fold,
    fold_alike,
    is_similar,
    longest_literal,
    parse_pattern,
)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("abc 12-34", "ABC1234"),
        ("กข 1234 กรุงเทพมหานคร", "กข1234กรุงเทพมหานคร"),
        ("ที่ น้ำ", "ที่น้ำ"),  # with the marks above
        ("AB–12", "AB12"),  # an en dash
        ("straße", "STRASSE"),
        ("\u0041\u0308", "Ä"),  # two characters, or one
        ("\x00A\u200b1", "A1"),
        ("- -", ""),
    ],
)
def test_what_plates_are_compared_by(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(st.text(max_size=300))
def test_folding_again_changes_nothing(text: str) -> None:
    folded = fold(text)
    assert len(folded) <= MAX_PLATE_CHARS
    assert fold(folded) == folded


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("abc-1234", ["ABC1234"], ["ABC12345", "ABC123"]),
        ("AB?12*", ["ABC12", "ABX1299"], ["AB12", "XABC12"]),
        ("*1234*", ["กข1234", "1234"], ["123"]),
        ("A[B*", ["A[BC"], ["AB"]),
        ("~1ABC1234", ["ABC1234", "ABC1Z34", "ABC124", "ABCC1234", "A8C1234"], ["ABC12", "XYC1234"]),
        ("0BI~1", ["OB1", "O81", "08", "O8I4"], ["OXX"]),
    ],
)
def test_a_pattern_means_these(pattern: str, matching: list[str], others: list[str]) -> None:
    found = parse_pattern(pattern)
    assert [plate for plate in matching + others if found.matches(plate)] == matching


def distance(one: str, other: str) -> int:
    """Return how many letters have to change, by the book."""
    row = list(range(len(other) + 1))
    for at, a in enumerate(one):
        row, last = [at + 1], row
        for to, b in enumerate(other):
            row.append(min(row[-1] + 1, last[to + 1] + 1, last[to] + (a != b)))
    return row[-1]


@given(st.text("ABO018I", max_size=7), st.text("ABO018I", max_size=7))
def test_similar_is_one_letter(one: str, other: str) -> None:
    assert is_similar(one, other) == (distance(fold_alike(one), fold_alike(other)) <= 1)


def test_the_longest_text_without_wildcards() -> None:
    assert [longest_literal(text) for text in ("*", "ABC*", "A?BCD*", "", "AB[CD]*")] == [0, 3, 3, 0, 3]
