"""A stream as a picture: its signal, and below its rolling mean and deviation."""

import logging
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snyper.streams.plot import StreamPlot
from snyper.system.files import writing
from snyper.system.text import harmless

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE_INCHES = (10, 6)
DPI = 120
_DOLLAR = str.maketrans({"$": r"\$"})  # between two of them matplotlib reads a formula


def save_png(plot: StreamPlot, path: Path) -> None:
    """Draw it into a PNG file of 1,200 by 720 pixels. Raises OSError."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where it keeps its caches is nobody's concern
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    draw(figure, plot)
    picture = BytesIO()  # first whole: a FIFO or device cannot be gone back in
    figure.savefig(picture, format="png")
    with writing(path) as file:
        file.write(picture.getvalue())


def draw(figure: "Figure", plot: StreamPlot) -> None:
    """Draw it anew on a figure."""
    figure.clear()
    signal, rolling = figure.subplots(2, 1, sharex=True)
    lines = plot.lines()
    unit = _text(plot.unit())
    figure.suptitle(_text(plot.title()))
    signal.fill_between(lines.times_s, lines.low, lines.high, color="tab:blue", linewidth=0.8, alpha=0.6)
    signal.plot(lines.times_s, (lines.low + lines.high) / 2, color="tab:blue", linewidth=0.8)
    signal.set_ylabel(unit or "signal")
    rolling.fill_between(
        lines.times_s,
        lines.mean - lines.deviation,
        lines.mean + lines.deviation,
        color="tab:orange",
        linewidth=0,
        alpha=0.3,
        label="± deviation",
    )
    rolling.plot(lines.times_s, lines.mean, color="tab:orange", linewidth=1.2, label="rolling mean")
    rolling.set_ylabel(unit or "mean")
    rolling.set_xlabel("seconds before the newest sample")
    for axes in (signal, rolling):
        axes.set_xlim(-plot.seconds, 0)
        axes.grid(alpha=0.3)
    rolling.legend(loc="upper left", frameon=False)


def _text(text: Any) -> str:
    return harmless(str(text)).translate(_DOLLAR)
