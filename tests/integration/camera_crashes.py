"""Ends a process that keeps detections at each of its steps, and checks what is left.

    python -m tests.integration.camera_crashes FOLDER [--power]

See crashing_disk.py. Prints how many ends there were.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from snyper.cameras import service
from snyper.cameras.database import Database
from snyper.cameras.intake import detection_of
from snyper.cameras.records import RecordQuery
from tests.integration.camera_bodies import jpeg
from tests.integration.camera_writer import body
from tests.integration.crashing_disk import Disk, try_every_step

_COUNT = 2


def main() -> None:
    """Try every step, and print how many there were."""
    disk = Disk(Path(sys.argv[1]), "pictures", trusted="cameras.db")
    print(try_every_step(disk, work, check))


def _watched_database(folder: Path, url: str | None) -> Database:
    found = Database(folder, url)

    @sql.event.listens_for(found.engine, "before_cursor_execute")
    def watch(*_: Any) -> None:
        sys.audit("sql")

    return found


def work(disk: Disk) -> None:
    """Keep two detections, one after the other."""
    setattr(service, "Database", _watched_database)  # noqa: B010, which it exports to nobody
    asyncio.run(_work(disk))


async def _work(disk: Disk) -> None:
    async with service.opened(disk.folder) as cameras:
        for number in range(_COUNT):
            await cameras.detect(detection_of(body(str(number))))
            disk.say(f"kept {number}")


def check(disk: Disk) -> None:
    """Check what a process finds that starts now, and what comes of those who send again."""
    asyncio.run(_check(disk))


async def _check(disk: Disk) -> None:
    said = disk.said()
    async with service.opened(disk.folder) as cameras:
        page = await cameras.records(RecordQuery())
        kept = {record.detection_id: record for record in page.records}
        assert len(kept) == len(page.records) == page.total
        for number in range(_COUNT):
            assert f"kept {number}" not in said or str(number) in kept
        for name in map(str, range(_COUNT)):
            answer = await cameras.detect(detection_of(body(name)))
            assert answer.is_known == (name in kept)
        page = await cameras.records(RecordQuery())
        assert page.total == _COUNT
        for record in page.records:
            assert record.picture is not None
            path = cameras.picture(record.picture.name)
            assert path is not None
            assert path.read_bytes() == jpeg(record.detection_id)


if __name__ == "__main__":
    main()
