"""The samples around a hit as a picture: in the terminal, or as a file."""

import logging
from io import BytesIO
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from snyper.client import Trace
from snyper.system.files import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS = 16
MIN_COLUMNS = 20
GREATEST = 65_535
_LABEL_CHARS = 8
_BEFORE = 2  # times as long before the hit as after it

_SIZE_INCHES = (10, 6)
_DPI = 120
_ZOOM_BEFORE_US = 3_000  # in the lower half: the hit itself, and the burst before it
_PAUSE_US = 1_000  # between two samples with no line from one to the other: nobody knows what was there


def picture(trace: Trace, columns: int) -> Text:
    """Draw the trace in `columns` characters a line: each column is the greatest sample of its time, `·` one
    with none. The line is the threshold, the arrow below is the hit. Of what was before it only as much is
    there as leaves space to see it.
    """
    width = max(columns - _LABEL_CHARS, MIN_COLUMNS)
    last_us = trace.times_us[-1]
    first_us = max(trace.times_us[0], -max(_BEFORE * last_us, _ZOOM_BEFORE_US))
    span_us = max(last_us - first_us, 1)

    def column(at_us: int) -> int:
        return (at_us - first_us) * (width - 1) // span_us

    tops = [-1] * width
    for at_us, value in zip(trace.times_us, trace.values, strict=True):
        if at_us >= first_us:
            tops[column(at_us)] = max(tops[column(at_us)], value)
    top = min(GREATEST, max(*trace.values, trace.threshold) * 9 // 8)
    line = trace.threshold * ROWS // (top + 1)
    drawn = Text(no_wrap=True)
    for row in range(ROWS - 1, -1, -1):
        label = f"{trace.threshold:,}" if row == line else f"{top:,}" if row == ROWS - 1 else ""
        drawn.append(f"{label:>{_LABEL_CHARS - 1}} ", "yellow" if row == line else "dim")
        for value in tops:
            level = value * ROWS // (top + 1)
            if value >= 0 and level >= row and (value or not row):
                drawn.append("█", "red" if value >= trace.threshold else "blue")
            elif row == line:
                drawn.append("─", "yellow")
            else:
                drawn.append("·" if not row else " ", "dim")
        drawn.append("\n")
    drawn.append(" " * (_LABEL_CHARS + column(0)) + "▲\n", "bold")
    drawn.append(_axis(first_us, last_us, width, column(0)), "dim")
    return drawn


def _axis(first_us: int, last_us: int, width: int, hit: int) -> str:
    """Format the times of both ends and of the hit, as far as they fit."""
    axis = [" "] * (_LABEL_CHARS + width)

    def write(text: str, at: int) -> None:
        at = max(0, min(at, len(axis) - len(text)))
        if all(char == " " for char in axis[max(0, at - 1) : at + len(text) + 1]):
            axis[at : at + len(text)] = text

    write("hit", _LABEL_CHARS + hit - 1)
    write(f"{first_us / 1000:.1f} ms", _LABEL_CHARS)
    write(f"{last_us / 1000:+.1f} ms", len(axis))
    return "".join(axis)


def save_png(trace: Trace, path: Path, title: str) -> None:
    """Draw the trace into a PNG file of 1,200 by 720 pixels, by the extra `plot`. Raises OSError when the
    file cannot be written.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where it keeps its caches is nobody's concern
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    whole, close = figure.subplots(2, 1)
    figure.suptitle(f"{title}: peak {trace.peak:,}, detected {trace.reaction_ms:,} ms after arming")
    _draw(whole, trace, trace.times_us[0])
    _draw(close, trace, max(trace.times_us[0], -_ZOOM_BEFORE_US))
    whole.legend(loc="upper left", frameon=False)
    close.set_xlabel("ms after the hit")
    picture = BytesIO()  # first whole: a FIFO or device cannot be gone back in
    figure.savefig(picture, format="png")
    with writing(path) as file:
        file.write(picture.getvalue())


def _draw(axes: "Axes", trace: Trace, from_us: int) -> None:
    times_ms: list[float] = []
    values: list[float] = []
    last_us = from_us
    for time_us, value in zip(trace.times_us, trace.values, strict=True):
        if time_us < from_us:
            continue
        if time_us - last_us > _PAUSE_US and values:
            times_ms.append(times_ms[-1])
            values.append(nan)
        times_ms.append(time_us / 1000)
        values.append(value)
        last_us = time_us
    margin_ms = (times_ms[-1] - times_ms[0]) * 0.02 or 0.1
    style: dict[str, Any] = {"linewidth": 0.8, "marker": ".", "markersize": 4}
    axes.plot(times_ms, values, color="tab:blue", label="samples", **style)
    axes.axhline(trace.threshold, color="tab:orange", linestyle="--", label=f"threshold {trace.threshold:,}")
    axes.axvline(0, color="tab:red", linewidth=0.8, label="hit")
    axes.set_xlim(times_ms[0] - margin_ms, times_ms[-1] + margin_ms)
    top = max(*trace.values, trace.threshold) * 1.1
    axes.set_ylim(-top / 50, top)
    axes.set_ylabel("sample")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(alpha=0.3)
