"""Socket.IO of cameras: each event of the document with the client that sends it, on both transports."""

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.cameras_harness import (
    COMMON,
    DETECTION,
    HEALTH,
    CameraGateway,
    Events,
    Polling,
    connected,
    joined,
    opened,
    socketio,
    without,
)
from tests.integration.harness import wait_until

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
RESERVED = ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
TRANSPORTS = ("polling", "websocket")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CameraGateway]:
    """A gateway that all tests here use."""
    with CameraGateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running
        assert running.end() == 0
        assert "Traceback" not in running.said()


@pytest.fixture(params=TRANSPORTS)
def client(gateway: CameraGateway, request: pytest.FixtureRequest) -> Iterator[tuple[Any, Events]]:
    with connected(gateway.url, request.param) as (client, events):
        assert client.transport() == request.param
        yield client, events
        assert not [name for name in RESERVED if events.of(name)]


def is_answer(answer: dict[str, Any], identity: str = "") -> None:
    named = {identity} if identity else set()
    assert (
        answer.keys() - {"warnings"}
        == {"success", "message", "camera_id", "checkpoint_id", "timestamp"} | named
    )
    assert answer["success"] is True
    assert (answer["camera_id"], answer["checkpoint_id"]) == ("camera_001", "checkpoint_001")
    assert STAMP.fullmatch(answer["timestamp"])
    assert not identity or len(answer[identity]) == 36


def test_what_a_camera_sends(gateway: CameraGateway, client: tuple[Any, Events]) -> None:
    camera, events = client
    with connected(gateway.url) as (_, others):
        camera.emit("camera_register", COMMON)
        is_answer(events.wait("camera_register")[0])
        camera.emit("lpr_data", DETECTION)
        is_answer(events.wait("lpr_response")[0], "detection_id")
        camera.emit("health_status", HEALTH)
        is_answer(events.wait("health_response")[0], "health_id")
        camera.emit(
            "ping", {"type": "test", "message": "Hello from AI Camera", "timestamp": COMMON["timestamp"]}
        )
        [pong] = events.wait("pong")
        assert STAMP.fullmatch(pong.pop("timestamp"))
        assert pong == {"success": True, "message": "pong", "original_message": "Hello from AI Camera"}
    for event in ("camera_register", "lpr_response", "health_response", "pong", "new_detection"):
        assert others.of(event) == []


def test_acknowledgements(client: tuple[Any, Events]) -> None:
    camera, _ = client
    is_answer(camera.call("camera_register", COMMON))
    is_answer(camera.call("lpr_data", DETECTION), "detection_id")
    is_answer(camera.call("health_status", HEALTH), "health_id")
    assert camera.call("ping", {})["message"] == "pong"
    assert camera.call("join_dashboard")["success"] is True
    assert camera.call("lpr_data", {})["success"] is False
    assert camera.call("no such event", {})["success"] is False


@pytest.mark.parametrize(
    ("event", "body", "message"),
    [
        *(
            ("lpr_data", without(DETECTION, name), f"Missing required field: {name}")
            for name in ("type", *COMMON)
        ),
        *(
            ("health_status", without(HEALTH, name), f"Missing required field: {name}")
            for name in ("type", *COMMON, "component", "status")
        ),
        ("lpr_data", without(DETECTION, *COMMON), "camera_id and checkpoint_id are required"),
        ("health_status", {}, "camera_id and checkpoint_id are required"),
        ("camera_register", {}, "camera_id and checkpoint_id are required"),
        ("camera_register", without(COMMON, "camera_id"), "camera_id and checkpoint_id are required"),
        ("camera_register", without(COMMON, "checkpoint_id"), "camera_id and checkpoint_id are required"),
    ],
)
def test_a_missing_field(gateway: CameraGateway, event: str, body: object, message: str) -> None:
    with connected(gateway.url) as (camera, events):
        camera.emit(event, body)
        name, answer = events.wait_any()
        assert (name, answer["message"], answer["success"]) == ("error", message, False)


@pytest.mark.parametrize("body", [None, [], "text", 7, True, [[1]]])
def test_a_body_that_is_none(gateway: CameraGateway, body: object) -> None:
    with connected(gateway.url) as (camera, events):
        for event in ("camera_register", "lpr_data", "health_status"):
            camera.emit(event, body)
        camera.emit("lpr_data")
        camera.emit("ping", body)
        events.wait("pong")
        assert len(events.wait("error", 4)) == 4


@pytest.mark.parametrize("argument", [(), (None,), ({},)])
def test_the_rooms(gateway: CameraGateway, client: tuple[Any, Events], argument: tuple[object, ...]) -> None:
    dashboard, events = client
    dashboard.emit("join_dashboard", *argument)
    dashboard.emit("join_health_room", *argument)
    assert all(answer["success"] for answer in events.wait("status", 2))
    with connected(gateway.url) as (camera, _):
        camera.emit("camera_register", COMMON)
        detected = camera.call("lpr_data", DETECTION)
        checked = camera.call("health_status", HEALTH)
        [seen] = events.wait("new_detection")
        assert seen["detection_id"] == detected["detection_id"]
        told = ("camera_id", "checkpoint_id", "vehicles_count", "plates_count", "ocr_results")
        assert {name: seen[name] for name in told} == {name: DETECTION[name] for name in told}
        assert "annotated_image" not in seen
        [update] = events.wait("health_update")
        names = ("camera_id", "checkpoint_id", "component", "status", "message", "details")
        assert {name: update[name] for name in names} == {name: HEALTH[name] for name in names}
        assert update["health_id"] == checked["health_id"]
        status = events.wait("camera_status")[0]
        assert (status["camera_id"], status["checkpoint_id"]) == ("camera_001", "checkpoint_001")
        assert status["status"] == "online"

        dashboard.emit("leave_dashboard")
        dashboard.call("leave_health_room")
        camera.call("lpr_data", DETECTION)
        camera.call("health_status", HEALTH)
        dashboard.call("ping", {})
        assert (len(events.of("new_detection")), len(events.of("health_update"))) == (1, 1)


def test_a_cursor_leads_on(gateway: CameraGateway) -> None:
    with connected(gateway.url) as (client, events):
        client.call("join_dashboard")
        first = client.call("lpr_data", DETECTION)
        later = [client.call("lpr_data", DETECTION)["detection_id"] for _ in range(3)]
        seen, *others = events.wait("new_detection", 4)
        assert seen["detection_id"] == first["detection_id"]
        assert [other["cursor"] - seen["cursor"] for other in others] == [1, 2, 3]  # without a gap
        found = gateway.records(f"after={seen['cursor']}")
        assert {record["detection_id"] for record in found} == set(later)


def test_bytes_as_pictures(gateway: CameraGateway, client: tuple[Any, Events]) -> None:
    picture = (Path(__file__).parents[2] / "docs" / "pictures" / "phone.png").read_bytes()
    camera, _ = client
    body = {**DETECTION, "annotated_image": picture, "cropped_plates": [picture]}
    answer = camera.call("lpr_data", body)
    assert "warnings" not in answer
    record = gateway.records("limit=1")[0]
    assert record["annotated_image"] == record["cropped_plates"][0]
    assert gateway.get(record["annotated_image"]).content == picture


def test_large_messages(client: tuple[Any, Events]) -> None:
    camera, _ = client
    answer = camera.call("lpr_data", {**DETECTION, "annotated_image": "A" * 15_000_000}, timeout=30)
    assert answer["success"] is True


def test_a_burst_in_one_request(gateway: CameraGateway) -> None:
    """Each is answered, and no answer has more packets than clients read of one."""
    client = Polling(gateway.url)
    client.join()
    packets = [
        "42" + json.dumps(["lpr_data", {**DETECTION, "detection_id": f"burst{n}"}]) for n in range(100)
    ]
    assert client.post(*packets).text == "OK"
    answered: list[str] = []
    while len(answered) < 100:
        polled = client.poll()
        assert len(polled) <= 16
        answered += [json.loads(one[2:])[1]["detection_id"] for one in polled if one.startswith("42")]
    assert sorted(answered) == sorted(f"burst{n}" for n in range(100))
    client.close()


def test_a_burst_of_the_client(gateway: CameraGateway, client: tuple[Any, Events]) -> None:
    camera, events = client
    for number in range(200):
        camera.emit("ping", {"message": number})
    events.wait("pong", 200)


def test_who_sends_and_leaves(gateway: CameraGateway) -> None:
    """What has come is kept, though nobody waits for the answer."""
    before = gateway.statistics()["total_detections"]
    for client in range(10):
        with opened(gateway) as web_socket:
            joined(web_socket)
            for number in range(50):
                body = {**DETECTION, "detection_id": f"last words {client} {number}"}
                web_socket.send("42" + json.dumps(["lpr_data", body]))
            web_socket.send("41")
            web_socket.send("1")
    wait_until(lambda: gateway.statistics()["total_detections"] == before + 500, "all are kept")


def test_an_event_and_a_disconnect_in_one_request(gateway: CameraGateway) -> None:
    before = gateway.statistics()["total_detections"]
    client = Polling(gateway.url)
    client.join()
    client.post("42" + json.dumps(["lpr_data", DETECTION]), "41", "1")
    wait_until(lambda: gateway.statistics()["total_detections"] == before + 1, "it is kept")
    client.close()


def test_who_leaves_is_gone(gateway: CameraGateway) -> None:
    """A disconnect answers the request that waits, and is seen at once."""
    wait_until(lambda: gateway.statistics()["connected_clients"] == 0, "nobody is left")
    for transport in TRANSPORTS:
        with connected(gateway.url, transport):
            assert gateway.statistics()["connected_clients"] == 1
            began_s = time.monotonic()
        wait_until(lambda: gateway.statistics()["connected_clients"] == 0, "it is gone")
        assert time.monotonic() - began_s < 4


def test_an_upgrade(gateway: CameraGateway) -> None:
    with connected(gateway.url) as (client, events):
        wait_until(lambda: client.transport() == "websocket", "it goes over to WebSocket")
        client.emit("ping", {"message": "above"})
        assert events.wait("pong")[0]["original_message"] == "above"


def test_other_names_and_versions(gateway: CameraGateway) -> None:
    client = socketio.Client(reconnection=False)
    with pytest.raises(socketio.exceptions.ConnectionError):
        client.connect(gateway.url, namespaces=["/admin"])
    client.disconnect()
    for query in ("EIO=3&transport=polling", "EIO=4&transport=pigeon", "EIO=4&transport=polling&sid=none"):
        assert gateway.get(f"/socket.io/?{query}").status_code == 400


def test_a_key(tmp_path: Path) -> None:
    with CameraGateway(tmp_path, SNYPER_SERVICE_KEY="a key") as gateway:
        for transport in TRANSPORTS:
            ways: list[dict[str, Any]] = [
                {"auth": {"token": "a key"}},
                {"headers": {"Authorization": "Bearer a key"}},
            ]
            for options in ways:
                with connected(gateway.url, transport, **options) as (client, _):
                    is_answer(client.call("lpr_data", DETECTION), "detection_id")
        for auth in (None, {}, {"token": "another"}, {"token": None}, {"token": 7}, "a key", ["a key"]):
            polling = Polling(gateway.url)
            [refused] = polling.join(auth)
            assert refused.startswith("44")
            assert "key" in refused
            assert polling.post('42["lpr_data",{}]').status_code in (200, 400)
            polling.close()
        assert gateway.statistics(headers={"authorization": "Bearer a key"})["total_detections"] == 4
        # Those guesses are counted with all others.
        statuses = {
            gateway.get("/api/test", headers={"authorization": f"Bearer {n}"}).status_code for n in range(20)
        }
        assert statuses == {401, 429}
        polling = Polling(gateway.url)
        refusals = [polling.join({"token": f"still another {n}"})[0] for n in range(5)]
        assert any("too many" in refusal for refusal in refusals)
        polling.close()


@pytest.mark.filterwarnings("ignore")  # of requests: nobody vouches for it
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_https(tmp_path: Path, transport: str) -> None:
    pytest.importorskip("cryptography", reason="no cryptography here: pip install 'snyper[tls]'")
    from snyper.system.self_signed import make_certificate

    (tmp_path / "certificate.pem").write_bytes(make_certificate())
    with CameraGateway(tmp_path, "--certificate", "certificate.pem") as gateway:
        assert gateway.url.startswith("https://")
        with connected(gateway.url, transport, ssl_verify=False) as (client, _):
            is_answer(client.call("lpr_data", DETECTION), "detection_id")


def test_a_page_of_another_site(gateway: CameraGateway) -> None:
    """No page of another site opens a session where there is no key."""
    for headers in ({"origin": "https://any.example"}, {"origin": "null"}):
        answer = httpx.get(f"{gateway.url}/socket.io/?EIO=4&transport=polling", headers=headers)
        assert answer.status_code == 403
    answer = httpx.get(
        f"{gateway.url}/socket.io/?EIO=4&transport=polling", headers={"origin": "http://localhost:1"}
    )
    assert answer.headers["access-control-allow-origin"] == "http://localhost:1"


@pytest.mark.slow
def test_a_drain(tmp_path: Path) -> None:
    """The end of a gateway is told to its clients, and comes at once."""
    with CameraGateway(tmp_path) as gateway:
        told = threading.Event()
        clients = []
        for transport in TRANSPORTS:
            client = socketio.Client(reconnection=False)
            client.on("disconnect", lambda *_: told.set())
            client.connect(gateway.url, transports=[transport])
            clients.append(client)
        began_s = time.monotonic()
        assert gateway.end() == 0
        assert time.monotonic() - began_s < 8
        assert told.wait(5)
        for client in clients:
            client.disconnect()
