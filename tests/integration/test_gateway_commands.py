"""What `snyper serve` says where it cannot serve: a line, and what to do."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from snyper.system.temporary import temporary_folder
from tests.integration.dashboard_process import Process
from tests.integration.gateway_harness import SERVICES
from tests.integration.harness import (
    DEADLINE_S,
    left_in,
    processes_with,
    run_snyper,
    snyper,
    until,
)

HERE = "127.0.0.1:0"


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "said"),
    [
        (
            ("--listen", HERE, "--listen", "0.0.0.0:0"),
            {},
            2,
            "a server on 0.0.0.0:0 can be reached by others",
        ),
        (("--open",), {"SNYPER_SERVICE_KEY": "x"}, 2, "--open lets everybody in, and there is a key"),
        (("--key-file", "no file"), {}, 2, "--key-file: no file cannot be read"),
        (("--certificate", "services.py"), {}, 1, "services.py cannot be used for HTTPS"),
        (("--limit", "no=1"), {}, 2, "--limit: "),
        (("--listen", "TAKEN"), {}, 1, "cannot listen on TAKEN (.*): is another server running?"),
        (("--state", "services.py/state"), {}, 1, "services.py"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_what_is_wrong(
    tmp_path: Path, arguments: tuple[str, ...], environment: dict[str, str], status: int, said: str
) -> None:
    services = tmp_path / "services.py"
    services.write_text(SERVICES)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        words = [
            word.replace("TAKEN", f"127.0.0.1:{port}").replace("services.py", str(services))
            for word in arguments
        ]
        pattern = said.replace("TAKEN", f"127.0.0.1:{port}")
        if "--listen" not in arguments:
            words += ["--listen", HERE]
        environment = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), **environment}
        found, out, err = await run_snyper("serve", str(services), *words, **environment)
    assert (found, out) == (status, ""), err
    assert re.search(pattern, err), err
    assert "Traceback" not in err
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_ends_while_the_services_load(tmp_path: Path, number: signal.Signals) -> None:
    services = tmp_path / "slow_services.py"
    services.write_text(
        f"import time, pathlib\npathlib.Path({str(tmp_path / 'begun')!r}).touch()\ntime.sleep(60)\n"
    )
    environment = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    async with snyper("serve", str(services), "--listen", HERE, **environment) as command:
        await until((tmp_path / "begun").exists, "it loads them")
        assert await command.interrupt(number) == 0
    assert command.err.splitlines()[-1:] == ["stopped"]
    assert left_in(tmp_path) == []
    assert processes_with(str(services)) == []


def test_what_a_killed_server_left_goes_as_the_next_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "services.py").write_text(SERVICES)
    place = tmp_path / "tmp"
    place.mkdir()

    def begin(*arguments: str) -> tuple[Process, list[Path]]:
        process = Process(tmp_path, *arguments, "--listen", HERE, TMPDIR=str(place))
        return process, [path for path in place.iterdir() if path.name.startswith("snyper-")]

    serving, first = begin("serve", "services.py", "--workers", "1")
    gateway, both = begin("gateway")
    assert (len(first), len(both), set(first) < set(both)) == (1, 2, True)  # what is used stays
    serving.end(signal.SIGKILL)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with temporary_folder() as own:
        assert set(place.glob("snyper-*")) == {own.parent, *both} - set(first)
        gateway.end(signal.SIGKILL)
    with temporary_folder() as own:
        assert set(place.glob("snyper-*")) == {own.parent}
    assert not list(place.glob("snyper-*"))


def test_what_is_no_temporary_folder_of_ours_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    notes, elsewhere = tmp_path / "snyper-notes", tmp_path / "elsewhere"
    for folder in (notes, elsewhere):
        folder.mkdir()
        (folder / "kept").write_text("kept")
    others = tmp_path / "snyper-others"
    with temporary_folder() as own:
        shutil.copytree(own.parent, others)
        shutil.copytree(own.parent, elsewhere, dirs_exist_ok=True)
    (tmp_path / "snyper-link").symlink_to(elsewhere)
    (tmp_path / "snyper-file").touch()
    monkeypatch.setattr(os, "getuid", lambda: others.stat().st_uid + 1)
    with temporary_folder():
        assert others.exists()
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_folder():
        assert not others.exists()
        assert (notes / "kept").exists()
        assert (elsewhere / "files").exists()
        assert (tmp_path / "snyper-link").is_symlink()
        assert (tmp_path / "snyper-file").exists()


@pytest.mark.parametrize(
    "origin", ["lab.example", "https://lab.example/page", "https://", "https://ทดสอบ.example"]
)
async def test_what_is_no_origin(tmp_path: Path, origin: str) -> None:
    status, _, said = await run_snyper("gateway", "--cameras", str(tmp_path / "cameras"), "--origin", origin)
    assert (status, "such as https://lab.example" in " ".join(said.split())) == (2, True)


@pytest.mark.skipif(os.name != "posix", reason="a file that is read for long is a FIFO")
def test_ctrl_c_before_anything_is_served(tmp_path: Path) -> None:
    certificate = tmp_path / "certificate"
    os.mkfifo(certificate)
    command = ("gateway", "--cameras", "cameras", "--listen", HERE, "--certificate", str(certificate))
    with subprocess.Popen(
        [sys.executable, "-m", "snyper.cli", *command], cwd=tmp_path, stderr=subprocess.PIPE
    ) as process:
        writer = os.open(certificate, os.O_WRONLY)  # waits until it reads
        process.send_signal(signal.SIGINT)
        os.close(writer)  # or who was not reading yet would never end
        try:
            _, said = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert (process.returncode, said) == (130, b"stopped\n")
