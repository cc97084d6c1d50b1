"""Whatever the network and the clocks do within their bounds: the truth is within what the target states."""

import pytest
from hypothesis import given, settings, strategies as st

from snyper.shared.hub_clock import BUCKETS, FIELDS, MAX_DRIFT_PPM, MAX_ROUND_US, HubClock

SECOND_US = 1_000_000

offsets = st.integers(-(1 << 40), 1 << 40)
drifts = st.integers(-MAX_DRIFT_PPM + 1, MAX_DRIFT_PPM - 1)
delays = st.integers(0, 80_000)
rounds = st.lists(
    st.tuples(st.integers(10_000, 20 * SECOND_US), delays, delays), min_size=1, max_size=120
)  # since the last; to the hub; back


def local_of(hub_us: int, offset_us: int, drift_ppm: int) -> int:
    """The board's clock, which runs by the hub's times 1 + `drift_ppm`."""
    return hub_us + offset_us + hub_us * drift_ppm // 1_000_000


@settings(max_examples=60, deadline=None)
@given(offsets, drifts, rounds, st.integers(-600 * SECOND_US, 600 * SECOND_US))
def test_the_truth_is_within_the_uncertainty(
    offset_us: int, drift_ppm: int, rounds: list[tuple[int, int, int]], away_us: int
) -> None:
    clock = HubClock()
    hub_us = 3_600 * SECOND_US
    for pause_us, there_us, back_us in rounds:
        hub_us += pause_us
        sent_us = local_of(hub_us, offset_us, drift_ppm)
        received_us = local_of(hub_us + there_us + back_us, offset_us, drift_ppm)
        clock.add(sent_us, hub_us + there_us, received_us)
        hub_us += there_us + back_us
        for then_us in (hub_us, hub_us + away_us):
            local_us = local_of(then_us, offset_us, drift_ppm)
            assert abs(clock.hub_us(local_us) - then_us) <= clock.uncertainty_us(local_us)
            assert abs(clock.hub_us(clock.local_us(then_us)) - then_us) <= 3
    assert len(clock._buckets) <= BUCKETS * FIELDS
    assert clock.uncertainty_us(received_us) <= (there_us + back_us) // 2 + SECOND_US


@given(offsets, drifts, st.integers(1, 40_000), st.integers(0, 39_000))
@settings(max_examples=50, deadline=None)
def test_many_rounds_leave_little_doubt_whatever_the_asymmetry(
    offset_us: int, drift_ppm: int, there_us: int, back_us: int
) -> None:
    clock = HubClock()
    for number in range(240):
        hub_us = number * SECOND_US // 2
        sent_us = local_of(hub_us, offset_us, drift_ppm)
        received_us = local_of(hub_us + there_us + back_us, offset_us, drift_ppm)
        clock.add(sent_us, hub_us + there_us, received_us)
    half_us = (there_us + back_us) // 2
    assert half_us - 2 <= clock.uncertainty_us(received_us) <= 2 * half_us + 200


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(-(1 << 53), 1 << 53)] * 3), max_size=40))
def test_nonsense_neither_raises_nor_piles_up(rounds: list[tuple[int, int, int]]) -> None:
    clock = HubClock()
    for sent_us, hub_us, received_us in rounds:
        clock.add(sent_us, hub_us, received_us)
        clock.add(sent_us, hub_us, sent_us + received_us % MAX_ROUND_US)
    assert len(clock._buckets) <= BUCKETS * FIELDS
    assert clock.is_set == bool(rounds)
    if clock.is_set:
        assert clock.uncertainty_us(0) > 0


@pytest.mark.parametrize("drift_ppm", [-200, 0, 200])
def test_a_day_passes(drift_ppm: int) -> None:
    clock = HubClock()
    for number in range(24 * 60):
        hub_us = number * 60 * SECOND_US
        sent_us = local_of(hub_us, -5, drift_ppm)
        clock.add(sent_us, hub_us + 3_000, local_of(hub_us + 5_000, -5, drift_ppm))
    assert all(abs(value) < 1 << 30 for value in clock._buckets)
    assert clock.uncertainty_us(sent_us) < 5_000
