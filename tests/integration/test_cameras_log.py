"""Who searched, exported and erased is written down, and says no plate that somebody has had erased."""

import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sql

from snyper.cameras import log, schema
from snyper.cameras.intake import detection_of
from snyper.cameras.log import DELETE, EXPORT, RULE, SEARCH, Entry, folded_pattern
from snyper.cameras.retention import DAY_S, Retention
from snyper.cameras.service import Cameras, opened
from tests.integration.camera_bodies import NAMES
from tests.integration.cameras_harness import DETECTION, CameraGateway, without
from tests.integration.harness import DEADLINE_S


@pytest.fixture
async def cameras(tmp_path: Path, database: str | None) -> AsyncIterator[Cameras]:
    async with opened(tmp_path / "cameras", database, sweeps=False) as found:
        yield found


async def test_the_same_again_counts_up(cameras: Cameras) -> None:
    for count in (3, 4):
        await cameras.log.write(Entry(SEARCH, "anna", {"camera_id": "a"}, count=count))
    await cameras.log.write(Entry(SEARCH, "ben", {"camera_id": "a"}, count=1))
    deletions = [Entry(DELETE, "ben"), Entry(DELETE, "ben")]
    for deletion in deletions:
        await cameras.log.write(deletion)
    for deletion, count in zip(deletions, (9, 5), strict=True):
        await cameras.log.write(replace(deletion, times=0, count=count))
    for _ in range(3):
        cameras.log.note(Entry(RULE, "person", {"camera_id": "a"}, about="7"))
    await cameras.log.flush()
    rows = await cameras.log.rows((SEARCH, DELETE), 10)
    assert [(one.kind, one.who, one.times, one.count) for one in rows] == [
        (DELETE, "ben", 1, 5),
        (DELETE, "ben", 1, 9),
        (SEARCH, "ben", 1, 1),
        (SEARCH, "anna", 2, 7),
    ]
    assert [one.who for one in await cameras.log.rows((SEARCH, DELETE), 10, rows[1].number)] == [
        "ben",
        "anna",
    ]
    [rule] = await cameras.log.rows((RULE,), 10)
    assert (rule.what, rule.about, rule.times) == ({"camera_id": "a"}, "7", 3)


async def test_it_outlives_its_process(tmp_path: Path, database: str | None) -> None:
    for who in ("first", "second"):
        async with opened(tmp_path, database) as cameras:
            await cameras.log.write(Entry(SEARCH, who))
            cameras.log.note(Entry(SEARCH, f"{who}, noted"))
    async with opened(tmp_path, database) as cameras:
        rows = await cameras.log.rows((SEARCH,), 10)
    assert [one.who for one in rows] == ["second, noted", "second", "first, noted", "first"]


async def test_an_erased_plate_is_not_in_it(cameras: Cameras, tmp_path: Path, database: str | None) -> None:
    await cameras.detect(detection_of({**NAMES, "ocr_results": ["QQ_7788"]}))
    for asked in ("qq_7788", "*Q_778*", "~1QQ_7788", "*QQ_7788?", "QQX7788"):
        await cameras.log.write(Entry(SEARCH, "anna", plate=folded_pattern(asked)))
    assert await cameras.erase_plate("QQ_7788") == 1
    rows = await cameras.log.rows((SEARCH,), 10)
    erased = log.ERASED
    assert [one.plate for one in rows] == ["QQX7788", erased, erased, "*Q_778*", erased]
    if database is None:
        files = [path for path in (tmp_path / "cameras").rglob("*") if path.is_file()]
        assert not [path for path in files if b"QQ_7788" in path.read_bytes()]


async def test_who_erases_for_some_cameras_leaves_what_is_written_of_others(cameras: Cameras) -> None:
    """Else a key for one camera could remove who looked at all the others."""
    for who, what in (("all", {}), ("other", {"camera_id": "yard"}), ("own", {"camera_id": "gate/1"})):
        await cameras.log.write(Entry(SEARCH, who, what, folded_pattern("QQ 77")))
    await cameras.erase_plate("QQ 77", "guard", ["gate/*"])
    rows = await cameras.log.rows((SEARCH,), 10)
    assert [(one.who, one.plate) for one in rows] == [("own", log.ERASED), ("other", "QQ77"), ("all", "QQ77")]
    await cameras.erase_plate("QQ 77", "guard")
    assert {one.plate for one in await cameras.log.rows((SEARCH,), 10)} == {log.ERASED}


async def test_an_export_that_ends_after_its_plate_is_erased_does_not_say_it(cameras: Cameras) -> None:
    export = Entry(EXPORT, "anna", plate=folded_pattern("QQ_7788"))
    await cameras.log.write(export)
    await cameras.erase_plate("QQ_7788")
    await cameras.log.write(replace(export, times=0, count=3))
    rows = await cameras.log.rows((EXPORT,), 10)
    assert [(one.plate, one.count) for one in rows] == [(log.ERASED, 3)]


async def test_it_is_kept_for_its_days_and_has_an_end(
    cameras: Cameras, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = time.time()
    monkeypatch.setattr(time, "time", lambda: now_s - 8 * DAY_S)
    await cameras.log.write(Entry(SEARCH, "long ago"))
    monkeypatch.undo()
    for number in range(3):
        await cameras.log.write(Entry(SEARCH, f"{number}"))
    await cameras.sweep(Retention(log_days=7))
    assert [one.who for one in await cameras.log.rows((SEARCH,), 10)] == ["2", "1", "0"]
    monkeypatch.setattr(log, "MAX_ENTRIES", 2)
    await cameras.log.write(Entry(SEARCH, "3"))
    assert [one.who for one in await cameras.log.rows((SEARCH,), 10)] == ["3", "2"]


async def test_a_row_that_is_gone_is_written_anew(tmp_path: Path) -> None:
    async with opened(tmp_path) as cameras:
        await cameras.log.write(Entry(SEARCH, "anna"))
        with cameras._store._database.writing() as db:
            db.execute(sql.delete(schema.entries))
        await cameras.log.write(Entry(SEARCH, "anna"))
        assert [one.times for one in await cameras.log.rows((SEARCH,), 10)] == [1]


@pytest.mark.slow
def test_what_was_answered_is_in_it_and_what_cannot_be_is_not_answered(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("another process is given its limits")
    with CameraGateway(tmp_path) as gateway:
        gateway.post("/api/detection", without(DETECTION, "annotated_image", "cropped_plates"))
        gateway.get("/api/records?plate=KILLED")
        gateway.end(signal.SIGKILL)
    with CameraGateway(tmp_path) as gateway:
        assert [one["plate"] for one in gateway.get("/api/log").json()["log"]] == ["KILLED"]
        before = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
        for path in ("/api/records?plate=FULL", "/api/visits", "/api/export?format=zip"):
            answer = gateway.get(path)
            assert (answer.status_code, answer.json()["success"]) == (503, False), path
        erased = httpx.delete(f"{gateway.url}/api/records?plate=ABC1234", timeout=DEADLINE_S)
        assert erased.status_code == 503
        assert gateway.statistics()["total_detections"] == 1
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, before)
        assert len(gateway.records()) == 1
        log = gateway.get("/api/log").json()["log"]
        assert [(one["what"], one["plate"]) for one in log] == [("search", None), ("search", "KILLED")]
        assert gateway.end() == 0
