"""The plot of an array: its first axis is x, and what else it has are channels."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from snyper.streams.columns import MAX_CHANNELS
from snyper.streams.plot import StillPlot
from snyper.streams.spec import channel_number

SHOWN_CHANNELS = 8  # where none are named: more are not told apart
_BATCH = 1 << 18  # values at once


def chosen_channels(count: int, wanted: Sequence[str], names: Sequence[str] = ()) -> list[int]:
    """Return which of `count` channels are shown. Raises ValueError for those that there are not."""
    chosen = dict.fromkeys(channel_number(channel, count, names) for channel in wanted)
    if len(chosen) > MAX_CHANNELS:
        raise ValueError(f"at most {MAX_CHANNELS} channels are shown at once")
    return list(chosen) or list(range(min(count, SHOWN_CHANNELS)))


def shown_of(count: int, channels: Sequence[int]) -> str:
    """Return which of the channels are shown, empty where all are."""
    if len(channels) == count:
        return ""
    return f", {len(channels)} of {count:,} channels"


def plot_of_array(
    name: str,
    array: Any,
    wanted: Sequence[str] = (),
    rolling: float | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> StillPlot:
    """Make the plot of an array of numbers, which may lie in a file: a part at a time is in memory. Of
    complex numbers it is the absolute value. `rolling` is in samples.

    Raises ValueError for one without numbers, or without a channel that is wanted.
    """
    if array.dtype.kind not in "biufc":
        raise ValueError(f"{name} has no numbers: it is of the type {array.dtype}")
    shape = " × ".join(f"{length:,}" for length in array.shape)
    if not array.size:
        raise ValueError(f"{name} has nothing to plot: its shape is {shape}")
    array = array if array.ndim else array.reshape(1)
    count = array.size // len(array)
    channels = chosen_channels(count, wanted)
    plot = StillPlot(name, "sample", 0, len(array), 0, 1.0, rolling, [f"channel {one}" for one in channels])
    absolute = ", absolute" if array.dtype.kind == "c" else ""
    plot.about = f"{array.dtype}, {shape or 'a number'}{absolute}{shown_of(count, channels)}"
    places = [numpy.unravel_index(one, array.shape[1:]) for one in channels]
    step = max(1, _BATCH // len(channels))
    for at in range(0, len(array), step):
        end = min(at + step, len(array))
        samples = numpy.stack([array[(slice(at, end), *place)] for place in places], axis=1)
        plot.add(numpy.arange(at, end), samples, False)
        on_progress(end, len(array))
    return plot
