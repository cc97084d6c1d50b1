"""Silence of cameras: what dashboards are told, and what the list says."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cameras_harness import (
    COMMON,
    DETECTION,
    CameraGateway,
    Events,
    Polling,
    connected,
    joined,
    opened,
)
from tests.integration.harness import DEADLINE_S, WallClock, wait_until


def status(gateway: CameraGateway, camera_id: str = "camera_001") -> str:
    cameras = gateway.get("/api/cameras").json()["cameras"]
    [found] = [str(camera["status"]) for camera in cameras if camera["camera_id"] == camera_id]
    return found


def told(events: Events, camera_id: str = "camera_001") -> list[str]:
    return [data["status"] for data in events.of("camera_status") if data["camera_id"] == camera_id]


def until_told(events: Events, expected: list[str], camera_id: str = "camera_001") -> None:
    wait_until(lambda: told(events, camera_id) == expected, f"{camera_id} is told of as {expected}")


def test_a_closed_socket(tmp_path: Path) -> None:
    """A camera is gone when the last connection is that has spoken for it."""
    with CameraGateway(tmp_path) as gateway, connected(gateway.url, "websocket") as (dashboard, events):
        dashboard.call("join_dashboard")
        with connected(gateway.url, "websocket") as (first, _):
            first.call("camera_register", COMMON)
            with connected(gateway.url, "polling") as (second, _):
                second.call("lpr_data", DETECTION)
            assert gateway.post("/api/detection", DETECTION).status_code == 200
            assert status(gateway) == "active"
            first.call("ping", {})
            assert told(events) == ["online"]
        until_told(events, ["online", "offline"])
        assert status(gateway) == "inactive"
        assert gateway.statistics()["active_cameras"] == 0
        with connected(gateway.url) as (again, _):
            again.call("lpr_data", DETECTION)
            until_told(events, ["online", "offline", "online"])


def test_a_client_that_falls_silent(tmp_path: Path) -> None:
    """Within the times of its pings, on both transports."""
    limits = ("--limit", "sio_ping_s=1", "--limit", "sio_answer_s=1")
    with CameraGateway(tmp_path, *limits) as gateway, connected(gateway.url) as (dashboard, events):
        dashboard.call("join_dashboard")
        polling = Polling(gateway.url)
        polling.join()
        with opened(gateway) as web_socket:
            joined(web_socket)
            polling.emit("lpr_data", {**DETECTION, "camera_id": "polling"})
            web_socket.send("42" + json.dumps(["lpr_data", {**DETECTION, "camera_id": "websocket"}]))
            for name in ("polling", "websocket"):
                until_told(events, ["online"], name)
            began_s = time.monotonic()
            for name in ("polling", "websocket"):
                until_told(events, ["online", "offline"], name)
            assert time.monotonic() - began_s < 6
        polling.close()


def test_a_clock_of_the_gateway_that_is_set(tmp_path: Path) -> None:
    """How long ago a camera was seen is what it is, also after a restart."""

    def tile() -> dict[str, Any]:
        cameras: list[dict[str, Any]] = gateway.get("/api/cameras").json()["cameras"]
        return cameras[0]

    clock = WallClock(tmp_path / "faketime")
    with CameraGateway(tmp_path, **clock.variables) as gateway:
        assert gateway.post("/api/detection", DETECTION).status_code == 200
        age_s = tile()["age_s"]
        for jump in ("+5h", "-7h", "+0"):
            clock.set(jump)
            before_s, age_s = age_s, tile()["age_s"]
            assert before_s < age_s < DEADLINE_S
            assert status(gateway) == "active"
        gateway.end()
    with CameraGateway(tmp_path, **clock.variables) as gateway:
        assert age_s < tile()["age_s"] < 2 * DEADLINE_S


def test_three_intervals_of_rest(tmp_path: Path) -> None:
    with CameraGateway(tmp_path) as gateway, connected(gateway.url) as (dashboard, events):
        dashboard.call("join_dashboard")
        for number in range(3):
            body = {**DETECTION, "detection_id": str(number)}
            assert gateway.post("/api/detection", body).status_code == 200
            time.sleep(0.7)  # the interval itself
        assert status(gateway) == "active"
        last_s = time.monotonic()
        until_told(events, ["online", "offline"])
        assert 3 < time.monotonic() - last_s < 12  # of intervals under 5 s / 3 the least holds
        assert status(gateway) == "inactive"


def test_grace_and_sleep(tmp_path: Path) -> None:
    folder = tmp_path / "cameras"
    folder.mkdir()
    (folder / "cameras.toml").write_text('[sleeper]\nasleep = ["00:00-00:00"]\n[patient]\ngrace_s = 1.5\n')
    with CameraGateway(tmp_path) as gateway, connected(gateway.url) as (dashboard, events):
        dashboard.call("join_dashboard")
        with connected(gateway.url, "websocket") as (camera, _):
            for name in ("sleeper", "patient", "other"):
                camera.call("camera_register", {**COMMON, "camera_id": name})
        until_told(events, ["online", "offline"], "other")
        assert told(events, "patient") == ["online"]
        assert status(gateway, "patient") == "active"
        until_told(events, ["online", "offline"], "patient")
        assert told(events, "sleeper") == ["online", "asleep"]
        assert status(gateway, "sleeper") == "asleep"


@pytest.mark.slow
def test_what_is_known_before_it_is_heard_again(tmp_path: Path) -> None:
    """A gateway that starts again has heard some of its cameras just now."""
    with CameraGateway(tmp_path) as gateway:
        assert gateway.post("/api/detection", DETECTION).status_code == 200
    with CameraGateway(tmp_path) as gateway:
        assert status(gateway) == "active"
        assert gateway.statistics()["active_cameras"] == 1


def test_an_interval_that_is_known(tmp_path: Path) -> None:
    folder = tmp_path / "cameras"
    folder.mkdir()
    (folder / "cameras.toml").write_text("[camera_001]\ninterval_s = 0.5\ngrace_s = 0.5\n")
    with CameraGateway(tmp_path) as gateway, connected(gateway.url) as (dashboard, events):
        dashboard.call("join_dashboard")
        assert gateway.post("/api/detection", DETECTION).status_code == 200
        until_told(events, ["online", "offline"])  # which takes a minute where it is not known


def test_expectations_that_are_none(tmp_path: Path) -> None:
    folder = tmp_path / "cameras"
    folder.mkdir()
    (folder / "cameras.toml").write_text("[sleeper]\nsleeps = 1\n")
    with pytest.raises(AssertionError, match=r"cameras.toml: sleeper has\s'sleeps'"):
        CameraGateway(tmp_path)
