"""Which hits are cross-talk of which, whatever order they come in."""

from snyper.firmware.master.crosstalk import FIELDS, MAX_CROSSTALK_MS, RATIO, hit_of, judge, record_hit
from snyper.firmware.master.events import EventLog
from snyper.firmware.master.registry import Registry
from snyper.firmware.master.router import Router

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NOW_US = 9_000_000


def _hit(at_us: int, peak: int, uncertainty_us: int = 0) -> "dict[str, Any]":
    return {"at_us": at_us, "peak": peak, "uncertainty_us": uncertainty_us}


def _counting(told: "list[tuple[str, dict[str, Any]]]", window_ms: int = 20) -> "list[str]":
    """The targets whose hits count in the end, when they come in this order."""
    hits: "list[Any]" = []
    for seq, (target_id, data) in enumerate(told, 1):
        hit = hit_of(target_id, data, NOW_US)
        of, _ = judge(hits, hit, window_ms * 1000)
        if not of:
            hit[4] = seq
        hits += hit
    return sorted([hits[at] for at in range(0, len(hits), FIELDS) if hits[at + 4]])


def _both_ways(one: "dict[str, Any]", other: "dict[str, Any]", window_ms: int = 20) -> "list[str]":
    found = _counting([("a", one), ("b", other)], window_ms)
    assert found == _counting([("b", other), ("a", one)], window_ms)
    return found


def test_the_weaker_of_two_in_the_window_does_not_count() -> None:
    assert _both_ways(_hit(1_000, 60_000), _hit(4_000, 22_000)) == ["a"]
    assert _both_ways(_hit(4_000, 22_000), _hit(1_000, 60_000)) == ["b"]
    assert _both_ways(_hit(0, 60_000), _hit(20_000, 22_000)) == ["a"]
    assert _both_ways(_hit(-5_000, 60_000), _hit(-9_000, 22_000)) == ["a"]


def test_two_shots_count() -> None:
    """At another time; or about as strong; both as strong as can be told; or on one target."""
    assert _both_ways(_hit(0, 60_000), _hit(20_001, 22_000)) == ["a", "b"]
    assert _both_ways(_hit(0, RATIO * 22_000 - 1), _hit(3_000, 22_000)) == ["a", "b"]
    assert _both_ways(_hit(0, RATIO * 22_000), _hit(3_000, 22_000)) == ["a"]
    assert _both_ways(_hit(0, 65_535), _hit(3_000, 65_535)) == ["a", "b"]
    assert _counting([("a", _hit(0, 60_000)), ("a", _hit(3_000, 22_000))]) == ["a", "a"]


def test_what_the_clocks_do_not_tell_widens_the_window_and_not_for_ever() -> None:
    assert _both_ways(_hit(0, 60_000, 3_000), _hit(25_000, 22_000, 2_000)) == ["a"]
    assert _both_ways(_hit(0, 60_000, 3_000), _hit(25_001, 22_000, 2_000)) == ["a", "b"]
    assert _both_ways(_hit(0, 60_000, 500_000), _hit(40_000, 22_000, 0)) == ["a"]
    assert _both_ways(_hit(0, 60_000, 500_000), _hit(40_001, 22_000, 500_000)) == ["a", "b"]


def test_the_window_can_be_another_or_none() -> None:
    assert _both_ways(_hit(0, 60_000), _hit(0, 1), 0) == ["a", "b"]
    far = MAX_CROSSTALK_MS * 1000
    assert _both_ways(_hit(0, 60_000), _hit(far, 1), MAX_CROSSTALK_MS) == ["a"]


def test_each_pair_is_compared_whatever_the_order() -> None:
    """The weakest may shake with one that itself is cross-talk; who counts does not depend on the order."""
    hits = [("a", _hit(0, 60_000)), ("b", _hit(15_000, 22_000)), ("c", _hit(30_000, 9_000))]
    orders = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    for order in orders:
        assert _counting([hits[at] for at in order]) == ["a"], order


def test_what_does_not_count_is_not_taken_back_again() -> None:
    shaken, counts = ["a", 0, 0, 9_000, 0], ["a", 0, 0, 9_000, 7]
    blow = hit_of("b", _hit(0, 60_000), NOW_US)
    assert judge(shaken, blow, 20_000) == ("", [])
    assert judge(counts, blow, 20_000) == ("", [("a", 7)])
    assert counts == shaken


def test_what_does_not_say_when_it_was_has_come_now_and_without_a_peak_none_is() -> None:
    assert _both_ways({"peak": 60_000}, _hit(NOW_US - 3_000, 22_000)) == ["a"]
    for odd in ({}, {"peak": "60000"}, {"peak": -1}, {"at_us": 0, "peak": None}):
        assert _both_ways(odd, _hit(NOW_US, 60_000)) == ["a", "b"], odd
    assert _both_ways({"at_us": 1.5, "peak": 10**9, "uncertainty_us": -3}, _hit(NOW_US, 22_000)) == ["a"]


def test_a_defect_of_who_hears_of_it_costs_no_hit() -> None:
    router = Router(Registry(4), EventLog(8), "boot")

    def fail(*event: object) -> None:
        raise ValueError("a defect")

    router.events.listen(fail)
    assert record_hit(router, "a", _hit(0, 20_000), "") == 1
    assert record_hit(router, "b", _hit(3_000, 60_000), "") == 2
    told = [(seq, event, target_id) for seq, event, target_id, _ in router.events.after(0)]
    assert told == [(1, "hit", "a"), (2, "hit", "b"), (3, "crosstalk", "a")]
