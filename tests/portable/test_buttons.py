"""Buttons: what bounces is one press, and what is held is held."""

from snyper.firmware.master.buttons import HELD, HOLD_MS, PRESSED, Button

SAMPLE_MS = 20


def events(samples: str) -> "list[tuple[int, str]]":
    """What a button says, with the sample at which it does; `samples` are its contacts: x closed, . open."""
    button = Button()
    found = []
    for at, contact in enumerate(samples):
        event = button.sample(contact == "x", at * SAMPLE_MS)
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
    samples = HOLD_MS // SAMPLE_MS
    assert events("x" * 4 * samples) == [(1, PRESSED), (1 + samples, HELD)]
    assert events("x" * samples + "." * samples) == [(1, PRESSED)]
    assert events("x" * (samples + 2) + ".." + "x" * (samples + 2)) == [
        (1, PRESSED),
        (1 + samples, HELD),
        (samples + 5, PRESSED),
        (2 * samples + 5, HELD),
    ]


def test_a_bounce_does_not_begin_the_hold_anew() -> None:
    samples = HOLD_MS // SAMPLE_MS
    assert events("x" * 10 + "." + "x" * samples) == [(1, PRESSED), (1 + samples, HELD)]
