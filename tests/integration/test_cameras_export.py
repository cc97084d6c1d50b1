"""Records taken away: as a table and with their pictures, whatever is in them and whoever hangs up."""

import asyncio
import base64
import csv
import hashlib
import io
import json
import socket
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from snyper.gateway.camera_requests import most_of
from tests.integration.camera_bodies import png
from tests.integration.cameras_harness import DETECTION, CameraGateway, with_database, without
from tests.integration.harness import DEADLINE_S, until

if TYPE_CHECKING:
    from tools.postgresql import Cluster

PLATE = "๑กข ๑๒๓๔"
FORMULA = '=HYPERLINK("http://x","y")'


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CameraGateway]:
    with CameraGateway(tmp_path_factory.mktemp("export"), *with_database(request)) as running:
        yield running


def send(gateway: CameraGateway, **fields: Any) -> None:
    body = {**without(DETECTION, "annotated_image", "cropped_plates"), **fields}
    answer = gateway.post("/api/detection", content=json.dumps(body))
    assert answer.status_code == 200, answer.text


def picture(shade: int, size: int = 8) -> str:
    return base64.b64encode(png(size, size, shade)).decode()


def table_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize(
    ("limit", "most"), [("", None), ("0", None), ("-1", None), ("1", 1), ("5000", 5_000)]
)
def test_an_export_has_as_many_as_are_asked_for(limit: str, most: int | None) -> None:
    assert most_of(limit) == most


@pytest.mark.slow
def test_a_table_is_safe_in_spreadsheets(gateway: CameraGateway) -> None:
    for plate in (PLATE, FORMULA, "-1", "a\r\nb", "\ud800", '"'):
        send(gateway, camera_id="=cmd|' /C calc'!A0", checkpoint_id="table", ocr_results=[plate], note="x\ty")
    answer = gateway.get("/api/export?checkpoint_id=table")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.content.startswith(b"\xef\xbb\xbfcursor,")
    rows = table_of(answer.content)
    assert [row["ocr_results"] for row in rows] == [PLATE, f"'{FORMULA}", "'-1", "a b", "\ufffd", '"']
    for row in rows:
        for cell in row.values():
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert table_of(gateway.get("/api/export?checkpoint_id=table&limit=2").content) == rows[:2]
    after = gateway.get(f"/api/export?checkpoint_id=table&after={rows[3]['cursor']}").content
    assert table_of(after) == rows[4:]


def test_an_archive_has_each_picture_once_and_says_what_each_file_is(gateway: CameraGateway) -> None:
    for shade in (1, 2, 2):
        send(gateway, checkpoint_id="archive", annotated_image=picture(shade), cropped_plates=[picture(7)])
    send(gateway, checkpoint_id="archive")
    answer = gateway.get("/api/export?format=zip&checkpoint_id=archive")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(names) == len(set(names)) == 5
        lines = archive.read("MANIFEST.sha256").decode().splitlines()
        manifest = {name: digest for digest, name in (line.split("  ") for line in lines)}
        assert manifest.keys() == {*names} - {"MANIFEST.sha256"}
        for name, digest in manifest.items():
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest
        rows = table_of(archive.read("records.csv"))
        assert {archive.read(row["picture"]) for row in rows if row["picture"]} == {
            png(8, 8, shade) for shade in (1, 2)
        }
    assert [row["is_annotated"] for row in rows] == ["1", "1", "1", "0"]


def test_what_is_no_export(gateway: CameraGateway) -> None:
    for wrong in ("format=xlsx", "before=7", "from=x", "after=-1", "&".join(f"a{n}=1" for n in range(30))):
        answer = gateway.get(f"/api/export?{wrong}")
        assert (answer.status_code, answer.json()["success"]) == (400, False)
    for nothing in (
        "camera_id=%00",
        "camera_id=%ff",
        "plate=%00*",
        "before=%00",
        "class='--",
        f"camera_id={'x' * 5_000}",
    ):
        answer = gateway.get(f"/api/export?{nothing}")
        assert answer.status_code in (200, 400), (nothing, answer.text)
        assert answer.status_code == 400 or table_of(answer.content) == []
    assert gateway.get("/api/test").status_code == 200


async def test_who_goes_away_in_the_middle_holds_up_nobody(gateway: CameraGateway) -> None:
    def fill() -> None:
        for number in range(30):  # 45 MB: more than a connection holds
            image = base64.b64encode(png(1, 1) + b"\0" * 1_500_000 + b"%d" % number).decode()
            send(gateway, checkpoint_id="gone", number=number, annotated_image=image)

    await asyncio.to_thread(fill)
    for _ in range(6):  # more than may export at once
        with socket.create_connection(("127.0.0.1", gateway.port), DEADLINE_S) as connection:
            query = "format=zip&checkpoint_id=gone"
            connection.sendall(f"GET /api/export?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            assert connection.recv(1_000).startswith(b"HTTP/1.1 200")

    def told() -> list[dict[str, Any]]:
        log: list[dict[str, Any]] = gateway.get("/api/log").json()["log"]
        return [one for one in log if one["filters"].get("checkpoint_id") == "gone"]

    begun = time.monotonic()
    answer = await asyncio.to_thread(gateway.get, "/api/export?format=zip&checkpoint_id=gone")
    assert time.monotonic() - begun < DEADLINE_S
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert len(table_of(archive.read("records.csv"))) == 30
        assert len(archive.namelist()) == 2 + 30  # the table, the manifest, and the pictures
    await until(lambda: told()[0]["count"] == 30, "the log should say how many")
    assert [one["what"] for one in told()] == ["export"] * 7
    assert sum(one["count"] for one in told()) < 7 * 30


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="another process is given its limits")
def test_a_full_disk_ends_an_export_and_nothing_else(
    tmp_path: Path, postgresql: "Cluster"
) -> None:  # whose server has limits of its own
    import resource

    with CameraGateway(tmp_path, "--database", postgresql.new_database()) as gateway:
        for number in range(30):
            send(gateway, checkpoint_id="full", number=number, note="x" * 50_000)
        for number in range(6):
            large = base64.b64encode(png(1, 1) + b"\0" * 100_000).decode()
            send(gateway, checkpoint_id="cut", number=number, note="x" * 250_000, annotated_image=large)
        before = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (500_000, resource.RLIM_INFINITY))
        answer = gateway.get("/api/export?format=zip&checkpoint_id=full")
        assert (answer.status_code, answer.json()["success"]) == (503, False)
        assert "File too large" in answer.json()["message"]
        with pytest.raises(httpx.RemoteProtocolError):
            gateway.get("/api/export?format=zip&checkpoint_id=cut")
        assert "an export ended in the middle" in gateway.said()
        assert len(table_of(gateway.get("/api/export?checkpoint_id=full").content)) == 30
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, before)
        assert gateway.get("/api/export?format=zip&checkpoint_id=cut").status_code == 200
        assert gateway.end() == 0
