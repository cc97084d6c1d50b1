"""What is removed of the cameras, by age, by need and by name, and what is found to be missing."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sql

from snyper.cameras import schema
from snyper.cameras.intake import detection_of, health_of
from snyper.cameras.log import EXPORT, Entry
from snyper.cameras.records import RecordQuery
from snyper.cameras.retention import Retention, RetentionRule
from snyper.cameras.service import Cameras, opened
from tests.integration.camera_bodies import NAMES, jpeg, png
from tests.integration.cameras_harness import DETECTION, CameraGateway
from tests.integration.harness import until, wait_until

SECRET = "กข 98QZ"  # a plate that is to be in no file


@pytest.fixture
async def cameras(tmp_path: Path, database: str | None) -> AsyncIterator[Cameras]:
    async with opened(tmp_path / "cameras", database) as found:
        yield found


def pictures(folder: Path) -> set[str]:
    root = folder / "cameras" / "pictures"
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


LEFT = (schema.pictures, schema.sightings, schema.plates)


async def keep(cameras: Cameras, name: str, **fields: object) -> None:
    body = {**NAMES, "detection_id": name, "annotated_image": jpeg(name), **fields}
    await cameras.detect(detection_of(body))


async def kept(cameras: Cameras) -> list[str]:
    page = await cameras.records(RecordQuery(limit=1_000))
    assert page.total == len(page.records)
    return sorted(record.detection_id for record in page.records)


async def test_the_old_goes_by_camera_and_class_and_what_is_protected_stays(
    cameras: Cameras, tmp_path: Path
) -> None:
    await keep(cameras, "old", ocr_results=["ABC"])
    await keep(cameras, "shared", ocr_results=["ABC"], annotated_image=jpeg("same"))
    await keep(cameras, "protected", ocr_results=["ABC"], annotated_image=jpeg("same"))
    await keep(cameras, "lane", camera_id="lane")
    await keep(cameras, "person", vehicle_detections=[{"class": " Person", "bbox": [0, 0, 1, 1]}])
    await cameras.health(health_of({**NAMES, "component": "disk", "status": "healthy"}))
    [record] = [
        one for one in (await cameras.records(RecordQuery())).records if one.detection_id == "protected"
    ]
    assert await cameras.protect(record.cursor, True)
    assert not await cameras.protect(10_000, True)
    await cameras.sweep(Retention())  # 30 days: nothing is so old
    assert len(await kept(cameras)) == 5
    rules = (RetentionRule(1, 1, camera_id="lane"), RetentionRule(1, 0, class_name="person"))
    await cameras.sweep(Retention(days=0, picture_days=0, rules=rules))
    assert await kept(cameras) == ["lane", "person", "protected"]
    assert len(pictures(tmp_path)) == 2  # of `lane`, and what `protected` shared with another
    assert [len((await cameras.records(RecordQuery(plate="ABC"))).records)] == [1]
    statistics = await cameras.statistics()
    assert (statistics.total_detections, statistics.total_health_checks) == (5, 1)
    again = await cameras.detect(detection_of({**NAMES, "detection_id": "old"}))
    assert again.is_known  # though its record is gone


async def test_pictures_go_first_when_the_disk_is_short(cameras: Cameras, tmp_path: Path) -> None:
    for number in range(10):
        await keep(cameras, str(number))
    first = (await cameras.records(RecordQuery(after=0, limit=1))).records[0]
    await cameras.protect(first.cursor, True)
    await cameras.sweep(Retention(max_picture_bytes=10 * len(jpeg("")), min_free_bytes=0))
    assert len(pictures(tmp_path)) >= 9
    await cameras.sweep(Retention(min_free_bytes=2**60))
    assert len(pictures(tmp_path)) == 1
    assert len(await kept(cameras)) == 10


async def test_a_picture_that_many_records_have_takes_its_room_once(
    tmp_path: Path, database: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that was not added up before."""
    monkeypatch.setattr(time, "time", lambda: 1.8e9)  # in one hour
    retention = Retention(max_picture_bytes=4 * len(jpeg("0")), min_free_bytes=0)
    async with opened(tmp_path / "cameras", database, sweeps=False) as cameras:
        for number in range(3):
            await keep(cameras, f"{number}")
        for number in range(20):
            await keep(cameras, f"same {number}", annotated_image=jpeg("s"))
        await cameras.sweep(retention)
        assert len(pictures(tmp_path)) == 4
        with cameras._store._database.writing() as db:
            db.execute(sql.delete(schema.numbers).where(schema.numbers.c.name == schema.PICTURE_BYTES))
    async with opened(tmp_path / "cameras", database, sweeps=False) as cameras:
        await cameras.sweep(retention)
        assert len(pictures(tmp_path)) == 4
        await keep(cameras, "3")
        await cameras.sweep(retention)
        assert len(pictures(tmp_path)) == 4
        await cameras.sweep(replace(retention, max_picture_bytes=0))
        assert pictures(tmp_path) == set()
        with cameras._store._database.reading() as db:
            total = sql.select(schema.numbers.c.value).where(schema.numbers.c.name == schema.PICTURE_BYTES)
            assert db.scalar(total) == 0


async def test_a_clock_that_leaps_removes_nothing(
    tmp_path: Path, database: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ahead of what has passed, be it over a restart; and back, with what came by a clock that was behind."""
    now_s = time.time
    for ahead_days in (0, 40, -40, 0):
        monkeypatch.setattr(time, "time", lambda: now_s() + ahead_days * 86_400)  # noqa: B023
        async with opened(tmp_path / "cameras", database) as cameras:
            for _ in range(2):
                await keep(cameras, f"{ahead_days}")
                await cameras.health(health_of({**NAMES, "component": f"{ahead_days}", "status": "healthy"}))
                await cameras.log.write(Entry(EXPORT, f"{ahead_days}"))
                await cameras.sweep(Retention(log_days=30))
                assert (cameras.clock_doubt is not None) == (ahead_days == 40)
    async with opened(tmp_path / "cameras", database) as cameras:
        await cameras.sweep(Retention(log_days=30))
        assert await kept(cameras) == ["-40", "0", "40"]
        assert len(pictures(tmp_path)) == 3
        assert len(await cameras.log.rows([EXPORT], 10)) == 8
        healths = sql.select(sql.func.count()).select_from(schema.healths)
        with cameras._store._database.reading() as db:
            assert db.scalar(healths) == 3


async def test_pictures_that_came_first_go_first_whatever_the_clock_said(
    cameras: Cameras, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = time.time
    monkeypatch.setattr(time, "time", lambda: now_s() + 40 * 86_400)
    for number in range(50):
        await keep(cameras, f"{number:02} first")
    monkeypatch.setattr(time, "time", now_s)
    await keep(cameras, "second")
    most = 10 * len(jpeg("00 first")) + len(jpeg("second")) + 1
    await cameras.sweep(Retention(max_picture_bytes=most, min_free_bytes=0))
    records = (await cameras.records(RecordQuery(limit=100))).records
    with_picture = sorted(one.detection_id for one in records if one.picture is not None)
    assert with_picture == [*(f"{number:02} first" for number in range(40, 50)), "second"]


async def test_a_sweep_of_a_database_that_cannot_be_read_says_so_in_one_line(
    cameras: Cameras, caplog: pytest.LogCaptureFixture
) -> None:
    def rename(before: str, after: str) -> None:
        with cameras._store._database.writing() as db:
            db.execute(sql.text(f"ALTER TABLE {before} RENAME TO {after}"))

    rename("pictures", "away")
    keeping = asyncio.create_task(cameras.keep_for(Retention()))
    try:
        await until(lambda: caplog.records, "it should say what is wrong")
    finally:
        keeping.cancel()
        rename("away", "pictures")
    for said in caplog.records:
        assert said.getMessage().startswith("old records could not be removed (")
        assert "\n" not in said.getMessage()
        assert said.exc_info is None


@pytest.mark.slow
async def test_a_sweep_lets_others_write(cameras: Cameras) -> None:
    await asyncio.gather(*(keep(cameras, str(number)) for number in range(300)))
    sweep = asyncio.create_task(cameras.sweep(Retention(days=0, picture_days=0)))
    during = 0
    while not sweep.done():
        await cameras.health(health_of({**NAMES, "component": "disk", "status": "healthy"}))
        during += 1
    await sweep
    assert during > 1
    assert await kept(cameras) == []
    assert not await cameras._writer.do(
        lambda: cameras._store._database.vacuum(1)
    )  # nothing is left to give back


@pytest.mark.slow
async def test_what_stays_does_not_make_a_sweep_greedy(cameras: Cameras) -> None:
    """After many rows of which none goes, and quick steps, no more is removed at once than at first."""
    bodies: list[dict[str, object]] = [
        {**NAMES, "detection_id": f"{number:04}", "camera_id": "stays" if number < 1_200 else "goes"}
        for number in range(1_500)
    ]
    bodies += [
        {**NAMES, "detection_id": f"p{number}", "annotated_image": jpeg(f"{number}")} for number in range(200)
    ]
    for begin in range(0, len(bodies), 500):
        await asyncio.gather(*(cameras.detect(detection_of(body)) for body in bodies[begin : begin + 500]))
    retention = Retention(
        days=0,
        picture_days=1,
        max_picture_bytes=0,
        rules=(RetentionRule(1, 1, camera_id="stays"), RetentionRule(1, 1, camera_id=NAMES["camera_id"])),
    )
    sweep = cameras._store.new_sweep(retention)
    left = [1_700, 200]
    removed: list[list[int]] = [[], []]
    while not await cameras._writer.do(sweep.step):
        now = [await cameras.count(RecordQuery()), len(list(cameras._store.pictures.folder.rglob("*.jpg")))]
        for kind in (0, 1):
            if now[kind] < left[kind]:
                removed[kind].append(left[kind] - now[kind])
        left = now
    assert left == [1_400, 0]
    assert all(0 < sizes[0] <= 50 for sizes in removed)


async def test_an_erased_plate_is_in_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "cameras"
    async with opened(folder) as cameras:
        for number in range(120):
            await keep(cameras, f"kept {number}", ocr_results=[f"XY {number}"])
            boxes = [{"text": SECRET, "bbox": [0, 0, 1, 1]}]
            fields = {"plate_detections": boxes} if number % 2 else {"ocr_results": ["AB 1", SECRET]}
            if number % 10 == 0:
                await keep(cameras, f"erased {number}", **fields)
        assert await cameras.erase_plate("กข-98QZ") == 12
        assert await cameras.erase_plate(SECRET) == 0
        assert len(await kept(cameras)) == 120
        assert (await cameras.records(RecordQuery(plate="กข*"))).records == ()
        content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        for secret in (SECRET, SECRET.replace(" ", ""), "98QZ"):
            assert secret.encode() not in content
        assert b"XY 119" in content
        assert len(pictures(tmp_path)) == 120
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert "กข".encode() not in content


async def test_what_an_erasure_was_kept_from_it_does_when_it_comes_again(
    cameras: Cameras, tmp_path: Path
) -> None:
    await keep(cameras, "kept", ocr_results=["XY 1"])
    theirs = pictures(tmp_path)
    await keep(cameras, "erased", ocr_results=[SECRET], cropped_plates=[jpeg("plate 1"), jpeg("plate 2")])
    [record] = (await cameras.records(RecordQuery(plate=SECRET))).records
    assert record.picture is not None
    hindrances = [
        tmp_path / "cameras" / "thumbnails" / picture.name
        for picture in (record.picture, *record.cropped_plates)
    ]
    for one in hindrances:
        one.mkdir(parents=True)  # which nobody unlinks
    with pytest.raises(OSError, match="directory"):
        await cameras.erase_plate(SECRET)
    for one in hindrances:
        one.rmdir()
    assert await cameras.erase_plate(SECRET) == 1
    assert pictures(tmp_path) == theirs
    assert await kept(cameras) == ["kept"]


async def test_what_is_left_of_records_that_were_removed_by_hand(tmp_path: Path) -> None:
    """In SQLite; PostgreSQL lets nobody remove them alone."""
    async with opened(tmp_path / "cameras") as cameras:
        for name in ("a", "b", "c"):
            await keep(cameras, name, ocr_results=[f"AB {name}"])
        await keep(cameras, "again", annotated_image=jpeg("a"))
        for name in pictures(tmp_path):
            await cameras.thumbnail(name)
        with cameras._store._database.writing() as db:
            db.execute(sql.delete(schema.detections).where(schema.detections.c.cursor.in_((1, 2))))
        found = await cameras.check()
        assert len(found.orphans) == 1  # the other is another record's too
        assert len(pictures(tmp_path)) == 3
        assert (await cameras.check(repairs=True)).orphans == found.orphans
        page = await cameras.records(RecordQuery())
        assert (len(page.records), page.total, len(pictures(tmp_path))) == (2, 2, 2)
        assert all(record.picture for record in page.records)
        with cameras._store._database.reading() as db:
            rows = [db.scalar(sql.select(sql.func.count()).select_from(table)) for table in LEFT]
        assert rows == [2, 1, 1]
        assert (await cameras.check()).orphans == []


async def test_orphans_are_found_both_ways(cameras: Cameras, tmp_path: Path) -> None:
    for name in ("a", "b"):
        await keep(cameras, name)
    there = sorted(pictures(tmp_path))
    root = tmp_path / "cameras" / "pictures"
    (root / there[0]).unlink()
    (root / "2001010100").mkdir()
    (root / "2001010100" / f"{'0' * 64}.jpg").write_bytes(b"nobody's")
    theirs = [root / "2001010100" / "notes.txt", root / "mydir" / "holiday.jpg"]
    for path in theirs:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"a person's")
    expected = [f"2001010100/{'0' * 64}.jpg"]
    for repairs in (False, True):
        found = await cameras.check(repairs)
        assert (sorted(found.orphans), found.missing) == (expected, [there[0]])
    found = await cameras.check()
    assert (found.files, found.orphans, found.missing) == (1, [], [])
    page = await cameras.records(RecordQuery())
    assert sorted(record.picture is not None for record in page.records) == [False, True]
    assert [path.read_bytes() for path in theirs] == [b"a person's"] * 2
    for path in theirs:
        path.unlink()


async def test_damaged_pictures_are_found_and_their_records_stay(cameras: Cameras, tmp_path: Path) -> None:
    for name in ("cut", "altered", "b", "c", "d"):
        await keep(cameras, name)
    await keep(cameras, "cut too", annotated_image=jpeg("cut"))
    root = tmp_path / "cameras" / "pictures"
    names = {
        one.detection_id: one.picture.name
        for one in (await cameras.records(RecordQuery())).records
        if one.picture
    }
    content = jpeg("cut")
    (root / names["cut"]).write_bytes(content[:-1])
    (root / names["altered"]).write_bytes(bytes(len(jpeg("altered"))))
    is_cut = {names["cut"]: f"it has {len(content) - 1:,} bytes, not {len(content):,}"}
    assert (await cameras.check()).damaged == is_cut
    damaged = {**is_cut, names["altered"]: "its SHA-256 is another"}
    for repairs in (False, True):
        assert (await cameras.check(repairs, reads=True)).damaged == damaged
    found = await cameras.check(reads=True)
    assert (found.files, found.rows, found.orphans, found.missing, found.damaged) == (3, 3, [], [], {})
    page = await cameras.records(RecordQuery())
    without = {record.detection_id for record in page.records if record.picture is None}
    assert (page.total, without) == (6, {"cut", "cut too", "altered"})


async def test_a_damaged_picture_that_comes_again_is_whole(
    cameras: Cameras, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1.8e9)  # in one hour
    await keep(cameras, "one", annotated_image=png())
    [name] = pictures(tmp_path)
    small = await cameras.thumbnail(name)
    assert small is not None
    await asyncio.to_thread(small.unlink)
    (tmp_path / "cameras" / "pictures" / name).write_bytes(bytes(len(png())))
    assert await cameras.thumbnail(name) is None
    await keep(cameras, "two", annotated_image=png())
    assert pictures(tmp_path) == {name}
    assert await cameras.thumbnail(name) is not None
    found = await cameras.check(reads=True)
    assert (found.files, found.damaged, found.orphans) == (1, {}, [])


async def test_pictures_of_another_database_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "cameras"
    async with opened(folder) as cameras:
        for name in ("a", "b"):
            await keep(cameras, name)
        there = pictures(tmp_path)
    for path in folder.glob("cameras.db*"):
        path.unlink()
    async with opened(folder) as cameras:
        await keep(cameras, "c")
        with pytest.raises(OSError, match="2 of 3 pictures have no record, 0 of 1 in records are gone"):
            await cameras.check(repairs=True)
        assert (await cameras.check()).orphans == sorted(there)
        assert len(pictures(tmp_path)) == 3
        assert (await cameras.check(repairs=True, forces=True)).orphans == sorted(there)
        assert len(pictures(tmp_path)) == 1


async def test_records_keep_their_pictures_while_a_disk_is_not_mounted(tmp_path: Path) -> None:
    folder = tmp_path / "cameras"
    async with opened(folder) as cameras:
        for name in ("a", "b", "c"):
            await keep(cameras, name)
    there = pictures(tmp_path)
    await asyncio.to_thread((folder / "pictures").rename, folder / "disk")
    async with opened(folder) as cameras:
        with pytest.raises(
            OSError, match=r"3 of 3 in records are gone or damaged: nothing is repaired\. Is a disk"
        ):
            await cameras.check(repairs=True)
        page = await cameras.records(RecordQuery())
        assert sorted(one.picture.name for one in page.records if one.picture) == sorted(there)
        assert (await cameras.check(repairs=True, forces=True)).missing == sorted(there)
        assert {one.picture for one in (await cameras.records(RecordQuery())).records} == {None}


@pytest.mark.slow
def test_a_gateway_keeps_by_its_file(tmp_path: Path) -> None:
    with CameraGateway(tmp_path) as gateway:
        for name in ("lane", "yard"):
            assert gateway.post("/api/detection", {**DETECTION, "camera_id": name}).status_code == 200
    (tmp_path / "cameras" / "retention.toml").write_text('[[rule]]\ncamera = "lane"\ndays = 0\n')
    with CameraGateway(tmp_path) as gateway:
        wait_until(
            lambda: [one["camera_id"] for one in gateway.get("/api/records").json()["records"]] == ["yard"],
            "what is too old should go",
        )
    (tmp_path / "cameras" / "retention.toml").write_text("day = 3\n")
    with pytest.raises(AssertionError, match=r"retention.toml: the file has\s'day'"):
        CameraGateway(tmp_path)
