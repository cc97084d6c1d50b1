"""One clock for both runtimes: monotonic, in whole microseconds and milliseconds, and it does not wrap.

Whole numbers only, because a board's floats carry 7 digits. On a board the counter underneath wraps every
18 minutes (`time.ticks_us`, 2^30); it is unwrapped here, for which it must be read every 9 minutes. A live
link reads it several times a second.
"""

import time

from snyper.shared.runtime import MICROPYTHON

if MICROPYTHON:
    from time import ticks_diff as ticks_diff, ticks_us as ticks_us

    _ticks_us = ticks_us()
    _now_ms = 0
    _rest_us = 0  # beyond the whole milliseconds

    def now_us() -> int:
        """Microseconds since some fixed instant. After 18 minutes a board allocates memory for each."""
        return now_ms() * 1000 + _rest_us

    def now_ms() -> int:
        """Milliseconds since the same instant. For the first 12 days a board needs no memory for one."""
        global _now_ms, _rest_us, _ticks_us
        ticks = ticks_us()
        _rest_us += ticks_diff(ticks, _ticks_us)
        _ticks_us = ticks
        _now_ms += _rest_us // 1000
        _rest_us %= 1000
        return _now_ms

else:

    def ticks_us() -> int:
        """A count of microseconds for `ticks_diff` alone: on a board it wraps, and needs no memory."""
        return time.monotonic_ns() // 1000

    def ticks_diff(later: int, earlier: int) -> int:
        """Microseconds between two of `ticks_us`, at most 9 minutes apart."""
        return later - earlier

    def now_us() -> int:
        """Microseconds since some fixed instant."""
        return time.monotonic_ns() // 1000

    def now_ms() -> int:
        """Milliseconds since the same instant."""
        return now_us() // 1000
