"""The rule that puts a threshold between noise and hits, and the pictures of it and of a trace."""

import math
from pathlib import Path

import pytest
from rich.console import Console

from snyper.cli import trace as traces
from snyper.cli.calibrate import (
    MIN_RATIO,
    NOISE_FLOOR,
    CalibrationError,
    Measured,
    is_knock,
    loud,
    picture,
    proposal,
)
from snyper.client import Trace


def measured(noise: int, *hits: int) -> Measured:
    return Measured("target_1", 20_000, noise, list(hits))


@pytest.mark.parametrize(
    ("found", "threshold"),
    [
        (measured(3_000, 27_000, 40_000), 9_000),
        (measured(3_000, 40_000, 27_000), 9_000),
        (measured(0, 8_000), 4_000),  # the noise counts as NOISE_FLOOR
        (measured(NOISE_FLOOR, 8_000), 4_000),
        (measured(16_000, 65_535), 32_381),
    ],
)
def test_the_threshold_is_in_the_middle_by_ratio(found: Measured, threshold: int) -> None:
    assert proposal(found) == threshold
    noise, weakest = max(found.noise, NOISE_FLOOR), min(found.hits)
    assert threshold / noise == pytest.approx(weakest / threshold, rel=0.001)
    assert 2 * noise <= threshold + 1


@pytest.mark.parametrize(
    ("found", "advice"),
    [
        (measured(10_000, 50_000, 39_999), "noise (10,000)"),
        (measured(60_000, 65_535), "wind"),
        (measured(100, 7_999), "glue"),
        (measured(0, 1), "glue"),
    ],
)
def test_what_overlaps_is_refused_with_advice(found: Measured, advice: str) -> None:
    with pytest.raises(CalibrationError, match="weakest hit") as refusal:
        proposal(found)
    assert advice in str(refusal.value)


def test_one_knock_is_no_noise_and_wind_is() -> None:
    assert is_knock([400] * 98 + [9_000] * 2)
    assert not is_knock([400] * 100)
    assert not is_knock([3_000, 400, 5_000, 4_000] * 25)
    assert not is_knock([400] * 99 + [1_999])


def test_a_hit_is_louder_than_the_noise() -> None:
    assert loud(0) == NOISE_FLOOR
    assert loud(5_000) == 10_000
    assert loud(65_000) == 65_535
    assert MIN_RATIO * loud(0) > NOISE_FLOOR


def drawn(thing: object, width: int = 100) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(thing)
    console.file.close()
    return console.export_text()


def test_the_picture_has_each_hit_and_both_thresholds() -> None:
    text = drawn(picture(measured(3_000, 27_000, 40_000), 9_000))
    lines = text.splitlines()
    quiet, first, second = (line for line in lines if "·" in line or "█" in line)
    assert quiet.count("█") < first.count("█") < second.count("█")
    assert all(line.count("┃") == line.count("┆") == 1 for line in (quiet, first, second))
    assert quiet.rindex("█") < quiet.index("┃") < quiet.index("┆")
    assert first.rindex("█") > first.index("┆")
    for number in ("3,000", "27,000", "40,000", "20,000", "9,000"):
        assert number in text
    assert "┃" not in drawn(picture(measured(30_000, 31_000), None))


def ringing() -> Trace:
    before = [(burst * 2_000 + at * 12, 300) for burst in range(-30, 0) for at in range(4)]
    after = [(at * 40, round(50_000 * math.exp(-at / 30) * abs(math.cos(at * 0.8)))) for at in range(120)]
    times_us, values = zip(*before, *after, strict=True)
    return Trace(9_000, 412, 50_000, list(times_us), list(values))


def test_a_trace_in_the_terminal() -> None:
    for width in (60, 100, 10):
        lines = drawn(traces.picture(ringing(), width), max(width, 40)).splitlines()
        threshold = next(line for line in lines if "9,000" in line)
        assert "─" in threshold
        hit = lines[-2].index("▲")
        assert all("█" not in line[8:hit] for line in lines[:-4])  # before the hit nothing is high
        assert sum(line[hit:].count("█") for line in lines[:-3]) > 5
    assert "hit" in lines[-1]


def test_a_trace_of_one_sample() -> None:
    assert "▲" in drawn(traces.picture(Trace(5, 0, 5, [0], [5]), 80))


def test_a_plot_is_a_png_with_something_on_it(tmp_path: Path) -> None:
    from matplotlib import image

    path = tmp_path / "trace.png"
    traces.save_png(ringing(), path, "target_1")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = image.imread(path)
    assert pixels.shape[:2] == (720, 1200)
    coloured = (pixels[..., :3].max(axis=2) - pixels[..., :3].min(axis=2)) > 0.3
    assert 1_000 < coloured.sum() < 100_000
    upper, lower = coloured[:360], coloured[360:]
    assert min(upper.sum(), lower.sum()) > 500
