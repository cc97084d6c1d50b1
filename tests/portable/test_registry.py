"""The hub's registry: who is admitted, who is meant by a selector, who is dropped."""

from snyper.firmware.master.admission import admit, live_link
from snyper.firmware.master.registry import LAST_ERROR_MS, MAX_REPORT_IDS, Peer, Registry
from snyper.firmware.master.roles.console import Console
from snyper.firmware.master.roles.service import Service
from snyper.firmware.master.roles.target import Target
from snyper.shared.handshake_server import Registration
from snyper.shared.socket_protocol import ErrorCode, SocketMessage
from tests.portable.support import raises

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from snyper.shared.link import Link


class _Link:
    """As much of a link as the registry looks at."""

    def __init__(self) -> None:
        self.round_trip_us: "int | None" = None


def _new_link() -> "Link":
    return _Link()  # type: ignore[return-value]


def _registration(target_id: "str | None", **data: object) -> Registration:
    return Registration(SocketMessage("register", 1, target_id, data=data))


def _admit(registry: Registry, target_id: str, **data: object) -> "tuple[Target, Link]":
    link = _new_link()
    entry, _ = admit(registry, _registration(target_id, **data), link, Target)
    assert entry.link is link
    assert isinstance(entry, Target)
    return entry, link


def _admit_service(registry: Registry, name: str, **data: object) -> "tuple[Peer, Link]":
    link = _new_link()
    return admit(registry, _registration(name, role="service", **data), link, Service)[0], link


def _admit_console(registry: Registry, name: "str | None" = None) -> "tuple[Peer, Link]":
    link = _new_link()
    return admit(registry, _registration(name, role="console"), link, Console)[0], link


def _admit_reader(registry: Registry, name: "str | None" = None) -> Peer:
    registration = _registration(name, role="console")
    registration.may_command = False
    return admit(registry, registration, _new_link(), Console)[0]


def _names(entries: "Sequence[Peer]") -> "list[str]":
    return sorted(entry.target_id for entry in entries)


def test_a_target_is_admitted_with_what_it_said() -> None:
    registry = Registry(4)
    link = _new_link()
    registration = _registration(
        "t", hardware_id="h", boot_id="b", firmware="1", groups=["left"], state="down"
    )
    entry, replaced = admit(registry, registration, link, Target)
    assert replaced is None
    assert (entry.target_id, entry.hardware_id, entry.boot_id) == ("t", "h", "b")
    assert isinstance(entry, Target)
    assert (entry.firmware, entry.groups, entry.state) == ("1", ["left"], "down")
    assert registry.connected() == [entry]
    assert registry.entries() == [entry]


def test_another_board_under_a_live_name_is_refused() -> None:
    registry = Registry(4)
    entry, link = _admit(registry, "t", hardware_id="h1")
    for other in ({"hardware_id": "h2"}, {"hardware_id": ""}, {}):
        raises(ErrorCode.DUPLICATE_TARGET, admit, registry, _registration("t", **other), _new_link(), Target)
    assert entry.link is link
    assert entry.hardware_id == "h1"


def test_a_held_hardware_id_under_another_name_is_that_boards() -> None:
    registry = Registry(4)
    good, link = _admit(registry, "good", hardware_id="h", boot_id="b")
    assert live_link(registry, _registration("x", hardware_id="h", boot_id="b")) is link
    assert live_link(registry, _registration("x", hardware_id="other")) is None
    assert live_link(registry, _registration("x")) is None
    # The board has another name now, and its old link is given up.
    renamed, replaced = admit(registry, _registration("x", hardware_id="h"), _new_link(), Target)
    assert replaced is link
    assert registry.lose(good, link, 0)
    assert registry.count == 1
    assert registry.connected() == [renamed]
    assert live_link(registry, _registration("good", hardware_id="h")) is renamed.link


def test_no_more_boards_are_remembered_than_names() -> None:
    registry = Registry(2)
    for at in range(9):
        peer, link = _admit(registry, "t%d" % (at % 5), hardware_id="h%d" % at)
        registry.lose(peer, link, at)
    assert sorted(peer.target_id for peer in registry.boards.values()) == _names(registry.entries())


def test_boards_without_a_hardware_id_do_not_replace_each_other() -> None:
    registry = Registry(4)
    _admit(registry, "t")
    raises(ErrorCode.DUPLICATE_TARGET, admit, registry, _registration("t"), _new_link(), Target)


def test_the_same_board_replaces_its_own_link() -> None:
    registry = Registry(1)
    entry, first = _admit(registry, "t", hardware_id="h", state="down")
    second = _new_link()
    again, replaced = admit(registry, _registration("t", hardware_id="h", state="standing"), second, Target)
    assert again is entry
    assert replaced is first
    assert entry.link is second
    assert entry.state == "standing"
    # The old link ends after the new one has come: nothing is lost.
    assert not registry.lose(entry, first, 5)
    assert entry.link is second
    assert registry.count == 1
    assert registry.lose(entry, second, 6)
    assert not registry.lose(entry, second, 7)
    assert registry.connected() == []
    assert registry.count == 0


def test_a_name_that_is_away_is_free() -> None:
    registry = Registry(4)
    entry, link = _admit(registry, "t", hardware_id="h1")
    registry.lose(entry, link, 5)
    again, _ = _admit(registry, "t", hardware_id="h2")
    assert again is entry
    assert entry.hardware_id == "h2"


def test_who_else_has_a_name() -> None:
    registry = Registry(4)
    mine = _registration("t", hardware_id="h")
    assert live_link(registry, mine) is None
    entry, link = _admit(registry, "t", hardware_id="h")
    assert live_link(registry, mine) is link
    for other in ("g", ""):
        raises(ErrorCode.DUPLICATE_TARGET, live_link, registry, _registration("t", hardware_id=other))
    registry.lose(entry, link, 1)
    assert live_link(registry, mine) is None


def test_a_full_hub_is_busy() -> None:
    registry = Registry(2)
    _admit(registry, "a", hardware_id="ha")
    b, link = _admit(registry, "b", hardware_id="hb")
    raises(ErrorCode.BUSY, admit, registry, _registration("c"), _new_link(), Target)
    assert _names(registry.entries()) == ["a", "b"]
    _admit(registry, "a", hardware_id="ha")  # the same board comes back
    registry.lose(b, link, 1)
    _admit(registry, "c")
    raises(ErrorCode.BUSY, admit, registry, _registration("b", hardware_id="hb"), _new_link(), Target)


def test_selectors() -> None:
    registry = Registry(4)
    _admit(registry, "a", groups=["left", "front"])
    _admit(registry, "b", groups=["left"])
    gone, link = _admit(registry, "c", groups=["left"])
    registry.lose(gone, link, 1)
    assert _names(registry.select("a")) == ["a"]
    assert _names(registry.select("all")) == ["a", "b"]
    assert _names(registry.select("group:left")) == ["a", "b"]
    assert _names(registry.select("group:front")) == ["a"]
    # By its name also a target that is away is meant, so that the answer can say so.
    assert registry.select("c") == [gone]
    for nobody in ("d", "group:right", "group:c", "left", "A"):
        raises(ErrorCode.UNKNOWN_TARGET, registry.select, nobody)
    raises(ErrorCode.UNKNOWN_TARGET, Registry(4).select, "all")


def test_who_may_only_read_is_meant_by_no_name() -> None:
    registry = Registry(4, 4)
    _admit_reader(registry, "t")  # whoever asks for that target would be answered by it
    raises(ErrorCode.UNKNOWN_TARGET, registry.select, "t")
    console, _ = _admit_console(registry, "t")
    assert registry.select("t") == [console]


def test_who_may_only_read_leaves_places_to_who_may_command() -> None:
    registry = Registry(4, 5)
    _admit_console(registry)
    for _ in range(3):
        _admit_reader(registry)
    raises(ErrorCode.BUSY, _admit_reader, registry)
    _admit_console(registry)
    raises(ErrorCode.BUSY, _admit_console, registry)
    only_one = Registry(4, 1)
    _admit_reader(only_one)
    raises(ErrorCode.BUSY, _admit_reader, only_one)


def test_the_one_that_is_away_longest_is_dropped() -> None:
    registry = Registry(2)
    for name, left_ms in (("old", 20), ("oldest", 10)):
        entry, link = _admit(registry, name)
        registry.lose(entry, link, left_ms)
    _admit(registry, "new")
    assert _names(registry.entries()) == ["new", "old"]


def test_one_that_comes_back_drops_nobody() -> None:
    registry = Registry(2)
    for name, left_ms in (("a", 10), ("b", 20)):
        entry, link = _admit(registry, name)
        registry.lose(entry, link, left_ms)
    _admit(registry, "a")
    assert _names(registry.entries()) == ["a", "b"]


def test_names_are_bounded_however_many_come_and_go() -> None:
    registry = Registry(3)
    for number in range(50):
        entry, link = _admit(registry, "t%d" % number)
        assert len(registry.entries()) <= 6
        if number % 3:
            registry.lose(entry, link, number)
        else:
            for other in registry.connected()[:2]:
                assert other.link is not None
                registry.lose(other, other.link, number)
        assert registry.count == len(registry.connected())
    assert len(registry.entries()) <= 6


def test_a_report_is_new_once() -> None:
    entry, _ = _admit(Registry(1), "t", boot_id="b1", hardware_id="h")
    assert entry.is_new_report("e1")
    assert not entry.is_new_report("e1")
    assert entry.is_new_report("e2")
    assert not entry.is_new_report("e1")


def test_reports_stay_known_over_a_new_link_and_not_over_a_new_boot() -> None:
    registry = Registry(1)
    entry, _ = _admit(registry, "t", boot_id="b1", hardware_id="h")
    assert entry.is_new_report("e1")
    _admit(registry, "t", boot_id="b1", hardware_id="h")
    assert not entry.is_new_report("e1")
    _admit(registry, "t", boot_id="b2", hardware_id="h")
    assert entry.is_new_report("e1")


def test_reports_of_another_board_are_its_own() -> None:
    registry = Registry(1)
    entry, link = _admit(registry, "t", boot_id="b", hardware_id="h1")
    assert entry.is_new_report("e1")
    registry.lose(entry, link, 1)
    _admit(registry, "t", boot_id="b", hardware_id="h2")
    assert entry.is_new_report("e1")


def test_only_so_many_report_ids_are_kept() -> None:
    entry, _ = _admit(Registry(1), "t")
    for number in range(MAX_REPORT_IDS + 1):
        assert entry.is_new_report(number)
    assert not entry.is_new_report(1)
    assert entry.is_new_report(0)


def test_what_is_said_of_a_target() -> None:
    registry = Registry(1)
    entry, link = _admit(registry, "t", groups=["left"], firmware="1", state="down")
    assert entry.describe(1000) == {
        "connected": True,
        "state": "down",
        "groups": ["left"],
        "firmware": "1",
        "seen_ms_ago": 0,
    }
    entry.refused_ms = 900
    assert entry.describe(1000)["last_error"] == "duplicate"
    assert "last_error" not in entry.describe(900 + LAST_ERROR_MS)
    link.round_trip_us = 900
    assert entry.describe(1000)["round_trip_us"] == 900
    registry.lose(entry, link, 400)
    said = entry.describe(1000)
    assert said["connected"] is False
    assert said["seen_ms_ago"] == 600
    assert "round_trip_us" not in said


def test_a_report_is_known_by_its_board_its_name_its_boot_and_its_id() -> None:
    keys = []
    for about in (
        {"boot_id": "b", "hardware_id": "h"},
        {"boot_id": "b", "hardware_id": "other"},
        {"boot_id": "c", "hardware_id": "h"},
        {"boot_id": "b"},  # then its name must do
        {"boot_id": "b', 'c", "hardware_id": "h"},
    ):
        entry, _ = _admit(Registry(1), "t", **about)
        keys += [entry.report_key("1"), entry.report_key(1)]
    impostor, _ = _admit(Registry(1), "another_name", boot_id="b", hardware_id="h")
    keys.append(impostor.report_key("1"))
    assert len(set(keys)) == len(keys)


def test_a_report_of_no_boot_is_known_by_nothing() -> None:
    entry, _ = _admit(Registry(1), "t", hardware_id="h")
    assert entry.report_key("e1") == ""


def test_a_name_means_any_role_and_all_only_targets() -> None:
    registry = Registry(2, 2)
    _admit(registry, "t", groups=["g"])
    service, link = _admit_service(registry, "s", groups=["g"])
    assert _names(registry.select("all")) == _names(registry.select("group:g")) == ["t"]
    assert registry.select("s") == [service]
    assert (registry.count, _names(registry.connected()), _names(registry.entries())) == (1, ["t"], ["t"])
    registry.lose(service, link, 5)
    assert registry.select("s") == [service]  # known, and away
    assert registry.count == 1
    registry = Registry(1, 4)
    for name in ("c", None, "twice", "twice"):
        _admit_console(registry, name)
    assert registry.select("c") == registry.others[:1]
    raises(ErrorCode.UNKNOWN_TARGET, registry.select, "twice")


def test_a_name_belongs_to_one_of_all_roles() -> None:
    registry = Registry(2, 2)
    target, link = _admit(registry, "n", hardware_id="h")
    raises(ErrorCode.DUPLICATE_TARGET, lambda: _admit_service(registry, "n", hardware_id="h"))
    registry.lose(target, link, 5)
    service, _ = _admit_service(registry, "n", hardware_id="h")
    assert registry.select("n") == [service]
    assert registry.entries() == []
    for name in (None, "all", "group:left"):
        raises(ErrorCode.BAD_MESSAGE, _admit_service, registry, name)
        raises(ErrorCode.BAD_MESSAGE, _admit, registry, name)


def test_each_role_has_its_own_places() -> None:
    registry = Registry(1, 2)
    _admit(registry, "t")
    raises(ErrorCode.BUSY, _admit, registry, "t2")
    for name in ("s1", "s2"):
        _admit_service(registry, name)
    raises(ErrorCode.BUSY, _admit_service, registry, "s3")
    consoles = [_admit_console(registry) for _ in range(2)]
    raises(ErrorCode.BUSY, _admit_console, registry)
    registry.lose(*consoles[0], 5)
    _admit_console(registry)
