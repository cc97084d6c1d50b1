"""What the measurements make of their figures, and what they send."""

import pytest

from tools.bench.ping import text_frame
from tools.bench.rounds import alternate, median_ratio, percentile, row
from tools.message_cost import Cost, rows_of, total_of


async def test_measurements_alternate() -> None:
    order: list[str] = []

    async def one() -> int:
        order.append("one")
        return 1

    async def other() -> int:
        order.append("other")
        return 2

    assert await alternate(2, {"one": one, "other": other}) == {"one": [1, 1], "other": [2, 2]}
    assert order == ["one", "other"] * 2


def test_a_ratio_is_that_of_the_same_round() -> None:
    """A machine that is half as fast in one round changes no ratio."""
    assert median_ratio([2.0, 4.0, 2.2], [1.0, 2.0, 1.1]) == 2.0


def test_percentiles() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert percentile(values, 50) == 51
    assert percentile(values, 99) == 100
    assert percentile([7.0], 99) == 7


def test_a_row_has_medians() -> None:
    compared = row("PING", [90.0, 66.4, 60.0], [30.0, 33.2, 30.0], "µs", 0, "2.0")
    assert (compared.floor, compared.measured, compared.ratio) == ("30 µs", "66 µs", "2.00")


def test_a_frame_is_masked_text() -> None:
    frame = text_frame(b"hello")
    mask, masked = frame[2:6], frame[6:]
    assert frame[:2] == bytes((0x81, 0x85))  # RFC 6455, section 5.7
    assert bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked)) == b"hello"


def test_the_total_of_callgrind_is_found() -> None:
    assert total_of("events: Ir\nfn=(1) main\n12 3\ntotals: 72759278\n") == 72_759_278
    with pytest.raises(ValueError, match="no totals"):
        total_of("events: Ir\n")


def test_a_count_without_valgrind_says_so() -> None:
    counted = [Cost("PING", 4_099, 350_633), Cost("a hit report", 5_339, None)]
    assert rows_of(counted) == [("PING", "350,633", "4,099"), ("a hit report", "no valgrind", "5,339")]
