"""The lines of a signal in one tab: columns of time on edges that never move, each sent once."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import numpy

from snyper.dashboard.recorded_past import MOST_CHANNELS, Past, Window
from snyper.dashboard.signal_feed import Array, Signal
from snyper.streams import Block, StreamSpec
from snyper.streams.columns import Columns, LiveColumns, column_width_us
from snyper.system import steady
from snyper.system.text import one_line

MIN_COLUMNS, MAX_COLUMNS = 50, 2_000
MOST_MARKS = 100  # the last
TURN_S = 0.005  # for the blocks of one signal, before whatever else waits
ROLLING = 20  # a plot is so many times as long as what its mean and deviation are of
MAX_VALUE = 1e300  # of what is drawn: an axis ends beyond it
JOINED_US = 2_000  # between the end of what was recorded and the begin of what came, where no rate is known
_MOST_CHARS = 40  # of a name or a unit

Said = dict[str, Any]  # JSON for the browser


@dataclass(frozen=True)
class View:
    """The time that is looked at: so long, until an instant of the hub's clock; None for what comes now."""

    span_us: int
    end_us: int | None = None


class SignalLines:
    """A view in columns, for a plot that has so many: of a signal, and of what recordings have from before
    it came. Without a signal it is of these alone.
    """

    def __init__(
        self, signal: Signal | None, view: View, columns: int, utc_ahead_us: int | None = None
    ) -> None:
        """`utc_ahead_us` is how far the time of day is ahead of the clock of all this."""
        self.signal = signal
        self.view = view
        self.problem = ""  # why there is no past
        self.is_past_asked = self.is_past_known = False
        self._columns = min(max(columns, MIN_COLUMNS), MAX_COLUMNS)
        self._width_us = column_width_us(view.span_us, self._columns)
        self._last = self._last_of(view)
        self.is_held = False
        self._utc_ahead_us = utc_ahead_us
        self._rolling = max(1, self._columns // ROLLING)
        self._next = 0  # the block that is taken next
        self._spec: StreamSpec | None = None
        self._live: LiveColumns | None = None
        self._live_us = 0  # when what is in it begins
        self._past: Past | None = None
        self._from = 0  # the column that is sent first
        self._is_whole = True  # the browser has nothing of it
        self._is_news = view.end_us is not None
        self._marks: set[tuple[int, str]] = set()
        self._has_new_marks = False
        self.newest_us: int | None = None  # just after the last sample

    async def take(self) -> None:
        """Take what has come. Half of the time is left to others."""
        if self.signal is None or self.is_held:
            return
        missed = self._next < self.signal.first and self._live is not None
        self._next = max(self._next, self.signal.first)
        turn_s = steady.now_s()
        for spec, block in self.signal.since(self._next):
            if steady.now_s() - turn_s > TURN_S:
                await asyncio.sleep(TURN_S)
                turn_s = steady.now_s()
            self._next += 1
            if self.view.end_us is not None:
                block = _until(spec, block, self.view.end_us)
            if len(block.samples):
                self._add(spec, replace(block, lost=block.lost + 1) if missed else block)
            missed = False

    def is_other(self, signal: Signal) -> bool:
        """Tell whether it is of another reading of the stream, and not held."""
        return signal is not self.signal and not self.is_held

    def hold(self, end_us: int) -> None:
        """Take no more, and show what there is until that instant."""
        self.is_held = True
        self._look_at(replace(self.view, end_us=end_us))

    def release(self) -> None:
        """Go on where it was held."""
        self.is_held = False
        self._look_at(replace(self.view, end_us=None))

    def _look_at(self, view: View) -> None:
        self.view, self._last = view, self._last_of(view)
        self.begin_anew()

    def _last_of(self, view: View) -> int | None:
        return None if view.end_us is None else (view.end_us - 1) // self._width_us

    def _add(self, spec: StreamSpec, block: Block) -> None:
        is_new = self._live is None or spec != self._spec or self._live.is_of_another_clock(block)
        if is_new:
            if self._spec is not None:
                self._marks.clear()
                self._past = None  # which is of other channels, or by another clock
            self._live, self._spec = self._empty(spec), spec
            self._live_us = block.at_us
        assert self._live is not None
        self._live.add(block)
        if is_new:
            self._fill(self._live)
        self.newest_us = int(_times_us(spec, block)[-1]) + 1
        self._put_marks([(mark.at_us, mark.name) for mark in block.marks])
        self._from = min(self._from, block.at_us // self._width_us)  # by jitter before the last one's end
        self._is_news = True

    def past_window(self, hub_id: str = "") -> Window | None:
        """Return the columns that begin before what has come; None where there is none, or nobody knows."""
        last = self._last
        if last is None and self.newest_us is not None:
            last = (self.newest_us - 1) // self._width_us
        if last is None:
            return None
        first = last - self._columns
        until = last if self._live is None else min(last, self._live_us // self._width_us)
        return Window(first, until, self._width_us, hub_id) if first <= until else None

    def set_past(self, past: Past | None) -> None:
        """Take what recordings have of that window."""
        self.is_past_known = True
        self._is_news = True
        if past is None or (self._spec is not None and self._spec.shape != past.spec.shape):
            return
        self._past = past
        self._put_marks(past.marks)
        if self._live is None:
            self._live = self._empty(past.spec)
        self._fill(self._live)

    def _put_marks(self, marks: list[tuple[int, str]]) -> None:
        """Take marks, which may come both live and from a recording."""
        if marks:
            self._marks.update((at_us, _short(name)) for at_us, name in marks)
            self._marks = set(sorted(self._marks)[-MOST_MARKS:])
            self._has_new_marks = True

    def begin_anew(self) -> None:
        """Have the browser sent all of it next time."""
        self._is_whole = self._is_news = True

    def news(self, is_rolling: bool, now_us: int | None = None) -> Said | None:
        """Return what the browser does not have yet, with mean and deviation where they are asked for; None
        for nothing. A column is sent again when it has changed. `now_us` is what the hub's clock says, where
        that is known.
        """
        if not self._is_news or (self.view.end_us is None and self._live is None):
            return None
        self._is_news = False
        found = _NOTHING
        if self._live is not None:
            since = self._live.first if self._is_whole else self._from
            found = self._live.since(since, self._rolling if is_rolling else 1)
        said: Said = {
            "numbers": found.numbers.tolist(),
            "low": _values(found.low),
            "high": _values(found.high),
            "broken": found.is_broken.astype("u1").tolist(),
        }
        if self._has_new_marks or self._is_whole:
            said["marks"] = sorted(self._marks)
        self._has_new_marks = False
        if is_rolling:
            said |= {"mean": _values(found.mean), "deviation": _values(found.deviation)}
        if self._is_whole:
            said["whole"] = self._about() | {"now_us": now_us}
        self._is_whole = False
        if len(found.numbers):
            self._from = int(found.numbers[-1])
        return said

    def _empty(self, spec: StreamSpec) -> LiveColumns:
        channels = range(min(int(numpy.prod(spec.shape, dtype=int)), MOST_CHANNELS))
        return LiveColumns(spec, self._width_us, self._columns + 1, channels)

    def _fill(self, columns: LiveColumns) -> None:
        """Add what was recorded before that which came: of the column in which that begins, some of each."""
        self.begin_anew()
        past = self._past
        if past is None:
            return
        kept = numpy.ones(len(past.numbers), "?")
        if self._spec is not None:
            step_us = 2e6 / self._spec.rate_hz if self._spec.rate_hz > 0 else JOINED_US
            if past.end_us < self._live_us - max(step_us, JOINED_US):
                columns.break_first()
            kept = past.numbers <= self._live_us // self._width_us
        columns.fill(past.numbers[kept], *(one[kept] for one in past.columns))

    def _about(self) -> Said:
        spec = None if self._live is None else self._live.spec
        about = {
            "width_us": self._width_us,
            "columns": self._columns + 1,
            "utc_us": self._utc_ahead_us,
            "rolling_s": self._rolling * self._width_us / 1e6,
        }
        if spec is None:
            return about | {"names": [""], "units": [""], "more": 0}
        count = int(numpy.prod(spec.shape, dtype=int))
        shown = min(count, MOST_CHANNELS)
        names = [_short(name) for name in spec.names[:shown]] or [f"channel {at}" for at in range(shown)]
        units = [_short(unit) for unit in spec.units[:shown]] or [""] * shown
        return about | {
            "names": names if count > 1 or spec.names else [""],
            "units": units,
            "more": count - shown,
        }


_NONE = numpy.zeros((0, 1))
_NOTHING = Columns(numpy.zeros(0, "i8"), _NONE, _NONE, _NONE, _NONE, _NONE.astype("?"))


def _times_us(spec: StreamSpec, block: Block) -> Array:
    step_us = 1e6 / spec.rate_hz if spec.rate_hz > 0 else 0.0
    times: Array = block.at_us + (numpy.arange(len(block.samples)) * step_us).astype("i8")
    return times


def _until(spec: StreamSpec, block: Block, end_us: int) -> Block:
    """Return what a block has from before an instant."""
    count = int(numpy.searchsorted(_times_us(spec, block), end_us))
    return block if count == len(block.samples) else replace(block, samples=block.samples[:count])


def _values(rows: Array) -> list[list[float | None]]:
    """Return numbers as JSON has them: none for what is none, or has no place on an axis."""
    return [[value if abs(value) <= MAX_VALUE else None for value in row] for row in rows.tolist()]


def _short(words: str) -> str:
    words = one_line(words)
    return words if len(words) <= _MOST_CHARS else f"{words[: _MOST_CHARS - 1]}…"
