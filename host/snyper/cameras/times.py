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


def seconds_of(stamp: str, zone: tzinfo) -> float | None:
    """Return what an ISO 8601 stamp means in seconds since 1970 (UTC), None where it means nothing. Without
    an offset it is read in `zone`; of an hour that is there twice, the first is meant.
    """
    if len(stamp) > MAX_STAMP_CHARS:
        return None
    try:
        moment = datetime.fromisoformat(stamp.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        seconds = moment.timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if _EARLIEST_S <= seconds < _LATEST_S else None


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
