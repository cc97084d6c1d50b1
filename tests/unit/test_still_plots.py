"""What a plot shows of arrays and recordings, whatever is in them."""

import tracemalloc
from io import StringIO
from pathlib import Path
from typing import Any

import numpy
import pytest

from snyper.cli.stream_picture import draw
from snyper.cli.stream_terminal import picture
from snyper.recordings import RecordingError, open_recording
from snyper.recordings.plot import plot_of_recording
from snyper.recordings.segment import Segment
from snyper.recordings.writer import RecordingWriter
from snyper.streams import StreamSpec
from snyper.streams.array_plot import SHOWN_CHANNELS, plot_of_array
from snyper.streams.plot import Plot

NAN, INF = numpy.nan, numpy.inf


def drawn(plot: Plot) -> str:
    """Draw a plot everywhere, and return it as the terminal has it."""
    from matplotlib.figure import Figure
    from rich.console import Console

    figure = Figure()
    draw(figure, plot)
    figure.canvas.draw()
    console = Console(width=100, height=30, file=StringIO(), record=True)
    console.print(picture(plot, 100, 30))
    return console.export_text()


def test_one_spike_in_many_samples_is_seen() -> None:
    array = numpy.zeros(10_000_000, "<f4")
    array[7_654_321] = 40
    tracemalloc.start()
    plot = plot_of_array("spike", array)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    [lines] = plot.lines()
    assert len(lines.x) <= 1_001
    assert lines.high.max() == 40
    at = lines.x[lines.high.argmax()]
    assert at <= 7_654_321 < at + 10_000_000 / 900
    assert peak < 60_000_000  # a batch at a time, of each some numbers
    assert "spike: float32, 10,000,000" in drawn(plot)


@pytest.mark.parametrize("length", [1, 2, 999, 1_000, 1_001, 123_457])
@pytest.mark.parametrize("dtype", ["|b1", "<u8", ">i2", "<f2", "<f8", "<c8"])
def test_least_and_greatest_are_those_of_the_array(length: int, dtype: str) -> None:
    array = (numpy.random.default_rng(length).normal(size=length) * 100).astype(dtype)
    plot = plot_of_array("a", array)
    [lines] = plot.lines()
    values = numpy.abs(array) if array.dtype.kind == "c" else array
    assert (lines.low.min(), lines.high.max()) == (float(values.min()), float(values.max()))
    assert plot.span()[0] <= lines.x.min() <= lines.x.max() <= plot.span()[1]
    assert drawn(plot)


@pytest.mark.parametrize("order", ["C", "F"])
def test_channels_are_all_axes_but_the_first(order: Any) -> None:
    array = numpy.asarray(numpy.arange(24.0).reshape(4, 2, 3), order=order)
    plot = plot_of_array("a", array)
    assert [lines.high.tolist() for lines in plot.lines()] == array.reshape(4, 6).T.tolist()
    assert [lines.name for lines in plot.lines()] == [f"channel {number}" for number in range(6)]
    plot = plot_of_array("a", array, ["4", "1", "4"])
    assert [lines.high.tolist() for lines in plot.lines()] == array.reshape(4, 6).T[[4, 1]].tolist()
    assert plot.title() == "a: float64, 4 × 2 × 3, 2 of 6 channels"
    assert "channel 4" in drawn(plot)
    wide = plot_of_array("a", numpy.zeros((3, 100)))
    assert len(wide.lines()) == SHOWN_CHANNELS
    for wanted, said in ((["6"], "no channel 6: 0 to 5"), (["-1"], "no channel -1: 0 to 5")):
        with pytest.raises(ValueError, match=said):
            plot_of_array("a", array, wanted)
    with pytest.raises(ValueError, match="at most 64"):
        plot_of_array("a", numpy.zeros((3, 100)), [str(number) for number in range(65)])


@pytest.mark.parametrize(
    "values",
    [[NAN] * 5, [INF, -INF], [1.0, NAN, 2.0], [NAN, 1.0, NAN], [1e308, -1e308], [1.0, INF, 2.0]],
)
@pytest.mark.filterwarnings("error")
def test_what_is_no_number_breaks_the_line(values: list[float]) -> None:
    plot = plot_of_array("a", numpy.array(values))
    assert drawn(plot)
    [lines] = plot.lines()
    shown = [value for value in values if abs(value) < 1e300]
    assert [value for value in lines.low if numpy.isfinite(value)] == shown
    assert ("no number among them" in plot.title()) == (not any(map(numpy.isfinite, values)))
    if len(shown) == 2:
        assert numpy.isnan(lines.low[list(lines.low).index(shown[0]) + 1])


def test_what_cannot_be_plotted() -> None:
    for array, said in (
        (numpy.zeros((0, 3)), "nothing to plot: its shape is 0 × 3"),
        (numpy.zeros((3, 0)), "nothing to plot: its shape is 3 × 0"),
        (numpy.array(["a"]), "no numbers: it is of the type <U1"),
        (numpy.zeros(3, "M8[s]"), "no numbers"),
    ):
        with pytest.raises(ValueError, match=said):
            plot_of_array("a", array)
    assert plot_of_array("a", numpy.array(3.5)).lines()[0].high.tolist() == [3.5]


def test_the_rolling_mean_is_of_so_many_samples() -> None:
    array = numpy.arange(100.0)
    [lines] = plot_of_array("a", array, rolling=4).lines()
    assert lines.mean[50] == numpy.mean(array[47:51])
    assert lines.deviation[50] == pytest.approx(numpy.std(array[47:51]))
    [lines] = plot_of_array("a", array).lines()
    assert lines.mean[50] == numpy.mean(array[46:51])  # a twentieth


SPEC = StreamSpec("<f4", (2,), 1_000, ("x", "y"), ("g", "g"))


def recorded(folder: Path) -> RecordingWriter:
    """Record 4 s in blocks of 10 samples, of which the second 2 is missing."""
    writer = RecordingWriter(folder, "lab1", "accelerometer")
    writer.begin("e", SPEC)
    writer.write_clock(5_000_000, 0, 1_796_158_800_000_000)
    for seq in (*range(0, 2_000, 10), *range(3_000, 4_000, 10)):
        samples = numpy.zeros((10, 2), "<f4")
        samples[:, 1] = seq
        if seq == 3_500:
            samples[3, 0] = 9
        writer.write_block(seq, samples, seq * 1_000, 5_000_000, 40)
    writer.write_mark(6_000_000, "door \x1b[31mopened$x$")
    return writer


def test_a_recording_is_plotted_with_its_gap_and_its_marks(tmp_path: Path) -> None:
    recorded(tmp_path / "r").close()
    with open_recording(tmp_path / "r") as recording:
        plot = plot_of_recording(recording)
        x, y = plot.lines()
        assert (x.name, y.name, plot.unit()) == ("x", "y", "g")
        assert plot.title() == "lab1/accelerometer: 4.00 s from 2026-12-01 21:00:00 UTC on"
        assert x.x[numpy.nanargmax(x.high)] == pytest.approx(3.503, abs=0.005)
        gap = numpy.flatnonzero(numpy.isnan(x.high))
        assert 2 <= x.x[gap].min() <= x.x[gap].max() <= 3.01
        assert plot.marks() == [(1.0, "door \x1b[31mopened$x$")]
        assert plot.span() == pytest.approx((0, 3.999))
        text = drawn(plot)
        assert "door [31mopened" in text
        assert "\x1b" not in text
        part = plot_of_recording(recording, 3.2, 3.6, ["x"], 0.01)
        [lines] = part.lines()
        assert part.span() == pytest.approx((3.2, 3.6), abs=1e-5)
        assert (part.marks(), lines.x.min(), lines.x.max()) == (
            [],
            pytest.approx(3.2, abs=2e-3),
            pytest.approx(3.6, abs=2e-3),
        )
        assert numpy.nanmax(lines.high) == 9
        assert part.title().endswith("UTC on, x, 1 of 2 channels")
        for begin, end in ((2.2, 2.8), (4.0, None), (3.0, 2.0), (None, 0.0)):
            with pytest.raises(RecordingError, match="was recorded then"):
                plot_of_recording(recording, begin, end)
        [lines] = plot_of_recording(recording, wanted=["1"]).lines()
        assert numpy.nanmax(lines.high) == 3_990
        with pytest.raises(ValueError, match="it has no channel z: x, y"):
            plot_of_recording(recording, wanted=["z"])


def test_epochs_of_other_channels_are_not_in_one_plot(tmp_path: Path) -> None:
    writer = recorded(tmp_path / "r")
    writer.begin("f", StreamSpec("<f4", (), 1_000))
    writer.write_block(0, numpy.zeros(10, "<f4"), 5_000_000, 5_000_000, 40)
    writer.close()
    with open_recording(tmp_path / "r") as recording:
        with pytest.raises(ValueError, match="not as many channels"):
            plot_of_recording(recording)
        assert len(plot_of_recording(recording, 4.5).lines()) == 1
        assert len(plot_of_recording(recording, None, 4.5).lines()) == 2


def test_a_long_recording_is_plotted_from_its_pyramid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = numpy.random.default_rng(3).normal(50, 2, 4_000_000).astype("<f4")
    writer = RecordingWriter(tmp_path / "r", "lab1", "wave", 4 << 20)
    writer.begin("e", StreamSpec("<f4", (), 10_000))
    for at in range(0, len(values), 250):
        writer.write_block(at, values[at : at + 250], at * 100, 0, 40)
    writer.close()
    count = 0
    read_blocks = Segment.read_blocks

    def counted(self: Segment, file: Any, entries: Any) -> Any:
        nonlocal count
        count += int(entries["count"].sum())
        return read_blocks(self, file, entries)

    monkeypatch.setattr(Segment, "read_blocks", counted)
    with open_recording(tmp_path / "r") as recording:
        [lines] = plot_of_recording(recording, 0, 399).lines()
    assert count < len(values) / 5
    assert numpy.nanmax(lines.high) == values.max()
    assert numpy.nanmin(lines.low) == values.min()
    assert lines.mean == pytest.approx(numpy.full(len(lines.mean), 50), abs=0.1)
    assert lines.deviation == pytest.approx(numpy.full(len(lines.mean), 2), abs=0.1)


def test_of_complex_numbers_a_recording_has_the_absolute_value(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r", "lab1", "wave")
    writer.begin("e", StreamSpec("<c8", (2,), 1_000))
    samples = numpy.zeros((5_000, 2), "<c8")
    samples[:, 1] = 3 * numpy.exp(1j * numpy.arange(5_000))
    writer.write_block(0, samples, 0, 0, 40)
    writer.close()
    with open_recording(tmp_path / "r") as recording:
        [lines] = plot_of_recording(recording, wanted=["1"]).lines()
        assert lines.low == pytest.approx(numpy.full(len(lines.low), 3), rel=1e-5)
        assert lines.high == pytest.approx(lines.low, rel=1e-5)
