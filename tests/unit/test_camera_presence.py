"""Which cameras are there, what is told of those that are not, and for which a key speaks."""

from datetime import UTC, datetime

import pytest

from snyper.cameras.camera import name_of
from snyper.cameras.grants import Grant, Grants
from snyper.cameras.presence import ASLEEP, MAX_KNOWN, MAX_SPOKEN_FOR, OFFLINE, ONLINE, Change, Presence
from snyper.cameras.silence import FIRST_S, Expectation
from snyper.cameras.zones import Zones
from snyper.gateway.camera_link import may_speak
from snyper.services.carrying import Proven, proven_of
from snyper.shared.socket_protocol import MAX_TARGET_ID_CHARS, SocketMessage, is_target_id

NOON_S = datetime(2026, 12, 2, 12, tzinfo=UTC).timestamp()


class Seen:
    """A presence, and the time: both of its clocks go on together."""

    def __init__(self, zone: str = "UTC", **expectations: Expectation) -> None:
        self.presence = Presence(Zones(zone), expectations)
        self.now_s = 1_000.0

    @property
    def now(self) -> tuple[float, float]:
        return self.now_s, NOON_S - 1_000.0 + self.now_s

    def hear(self, camera_id: str = "lane") -> list[str]:
        return words(self.presence.hear(camera_id, "gate", *self.now))

    def connect(self, connection: str, camera_id: str = "lane", **options: float) -> list[str]:
        return words(self.presence.connect(connection, camera_id, "gate", *self.now, **options))

    def disconnect(self, connection: str) -> list[str]:
        return words(self.presence.disconnect(connection, *self.now))

    def after(self, seconds: float) -> list[str]:
        self.now_s += seconds
        return words(self.presence.check(*self.now))


def words(changes: list[Change]) -> list[str]:
    return [f"{change.camera_id} {change.status}" for change in changes]


def test_a_camera_that_sends_is_there_for_three_intervals() -> None:
    seen = Seen()
    assert seen.presence.status_of("lane") == OFFLINE
    assert seen.hear() == ["lane online"]
    assert (list(seen.presence), seen.presence.seen_s("lane")) == (["lane"], NOON_S)
    assert seen.after(FIRST_S - 0.5) == []
    assert seen.hear() == []
    assert seen.after(3 * (FIRST_S - 0.5) - 0.5) == []
    assert seen.after(0.5) == ["lane offline"]
    assert seen.after(1_000.0) == []
    assert (list(seen.presence), seen.presence.status_of("lane")) == ([], OFFLINE)
    assert seen.hear() == ["lane online"]


def test_how_long_ago_a_camera_was_seen_is_by_a_clock_that_nobody_sets() -> None:
    seen = Seen()
    assert seen.presence.age_s("lane", seen.now_s) is None
    seen.presence.expect_soon("lane", seen.now_s)
    assert seen.presence.age_s("lane", seen.now_s) is None
    seen.hear()
    assert seen.presence.age_s("lane", seen.now_s + 7.0) == 7.0
    for wall_s, expected_s in ((NOON_S + 30.0, 30.0), (NOON_S - 3_600.0, 0.0)):
        seen.presence.recall("yard", "gate", NOON_S, seen.now_s, wall_s)
        assert seen.presence.age_s("yard", seen.now_s) == expected_s


def test_its_interval_may_be_known() -> None:
    seen = Seen(lane=Expectation(interval_s=2.0, grace_s=1.0))
    assert seen.hear() == ["lane online"]
    assert seen.after(6.5) == []
    assert seen.after(0.5) == ["lane offline"]


def test_a_connection_speaks_for_a_camera_until_it_ends() -> None:
    """What comes beside it changes nothing of that."""
    seen = Seen()
    assert seen.hear() == ["lane online"]
    assert seen.connect("first") == []
    assert seen.connect("second") == []
    assert seen.after(1e6) == []
    assert seen.disconnect("first") == []
    assert seen.hear() == []
    assert seen.disconnect("second") == ["lane offline"]
    assert seen.disconnect("second") == seen.disconnect("nobody") == []


def test_a_connection_that_has_to_give_signs_of_life() -> None:
    seen = Seen()
    assert seen.connect("link", silence_s=5.0) == ["lane online"]
    assert seen.after(4.5) == []
    assert seen.connect("link", silence_s=5.0) == []
    assert seen.after(4.5) == []
    assert seen.after(0.5) == ["lane offline"]
    assert seen.disconnect("link") == []
    assert seen.connect("link", silence_s=5.0) == ["lane online"]
    assert seen.disconnect("link") == ["lane offline"]


def test_the_old_connection_of_a_camera_that_came_again() -> None:
    seen = Seen()
    seen.connect("old", silence_s=5.0)
    seen.after(1.0)
    seen.connect("new", silence_s=5.0)
    assert seen.disconnect("old") == []
    assert seen.after(4.5) == []
    assert seen.after(0.5) == ["lane offline"]


def test_one_connection_of_several_cameras() -> None:
    seen = Seen()
    assert seen.connect("it", "a") == ["a online"]
    assert seen.connect("it", "b") == ["b online"]
    assert sorted(seen.disconnect("it")) == ["a offline", "b offline"]
    for number in range(MAX_SPOKEN_FOR + 1):
        seen.connect("it", str(number))
    assert len(seen.disconnect("it")) == MAX_SPOKEN_FOR
    assert seen.after(FIRST_S) == [f"{MAX_SPOKEN_FOR} offline"]  # for which it could not speak


def test_grace_by_each_way() -> None:
    seen = Seen(lane=Expectation(grace_s=2.0))
    seen.connect("link", silence_s=5.0)
    assert seen.after(6.5) == []
    assert seen.after(0.5) == ["lane offline"]
    seen.connect("socket")
    assert seen.disconnect("socket") == []
    assert seen.after(1.5) == []
    assert seen.connect("again") == []
    assert seen.disconnect("again") == []
    assert seen.after(2.0) == ["lane offline"]
    seen.hear()
    assert seen.after(FIRST_S + 1.5) == []
    assert seen.after(0.5) == ["lane offline"]


@pytest.mark.parametrize("way", ["link", "socket", "REST"])
def test_sleep_by_each_way(way: str) -> None:
    """A camera that is silent falls asleep and wakes: both are told, and nothing of one that is there."""
    # From 13:00 to 14:00 in UTC, of which it is noon.
    seen = Seen("Asia/Bangkok", lane=Expectation(asleep=((20 * 60, 21 * 60),), interval_s=10.0))

    def come() -> list[str]:
        if way == "REST":
            return seen.hear()
        return seen.connect(way, silence_s=5.0) if way == "link" else seen.connect(way)

    def go() -> list[str]:
        return seen.after(FIRST_S) if way != "socket" else seen.disconnect(way)

    assert come() == ["lane online"]
    assert go() == ["lane offline"]
    seen.now_s = 1_000.0 + 3_599.5
    assert seen.after(0.0) == []
    assert seen.after(0.5) == ["lane asleep"]
    assert seen.presence.status_of("lane") == ASLEEP
    assert list(seen.presence) == []
    assert come() == ["lane online"]
    assert go() == ["lane asleep"]
    seen.now_s = 1_000.0 + 2 * 3_600.0 - 0.5
    assert seen.after(0.0) == []
    assert seen.after(0.5) == ["lane offline"]


def test_sleep_until_a_time() -> None:
    seen = Seen()
    seen.connect("socket")
    seen.presence.expect("lane", Expectation(asleep_until_s=NOON_S + 10.0))
    assert seen.disconnect("socket") == ["lane asleep"]
    assert seen.after(9.5) == []
    assert seen.after(0.5) == ["lane offline"]
    seen.presence.expect("lane", Expectation(asleep_until_s=NOON_S + 20.0))
    assert seen.after(0.5) == ["lane asleep"]


def test_what_is_known_of_a_former_life() -> None:
    seen = Seen(yard=Expectation(asleep=((0, 0),)))
    seen.presence.recall("lane", "gate", NOON_S - 5.0, *seen.now)
    seen.presence.recall("street", "gate", NOON_S - 100.0, *seen.now)
    seen.presence.recall("yard", "gate", NOON_S - 100.0, *seen.now)
    assert [seen.presence.status_of(name) for name in ("lane", "street", "yard")] == [ONLINE, OFFLINE, ASLEEP]
    assert seen.after(FIRST_S - 5.5) == []
    assert seen.after(0.5) == ["lane offline"]


def test_a_former_life_is_part_of_its_silence() -> None:
    """Also where its clock was set back since, and for a camera whose interval is known."""
    seen = Seen(quick=Expectation(interval_s=3.0, grace_s=1.0), slow=Expectation(interval_s=60.0))
    for name, ago_s in (("quick", 4.0), ("slow", 100.0), ("ahead", -3_600.0)):
        seen.presence.recall(name, "gate", NOON_S - ago_s, *seen.now)
        assert seen.presence.status_of(name) == ONLINE
    assert seen.after(5.5) == []
    assert seen.after(0.5) == ["quick offline"]
    assert seen.after(FIRST_S - 6.0) == ["ahead offline"]
    assert seen.after(20.0) == ["slow offline"]


def test_who_is_expected_and_does_not_come() -> None:
    seen = Seen(yard=Expectation(asleep_until_s=NOON_S + 100.0))
    seen.presence.recall("known", "gate", NOON_S - 100.0, *seen.now)
    seen.presence.recall("just seen", "gate", NOON_S - 55.0, *seen.now)
    for name in ("lane", "yard", "here", "known", "just seen"):
        seen.presence.expect_soon(name, seen.now_s)
    assert seen.connect("it", "here") == ["here online"]
    seen.presence.expect_soon("here", seen.now_s)
    assert [seen.presence.status_of(name) for name in ("lane", "here")] == [OFFLINE, ONLINE]
    assert sorted(seen.presence) == ["here", "just seen"]
    assert seen.after(FIRST_S - 0.5) == []
    assert sorted(seen.after(0.5)) == ["just seen offline", "known offline", "lane offline", "yard asleep"]
    assert seen.after(100.0) == ["yard offline"]


def test_those_that_are_gone_are_forgotten_first() -> None:
    seen = Seen()
    for number in range(MAX_KNOWN):
        seen.connect(f"of {number}", str(number))
    seen.disconnect("of 17")
    seen.hear("more")
    assert seen.presence.seen_s("17") == 0.0
    assert seen.presence.status_of("0") == ONLINE
    seen.hear("and more")
    assert seen.presence.status_of("0") == OFFLINE
    assert seen.disconnect("of 0") == []
    assert sum(1 for _ in seen.presence) == MAX_KNOWN


@pytest.mark.parametrize(
    ("key", "name", "camera", "expected"),
    [
        ("", "", "lane", True),  # a hub without keys
        ("fleet", "", "lane", True),  # a console
        ("fleet", "lane", "yard", True),
        ("lane", "lane", "lane", True),
        ("lane", "lane", "lane/left", True),
        ("lane", "lane", "lane2", False),
        ("lane", "lane", "yard", False),
        ("lane", "lane", "", False),
        ("gate", "gate", "yard", True),  # which is granted to it
        ("gate", "gate", "yard/left", False),
    ],
)
def test_a_key_speaks_for_its_cameras(key: str, name: str, camera: str, expected: bool) -> None:
    assert may_speak(Proven(key, name), camera, Grants({"gate": Grant({"send": ("yard",)})})) is expected


@pytest.mark.parametrize("said", [None, "fleet", [], ["a"], ["a", "b", "c"], {"a": "b"}, 5])
def test_what_is_no_proof_proves_nothing(said: object) -> None:
    data: dict[str, object] = {} if said is None else {"proven": said}
    assert proven_of(SocketMessage("exchange", 1, "cameras", data=data)) == Proven()


def test_a_console_has_a_key_and_no_name() -> None:
    message = SocketMessage("exchange", 1, "cameras", data={"proven": [None, "desk"]})
    assert proven_of(message) == Proven("desk", "")
    assert not proven_of(message).is_device


@pytest.mark.parametrize("camera", ["lane", "กล้อง 1", "a/b", "all", "x" * 128, "ö"])
def test_each_camera_has_a_name_at_the_hub(camera: str) -> None:
    name = name_of(camera)
    assert is_target_id(name)
    assert name != "all"
    assert len(name) <= MAX_TARGET_ID_CHARS
    assert (name == camera) is (camera == "lane")


def test_another_key_of_the_hub_speaks_for_all_or_for_what_is_granted_to_it() -> None:
    grants = Grants({"desk": Grant({"send": ("yard", "gate/*")}), "reader": Grant({"watch": ("*",)})})
    cameras = ("yard", "gate/1", "gate", "lane")
    for key, expected in (
        ("desk", [True, True, False, False]),
        ("reader", [False] * 4),
        ("fleet", [True] * 4),
    ):
        assert [may_speak(Proven(key, ""), camera, grants) for camera in cameras] == expected
