"""Buttons: what bounces is one press, and what is held is held."""

from snyper.firmware.master.buttons import HELD, HOLD_MS, PRESSED, Button

LOOK_MS = 20


def events(looks: str) -> "list[tuple[int, str]]":
    """What a button says, with the look at which it does; `looks` are its contacts: x closed, . open."""
    button = Button()
    found = []
    for at, contact in enumerate(looks):
        event = button.look(contact == "x", at * LOOK_MS)
        if event:
            found.append((at, event))
    return found


def test_a_press_counts_once_and_on_the_way_down() -> None:
    assert events("....") == []
    assert events("..xxxx..") == [(3, PRESSED)]
    assert events("..xx....xx..") == [(3, PRESSED), (9, PRESSED)]


def test_contacts_that_bounce_press_once() -> None:
    assert events("..x.xx.x.xxx.x..x...") == [(5, PRESSED)]
    assert events("..xxxx.x.x.x.x......") == [(3, PRESSED)]
    assert events(".x.x.x.x.x") == []  # never twice in a row


def test_one_that_is_held_says_so_once() -> None:
    looks = HOLD_MS // LOOK_MS
    assert events("x" * 4 * looks) == [(1, PRESSED), (1 + looks, HELD)]
    assert events("x" * looks + "." * looks) == [(1, PRESSED)]
    assert events("x" * (looks + 2) + ".." + "x" * (looks + 2)) == [
        (1, PRESSED),
        (1 + looks, HELD),
        (looks + 5, PRESSED),
        (2 * looks + 5, HELD),
    ]


def test_a_bounce_does_not_begin_the_hold_anew() -> None:
    looks = HOLD_MS // LOOK_MS
    assert events("x" * 10 + "." + "x" * looks) == [(1, PRESSED), (1 + looks, HELD)]
