"""The time of a signal's packets, over hubs whose clocks begin anew."""

import itertools

from hypothesis import given, strategies

from snyper.streams.link_signal import RisingClock


@given(strategies.lists(strategies.floats(-1e10, 1e10), min_size=1))
def test_time_never_stands_still_nor_goes_back(instants: list[float]) -> None:
    clock = RisingClock()
    told = [at_s + clock.shift_of(at_s) for at_s in instants]
    assert all(later > earlier for earlier, later in itertools.pairwise(told))


def test_time_goes_on_where_it_was_when_a_hub_is_new() -> None:
    clock = RisingClock()
    told = [at_s + clock.shift_of(at_s) for at_s in (5_000.0, 5_000.05, 0.25, 0.5)]
    assert told[:2] == [5_000.0, 5_000.05]
    assert 0 < told[2] - told[1] < 0.001
    assert round(told[3] - told[2], 6) == 0.25
