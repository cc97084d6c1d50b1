"""Which cameras are there, and for which a key speaks."""

import pytest

from snyper.cameras.camera import name_of
from snyper.cameras.presence import MAX_KNOWN, Presence
from snyper.gateway.camera_link import may_speak
from snyper.services.carrying import Proven, proven_of
from snyper.shared.socket_protocol import MAX_TARGET_ID_CHARS, SocketMessage, is_target_id


def test_a_camera_is_there_until_it_is_silent_or_lost() -> None:
    presence = Presence()
    assert not presence
    assert presence.is_here("lane") is None
    assert presence.see("lane", "gate", 1_000.0, 5.0)
    assert not presence.see("lane", "gate", 1_001.0, 6.0)
    assert presence.see("yard", "gate", 1_001.0, 9.0)
    assert presence.due_s() == 6.0
    assert presence.expire(5.9) == []
    assert presence.expire(6.0) == ["lane"]
    assert presence.expire(6.0) == []
    assert (presence.is_here("lane"), presence.is_here("yard")) == (False, True)
    assert presence.seen_s("lane") == 1_001.0
    assert presence.lose("yard")
    assert not presence.lose("yard")
    assert not presence.lose("nobody")
    assert presence.due_s() is None
    assert presence.see("yard", "other", 1_002.0, 12.0)
    assert presence.checkpoint_of("yard") == "other"


def test_those_that_are_gone_are_forgotten_first() -> None:
    presence = Presence()
    for number in range(MAX_KNOWN):
        presence.see(str(number), "", 0.0, 5.0)
    presence.lose("17")
    presence.see("more", "", 0.0, 5.0)
    assert presence.is_here("17") is None
    assert presence.is_here("0") is True
    presence.see("and more", "", 0.0, 5.0)
    assert presence.is_here("0") is None


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
    assert may_speak(Proven(key, name), camera, {"gate": ["yard"]}) is expected


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
