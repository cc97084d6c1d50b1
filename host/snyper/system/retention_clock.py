"""A clock by which kept things grow old, that believes no leap of the time of day for a day."""

import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from snyper.system import steady
from snyper.system.files import write_private

FILE = "retention-clock.json"
_DAY_S = 86_400.0
_HOUR_S = 3_600.0
_HOURS = 25  # of running that have to agree: at least a day after any reading that does not
_MOST_SPANS = 100
_BESIDE_S = 600.0  # since the last update, or until the first

_logger = logging.getLogger("snyper")


@dataclass
class _Hour:
    """The least and the most of the offsets that were read in an hour of running, from `begin_s` on."""

    begin_s: float
    least_s: float
    most_s: float


@dataclass
class _Span:
    """A time of day that went on for a while: what was stamped meanwhile has a stamp from here to there."""

    from_s: float
    until_s: float
    offset_s: float


@dataclass(frozen=True)
class Late:
    """Stamps, in seconds since 1970, of a clock that was behind: what has them came `by_s` later, as far as
    was known when that much had been run.
    """

    from_s: float
    until_s: float
    offset_s: float
    true_s: float  # what the offset should have been
    known_s: float  # of running

    @property
    def by_s(self) -> float:
        """By how much it was behind."""
        return self.true_s - self.offset_s


class RetentionClock:
    """A clock for who removes what is too old. `update` is called every few minutes.

    The time that passes while it runs is certain, and up to an hour between two runs. What the time of day
    adds to that, as after a night without power or by a wrong answer of a time server, counts once all
    readings of a day of running, over restarts, have it. What was read is kept in the file `path`. Where
    there is none, the time of day is believed, but no day beyond what `newest_s` returns: the newest stamp of
    all that is kept, or None.

    `now_s` is the time, in seconds since 1970, to count ages from: that, or the time of day where that is
    earlier. `late` are the stamps that are too early.
    """

    def __init__(
        self,
        path: Path,
        newest_s: Callable[[], float | None] = lambda: None,
        wall_s: Callable[[], float] = lambda: time.time(),
        steady_s: Callable[[], float] = lambda: steady.now_s(),
    ) -> None:
        self._path, self._wall_s, self._steady_s = path, wall_s, steady_s
        self._running_s = 0.0
        self._spans: list[_Span] = []  # since it was opened
        self._seen_s = steady_s()
        try:
            self._load()
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            newest, wall = newest_s(), wall_s()
            self._believed_s = wall if newest is None or wall - newest < _DAY_S else newest
            self._hours = [_Hour(0.0, self._believed_s, self._believed_s)]
            self._past: list[Late] = []
        self._has_warned = False
        self.update()

    @property
    def doubt(self) -> str | None:
        """Say what is not believed of the time of day, None where that is less than a day."""
        ahead_s = self._offset_s - self._believed_s
        if ahead_s < _DAY_S:
            return None
        shown, days = _day(self._running_s + self._offset_s), ahead_s / _DAY_S
        return f"the clock says {shown}, {days:,.0f} days more than are known to have passed"

    def update(self) -> None:
        """Read the clocks, and keep what they say; what cannot be written is not known after a restart."""
        seen_s, wall_s = self._steady_s(), self._wall_s()
        passed_s, self._seen_s = max(0.0, seen_s - self._seen_s), seen_s
        self._running_s += passed_s
        self._offset_s = wall_s - self._running_s
        self._add_to_hours()
        least_s, most_s = min(one.least_s for one in self._hours), max(one.most_s for one in self._hours)
        self._believed_s = min(max(self._believed_s, least_s), most_s)
        self._add_to_spans(wall_s)
        # In a run no time passes that the steady clock has not seen: it has one true offset.
        true_s = max(self._believed_s, self._offset_s)
        self._past = [self._settled(one) for one in self._past]
        known = true_s, self._running_s
        new = [
            Late(one.from_s - _BESIDE_S, one.until_s + _BESIDE_S, one.offset_s, *known) for one in self._spans
        ]
        self.late = [one for one in (*self._past, *new) if one.by_s > _HOUR_S][-_MOST_SPANS:]
        self._warn()
        with suppress(OSError):
            self._save()

    @property
    def now_s(self) -> float:
        """The time to count ages from."""
        running_s = self._running_s + max(0.0, self._steady_s() - self._seen_s)
        return running_s + min(self._believed_s, self._wall_s() - running_s)

    def came_s(self, stamp_s: float) -> float:
        """Return when what has that stamp came at the latest."""
        return stamp_s + max(
            (one.by_s for one in self.late if one.from_s <= stamp_s <= one.until_s), default=0.0
        )

    def _settled(self, one: Late) -> Late:
        """Return what is known of a run before this one, of which nobody knew whether its last time of day
        was true, once that has been believed or not.
        """
        is_known = self._running_s - one.known_s > (_HOURS + 1) * _HOUR_S
        return replace(one, true_s=min(one.true_s, self._believed_s)) if is_known else one

    def _add_to_hours(self) -> None:
        offset_s = self._offset_s
        if self._running_s - self._hours[-1].begin_s >= _HOUR_S:
            self._hours = [*self._hours, _Hour(self._running_s, offset_s, offset_s)][-_HOURS:]
        last = self._hours[-1]
        last.least_s, last.most_s = min(last.least_s, offset_s), max(last.most_s, offset_s)

    def _add_to_spans(self, wall_s: float) -> None:
        last = self._spans[-1] if self._spans else None
        if last is not None and abs(last.offset_s - self._offset_s) <= _HOUR_S / 2:
            last.until_s = wall_s
        else:
            self._spans = [*self._spans, _Span(wall_s, wall_s, self._offset_s)][-_MOST_SPANS:]

    def _warn(self) -> None:
        doubt = self.doubt
        if doubt is not None and not self._has_warned:
            what = "until it has run on for a day, nothing grows old by that. Set it, if it is wrong"
            _logger.warning("%s: %s", doubt, what)
        self._has_warned = doubt is not None

    def _load(self) -> None:
        found = json.loads(self._path.read_text("utf-8"), parse_constant=_refuse)
        self._running_s, self._believed_s = float(found["running_s"]), float(found["believed_s"])
        self._hours = [_Hour(*map(float, one)) for one in found["hours"]][-_HOURS:]
        self._past = [Late(*map(float, one)) for one in found["late"]]
        if not self._hours:
            raise ValueError("there are no readings")
        passed_s = self._wall_s() - float(found["wall_s"])
        if 0.0 < passed_s < _HOUR_S:
            self._running_s += passed_s

    def _save(self) -> None:
        hours, late = [astuple(one) for one in self._hours], [astuple(one) for one in self.late]
        times = {"running_s": self._running_s, "wall_s": self._running_s + self._offset_s}
        state = {**times, "believed_s": self._believed_s, "hours": hours, "late": late}
        write_private(self._path, json.dumps(state).encode())


def _day(at_s: float) -> str:
    """Format a day for people, whatever a clock has made of it."""
    try:
        return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return "a day out of the calendar"


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no time")
