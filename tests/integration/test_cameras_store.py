"""The core of the cameras: what was acknowledged is there, once."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from snyper.cameras.intake import detection_of, health_of, registration_of
from snyper.cameras.records import RecordQuery
from snyper.cameras.service import Cameras, opened

NAMES = {"camera_id": "camera_001", "checkpoint_id": "checkpoint_001", "timestamp": "2024-12-19T10:00:00Z"}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
async def cameras(tmp_path: Path, database: str | None) -> AsyncIterator[Cameras]:
    async with opened(tmp_path / "cameras", database) as found:
        yield found


async def test_the_documents_bodies_are_kept_and_found(cameras: Cameras) -> None:
    feed = cameras.listen()
    await cameras.register(registration_of(NAMES))
    body = {
        **NAMES,
        "vehicles_count": 1,
        "plates_count": 1,
        "ocr_results": ["ABC1234"],
        "processing_time_ms": 150,
    }
    pictures = {
        "annotated_image": base64.b64encode(PIXEL).decode(),
        "cropped_plates": [PIXEL, "base64_plate2"],
    }
    answer = await cameras.detect(detection_of({**body, **pictures}))
    assert answer.warnings == ("cropped_plates[1] is not kept: it is not base64",)
    await cameras.health(health_of({**NAMES, "component": "camera", "status": "healthy", "message": "fine"}))
    page = await cameras.records(RecordQuery())
    [record] = page.records
    assert (record.id, record.ocr_results, page.total) == (answer.id, ("ABC1234",), 1)
    assert record.details == {"processing_time_ms": 150}
    assert record.picture is not None
    path = cameras.picture(record.picture.name)
    assert path is not None
    assert path.read_bytes() == PIXEL
    [camera] = await cameras.cameras()
    assert (camera.detection_count, camera.health_status, camera.last_picture) == (
        1,
        "healthy",
        record.picture,
    )
    assert camera.registered_s is not None
    statistics = await cameras.statistics()
    assert (statistics.total_detections, statistics.today_health_checks, statistics.active_cameras) == (
        1,
        1,
        1,
    )
    kinds = [(await anext(feed)).kind for _ in range(3)]
    assert kinds == ["status", "detection", "health"]


async def test_a_device_s_id_comes_once(cameras: Cameras) -> None:
    body = {**NAMES, "detection_id": "a", "ocr_results": ["ABC1234"]}
    first = await cameras.detect(detection_of(body))
    again = await cameras.detect(detection_of(body))
    other = await cameras.detect(detection_of({**body, "ocr_results": ["XYZ"]}))
    assert (first.id, first.is_known, again.id, again.is_known) == ("a", False, "a", True)
    assert (again.warnings, other.is_known) == ((), True)
    assert other.warnings == ("this detection_id came before with another body: the first is kept",)
    page = await cameras.records(RecordQuery())
    assert [record.ocr_results for record in page.records] == [("ABC1234",)]


async def test_an_equal_body_without_an_id_is_kept_and_marked(cameras: Cameras) -> None:
    body = {**NAMES, "ocr_results": ["ABC1234"], "annotated_image": PIXEL}
    first = await cameras.detect(detection_of(body))
    await cameras.detect(detection_of({**body, "annotated_image": base64.b64encode(PIXEL).decode()}))
    page = await cameras.records(RecordQuery())
    assert [record.possible_double_of for record in page.records] == [first.id, None]
