"""`snyper gateway --cameras` as a process, and clients of it: those that exist, and one byte by byte."""

import json
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from tests.integration.dashboard_process import Process
from tests.integration.harness import DEADLINE_S, HOST

pytest.importorskip("sqlalchemy", reason="no SQLAlchemy here: pip install 'snyper[cameras]'")
sync_client = pytest.importorskip("websockets.sync.client", reason="no websockets here: make setup")
socketio = pytest.importorskip("socketio", reason="no python-socketio here: pip install 'snyper[cameras]'")


logging.getLogger("engineio.client").setLevel(logging.CRITICAL)  # it tells that it ends after a test has

COMMON = {
    "camera_id": "camera_001",
    "checkpoint_id": "checkpoint_001",
    "timestamp": "2024-12-19T10:00:00Z",
}
DETECTION = {
    "type": "detection_result",
    **COMMON,
    "vehicles_count": 1,
    "plates_count": 1,
    "ocr_results": ["ABC1234"],
    "vehicle_detections": [{"bbox": [100, 100, 200, 200], "confidence": 0.95, "class": "car"}],
    "plate_detections": [{"bbox": [150, 150, 180, 170], "confidence": 0.92, "text": "ABC1234"}],
    "processing_time_ms": 150,
    "annotated_image": "base64_encoded_image_data",
    "cropped_plates": ["base64_plate1", "base64_plate2"],
}
HEALTH = {
    "type": "health_check",
    **COMMON,
    "component": "camera",
    "status": "healthy",
    "message": "Camera working normally",
    "details": {"cpu_usage": 45.2, "memory_usage": 67.8, "disk_usage": 23.1},
}


def without(body: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}


def with_database(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Return what a gateway is told of the database that a fixture is for: sqlite or postgresql."""
    if request.param == "sqlite":
        return ()
    return ("--database", request.getfixturevalue("postgresql").new_database())


class CameraGateway:
    """A gateway with cameras in a folder of `directory`, which is its home too."""

    def __init__(self, directory: Path, *arguments: str, **environment: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.folder = directory / "cameras"
        self.log = directory / "gateway.log"
        self.process = Process(
            directory,
            *("gateway", "--cameras", str(self.folder), "--listen", f"{HOST}:0", *arguments),
            **environment,
        )
        self.url: str = self.process.said["urls"][0]
        self.port = int(self.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self.process.process.pid

    def get(self, path: str, **request: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=DEADLINE_S, **request)

    def post(self, path: str, body: object = None, **request: Any) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=DEADLINE_S, **request)

    def statistics(self, **request: Any) -> dict[str, Any]:
        data: dict[str, Any] = self.get("/api/statistics", **request).json()["data"]
        return data

    def records(self, query: str = "limit=1000") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"/api/records?{query}").json()["records"]
        return found

    def said(self) -> str:
        """Return what it wrote for people."""
        return self.log.read_text(encoding="utf-8")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        return self.process.end(number)

    def __enter__(self) -> "CameraGateway":
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it, if the test has not ended it."""
        if self.process.process.poll() is None:
            self.end(signal.SIGKILL)


class Events:
    """What a client of Socket.IO was sent, in order."""

    def __init__(self) -> None:
        self._all: list[tuple[str, Any]] = []
        self._more = threading.Condition()

    def add(self, event: str, *data: Any) -> None:
        with self._more:
            self._all.append((event, data[0] if data else None))
            self._more.notify_all()

    def of(self, event: str) -> list[Any]:
        with self._more:
            return [data for name, data in self._all if name == event]

    def wait(self, event: str, count: int = 1) -> list[Any]:
        """Wait for `count` of a kind, and return them all."""
        with self._more:
            is_there = self._more.wait_for(lambda: self._count(event) >= count, DEADLINE_S)
            assert is_there, f"{count} {event}, not {self._all}"
        return self.of(event)

    def _count(self, event: str) -> int:
        return sum(name == event for name, _ in self._all)

    def wait_any(self) -> tuple[str, Any]:
        """Wait for the first."""
        with self._more:
            assert self._more.wait_for(lambda: bool(self._all), DEADLINE_S), "nothing came"
            return self._all[0]


@contextmanager
def connected(
    url: str, transport: str | None = None, ssl_verify: bool = True, **options: Any
) -> Iterator[tuple[Any, Events]]:
    """Connect a client of python-socketio for the block; what it is sent is noted."""
    events = Events()
    session = requests.Session()
    session.trust_env = False  # where it says whose certificates are to be trusted
    client = socketio.Client(
        reconnection=False, request_timeout=DEADLINE_S, ssl_verify=ssl_verify, http_session=session
    )
    client.on("*", events.add)
    client.connect(url, transports=transport and [transport], wait_timeout=DEADLINE_S, **options)
    try:
        yield client, events
    finally:
        client.disconnect()
        session.close()


@contextmanager
def opened(gateway: CameraGateway, **options: Any) -> Iterator[Any]:
    """Open a WebSocket of Engine.IO for the block, byte by byte."""
    url = gateway.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    with sync_client.connect(url, max_size=None, ping_interval=None, proxy=None, **options) as web_socket:
        assert str(web_socket.recv()).startswith("0")
        yield web_socket


def joined(web_socket: Any, *rooms: str) -> None:
    web_socket.send("40")
    assert str(web_socket.recv()).startswith("40")
    for room in rooms:
        web_socket.send(f"42{json.dumps([room])}")
        while "Joined" not in str(web_socket.recv(DEADLINE_S)):
            continue  # it is told of others meanwhile


class Polling:
    """A client of Engine.IO over polling, request by request."""

    def __init__(self, url: str, **headers: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=DEADLINE_S, headers=headers)
        self.opened = json.loads(self._get("").removeprefix("0"))
        self.sid = self.opened["sid"]

    def _get(self, sid: str) -> str:
        answer = self._http.get("/socket.io/", params={"EIO": "4", "transport": "polling", **_sid(sid)})
        assert answer.status_code == 200, answer.text
        return answer.text

    def poll(self) -> list[str]:
        """Return the packets of one answer."""
        return self._get(self.sid).split("\x1e")

    def post(self, *packets: str) -> httpx.Response:
        query = {"EIO": "4", "transport": "polling", "sid": self.sid}
        content = "\x1e".join(packets).encode()
        return self._http.post("/socket.io/", params=query, content=content)

    def join(self, auth: object = None) -> list[str]:
        """Connect to what is served; return what is answered."""
        assert self.post("40" if auth is None else f"40{json.dumps(auth)}").text == "OK"
        return self.poll()

    def emit(self, *data: object) -> None:
        assert self.post("42" + json.dumps(data)).text == "OK"

    def close(self) -> None:
        """End the session, if it is still there."""
        self.post("1")
        self._http.close()


def _sid(sid: str) -> dict[str, str]:
    return {"sid": sid} if sid else {}
