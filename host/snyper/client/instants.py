"""Instants as people write them, and as the hub's clock has them."""

import time
from datetime import UTC, datetime, timedelta

from snyper.client import HubClient
from snyper.shared.socket_protocol import MAX_AHEAD_MS, MAX_INTEGER
from snyper.system.text import span

MAX_AHEAD_S = MAX_AHEAD_MS / 1000
FORMS = "18:30, 18:30:00.5 (today, by this computer's clock) or 123456789us (the hub's clock)"
_MAX_AHEAD = timedelta(seconds=MAX_AHEAD_S)
_ROUNDS = 4  # the quickest of them tells the hub's clock best


def parse(text: str, now: datetime) -> datetime | int:
    """Parse a time of day, in this computer's time zone, as the next such instant after `now`, or µs of the
    hub's clock. The instant knows its time zone. Raises ValueError for what is neither, and for a time of day
    that is over, too far ahead, or left out today as summer time begins.
    """
    digits = text.removesuffix("us")
    if digits != text and digits.isdecimal() and int(digits) <= MAX_INTEGER:
        return int(digits)
    for form in ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f"):
        try:
            of_day = datetime.strptime(text, form).time()
            break
        except ValueError:
            continue
    else:
        raise ValueError(f"{text} is no instant: write {FORMS}")
    now = now.astimezone()
    today = datetime.combine(now.date(), of_day)
    # Yesterday's, for clocks that go back over midnight; tomorrow's, for an instant just after it.
    days = [today + timedelta(days=day) for day in (-1, 0, 1)]
    coming = [at for day in days for at in _instants(day) if at > now]
    if coming and min(coming) - now <= _MAX_AHEAD:
        return min(coming)
    for day in days[1:]:
        if not _instants(day) and (day == today or _as_utc(day) - now <= _MAX_AHEAD):
            raise ValueError(f"there is no {text} on {day:%d %B}: the clocks go forward over it")
    nearest = next((at for at in _instants(today) if at > now), _instants(today)[-1])
    _check((nearest - now).total_seconds(), text)
    return nearest


def _instants(local: datetime) -> list[datetime]:
    """Return the instants at which it is `local` here, in order: once as a rule, twice if the clocks go back
    over it, never if they go forward over it.
    """
    both = [_as_utc(local.replace(fold=fold)) for fold in (0, 1)]
    return sorted({at for at in both if at.astimezone().replace(tzinfo=None) == local})


def _as_utc(local: datetime) -> datetime:
    return local.astimezone(UTC)


async def on_hub(hub: HubClient, at: datetime | int) -> int:
    """Return the instant in µs of the hub's clock. Raises ValueError when it is over or too far ahead,
    ProtocolError when the hub is lost.
    """
    rounds = []
    for _ in range(_ROUNDS):
        asked_s = time.time()
        status = await hub.status()
        rounds.append((status.round_trip_us, status.hub_us, asked_s))
    round_trip_us, hub_us, asked_s = min(rounds)
    then_s = asked_s + round_trip_us / 2_000_000  # when the hub's clock said `hub_us`
    now_us = hub_us + round((time.time() - then_s) * 1_000_000)
    at_us = at if isinstance(at, int) else hub_us + round((at.timestamp() - then_s) * 1_000_000)
    _check(
        (at_us - now_us) / 1_000_000,
        f"{at_us}us" if isinstance(at, int) else f"{at.astimezone():%H:%M:%S.%f}",
    )
    return at_us


def _check(ahead_s: float, text: str) -> None:
    if ahead_s <= 0:
        raise ValueError(f"{text} was {span(-ahead_s)} ago: name an instant to come")
    if ahead_s > MAX_AHEAD_S:
        raise ValueError(f"{text} is in {span(ahead_s)}: at most {MAX_AHEAD_S:g} s ahead is possible")
