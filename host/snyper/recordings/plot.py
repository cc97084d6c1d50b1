"""The plot of a recording, or of some seconds of it."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import prod

import numpy

from snyper.recordings.errors import RecordingError
from snyper.recordings.recording import Recording, Run
from snyper.streams.array_plot import chosen_channels, shown_of
from snyper.streams.plot import StillPlot, channel_label

_BATCH = 1 << 16  # samples at once: blocks may have one each
_1970 = datetime(1970, 1, 1, tzinfo=UTC)


def plot_of_recording(
    recording: Recording,
    begin_s: float | None = None,
    end_s: float | None = None,
    wanted: Sequence[int] = (),
    rolling_s: float | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> StillPlot:
    """Make the plot of a recording, or of what is between two instants of it, in seconds from its begin; a
    part at a time is in memory. Of complex numbers it is the absolute value.

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
    plot: StillPlot | None = None
    channels: list[int] = []
    count = 0
    for is_after_gap, runs in _batches(recording.chunks((begin_us, end_us))):
        spec = runs[0].spec
        if plot is None:
            count = prod(spec.shape)
            channels = chosen_channels(count, wanted)
            labels = [channel_label(spec.names, one) for one in channels]
            plot = StillPlot(name, "seconds", begin_us, end_us, first_us, 1e-6, rolling_s, labels)
            alone = f", {labels[0]}" if len(labels) == 1 and spec.names else ""
            plot.about = f"{_lasting(recording, begin_us, end_us)}{alone}{shown_of(count, channels)}"
            units = {spec.units[one] for one in channels} if spec.units else set()
            plot.shown_unit = units.pop() if len(units) == 1 else ""
        if prod(spec.shape) != count:
            raise ValueError("the samples of two epochs have not as many channels: plot one, by its seconds")
        samples = numpy.concatenate([run.samples.reshape(len(run.samples), -1) for run in runs])
        times_us = numpy.concatenate([run.times_us for run in runs])
        plot.add(times_us, samples[:, channels], is_after_gap)
        on_progress(int(times_us[-1]) - begin_us, end_us - 1 - begin_us)
    if plot is None:
        raise RecordingError(f"nothing of {name} was recorded then")
    plot.shown_marks = [
        ((mark.at_us - first_us) / 1e6, mark.name)
        for mark in recording.marks
        if begin_us <= mark.at_us < end_us
    ]
    return plot


def _lasting(recording: Recording, begin_us: int, end_us: int) -> str:
    """Return since when, and for how long."""
    lasts = f"{timedelta(seconds=round((end_us - begin_us) / 1e6, 2 if end_us - begin_us < 10**8 else 0))}"
    utc_us = recording.utc_us(begin_us)
    if utc_us is None:
        return lasts
    try:
        return f"{lasts} from {_1970 + timedelta(microseconds=utc_us):%Y-%m-%d %H:%M:%S} UTC on"
    except OverflowError:
        return lasts


def _batches(chunks: Iterator[Run]) -> Iterator[tuple[bool, list[Run]]]:
    """Join chunks that follow each other, and say of each batch whether something is missing before it."""
    batch: list[Run] = []
    is_after_gap = False
    size = 0
    for run in chunks:
        follows = not batch or _follows(batch[-1], run)
        if batch and (size >= _BATCH or not follows):
            yield is_after_gap, batch
            batch, size, is_after_gap = [], 0, not follows
        batch.append(run)
        size += len(run.samples)
    if batch:
        yield is_after_gap, batch


def _follows(before: Run, run: Run) -> bool:
    is_same = (before.epoch, before.spec) == (run.epoch, run.spec)
    return is_same and before.first + len(before.samples) == run.first
