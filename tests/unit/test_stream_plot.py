"""What a plot shows of a stream, whatever its source and its hub do."""

import numpy
import pytest
from rich.text import Text

from snyper.cli.stream_picture import draw
from snyper.cli.stream_terminal import picture
from snyper.streams import Block, StreamSpec
from snyper.streams.plot import StreamPlot
from snyper.streams.subscriber import StreamReader

FAR_US = (1 << 53) - 1


def plotted(*blocks: Block, spec: StreamSpec | None = None, channel: str = "0") -> StreamPlot:
    """Return a plot of 10 s that has taken these blocks, as they are read."""
    plot = StreamPlot("lab1/count", channel, 10, 0.5)
    reader = StreamReader.__new__(StreamReader)
    reader.spec = spec or StreamSpec("<f8", (), 100)
    for block in blocks:
        plot.take(reader, block)
    return plot


def block_at(at_us: int, seq: int = 0, value: float = 1.0) -> Block:
    return Block("e", seq, numpy.full(100, value), at_us, 0, at_us)


@pytest.mark.parametrize("channel", ["z", "2"])
def test_a_channel_has_a_name_and_a_number(channel: str) -> None:
    spec = StreamSpec("<f8", (3,), 100, ("x", "y", "z"), ("g", "g", "m/s"))
    samples = numpy.tile([1.0, 2.0, 3.0], (100, 1))
    plot = plotted(Block("e", 0, samples, 0, 0, 0), spec=spec, channel=channel)
    [lines] = plot.lines()
    assert (set(lines.high.tolist()), plot.unit()) == ({3.0}, "m/s")
    assert plot.title().startswith("lab1/count z, ")


def test_a_channel_that_there_is_not_is_told_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="it has no channel x: 0"):
        plotted(block_at(0), channel="x")


@pytest.mark.parametrize("before_us", [60_000_000, FAR_US])
def test_a_clock_that_begins_anew_begins_a_plot_anew(before_us: int) -> None:
    plot = plotted(block_at(before_us), block_at(1_000_000, 100, 2.0), block_at(2_000_000, 200, 3.0))
    [lines] = plot.lines()
    assert set(lines.high.tolist()) == {2.0, 3.0}
    assert lines.x.max() == 0


@pytest.mark.parametrize("at_us", [0, -5_000_000, -FAR_US, FAR_US])
@pytest.mark.parametrize("value", [0.0, numpy.nan, numpy.inf, 1.7e308, -1.7e308])
@pytest.mark.filterwarnings("error")
def test_whatever_comes_is_drawn(at_us: int, value: float) -> None:
    from matplotlib.figure import Figure

    plot = plotted(block_at(at_us, 0, value), block_at(at_us + 1_000_000, 100, -value))
    assert len(plot.lines()[0].x)
    assert picture(plot, 80, 24).renderables
    figure = Figure()
    draw(figure, plot)
    figure.canvas.draw()


@pytest.mark.parametrize("value", [0.123456789, 12.0, -1e38, 1e299])
def test_the_labels_of_a_large_number_leave_room_for_the_picture(value: float) -> None:
    plot = plotted(block_at(0, 0, value), block_at(1_000_000, 100, -value))
    [_, signal, *_] = picture(plot, 80, 24).renderables
    assert isinstance(signal, Text)
    assert max(line.plain.find("┤") for line in signal.split()) in range(2, 12)
