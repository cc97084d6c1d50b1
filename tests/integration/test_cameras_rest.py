"""REST of cameras: each request of the document and of the field, exactly as it is answered."""

import base64
import gzip
import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from tests.integration.cameras_harness import COMMON, DETECTION, HEALTH, CameraGateway, without

PIL = pytest.importorskip("PIL.Image", reason="no Pillow here: pip install 'snyper[cameras]'")

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
SENT: Any = DETECTION
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CameraGateway]:
    """A gateway that all tests here use, the first of them while nobody else has."""
    with CameraGateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running
        assert running.end() == 0
        assert "Traceback" not in running.said()


def picture(width: int = 64) -> bytes:
    content = BytesIO()
    PIL.new("RGB", (width, 48), (200, 30, 30)).save(content, "JPEG")
    return content.getvalue()


def is_success(answer: httpx.Response | requests.Response) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["success"]) == (200, True), answer.text
    assert body["message"]
    assert STAMP.fullmatch(body["timestamp"])
    return body


def is_failure(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body.keys() == {"success", "message"}
    assert body["success"] is False
    message: str = body["message"]
    return message


def test_what_the_document_asks_for(gateway: CameraGateway) -> None:
    is_success(gateway.get("/api/test"))
    registered = is_success(gateway.post("/api/cameras/register", COMMON))
    assert (registered["camera_id"], registered["checkpoint_id"]) == ("camera_001", "checkpoint_001")
    detected = is_success(gateway.post("/api/detection", DETECTION))
    assert UUID.fullmatch(detected["detection_id"])
    assert any("base64" in warning for warning in detected["warnings"])
    checked = is_success(gateway.post("/api/health", HEALTH))
    assert UUID.fullmatch(checked["health_id"])
    assert "warnings" not in checked

    statistics = gateway.get("/api/statistics").json()
    assert statistics["success"] is True
    assert STAMP.fullmatch(statistics["data"].pop("last_update"))
    assert statistics["data"] == {
        "total_detections": 1,
        "today_detections": 1,
        "total_health_checks": 1,
        "today_health_checks": 1,
        "unique_cameras": 1,
        "active_cameras": 1,
        "connected_clients": 0,
        "server_status": "running",
    }

    cameras = gateway.get("/api/cameras").json()
    assert (cameras["success"], cameras["total_cameras"]) == (True, 1)
    [camera] = cameras["cameras"]
    assert STAMP.fullmatch(camera.pop("registered_at"))
    assert STAMP.fullmatch(camera.pop("last_seen"))
    assert (
        camera.items()
        >= {
            **without(COMMON, "timestamp"),
            "detection_count": 1,
            "health_status": "healthy",
        }.items()
    )
    assert camera["status"]

    records = gateway.get("/api/records?limit=10").json()
    assert (records["success"], records["total_count"], records["returned_count"]) == (True, 1, 1)
    [record] = records["records"]
    kept = without(DETECTION, "annotated_image", "cropped_plates")
    assert record.items() >= {**kept, "detection_id": detected["detection_id"]}.items()
    assert (record["annotated_image"], record["cropped_plates"]) == (None, [])


@pytest.mark.parametrize(
    ("path", "body", "names"),
    [
        ("/api/cameras/register", COMMON, ("camera_id", "checkpoint_id")),
        ("/api/detection", DETECTION, ("type", *COMMON)),
        ("/api/health", HEALTH, ("type", *COMMON, "component", "status")),
        ("/api/statistics", DETECTION, ("type", *COMMON)),
    ],
)
def test_a_missing_field(
    gateway: CameraGateway, path: str, body: dict[str, Any], names: tuple[str, ...]
) -> None:
    before = gateway.statistics()["total_detections"]
    for name in names:
        answer = gateway.post(path, without(body, name))
        assert answer.status_code == 400
        assert answer.json() == {"success": False, "message": f"Missing required field: {name}"}
    assert gateway.statistics()["total_detections"] == before


def test_what_is_no_body(gateway: CameraGateway) -> None:
    for content in (b"", b"no JSON", b"[1]", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000):
        answer = httpx.post(f"{gateway.url}/api/detection", content=content)
        assert "JSON object" in is_failure(answer, 400) or "nested" in answer.text
    assert gateway.get("/api/detection").status_code == 405
    assert httpx.get(f"{gateway.url}/api/nothing").status_code == 404


def test_too_much(gateway: CameraGateway) -> None:
    """It is refused for what it announces."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    with closing(connection):
        connection.putrequest("POST", "/api/detection")
        connection.putheader("content-length", "17000000")
        connection.endheaders(b"{")
        answer = connection.getresponse()
        assert answer.status == 413
        assert json.loads(answer.read())["success"] is False


def test_pictures_are_links(gateway: CameraGateway) -> None:
    large = picture(2_000)
    sent = {**DETECTION, "annotated_image": base64.b64encode(large).decode()}
    plate = "data:image/jpeg;base64," + base64.b64encode(picture()).decode()
    for number in range(10):
        is_success(
            gateway.post("/api/detection", {**sent, "detection_id": str(number), "cropped_plates": [plate]})
        )
    answer = gateway.get("/api/records?limit=10")
    assert len(answer.content) < 200_000
    record = answer.json()["records"][0]
    assert record["warnings"] == []
    shown = gateway.get(record["annotated_image"])
    assert (shown.content, shown.headers["content-type"]) == (large, "image/jpeg")
    [crop] = record["cropped_plates"]
    assert gateway.get(crop).content == picture()
    for name in ("nothing", "../cameras.db", "2026120122/..%2f..%2fcameras.db", "%00"):
        assert gateway.get(f"/api/pictures/{name}").status_code in (400, 404)


def test_the_newest_records(gateway: CameraGateway) -> None:
    for number in range(30):
        place = {"camera_id": f"camera_{number % 2}", "checkpoint_id": f"gate_{number % 3}"}
        is_success(gateway.post("/api/detection", {**DETECTION, **place, "detection_id": f"d{number}"}))

    def found(query: str) -> list[str]:
        return [record["detection_id"] for record in gateway.records(query)]

    assert found("limit=3") == ["d29", "d28", "d27"]
    assert len(found("")) == 20
    assert found("limit=2&camera_id=camera_0") == ["d28", "d26"]
    assert found("limit=2&checkpoint_id=gate_1") == ["d28", "d25"]
    assert (
        len(found("limit=0")) == len(found("limit=9999999999999999999999")) == len(found("limit=-1")) >= 30
    )  # beside those of other tests
    assert len(found("limit=")) == 20
    assert "limit" in is_failure(gateway.get("/api/records?limit=many"), 400)
    page = gateway.get("/api/records?limit=5&camera_id=camera_1").json()
    assert (page["total_count"], page["returned_count"]) == (15, 5)
    cursor = gateway.records("limit=4")[-1]["cursor"]
    assert sorted(found(f"after={cursor}")) == ["d27", "d28", "d29"]
    assert found("plate=ABC1234&limit=1") == ["d29"]
    assert found("plate=XYZ") == []
    assert "cursor" in is_failure(gateway.get("/api/records?before=x"), 400)
    assert "after" in is_failure(gateway.get("/api/records?after=x"), 400)
    assert "from" in is_failure(gateway.get("/api/records?from=yesterday"), 400)
    assert found("until=2024-12-19T09:00:00Z") == []


def test_many_records_and_large_ones(gateway: CameraGateway) -> None:
    """More than are read at once come in one answer, up to a size; from there a cursor leads on."""
    large = {**DETECTION, "camera_id": "camera_large", "notes": "x" * 200_000}
    for number in range(120):
        is_success(gateway.post("/api/detection", {**large, "detection_id": str(number)}))
    for way, names in (("before", [str(number) for number in reversed(range(120))]), ("after", None)):
        expected = names or [str(number) for number in range(120)]
        found: list[str] = []
        query = "" if way == "before" else "&after=0"
        while len(found) < 120:
            page = gateway.get(f"/api/records?limit=1000&camera_id=camera_large{query}").json()
            assert 0 < page["returned_count"] == len(page["records"]) <= 100
            found += [record["detection_id"] for record in page["records"]]
            query = f"&{way}={page['next_cursor']}"
        assert page["next_cursor"] is None
        assert found == expected
    for number in range(120):
        body = {**DETECTION, "camera_id": "camera_many", "detection_id": str(number)}
        is_success(gateway.post("/api/detection", body))
    assert len(gateway.records("limit=119&camera_id=camera_many")) == 119


def test_what_field_clients_send(gateway: CameraGateway) -> None:
    field = {
        **without(DETECTION, "annotated_image", "cropped_plates"),
        "ocr_results": json.dumps(["กข 1234", "ABC1234"]),
        "original_image": base64.b64encode(picture()).decode(),
        "aicamera_id": "aicamera1",
        "created_at": "2024-12-19 10:00:00",
    }
    before = gateway.statistics()  # which they ask for as a probe
    is_success(gateway.post("/api/statistics", field))
    is_success(gateway.post("/api/statistics", HEALTH))
    assert "type" in is_failure(gateway.post("/api/statistics", {**field, "type": "weather"}), 400)
    [record] = gateway.records("limit=1")
    assert record["ocr_results"] == ["กข 1234", "ABC1234"]
    assert (record["aicamera_id"], record["created_at"]) == ("aicamera1", "2024-12-19 10:00:00")
    assert record["annotated_image"] is None
    assert gateway.get(record["original_image"]).content == picture()
    after = gateway.statistics()
    for name in ("total_detections", "total_health_checks"):
        assert after[name] == before[name] + 1


@pytest.mark.parametrize(
    "stamp", ["2024-12-19T10:00:00Z", "2024-12-19T17:00:00+07:00", "2024-12-19T10:00:00.123456"]
)
def test_stamps_are_kept_as_sent(gateway: CameraGateway, stamp: str) -> None:
    is_success(gateway.post("/api/detection", {**DETECTION, "timestamp": stamp}))
    [record] = gateway.records("limit=1")
    assert record["timestamp"] == stamp
    assert STAMP.fullmatch(record["received_at"])


def test_the_same_again(gateway: CameraGateway) -> None:
    """With an id it is known; without one equal bodies are both kept, and marked."""
    body = {**DETECTION, "camera_id": "camera_again"}
    for _ in range(2):
        answer = is_success(gateway.post("/api/detection", {**body, "detection_id": "mine"}))
        assert answer["detection_id"] == "mine"
    assert len(gateway.records("camera_id=camera_again")) == 1
    for _ in range(2):
        is_success(gateway.post("/api/detection", body))
    newest, older, _ = gateway.records("camera_id=camera_again")
    assert newest["possible_double_of"] == older["detection_id"]


def test_requests_and_curl(gateway: CameraGateway, tmp_path: Path) -> None:
    is_success(requests.post(f"{gateway.url}/api/detection", json=SENT, timeout=10))
    packed = gzip.compress(json.dumps(DETECTION).encode())
    is_success(
        requests.post(
            f"{gateway.url}/api/detection", data=packed, headers={"Content-Encoding": "gzip"}, timeout=10
        )
    )
    curl = ["curl", "-s", f"{gateway.url}/api/detection", "-d", json.dumps(DETECTION)]  # as a form, it says
    done = subprocess.run(curl, capture_output=True, check=True, timeout=30)
    assert json.loads(done.stdout)["success"] is True


def test_a_key_and_pages(tmp_path: Path) -> None:
    with CameraGateway(tmp_path, SNYPER_SERVICE_KEY="a key of the lab") as gateway:
        authorized = {"authorization": "Bearer a key of the lab"}
        page = {"origin": "https://any.example"}
        assert gateway.get("/api/statistics").status_code == 401
        assert gateway.statistics(headers=authorized)["total_detections"] == 0
        asked = httpx.options(
            f"{gateway.url}/api/detection", headers={**page, "access-control-request-method": "POST"}
        )
        assert asked.status_code == 204
        assert "authorization" in asked.headers["access-control-allow-headers"]
        refused = gateway.post("/api/detection", DETECTION, headers=page)
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, page["origin"])
        is_success(gateway.post("/api/detection", DETECTION, headers={**page, **authorized}))


@pytest.mark.slow
def test_pages_of_other_sites_where_there_is_no_key(tmp_path: Path) -> None:
    with CameraGateway(tmp_path / "default") as gateway:
        for origin, status in (
            ("http://localhost:3000", 200),
            ("http://127.0.0.1:5173", 200),
            ("https://any.example", 403),
            ("null", 403),
            ("http://localhost.any.example", 403),
            ("http://[", 403),
        ):
            answer = gateway.post("/api/detection", DETECTION, headers={"origin": origin})
            assert (origin, answer.status_code) == (origin, status)
            assert answer.headers.get("access-control-allow-origin") == (origin if status == 200 else None)
    with CameraGateway(tmp_path / "one", "--origin", "HTTPS://Lab.example:443/") as gateway:
        for origin, status in (("https://lab.example", 200), ("https://any.example", 403)):
            assert gateway.get("/api/test", headers={"origin": origin}).status_code == status
    with CameraGateway(tmp_path / "any", "--origin", "*") as gateway:
        assert gateway.get("/api/test", headers={"origin": "null"}).status_code == 200
