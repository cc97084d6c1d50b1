"""The plot of a recording, or of some seconds of it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import prod

import numpy

from snyper.recordings.errors import RecordingError
from snyper.recordings.overview import drawn_channels, drawn_columns
from snyper.recordings.recording import Recording
from snyper.streams.array_plot import chosen_channels, shown_of
from snyper.streams.plot import COLUMNS, StillPlot, channel_label

_1970 = datetime(1970, 1, 1, tzinfo=UTC)


def plot_of_recording(
    recording: Recording,
    begin_s: float | None = None,
    end_s: float | None = None,
    wanted: Sequence[str] = (),
    rolling_s: float | None = None,
) -> StillPlot:
    """Make the plot of a recording, or of what is between two instants of it, in seconds from its begin, in
    whole columns of pixels. Of complex numbers it is the absolute value.

    Raises RecordingError where nothing was recorded then, or a record is damaged; ValueError where it has not
    a channel that is wanted, or the samples of two epochs have not as many; OSError.
    """
    first_us, last_us = recording.span_us
    begin_us = first_us if begin_s is None else max(first_us, first_us + round(begin_s * 1e6))
    end_us = last_us + 1 if end_s is None else min(last_us + 1, first_us + round(end_s * 1e6))
    name = f"{recording.source}/{recording.stream}"
    if begin_us >= end_us:
        raise RecordingError(
            f"nothing of {name} was recorded then: it lasts {(last_us - first_us) / 1e6:g} s"
        )
    parts = recording.parts_between(begin_us, end_us)
    spec = next((part.spec for part in parts if part.first < part.end), None)
    if spec is None:
        raise RecordingError(f"nothing of {name} was recorded then")
    count = prod(spec.shape)
    channels = chosen_channels(count, wanted, spec.names)
    found = recording.overview(begin_us, end_us, COLUMNS, drawn_channels(spec, channels))
    rows = numpy.flatnonzero(found.samples)
    labels = [channel_label(spec.names, one) for one in channels]
    plot = StillPlot(name, "seconds", begin_us, end_us, first_us, 1e-6, rolling_s, labels)
    alone = f", {labels[0]}" if len(labels) == 1 and spec.names else ""
    plot.about = f"{_lasting(recording, begin_us, end_us)}{alone}{shown_of(count, channels)}"
    units = {spec.units[one] for one in channels} if spec.units else set()
    plot.shown_unit = units.pop() if len(units) == 1 else ""
    found.is_broken[rows[0]] = False  # nothing is drawn before it
    width_us = int(found.edges_us[1] - found.edges_us[0])
    plot.fill(found.edges_us[rows] // width_us, *drawn_columns(found, rows))
    plot.shown_marks = [
        ((mark.at_us - first_us) / 1e6, mark.name)
        for mark in recording.marks
        if begin_us <= mark.at_us < end_us
    ]
    return plot


def _lasting(recording: Recording, begin_us: int, end_us: int) -> str:
    """Return since when, and for how long."""
    seconds = (end_us - begin_us) / 1e6
    lasts = f"{seconds:.2f} s" if seconds < 100 else f"{timedelta(seconds=round(seconds))}"
    utc_us = recording.utc_us(begin_us)
    if utc_us is None:
        return lasts
    try:
        return f"{lasts} from {_1970 + timedelta(microseconds=utc_us):%Y-%m-%d %H:%M:%S} UTC on"
    except OverflowError:
        return lasts
