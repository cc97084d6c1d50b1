"""The clock: whole numbers, forwards only, and on a board over the wrap of its counter."""

from snyper.shared import clock
from snyper.shared.runtime import MICROPYTHON, sleep_ms

if MICROPYTHON:
    from snyper.shared import runtime_micropython as board

    _WRAP = 1 << 30  # as on a board

    def _advance(steps_us: "list[int]", start: int) -> "list[int]":
        """What the clock says after each step of a counter that begins at `start`."""
        ticks_us, ticks_diff = board.ticks_us, board.ticks_diff
        counter = [start]
        board.ticks_us = lambda: counter[0]
        board.ticks_diff = lambda end, begin: ((end - begin + _WRAP // 2) & (_WRAP - 1)) - _WRAP // 2
        board._ticks_us = start
        try:
            begun_us = clock.now_us()
            said = []
            for step_us in steps_us:
                counter[0] = (counter[0] + step_us) % _WRAP
                said.append(clock.now_us() - begun_us)
            return said
        finally:
            board.ticks_us, board.ticks_diff = ticks_us, ticks_diff
            board._ticks_us = ticks_us()

    def test_it_goes_over_the_wrap_of_the_counter() -> None:
        assert _advance([5, 10], _WRAP - 6) == [5, 15]
        assert _advance([1], _WRAP - 1) == [1]

    def test_it_counts_beyond_many_wraps() -> None:
        step_us = 500_000_000  # 8 minutes
        said = _advance([step_us] * 100, 123)
        assert said == [step_us * count for count in range(1, 101)]


async def test_it_is_whole_and_goes_forward() -> None:
    before_us = clock.now_us()
    before_ms = clock.now_ms()
    assert type(before_us) is int
    assert type(before_ms) is int
    for _ in range(1000):
        now_us = clock.now_us()
        assert now_us >= before_us
        before_us = now_us
    await sleep_ms(20)
    # Timers may be a little early by another clock, never by half.
    assert clock.now_us() - before_us >= 10_000
    assert clock.now_ms() - before_ms >= 10


def test_both_units_count_from_the_same_instant() -> None:
    for _ in range(100):
        before_us = clock.now_us()
        ms = clock.now_ms()
        after_us = clock.now_us()
        assert before_us // 1000 <= ms <= after_us // 1000
