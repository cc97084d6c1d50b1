"""A piezo on a virtual board: what it detects."""

import asyncio
import time

from snyper.shared.clock import now_us
from tests.portable.support import within
from tests.portable.virtual_hardware import (
    Board,
    machine,
    make_piezo,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class _Reading:
    """A piezo that is armed on a board whose `sample(n)` gives the n-th read, from 0."""

    def __init__(self, sample: "Callable[[int], int]", debounce_ms: int = 0) -> None:
        self.at_us: "list[int]" = []  # of each read, from arming
        board = Board()
        board.on_sample = self._next
        self.piezo = make_piezo(debounce_ms)
        self._sample = sample
        self._armed_us = now_us()
        self.piezo.arm()

    async def detect(self, duration_ms: int = 1000) -> bool:
        return bool(await within(self.piezo.detect(duration_ms)))

    def _next(self) -> int:
        self.at_us.append(now_us() - self._armed_us)
        return self._sample(len(self.at_us) - 1)


async def test_silence_is_no_hit() -> None:
    reading = _Reading(lambda n: 19_900)
    assert not await reading.detect(100)
    assert reading.piezo.peak == reading.piezo.reaction_ms == 0
    assert len(reading.at_us) % 4 == 0
    gaps_us = [reading.at_us[at] - reading.at_us[at - 4] for at in range(4, len(reading.at_us), 4)]
    assert 2_000 <= max(gaps_us) <= reading.piezo.gap_us + 1_000  # the clock is read before the first sample


async def test_one_swing_that_rings_through_a_burst_is_detected() -> None:
    for place in range(8, 12):
        reading = _Reading(lambda n, place=place: 30_000 if n == place else 0)  # type: ignore[misc]
        assert await reading.detect()
        assert reading.piezo.peak >> 4 == 30_000 >> 4


async def test_a_rise_to_the_threshold_itself_is_a_hit() -> None:
    assert await _Reading(lambda n: 20_000 if n >= 4 else 19_900).detect()


async def test_a_piezo_that_rests_at_its_threshold_or_above_detects_nothing_and_says_where() -> None:
    for level in (20_000, 31_000, 65_535):
        for debounce_ms in (0, 50):
            duration_ms = 75
            reads = 0
            while reads <= 4:  # a burst that began when it has rested: a busy machine may have taken none
                duration_ms *= 2
                reading = _Reading(lambda n, level=level: level, debounce_ms)  # type: ignore[misc]
                assert not await reading.detect(duration_ms)
                reads = len([at_us for at_us in reading.at_us if at_us // 1000 > debounce_ms + 60])
            assert reading.piezo.peak == reading.piezo.reaction_ms == 0
            assert reading.piezo.rests_at >> 4 == level >> 4
            reading.piezo.arm()
            assert reading.piezo.rests_at == 0


async def test_what_says_nothing_or_too_little_is_no_rest() -> None:
    for sample in (lambda n: 0, lambda n: 19_900, lambda n: 0 if 120 <= n < 124 else 31_000):
        duration_ms = 75
        reads = 0
        while reads < 124:  # a busy machine takes few in that time
            duration_ms *= 2
            reading = _Reading(sample)
            assert not await reading.detect(duration_ms), sample
            reads = len(reading.at_us)
        assert reading.piezo.rests_at == 0
    reading = _Reading(lambda n: 31_000)
    assert not await reading.detect(30)
    assert reading.piezo.rests_at == 0  # as yet


async def test_a_rest_that_another_threshold_lies_above_is_none() -> None:
    reading = _Reading(lambda n: 31_000)
    assert not await reading.detect(150)
    reading.piezo.threshold = 40_000
    assert reading.piezo.rests_at == 0


async def test_what_drops_for_less_than_a_plate_rings_and_rises_again_is_no_hit() -> None:
    """A sample, a burst, ten bursts below the threshold; noise that reaches below it; the hum of a pin that
    floats.
    """

    def noise(n: int) -> int:
        return 20_000 + (n * 7_919 % 2_000 - (200 if n >= 4 else 0))

    samples = [
        lambda n: 0 if n == 90 else 31_000,
        lambda n: 0 if 88 <= n < 92 else 31_000,
        lambda n: 0 if 80 <= n < 120 else 31_000,
        noise,
    ]
    for at in range(len(samples)):
        assert not await _Reading(samples[at]).detect(200), at
    began_us = now_us()
    humming = _Reading(lambda n: 31_000 if (now_us() - began_us) // 10_000 % 2 == 0 else 0)
    assert not await humming.detect(150)


async def test_a_blow_after_the_rest_has_come_is_a_hit() -> None:
    """The plate rings on at the first burst, is quiet, and is struck."""
    reading = _Reading(lambda n: 31_000 if n < 40 else 0 if n < 240 else 45_000)
    assert await reading.detect()
    assert reading.piezo.peak >> 4 == 45_000 >> 4
    assert reading.piezo.reaction_ms >= reading.at_us[239] // 1000
    assert reading.piezo.rests_at == 0


async def test_a_blow_before_it_was_armed_that_rings_on_is_none() -> None:
    assert not await _Reading(lambda n: 45_000 if n < 80 else 0, debounce_ms=20).detect(150)


async def test_the_peak_may_come_after_the_hit_and_the_hit_is_the_crossing() -> None:
    reading = _Reading(lambda n: 0 if n < 8 else 24_000 if n < 12 else 60_000 - n)
    assert await reading.detect()
    assert reading.piezo.peak >> 4 == (60_000 - 12) >> 4
    # The third burst detected it; 2 ms later came the next one.
    assert reading.at_us[7] // 1000 - 1 <= reading.piezo.reaction_ms <= reading.at_us[8] // 1000 + 1
    assert reading.at_us[-1] >= reading.at_us[8] + 2_000


async def test_nothing_is_detected_before_the_debounce_time_is_over() -> None:
    """But the one burst at its beginning, which says what is no hit. A blow that rings on until it is over
    counts from then on, and it is said for how long nobody looked.
    """
    reading = _Reading(lambda n: 65_535 if n >= 4 else 0, debounce_ms=50)
    assert await reading.detect()
    assert reading.at_us[3] < 40_000
    assert reading.at_us[4] >= 49_000
    assert 49 <= reading.piezo.reaction_ms < 200
    assert reading.piezo.gap_us < 49_000 <= reading.piezo.unsampled_us


async def test_a_debounce_time_beyond_the_duration_lasts_as_long_as_that() -> None:
    reading = _Reading(lambda n: 65_535, debounce_ms=5_000)
    assert not await reading.detect(100)
    assert len(reading.at_us) == 4


async def test_a_loop_that_was_kept_busy_shows_as_a_gap() -> None:
    async def keep_busy() -> None:
        time.sleep(0.05)

    hogs: "list[asyncio.Task[None]]" = []

    def sample(n: int) -> int:
        if n == 8:
            hogs.append(asyncio.create_task(keep_busy()))
        return 30_000 if n >= 20 else 0

    reading = _Reading(sample)
    assert await reading.detect()
    assert reading.piezo.gap_us >= 50_000
    reading.piezo.arm()
    assert reading.piezo.gap_us == reading.piezo.peak == reading.piezo.reaction_ms == 0


async def test_others_run_between_two_bursts() -> None:
    turns = [0]
    seen: "list[int]" = []

    async def other() -> None:
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    def sample(n: int) -> int:
        seen.append(turns[0])
        return 30_000 if n == 40 else 0

    running = asyncio.create_task(other())
    assert await _Reading(sample).detect()
    running.cancel()
    assert all(seen[at] > seen[at - 4] for at in range(4, len(seen), 4))


def test_an_esp32_measures_the_whole_range() -> None:
    taken: "list[int]" = []
    adc: "Any" = machine.ADC
    adc.ATTN_11DB = 3
    adc.atten = lambda self, attenuation: taken.append(attenuation)
    try:
        Board()
        make_piezo()
    finally:
        del adc.ATTN_11DB
        del adc.atten
    assert taken == [3]
