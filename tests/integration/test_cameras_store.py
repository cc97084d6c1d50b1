"""The core of the cameras: what was acknowledged is there, once."""

import asyncio
import base64
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sql

from snyper.cameras import schema
from snyper.cameras.batch import MAX_PLATES, Incoming
from snyper.cameras.database import Database
from snyper.cameras.intake import detection_of, health_of, registration_of
from snyper.cameras.pictures import NewPicture, PictureFolder
from snyper.cameras.queries import MAX_BUCKETS, Queries
from snyper.cameras.records import Accepted, Overloaded, RecordQuery
from snyper.cameras.service import Cameras, opened
from snyper.cameras.store import Store
from snyper.cameras.zones import Zones
from tests.integration.camera_bodies import jpeg

NAMES = {"camera_id": "camera_001", "checkpoint_id": "checkpoint_001", "timestamp": "2024-12-19T10:00:00Z"}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
async def cameras(tmp_path: Path, database: str | None) -> AsyncIterator[Cameras]:
    async with opened(tmp_path / "cameras", database) as found:
        yield found


async def test_the_documents_bodies_are_kept_and_found(cameras: Cameras) -> None:
    feed = cameras.listen()
    await cameras.register(registration_of(NAMES))
    body = {
        **NAMES,
        "vehicles_count": 1,
        "plates_count": 1,
        "ocr_results": ["ABC1234"],
        "processing_time_ms": 150,
    }
    pictures = {
        "annotated_image": base64.b64encode(PIXEL).decode(),
        "cropped_plates": [PIXEL, "base64_plate2"],
    }
    answer = await cameras.detect(detection_of({**body, **pictures}))
    assert answer.warnings == ("cropped_plates[1] is not kept: it is not base64",)
    await cameras.health(health_of({**NAMES, "component": "camera", "status": "healthy", "message": "fine"}))
    page = await cameras.records(RecordQuery())
    [record] = page.records
    assert (record.id, record.ocr_results, page.total) == (answer.id, ("ABC1234",), 1)
    assert record.details == {"processing_time_ms": 150}
    assert record.picture is not None
    path = cameras.picture(record.picture.name)
    assert path is not None
    assert path.read_bytes() == PIXEL
    [camera] = await cameras.cameras()
    assert (camera.detection_count, camera.health_status, camera.last_picture) == (
        1,
        "healthy",
        record.picture,
    )
    assert camera.registered_s is not None
    statistics = await cameras.statistics()
    assert (statistics.total_detections, statistics.today_health_checks, statistics.active_cameras) == (
        1,
        1,
        1,
    )
    kinds = [(await anext(feed)).kind for _ in range(3)]
    assert kinds == ["status", "detection", "health"]


async def test_a_device_s_id_comes_once(cameras: Cameras) -> None:
    body = {**NAMES, "detection_id": "a", "ocr_results": ["ABC1234"]}
    first = await cameras.detect(detection_of(body))
    again = await cameras.detect(detection_of(body))
    other = await cameras.detect(detection_of({**body, "ocr_results": ["XYZ"]}))
    assert (first.id, first.is_known, again.id, again.is_known) == ("a", False, "a", True)
    assert (again.warnings, other.is_known) == ((), True)
    assert other.warnings == ("this detection_id came before with another body: the first is kept",)
    page = await cameras.records(RecordQuery())
    assert [record.ocr_results for record in page.records] == [("ABC1234",)]


async def test_an_equal_body_without_an_id_is_kept_and_marked(cameras: Cameras) -> None:
    body = {**NAMES, "ocr_results": ["ABC1234"], "annotated_image": PIXEL}
    first = await cameras.detect(detection_of(body))
    await cameras.detect(detection_of({**body, "annotated_image": base64.b64encode(PIXEL).decode()}))
    page = await cameras.records(RecordQuery())
    assert [record.possible_double_of for record in page.records] == [first.id, None]


async def test_a_fault_of_one_is_its_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(tmp_path / "cameras") as cameras:
        with cameras._store._database.writing() as db:
            refusing = "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
            when = "BEFORE INSERT ON detections WHEN new.camera_id = 'bad'"
            db.execute(sql.text(f"CREATE TRIGGER refusal {when} {refusing}"))
        names = ["good 1", "bad", "good 2"]
        sent = [{**NAMES, "camera_id": name, "annotated_image": jpeg(name)} for name in names]
        answers = await asyncio.gather(
            *(cameras.detect(detection_of(body)) for body in sent), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [Accepted, Overloaded, Accepted]
        assert str(answers[1]) == "it could not be stored: send it again"
        assert "not this one" in caplog.text
        assert len(list((tmp_path / "cameras" / "pictures").rglob("*.jpg"))) == 2
        statistics = await cameras.statistics()
        assert (statistics.total_detections, statistics.unique_cameras) == (2, 2)


def see_what_is_not_there(database: Database) -> None:
    """Refer to rows that are missing, which shows as the transaction ends."""
    with database.writing() as db:
        db.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        db.execute(sql.insert(schema.sightings).values(plate=1, cursor=1))


def test_of_a_transaction_that_cannot_be_committed_nothing_is_left(tmp_path: Path) -> None:
    database = Database(tmp_path, None)
    with database.writing() as db:
        connection: Any = db.connection.dbapi_connection
    connection.execute("PRAGMA foreign_keys = ON")
    try:
        with pytest.raises(sql.exc.IntegrityError):
            see_what_is_not_there(database)
        with database.writing() as db:
            assert db.execute(sql.select(schema.sightings)).all() == []
        with database.reading() as db:
            assert db.execute(sql.select(schema.sightings)).all() == []
    finally:
        database.close()


def test_all_that_waits_may_have_more_plates_than_a_statement_takes(tmp_path: Path) -> None:
    limit = 32_766  # of SQLite, of which some systems have a larger one
    database = Database(tmp_path, None)
    store = Store(tmp_path, database, Zones("UTC", None), 0)
    try:
        with database.writing() as db:
            connection: Any = db.connection.dbapi_connection
            connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, limit)
        items = [
            Incoming(
                detection_of(
                    {
                        **NAMES,
                        "ocr_results": [f"{number} a {plate}" for plate in range(MAX_PLATES)],
                        "plate_detections": [{"text": f"{number} b {plate}"} for plate in range(MAX_PLATES)],
                    }
                ),
                time.time(),
            )
            for number in range(limit // (2 * MAX_PLATES) + 2)
        ]
        store.write(items)
        assert {type(one.outcome) for one in items} == {Accepted}, items[0].outcome
        store.write(items[:1])
        with database.reading() as db:
            count = db.scalar(sql.select(sql.func.count()).select_from(schema.plates))
        assert count == len(items) * 2 * MAX_PLATES
    finally:
        store.close()
        database.close()


async def test_nobody_waits_for_the_pictures_of_others(
    cameras: Cameras, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is old keeps its order behind a picture that takes long, and holds up nothing that is new."""
    large, may_go_on, write = jpeg("large"), threading.Event(), PictureFolder.write

    def write_slowly(folder: PictureFolder, content: bytes, received_s: float) -> NewPicture:
        assert content != large or may_go_on.wait(20)
        return write(folder, content, received_s)

    monkeypatch.setattr(PictureFolder, "write", write_slowly)

    def tell(plate: str, camera: str = "a", is_live: bool = True, **more: object) -> asyncio.Task[Accepted]:
        body = {**NAMES, "camera_id": camera, "ocr_results": [plate], **more}
        return asyncio.create_task(cameras.detect(detection_of(body), is_live=is_live))

    first = tell("1", is_live=False, annotated_image=large)
    second = tell("2", is_live=False)
    await cameras.statistics()  # while they alone wait
    await tell("new", annotated_image=jpeg("small"))
    await tell("other", camera="b", is_live=False, annotated_image=jpeg("small"))
    assert not first.done()
    assert not second.done()
    may_go_on.set()
    await asyncio.gather(first, second)
    page = await cameras.records(RecordQuery(after=0))
    assert [record.ocr_results[0] for record in page.records] == ["new", "other", "1", "2"]
    path = cameras.picture(page.records[0].picture.name if page.records[0].picture else "")
    assert path is not None
    assert list((path.parents[2] / "new").iterdir()) == []


async def test_a_clock_that_is_off_and_a_still_picture_are_said(cameras: Cameras) -> None:
    for number in range(10):
        body = {**NAMES, "timestamp": "2020-01-01T00:00:00", "detection_id": str(number)}
        await cameras.detect(detection_of({**body, "annotated_image": PIXEL}))
    [camera] = await cameras.cameras()
    assert camera.skew_s is not None
    assert camera.skew_s < -86_400 * 365
    assert [warning[:12] for warning in camera.warnings] == ["its clock is", "its picture "]


async def test_a_clock_that_is_set_is_right_from_then_on(cameras: Cameras) -> None:
    """Also where it was a year behind: no mean of what it was before."""
    for ahead_s, warnings in ((-3e7, ["its clock is"]), (0.0, []), (3_600.0, ["its clock is"]), (-1.0, [])):
        stamp = datetime.fromtimestamp(time.time() + ahead_s, UTC).isoformat()
        for _ in range(2):
            await cameras.detect(detection_of({**NAMES, "timestamp": stamp}))
        [camera] = await cameras.cameras()
        assert camera.skew_s is not None
        assert [warning[:12] for warning in camera.warnings] == warnings, camera.skew_s


async def test_health_is_stored_once_an_hour_also_by_a_clock_that_is_set(
    cameras: Cameras, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was a year ahead would have nothing stored until that has passed."""
    now_s, year_s = time.time, 365 * 86_400
    stored = []
    for ahead_s in (0, 3_500, year_s, year_s - 10, 0, 10, 3_700):
        monkeypatch.setattr(time, "time", lambda: now_s() + ahead_s)  # noqa: B023
        await cameras.health(health_of({**NAMES, "component": "disk", "status": "healthy"}))
        with cameras._store._database.reading() as db:
            stored.append(db.scalar(sql.select(sql.func.count()).select_from(schema.healths)))
    assert stored == [1, 1, 2, 2, 3, 3, 4]
    assert (await cameras.statistics()).total_health_checks == 7


def test_a_reader_that_comes_disturbs_no_writer(tmp_path: Path) -> None:
    """What is written while new connections are opened is not refused for that."""
    database = Database(tmp_path, None)
    numbers = schema.numbers
    count = sql.select(sql.func.count()).select_from(numbers)
    with database.reading() as reader:
        before = reader.execute(count).scalar_one()
    for number in range(3):
        with database.writing() as db:
            assert db.scalar(sql.select(numbers.c.value).where(numbers.c.name == "version"))
            with database.reading() as reader, database.reading() as another:
                assert reader.scalar(count) == before + number
                assert another.scalar(sql.text("PRAGMA auto_vacuum")) == 2
            db.execute(sql.insert(numbers).values(name=f"test {number}", value=1))
    database.close()


def test_a_month_of_many_cameras_is_counted_by_the_day(tmp_path: Path, database: str | None) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    begin_s, end_s = (int(datetime(2025, month, 1, tzinfo=berlin).timestamp()) for month in (3, 4))
    names = [f"camera_{number}" for number in range(70)]
    base = Database(tmp_path, database)
    with base.writing() as db:
        rows = [
            {"camera_id": name, "from_s": from_s, "detections": 2, "healths": 1}
            for name in names
            for from_s in range(begin_s, end_s, 3600)
        ]
        db.execute(sql.insert(schema.hours), rows)
    queries, month_s = Queries(base, Zones("Europe/Berlin", None)), (float(begin_s), float(end_s))
    found = queries.history(month_s, True, None, False, None)
    assert len(rows) > MAX_BUCKETS
    assert [(one.camera_id, one.detections, one.health_checks) for one in found if one.detections != 48] == [
        (name, 46, 23)  # the day on which summer time begins
        for name in sorted(names)
    ]
    assert [one.from_s for one in found] == sorted(one.from_s for one in found)
    assert len(found) == 31 * len(names)
    of_all = queries.history(month_s, True, "camera_1", True, None)
    assert [one.detections for one in of_all] == [48] * 29 + [46, 48]
    [first, *_, last] = queries.history(month_s, False, "camera_7", False, None)
    assert (first.from_s, last.from_s, last.detections) == (begin_s, end_s - 3600, 2)
    with pytest.raises(ValueError, match="ask for less time"):
        queries.history(month_s, False, None, False, None)
    base.close()


async def test_numbers_removed_by_hand_are_counted_at_the_next_start(
    tmp_path: Path, database: str | None
) -> None:
    """Each but the version; no cursor or plate is given twice, though the last record is gone."""
    body = {**NAMES, "ocr_results": ["ABC1234"], "annotated_image": PIXEL}
    health = {**NAMES, "component": "camera", "status": "healthy", "message": "fine"}
    all_numbers = sql.select(schema.numbers.c.name, schema.numbers.c.value)
    async with opened(tmp_path / "cameras", database) as cameras:
        for plate in ("ABC1234", "ABC1235", "ABC1236"):
            await cameras.detect(detection_of({**body, "ocr_results": [plate]}))
        await cameras.health(health_of(health))
        await cameras.erase_plate("ABC1235", "desk")
        await cameras.erase_plate("ABC1236", "desk")
        with cameras._store._database.writing() as db:
            before = {row.name: row.value for row in db.execute(all_numbers)}
            db.execute(sql.delete(schema.numbers).where(schema.numbers.c.name.in_(schema.COUNTS)))
    async with opened(tmp_path / "cameras", database) as cameras:
        with cameras._store._database.reading() as db:
            counted = {row.name: row.value for row in db.execute(all_numbers)}
        assert counted == before | {"plates": 1}  # those of the others are free
        for plate in ("ABC1234", "ABC1236"):
            await cameras.detect(detection_of({**body, "ocr_results": [plate]}))
        page = await cameras.records(RecordQuery())
        assert [record.cursor for record in page.records] == [5, 4, 1]
        assert (await cameras.statistics()).total_detections == 5
