"""A plot as a picture: the signal, and below its rolling mean and deviation."""

import logging
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snyper.streams.plot import Lines, Plot, are_alone
from snyper.system.files import writing
from snyper.system.text import harmless

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES = (10, 6)
DPI = 120
_DOLLAR = str.maketrans({"$": r"\$"})  # between two of them matplotlib reads a formula
_SIGNAL, _MEAN = "tab:blue", "tab:orange"  # of one channel; of several each has a colour for both
_FEW = 60  # points, each of which is shown
_MAX_NAMES = 20  # of marks that are written out: more are lines alone
_NAME_CHARS = 24


def save_png(plot: Plot, path: Path) -> None:
    """Draw it into a PNG file of 1,200 by 720 pixels. Raises OSError."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where it keeps its caches is nobody's concern
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    draw(figure, plot)
    picture = BytesIO()  # first whole: a FIFO or device cannot be gone back in
    figure.savefig(picture, format="png")
    with writing(path) as file:
        file.write(picture.getvalue())


def draw(figure: "Figure", plot: Plot) -> None:
    """Draw it anew on a figure."""
    figure.clear()
    signal, rolling = figure.subplots(2, 1, sharex=True)
    found = plot.lines()
    unit = _text(plot.unit())
    figure.suptitle(_text(plot.title()))
    for at, lines in enumerate(found):
        colours = (_SIGNAL, _MEAN) if len(found) == 1 else (f"C{at % 10}",) * 2
        _draw_signal(signal, lines, colours[0])
        _draw_rolling(rolling, lines, colours[1], is_one=len(found) == 1)
    _draw_marks(signal, rolling, plot.marks())
    signal.set_ylabel(unit or "signal")
    rolling.set_ylabel(unit or "mean")
    rolling.set_xlabel(plot.axis)
    for axes in (signal, rolling):
        axes.set_xlim(*plot.span())
        axes.grid(alpha=0.3)
    rolling.xaxis.set_major_formatter(lambda x, _: f"{x:,.10g}")
    if len(found) > 1:
        figure.legend(*signal.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    elif found:
        rolling.legend(
            loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, borderaxespad=0, fontsize=8
        )


def _draw_signal(axes: "Axes", lines: Lines, colour: str) -> None:
    middle = (lines.low + lines.high) / 2
    axes.fill_between(lines.x, lines.low, lines.high, color=colour, linewidth=0.8, alpha=0.6)
    axes.plot(lines.x, middle, color=colour, linewidth=0.8, label=_text(lines.name))
    _draw_points(axes, lines.x, middle, colour)


def _draw_rolling(axes: "Axes", lines: Lines, colour: str, is_one: bool) -> None:
    axes.fill_between(
        lines.x,
        lines.mean - lines.deviation,
        lines.mean + lines.deviation,
        color=colour,
        linewidth=0,
        alpha=0.3 if is_one else 0.15,
        label="± deviation",
    )
    axes.plot(lines.x, lines.mean, color=colour, linewidth=1.2, label="rolling mean")
    if len(lines.x) <= _FEW:
        _draw_points(axes, lines.x, lines.mean, colour)


def _draw_points(axes: "Axes", x: Any, values: Any, colour: str) -> None:
    """Draw the points that no line shows, and all where there are few."""
    shown = are_alone(values) if len(values) > _FEW else slice(None)
    axes.plot(x[shown], values[shown], color=colour, linestyle="", marker=".", markersize=4)


def _draw_marks(signal: "Axes", rolling: "Axes", marks: list[tuple[float, str]]) -> None:
    for at, (x, name) in enumerate(marks):
        for axes in (signal, rolling):
            axes.axvline(x, color="tab:green", linewidth=0.8, linestyle="--", alpha=0.8)
        if at < _MAX_NAMES:
            signal.annotate(
                _text(name[:_NAME_CHARS]),
                (x, 1),
                (2, -2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                rotation=90,
                va="top",
                fontsize=8,
                color="tab:green",
                annotation_clip=True,
            )


def _text(text: Any) -> str:
    return harmless(str(text)).translate(_DOLLAR)
