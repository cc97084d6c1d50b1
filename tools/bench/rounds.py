"""Measurements that alternate, and what becomes of them: medians, ratios, rows."""

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
Measure = Callable[[], Awaitable[T]]


@dataclass(frozen=True)
class Row:
    """One line of the table. `aim` is the ratio that is aimed at, empty where there is none."""

    what: str
    floor: str
    measured: str
    ratio: str
    aim: str = ""


async def alternate(rounds: int, measures: Mapping[str, Measure[T]]) -> dict[str, list[T]]:
    """Take every measurement once a round, so that whatever else the machine does meets all of them."""
    taken: dict[str, list[T]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            taken[name].append(await measure())
    return taken


async def time_each(exchange: Callable[[], Awaitable[object]], count: int) -> list[float]:
    """Take the time of `count` exchanges, one after the other, in µs."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        await exchange()
        times.append((time.perf_counter() - began) * 1e6)
    return times


def percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def median_ratio(measured: Sequence[float], floor: Sequence[float]) -> float:
    """Return the median of the ratios of neighbours: both of a pair were taken in the same round."""
    return statistics.median(ours / least for ours, least in zip(measured, floor, strict=True))


def row(
    what: str, measured: Sequence[float], floor: Sequence[float], unit: str, digits: int, aim: str = ""
) -> Row:
    """Compare two series of one run. `digits` are those after the point of the absolute figures."""
    return Row(
        what,
        f"{statistics.median(floor):.{digits}f} {unit}",
        f"{statistics.median(measured):.{digits}f} {unit}",
        f"{median_ratio(measured, floor):.2f}",
        aim,
    )
