"""`snyper cameras`, on a folder that a gateway has left."""

import asyncio
import csv
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from snyper.cameras.intake import detection_of, health_of, registration_of
from snyper.cameras.log import DELETE, SEARCH, Entry
from snyper.cameras.records import CameraSettings, RecordQuery
from snyper.cameras.service import opened
from snyper.gateway.camera_keys import CameraKeys
from snyper.system.files import others_access
from tests.integration.camera_bodies import NAMES, jpeg
from tests.integration.harness import at_length
from tools.postgresql import Cluster

USUAL_UMASK = 0o022 if os.name == "posix" else -1


async def keep_some(
    folder: Path, url: str | None = None, plates: tuple[str, ...] = ("ABC 1234", "XYZ 99")
) -> None:
    """Keep a record of each plate."""
    async with opened(folder, url) as cameras:
        for plate in plates:
            await cameras.detect(
                detection_of({**NAMES, "ocr_results": [plate], "annotated_image": jpeg(plate)})
            )


def contents(folder: Path) -> dict[Path, bytes]:
    """Return what the pictures are."""
    return {path: path.read_bytes() for path in folder.rglob("*.jpg")}


def snyper(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "snyper.cli", "cameras", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, umask=USUAL_UMASK
    )


@pytest.mark.slow
def test_a_folder_is_looked_after(tmp_path: Path) -> None:
    folder = tmp_path / "cameras"
    asyncio.run(keep_some(folder, plates=("ABC 1234", "XYZ 99", "XYZ?")))
    assert snyper("check", str(folder)).returncode == 0
    [first, *_] = sorted((folder / "pictures").rglob("*.jpg"))
    first.rename(first.with_name("0" * 64 + ".jpg"))
    found = snyper("check", str(folder), "--json")
    assert found.returncode == 1
    assert [len(json.loads(found.stdout)[name]) for name in ("orphans", "missing")] == [1, 1]
    last = sorted((folder / "pictures").rglob("*.jpg"))[-1]
    last.write_bytes(bytes(last.stat().st_size))
    read = snyper("check", str(folder), "--read-data")
    assert (read.returncode, f"is damaged     {last.parent.name}/{last.name}: its SHA" in read.stdout) == (
        1,
        True,
    )
    repaired = snyper("check", str(folder), "--repair")
    assert (repaired.returncode, len(repaired.stdout.splitlines())) == (0, 2)
    assert snyper("check", str(folder)).returncode == 0
    erased = snyper("forget", str(folder), "--plate", "abc-1234", "--json")
    assert (erased.returncode, json.loads(erased.stdout)) == (0, {"erased": 1})
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"ABC 1234" not in content
    assert b"XYZ 99" in content
    for no_plate in ("*", "", "-", "XYZ*", "~1XYZ99"):
        refused = snyper("forget", str(folder), "--plate", no_plate)
        assert (refused.returncode, "patterns are not taken" in " ".join(refused.stderr.split())) == (2, True)
    assert snyper("forget", str(folder), "--plate", "XYZ 98", "--json").stdout == '{"erased": 0}\n'
    assert snyper("forget", str(folder), "--plate", "XYZ?", "--json").stdout == '{"erased": 1}\n'
    nothing = snyper("check", str(tmp_path))
    assert (nothing.returncode, "has no cameras.db" in nothing.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["cameras"]


async def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "cameras"):
        with pytest.raises(OSError, match=r"no cameras can be kept in .*file.* name another folder"):
            async with opened(folder):
                pass
        assert not CameraKeys(file / "cameras" / "keys.toml").has_keys


@pytest.mark.slow
@pytest.mark.parametrize("is_sqlite", [True, False])
async def test_cameras_are_removed(tmp_path: Path, postgresql: Cluster, is_sqlite: bool) -> None:
    """Those that have records only where that is said."""
    folder = tmp_path / "cameras"
    url = None if is_sqlite else postgresql.new_database()
    options = [str(folder)] if url is None else [str(folder), "--database", url]
    async with opened(folder, url) as cameras:
        for name in ("typo-1", "typo-2", "typing", "gate"):
            await cameras.register(registration_of({**NAMES, "camera_id": name}))
            health = {"camera_id": name, "component": "disk", "status": "ok", "message": ""}
            await cameras.health(health_of({**NAMES, **health}))
        await cameras.change_settings("typo-1", CameraSettings(interval_s=5))
    await keep_some(folder, url)

    def remove(*arguments: str) -> subprocess.CompletedProcess[str]:
        return snyper("remove", *options, *arguments)

    has_records = NAMES["camera_id"]
    for names, reason in (
        (("gate", "nobody"), "there is no camera nobody: nothing is removed"),
        (("gate", has_records), f"{has_records} has records: nothing is removed"),
    ):
        refused = await asyncio.to_thread(remove, *names)
        assert (refused.returncode, reason in " ".join(refused.stderr.split())) == (1, True), refused.stderr
    removed = await asyncio.to_thread(remove, "typo-*", "gate", "--json")
    assert json.loads(removed.stdout) == {"removed": ["gate", "typo-1", "typo-2"]}
    async with opened(folder, url) as cameras:
        assert {one.camera_id for one in await cameras.cameras()} == {has_records, "typing"}
        statistics = await cameras.statistics()
        assert (statistics.unique_cameras, statistics.total_health_checks) == (2, 4)
        assert cameras.settings_of("typo-1") == CameraSettings()
        await cameras.register(registration_of({**NAMES, "camera_id": "gate"}))
        assert (await cameras.statistics()).unique_cameras == 3
    removed = await asyncio.to_thread(remove, has_records, "--with-records", "--json")
    assert json.loads(removed.stdout) == {"removed": [has_records]}
    assert contents(folder) == {}
    async with opened(folder, url) as cameras:
        assert (await cameras.records(RecordQuery())).total == 0
        rows = [(row.what, row.count) for row in await cameras.log.rows([DELETE], 10)]
    assert rows == [({"cameras": has_records}, 2), ({"cameras": "typo-* gate"}, 0)]


@pytest.mark.slow
def test_records_are_exported_and_that_is_logged(tmp_path: Path) -> None:
    folder = tmp_path / "cameras"
    asyncio.run(keep_some(folder))
    table, archive = tmp_path / "records.csv", tmp_path / "records.zip"
    of_bangkok = ("--from", "2024-12-19T17:00:00", "--until", "2024-12-19 17:00:01", "--zone", "Asia/Bangkok")
    found = snyper("export", str(folder), "--csv", str(table), "--plate", "abc*", *of_bangkok, "--json")
    assert (found.returncode, json.loads(found.stdout)["exported"]) == (0, 1), found.stderr
    [row] = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"), newline=""))
    assert row["ocr_results"] == "ABC 1234"
    assert snyper("export", str(folder), "--zip", str(archive)).returncode == 0
    with zipfile.ZipFile(archive) as written:
        assert written.testzip() is None
        assert len(written.namelist()) == 4
    assert not others_access(table)
    assert not others_access(archive)
    for wrong in (
        (),
        ("--csv", "a", "--zip", "b"),
        ("--csv", "a", "--from", "soon"),
        ("--csv", "a", *of_bangkok[:2], "--zone", "Mars"),
        ("--csv", "a", "--zone", "Mars"),
    ):
        assert snyper("export", str(folder), *wrong).returncode == 2
    nowhere = snyper("export", str(folder), "--zip", str(tmp_path / "nowhere" / "a.zip"))
    assert nowhere.returncode == 1
    assert "Traceback" not in nowhere.stderr
    snyper("forget", str(folder), "--plate", "XYZ99")
    log = [json.loads(line) for line in snyper("log", str(folder), "--json").stdout.splitlines()]
    assert [(one["kind"], one["who"], one["count"]) for one in log] == [
        ("delete", "snyper cameras", 1),
        ("export", "snyper cameras", 0),
        ("export", "snyper cameras", 2),
        ("export", "snyper cameras", 1),
    ]
    shown = snyper("log", str(folder)).stdout
    assert "plate=ABC*" in " ".join(shown.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cameras", "records.csv", "records.zip"]


async def test_a_damaged_database_is_told_in_a_line(tmp_path: Path) -> None:
    """Also where what is damaged is met only once it is open."""
    folder = tmp_path / "cameras"
    await keep_some(folder)
    database = sqlite3.connect(folder / "cameras.db")
    database.execute("ALTER TABLE cameras RENAME COLUMN skew_s TO damaged")
    database.close()
    refused = snyper("check", str(folder))
    said = " ".join(refused.stderr.split())
    assert (refused.returncode, "Traceback" in said) == (1, False)
    assert "the database of the cameras, cannot be used (no such column: cameras.skew_s)" in said


async def test_a_folder_that_is_served_is_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path / "cameras"):
        found = await asyncio.to_thread(snyper, "check", str(tmp_path / "cameras"))
    assert found.returncode == 1
    assert "end it, or name another folder" in found.stderr


@pytest.mark.slow
async def test_a_forgotten_plate_is_in_no_file_of_postgresql(tmp_path: Path, postgresql: Cluster) -> None:
    """But for its write-ahead log; what is freed alone is there until its place is used again."""
    url, plate = postgresql.new_database(), "QZ98W7"
    async with opened(tmp_path / "cameras", url, sweeps=False) as cameras:
        for number in range(20):
            read = [plate] if number % 3 == 0 or number > 15 else ["AB 1"]
            await cameras.detect(detection_of({**NAMES, "detection_id": str(number), "ocr_results": read}))
        await cameras.log.write(Entry(SEARCH, "anna", {}, plate))
    await asyncio.to_thread(postgresql.execute, url, "ANALYZE")  # as the server does now and then

    def files_with_it() -> list[Path]:
        postgresql.execute(url, "CHECKPOINT")
        files = [path for path in (postgresql.folder / "data" / "base").rglob("*") if path.is_file()]
        return [path for path in files if plate.encode() in path.read_bytes()]

    assert await asyncio.to_thread(files_with_it)
    arguments = ("forget", str(tmp_path / "cameras"), "--plate", plate, "--database", url)
    found = await asyncio.to_thread(snyper, *arguments)
    assert (found.returncode, found.stderr) == (0, "10 records erased\n")
    assert await asyncio.to_thread(files_with_it) == []
    async with opened(tmp_path / "cameras", url) as cameras:
        assert (await cameras.records(RecordQuery())).total == 10


@pytest.mark.slow
@pytest.mark.long
async def test_a_database_of_another_folder_is_refused(tmp_path: Path, postgresql: Cluster) -> None:
    """Whatever is asked, also of a copy of a folder, while the right gateway runs."""
    urls = [postgresql.new_database() for _ in range(2)]
    for name, url in zip(("one", "other"), urls, strict=True):
        await keep_some(tmp_path / name, url)
    await asyncio.to_thread(shutil.copytree, tmp_path / "one", tmp_path / "copy")
    await keep_some(tmp_path / "plain")
    before = contents(tmp_path)
    wrong = (
        ("copy", ("--database", urls[1]), "the database has the cameras of another folder: name that"),
        ("plain", ("--database", urls[1]), "are in its cameras.db: leave --database out"),
        ("copy", (), "are in PostgreSQL: name it with --database"),
    )
    commands = (
        ("check",),
        ("check", "--repair", "--force"),
        ("forget", "--plate", "ABC1234"),
        ("export", "--csv", str(tmp_path / "records.csv")),
        ("log",),
    )
    async with opened(tmp_path / "other", urls[1]) as cameras:
        for folder, database, reason in wrong:
            for command, *options in at_length(commands, commands[1:2]):
                arguments = (command, str(tmp_path / folder), *options, *database)
                found = await asyncio.to_thread(snyper, *arguments)
                assert found.returncode == 1
                assert reason in " ".join(found.stderr.split()), arguments
        assert contents(tmp_path) == before
        assert (await cameras.check()).missing == []
        assert (await cameras.records(RecordQuery())).total == 2
