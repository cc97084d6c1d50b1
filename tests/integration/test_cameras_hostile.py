"""Cameras under attack: packets that are none, clients that read nothing. Nobody else notices."""

import base64
import contextlib
import gzip
import json
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection

from tests.integration.cameras_harness import (
    DETECTION,
    HEALTH,
    CameraGateway,
    Polling,
    connected,
    joined,
    opened,
)
from tests.integration.harness import DEADLINE_S, HOST, linux_only, peak_kb, resident_kb, wait_until

PACKETS = [
    *(
        "",
        "x",
        "4",
        "9",
        "4x",
        "49",
        "42",
        "42[]",
        "42{}",
        "42[1]",
        "42[[]]",
        "42[null]",
        '42"a"',
        "42[",
        "42nonsense",
    ),
    *(
        '42["connect"]',
        '42["disconnect"]',
        '42["*"]',
        '42["connect_error",{}]',
        '420["ping"]',
        "43[]",
        '431["a"]',
    ),
    *(
        "40",
        "44",
        "40/admin,",
        "41/admin,",
        '42/admin,["lpr_data",{}]',
        "45",
        "45-",
        "451-",
        "46",
        "47",
        "48",
    ),
    *(
        '451-["lpr_data",{"_placeholder":true,"num":0}]',
        '45999999999-["a"]',
        "bAAAA",
        "b!",
        "bAAA",
        "5",
        "6",
        "1",
        "0",
        "2",
    ),
    *("42" + "9" * 99 + '["a"]', "42" + "9" * 101 + '["a"]', "42" + "[" * 100_000, "4" + "[" * 100_000),
    *(
        '42["lpr_data",' + '{"a":' * 50_000,
        '42["lpr_data",' + "9" * 10_000 + "]",
        '42["lpr_data",NaN]',
        "\ud7ff",
        "4\0",
    ),
    '42["lpr_data",{"camera_id":"\\ud800","checkpoint_id":"c","timestamp":"t","type":"d"}]',
    '451-["lpr_data",{"_placeholder":true,"num":7}]',
]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CameraGateway]:
    """A gateway that all tests here attack; it has written little at the end."""
    with CameraGateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running
        assert running.end() == 0
        assert "Traceback" not in running.said()
        assert len(running.said()) < 2_000


def test_packets_that_are_none(gateway: CameraGateway) -> None:
    """Each is answered with an error, with nothing, or with the end of its connection alone."""
    with connected(gateway.url, "websocket") as (camera, _):
        for packet in PACKETS:
            with contextlib.suppress(WebSocketException, OSError), opened(gateway) as web_socket:
                web_socket.send(packet)
            with contextlib.suppress(WebSocketException, OSError), opened(gateway) as web_socket:
                joined(web_socket)
                web_socket.send(packet)
                web_socket.send('42["ping",{}]')
                while "pong" not in str(web_socket.recv(timeout=20)):
                    pass
            for is_joined in (False, True):
                polling = Polling(gateway.url)
                if is_joined:
                    polling.join()
                assert polling.post(packet).status_code in (200, 400)
                polling.close()
            assert camera.call("ping", {"message": packet[:20]})["success"] is True, packet[:20]


def test_bodies_that_are_none(gateway: CameraGateway) -> None:
    for content in (b"\xff\xfe", b"\0" * 1_000, b"\x1e" * 5_000, b"d=", b"d=42", b"42" * 500_000):
        polling = Polling(gateway.url)
        query = {"EIO": "4", "transport": "polling", "sid": polling.sid}
        answer = httpx.post(f"{gateway.url}/socket.io/", params=query, content=content)
        assert answer.status_code in (200, 400)
        polling.close()
    for query_text in (
        "",
        "EIO=4",
        "EIO=4&transport=polling&j=x",
        "sid=1&sid=2",
        "EIO=4&transport=websocket",
        "%",
    ):
        assert gateway.get(f"/socket.io/?{query_text}").status_code in (200, 400)
    assert gateway.post("/api/detection", DETECTION).status_code == 200


@pytest.mark.slow
def test_a_deaf_dashboard(tmp_path: Path) -> None:
    """It is cut off, what it did not take is counted, and another dashboard hears all of it."""
    with CameraGateway(tmp_path, "--limit", "sio_ping_s=60") as gateway:
        deafen(gateway)


def deafen(gateway: CameraGateway) -> None:
    details = {"text": "x" * 250_000}
    slowest_s, count = 0.0, 0
    before = gateway.get("/health").json()["packets_dropped"]
    with opened(gateway) as deaf, connected(gateway.url, "websocket") as (dashboard, events):
        joined(deaf, "join_health_room")
        dashboard.call("join_health_room")
        with connected(gateway.url, "websocket") as (camera, _):
            assert gateway.statistics()["connected_clients"] == 3
            while gateway.statistics()["connected_clients"] == 3:
                began_s = time.monotonic()
                body = {**HEALTH, "message": str(count), "details": details}
                assert camera.call("health_status", body)["success"] is True
                slowest_s = max(slowest_s, time.monotonic() - began_s)
                count += 1
                events.wait("health_update", count - 4)  # who is slower than a camera is deaf, too
        assert slowest_s < 5
        updates = events.wait("health_update", count)
        assert [update["message"] for update in updates] == [str(number) for number in range(count)]
        assert gateway.get("/health").json()["packets_dropped"] > before
        with pytest.raises((WebSocketException, OSError)):
            drain(deaf)  # what was queued is bounded, and then its connection ends


def drain(web_socket: ClientConnection) -> None:
    while True:
        web_socket.recv(timeout=20)


@pytest.mark.slow
def test_joins_and_leaves(gateway: CameraGateway) -> None:
    """Of 600 sessions nothing stays."""

    def come_and_go(number: int) -> None:
        with opened(gateway) as web_socket:
            joined(web_socket, "join_dashboard", "join_health_room")
            if number % 3 == 0:
                web_socket.send("41")
            elif number % 3 == 1:
                web_socket.send("1")

    with connected(gateway.url, "websocket") as (dashboard, events):
        dashboard.call("join_dashboard")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(come_and_go, range(600)))
        gateway.post("/api/detection", DETECTION)
        events.wait("new_detection")
        wait_until(lambda: gateway.statistics()["connected_clients"] == 1, "the others are gone")


def test_messages_that_never_end(gateway: CameraGateway) -> None:
    """They take so much memory together; a whole one is taken meanwhile."""
    before = resident_kb(gateway.pid)
    part = bytes(15_000_000)
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            web_socket = stack.enter_context(opened(gateway, close_timeout=0.1))
            # The begin of a frame of 15,900,000 bytes, masked with zeros.
            head = bytes([0x81, 0xFF]) + (15_900_000).to_bytes(8, "big") + bytes(4)
            with contextlib.suppress(OSError):
                web_socket.socket.sendall(head + part)
        picture = base64.b64encode(bytes(10_000_000)).decode()
        with connected(gateway.url, "websocket") as (camera, _):
            answer = camera.call("lpr_data", {**DETECTION, "annotated_image": picture}, timeout=30)
            assert answer["success"] is True
        assert resident_kb(gateway.pid) - before < 400_000


def test_attachments_that_never_come(gateway: CameraGateway) -> None:
    before = resident_kb(gateway.pid)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            web_socket = stack.enter_context(opened(gateway, close_timeout=0.1))
            joined(web_socket)
            with contextlib.suppress(WebSocketException, OSError):
                web_socket.send('452-["lpr_data",{"_placeholder":true,"num":0}]')
                web_socket.send(bytes(15_000_000))
        with connected(gateway.url, "websocket") as (camera, _):
            assert (
                camera.call("lpr_data", {**DETECTION, "annotated_image": b"12"}, timeout=30)["success"]
                is True
            )
        assert resident_kb(gateway.pid) - before < 400_000
    with contextlib.suppress(WebSocketException, OSError), opened(gateway) as web_socket:
        joined(web_socket)
        web_socket.send('452-["lpr_data",{"_placeholder":true,"num":0}]')
        for _ in range(2):
            web_socket.send(bytes(9_000_000))
        while web_socket.recv(timeout=10):
            pass


def test_a_message_above_the_limit(gateway: CameraGateway) -> None:
    with connected(gateway.url, "websocket") as (camera, _), opened(gateway) as web_socket:
        joined(web_socket)
        with contextlib.suppress(WebSocketException, OSError):
            web_socket.send("x" * 16_500_000)
        with pytest.raises((WebSocketException, OSError)):
            drain(web_socket)
        assert camera.call("ping", {})["success"] is True
    polling = Polling(gateway.url)
    assert polling.post("x" * 16_500_000).status_code == 413
    polling.close()


def test_too_many_clients(tmp_path: Path) -> None:
    with CameraGateway(tmp_path, "--limit", "sio_clients=4") as gateway:
        clients = [Polling(gateway.url) for _ in range(2)]
        refused = gateway.get("/socket.io/?EIO=4&transport=polling")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        with pytest.raises(WebSocketException):
            opened(gateway).__enter__()
        clients[0].post("1")
        wait_until(
            lambda: gateway.get("/socket.io/?EIO=4&transport=polling").status_code == 200,
            "there is room again",
        )
        for client in clients:
            client.close()


def test_who_asks_for_nothing(gateway: CameraGateway) -> None:
    """A session that connects to nothing ends."""
    with opened(gateway) as web_socket, contextlib.suppress(WebSocketException):
        while web_socket.recv(timeout=30):
            pass


def test_a_database_that_is_held(tmp_path: Path) -> None:
    """What cannot be written is refused, and may be sent again, over both ways."""
    with CameraGateway(tmp_path) as gateway, connected(gateway.url, "websocket") as (camera, events):
        with contextlib.closing(sqlite3.connect(gateway.folder / "cameras.db", isolation_level=None)) as held:
            held.execute("BEGIN IMMEDIATE")
            camera.emit("lpr_data", DETECTION)
            answer = gateway.post("/api/detection", DETECTION, headers={"connection": "close"})
            assert (answer.status_code, answer.json()["success"]) == (503, False)
            assert int(answer.headers["retry-after"]) > 0
            [error] = events.wait("error")
            assert "again" in error["message"]
            held.execute("ROLLBACK")
        assert camera.call("lpr_data", DETECTION)["success"] is True
        assert gateway.post("/api/health", HEALTH).status_code == 200
        assert gateway.statistics()["total_detections"] == 1


def test_a_database_that_cannot_be_read(tmp_path: Path) -> None:
    """Who asks is told to ask again, and finds what was there once it can be."""
    with CameraGateway(tmp_path) as gateway:
        assert gateway.post("/api/detection", DETECTION).status_code == 200
        with contextlib.closing(sqlite3.connect(gateway.folder / "cameras.db", isolation_level=None)) as held:
            held.execute("ALTER TABLE detections RENAME TO away")
            answer = gateway.get("/api/records")
            assert (answer.status_code, answer.json()["success"]) == (503, False)
            assert int(answer.headers["retry-after"]) > 0
            held.execute("ALTER TABLE away RENAME TO detections")
        assert len(gateway.records()) == 1
        assert "Traceback" not in gateway.said()


@pytest.mark.slow
@linux_only
@pytest.mark.parametrize(("way", "most_mb"), [("plain", 200), ("packed", 200), ("polled", 500)])
def test_many_large_bodies_at_once_are_taken_by_turns(tmp_path: Path, way: str, most_mb: int) -> None:
    """Over Socket.IO events under way may have 128 MB beside."""
    body = {**DETECTION, "annotated_image": "A" * 15_000_000}
    text = json.dumps(body).encode()
    packed = gzip.compress(text, 1)
    with CameraGateway(tmp_path, "--limit", "sio_ping_s=60") as gateway:  # nobody polls meanwhile

        def send(_: int) -> int:
            if way == "polled":
                with contextlib.closing(Polling(gateway.url)) as client:
                    client.join()
                    return client.post(f'42["lpr_data",{json.dumps(body)}]').status_code
            headers = {"content-encoding": "gzip"} if way == "packed" else {}
            content = packed if way == "packed" else text
            url = f"{gateway.url}/api/detection"
            return httpx.post(url, content=content, headers=headers, timeout=DEADLINE_S).status_code

        with ThreadPoolExecutor(16) as senders:
            answers = list(senders.map(send, range(16)))
        assert set(answers) <= {200, 503}, answers
        assert 200 in answers
        wait_until(
            lambda: gateway.statistics()["total_detections"] >= answers.count(200), "all should be kept"
        )
        assert peak_kb(gateway.pid) < most_mb * 1_000


@pytest.mark.slow
@linux_only
def test_many_large_answers_at_once_stay_below_200_mb(tmp_path: Path) -> None:
    """Also of those who do not read theirs; meanwhile others get small ones."""
    with CameraGateway(tmp_path) as gateway, contextlib.ExitStack() as deaf:
        for number in range(70):
            body = {**HEALTH, **DETECTION, "detection_id": f"{number}", "unknown": "x" * 250_000}
            assert gateway.post("/api/detection", body).status_code == 200
        for _ in range(20):
            client = deaf.enter_context(socket.create_connection((HOST, gateway.port)))
            client.sendall(b"GET /api/records?limit=1000 HTTP/1.1\r\nhost: a\r\n\r\n")
        found = gateway.get("/api/records?limit=3").json()
        assert [one["detection_id"] for one in found["records"]] == ["69", "68", "67"]
        deaf.close()
        seen: list[str] = []
        before = ""
        while len(seen) < 70:
            page = gateway.get(f"/api/records?limit=1000{before}").json()
            seen += [one["detection_id"] for one in page["records"]]
            before = f"&before={page['next_cursor']}"
        assert seen == [str(number) for number in range(69, -1, -1)]
        assert page["next_cursor"] is None
        assert peak_kb(gateway.pid) < 200_000


def test_half_a_handshake(gateway: CameraGateway) -> None:
    with socket.create_connection((HOST, gateway.port)) as half:
        half.sendall(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n"
        )
        assert gateway.get("/api/test").status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("before", [(), (signal.SIGTERM,)], ids=["", "after SIGTERM"])
def test_ctrl_c_waits_for_no_upload(tmp_path: Path, before: tuple[signal.Signals, ...]) -> None:
    gateway = CameraGateway(tmp_path, "--limit", "drain_s=3600")
    with gateway, socket.create_connection((HOST, gateway.port), DEADLINE_S) as sock:
        head = f"POST /api/detection HTTP/1.1\r\nHost: {HOST}:{gateway.port}\r\nContent-Length: 1000\r\n"
        sock.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert b"100 Continue" in sock.recv(1_000)  # the body is waited for
        sock.sendall(b'{"type":')
        for number in before:
            gateway.process.process.send_signal(number)
            wait_until(lambda: "ending: " in gateway.said(), "it should say that it ends")
        assert gateway.end(signal.SIGINT) == 0
    assert "Traceback" not in gateway.said()
    assert gateway.said().endswith("stopped\n")
