"""Files that a person names: whatever they are and are called, they stay that, whole or as before."""

import asyncio
import csv
import json
import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from snyper.boards.usb_board import UsbBoard
from snyper.cli.trace import save_png
from snyper.client import Trace
from snyper.history.reader import History
from snyper.hub.journal import Journal
from snyper.system.files import writing
from snyper.system.unfinished import part_folder
from tests.integration.harness import (
    DEADLINE_S,
    HOST,
    ROOT,
    linux_only,
    needs_micropython,
    run_snyper,
    snyper,
    until,
)

pytestmark = linux_only

FAILED, USAGE = 1, 2
ODD_NAMES = [
    *("a?b", "a#b", "a%20b", "a&mode=memory", "file:a", ":memory:", "a\nb", " a ", "'a\"", "-a", "zoë"),
    os.fsdecode(b"caf\xe9"),
]
TRACE = Trace(20_000, 400, 50_000, [-50, 0, 50], [100, 30_000, 50_000])


def begun(code: str, path: Path) -> subprocess.Popen[str]:
    """Have a process begin to write `path`, by a context `part` that it then is in."""
    wait = "with part:\n print('begun', flush=True)\n sys.stdin.read()"
    program = f"import sys\nfrom pathlib import Path\n{code}\n{wait}"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def parts_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name.endswith(".part")}


@pytest.mark.parametrize(
    "code",
    [
        "from snyper.system.files import writing; part = writing(Path(sys.argv[1]))",
        "from snyper.system.unfinished import part_folder; part = part_folder(Path(sys.argv[1]))",
    ],
)
def test_what_a_killed_process_was_writing_goes_with_the_next(tmp_path: Path, code: str) -> None:
    strangers = {".snyper-0a1b2c3.part", ".snyper-0a1b2c3d.part.part", "out.csv.part"}
    for name in strangers:
        (tmp_path / name).touch()
    (tmp_path / ".snyper-01234567.part").symlink_to(tmp_path / "out.csv.part")
    strangers.add(".snyper-01234567.part")
    killed, running = begun(code, tmp_path / "a"), begun(code, tmp_path / "b")
    assert len(parts_in(tmp_path)) == len(strangers) + 2
    killed.kill()
    killed.communicate()
    with writing(tmp_path / "a") as file:
        file.write(b"whole")
        assert len(parts_in(tmp_path)) == len(strangers) + 2
    assert len(parts_in(tmp_path)) == len(strangers) + 1
    running.communicate()
    assert running.returncode == 0
    assert parts_in(tmp_path) == strangers
    assert (tmp_path / "a").read_bytes() == b"whole"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal.sqlite3"
    write_journal(path)
    return path


def write_journal(path: Path) -> None:
    journal = Journal(path)
    journal.record(journal.log_id, 1, "hit", "target_1", {"reaction_ms": 400})
    journal.close()


def export(journal: Path, output: str, redirection: str = "") -> subprocess.CompletedProcess[str]:
    """`snyper export --json`, run by a shell in the journal's folder."""
    command = f'exec "$0" -m snyper.cli export --json --journal {journal} -o {output} {redirection}'
    return subprocess.run(
        ["sh", "-c", command, sys.executable],
        cwd=journal.parent,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'host'}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60.0,
    )


def test_what_is_there_is_replaced_whole_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with writing(path) as file:
        file.write(b"first")
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "plain").unlink()
    path.chmod(0o640)
    before = path.stat().st_ino
    with pytest.raises(RuntimeError), writing(path) as file:  # noqa: PT012
        file.write(b"half")
        raise RuntimeError
    assert (path.read_bytes(), path.stat().st_ino) == (b"first", before)
    with writing(path) as file:
        file.write(b"2nd")
        file.flush()
        assert path.read_bytes() == b"first"
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"2nd", 0o640)
    assert path.stat().st_ino != before
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_links_are_followed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "link").symlink_to("folder/file")  # which is not there yet
    (tmp_path / "link_to_link").symlink_to("link")
    for name in ("link", "link_to_link"):
        with writing(tmp_path / name) as file:
            file.write(name.encode())
        assert (folder / "file").read_bytes() == name.encode()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "link_to_link").is_symlink()
    assert [entry.name for entry in folder.iterdir()] == ["file"]


def test_both_names_of_a_file_stay_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"something longer")
    (tmp_path / "other").hardlink_to(path)
    with writing(path) as file:
        file.write(b"new")
    assert (tmp_path / "other").read_bytes() == b"new"


def test_a_fifo_is_written(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    with writing(path) as file:
        file.write(b"through")
    reader.join(DEADLINE_S)
    assert read == [b"through"]
    assert path.is_fifo()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_what_may_not_be_written_is_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"kept")
    path.chmod(0o444)
    with pytest.raises(PermissionError), writing(path):
        pass
    path.chmod(0o644)
    tmp_path.chmod(0o555)  # it may be, but no other beside it
    with writing(path) as file:
        file.write(b"new")
    tmp_path.chmod(0o755)
    assert path.read_bytes() == b"new"


def test_what_cannot_be_written_is_named_as_the_person_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as missing, writing(Path("nodir/x.csv")):
        pass
    assert str(missing.value) == "[Errno 2] No such file or directory: 'nodir/x.csv'"
    with (
        pytest.raises(OSError, match=r"No space left on device: '/dev/full'"),
        writing(Path("/dev/full")) as file,
    ):
        file.write(bytes(1 << 20))
    with pytest.raises(FileNotFoundError) as folder, part_folder(Path("nodir/x.zarr")):
        pass
    assert folder.value.filename == "nodir/x.zarr"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(OSError, match=r"File too large: 'x\.npy'"), writing(Path("x.npy")) as file:
            file.write(bytes(2_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_picture_too(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "link").symlink_to("picture")
    save_png(TRACE, tmp_path / "link", "a")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "picture").read_bytes().startswith(b"\x89PNG")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    save_png(TRACE, fifo, "a")
    reader.join(DEADLINE_S)
    assert read[0].startswith(b"\x89PNG")


@pytest.mark.parametrize("link", [None, os.link, os.symlink])
def test_a_journal_is_not_exported_over_itself(
    link: Callable[[Path, Path], None] | None, journal: Path
) -> None:
    before = journal.read_bytes()
    output = journal
    if link is not None:
        output = journal.with_name("other")
        link(journal, output)
    done = export(journal, str(output))
    assert done.returncode == USAGE
    assert done.stderr == f"snyper: {output} is of the journal itself: name another file with --output\n"
    assert journal.read_bytes() == before
    assert export(journal, f"{journal}-lock").returncode == USAGE


def test_devices(journal: Path) -> None:
    node = Path("/dev/null").stat().st_rdev
    assert export(journal, "/dev/null").returncode == 0
    assert Path("/dev/null").stat().st_rdev == node
    done = export(journal, "/dev/full")
    assert (done.returncode, done.stderr) == (
        FAILED,
        "snyper: /dev/full cannot be written: No space left on device\n",
    )
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_stdout_by_its_name(journal: Path) -> None:
    assert json.loads(export(journal, "/dev/stdout").stdout)["event"] == "hit"
    assert export(journal, "/dev/stdout", "> /dev/full").returncode == FAILED
    file = journal.with_name("file")
    file.write_text("before\n")
    assert export(journal, "/dev/stdout", ">> file").returncode == 0
    [before, row] = file.read_text().splitlines()
    assert (before, json.loads(row)["event"]) == ("before", "hit")
    assert export(journal, "/dev/fd/3", "3> other").returncode == 0
    assert json.loads(journal.with_name("other").read_text())["event"] == "hit"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_journal_of_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (Path(name), tmp_path / name, Path(f"/{tmp_path}") / name):
        write_journal(path)
        with History(path) as history:
            assert [event.target_id for event in history.events()] == ["target_1"]
    left = {entry.name for entry in tmp_path.iterdir()}
    assert left <= {name, *(f"{name}-{kind}" for kind in ("lock", "wal", "shm"))}
    assert name in left


@pytest.mark.slow
async def test_a_command_for_a_journal_of_any_name(tmp_path: Path) -> None:
    for number, name in enumerate(ODD_NAMES[:3] + ODD_NAMES[-2:]):
        path = str(tmp_path / str(number) / name)
        async with snyper("hub", "--listen", f"{HOST}:0", "--journal", path, "--json") as hub:
            await until(lambda now=hub: now.out, "the hub should listen")  # type: ignore[misc]
            assert await hub.interrupt() == 0
        for command in ("history", "stats --json", f"export --json -o {path}.json"):
            status, out, err = await run_snyper(*command.split(), "--journal", path)
            assert (status, "Traceback" in out + err) == (0, False), err
        assert f"{name}.json" in os.listdir(tmp_path / str(number))  # noqa: PTH208


async def test_a_name_that_is_no_text_is_said(tmp_path: Path) -> None:
    path = tmp_path / ODD_NAMES[-1]
    path.write_text("no journal")
    for command in ("history", "hub --listen 127.0.0.1:0"):
        status, out, err = await run_snyper(*command.split(), "--journal", str(path))
        assert (status, out) == (FAILED, "")
        assert "caf\\xe9" in err
    fleet = tmp_path / os.fsdecode(b"fl\xe9et.toml")
    fleet.write_text("[")
    status, _, err = await run_snyper("deploy", "--all", "--fleet", str(fleet))
    assert (status, "Traceback" in err) == (2, False)


@needs_micropython
@pytest.mark.parametrize("name", [*ODD_NAMES[:3], ODD_NAMES[-1]])
async def test_a_board_in_a_folder_of_any_name(name: str, tmp_path: Path) -> None:
    flash = tmp_path / name
    flash.mkdir()
    (flash / "main.py").write_text("open('said', 'w').close()\nprint('it runs')\n")
    with UsbBoard(flash) as board:
        await until(lambda: "it runs" in board.log, "the board should run")
    assert (flash / "said").exists()


@pytest.fixture
def players(tmp_path: Path) -> Path:
    path = tmp_path / "players.sqlite3"
    journal = Journal(path)
    names = ["Zoë", "靶", "=1+1", "+1", "-1", "@a", "\t=1", "\n=1"]
    for number, name in enumerate(names, 1):
        journal.record(journal.log_id, number, "miss", "target_1", {"reason": name})
    journal.close()
    return path


async def test_a_table_opens_right_in_a_spreadsheet(players: Path, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    for environment in ({}, {"LC_ALL": "C", "PYTHONIOENCODING": "latin-1"}):
        asked = ("export", "--csv", "--hits", "--journal", str(players))
        assert (await run_snyper(*asked, "-o", str(file), **environment))[0] == 0
        data = file.read_bytes()
        assert data.startswith(b"\xef\xbb\xbfunix_ms,")
        assert data.count(b"\r\n") == 9
        rows = list(csv.DictReader(data.decode("utf-8-sig").splitlines(keepends=True)))
        assert [row["reason"] for row in rows] == [
            *("Zoë", "靶", "'=1+1", "'+1", "'-1", "'@a", "'\t=1", "' =1"),
        ]
        piped = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "snyper.cli", *asked),
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            cwd=ROOT,
        )
        assert (await piped.communicate())[0] == data
