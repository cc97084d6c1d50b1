"""A process that keeps detections is killed, its database too, its disk is full: nothing acknowledged is
lost.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from snyper.cameras.intake import detection_of
from snyper.cameras.pictures import PictureFolder
from snyper.cameras.records import Detection, Overloaded, Record, RecordQuery
from snyper.cameras.service import Cameras, opened
from snyper.cameras.writer import Limits
from snyper.shared.runtime import end_task
from tests.integration.camera_bodies import NAMES, jpeg
from tests.integration.camera_writer import body
from tests.integration.cameras_harness import DETECTION, CameraGateway
from tests.integration.crashing_disk import STRIDE
from tests.integration.harness import DEADLINE_S, ROOT, until
from tools.postgresql import Cluster

_SOCKET = ".s.PGSQL.5432"


async def all_records(cameras: Cameras) -> AsyncIterator[Record]:
    page = await cameras.records(RecordQuery(limit=1_000))
    while True:
        for record in page.records:
            yield record
        if page.next_cursor is None:
            return
        page = await cameras.records(RecordQuery(limit=1_000, before=page.next_cursor))


def kill_in_the_middle(command: list[str]) -> list[str]:
    """Kill a writer that has kept a hundred, and return what it said it has kept."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
        assert writer.stdout is not None
        kept = [writer.stdout.readline().strip() for _ in range(100)]
        writer.kill()
        return kept + [line.strip() for line in writer.stdout if line.endswith("\n")]


async def test_a_killed_process_has_kept_what_it_acknowledged(tmp_path: Path, database: str | None) -> None:
    folder = tmp_path / "cameras"
    command = [
        sys.executable,
        "-m",
        "tests.integration.camera_writer",
        str(folder),
        *filter(None, [database]),
    ]
    acknowledged: list[str] = []
    for _ in range(2):
        acknowledged += await asyncio.to_thread(kill_in_the_middle, command)
    async with opened(folder, database) as cameras:
        assert list((folder / "new").iterdir()) == []
        kept = {record.detection_id: record async for record in all_records(cameras)}
        assert set(acknowledged) - set(kept) == set()
        for name, record in kept.items():
            assert record.picture is not None
            path = cameras.picture(record.picture.name)
            assert path is not None
            assert path.read_bytes() == jpeg(name)
        for name in kept:
            assert (await cameras.detect(detection_of(body(name)))).is_known
        statistics = await cameras.statistics()
        page = await cameras.records(RecordQuery())
        assert statistics.total_detections == page.total == len(kept)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc for what is synced")
@pytest.mark.long
def test_the_end_at_every_step(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.integration.camera_crashes", str(tmp_path / "cameras"), "--power"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 30 // STRIDE


def test_names_that_a_killed_process_gave_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that comes again finds its file, which nobody syncs then."""
    now_s = time.time()
    pictures = PictureFolder(tmp_path / "pictures")
    new = pictures.write(jpeg("a"), now_s)
    assert pictures.place(new)
    synced = watch_syncs(monkeypatch)
    again = PictureFolder(tmp_path / "pictures")
    assert not again.place(again.write(jpeg("a"), now_s))
    path = again.path(new.picture.name)
    assert path is not None
    assert {path.parent, path.parent.parent} <= set(synced)


def test_the_folder_of_an_hour_that_was_removed_is_on_the_disk_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check` removes one without pictures, and others may come within the hour."""
    pictures = PictureFolder(tmp_path / "pictures")

    def keep(text: str) -> Path:
        new = pictures.write(jpeg(text), 3_600.0)
        assert pictures.place(new)
        pictures.sync({new.picture.name})
        return pictures.folder / new.picture.name

    first = keep("a")
    first.unlink()
    first.parent.rmdir()
    synced = watch_syncs(monkeypatch)
    keep("b")
    assert synced[1:] == [first.parent, pictures.folder]
    keep("c")
    assert len(synced) == 5, "the folder of all hours has got no other name"


def watch_syncs(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list which what is synced from now on comes into."""
    synced: list[Path] = []
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "fsync", fsync)
    return synced


async def is_taken(cameras: Cameras, detection: Detection) -> bool:
    try:
        await cameras.detect(detection)
    except Overloaded:
        return False
    return True


async def test_with_too_little_of_the_disk_free_no_picture_is_taken(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(4_000_000))
    picture = detection_of({**NAMES, "detection_id": "1", "annotated_image": jpeg("1", 1_000)})
    async with opened(small_disk / "cameras", limits=Limits(keep_free_bytes=9_000_000)) as cameras:
        with pytest.raises(Overloaded, match="disk is full"):
            await cameras.detect(picture)
        await cameras.detect(detection_of({**NAMES, "detection_id": "2"}))
        filler.unlink()
        async with asyncio.timeout(DEADLINE_S):
            while not await is_taken(cameras, picture):
                pass
        assert (await cameras.statistics()).total_detections == 2


async def test_a_full_disk_is_said_and_left_behind(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(8_000_000))
    accepted = 0
    # Without a sweep: so little room is short of what it leaves free.
    async with opened(small_disk / "cameras", limits=Limits(keep_free_bytes=0), sweeps=False) as cameras:

        def sent(number: int) -> dict[str, object]:
            return {**NAMES, "detection_id": str(number), "annotated_image": jpeg(str(number), 200_000)}

        answers = await asyncio.gather(
            *(cameras.detect(detection_of(sent(number))) for number in range(40)), return_exceptions=True
        )
        accepted = sum(not isinstance(answer, BaseException) for answer in answers)
        refused = [answer for answer in answers if isinstance(answer, BaseException)]
        assert {type(answer) for answer in refused} == {Overloaded}
        assert all("send it again" in str(answer) for answer in refused)
        filler.unlink()
        for number in range(40):
            await cameras.detect(detection_of(sent(number)))
        assert (await cameras.statistics()).total_detections == 40
        files = [path for path in (small_disk / "cameras" / "pictures").rglob("*") if path.is_file()]
        assert len(files) == 40
    assert accepted < 40


@pytest.mark.slow
async def test_a_killed_database_is_gone_on_with(tmp_path: Path, postgresql: Cluster) -> None:
    async with opened(tmp_path / "cameras", postgresql.new_database()) as cameras:
        await cameras.detect(detection_of({**NAMES, "detection_id": "1"}))
        first = await cameras.detect(detection_of(NAMES))
        postgresql.kill()
        with pytest.raises(Overloaded):
            await cameras.detect(detection_of({**NAMES, "detection_id": "2"}))
        postgresql.start()
        await cameras.detect(detection_of({**NAMES, "detection_id": "2"}))
        assert (await cameras.detect(detection_of({**NAMES, "detection_id": "1"}))).is_known
        await cameras.detect(detection_of(NAMES))  # known by its body, as before
        page = await cameras.records(RecordQuery())
        assert page.total == 4
        assert [one.possible_double_of for one in page.records] == [first.id, None, None, None]
        postgresql.kill()
        postgresql.start()  # which nobody has noticed
        await cameras.detect(detection_of({**NAMES, "detection_id": "3"}))
        assert (await cameras.records(RecordQuery())).total == 5


class LosesCommits:
    """The socket of a server, in `folder`. While it `is_armed` the next commit is done, its answer lost."""

    def __init__(self, server: Path, folder: Path) -> None:
        self._server, self._folder = server / _SOCKET, folder
        self.is_armed = False
        self._relays = 0

    async def __aenter__(self) -> "LosesCommits":
        self._folder.mkdir()
        self._listener = await asyncio.start_unix_server(self._relay, self._folder / _SOCKET)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        await until(lambda: not self._relays, "all should have gone")

    async def _relay(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self._relays += 1
        server, to_server = await asyncio.open_unix_connection(self._server)
        answering = asyncio.create_task(self._copy(server, to_client))
        while sent := await client.read(65_536):
            is_lost = self.is_armed and b"COMMIT" in sent
            if is_lost:
                await end_task(answering)
            to_server.write(sent)
            if is_lost:
                self.is_armed = False
                await server.read(65_536)
                break
        await end_task(answering)
        to_server.close()
        to_client.close()
        self._relays -= 1

    async def _copy(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        while answer := await server.read(65_536):
            to_client.write(answer)
        to_client.close()


async def test_a_commit_whose_answer_is_lost_costs_nothing(tmp_path: Path, postgresql: Cluster) -> None:
    url = postgresql.new_database()
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        folder = Path(short) / "s"
        async with (
            LosesCommits(postgresql.folder, folder) as between,
            opened(
                tmp_path / "cameras", url.replace(str(postgresql.folder), str(folder)), sweeps=False
            ) as cameras,
        ):
            for number in range(3):
                body = {**NAMES, "detection_id": str(number), "annotated_image": jpeg(str(number))}
                between.is_armed = True
                with pytest.raises(Overloaded):
                    await cameras.detect(detection_of(body))
                assert (await cameras.detect(detection_of(body))).is_known
            records = (await cameras.records(RecordQuery())).records
            assert len(records) == 3
            check = await cameras.check()
            assert (check.files, check.missing, check.orphans) == (3, [], [])


async def test_a_database_belongs_to_one_folder(tmp_path: Path, postgresql: Cluster) -> None:
    """Else one gateway would remove the records of another, and miss its pictures."""
    url = postgresql.new_database()
    async with opened(tmp_path / "one", url) as cameras:
        await cameras.detect(detection_of({**NAMES, "detection_id": "1"}))
        with pytest.raises(OSError, match="the cameras of another folder: name that") as raised:
            async with opened(tmp_path / "other", url):
                pass
    with pytest.raises(OSError, match="another folder"):
        async with opened(tmp_path / "other", url):
            pass
    await asyncio.to_thread((tmp_path / "one").rename, tmp_path / "moved")
    async with opened(tmp_path / "moved", url) as cameras:
        assert (await cameras.records(RecordQuery())).total == 1
    found = re.search(r"write (\d+) into (\S+)$", str(raised.value))
    assert found is not None
    await asyncio.to_thread(Path(found[2]).write_text, found[1])
    async with opened(tmp_path / "other", url) as cameras:
        assert (await cameras.records(RecordQuery())).total == 1
    async with opened(tmp_path / "moved", postgresql.new_database()) as cameras:  # one that is empty
        assert (await cameras.records(RecordQuery())).total == 0


@pytest.mark.slow
async def test_a_database_is_one_gateways_also_of_a_copied_folder(
    tmp_path: Path, postgresql: Cluster
) -> None:
    """Before and after the database is started anew, until the gateway ends."""
    url = postgresql.new_database()
    async with opened(tmp_path / "one", url) as cameras:
        await asyncio.to_thread(shutil.copytree, tmp_path / "one", tmp_path / "copy")
        for number in range(2):
            await cameras.detect(detection_of({**NAMES, "detection_id": str(number)}))
            with pytest.raises(OSError, match="another process has the database open, with a copy"):
                async with opened(tmp_path / "copy", url):
                    pass
            postgresql.kill()
            postgresql.start()
    async with opened(tmp_path / "copy", url) as cameras:
        assert (await cameras.records(RecordQuery())).total == 2


async def test_what_a_database_cannot_take_now_is_sent_again(
    tmp_path: Path, postgresql: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """One that reads only, as a standby does, or has lost a table, refuses nothing for good. That is said
    once, however many come in vain.
    """
    url = postgresql.new_database()
    name = url.partition("/test_")[2].partition("?")[0]
    reads_only = f"ALTER DATABASE test_{name} SET default_transaction_read_only ="
    all_again = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    all_again += " AND pid <> pg_backend_pid()"
    faults = (
        ("ALTER TABLE device_ids RENAME TO away", "ALTER TABLE away RENAME TO device_ids"),
        (f"{reads_only} on", f"{reads_only} off"),
    )
    async with opened(tmp_path / "cameras", url, sweeps=False) as cameras:
        for number, (begin, end) in enumerate(faults):
            some = [detection_of({**NAMES, "detection_id": f"{number} {one}"}) for one in range(3)]
            for statement in (begin, all_again):
                postgresql.execute(url, statement)
            for _ in range(2):
                answers = await asyncio.gather(*(cameras.detect(one) for one in some), return_exceptions=True)
                assert [type(answer) for answer in answers] == [Overloaded] * 3
            for statement in (end, all_again):
                postgresql.execute(url, statement)
            for one in some:
                assert not (await cameras.detect(one)).is_known
    said = [
        record.getMessage().removeprefix("what cameras send cannot be written: ") for record in caplog.records
    ]
    assert [words[:8] for words in said] == ["relation", "cannot e"]


async def test_a_database_that_is_not_fit_is_said_with_what_to_do(
    tmp_path: Path, postgresql: Cluster
) -> None:
    c_locale = ("--locale", "C", "--template", "template0")
    for encoding in ("SQL_ASCII", "LATIN1"):
        url = postgresql.new_database("--encoding", encoding, *c_locale)
        with pytest.raises(OSError, match=f"the encoding {encoding}, .*: make one with CREATE DATABASE"):
            async with opened(tmp_path / encoding, url):
                pass
    url = postgresql.new_database()
    postgresql.execute(url, "CREATE ROLE clerk LOGIN; GRANT CREATE ON SCHEMA public TO clerk")
    with pytest.raises(OSError, match=r"no pg_trgm \(.*\): have its administrator run CREATE EXTENSION"):
        async with opened(tmp_path / "clerk", url.replace("postgres@", "clerk@")):
            pass
    postgresql.execute(url, 'CREATE SCHEMA "its own"; CREATE EXTENSION pg_trgm SCHEMA "its own"')
    begin = r'in the schema "its own", which is not searched: have run '
    with pytest.raises(OSError, match=begin) as refusal:
        async with opened(tmp_path / "clerk", url.replace("postgres@", "clerk@")):
            pass
    postgresql.execute(url, str(refusal.value).partition("have run ")[2])
    async with opened(tmp_path / "clerk", url.replace("postgres@", "clerk@")) as cameras:
        assert (await cameras.detect(detection_of({**NAMES, "ocr_results": ["ABC123"]}))).id


@pytest.mark.slow
def test_a_database_that_is_away_is_said_without_where_it_is(tmp_path: Path, postgresql: Cluster) -> None:
    with CameraGateway(tmp_path, "--database", postgresql.new_database()) as gateway:
        assert gateway.get("/ready").status_code == 200
        assert "database" not in gateway.get("/health").json()
        postgresql.kill()
        try:
            refused = gateway.post("/api/detection", DETECTION)
            assert (refused.status_code, refused.json()["message"]) == (
                503,
                "it could not be stored: send it again",
            )
            ready = gateway.get("/ready")
            assert (ready.status_code, ready.json()["detail"]) == (
                503,
                "the database of the cameras does not answer",
            )
            assert gateway.get("/health").json()["database"] == "does not answer"
            assert str(postgresql.folder) in gateway.said()
        finally:
            postgresql.start()
        assert gateway.get("/ready").status_code == 200
        assert "database" not in gateway.get("/health").json()
        assert gateway.post("/api/detection", DETECTION).status_code == 200
