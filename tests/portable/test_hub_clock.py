"""The hub's clock as a target keeps it, against a network whose truth is known."""

from snyper.boards.virtual_board.machine import Rng
from snyper.shared.hub_clock import BUCKET_MS, MAX_DRIFT_PPM, MAX_ROUND_US, HubClock

SECOND_US = 1_000_000
SYNC_US = 500_000


class World:
    """A hub whose clock is the truth, a board whose clock is not, and lines that take their time."""

    def __init__(self, offset_us: int, drift_ppm: int, seed: int = 1) -> None:
        self.clock = HubClock()
        self.now_us = 1_000 * SECOND_US
        self._offset_us = offset_us
        self._drift_ppm = drift_ppm
        self._rng = Rng(seed)

    def local_us(self, hub_us: int) -> int:
        return hub_us + self._offset_us + hub_us * self._drift_ppm // 1_000_000

    def round(self, low_ms: int, high_ms: int) -> None:
        """A question and its answer, each late by something between these."""
        sent_us = self.now_us
        answered_us = sent_us + self._delay_us(low_ms, high_ms)
        received_us = answered_us + self._delay_us(low_ms, high_ms)
        self.clock.add(self.local_us(sent_us), answered_us, self.local_us(received_us))
        self.now_us = max(received_us, sent_us + SYNC_US)

    def _delay_us(self, low_ms: int, high_ms: int) -> int:
        return low_ms * 1000 + self._rng.below((high_ms - low_ms) * 1000 + 1)

    def run(self, seconds: int, low_ms: int, high_ms: int) -> None:
        end_us = self.now_us + seconds * SECOND_US
        while self.now_us < end_us:
            self.round(low_ms, high_ms)
            self.check(self.now_us)

    def check(self, hub_us: int) -> int:
        """How far off it is at that instant: no further than it says."""
        local_us = self.local_us(hub_us)
        error_us = self.clock.hub_us(local_us) - hub_us
        assert abs(error_us) <= self.clock.uncertainty_us(local_us), (hub_us, error_us)
        return error_us


def test_a_new_one_knows_nothing_and_one_round_is_enough() -> None:
    world = World(7 * SECOND_US, 0)
    assert not world.clock.is_set
    world.round(3, 5)
    assert world.clock.is_set
    world.check(world.now_us)
    local_us = world.local_us(world.now_us)
    assert world.clock.uncertainty_us(local_us) < 6_000
    # What it is told nothing of gets less sure by the drift that is possible, in both directions of time.
    later_us = local_us + 100 * SECOND_US
    assert world.clock.uncertainty_us(later_us) >= 100 * MAX_DRIFT_PPM
    assert world.clock.uncertainty_us(local_us - 100 * SECOND_US) >= 100 * MAX_DRIFT_PPM


def test_the_truth_is_within_what_it_states_all_the_time() -> None:
    for seed, offset_us, drift_ppm in (
        (1, 0, 0),
        (2, -900 * SECOND_US, 200),
        (3, 1 << 30, -200),
        (4, (1 << 31) - 5, 31),
        (5, 5_000_000_000_000, -400),
    ):
        world = World(offset_us, drift_ppm, seed)
        world.run(150, 1, 80)
        assert world.clock.uncertainty_us(world.local_us(world.now_us)) < 6_000


def test_it_learns_the_drift_and_holds_through_an_outage() -> None:
    world = World(-3 * SECOND_US, 180)
    world.run(150, 1, 20)
    after_us = world.now_us + 60 * SECOND_US
    # Without the drift it would be off by 10.8 ms.
    assert abs(world.check(after_us)) < 3_000
    assert world.clock.uncertainty_us(world.local_us(after_us)) < 5_000
    # And for what was detected before it knew as much.
    assert abs(world.check(world.now_us - 120 * SECOND_US)) < 5_000
    world.now_us = after_us
    world.run(20, 1, 20)


def test_delays_that_differ_by_direction_are_part_of_what_it_states() -> None:
    world = World(0, 0)
    for number in range(100):
        sent_us = world.now_us + number * SYNC_US
        world.clock.add(sent_us, sent_us + 30_000, sent_us + 32_000)
    error_us = world.check(sent_us)
    assert 13_000 <= abs(error_us) <= 15_000  # nothing in the network tells it
    assert world.clock.uncertainty_us(sent_us) < 17_000


def test_the_two_conversions_are_each_others_inverse() -> None:
    world = World(1 << 32, -150)
    world.run(60, 1, 40)
    for ahead_us in (-60 * SECOND_US, -1, 0, 1, 999, SECOND_US, 60 * SECOND_US):
        hub_us = world.now_us + ahead_us
        assert abs(world.clock.hub_us(world.clock.local_us(hub_us)) - hub_us) <= 2


def test_rounds_that_cannot_be_are_left_out() -> None:
    clock = HubClock()
    clock.add(1_000, 5, 999)
    clock.add(0, 5, MAX_ROUND_US + 1)
    assert not clock.is_set
    world = World(0, 0)
    world.run(10, 1, 5)
    before_us = world.clock.hub_us(world.now_us)
    world.clock.add(world.now_us, 0, world.now_us - 1)
    assert world.clock.hub_us(world.now_us) == before_us


def test_a_hub_whose_clock_jumps_is_learnt_anew() -> None:
    for jump_us in (-3_600 * SECOND_US, -200_000, 200_000, 86_400 * SECOND_US):
        world = World(0, 50)
        world.run(60, 1, 10)
        world.clock.add(world.now_us + 50 * SECOND_US, 0, world.now_us + 51 * SECOND_US)  # one lie
        world._offset_us -= jump_us
        world.now_us += 60 * SECOND_US
        world.round(1, 10)
        world.round(1, 10)
        world.run(60, 1, 10)


def test_it_does_not_grow() -> None:
    world = World(0, 20)
    world.run(60 * BUCKET_MS // 1000, 1, 10)
    kept = len(world.clock._buckets)
    world.run(20 * BUCKET_MS // 1000, 1, 10)
    assert len(world.clock._buckets) == kept
    # And what it reckons with fits a board's small integers.
    assert all(abs(value) < 1 << 30 for value in world.clock._buckets)


def test_another_hub_is_another_clock() -> None:
    world = World(0, 0)
    world.run(5, 1, 5)
    world.clock.reset()
    assert not world.clock.is_set
    world.round(1, 5)
    assert world.clock.is_set
