"""For how long a camera may say nothing: three of its own intervals, and what is expected of it. Pure."""

import re
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median

from snyper.cameras.grants import check_is_one
from snyper.cameras.records import CameraSettings
from snyper.cameras.tables import read_tables

MAX_KNOWN = 10_000  # cameras whose intervals are known; who was heard longest ago is forgotten first
INTERVALS = 3
FIRST_S = 60.0  # for who was heard once
LEAST_S = 5.0
MOST_S = 86_400.0
MAX_SET_S = 7 * 86_400.0  # of an interval, and of a grace, that a person sets
_GAPS = 5  # of which the middle one is the interval
_TOGETHER_S = 0.5  # what comes within that was sent together
_SPAN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


class Intervals:
    """The intervals at which cameras send that hold no connection. Times are in seconds, by a clock that
    nobody sets.
    """

    def __init__(self) -> None:
        self._heard: OrderedDict[str, tuple[float, deque[float]]] = OrderedDict()

    def hear(self, camera_id: str, now_s: float, interval_s: float = 0.0) -> float:
        """Note that a camera has sent something; return for how long it may be silent now. `interval_s` is
        its interval where that is known.
        """
        if interval_s:
            return allowed_s(interval_s)
        last_s, gaps = self._heard.get(camera_id, (None, deque(maxlen=_GAPS)))
        if last_s is not None and now_s - last_s > _TOGETHER_S:
            gaps.append(now_s - last_s)
        self._heard[camera_id] = (now_s, gaps)
        self._heard.move_to_end(camera_id)
        if len(self._heard) > MAX_KNOWN:
            self._heard.popitem(last=False)
        return min(MOST_S, allowed_s(median(gaps) if gaps else 0.0))


def allowed_s(interval_s: float) -> float:
    """Return for how long a camera of an interval may be silent; 0 says that it is not known."""
    return max(LEAST_S, INTERVALS * interval_s) if interval_s else FIRST_S


@dataclass(frozen=True)
class Expectation:
    """The expectation of one camera: it is gone after `grace_s` more than others, and asleep in these parts
    of the day, of which each begins and ends at a minute of it, and until `asleep_until_s`, in seconds since
    1970 (UTC). Without a connection it sends every `interval_s`; 0 says that its own interval is learnt.
    """

    grace_s: float = 0.0
    asleep: tuple[tuple[int, int], ...] = ()
    interval_s: float = 0.0
    asleep_until_s: float = 0.0

    def with_settings(self, settings: CameraSettings) -> "Expectation":
        """Return it with what is set of that camera."""
        found = {name: getattr(settings, name) for name in ("grace_s", "interval_s", "asleep_until_s")}
        return replace(self, **{name: value for name, value in found.items() if value is not None})

    def asleep_until(self, moment: datetime) -> datetime | None:
        """Return until when it is expected to be asleep at a moment, which has the zone of its clock; None
        where it is not.
        """
        if moment.timestamp() < self.asleep_until_s:
            return datetime.fromtimestamp(self.asleep_until_s, moment.tzinfo)
        minute = moment.hour * 60 + moment.minute
        for begin, end in self.asleep:
            if begin <= minute < end if begin < end else minute >= begin or minute < end:
                day = moment if minute < end else moment + timedelta(days=1)
                return day.replace(hour=end // 60, minute=end % 60, second=0, microsecond=0)
        return None


def read_expectations(text: str) -> dict[str, Expectation]:
    """Read expectations, a table of TOML for each camera. Raises ValueError with what is wrong."""
    tables = read_tables(text)
    return {camera_id: _expectation(camera_id, table) for camera_id, table in tables.items()}


def _expectation(camera_id: str, table: object) -> Expectation:
    check_is_one(camera_id, "the name of a table")
    if not isinstance(table, Mapping):
        raise ValueError(f"{camera_id} is no table: write [{camera_id}]")
    unknown = table.keys() - {"grace_s", "interval_s", "asleep"}
    if unknown:
        raise ValueError(f"{camera_id} has {min(unknown)!r}: there are grace_s, interval_s and asleep")
    grace_s, interval_s = (_seconds(camera_id, table, name) for name in ("grace_s", "interval_s"))
    spans = table.get("asleep", [])
    if not isinstance(spans, list):
        raise ValueError(f"asleep of {camera_id} is a list, such as {_EXAMPLE}")
    return Expectation(grace_s, tuple(_span(camera_id, span) for span in spans), interval_s)


def _seconds(camera_id: str, table: Mapping[str, object], name: str) -> float:
    given = table.get(name, 0.0)
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= MAX_SET_S:
        raise ValueError(f"{name} of {camera_id} is a number of seconds up to {MAX_SET_S:,.0f}")
    return float(given)


_EXAMPLE = '["22:00-06:00"]'


def _span(camera_id: str, span: object) -> tuple[int, int]:
    found = _SPAN.fullmatch(span) if isinstance(span, str) else None
    if found is None:
        raise ValueError(f"asleep of {camera_id} has parts of a day, such as {_EXAMPLE}, not {span!r}")
    from_hour, from_minute, to_hour, to_minute = map(int, found.groups())
    return from_hour * 60 + from_minute, to_hour * 60 + to_minute
