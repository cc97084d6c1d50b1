"""Records of one vehicle are one visit."""

from snyper.cameras.records import Picture, Record
from snyper.cameras.visits import visits_of


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
