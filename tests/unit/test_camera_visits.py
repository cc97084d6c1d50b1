"""Records of one vehicle are one visit."""

import math
import random
import sys
from collections.abc import Callable

import pytest

from snyper.cameras.plates import is_similar
from snyper.cameras.records import Picture, Record
from snyper.cameras.visits import GAP_S, VisitCursor, VisitPage, page_of, parse_cursor, visits_of


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


def pages_of(records: list[Record], looked_at: int, limit: int) -> list[VisitPage]:
    """Return all pages of the visits of records, for each of which that many are looked at."""
    newest = sorted(records, key=lambda one: (one.time_s, one.cursor), reverse=True)
    pages: list[VisitPage] = []
    before: VisitCursor | None = None
    while not pages or before is not None:
        end_s = math.inf if before is None else before.end[0] + GAP_S
        cut = before.record if before and before.record else (math.inf, 0)
        some = [one for one in newest if one.time_s < end_s and (one.time_s, one.cursor) < cut]
        page = page_of(some[:looked_at], len(some) > looked_at, before, limit)
        assert len(page.visits) <= limit
        following = None if page.next_cursor is None else parse_cursor(str(page.next_cursor))
        assert following == page.next_cursor
        assert before is None or following != before
        pages.append(page)
        before = following
    return pages


@pytest.mark.parametrize("seed", range(20))
def test_pages_have_every_visit_once_and_whole(seed: int) -> None:
    rng = random.Random(seed)
    times = sorted(rng.choice([rng.uniform(0.0, 1_200.0), 40.0 * rng.randrange(30)]) for _ in range(300))
    records = [
        record(at, time_s, *rng.sample(["AAA111", "BBB222", "CCC333"], 2), camera=rng.choice("abc"))
        for at, time_s in enumerate(times)
    ]
    pages = pages_of(records, 100, limit=7)
    found = [one.cursors for page in pages for one in page.visits]
    assert found == [one.cursors for one in visits_of(records)]
    assert len(pages) > 5


@pytest.mark.slow
def test_visits_that_end_at_once_come_in_pages() -> None:
    """Also of more records than are looked at, each of which comes once then."""
    records = [record(at, 5.0, *(f"{at:02d}{number:02d}X" * 3 for number in range(8))) for at in range(40)]
    records += [record(at, at * 60.0, "AAA111") for at in range(40, 50)]
    for looked_at in (7, 30, 1_000):
        pages = pages_of(records, looked_at, limit=5)
        found = [(one.plate, one.cursors) for page in pages for one in page.visits]
        assert found == [(one.plate, one.cursors) for one in visits_of(records)]
        assert len(found) == 330


def test_a_visit_longer_than_what_is_looked_at_comes_once() -> None:
    records = [record(at, float(at), "AAA111") for at in range(100)]
    pages = pages_of(records, 40, limit=10)
    assert [one.cursors for page in pages for one in page.visits] == [list(range(60, 100))]


@pytest.mark.parametrize("text", ["", "1", "1.0:1", "nan:1:1", "1.0:1:1:inf:1", "1.0:1:1:1.0", "1:1:1:1:1:1"])
def test_what_is_no_cursor(text: str) -> None:
    with pytest.raises(ValueError, match=r"cursor|could not convert|invalid literal"):
        parse_cursor(text)


@pytest.mark.parametrize("seed", range(5))
def test_plates_are_of_a_visit_just_where_they_are_similar(seed: int) -> None:
    rng = random.Random(seed)
    texts = ["".join(rng.choices("AB80", k=rng.randrange(1, 6))) for _ in range(300)]
    for one, other in zip(texts[::2], texts[1::2], strict=True):
        are_one = len(visits_of([record(1, 0.0, one), record(2, 1.0, other)])) == 1
        assert are_one == is_similar(one, other), (one, other)


def steps_of(records: list[Record]) -> int:
    """Return how many functions are called to find the visits of records."""
    count = 0

    def called(frame: object, event: str, what: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        visits_of(records)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.slow
def test_many_plates_at_once_take_few_steps_each() -> None:
    """Other plates, plates that are all similar to one, and one that many are similar to."""
    centre = "ABCDEFGHJKLM"
    near = [centre[:at] + letter + centre[at + 1 :] for at in range(12) for letter in "NPQRSTUVWXYZ23456"]
    kinds: tuple[Callable[[int], list[str]], ...] = (
        lambda at: [f"Q{at:04d}{number:02d}X" for number in range(64)],
        lambda at: [f"ABC{chr(0x4E00 + 64 * at + number)}DE" for number in range(64)],
        lambda at: [centre, *near[at % 3 * 63 :][:63]],
    )
    for plates in kinds:
        few, many = ([record(at, 5.0, *plates(at)) for at in range(count)] for count in (20, 80))
        assert steps_of(many) < 5 * steps_of(few)
