"""Cross-talk: a blow on one target shakes its neighbours, which detect it too. Loaded for each hit."""

from snyper.shared.clock import now_us
from snyper.shared.socket_protocol import MessageType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CROSSTALK_MS = 20  # half a swing of a frame that swings 25 times a second
MAX_CROSSTALK_MS = 1_000
RATIO = 2
MAX_HITS = 256  # that a new one is compared with; and no more than targets, which detect a blow once
_MAX_PEAK = 65_535

# What is remembered of a hit: its target, its instant by the hub's clock in microseconds, how far that can be
# wrong, its peak, and the `seq` that it was told under as one that counts, else 0. One list has them all, one
# after the other: on a board each list or tuple takes memory.
FIELDS = 5


def record_hit(router: "Any", target_id: str, data: "dict[str, Any]", key: str) -> int:
    """Count a hit of one of the Router's targets, and say whether it was one; take back those before
    it that, as is known now, were none. Returns its `seq`.
    """
    data.pop("crosstalk_of", None)  # which is not for a target to say
    hit = hit_of(target_id, data, now_us())
    of, weaker = judge(router.hits, hit, router.crosstalk_us)
    if of:
        data["crosstalk_of"] = of
    seq: int = router.events.add(MessageType.HIT, target_id, data, key)
    if not of:
        hit[4] = seq
    size = max(2, min(router.registry.max_targets, MAX_HITS))
    router.hits = router.hits[FIELDS * (1 - size) :] + hit
    for other_id, other_seq in weaker:
        router.events.add("crosstalk", other_id, {"hit_seq": other_seq, "crosstalk_of": target_id})
    return seq


def hit_of(target_id: str, data: "dict[str, Any]", now_us: int) -> "list[Any]":
    """Read from a report's data what is remembered of a hit that is not counted yet. One that does not say
    when it was, was at `now_us`; a peak of 0 is none.
    """
    at_us = data.get("at_us")
    values = [data.get("uncertainty_us"), data.get("peak")]
    unsure_us, peak = [max(0, value) if type(value) is int else 0 for value in values]
    return [target_id, at_us if type(at_us) is int else now_us, unsure_us, min(peak, _MAX_PEAK), 0]


def judge(hits: "list[Any]", hit: "list[Any]", crosstalk_us: int) -> "tuple[str, list[tuple[str, int]]]":
    """Return whose cross-talk `hit` is, empty if it is none; and those of `hits` that counted and are
    cross-talk of it, each as its target and `seq`: they count no more.

    One is cross-talk of another target's that is RATIO times as strong or stronger, and `crosstalk_us` away
    at most: as far as the two instants are uncertain more than that, up to twice as much. With 0 none is.
    """
    of = ""
    weaker: "list[tuple[str, int]]" = []
    target_id, at_us, unsure_us, peak, _ = hit
    for at in range(0, len(hits), FIELDS):
        other_id, other_us, other_unsure_us, other_peak, other_seq = hits[at : at + FIELDS]
        away_us = abs(other_us - at_us) - min(other_unsure_us + unsure_us, crosstalk_us)
        if other_id == target_id or away_us > crosstalk_us or not (crosstalk_us and peak and other_peak):
            continue
        if other_peak >= RATIO * peak:
            of = other_id
        elif peak >= RATIO * other_peak and other_seq:
            weaker.append((other_id, other_seq))
            hits[at + 4] = 0
    return of, weaker
