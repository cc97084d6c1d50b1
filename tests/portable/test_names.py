"""Names as people type them."""

from snyper.shared.names import INVISIBLE, normalised, visible
from snyper.shared.runtime import MICROPYTHON

HIDDEN = (
    "\x00\x1b\n\t\x7f\x85\x9b\u00ad\u034f\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028\u2029\u202a\u202e"
    "\u2060\u2066\u2069\u206f\u2800\u3164\ufeff\uffa0\ufff9\U000e0001\U000e0041"
)
# Persian with the sign that keeps two letters apart, a family, a burning heart in colour, a character of
# Japanese in one of its forms.
WHOLE = (
    "Ann",
    "Zo\u00eb \U0001f3af",
    "\u0645\u062d\u0645\u062f",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "\u2764\ufe0f\u200d\U0001f525",
    "\u845b\U000e0100",
    "\u0928\u094d\u200d\u092f",
    "[bold]x[/]",
    "\ue000",
)


def test_the_ranges_are_in_order_and_apart() -> None:
    before = -1
    for first, last in INVISIBLE:
        assert before < first <= last
        before = last


def test_what_is_seen_stays() -> None:
    for name in WHOLE:
        assert visible(name) == name
        assert normalised(name) == name


def test_what_is_not_seen_goes() -> None:
    for char in HIDDEN:
        for name in (
            "A" + char + "nn",
            char + "Ann",
            "Ann" + char,
            "A" + char * 3 + "nn",
            "Ann\u0301" + char,
        ):
            assert visible(name) == name.replace(char, ""), (ord(char), name)
        assert visible(char) == ""


def test_what_joins_goes_where_there_is_nothing_to_join() -> None:
    for joiner in ("\u200c", "\u200d", "\ufe0f", "\U000e0100"):
        for name in (joiner + "Ann", "A" + joiner + "nn", "Zo\u00eb" + joiner, joiner):
            assert visible(name) == name.replace(joiner, "")
    for name in ("\u0645\u200c", "\u0645\u200c\u200c\u062e", "\u2764\ufe0f\ufe0f"):
        assert len(visible(name)) == len(name) - 1


def test_blanks() -> None:
    for name in (" Ann Lee", "Ann Lee ", "  Ann   Lee  ", "\u3000Ann\u00a0Lee\u2003", "Ann\u202f \u1680Lee"):
        assert normalised(name) == "Ann Lee"
    for name in ("", " ", "\u2003\u00a0"):
        assert normalised(name) == ""
    assert normalised("Ann\n") == "Ann\n"  # that is no blank


def test_a_composed_name_and_a_decomposed_one_are_one_on_a_computer() -> None:
    apart = "Zoe\u0308"
    assert normalised(apart) == (apart if MICROPYTHON else "Zo\u00eb")
    assert normalised("Zo\u00eb") == "Zo\u00eb"
