"""Plots of numbers: the last seconds of a stream, or all of what is stored."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy

from snyper.streams import Block, StreamSpec
from snyper.streams.block import Mark
from snyper.streams.columns import Columns, LiveColumns, column_width_us
from snyper.streams.spec import channel_number
from snyper.streams.subscriber import StreamReader

COLUMNS = 1_000
_MAX_VALUE = 1e300  # beyond it what draws has no number for the axis
_MAX_MARKS = 100  # the last
_PART = 20  # of what is seen, over which mean and deviation are taken


@dataclass(frozen=True, eq=False)
class Lines:
    """The lines of a channel in a plot, with NaN where one is to end."""

    name: str  # of the channel, empty where there is but one
    x: Any
    low: Any
    high: Any
    mean: Any
    deviation: Any


class Plot(Protocol):
    """A plot that is to be drawn."""

    name: str
    axis: str  # what x is

    def title(self) -> str:
        """Return what it is, and how it stands."""

    def unit(self) -> str:
        """Return the unit of the values, empty where they have none."""

    def span(self) -> tuple[float, float]:
        """Return the least and the greatest x that are seen."""

    def lines(self) -> list[Lines]:
        """Return the lines of each channel, none where there is nothing yet."""

    def marks(self) -> list[tuple[float, str]]:
        """Return where marks are, and their names."""


def lines_of(columns: Columns, names: Sequence[str], x: Any) -> list[Lines]:
    """Return the lines of columns that are at `x`, for each of their channels."""
    found = []
    for at, name in enumerate(names):
        ends = numpy.flatnonzero(columns.is_broken[:, at])
        found.append(
            Lines(
                name,
                numpy.insert(x, ends, x[ends]),
                *(
                    _broken(values[:, at], ends)
                    for values in (columns.low, columns.high, columns.mean, columns.deviation)
                ),
            )
        )
    return found


def _broken(values: Any, ends: Any) -> Any:
    return numpy.insert(numpy.where(numpy.abs(values) <= _MAX_VALUE, values, numpy.nan), ends, numpy.nan)


def are_alone(values: Any) -> Any:
    """Return for each value whether it is a number beside which there is none."""
    is_number = numpy.concatenate([[False], numpy.isfinite(values), [False]])
    return is_number[1:-1] & ~is_number[:-2] & ~is_number[2:]


def channel_label(names: Sequence[str], channel: int) -> str:
    """Return what a channel is called."""
    return names[channel] if channel < len(names) else f"channel {channel}"


class StreamPlot:
    """The last `seconds` of one channel of the stream `name`, that of a name or a number from 0 on, with the
    mean and deviation of `rolling_s`.
    """

    axis = "seconds before the newest sample"

    def __init__(self, name: str, channel: str, seconds: float, rolling_s: float) -> None:
        self.name = name
        self.seconds = seconds
        self.lost = 0
        self.note = ""  # what is said behind the title
        self._wanted = channel
        self._channel = 0
        self._rolling_s = rolling_s
        self._spec: StreamSpec | None = None
        self._columns: LiveColumns | None = None
        self._reader: StreamReader | None = None
        self._marks: deque[Mark] = deque(maxlen=_MAX_MARKS)
        self._lag_us = 0

    @property
    def has_samples(self) -> bool:
        """Return whether anything came."""
        return self._columns is not None

    def take(self, reader: StreamReader, block: Block) -> None:
        """Take a block. Raises ValueError where the stream has not that channel."""
        spec = reader.spec
        assert spec is not None
        self._reader = reader
        if self._columns is None or spec != self._spec or self._columns.is_of_another_clock(block):
            width_us = column_width_us(round(self.seconds * 1e6), COLUMNS)
            self._channel = channel_number(self._wanted, math.prod(spec.shape), spec.names)
            self._columns = LiveColumns(spec, width_us, COLUMNS, [self._channel])
            self._spec = spec
            self._marks.clear()
        self._columns.add(block)
        self._marks.extend(block.marks)
        self.lost += block.lost
        self._lag_us = block.lag_us

    def title(self) -> str:
        """Return what it is, and how it stands."""
        return f"{self._state()}   {self.note}" if self.note else self._state()

    def _state(self) -> str:
        if self._reader is not None and self._reader.is_gone:
            return f"{self.name}: its source is away"
        if self._columns is None:
            return f"{self.name}: nothing yet"
        lost = f", {self.lost:,} lost" if self.lost else ""
        return f"{self.name}{self._channel_name()}, {self._lag_us / 1000:.0f} ms ago{lost}"

    def unit(self) -> str:
        """Return the channel's unit, empty where it has none."""
        units = self._spec.units if self._spec else ()
        return units[self._channel] if self._channel < len(units) else ""

    def _channel_name(self) -> str:
        names = self._spec.names if self._spec else ()
        return f" {channel_label(names, self._channel)}" if names or self._channel else ""

    def span(self) -> tuple[float, float]:
        """Return the last seconds."""
        return -self.seconds, 0.0

    def lines(self) -> list[Lines]:
        """Return what is to be drawn now: 0 is the newest column."""
        if self._columns is None:
            return []
        width_us = self._columns.width_us
        found = self._columns.since(self._columns.first, max(1, round(self._rolling_s * 1e6 / width_us)))
        return lines_of(found, ("",), (found.numbers - found.numbers[-1]) * (width_us / 1e6))

    def marks(self) -> list[tuple[float, str]]:
        """Return the marks of the last seconds."""
        if self._columns is None or not self._marks:
            return []
        newest_us = int(self._columns.since(self._columns.first).numbers[-1]) * self._columns.width_us
        found = (((mark.at_us - newest_us) / 1e6, mark.name) for mark in self._marks)
        return [(at_s, name) for at_s, name in found if -self.seconds <= at_s <= 0]


class StillPlot:
    """The plot of what is stored, of which nothing more comes.

    What is counted goes from `begin` to `end`, and x is `scale` times what is beyond `origin`; `rolling` is
    in what x is. `channels` are the names of those that are shown.
    """

    def __init__(
        self,
        name: str,
        axis: str,
        begin: int,
        end: int,
        origin: int,
        scale: float,
        rolling: float | None,
        channels: Sequence[str],
    ) -> None:
        self.name = name
        self.axis = axis
        self.about = ""  # what is said beside the name
        self.shown_unit = ""
        self.shown_marks: list[tuple[float, str]] = []
        self._begin = begin
        self._end = end
        self._origin = origin
        self._scale = scale
        self._channels = channels
        width = column_width_us(max(1, end - begin), COLUMNS)
        self._columns = LiveColumns(
            StreamSpec("<f8", (len(channels),), 0), width, COLUMNS + 1, range(len(channels))
        )
        wanted = (end - begin) / _PART if rolling is None else rolling / scale
        self._rolling = max(1, round(wanted / width))

    def add(self, counted: Any, samples: Any, is_after_gap: bool) -> None:
        """Add samples, one at least, each with a value for each channel, and where each is."""
        self._columns.add_samples(counted, samples, is_after_gap)

    def fill(self, *columns: Any) -> None:
        """Add columns: see `LiveColumns.fill`."""
        self._columns.fill(*columns)

    def title(self) -> str:
        """Return what it is."""
        numbers = self._columns.since(self._columns.first).low
        nothing = "" if numpy.isfinite(numbers).any() else ", no number among them"
        return f"{self.name}: {self.about}{nothing}"

    def unit(self) -> str:
        """Return the unit of the values."""
        return self.shown_unit

    def span(self) -> tuple[float, float]:
        """Return all of it."""
        first, last = ((at - self._origin) * self._scale for at in (self._begin, self._end - 1))
        return (first, last) if last > first else (first - 1, first + 1)

    def lines(self) -> list[Lines]:
        """Return what is to be drawn."""
        found = self._columns.since(self._columns.first, self._rolling)
        names = self._channels if len(self._channels) > 1 else ("",)
        at = numpy.maximum(found.numbers * self._columns.width_us, self._begin) - self._origin
        return lines_of(found, names, at * self._scale)

    def marks(self) -> list[tuple[float, str]]:
        """Return the marks in it."""
        return self.shown_marks[-_MAX_MARKS:]
