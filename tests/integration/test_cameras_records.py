"""Records by plate, place and time: in both databases the same."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from snyper.cameras.intake import detection_of
from snyper.cameras.records import RecordQuery
from snyper.cameras.service import Cameras, opened
from snyper.cameras.times import iso
from tests.integration.camera_bodies import NAMES

PLATES = ["ABC 1234", "abc-1234", "A8C1234", "ABD1234", "XYZ 99", "กข 1234", "A%C_1\\4", "AB[12]*", "ข[กข"]


@pytest.fixture
async def cameras(tmp_path: Path, database: str | None) -> AsyncIterator[Cameras]:
    async with opened(tmp_path / "cameras", database) as found:
        yield found


async def keep(cameras: Cameras, **fields: object) -> None:
    await cameras.detect(detection_of({**NAMES, **fields}))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("ABC1234", {"ABC 1234", "abc-1234"}),
        ("ab c12 34", {"ABC 1234", "abc-1234"}),
        ("*1234", {"ABC 1234", "abc-1234", "A8C1234", "ABD1234", "กข 1234"}),
        ("AB?1*", {"ABC 1234", "abc-1234", "ABD1234", "AB[12]*"}),
        ("?Y*", {"XYZ 99"}),
        ("กข*", {"กข 1234"}),
        ("A%C_1*", {"A%C_1\\4"}),
        ("*_1\\?", {"A%C_1\\4"}),
        ("AB[1*", {"AB[12]*"}),
        ("*[กข*", {"ข[กข"}),
        ("~1ABC1234", {"ABC 1234", "abc-1234", "A8C1234", "ABD1234"}),
        ("XYZ9~1", {"XYZ 99"}),
        ("*", set(PLATES)),
        ("nothing", set()),
        ("", set()),
    ],
)
async def test_by_plate(cameras: Cameras, pattern: str, found: set[str]) -> None:
    await keep(cameras, ocr_results=PLATES)  # all in one, which is found once
    for plate in PLATES:
        await keep(cameras, ocr_results=[plate])
    page = await cameras.records(RecordQuery(plate=pattern, limit=100))
    assert {record.ocr_results[0] for record in page.records if len(record.ocr_results) == 1} == found
    assert len({record.cursor for record in page.records}) == len(page.records) == page.total
    assert [len(record.ocr_results) for record in page.records].count(len(PLATES)) == bool(found)


async def test_a_pattern_that_thousands_match(cameras: Cameras) -> None:
    for number in range(0, 1_100, 50):
        await keep(cameras, ocr_results=[f"AB{one}" for one in range(number, number + 50)])
    page = await cameras.records(RecordQuery(plate="AB*", limit=2))
    assert (len(page.records), page.total) == (2, 22)
    assert (await cameras.records(RecordQuery(plate="AB1????"))).total == 0
    assert (await cameras.records(RecordQuery(plate="AB10*"))).total == 4


async def test_pages_by_time(cameras: Cameras) -> None:
    for number in (3, 1, 2, 2, 0):
        await keep(cameras, timestamp=iso(1_700_000_000 + number), vehicles_count=number)
    await keep(cameras, timestamp="2999-01-01T00:00:00Z", vehicles_count=9)
    query = RecordQuery(limit=2, from_s=1_700_000_001.0, until_s=1_700_000_003.5)
    counts = []
    while True:
        page = await cameras.records(query)
        counts += [record.vehicles_count for record in page.records]
        if page.next_cursor is None:
            break
        query = RecordQuery(2, before=page.next_cursor, from_s=query.from_s, until_s=query.until_s)
    assert counts == [3, 2, 2, 1]
    newest = await cameras.records(RecordQuery(limit=3))
    assert [record.vehicles_count for record in newest.records] == [9, 0, 2]
    assert "in the future" in newest.records[0].warnings[0]
    late = await cameras.records(RecordQuery(from_s=4_000_000_000.0))
    assert late.records == ()


async def test_a_listener_goes_on_after_a_cursor(cameras: Cameras) -> None:
    for number in range(5):
        await keep(cameras, camera_id=f"camera_{number % 2}", vehicles_count=number)
    newest = await cameras.records(RecordQuery(limit=5))
    assert [record.cursor for record in newest.records] == [5, 4, 3, 2, 1]
    page = await cameras.records(RecordQuery(limit=2, after=1))
    assert [record.cursor for record in page.records] == [2, 3]
    page = await cameras.records(RecordQuery(after=1, camera_id="camera_0"))
    assert [record.cursor for record in page.records] == [3, 5]
    assert (await cameras.records(RecordQuery(after=2**70))).records == ()


@pytest.mark.parametrize("cursor", ["", "x", "1:", "nan:x", ":"])
async def test_a_cursor_that_is_none_is_refused(cameras: Cameras, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        await cameras.records(RecordQuery(before=cursor, from_s=0.0))
