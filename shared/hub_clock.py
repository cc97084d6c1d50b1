"""An estimate of the hub's clock on another computer: offset and drift, and how far that can be wrong. Pure.

A round is a question to the hub and its answer. The hub's stamp in the answer was made after the question was
sent and before the answer came: so each round bounds the offset from both sides, whatever the network did.
Where two clocks differ by a line in time (offset and drift), every line that respects all bounds could be the
true one. Drift tilts the bounds of long ago, so they bound the slope of the line; the slopes that are left
carry every bound to now; the middle of what all of them allow is the estimate, half of it the uncertainty.
No delay needs to be alike in both directions, only now and then short in each.

After S. Moon, P. Skelly, D. Towsley, Estimation and Removal of Clock Skew from Network Delay Measurements,
INFOCOM 1999, with a bound on each side. The rounds are those of NTP (RFC 5905) and the Lab Streaming Layer.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DRIFT_PPM = 500  # crystals keep within 100, and a computer's clock is slewed by at most as much
BUCKETS = 16
BUCKET_MS = 8_000
MAX_ROUND_US = 2_000_000  # a hub that is silent for longer is given up
_MAX_AGE_MS = 600_000  # of a bound: a crystal's drift wanders with its temperature
_WANDER_PPM = 1
_ROUNDING_US = 4  # of times to ms, which at 500 ppm are half a µs, and of what is reckoned with them
_LEAST_BASE_MS = 1_000  # two bounds that are closer in time say nothing of a slope that counts
_OPEN_US = 1 << 29  # no bound yet

# What a bucket holds: of some seconds the rounds that bound the tightest. Times in ms and offsets in µs from
# the newest bucket's begin, so that a board needs no memory for them (integers below 2^30). One list has all
# buckets, one after the other: on a board each list takes memory.
_UPPER_MS = 0
_UPPER_US = 1  # the offset was at most this
_LOWER_MS = 2
_LOWER_US = 3  # the offset was at least this
_MIN_PPM = 4  # the slopes that its bounds and those before them leave
_MAX_PPM = 5
FIELDS = 6


class HubClock:
    """Converts between the hub's clock and the board's own, in integers of µs; a `local_us` is of
    `now_us()`.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Discard all rounds: this is another hub, or the same with another clock."""
        self.is_set = False
        self._buckets: "list[int]" = []
        self._base_us = 0
        self._base_offset_us = 0
        self._at_ms = 0  # when the offset was between `_offset_us` minus and plus `_half_us`
        self._offset_us = 0
        self._half_us = 0
        self._slope_ppm = 0  # of the offset from then on, wrong by `_half_ppm` at most
        self._half_ppm = MAX_DRIFT_PPM

    def add(self, sent_us: int, hub_us: int, received_us: int) -> None:
        """Add a round: sent and received by the board's clock, answered at `hub_us` of the hub's.

        One that cannot be is left out. One that contradicts those before (the hub's clock has jumped) begins
        anew.
        """
        if not 0 <= received_us - sent_us <= MAX_ROUND_US:
            return
        if not self._take(sent_us, hub_us, received_us):
            self.reset()
            self._take(sent_us, hub_us, received_us)

    def hub_us(self, local_us: int) -> int:
        """Return the hub's clock at `local_us`. Only while `is_set`."""
        return local_us + self._base_offset_us + self._offset_at(local_us)

    def local_us(self, hub_us: int) -> int:
        """Return the board's clock when the hub's says `hub_us`. Only while `is_set`."""
        bare_us = hub_us - self._base_offset_us
        local_us = bare_us - self._offset_us
        for _ in range(2):  # each leaves 500 ppm of the error that was
            local_us = bare_us - self._offset_at(local_us)
        return local_us

    def uncertainty_us(self, local_us: int) -> int:
        """Return how far `hub_us` at `local_us` can be wrong, either way. Only while `is_set`."""
        away_ms = abs(self._away_ms(local_us))
        return self._half_us + (self._half_ppm + _WANDER_PPM) * away_ms // 1000 + _ROUNDING_US

    def _away_ms(self, local_us: int) -> int:
        return (local_us - self._base_us) // 1000 - self._at_ms

    def _offset_at(self, local_us: int) -> int:
        return self._offset_us + self._slope_ppm * self._away_ms(local_us) // 1000

    def _take(self, sent_us: int, hub_us: int, received_us: int) -> bool:
        """Add a round. Returns False when it contradicts those before."""
        if not self._buckets or (received_us - self._base_us) // 1000 >= BUCKET_MS:
            self._begin_bucket(received_us, hub_us)
        buckets = self._buckets
        last = len(buckets) - FIELDS
        sent_ms = (sent_us - self._base_us) // 1000
        received_ms = (received_us - self._base_us) // 1000
        upper_us = hub_us - sent_us - self._base_offset_us
        lower_us = hub_us - received_us - self._base_offset_us
        is_better = False
        slope_us = self._slope_ppm * (sent_ms - buckets[last + _UPPER_MS]) // 1000
        if upper_us <= buckets[last + _UPPER_US] + slope_us:
            buckets[last + _UPPER_MS], buckets[last + _UPPER_US] = sent_ms, upper_us
            is_better = True
            for at in range(0, len(buckets), FIELDS):
                away_ms = sent_ms - buckets[at + _LOWER_MS]
                if away_ms >= _LEAST_BASE_MS and buckets[at + _LOWER_US] > -_OPEN_US:
                    ppm = (upper_us - buckets[at + _LOWER_US]) * 1000 // away_ms + 2
                    buckets[last + _MAX_PPM] = min(buckets[last + _MAX_PPM], ppm)
        slope_us = self._slope_ppm * (received_ms - buckets[last + _LOWER_MS]) // 1000
        if lower_us >= buckets[last + _LOWER_US] + slope_us:
            buckets[last + _LOWER_MS], buckets[last + _LOWER_US] = received_ms, lower_us
            is_better = True
            for at in range(0, len(buckets), FIELDS):
                away_ms = received_ms - buckets[at + _UPPER_MS]
                if away_ms >= _LEAST_BASE_MS and buckets[at + _UPPER_US] < _OPEN_US:
                    ppm = (lower_us - buckets[at + _UPPER_US]) * 1000 // away_ms - 1
                    buckets[last + _MIN_PPM] = max(buckets[last + _MIN_PPM], ppm)
        return not is_better or self._fit(received_ms)

    def _begin_bucket(self, received_us: int, hub_us: int) -> None:
        """Begin the next bucket, and count times and offsets from here on."""
        begin_ms = (received_us - self._base_us) // 1000
        offset_us = self._offset_at(received_us)
        if not self._buckets:
            self._base_us = received_us
            self._base_offset_us = hub_us - received_us
            begin_ms = offset_us = 0
        old = self._buckets[(1 - BUCKETS) * FIELDS :]
        kept: "list[int]" = []
        for at in range(0, len(old), FIELDS):
            upper_ms = old[at + _UPPER_MS] - begin_ms
            lower_ms = old[at + _LOWER_MS] - begin_ms
            if upper_ms > -_MAX_AGE_MS and lower_ms > -_MAX_AGE_MS:
                kept += (upper_ms, old[at + _UPPER_US] - offset_us, lower_ms, old[at + _LOWER_US] - offset_us)
                kept += (old[at + _MIN_PPM], old[at + _MAX_PPM])
        self._at_ms -= begin_ms
        self._offset_us -= offset_us
        self._base_us += begin_ms * 1000
        self._base_offset_us += offset_us
        kept += (0, _OPEN_US, 0, -_OPEN_US, -MAX_DRIFT_PPM, MAX_DRIFT_PPM)
        self._buckets = kept

    def _fit(self, at_ms: int) -> bool:
        """Fit slope and offset at `at_ms`, after all bounds, to what they leave. Returns False where that is
        nothing.
        """
        min_ppm = max(self._buckets[_MIN_PPM::FIELDS])
        max_ppm = min(self._buckets[_MAX_PPM::FIELDS])
        lower_us = max(_carried(self._buckets, _LOWER_MS, at_ms, min_ppm))
        upper_us = min(_carried(self._buckets, _UPPER_MS, at_ms, max_ppm))
        if min_ppm > max_ppm or lower_us > upper_us + 1:
            return False
        self._at_ms = at_ms
        self._offset_us = (lower_us + upper_us) // 2
        self._half_us = (upper_us - lower_us) // 2 + 1
        self._slope_ppm = (min_ppm + max_ppm) // 2
        self._half_ppm = (max_ppm - min_ppm) // 2 + 1
        self.is_set = True
        return True


def _carried(buckets: "list[int]", field: int, to_ms: int, slope_ppm: int) -> "Iterable[int]":
    """Return the bounds that stand at `field` in each bucket, carried to `to_ms`."""
    return [
        buckets[at + 1] + slope_ppm * (to_ms - buckets[at]) // 1000
        for at in range(field, len(buckets), FIELDS)
    ]
