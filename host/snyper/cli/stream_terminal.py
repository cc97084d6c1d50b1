"""A stream in the terminal."""

from math import isfinite

import plotext
from rich.console import Group
from rich.live import Live
from rich.text import Text

from snyper.cli.output import out
from snyper.streams.plot import Lines, StreamPlot
from snyper.system.text import harmless

_LEAST_ROWS = 6  # of a plot
_STEPS = 4  # between the labels of its axis


class StreamTerminal:
    """The plot, which takes the whole terminal while it is there."""

    def __init__(self, plot: StreamPlot) -> None:
        self._plot = plot
        self._live = Live(console=out, screen=True, auto_refresh=False)
        self._live.start()

    def draw(self) -> bool:
        """Show what there is now. It is never closed but by Ctrl-C."""
        self._live.update(picture(self._plot, out.width, out.height), refresh=True)
        return True

    def close(self) -> None:
        """Give the terminal back."""
        self._live.stop()


def picture(plot: StreamPlot, width: int, height: int) -> Group:
    """Draw it in so many characters and lines."""
    lines = plot.lines()
    rows = max(_LEAST_ROWS, (height - 2) // 2)
    title = Text(harmless(plot.title()), style="bold", no_wrap=True)
    if not len(lines.times_s):
        return Group(title)
    above, below = _signal(plot, lines), _rolling(lines)
    return Group(
        title, *(_drawn(curves, plot.seconds, width, rows) for curves in (above, below)), Text(_LEGEND, "dim")
    )


_LEGEND = "above: minimum and maximum; below: rolling mean, and it ± the deviation"
_Curves = list[tuple[list[float], list[float], str]]


def _signal(plot: StreamPlot, lines: Lines) -> _Curves:
    times = lines.times_s.tolist()
    return [(times, values.tolist(), "blue") for values in (lines.low, lines.high)]


def _rolling(lines: Lines) -> _Curves:
    times = lines.times_s.tolist()
    near = (lines.mean - lines.deviation, lines.mean + lines.deviation)
    return [*((times, one.tolist(), "gray") for one in near), (times, lines.mean.tolist(), "orange")]


def _ticks(curves: _Curves) -> list[float]:
    """Return where the axis has its labels, which a large number would make wider than the picture."""
    values = [value for _, ones, _ in curves for value in ones if isfinite(value)]
    if not values:
        return []
    low, high = min(values), max(values)
    return [low + (high - low) * part / _STEPS for part in range(_STEPS + 1)] if high > low else [low]


def _drawn(curves: _Curves, seconds: float, width: int, rows: int) -> Text:
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, rows)
    plotext.xlim(-seconds, 0)
    if ticks := _ticks(curves):
        nothing = (ticks[-1] - ticks[0]) / 1_000
        plotext.yticks(ticks, ["0" if abs(tick) < nothing else f"{tick:.4g}" for tick in ticks])
    for times, values, colour in curves:
        plotext.plot(times, values, marker="braille", color=colour)
    return Text.from_ansi(plotext.build().rstrip(), no_wrap=True)
