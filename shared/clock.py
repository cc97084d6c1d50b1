"""One clock for both runtimes: monotonic, in whole microseconds, and it does not wrap.

Whole numbers only, because a board's floats carry 7 digits. On a board the counter underneath wraps every
18 minutes (`time.ticks_us`, 2^30); it is unwrapped here, for which it must be read every 9 minutes. A live
link reads it several times a second.
"""

import time

from shared.runtime import MICROPYTHON

if MICROPYTHON:
    from time import ticks_diff, ticks_us

    _ticks_us = ticks_us()
    _now_us = 0

    def now_us() -> int:
        """Microseconds since some fixed instant."""
        global _now_us, _ticks_us
        ticks = ticks_us()
        _now_us += ticks_diff(ticks, _ticks_us)
        _ticks_us = ticks
        return _now_us

else:

    def now_us() -> int:
        """Microseconds since some fixed instant."""
        return time.monotonic_ns() // 1000


def now_ms() -> int:
    """Milliseconds since the same instant."""
    return now_us() // 1000
