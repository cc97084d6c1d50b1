"""Records of one vehicle are one visit."""

import math
import random

import pytest

from snyper.cameras.records import Picture, Record
from snyper.cameras.visits import GAP_S, Visit, page_of, visits_of


def record(cursor: int, time_s: float, *plates: str, camera: str = "a", confidence: float = 0.0) -> Record:
    """Return a record with a picture of its own."""
    return Record(
        cursor=cursor,
        id=str(cursor),
        detection_id=str(cursor),
        camera_id=camera,
        checkpoint_id="gate",
        timestamp="",
        captured_s=time_s,
        time_s=time_s,
        received_s=time_s,
        vehicles_count=1,
        plates_count=len(plates),
        ocr_results=plates,
        details={"plate_detections": [{"text": plate, "confidence": confidence} for plate in plates]},
        picture=Picture(str(cursor), "image/jpeg", 1, 1, 1),
        is_annotated=True,
        cropped_plates=(),
        possible_double_of=None,
        is_protected=False,
        warnings=(),
    )


def test_similar_plates_in_a_row_are_a_visit_with_its_best_picture() -> None:
    records = [
        record(1, 0.0, "ABC 1234", confidence=0.5),
        record(2, 14.0, "ABC1Z34", confidence=0.2),
        record(3, 28.0, "ABC 1234", confidence=0.9),
        record(4, 29.0, "XYZ 1", confidence=0.9),
        record(5, 43.5, "ABC 1234"),  # 15.5 s later
    ]
    found = visits_of(reversed(records))
    assert [(one.plate, one.first_s, one.last_s, one.cursors) for one in found] == [
        ("ABC 1234", 43.5, 43.5, [5]),
        ("XYZ 1", 29.0, 29.0, [4]),
        ("ABC 1234", 0.0, 28.0, [1, 2, 3]),
    ]
    assert [one.picture_cursor for one in found] == [5, 4, 3]


def test_another_camera_is_another_visit_and_no_plate_is_none() -> None:
    found = visits_of(
        [record(1, 0.0, "A", "B", "a"), record(2, 1.0, "A", camera="b"), record(3, 2.0), record(4, 3.0, "-")]
    )
    assert sorted((one.camera_id, one.plate) for one in found) == [("a", "B"), ("a", "a"), ("b", "A")]


@pytest.mark.parametrize("seed", range(20))
def test_pages_have_every_visit_once_and_whole(seed: int) -> None:
    rng = random.Random(seed)
    times = sorted(rng.uniform(0.0, 1_200.0) for _ in range(300))
    records = [
        record(at, time_s, rng.choice(["AAA111", "BBB222", "CCC333"]), camera=rng.choice("abc"))
        for at, time_s in enumerate(times)
    ]
    found: list[Visit] = []
    before_s: float | None = None
    pages = 0
    while True:
        until_s = math.inf if before_s is None else before_s + GAP_S
        newest = [one for one in reversed(records) if one.time_s < until_s]
        page = page_of(newest[:100], len(newest) > 100, before_s, limit=7)
        found += page.visits
        pages += 1
        if page.next_cursor is None:
            break
        assert before_s is None or float(page.next_cursor) < before_s
        before_s = float(page.next_cursor)
    assert [one.cursors for one in found] == [one.cursors for one in visits_of(records)]
    assert pages > 5


def test_a_visit_longer_than_what_is_looked_at_comes_once() -> None:
    records = [record(at, float(at), "AAA111") for at in range(100)]
    first = page_of(records[-40:], True, None, limit=10)
    assert [one.cursors for one in first.visits] == [list(range(60, 100))]
    assert first.next_cursor == "60.0"
    second = page_of(records[:75], False, 60.0, limit=10)
    assert second == page_of([], False, 60.0, limit=10)
