"""Rules of cameras: what fires, what is late, what a file may say."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from snyper.cameras.intake import detection_of
from snyper.cameras.records import Detection
from snyper.cameras.rules import AHEAD, LATE, read_rules

PERSON = '{class = "person", camera = "lane", min_confidence = 0.6, for_frames = 3}'
LANE = f'[[rule]]\nwhen = {PERSON}\nthen = "cease_fire"\n'
ANY = '[[rule]]\nname = "who is there"\nwhen = {class = "Person"}\nthen = "cease_fire"\n'
SILENT = '[[rule]]\nwhen = {silent = "lane"}\nthen = "cease_fire"\n'


_seconds = count()


def seen(class_name: str = "person", confidence: object = 0.9, camera: str = "lane") -> Detection:
    thing = {"bbox": [0, 0, 1, 1], "class": class_name, "confidence": confidence}
    return told([{"class": "car", "confidence": 1}, thing], camera)


def told(things: object, camera: str = "lane") -> Detection:
    """Return a frame of which a camera tells that, each of a time of its own."""
    stamp = (datetime(2026, 12, 1, tzinfo=UTC) + timedelta(seconds=next(_seconds))).isoformat()
    about = {"camera_id": camera, "checkpoint_id": "range", "timestamp": stamp}
    return detection_of({**about, "vehicle_detections": things})


def fired(rules: str, *frames: Detection, age_s: float | None = 0.1) -> list[list[str]]:
    read = read_rules(rules)
    return [[rule.name for rule in read.judge(frame, age_s, 0.0).fired] for frame in frames]


def test_so_many_frames_in_a_row() -> None:
    persons, nobody = [seen() for _ in range(5)], seen("dog")
    name = ["person at lane"]
    assert fired(LANE, *persons[:4]) == [[], [], name, name]
    assert fired(LANE, *persons[:2], nobody, *persons[2:]) == [[], [], [], [], [], name]
    elsewhere = seen(camera="road")
    assert fired(LANE, elsewhere, elsewhere, elsewhere) == [[], [], []]


def test_frames_are_in_a_row_only_where_they_follow_each_other_soon() -> None:
    for rule, gap_s in ((LANE, 60.0), (LANE.replace("= 3}", "= 3, max_gap = 2.5}"), 2.5)):
        rules, now_s, counts = read_rules(rule), 1_000.0, []
        for passed_s in (0.0, gap_s, gap_s + 0.5, gap_s, gap_s, gap_s):
            now_s += passed_s
            counts.append(len(rules.judge(seen(), 0.1, now_s).fired))
        assert counts == [0, 0, 0, 0, 1, 1]


def test_a_frame_that_is_sent_again_counts_once() -> None:
    one, two, three = (replace(seen(), detection_id=name) for name in ("one", "two", "three"))
    name = ["person at lane"]
    assert fired(LANE, one, one, one, two, one, two, three, three) == [[], [], [], [], [], [], name, name]


def test_an_equal_body_without_an_id_counts_once() -> None:
    one, two, three = (replace(seen(), picture=b"picture") for _ in range(3))
    name = ["person at lane"]
    assert fired(LANE, one, replace(one), one, two, replace(one), replace(two), three) == [*[[]] * 6, name]
    for other in (
        {"picture": b"other"},
        {"picture": None},
        {"cropped_plates": ("x",)},
        {"ocr_results": ("A",)},
        {"details": {**one.details, "age": 1}},
    ):
        assert fired(LANE, one, two, replace(one, **other))[2] == name, other


def test_frames_are_counted_for_each_camera() -> None:
    rules = ANY.replace("Person", 'Person", for_frames = 2, camera = "lane')
    lane, road, lane_again, road_again = seen(), seen(camera="road"), seen(), seen(camera="road")
    assert fired(rules, lane, road, lane_again) == [[], [], ["who is there"]]
    both = ANY.replace('"Person"', '"Person", for_frames = 2')
    assert fired(both, lane, road, lane_again, road_again) == [[], [], ["who is there"], ["who is there"]]


@pytest.mark.parametrize(
    ("confidence", "fires"),
    [(0.6, True), (0.59, False), (None, False), ("0.9", True), (" 6e-1", True), ("0.5", False), (1, True)],
)
def test_a_thing_has_the_confidence(confidence: object, fires: bool) -> None:
    verdict = read_rules(LANE.replace(", for_frames = 3", "")).judge(seen(confidence=confidence), 0.1, 0.0)
    assert [rule.name for rule in verdict.fired] == (["person at lane"] if fires else [])
    assert verdict.notes == ()


@pytest.mark.parametrize(
    "confidence", [10, 1.01, -0.1, True, "90%", "", "nan", "inf", [0.9], {"value": 1}, float("nan"), 10**400]
)
def test_what_is_no_confidence_counts_for_nothing_and_is_said(confidence: object) -> None:
    thing = {"class": "person", "confidence": confidence}
    frame = replace(seen(), details={"vehicle_detections": [thing, thing]})
    said = ("rules do not see all of vehicle_detections: a confidence is no number from 0 to 1",)
    for rules in (ANY, LANE.replace("0.6, for_frames = 3", "0")):
        verdict = read_rules(rules).judge(frame, 0.1, 0.0)
        assert (verdict.fired, verdict.notes) == ((), said)
    assert read_rules(SILENT + LANE.replace('"lane"', '"road"')).judge(frame, 0.1, 0.0).notes == ()


PERSONS = [{"class": "person", "confidence": 0.9}]


@pytest.mark.parametrize("things", [PERSONS[0], json.dumps(PERSONS), " " + json.dumps(PERSONS[0])])
def test_one_thing_and_json_text_are_what_they_are(things: object) -> None:
    verdict = read_rules(ANY).judge(told(things), 0.1, 0.0)
    assert [rule.name for rule in verdict.fired] == ["who is there"]
    assert verdict.notes == ()


@pytest.mark.parametrize(
    ("things", "what"),
    [
        ("person", "vehicle_detections: it is no list of objects"),
        ("[person", "vehicle_detections: it is no list of objects"),
        ("[" * 10_000, "vehicle_detections: it is no list of objects"),
        ("7", "vehicle_detections: it is no list of objects"),
        (7, "vehicle_detections: it is no list of objects"),
        ({"first": PERSONS}, "vehicle_detections: it is no list of objects"),
        (["person"], "all of vehicle_detections: a class is no text"),
        ([{"class": 0, "confidence": 0.9}], "all of vehicle_detections: a class is no text"),
    ],
)
def test_what_rules_cannot_read_is_said(things: object, what: str) -> None:
    verdict = read_rules(ANY).judge(told(things), 0.1, 0.0)
    assert (verdict.fired, verdict.notes) == ((), (f"rules do not see {what}",))


@pytest.mark.parametrize("things", [None, "", [], {}, [{"text": "ABC 1"}], "[]"])
def test_nothing_is_said_where_nothing_is_told(things: object) -> None:
    assert read_rules(ANY).judge(told(things), 0.1, 0.0).notes == ()


def test_a_frame_has_few_doubts() -> None:
    frame = replace(seen(), details={f"{number}{'x' * 100}detections": 7 for number in range(1_000)})
    notes = read_rules(ANY).judge(frame, 0.1, 0.0).notes
    assert (len(notes), max(map(len, notes)) < 200) == (8, True)


def test_classes_are_the_same_in_either_case_and_with_blanks_around() -> None:
    frames = seen("PERSON"), seen(" person "), seen("persons")
    assert fired(ANY, *frames) == fired(ANY.replace("Person", " Person "), *frames)
    assert fired(ANY, *frames) == [["who is there"], ["who is there"], []]


@pytest.mark.parametrize(
    ("age_s", "notes"), [(2.0, ()), (2.01, (LATE,)), (3600, (LATE,)), (-2.01, (AHEAD,)), (None, (LATE,))]
)
def test_what_is_late_fires_nothing_and_says_so(age_s: float | None, notes: tuple[str, ...]) -> None:
    rules = read_rules(ANY + LANE.replace(", for_frames = 3", ""))
    verdict = rules.judge(seen(), age_s, 0.0)
    assert verdict.notes == notes
    assert bool(verdict.fired) is not bool(notes)
    assert rules.judge(seen("dog"), age_s, 0.0).notes == ()


def test_a_thousand_late_frames_count_for_none_in_a_row() -> None:
    rules = read_rules(LANE)
    for _ in range(1_000):
        assert rules.judge(seen(), 60.0, 0.0).fired == ()
    assert rules.judge(seen(), 0.0, 0.0).fired == ()


def test_silence() -> None:
    rules = read_rules(SILENT + ANY)
    assert [rule.name for rule in rules.of_silence("lane")] == ["lane is silent"]
    assert rules.of_silence("road") == []
    assert rules.expected == ["lane"]
    assert [rule.name for rule in rules.judge(seen(), 0, 0.0).fired] == ["who is there"]


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
        (ANY.replace('"Person"', '" "'), "class of rule 1"),
        (ANY.replace('"Person"', '"a\\nb"'), "class of rule 1"),
        (LANE.replace("0.6", "1.1"), "min_confidence"),
        (LANE.replace("0.6", "nan"), "min_confidence"),
        (LANE.replace("0.6", "true"), "min_confidence"),
        (LANE.replace("= 3", "= 0"), "for_frames"),
        (LANE.replace("= 3", "= 2.5"), "for_frames"),
        (LANE.replace("for_frames = 3", "max_age = 61"), "max_age"),
        (LANE.replace("for_frames = 3", "max_age = 0"), "max_age of rule 1 is more than 0"),
        (LANE.replace("= 3", "= 3, max_gap = 0"), "max_gap of rule 1 is more than 0"),
        (LANE.replace("= 3", "= 3, max_gap = 86401"), "max_gap of rule 1 is a number"),
        (ANY.replace("who is there", "x" * 97), "name of rule 1 is a text of 1 to 96 characters"),
        (LANE.replace('"lane"', '" lane"'), "camera of rule 1 has blanks around it, ' lane'"),
        (SILENT.replace('"lane"', '"lane "'), "silent of rule 1 has blanks around it"),
        (SILENT.replace('"lane"', "1"), "silent of rule 1"),
        (SILENT.replace("lane", "@lanes"), "silent of rule 1 is the id of one camera, not '@lanes'"),
        (LANE.replace('"lane"', '"lane*"'), r"camera of rule 1 is the id of one camera, not 'lane\*'"),
        (LANE.replace('"lane"', '"l*ne"'), r"camera of rule 1 is the id of one camera, not 'l\*ne'"),
        (ANY + LANE + ANY, "rules 1 and 3 are both called 'who is there'"),
        (LANE + LANE.replace("0.6", "0.7"), "rules 1 and 2 are both called 'person at lane'"),
    ],
)
def test_a_file_that_says_anything_else_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_rules(text)
