"""The ring of samples around a hit."""

from snyper.firmware.target.trace import TRACE_SAMPLES, Trace
from snyper.shared.clock import now_us

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

BURST = 4


def _from(values: "list[int]") -> "Callable[[], int]":
    """A converter that gives these, one after the other."""
    left = list(values)
    return lambda: left.pop(0)


def _fill(trace: Trace, first: int, count: int) -> None:
    """Samples `first`, `first` + 1, ..."""
    for start in range(first, first + count, BURST):
        assert trace.read(_from([start + at for at in range(BURST)]), BURST) == start + BURST - 1


def _values(trace: Trace) -> "list[int]":
    return [trace.sample(number)[1] for number in range(len(trace))]


def test_without_a_hit_there_is_nothing() -> None:
    trace = Trace()
    assert len(trace) == 0
    trace.begin()
    _fill(trace, 0, 8)
    assert len(trace) == 0


def test_what_came_before_and_after_the_hit_in_order() -> None:
    trace = Trace()
    trace.begin()
    before_us = now_us()
    _fill(trace, 0, 8)
    assert trace.read(_from([100, 5_000, 7_000, 300]), BURST) == 7_000
    assert trace.least(BURST) == 100
    hit_us = trace.mark(5_000, BURST)
    _fill(trace, 10, 8)
    assert before_us <= hit_us <= now_us()
    assert trace.threshold == 5_000
    assert _values(trace) == list(range(8)) + [100, 5_000, 7_000, 300] + list(range(10, 18))
    times_us = [trace.sample(number)[0] for number in range(len(trace))]
    assert times_us == sorted(times_us)
    assert times_us[9] == 0  # the sample that reached the threshold, and not the first of its burst
    assert times_us[0] <= 0 <= times_us[-1] < 1_000_000


def test_a_ring_that_has_turned_keeps_the_newest_before_the_hit() -> None:
    trace = Trace()
    trace.begin()
    _fill(trace, 0, 3 * TRACE_SAMPLES + 20)
    trace.read(_from([60_000] * BURST), BURST)
    trace.mark(60_000, BURST)
    assert len(trace) == TRACE_SAMPLES
    last = 3 * TRACE_SAMPLES + 20
    assert _values(trace) == list(range(last - TRACE_SAMPLES + BURST, last)) + [60_000] * BURST


def test_half_of_it_at_most_is_what_came_after_the_hit() -> None:
    trace = Trace()
    trace.begin()
    _fill(trace, 0, TRACE_SAMPLES)
    trace.read(_from([60_000] * BURST), BURST)
    trace.mark(60_000, BURST)
    _fill(trace, 0, 2 * TRACE_SAMPLES)
    assert _values(trace).index(60_000) == TRACE_SAMPLES // 2 - BURST
    assert _values(trace)[-1] == TRACE_SAMPLES // 2 - 1


def test_what_is_read_after_the_end_is_not_kept_and_a_new_arming_clears_it() -> None:
    trace = Trace()
    trace.begin()
    trace.read(_from([9_000] * BURST), BURST)
    trace.mark(9_000, BURST)
    trace.end()
    assert trace.read(_from([1, 2, 3, 4]), BURST) == 4
    assert _values(trace) == [9_000] * BURST
    trace.begin()
    assert len(trace) == 0
