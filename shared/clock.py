"""One clock for both runtimes: monotonic, in whole microseconds and milliseconds, and it does not wrap.

Whole numbers only, because a board's floats carry 7 digits.
"""

from snyper.shared.runtime import (
    now_ms as now_ms,
    now_us as now_us,
    ticks_diff as ticks_diff,
    ticks_us as ticks_us,
)
