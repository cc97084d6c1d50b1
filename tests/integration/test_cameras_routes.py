"""What a page needs of cameras over REST: tiles, visits, thumbnails, what is protected and erased."""

import base64
import io
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from snyper.system.text import span
from tests.integration.camera_bodies import jpeg, png
from tests.integration.cameras_harness import DETECTION, HEALTH, CameraGateway, with_database, without
from tests.integration.harness import DEADLINE_S

Image = pytest.importorskip("PIL.Image", reason="no Pillow here: pip install 'snyper[cameras]'")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CameraGateway]:
    with CameraGateway(tmp_path_factory.mktemp("routes"), *with_database(request)) as running:
        yield running


def detect(gateway: CameraGateway, camera: str, **fields: Any) -> str:
    """Send the document's detection of a camera, with other fields; return its id."""
    body = {**without(DETECTION, "annotated_image", "cropped_plates"), "camera_id": camera, **fields}
    answer = gateway.post("/api/detection", body)
    assert answer.status_code == 200, answer.text
    detection_id: str = answer.json()["detection_id"]
    return detection_id


@pytest.mark.slow
def test_a_tile_has_its_picture_its_age_and_its_warnings(gateway: CameraGateway) -> None:
    picture = base64.b64encode(png(800, 600)).decode()
    detection_id = detect(gateway, "tile", annotated_image=picture)
    [tile] = [one for one in gateway.get("/api/cameras").json()["cameras"] if one["camera_id"] == "tile"]
    assert tile["last_detection_id"] == detection_id
    assert tile["skew_ms"] < -1_000_000
    assert tile["warnings"] == [f"its clock is {span(-tile['skew_ms'] / 1000)} behind"]
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
        assert "decoded" not in answer.json()["message"]
    detect(gateway, "broken", annotated_image=base64.b64encode(jpeg("no picture")).decode())
    [record] = gateway.records("camera_id=broken")
    answer = gateway.get(record["thumbnail"])
    assert (answer.status_code, "cannot be decoded" in answer.json()["message"]) == (404, True)


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


def test_an_erased_plate_is_gone(gateway: CameraGateway) -> None:
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


def test_what_came_over_time(gateway: CameraGateway) -> None:
    for camera in ("time/1", "time/1", "time/2"):
        detect(gateway, camera)
    gateway.post("/api/health", {**HEALTH, "camera_id": "time/2"})
    for bucket in ("hour", "day"):
        answer = gateway.get(f"/api/statistics/history?bucket={bucket}").json()
        counts = {
            one["camera_id"]: (one["detections"], one["health_checks"])
            for one in answer["buckets"]
            if one["camera_id"].startswith("time/")
        }
        assert counts == {"time/1": (2, 0), "time/2": (1, 1)}
        [one] = gateway.get(f"/api/statistics/history?bucket={bucket}&camera_id=time/2").json()["buckets"]
        assert one["from"][14:] == "00:00.000Z"
        assert bucket == "hour" or one["from"][11:13] == "00"
    [of_all] = gateway.get("/api/statistics/history?bucket=day&of=all").json()["buckets"]
    assert of_all["camera_id"] is None
    assert of_all["detections"] == gateway.statistics()["total_detections"]
    assert gateway.get("/api/statistics/history?until=2024-01-01").json()["buckets"] == []
    for when in ("from=1970-01-01&until=2030-01-01", "until=2030-01-01", "from=1970-01-01&until=9999-12-31"):
        [found] = gateway.get(f"/api/statistics/history?bucket=day&of=all&{when}").json()["buckets"]
        assert found == of_all, when
    for wrong in ("bucket=week", "from=x", "of=x"):
        answer = gateway.get(f"/api/statistics/history?{wrong}")
        assert (answer.status_code, answer.json()["success"]) == (400, False)


@pytest.mark.slow
def test_times_that_name_no_zone_are_those_of_the_gateway(tmp_path: Path) -> None:
    with CameraGateway(tmp_path, "--zone", "Asia/Bangkok") as gateway:
        detect(gateway, "zone", timestamp="2024-12-19T01:00:00+07:00")
        for query, count in (
            ("from=2024-12-19&until=2024-12-20", 1),
            ("until=2024-12-19", 0),
            ("from=2024-12-19T01:00:00&until=2024-12-19 01:00:01", 1),
            ("from=2024-12-19T01:00:01", 0),
            ("from=2024-12-18T18:00:00Z&until=2024-12-18T18:00:01Z", 1),
            ("from=2024-12-19T01:00:00+07:00&until=2024-12-19 01:00:01+07:00", 1),  # read as blanks
            ("from=2024-12-19T01:00:00.5%2B07:00", 0),
            ("from=0001-01-01&until=9999-12-31", 1),
        ):
            assert len(gateway.records(query)) == count, query
            assert len(gateway.get(f"/api/visits?{query}").json()["visits"]) == count, query
            assert len(gateway.get(f"/api/export?{query}").text.splitlines()) == 1 + count, query
        day = "/api/statistics/history?bucket=day&from={}&until={}"
        heard = gateway.get("/api/cameras").json()["cameras"][0]["last_seen"]
        today = datetime.fromisoformat(heard).astimezone(ZoneInfo("Asia/Bangkok")).date()
        tomorrow = today + timedelta(days=1)
        path = f"{gateway.url}/api/cameras/zone/settings"
        asleep = {"asleep_until": "2999-01-01T07:00"}
        answer = httpx.put(path, json=asleep, timeout=DEADLINE_S).json()
        assert answer["asleep_until"] == "2999-01-01T00:00:00.000Z"
        [bucket] = gateway.get(day.format(today, tomorrow)).json()["buckets"]
        assert datetime.fromisoformat(bucket["from"]).astimezone(ZoneInfo("Asia/Bangkok")).hour == 0
        assert gateway.get(day.format(tomorrow, "9999-12-31")).json()["buckets"] == []


def test_settings_of_a_camera(gateway: CameraGateway) -> None:
    detect(gateway, "set/1", timestamp="2024-12-19T10:00:00")
    path = f"{gateway.url}/api/cameras/set/1/settings"
    until = "2999-01-01T00:00:00.000Z"
    settings = {"zone": "Asia/Bangkok", "interval_s": 60.0, "grace_s": 5.0, "asleep_until": until}
    answer = httpx.put(path, json=settings, timeout=DEADLINE_S).json()
    assert answer == {"success": True, "camera_id": "set/1", **settings}
    assert httpx.put(path, json={"grace_s": None}, timeout=DEADLINE_S).json()["grace_s"] is None
    assert gateway.get("/api/cameras/set/1/settings").json() == {**answer, "grace_s": None}
    [tile] = [one for one in gateway.get("/api/cameras").json()["cameras"] if one["camera_id"] == "set/1"]
    assert (tile["zone"], tile["asleep_until"]) == ("Asia/Bangkok", until)
    detect(gateway, "set/1", timestamp="2024-12-19T10:00:00")
    found = gateway.records("camera_id=set/1&from=2024-12-19T02:59:00Z&until=2024-12-19T03:01:00Z")
    assert len(found) == 1  # that which came since
    wrongs: tuple[object, ...] = (
        *({"zone": "Mars/Base"}, {"zone": 7}, {"interval_s": 0}, {"interval_s": "1"}, {"grace_s": -1}),
        *(
            {"grace_s": 1e9},
            {"grace_s": True},
            {"asleep_until": "soon"},
            {"colour": 1},
            [],
            None,
            "x" * 20_000,
        ),
    )
    for wrong in wrongs:
        refused = httpx.put(path, json=wrong, timeout=DEADLINE_S)
        assert refused.status_code in (400, 413), wrong
        assert refused.json()["success"] is False
    for nobody in ("nobody", "%00", "%ff", "x" * 2_000, "..%2f..%2fset"):
        unknown = httpx.put(f"{gateway.url}/api/cameras/{nobody}/settings", json={}, timeout=DEADLINE_S)
        assert unknown.status_code == 404, nobody
    assert gateway.get("/api/cameras/set/1/settings").json() == {**answer, "grace_s": None}


def test_searches_and_erasures_are_in_the_log(gateway: CameraGateway) -> None:
    detect(gateway, "logged", ocr_results=["GG 55"], plate_detections=[])
    gateway.get("/api/records?camera_id=logged&plate=GG*")
    gateway.get("/api/visits?camera_id=logged&plate=gg-55&until=2030-01-01")
    assert httpx.delete(f"{gateway.url}/api/records?plate=GG55", timeout=DEADLINE_S).json()["erased"] == 1
    newest = gateway.get("/api/log?limit=3").json()
    assert [(one["what"], one["filters"], one["plate"]) for one in newest["log"]] == [
        ("delete", {}, None),
        ("search", {"camera_id": "logged", "until": "2030-01-01T00:00:00.000Z"}, "(erased)"),
        ("search", {"camera_id": "logged"}, "GG*"),
    ]
    assert [(one["key"], one["times"], one["count"]) for one in newest["log"]] == [(None, 1, 1)] * 3
    assert newest["next_cursor"] or gateway.get("/api/log").json()["log"] == newest["log"]
    for wrong in ("before=x", "before=-1", "before=" + "9" * 40):
        assert gateway.get(f"/api/log?{wrong}").status_code == 400
    assert gateway.get("/api/rules").json() == {
        "success": True,
        "rules": [],
        "fired": [],
        "next_cursor": None,
    }
