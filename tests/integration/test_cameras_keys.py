"""What keys may do with the cameras: each its own, over REST and Socket.IO, until it is revoked."""

import base64
import io
import json
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from snyper.cameras.grants import WATCH
from snyper.gateway.camera_keys import CameraKeys
from snyper.system.files import write_private
from tests.integration.camera_bodies import png
from tests.integration.cameras_harness import (
    DETECTION,
    HEALTH,
    CameraGateway,
    Polling,
    connected,
    opened,
    with_database,
    without,
)
from tests.integration.harness import DEADLINE_S, HOST, wait_until

MASTER = "the key that may do all"
WHO_HELPS = "ask who runs the gateway, whose keys.toml says what each key may do"
KEYS = {
    "viewer": ["watch"],
    "gate": ["send=gate/*", "watch=gate/*"],
    "anna": ["search=@gates", "export=@gates", "delete=gate/*", "watch=yard"],
    "auditor": ["log"],
    "editor": ["rules=yard"],
    "nobody": ["send=nothing"],
}


def snyper(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snyper.cli", "cameras", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


@dataclass
class Keyed:
    """A gateway whose cameras have keys."""

    gateway: CameraGateway
    keys: dict[str, str]

    def ask(self, key: str, method: str, path: str, body: object = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.keys[key]}"}
        return httpx.request(method, self.gateway.url + path, json=body, headers=headers, timeout=DEADLINE_S)

    def get(self, key: str, path: str) -> Any:
        answer = self.ask(key, "GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def who_may(self, method: str, path: str, body: object = None) -> set[str]:
        """Return the keys that are not refused."""
        statuses = {key: self.ask(key, method, path, body).status_code for key in self.keys}
        assert set(statuses.values()) <= {200, 400, 403, 404}, statuses
        return {key for key, status in statuses.items() if status != 403}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def keyed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("keys")
    arguments = with_database(request)
    keys = {"key": MASTER}
    (folder / "cameras").mkdir()
    (folder / "cameras" / "keys.toml").write_text('[groups]\ngates = ["gate/*"]\n')
    for name, scopes in KEYS.items():
        options = [option for scope in scopes for option in ("--may", scope)]
        made = snyper("add-key", str(folder / "cameras"), name, *options)
        assert made.returncode == 0, made.stderr
        keys[name] = made.stdout.strip()
    with CameraGateway(folder, *arguments, SNYPER_SERVICE_KEY=MASTER) as gateway:
        running = Keyed(gateway, keys)
        for camera in ("gate/1", "gate/2", "yard"):
            picture = base64.b64encode(png(8, 8, len(camera))).decode()
            body = {**without(DETECTION, "cropped_plates"), "annotated_image": picture}
            sent = running.ask("key", "POST", "/api/detection", {**body, "camera_id": camera})
            assert sent.status_code == 200, sent.text
            running.ask("key", "POST", "/api/health", {**HEALTH, "camera_id": camera})
        yield running


@pytest.mark.slow
def test_who_may_send(keyed: Keyed) -> None:
    for path, body in (
        ("/api/detection", DETECTION),
        ("/api/health", HEALTH),
        ("/api/cameras/register", without(HEALTH, "type")),
        ("/api/statistics", HEALTH),
    ):
        assert keyed.who_may("POST", path, {**body, "camera_id": "gate/3"}) == {"key", "gate"}
        assert keyed.who_may("POST", path, {**body, "camera_id": "gate"}) == {"key"}
        assert keyed.who_may("POST", path, {**body, "camera_id": "nothing"}) == {"key", "nobody"}
    refused = keyed.ask("viewer", "POST", "/api/detection", {**DETECTION, "camera_id": "x" * 128})
    assert refused.json() == {
        "success": False,
        "message": f"the key viewer lacks the scope send for the camera {'x' * 128}: {WHO_HELPS}",
    }


def test_who_may_watch(keyed: Keyed) -> None:
    watchers = {"key", "viewer", "gate", "anna"}
    for path in ("/api/cameras", "/api/statistics", "/api/statistics/history", "/api/rules"):
        assert keyed.who_may("GET", path) == watchers
    assert keyed.who_may("GET", "/api/cameras/gate/1/settings") == {"key", "viewer", "gate"}

    def seen(key: str) -> set[str]:
        found = keyed.get(key, "/api/cameras")
        assert found["total_cameras"] == len(found["cameras"])
        return {one["camera_id"] for one in found["cameras"]} & {"gate/1", "gate/2", "yard"}

    assert seen("key") == seen("viewer") == {"gate/1", "gate/2", "yard"}
    assert (seen("gate"), seen("anna")) == ({"gate/1", "gate/2"}, {"yard"})
    statistics = keyed.get("anna", "/api/statistics")["data"]
    assert [statistics[name] for name in ("total_detections", "today_detections", "unique_cameras")] == [
        1
    ] * 3
    assert [statistics[name] for name in ("total_health_checks", "active_cameras")] == [1, 1]
    for of in ("all", "cameras"):
        [bucket] = keyed.get("anna", f"/api/statistics/history?bucket=day&of={of}")["buckets"]
        assert (bucket["detections"], bucket["camera_id"]) == (1, None if of == "all" else "yard")
    assert keyed.get("anna", "/api/statistics/history?camera_id=gate/1")["buckets"] == []


def test_who_may_search(keyed: Keyed) -> None:
    searchers = {"key", "anna"}
    assert keyed.who_may("GET", "/api/records") == keyed.who_may("GET", "/api/visits") == searchers
    for query in ("", "?after=0", "?camera_id=gate/1", "?plate=ABC*", "?plate=~1ABC1234", "?from=2024-01-01"):
        found = {one["camera_id"] for one in keyed.get("anna", f"/api/records{query}")["records"]}
        assert found
        assert all(camera.startswith("gate/") for camera in found), query
    assert keyed.get("anna", "/api/records?camera_id=yard")["records"] == []
    visits = keyed.get("anna", "/api/visits")["visits"]
    assert {one["camera_id"] for one in visits} >= {"gate/1", "gate/2"}
    assert "yard" not in {one["camera_id"] for one in visits}


def test_who_may_see_a_picture(keyed: Keyed) -> None:
    tiles = {one["camera_id"]: one for one in keyed.get("key", "/api/cameras")["cameras"]}
    for camera, who in (("yard", {"key", "viewer", "anna"}), ("gate/1", {"key", "viewer", "gate", "anna"})):
        for link in ("last_picture", "last_thumbnail"):
            statuses = {key: keyed.ask(key, "GET", tiles[camera][link]).status_code for key in keyed.keys}
            assert {key for key, status in statuses.items() if status == 200} == who
            assert set(statuses.values()) == {200, 404}


def test_who_may_export(keyed: Keyed) -> None:
    assert keyed.who_may("GET", "/api/export") == {"key", "anna"}
    content = keyed.ask("anna", "GET", "/api/export?format=zip").content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert b"gate/1" in archive.read("records.csv")
        assert b"yard" not in archive.read("records.csv")


def test_who_may_protect_and_erase(keyed: Keyed) -> None:
    for camera in ("gate/1", "yard"):
        body = {**without(DETECTION, "annotated_image", "cropped_plates"), "camera_id": camera}
        keyed.ask("key", "POST", "/api/detection", {**body, "ocr_results": ["ZZ 99"], "plate_detections": []})
    cursors = {
        one["camera_id"]: one["cursor"] for one in keyed.get("key", "/api/records?plate=ZZ99")["records"]
    }
    flag = {"protected": True}
    assert keyed.who_may("POST", f"/api/records/{cursors['gate/1']}/protect", flag) == {"key", "anna"}
    assert keyed.ask("anna", "POST", f"/api/records/{cursors['yard']}/protect", flag).status_code == 404
    assert keyed.who_may("DELETE", "/api/records?plate=NONE") == {"key", "anna"}
    assert keyed.ask("anna", "DELETE", "/api/records?plate=ZZ99").json()["erased"] == 1
    for no_plate in ("*", "-", "ZZ*", "~1ZZ98", ""):
        refused = keyed.ask("anna", "DELETE", f"/api/records?plate={no_plate}")
        assert (refused.status_code, "very plate" in refused.text or not no_plate) == (400, True)
    [left] = keyed.get("key", "/api/records?plate=ZZ99")["records"]
    assert left["camera_id"] == "yard"


def test_a_refusal_says_which_scope_is_missing_and_who_grants_it(keyed: Keyed) -> None:
    for key, method, path, why in (
        ("viewer", "GET", "/api/records", "lacks the scope search"),
        ("viewer", "GET", "/api/export?format=zip", "lacks the scope export"),
        ("viewer", "DELETE", "/api/records?plate=ABC1234", "lacks the scope delete"),
        ("viewer", "GET", "/api/log", "lacks the scope log"),
        ("editor", "PUT", "/api/cameras/gate/1/settings", "lacks the scope rules for the camera gate/1"),
    ):
        refused = keyed.ask(key, method, path, {} if method == "PUT" else None)
        assert (refused.status_code, refused.json()["message"]) == (403, f"the key {key} {why}: {WHO_HELPS}")


def test_who_may_set(keyed: Keyed) -> None:
    assert keyed.who_may("PUT", "/api/cameras/yard/settings", {"grace_s": 1}) == {"key", "editor"}
    assert keyed.who_may("PUT", "/api/cameras/gate/1/settings", {"grace_s": 1}) == {"key"}


def test_who_may_read_the_log(keyed: Keyed) -> None:
    keyed.get("anna", "/api/records?plate=LOG1")
    assert keyed.who_may("GET", "/api/log") == {"key", "auditor"}
    [row] = [one for one in keyed.get("auditor", "/api/log")["log"] if one["plate"] == "LOG1"]
    assert (row["key"], row["what"], row["count"]) == ("anna", "search", 0)


def test_a_key_for_cameras_is_for_nothing_else(keyed: Keyed) -> None:
    for path in ("/upload", "/ws/stream", "/jobs/1", "/devices/a/api/receive/data"):
        assert keyed.ask("key", "GET", path).status_code in (404, 405)
        assert keyed.ask("viewer", "GET", path).status_code == 403
    assert "clients" in keyed.get("key", "/health")
    assert keyed.get("viewer", "/health") == {"status": "ok"}
    assert keyed.get("viewer", "/api/test")["success"]
    for wrong in ("", "x", MASTER + " ", json.dumps(keyed.keys)):
        answer = keyed.gateway.get("/api/test", headers={"authorization": f"Bearer {wrong}x"})
        assert answer.status_code in (401, 429)


def test_events_and_rooms(keyed: Keyed) -> None:
    body = without(DETECTION, "annotated_image", "cropped_plates")
    url = keyed.gateway.url
    with (
        connected(url, auth={"token": keyed.keys["viewer"]}) as (viewer, all_events),
        connected(url, headers={"Authorization": f"Bearer {keyed.keys['anna']}"}) as (anna, some_events),
        connected(url, auth={"token": keyed.keys["gate"]}) as (gate, gate_events),
        connected(url, auth={"token": keyed.keys["nobody"]}) as (nobody, no_events),
        connected(url, auth={"token": MASTER}) as (master, _),
    ):
        for client in (viewer, anna):
            for room in ("join_dashboard", "join_health_room"):
                assert client.call(room, timeout=DEADLINE_S)["success"] is True
        for client in (nobody,):
            for room in ("join_dashboard", "join_health_room"):
                refused = client.call(room, timeout=DEADLINE_S)
                assert refused["success"] is False
                assert refused["message"] == f"the key nobody lacks the scope watch: {WHO_HELPS}"
        for event, fields in (
            ("lpr_data", body),
            ("health_status", HEALTH),
            ("camera_register", without(HEALTH, "type")),
        ):
            for camera, may in (("gate/1", True), ("yard", False)):
                answer = gate.call(event, {**fields, "camera_id": camera}, timeout=DEADLINE_S)
                assert answer["success"] is may, answer
            refused = viewer.call(event, {**fields, "camera_id": "gate/1"}, timeout=DEADLINE_S)
            assert (
                refused["message"]
                == f"the key viewer lacks the scope send for the camera gate/1: {WHO_HELPS}"
            )
        assert len(gate_events.of("error")) == 3
        master.call("lpr_data", {**body, "camera_id": "yard"}, timeout=DEADLINE_S)
        master.call("health_status", {**HEALTH, "camera_id": "yard"}, timeout=DEADLINE_S)
        assert [one["camera_id"] for one in all_events.wait("new_detection", 2)] == ["gate/1", "yard"]
        assert [one["camera_id"] for one in all_events.wait("health_update", 2)] == ["gate/1", "yard"]
        assert [one["camera_id"] for one in some_events.wait("new_detection")] == ["yard"]
        assert [one["camera_id"] for one in some_events.wait("health_update")] == ["yard"]
        assert not {one["camera_id"] for one in some_events.of("camera_status")} - {"yard"}
        assert no_events.of("new_detection") == []
        assert viewer.call("leave_dashboard", timeout=DEADLINE_S)["success"] is True
        master.call("lpr_data", {**body, "camera_id": "gate/1"}, timeout=DEADLINE_S)
        assert len(all_events.of("new_detection")) == 2


def test_a_key_that_is_revoked_and_one_that_is_new(keyed: Keyed) -> None:
    folder = str(keyed.gateway.folder)
    made = snyper("add-key", folder, "guest", "--may", "watch=yard")
    guest = made.stdout.strip()
    keyed.keys["guest"] = guest
    try:
        until_status(keyed, "guest", {200})
        polling = Polling(keyed.gateway.url)
        assert polling.join({"token": guest})[0].startswith("40")
        with opened(keyed.gateway) as web_socket:
            web_socket.send("40" + json.dumps({"token": guest}))
            assert web_socket.recv().startswith("40")
            assert snyper("revoke-key", folder, "guest").returncode == 0
            assert set(web_socket) <= {"2"}  # pings, until it is closed
        until_status(keyed, "guest", {401, 429})
        assert polling.post('42["ping"]').status_code == 400
        polling.close()
    finally:
        del keyed.keys["guest"]
    refused = Polling(keyed.gateway.url)
    assert refused.join({"token": guest})[0].startswith("44")
    refused.close()


def until_status(keyed: Keyed, key: str, statuses: set[int]) -> None:
    wait_until(
        lambda: keyed.ask(key, "GET", "/api/cameras").status_code in statuses,
        f"it should be one of {statuses}",
    )


def cameras_found(keyed: Keyed) -> set[str]:
    """Return the cameras of the records that a key finds, which may search in a group."""
    return {one["camera_id"] for one in keyed.get("anna", "/api/records")["records"]}


def test_what_a_key_began_before_it_was_revoked(keyed: Keyed) -> None:
    folder = str(keyed.gateway.folder)
    made = snyper("add-key", folder, "held", "--may", "send=yard")
    keyed.keys["held"] = made.stdout.strip()
    body = json.dumps({**DETECTION, "camera_id": "gate/1"}).encode()
    head = f"POST /api/detection HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {keyed.keys['held']}\r\n"
    try:
        until_status(keyed, "held", {403})
        with socket.create_connection((HOST, keyed.gateway.port), DEADLINE_S) as connection:
            connection.sendall(
                head.encode() + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(body)
            )
            assert connection.recv(1_000).startswith(b"HTTP/1.1 100 ")  # its key is judged
            assert snyper("revoke-key", folder, "held").returncode == 0
            until_status(keyed, "held", {401, 429})
            connection.sendall(body)
            assert connection.recv(1_000).startswith(b"HTTP/1.1 403 ")
    finally:
        del keyed.keys["held"]


def test_a_key_in_the_place_of_another(keyed: Keyed) -> None:
    file = keyed.gateway.folder / "keys.toml"
    before = file.read_text()
    viewer, another = (sha256(key.encode()).hexdigest() for key in (keyed.keys["viewer"], "another"))
    assert viewer in before
    with opened(keyed.gateway) as web_socket:
        web_socket.send("40" + json.dumps({"token": keyed.keys["viewer"]}))
        assert web_socket.recv().startswith("40")
        write_private(file, before.replace(viewer, another).encode())
        try:
            assert set(web_socket) <= {"2"}  # pings, until it is closed
        finally:
            write_private(file, before.encode())
            until_status(keyed, "viewer", {200})


async def test_a_file_that_is_written_in_place_revokes_nothing_meanwhile(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    digests = [sha256(name).digest() for name in (b"a", b"b")]
    tables = [f"[{name}]\nsha256 = '{digest.hex()}'\n" for name, digest in zip("ab", digests, strict=True)]
    file.write_text(tables[0])
    keys = CameraKeys(file)
    for written in ("", tables[1], "".join(tables)):  # as it is emptied, and then filled
        file.write_text(written)
        assert await keys.refresh() == ()
        assert [keys.name_of(one) for one in digests] == ["a", ""]
    assert not await keys.refresh()
    assert [keys.name_of(one) for one in digests] == ["a", "b"]
    file.unlink()
    assert await keys.refresh() == ()
    assert await keys.refresh() == {"a", "b"}
    assert [keys.name_of(one) for one in digests] == ["", ""]
    assert not keys.may("a", WATCH, "lane")  # whoever is here with it still


def test_a_group_that_changes(keyed: Keyed) -> None:
    file = keyed.gateway.folder / "keys.toml"
    before = file.read_text()
    keyed.ask("key", "POST", "/api/detection", {**DETECTION, "camera_id": "gate/9"})
    assert "gate/9" in cameras_found(keyed)
    write_private(file, before.replace('"gates" = ["gate/*"]', '"gates" = ["gate/9"]').encode())
    try:
        wait_until(lambda: cameras_found(keyed) == {"gate/9"}, "the group should have one camera")
    finally:
        write_private(file, before.encode())


def test_a_file_that_cannot_be_read_changes_nothing(keyed: Keyed) -> None:
    file = keyed.gateway.folder / "keys.toml"
    before = file.read_text()
    write_private(file, b"[viewer]\nfly = ['*']\n")
    try:
        wait_until(lambda: "the keys are as they were" in keyed.gateway.said(), "it should be said")
        assert keyed.get("viewer", "/api/cameras")["success"]
        assert keyed.who_may("GET", "/api/records") == {"key", "anna"}
    finally:
        write_private(file, before.encode())


@pytest.mark.slow
def test_keys_alone_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "cameras").mkdir()
    made = snyper(
        "add-key", str(tmp_path / "cameras"), "viewer", "--may", "watch", "--output", str(tmp_path / "k")
    )
    assert (made.returncode, made.stdout) == (0, "")
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    key = (tmp_path / "k").read_text().strip()
    with CameraGateway(tmp_path, "--listen", "0.0.0.0:0") as gateway:
        assert gateway.get("/api/cameras").status_code == 401
        assert gateway.get("/api/cameras", headers={"authorization": f"Bearer {key}"}).status_code == 200
        assert snyper("revoke-key", str(gateway.folder), "viewer").returncode == 0
        wait_until(
            lambda: (
                gateway.get("/api/cameras", headers={"authorization": f"Bearer {key}"}).status_code != 200
            ),
            "the key should be refused",
        )
        assert gateway.get("/api/cameras").status_code == 401  # no key is left, and it is not open


@pytest.mark.slow
def test_the_commands(tmp_path: Path) -> None:
    folder = str(tmp_path / "cameras")
    assert snyper("add-key", folder, "viewer", "--may", "watch").returncode == 2  # as of a typing error
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "cameras").mkdir()
    for wrong in (
        ("viewer", "--may", "fly"),
        ("viewer", "--may", "watch="),
        ("viewer",),
        ("viewer", "--may", "log=lane"),
        ("viewer", "--may", f"watch={'x' * 200}"),
        ("key", "--may", "watch"),
        ("groups", "--may", "watch"),
        ("two words", "--may", "watch"),
    ):
        assert snyper("add-key", folder, *wrong).returncode == 2
    added = snyper("add-key", folder, "lane", "--may", "send=lane", "--may", "send=[red]/*", "--may", "watch")
    assert added.stderr == "lane may send lane [red]/*, watch\n"
    assert snyper("add-key", folder, "lane", "--may", "watch").returncode == 1
    refused = snyper("add-key", folder, "desk", "--may", "watch=@yard")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "there is no group @yard" in refused.stderr
    listed = json.loads(snyper("keys", folder, "--json").stdout)
    assert listed == [{"name": "lane", "send": ["lane", "[red]/*"], "watch": ["*"]}]
    shown = snyper("keys", folder).stdout
    assert "send lane [red]/*, watch" in shown
    assert added.stdout.strip() not in (Path(folder) / "keys.toml").read_text()
    assert snyper("revoke-key", folder, "lane").returncode == 0
    assert snyper("revoke-key", folder, "lane").returncode == 1
