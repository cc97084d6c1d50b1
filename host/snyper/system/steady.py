"""A clock that nobody sets: how long things took, whatever becomes of the time of day meanwhile."""

import time

# Unlike `time.monotonic` on Linux it goes on while the computer sleeps.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


def now_ms() -> int:
    """Return the milliseconds since some fixed instant."""
    return _now_ns() // 1_000_000


def now_s() -> float:
    """Return the seconds since the same instant."""
    return _now_ns() / 1e9


def offset_ms() -> int:
    """Return what makes `now_ms` milliseconds since 1970, as the time of day says it now."""
    return time.time_ns() // 1_000_000 - now_ms()


def unix_s(at_s: float) -> float:
    """Convert the instant `at_s` of `now_s` to seconds since 1970, as the time of day says it now."""
    return at_s + time.time() - now_s()


def _now_ns() -> int:
    return time.monotonic_ns() if _CLOCK is None else time.clock_gettime_ns(_CLOCK)
