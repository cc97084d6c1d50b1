"""Instants as people write them, and as the hub's clock has them."""

import time
from datetime import datetime, timedelta

from snyper.client import Hub
from snyper.shared.socket_protocol import MAX_AHEAD_MS, MAX_INTEGER

MAX_AHEAD_S = MAX_AHEAD_MS / 1000
FORMS = "18:30, 18:30:00.5 (today, by this computer's clock) or 123456789us (the hub's clock)"
_ROUNDS = 4  # the quickest of them tells the hub's clock best


def parse(text: str, now: datetime) -> datetime | int:
    """A time of day as the next such instant after `now`, or µs of the hub's clock. Raises ValueError for
    what is neither, and for a time of day that is over or too far ahead.
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
    at = datetime.combine(now.date(), of_day)
    if at <= now and at + timedelta(days=1, seconds=-MAX_AHEAD_S) <= now:
        at += timedelta(days=1)  # just after midnight
    _check((at - now).total_seconds(), text)
    return at


async def on_hub(hub: Hub, at: datetime | int) -> int:
    """The instant in µs of the hub's clock. Raises ValueError when it is over or too far ahead, ProtocolError
    when the hub is lost.
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
    _check((at_us - now_us) / 1_000_000, f"{at_us}us" if isinstance(at, int) else f"{at:%H:%M:%S.%f}")
    return at_us


def _check(ahead_s: float, text: str) -> None:
    if ahead_s <= 0:
        raise ValueError(f"{text} was {_span(-ahead_s)} ago: name an instant to come")
    if ahead_s > MAX_AHEAD_S:
        raise ValueError(f"{text} is in {_span(ahead_s)}: at most {MAX_AHEAD_S:g} s ahead is possible")


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
