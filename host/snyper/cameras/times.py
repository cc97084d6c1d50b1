"""Timestamps as cameras send them, and days in a named zone. Pure."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

MAX_STAMP_CHARS = 64  # ISO 8601 with nanoseconds and a zone's name takes 60
_EARLIEST_S = 0.0
_LATEST_S = 253_402_214_400.0  # the last day of 9999, beyond which no date is


def zone_named(name: str) -> ZoneInfo:
    """Return the zone of that name, such as Asia/Bangkok. Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (OSError, LookupError, ValueError):
        raise ValueError(f"there is no time zone {name!r}: name one such as Asia/Bangkok or UTC") from None


def seconds_of(stamp: str, zone: tzinfo, near_s: float | None = None) -> float | None:
    """Return what an ISO 8601 stamp means in seconds since 1970 (UTC), None where it means nothing. Without
    an offset it is read in `zone`; of an hour that is there twice, that is meant which is nearer to `near_s`,
    or else the first.
    """
    seconds = _seconds_of(stamp, zone, near_s)
    return seconds if seconds is not None and _EARLIEST_S <= seconds < _LATEST_S else None


def why_none(stamp: str) -> str:
    """Say why a stamp means nothing to `seconds_of`."""
    try:
        year = datetime.fromisoformat(stamp.strip()).year if len(stamp) <= MAX_STAMP_CHARS else None
    except ValueError:
        year = None
    if year is None:
        return "is no ISO 8601"
    return "is before 1970" if year <= 1970 else "is at the end of the calendar, in 9999"


def bound_of(stamp: str, zone: tzinfo) -> float | None:
    """Return the end of a span of time that a stamp means, as `seconds_of` does; of one before 1970, or of
    the end of 9999, the nearest that a stamp may be.
    """
    seconds = _seconds_of(stamp, zone)
    return None if seconds is None else min(max(seconds, _EARLIEST_S), _LATEST_S)


def _seconds_of(stamp: str, zone: tzinfo, near_s: float | None = None) -> float | None:
    if len(stamp) > MAX_STAMP_CHARS:
        return None
    try:
        moment = datetime.fromisoformat(stamp.strip())
        if moment.tzinfo is not None:
            return moment.timestamp()
        first_s, second_s = (moment.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
        is_second = near_s is not None and abs(second_s - near_s) < abs(first_s - near_s)
        return second_s if is_second else first_s
    except (ValueError, OverflowError):
        return None


def iso(seconds: float) -> str:
    """Format a time as ISO 8601 in UTC, with milliseconds."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def day_of(seconds: float, zone: tzinfo) -> date:
    """Return the day that it is then in a zone."""
    return datetime.fromtimestamp(seconds, zone).date()


def hour_of(seconds: float, zone: tzinfo) -> int:
    """Return when the hour began, in seconds since 1970 (UTC), that it is then in a zone."""
    moment = datetime.fromtimestamp(seconds, zone)
    return int(seconds) - moment.minute * 60 - moment.second


def day_bounds(day: date, zone: tzinfo) -> tuple[float, float]:
    """Return when a day of a zone begins and when it is over: 23 to 25 hours later, with summer time."""
    begin, end = (datetime.combine(one, time(), zone).timestamp() for one in (day, day + timedelta(days=1)))
    return begin, end
