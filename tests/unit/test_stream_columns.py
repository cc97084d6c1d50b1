"""Columns of a stream that comes: compared with all its samples at once."""

import warnings
from typing import Any

import numpy
import pytest
from hypothesis import given, settings, strategies as st

from snyper.streams import Block, StreamSpec
from snyper.streams.columns import LiveColumns, _rolling, column_width_us

SPEC = StreamSpec("<f8", (2,), 1_000.0)
STEP_US = 1_000


def block_of(seq: int, samples: Any, lost: int = 0, epoch: str = "a", spec: StreamSpec = SPEC) -> Block:
    values = numpy.asarray(samples, spec.dtype).reshape(-1, *spec.shape)
    return Block(epoch, seq, values, seq * STEP_US, 10, 0, lost=lost)


VALUES = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([numpy.nan, numpy.inf, -numpy.inf]))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(VALUES, min_size=2, max_size=40), min_size=1, max_size=20), st.integers(50, 9_999))
def test_columns_are_those_of_all_samples_at_once(pieces: list[list[float]], width_us: int) -> None:
    columns = LiveColumns(SPEC, width_us, 10_000, (0, 1))
    seq = 0
    everything = []
    for piece in pieces:
        samples = numpy.array(piece[: len(piece) // 2 * 2]).reshape(-1, 2)
        columns.add(block_of(seq, samples))
        seq += len(samples)
        everything.append(samples)
    samples = numpy.concatenate(everything)
    samples[~numpy.isfinite(samples)] = numpy.nan
    owners = numpy.arange(len(samples)) * STEP_US // width_us
    found = columns.since(0, rolling=3)
    assert found.numbers.tolist() == sorted(set(owners.tolist()))
    for row, number in enumerate(found.numbers):
        own = samples[owners == number]
        near = samples[(owners <= number) & (owners > number - 3)]
        for channel in (0, 1):
            numbers = own[numpy.isfinite(own[:, channel]), channel]
            assert found.is_broken[row, channel] == (len(numbers) < len(own))
            if not len(numbers):
                assert numpy.isnan(found.low[row, channel])
                continue
            assert found.low[row, channel] == numbers.min()
            assert found.high[row, channel] == numbers.max()
            rolling = near[numpy.isfinite(near[:, channel]), channel]
            scale = numpy.abs(samples[numpy.isfinite(samples)]).max(initial=1.0)
            assert found.mean[row, channel] == pytest.approx(rolling.mean(), abs=1e-9 * scale)
            assert found.deviation[row, channel] == pytest.approx(rolling.std(), abs=1e-5 * scale)


def test_one_spike_in_ten_million_samples_is_seen() -> None:
    spec = StreamSpec("<i2", (), 1_000_000.0)
    columns = LiveColumns(spec, column_width_us(10_000_000, 500), 600)
    for at in range(100):
        samples = numpy.zeros(100_000, "<i2")
        if at == 37:
            samples[12_345] = -7
        columns.add(Block("a", at * 100_000, samples, at * 100_000, 0, 0))
    found = columns.since(0)
    assert numpy.flatnonzero(found.low[:, 0] < 0).tolist() == [3_712_345 // columns.width_us]
    assert len(found.numbers) <= 500


def test_the_oldest_go_and_what_comes_too_late_is_left_out() -> None:
    columns = LiveColumns(SPEC, STEP_US, 4)
    columns.add(block_of(10, [[at, 0] for at in range(6)]))
    assert columns.since(0).numbers.tolist() == [12, 13, 14, 15]
    assert columns.since(14).low[:, 0].tolist() == [4, 5]
    columns.add(block_of(3, [[9, 9]]))
    assert columns.since(0).numbers.tolist() == [12, 13, 14, 15]
    columns.add(block_of(1_000_000, [[1, 1]]))
    assert columns.since(0).numbers.tolist() == [1_000_000]
    assert columns.since(0).low[:, 0].tolist() == [1]


def test_the_line_is_broken_where_samples_are_missing() -> None:
    columns = LiveColumns(SPEC, STEP_US, 100)
    columns.add(block_of(0, [[1, 1], [2, 2]]))
    columns.add(block_of(5, [[3, 3]], lost=3))
    columns.add(block_of(6, [[4, numpy.nan]]))
    columns.add(block_of(8, [[5, 5]], epoch="b"))
    found = columns.since(0)
    assert found.numbers.tolist() == [0, 1, 5, 6, 8]
    assert found.is_broken[:, 0].tolist() == [False, False, True, False, True]


def test_complex_samples_are_shown_by_their_absolute_value() -> None:
    spec = StreamSpec("<c8", (), 1_000.0)
    columns = LiveColumns(spec, STEP_US, 10)
    columns.add(Block("a", 0, numpy.array([3 + 4j], "<c8"), 0, 0, 0))
    assert columns.since(0).high[:, 0].tolist() == [5]


@pytest.mark.parametrize(
    ("width_us", "keep", "channels"), [(0, 1, [0]), (1, 0, [0]), (1, 1, []), (1, 1, [2]), (1, 1, [-1])]
)
def test_what_cannot_be_is_refused(width_us: int, keep: int, channels: list[int]) -> None:
    with pytest.raises(ValueError, match=r"channel|column"):
        LiveColumns(SPEC, width_us, keep, channels)


def test_other_samples_are_refused() -> None:
    columns = LiveColumns(SPEC, STEP_US, 10)
    with pytest.raises(ValueError, match="others than before"):
        columns.add(Block("a", 0, numpy.zeros((3, 3)), 0, 0, 0))


@pytest.mark.parametrize("large", [1e12, 1e200, 1.7e308])
def test_of_a_large_value_nothing_is_left_once_it_has_passed(large: float) -> None:
    columns = LiveColumns(SPEC, STEP_US, 100)
    values = numpy.ones((60, 2))
    values[::2] = -1
    values[20:22] = large
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # in the terminal where it is drawn
        columns.add(block_of(0, values))
        found = columns.since(0, rolling=10)
    assert found.high[20:22, 0].tolist() == [large, large]
    passed = (found.numbers < 20) | (found.numbers > 31)
    assert found.mean[passed][9:, 0] == pytest.approx(0, abs=1e-9)
    assert found.deviation[passed][9:, 0] == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 64, 99, 100, 101, 5_000])
def test_rolling_sums_are_those_of_the_rows_before(count: int) -> None:
    values = numpy.random.default_rng(count).integers(0, 1_000, (100, 2))
    expected = [values[max(0, at - count + 1) : at + 1].sum(axis=0).tolist() for at in range(100)]
    assert _rolling(values, count).tolist() == expected


def test_what_came_before_is_put_in_front_with_its_mean_and_deviation() -> None:
    spec = StreamSpec("<f8", (), 1_000)
    values = numpy.random.default_rng(1).normal(1e6, 3, 400)
    whole, joined = LiveColumns(spec, 10_000, 30), LiveColumns(spec, 10_000, 30)
    times = numpy.arange(400) * 1_000
    whole.add_samples(times, values)
    joined.add_samples(times[205:], values[205:])
    parts = [values[at : min(at + 10, 205)] for at in range(0, 205, 10)]
    columns = [
        [[how(part)] for part in parts]
        for how in (numpy.min, numpy.max, len, numpy.mean, lambda part: part.var() * len(part))
    ]
    numbers = numpy.arange(len(parts))
    order = numpy.random.default_rng(2).permutation(len(parts))
    never = numpy.zeros((len(parts), 1), "?")
    joined.fill(numbers[order], *[*(numpy.array(one)[order] for one in columns), never])
    one, other = whole.since(0, 5), joined.since(0, 5)
    assert one.numbers.tolist() == other.numbers.tolist() == list(range(10, 40))
    assert one.low.tolist() == other.low.tolist()
    assert one.high.tolist() == other.high.tolist()
    away = (
        numpy.abs(one.numbers - 22) > 2
    )  # the column that has some of both, and those of which it is a part
    assert other.mean[away] == pytest.approx(one.mean[away])
    assert other.deviation[away] == pytest.approx(one.deviation[away], rel=1e-6)
    assert not other.is_broken.any()
    joined.break_first()
    assert joined.since(0).is_broken[:, 0].tolist() == [True] + [False] * 29
