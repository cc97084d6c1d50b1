"""The lines of a signal in one tab: columns of time on edges that never move, each sent once."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy

from snyper.dashboard.signal_feed import Array, Signal
from snyper.streams import Block, StreamSpec
from snyper.streams.columns import LiveColumns, column_width_us
from snyper.system import steady
from snyper.system.text import one_line

MOST_CHANNELS = 8  # of a stream that are drawn: the first
MIN_COLUMNS, MAX_COLUMNS = 50, 2_000
MOST_MARKS = 100  # in one frame
TURN_S = 0.005  # for the blocks of one signal, before whatever else waits
ROLLING = 20  # a plot is so many times as long as what its mean and deviation are of
MAX_VALUE = 1e300  # of what is drawn: an axis ends beyond it
_MOST_CHARS = 40  # of a name or a unit

Said = dict[str, Any]  # JSON for the browser


class SignalLines:
    """One signal in columns as wide as `span_s` asks for, for a plot that has so many."""

    def __init__(self, signal: Signal, span_s: float, columns: int) -> None:
        self.signal = signal
        self._columns = min(max(columns, MIN_COLUMNS), MAX_COLUMNS)
        self._width_us = column_width_us(round(span_s * 1e6), self._columns)
        self._rolling = max(1, self._columns // ROLLING)
        self._next = 0  # the block that is taken next
        self._spec: StreamSpec | None = None
        self._live: LiveColumns | None = None
        self._from = 0  # the column that is sent first
        self._is_whole = True  # the browser has nothing of it
        self._is_news = False
        self._marks: list[tuple[int, str]] = []  # that are not sent yet

    @property
    def place(self) -> tuple[Signal, int]:
        """Return up to which block of which signal it shows."""
        return self.signal, self._next

    async def take(self, until: int | None = None) -> None:
        """Take what has come, up to the block numbered `until`. Half of the time is left to others."""
        missed = self._next < self.signal.first and self._live is not None
        self._next = max(self._next, self.signal.first)
        blocks = self.signal.since(self._next)
        count = len(blocks) if until is None else max(0, until - self._next)
        turn_s = steady.now_s()
        for spec, block in blocks[:count]:
            if steady.now_s() - turn_s > TURN_S:
                await asyncio.sleep(TURN_S)
                turn_s = steady.now_s()
            self._add(spec, replace(block, lost=block.lost + 1) if missed else block)
            missed = False
            self._next += 1

    def _add(self, spec: StreamSpec, block: Block) -> None:
        is_of_another_clock = self._live is not None and block.at_us // self._width_us < self._live.first
        if self._live is None or spec != self._spec or is_of_another_clock:
            count = int(numpy.prod(spec.shape, dtype=int))
            channels = range(min(count, MOST_CHANNELS))
            self._live = LiveColumns(spec, self._width_us, self._columns, channels)
            self._spec = spec
            self._is_whole = True
        self._live.add(block)
        self._marks += [(mark.at_us, _short(mark.name)) for mark in block.marks]
        self._from = min(self._from, block.at_us // self._width_us)  # by jitter before the last one's end
        self._is_news = True

    def begin_anew(self) -> None:
        """Have the browser sent all of it next time."""
        self._is_whole = self._is_news = True

    def news(self, is_rolling: bool) -> Said | None:
        """Return what the browser does not have yet, with mean and deviation where they are asked for; None
        for nothing. A column is sent again when it has changed.
        """
        if self._live is None or self._spec is None or not self._is_news:
            return None
        self._is_news = False
        found = self._live.since(
            self._live.first if self._is_whole else self._from, self._rolling if is_rolling else 1
        )
        said: Said = {
            "numbers": found.numbers.tolist(),
            "low": _values(found.low),
            "high": _values(found.high),
            "broken": found.is_broken.astype("u1").tolist(),
        }
        if self._marks:
            said["marks"], self._marks = self._marks[-MOST_MARKS:], []
        if is_rolling:
            said |= {"mean": _values(found.mean), "deviation": _values(found.deviation)}
        if self._is_whole:
            said["whole"] = self._about(self._spec)
        self._is_whole = False
        if len(found.numbers):
            self._from = int(found.numbers[-1])
        return said

    def _about(self, spec: StreamSpec) -> Said:
        count = int(numpy.prod(spec.shape, dtype=int))
        shown = min(count, MOST_CHANNELS)
        names = [_short(name) for name in spec.names[:shown]] or [f"channel {at}" for at in range(shown)]
        units = [_short(unit) for unit in spec.units[:shown]] or [""] * shown
        return {
            "width_us": self._width_us,
            "columns": self._columns,
            "rolling_s": self._rolling * self._width_us / 1e6,
            "names": names if count > 1 or spec.names else [""],
            "units": units,
            "more": count - shown,
        }


def _values(rows: Array) -> list[list[float | None]]:
    """Return numbers as JSON has them: none for what is none, or has no place on an axis."""
    return [[value if abs(value) <= MAX_VALUE else None for value in row] for row in rows.tolist()]


def _short(words: str) -> str:
    words = one_line(words)
    return words if len(words) <= _MOST_CHARS else f"{words[: _MOST_CHARS - 1]}…"
