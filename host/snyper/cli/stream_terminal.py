"""A plot in the terminal."""

from collections.abc import Callable
from math import ceil, floor, isfinite, log10

import plotext
from rich.console import Group
from rich.live import Live
from rich.text import Text

from snyper.cli.output import out
from snyper.streams.plot import Lines, Plot
from snyper.system.text import harmless

_LEAST_ROWS = 6  # of a plot
_STEPS = 4  # between the labels of its axis
_COLOURS = ("blue", "orange", "green", "red", "magenta", "cyan", "yellow", "gray")
_MEAN, _DEVIATION = "orange", "gray"  # of one channel; of several each mean has the channel's colour
_MARK = "green"


class StreamTerminal:
    """The plot, which takes the whole terminal while it is there."""

    on_key: Callable[[str], object] | None = None  # which come from the terminal's own input

    def __init__(self, plot: Plot) -> None:
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


def picture(plot: Plot, width: int, height: int) -> Group:
    """Draw it in so many characters and lines."""
    found = plot.lines()
    marks = plot.marks()
    legend = [Text(_LEGEND, "dim", no_wrap=True, overflow="ellipsis")]
    if len(found) > 1:
        legend.append(_names(found))
    if marks:
        legend.append(_marks_line(marks))
    rows = max(_LEAST_ROWS, (height - 1 - len(legend)) // 2)
    title = Text(harmless(plot.title()), style="bold", no_wrap=True, overflow="ellipsis")
    if not found:
        return Group(title)
    curves = _signal(found), _rolling(found)
    return Group(title, *(_drawn(some, plot, marks, width, rows) for some in curves), *legend)


_LEGEND = "above: minimum and maximum; below: rolling mean, and it ± the deviation"
_Curves = list[tuple[list[float], list[float], str]]


def _names(found: list[Lines]) -> Text:
    """Return the channels, each in its colour."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for at, lines in enumerate(found):
        text.append(f"{'   ' if at else ''}━ {harmless(lines.name)}", _style(at))
    return text


def _marks_line(marks: list[tuple[float, str]]) -> Text:
    """Return the names of the marks, the last first."""
    said = "   ".join(f"{x:.6g} {harmless(name)}" for x, name in reversed(marks))
    return Text(f"│ {said}", _MARK, no_wrap=True, overflow="ellipsis")


def _style(at: int) -> str:
    colour = _COLOURS[at % len(_COLOURS)]
    return {"orange": "color(214)", "gray": "color(244)"}.get(colour, colour)


def _signal(found: list[Lines]) -> _Curves:
    return [
        (lines.x.tolist(), values.tolist(), _COLOURS[at % len(_COLOURS)])
        for at, lines in enumerate(found)
        for values in (lines.low, lines.high)
    ]


def _rolling(found: list[Lines]) -> _Curves:
    if len(found) > 1:
        return [
            (lines.x.tolist(), lines.mean.tolist(), _COLOURS[at % len(_COLOURS)])
            for at, lines in enumerate(found)
        ]
    [lines] = found
    x = lines.x.tolist()
    near = (lines.mean - lines.deviation, lines.mean + lines.deviation)
    return [*((x, one.tolist(), _DEVIATION) for one in near), (x, lines.mean.tolist(), _MEAN)]


def _ticks(curves: _Curves) -> list[float]:
    """Return where the axis has its labels, which a large number would make wider than the picture."""
    values = [value for _, ones, _ in curves for value in ones if isfinite(value)]
    if not values:
        return []
    low, high = min(values), max(values)
    return [low + (high - low) * part / _STEPS for part in range(_STEPS + 1)] if high > low else [low]


def _round_ticks(low: float, high: float) -> list[float]:
    """Return multiples of a round number in a span, some _STEPS of them."""
    rough = (high - low) / _STEPS
    size = 10.0 ** floor(log10(rough))
    step = next(size * one for one in (1, 2, 5, 10) if size * one >= 0.7 * rough)
    return [step * number for number in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def _drawn(curves: _Curves, plot: Plot, marks: list[tuple[float, str]], width: int, rows: int) -> Text:
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, rows)
    plotext.xlim(*plot.span())
    at = _round_ticks(*plot.span())
    plotext.xticks(at, [f"{tick:,.10g}" for tick in at])
    if ticks := _ticks(curves):
        nothing = (ticks[-1] - ticks[0]) / 1_000
        plotext.yticks(ticks, ["0" if abs(tick) < nothing else f"{tick:.4g}" for tick in ticks])
    for x, _ in marks:
        plotext.vline(x, _MARK)
    for times, values, colour in curves:
        plotext.plot(times, values, marker="braille", color=colour)
    return Text.from_ansi(plotext.build().rstrip(), no_wrap=True)
