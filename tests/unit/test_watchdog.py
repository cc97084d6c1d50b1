"""A virtual board's watchdog bites what hangs, and nobody who stood still with the computer."""

from collections.abc import Iterable
from itertools import pairwise

import pytest

from snyper.boards.watchdog import LOOK_S, Watchdog

TIMEOUT_S = 1.0


def bitten_s(times_s: Iterable[float], feeds_s: Iterable[float] = (0.0,)) -> float | None:
    """Return at which look it bites a board that has fed it at these times; None where it does not."""
    watchdog = Watchdog()
    feeds = list(feeds_s)
    for now_s in times_s:
        fed_s = max(time for time in feeds if time <= now_s)
        if watchdog.bites(round((fed_s + TIMEOUT_S) * 1e9), round(now_s * 1e9)):
            return now_s
    return None


def each_look(until_s: float, begin_s: float = 0.0) -> list[float]:
    return [begin_s + number * LOOK_S for number in range(round((until_s - begin_s) / LOOK_S))]


def test_it_bites_what_hangs_at_the_next_look() -> None:
    found = bitten_s(each_look(3))
    assert found is not None
    assert TIMEOUT_S < found <= TIMEOUT_S + 2 * LOOK_S


def test_it_leaves_alone_who_feeds_it() -> None:
    assert bitten_s(each_look(10), [number * 0.9 for number in range(12)]) is None


@pytest.mark.parametrize("stalled_s", [0.5, 5.0, 600.0])
@pytest.mark.parametrize("fed_s", [0.0, 0.51])
def test_time_in_which_nobody_looked_is_not_the_boards(stalled_s: float, fed_s: float) -> None:
    """Whether the board fed it just before the stall, unseen, or some time ago; it feeds it soon after."""
    times_s = [*each_look(0.5), *each_look(3 + stalled_s, 0.5 + stalled_s)]
    assert bitten_s(times_s, [0.0, fed_s, 0.7 + stalled_s, 1.5 + stalled_s, 2.3 + stalled_s]) is None


def test_a_board_that_hangs_is_bitten_however_often_the_computer_stands_still() -> None:
    gaps = [0.05, 0.4] * 40
    times_s = [sum(gaps[:number]) for number in range(len(gaps))]
    found = bitten_s(times_s)
    assert found is not None
    seen_s = sum(min(later - earlier, 2 * LOOK_S) for earlier, later in pairwise(times_s) if later <= found)
    assert TIMEOUT_S < seen_s <= TIMEOUT_S + 4 * LOOK_S
