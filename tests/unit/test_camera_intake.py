"""Bodies as clients send them, and as nobody should."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from snyper.cameras.intake import MAX_PLATES, detection_of, health_of, registration_of
from snyper.cameras.records import CamerasError, Malformed, MissingField

NAMES = {"camera_id": "camera_001", "checkpoint_id": "checkpoint_001", "timestamp": "2024-12-19T10:00:00Z"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("camera_id", "checkpoint_id", "timestamp", "detection_id", "vehicles_count", "ocr_results")
MORE = ("cropped_plates", "annotated_image", "original_image", "component", "status", "details", "created_at")


@given(st.dictionaries(st.sampled_from((*FIELDS, *MORE)), JSON), st.booleans())
def test_whatever_comes_is_taken_or_refused(body: dict[str, Any], is_named: bool) -> None:
    for take in (detection_of, health_of, registration_of):
        try:
            found = take({**body, **NAMES} if is_named else body)
        except CamerasError:
            continue
        texts = [
            found.camera_id,
            found.timestamp,
            json.dumps(dict(getattr(found, "details", {})), allow_nan=False),
        ]
        texts += getattr(found, "ocr_results", ())
        for text in texts:
            assert "\0" not in text
            text.encode()


@pytest.mark.parametrize("body", [None, [], "text", 1, b""])
def test_what_is_no_object_is_refused(body: object) -> None:
    with pytest.raises(Malformed):
        detection_of(body)


@pytest.mark.parametrize("missing", NAMES)
def test_a_missing_field_is_named(missing: str) -> None:
    for value in (None, ""):
        with pytest.raises(MissingField, match=f"^Missing required field: {missing}$"):
            detection_of({**NAMES, missing: value})


@pytest.mark.parametrize("name", ["a" * 129, "a\nb", "\0", "  ", "\ud800", True, 1.5, {}, ["a"]])
def test_a_name_that_is_none_is_refused(name: object) -> None:
    for field in ("camera_id", "checkpoint_id", "detection_id"):
        with pytest.raises(CamerasError):
            detection_of({**NAMES, field: name})


@pytest.mark.parametrize("name", ["../../etc/passwd", "กล้อง ๑", "a" * 128, "👩‍🚀", "'; DROP TABLE", 7])
def test_any_other_name_is_taken(name: object) -> None:
    assert detection_of({**NAMES, "camera_id": name}).camera_id == str(name)


@pytest.mark.parametrize("take", [registration_of, detection_of, health_of])
def test_blanks_around_a_name_do_not_count(take: Callable[[object], Any]) -> None:
    """Or a camera that is silent would not be the one that a rule names."""
    body = {
        **NAMES,
        "component": "disk",
        "status": "healthy",
        "camera_id": " a b\u00a0",
        "checkpoint_id": "c ",
    }
    found = take(body)
    assert (found.camera_id, found.checkpoint_id) == ("a b", "c")


def test_what_field_clients_send() -> None:
    body = {
        **NAMES,
        "timestamp": None,
        "created_at": "2024-12-19 10:00:00",
        "aicamera_id": 3,
        "vehicles_count": "2",
        "ocr_results": '["ABC1234", "กข 99"]',
        "original_image": "aGVsbG8=",
        "vehicle_detections": [{"confidence": float("nan")}],
    }
    found = detection_of(body)
    assert (found.timestamp, found.vehicles_count) == ("2024-12-19 10:00:00", 2)
    assert found.ocr_results == ("ABC1234", "กข 99")
    assert (found.picture, found.is_annotated) == ("aGVsbG8=", False)
    assert found.details["aicamera_id"] == 3
    assert found.details["vehicle_detections"] == [{"confidence": None}]
    assert found.warnings == ("a number is infinite, too large or none: null is kept for it",)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("ABC", ("ABC",)),
        ("[ABC", ("[ABC",)),
        ([{"text": "A", "confidence": 1}, "B", 7], ("A", "B", "7")),
        (None, ()),
        ({"a": 1}, ()),
        (["x" * 129, "A"], ("A",)),
        (["A"] * 100, ("A",) * MAX_PLATES),
        ("[" * 100_000, ()),
    ],
)
def test_plates_in_every_form(sent: object, kept: tuple[str, ...]) -> None:
    assert detection_of({**NAMES, "ocr_results": sent}).ocr_results == kept


def test_of_plates_that_are_empty_it_is_said() -> None:
    found = detection_of({**NAMES, "ocr_results": ["", "ABC", {"text": ""}]})
    assert (found.ocr_results, found.warnings) == (("ABC",), ("a plate is an empty text: it is not kept",))
    nothing: list[Any] = [None, "", [], "[]"]
    for none in nothing:
        assert not detection_of({**NAMES, "ocr_results": none}).warnings


def test_what_a_health_check_loses_is_said() -> None:
    health = {**NAMES, "component": "camera", "status": "healthy"}
    found = health_of({**health, "details": {"cpu_usage": float("nan")}, "message": "x" * 5_000})
    assert (found.details, len(found.message)) == ({"cpu_usage": None}, 4_096)
    assert found.warnings == (
        "message is cut after 4,096 characters",
        "a number is infinite, too large or none: null is kept for it",
    )
    assert not health_of({**health, "details": {"cpu_usage": 1.5}, "message": "fine"}).warnings


def test_what_is_too_large_or_too_deep_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    for more in ({"deep": deep}, {"long": "x" * 300_000}, {"bytes": b"x"}):
        with pytest.raises(Malformed):
            detection_of({**NAMES, **more})


def test_counts_that_are_none_cost_a_warning() -> None:
    counts: list[Any] = [-1, 10**400, "many", float("nan"), [], float("inf")]
    for count in counts:
        found = detection_of({**NAMES, "vehicles_count": count})
        assert (found.vehicles_count, len(found.warnings)) == (0, 1)
    assert detection_of({**NAMES, "vehicle_detections": [1, 2]}).vehicles_count == 2


def test_of_two_pictures_it_is_said_which_is_not_kept() -> None:
    found = detection_of({**NAMES, "annotated_image": "aGVsbG8=", "original_image": "d29ybGQ="})
    assert (found.picture, found.is_annotated) == ("aGVsbG8=", True)
    assert found.warnings == ("original_image is not kept: one picture is, and annotated_image came too",)
    assert not detection_of({**NAMES, "annotated_image": "", "original_image": "d29ybGQ="}).warnings


def test_of_plates_that_are_no_pictures_it_is_said() -> None:
    found = detection_of({**NAMES, "cropped_plates": [None, "", "aGVsbG8=", 5, {"image": "aGVsbG8="}]})
    assert found.cropped_plates == ("aGVsbG8=",)
    assert found.warnings == tuple(
        f"cropped_plates[{place}] is neither base64 nor bytes: it is not kept" for place in (3, 4)
    )
