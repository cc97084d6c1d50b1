"""Rules of cameras: what fires, what is late, what a file may say."""

from dataclasses import replace

import pytest

from snyper.cameras.intake import detection_of
from snyper.cameras.records import Detection
from snyper.cameras.rules import AHEAD, LATE, read_rules

PERSON = '{class = "person", camera = "lane", min_confidence = 0.6, for_frames = 3}'
LANE = f'[[rule]]\nwhen = {PERSON}\nthen = "cease_fire"\n'
ANY = '[[rule]]\nname = "who is there"\nwhen = {class = "Person"}\nthen = "cease_fire"\n'
SILENT = '[[rule]]\nwhen = {silent = "lane"}\nthen = "cease_fire"\n'


def seen(class_name: str = "person", confidence: object = 0.9, camera: str = "lane") -> Detection:
    thing = {"bbox": [0, 0, 1, 1], "class": class_name, "confidence": confidence}
    about = {"camera_id": camera, "checkpoint_id": "range", "timestamp": "2026-12-01T10:00:00Z"}
    return detection_of({**about, "vehicle_detections": [{"class": "car", "confidence": 1}, thing]})


def fired(rules: str, *frames: Detection, age_s: float | None = 0.1) -> list[list[str]]:
    read = read_rules(rules)
    return [[rule.name for rule in read.judge(frame, age_s).fired] for frame in frames]


def test_so_many_frames_in_a_row() -> None:
    person, nobody = seen(), seen("dog")
    name = ["person at lane"]
    assert fired(LANE, person, person, person, person) == [[], [], name, name]
    assert fired(LANE, person, person, nobody, person, person, person) == [[], [], [], [], [], name]
    elsewhere = seen(camera="road")
    assert fired(LANE, elsewhere, elsewhere, elsewhere) == [[], [], []]


def test_a_frame_that_is_sent_again_counts_once() -> None:
    one, two, three = (replace(seen(), detection_id=name) for name in ("one", "two", "three"))
    name = ["person at lane"]
    assert fired(LANE, one, one, one, two, one, two, three, three) == [[], [], [], [], [], [], name, name]


def test_frames_are_counted_for_each_camera() -> None:
    rules = ANY.replace("Person", 'Person", for_frames = 2, camera = "lane')
    lane, road = seen(), seen(camera="road")
    assert fired(rules, lane, road, lane) == [[], [], ["who is there"]]
    both = ANY.replace('"Person"', '"Person", for_frames = 2')
    assert fired(both, lane, road, lane, road) == [[], [], ["who is there"], ["who is there"]]


@pytest.mark.parametrize(
    ("confidence", "fires"),
    [(0.6, True), (0.59, False), (None, False), ("0.9", False), (float("nan"), False)],
)
def test_a_thing_has_the_confidence(confidence: object, fires: bool) -> None:
    rules = LANE.replace(", for_frames = 3", "")
    assert fired(rules, seen(confidence=confidence)) == [["person at lane"] if fires else []]


def test_classes_are_the_same_in_either_case() -> None:
    assert fired(ANY, seen("PERSON"), seen("persons")) == [["who is there"], []]


@pytest.mark.parametrize(
    ("age_s", "notes"), [(2.0, ()), (2.01, (LATE,)), (3600, (LATE,)), (-2.01, (AHEAD,)), (None, (LATE,))]
)
def test_what_is_late_fires_nothing_and_says_so(age_s: float | None, notes: tuple[str, ...]) -> None:
    rules = read_rules(ANY + LANE.replace(", for_frames = 3", ""))
    verdict = rules.judge(seen(), age_s)
    assert verdict.notes == notes
    assert bool(verdict.fired) is not bool(notes)
    assert rules.judge(seen("dog"), age_s).notes == ()


def test_a_thousand_late_frames_count_for_none_in_a_row() -> None:
    rules = read_rules(LANE)
    for _ in range(1_000):
        assert rules.judge(seen(), 60.0).fired == ()
    assert rules.judge(seen(), 0.0).fired == ()


def test_silence() -> None:
    rules = read_rules(SILENT + ANY)
    assert [rule.name for rule in rules.of_silence("lane")] == ["lane is silent"]
    assert rules.of_silence("road") == []
    assert rules.expected == ["lane"]
    assert [rule.name for rule in rules.judge(seen(), 0).fired] == ["who is there"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1 to 100 rules"),
        ("[[rule", "no TOML"),
        ("rule = 1", "1 to 100 rules"),
        ("rule = [1]", "rule 1 is no table"),
        (ANY * 101, "1 to 100 rules"),
        (ANY + "[other]", "'other'"),
        (ANY.replace("name", "nam"), "'nam'"),
        (ANY.replace("class", "klass"), "'klass'"),
        (SILENT.replace('"lane"', '"lane", class = "person"'), "'class'"),
        (ANY.replace('"cease_fire"', '"os.system"'), "then"),
        (ANY.replace('then = "cease_fire"', ""), "then"),
        ('[[rule]]\nthen = "cease_fire"', "no when"),
        ('[[rule]]\nwhen = {}\nthen = "cease_fire"', "class of rule 1"),
        (ANY.replace('"Person"', '""'), "class of rule 1"),
        (ANY.replace('"Person"', '"a\\nb"'), "class of rule 1"),
        (LANE.replace("0.6", "1.1"), "min_confidence"),
        (LANE.replace("0.6", "nan"), "min_confidence"),
        (LANE.replace("0.6", "true"), "min_confidence"),
        (LANE.replace("= 3", "= 0"), "for_frames"),
        (LANE.replace("= 3", "= 2.5"), "for_frames"),
        (LANE.replace("for_frames = 3", "max_age = 61"), "max_age"),
        (SILENT.replace('"lane"', "1"), "silent of rule 1"),
    ],
)
def test_a_file_that_says_anything_else_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_rules(text)
