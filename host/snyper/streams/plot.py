"""The last seconds of a stream, as a plot shows them."""

from dataclasses import dataclass
from typing import Any

import numpy

from snyper.streams import Block, StreamSpec
from snyper.streams.columns import LiveColumns, column_width_us
from snyper.streams.subscriber import StreamReader

COLUMNS = 1_000
_CHANNEL = 0  # of those that are kept
_MAX_VALUE = 1e300  # beyond it what draws has no number for the axis


@dataclass(frozen=True, eq=False)
class Lines:
    """The lines of a plot: seconds, 0 for the newest column, with NaN where a line is to end."""

    times_s: Any
    low: Any
    high: Any
    mean: Any
    deviation: Any


class StreamPlot:
    """The last `seconds` of one channel of the stream `name`, with the mean and deviation of `rolling_s`."""

    def __init__(self, name: str, channel: int, seconds: float, rolling_s: float) -> None:
        self.name = name
        self.seconds = seconds
        self.lost = 0
        self.is_gone = False
        self._channel = channel
        self._rolling_s = rolling_s
        self._spec: StreamSpec | None = None
        self._columns: LiveColumns | None = None
        self._reader: StreamReader | None = None
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
        if self._columns is None or spec != self._spec or self._is_of_another_clock(block):
            width_us = column_width_us(round(self.seconds * 1e6), COLUMNS)
            self._columns = LiveColumns(spec, width_us, COLUMNS, [self._channel])
            self._spec = spec
        self._columns.add(block)
        self.lost += block.lost
        self._lag_us = block.lag_us

    def _is_of_another_clock(self, block: Block) -> bool:
        """Return whether a block is from before all that is shown, as when a hub on a board started again."""
        return self._columns is not None and block.at_us // self._columns.width_us < self._columns.first

    def title(self) -> str:
        """Return what it is, and how it stands."""
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
        if self._channel < len(names):
            return f" {names[self._channel]}"
        return f" channel {self._channel}" if self._channel else ""

    def lines(self) -> Lines:
        """Return what is to be drawn now."""
        if self._columns is None:
            return Lines(*(numpy.zeros(0) for _ in range(5)))
        width_us = self._columns.width_us
        found = self._columns.since(self._columns.first, max(1, round(self._rolling_s * 1e6 / width_us)))
        ends = numpy.flatnonzero(found.is_broken[:, _CHANNEL])
        times_s = (found.numbers - found.numbers[-1]) * (width_us / 1e6)

        def broken(values: Any) -> Any:
            values = values[:, _CHANNEL]
            return numpy.insert(
                numpy.where(numpy.abs(values) <= _MAX_VALUE, values, numpy.nan), ends, numpy.nan
            )

        return Lines(
            numpy.insert(times_s, ends, times_s[ends]),
            *(broken(values) for values in (found.low, found.high, found.mean, found.deviation)),
        )
