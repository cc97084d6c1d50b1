"""What a page needs of cameras over REST: tiles, visits, thumbnails, what is protected and erased."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.camera_bodies import png
from tests.integration.cameras_harness import DEADLINE_S, DETECTION, CameraGateway, without

Image = pytest.importorskip("PIL.Image", reason="no Pillow here: pip install 'snyper[cameras]'")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CameraGateway]:
    arguments: tuple[str, ...] = ()
    if request.param == "postgresql":
        arguments = ("--database", request.getfixturevalue("postgresql").new_database())
    with CameraGateway(tmp_path_factory.mktemp("routes"), *arguments) as running:
        yield running


def detect(gateway: CameraGateway, camera: str, **fields: Any) -> str:
    """Send the document's detection of a camera, with other fields; return its id."""
    body = {**without(DETECTION, "annotated_image", "cropped_plates"), "camera_id": camera, **fields}
    answer = gateway.post("/api/detection", body)
    assert answer.status_code == 200, answer.text
    detection_id: str = answer.json()["detection_id"]
    return detection_id


def test_a_tile_has_its_picture_its_age_and_its_warnings(gateway: CameraGateway) -> None:
    picture = base64.b64encode(png(800, 600)).decode()
    detection_id = detect(gateway, "tile", annotated_image=picture)
    [tile] = [one for one in gateway.get("/api/cameras").json()["cameras"] if one["camera_id"] == "tile"]
    assert tile["last_detection_id"] == detection_id
    assert tile["skew_ms"] < -1_000_000
    assert tile["warnings"] == [f"its clock is {-tile['skew_ms'] / 1000:,.1f} s behind"]
    assert 0 <= tile["age_s"] < DEADLINE_S
    assert gateway.get(tile["last_picture"]).content == png(800, 600)
    thumbnail = gateway.get(tile["last_thumbnail"])
    assert thumbnail.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(thumbnail.content)).size == (320, 240)
    [record] = gateway.records("camera_id=tile")
    assert (record["thumbnail"], record["annotated"]) == (tile["last_thumbnail"], True)
    assert record["plate_detections"] == DETECTION["plate_detections"]


def test_what_is_no_thumbnail(gateway: CameraGateway) -> None:
    for name in ("x", "%2e%2e%2fcameras.db", "2026120122/" + "0" * 64 + ".png", "%00"):
        answer = gateway.get(f"/api/thumbnails/{name}")
        assert (answer.status_code, answer.json()["success"]) == (404, False)


def test_visits_and_pages_of_them(gateway: CameraGateway) -> None:
    for minute in range(5):
        for second in (0, 5):
            stamp = f"2024-12-19T10:0{minute}:0{second}Z"
            plate = "ABC 1234" if second else "A8C 1234"
            detect(gateway, "visits", timestamp=stamp, ocr_results=[plate], plate_detections=[])
    first = gateway.get("/api/visits?camera_id=visits&limit=3").json()
    assert [one["first_seen"][14:19] for one in first["visits"]] == ["04:00", "03:00", "02:00"]
    assert {(one["plate"], one["count"]) for one in first["visits"]} == {("A8C 1234", 2)}
    second = gateway.get(f"/api/visits?camera_id=visits&limit=3&before={first['next_cursor']}").json()
    assert [one["last_seen"][14:19] for one in second["visits"]] == ["01:05", "00:05"]
    assert second["next_cursor"] is None
    narrow = gateway.get("/api/visits?camera_id=visits&plate=ABC1234&until=2024-12-19T10:01:00Z").json()[
        "visits"
    ]
    assert [(one["count"], len(one["detection_ids"])) for one in narrow] == [(1, 1)]
    for wrong in ("before=x", "before=nan", "before=inf", "from=x"):
        answer = gateway.get(f"/api/visits?{wrong}")
        assert (answer.status_code, answer.json()["success"]) == (400, False)


def test_records_of_a_class(gateway: CameraGateway) -> None:
    detect(gateway, "class")
    detect(gateway, "class", vehicle_detections=[{"class": "truck"}])
    assert [one["vehicle_detections"] for one in gateway.records("class=truck")] == [[{"class": "truck"}]]
    assert gateway.get("/api/records?class=bus").json()["total_count"] == 0


def test_a_record_is_protected_and_no_more(gateway: CameraGateway) -> None:
    detect(gateway, "protected")
    [record] = gateway.records("camera_id=protected")
    path = f"/api/records/{record['cursor']}/protect"
    for flag in (True, False):
        assert gateway.post(path, {"protected": flag}).json()["protected"] is flag
        assert gateway.records("camera_id=protected")[0]["protected"] is flag
    for wrong in (None, {}, {"protected": 1}, [True], "x" * 2_000):
        answer = gateway.post(path, wrong)
        assert answer.status_code in (400, 413)
        assert answer.json()["success"] is False
    for cursor in ("77777", "x", "-1", "9" * 30, "²"):
        answer = gateway.post(f"/api/records/{cursor}/protect", {"protected": True})
        assert (answer.status_code, answer.json()["success"]) == (404, False)


def test_a_plate_is_erased(gateway: CameraGateway) -> None:
    detect(gateway, "erased", ocr_results=["ฎธ 77"], annotated_image=base64.b64encode(png(8, 8)).decode())
    detect(gateway, "erased", ocr_results=["XYZ 9"], plate_detections=[])
    [_, record] = gateway.records("camera_id=erased")
    for wrong in ("", "?plate=", "?plate=%20-", "?plate=ABC1234&camera_id=camera_001"):
        answer = httpx.delete(f"{gateway.url}/api/records{wrong}", timeout=DEADLINE_S)
        assert answer.status_code == 400, answer.text
    assert len(gateway.records("camera_id=erased")) == 2
    answer = httpx.delete(f"{gateway.url}/api/records?plate=ฎธ-77", timeout=DEADLINE_S)
    assert answer.json() == {"success": True, "erased": 1}
    assert [one["ocr_results"] for one in gateway.records("camera_id=erased")] == [["XYZ 9"]]
    assert gateway.get(record["annotated_image"]).status_code == 404
