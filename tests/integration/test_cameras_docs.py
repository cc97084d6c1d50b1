"""docs/cameras.md does what it says: its commands and its code, with a gateway as it starts one."""

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from snyper.cameras.grants import SCOPES
from snyper.gateway.limits import CAMERA_LIMITS
from tests.integration.cameras_harness import DETECTION, CameraGateway
from tests.integration.harness import ROOT, wait_until

PAGE = (ROOT / "docs" / "cameras.md").read_text(encoding="utf-8")
SHOWN_URLS = ("http://127.0.0.1:8765", "http://localhost:8765")


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def code_under(heading: str, language: str) -> list[str]:
    """Return the code that stands under a heading."""
    return re.findall(rf"^```{language}\n(.*?)^```$", section(heading), re.MULTILINE | re.DOTALL)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[CameraGateway]:
    with CameraGateway(tmp_path) as running:
        yield running
        assert running.end() == 0


def at(gateway: CameraGateway, text: str) -> str:
    """Return what stands on the page as it is with this gateway."""
    for url in SHOWN_URLS:
        text = text.replace(url, gateway.url)
    return text


def run(directory: Path, *command: str) -> str:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        command,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_five_minutes(gateway: CameraGateway, tmp_path: Path) -> None:
    start, talk = re.findall(r"^```\n(.*?)^```$", section("In five minutes"), re.MULTILINE | re.DOTALL)
    wait_until(lambda: "Ctrl-C" in gateway.said(), "it says where it is")
    assert gateway.said().splitlines()[0] == at(gateway, start.splitlines()[1])
    steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", talk, re.MULTILINE)
    assert len(steps) == 4
    for command, expected in steps:
        shown = re.escape(expected.strip()).replace("…", '[^"]+')
        assert re.fullmatch(shown, run(tmp_path, "sh", "-c", at(gateway, command)).strip()), command


def test_rest(gateway: CameraGateway, tmp_path: Path) -> None:
    commands = code_under("Over REST", "bash")
    assert len(commands) == 7
    said = [run(tmp_path, "bash", "-c", f"set -o pipefail; {at(gateway, one)}") for one in commands]
    assert all(answer.startswith('{"success":true') for answer in said), said
    assert '"ABC1234"' in said[-1]


def test_what_a_key_may_do(tmp_path: Path) -> None:
    [block] = re.findall(r"^```\n(.*?)^```$", section("What a key may do"), re.MULTILINE | re.DOTALL)
    commands = [line.removeprefix("$ ") for line in block.splitlines()]
    (tmp_path / "cameras").mkdir()
    keys = [run(tmp_path, "sh", "-c", command).strip() for command in commands]
    assert keys[2] == ""  # it is in the file
    keys[2] = (tmp_path / "desk.key").read_text().strip()
    rows = re.findall(r"^\| `([a-z]+)` \|", section("What a key may do"), re.MULTILINE)
    assert tuple(rows) == SCOPES
    with CameraGateway(tmp_path) as gateway:
        ways = ("/api/cameras", "/api/records")
        statuses = [
            [gateway.get(path, headers={"authorization": f"Bearer {key}"}).status_code for path in ways]
            for key in keys
        ]
    assert statuses == [[200, 403], [403, 403], [403, 200]]


def test_records_to_take_away(tmp_path: Path) -> None:
    [block] = re.findall(r"^```\n(.*?)^```$", section("Records to take away"), re.MULTILINE | re.DOTALL)
    over_http, offline = block.splitlines()
    with CameraGateway(tmp_path) as gateway:
        gateway.post("/api/detection", {**DETECTION, "timestamp": "2026-12-02T10:00:00Z"})
        run(tmp_path, "sh", "-c", at(gateway, over_http))
        assert gateway.end() == 0
    with zipfile.ZipFile(tmp_path / "records.zip") as archive:
        assert b"ABC1234" in archive.read("records.csv")
        archive.extractall(tmp_path)
        run(tmp_path, "sha256sum", "-c", "MANIFEST.sha256")
    run(tmp_path, "sh", "-c", offline)
    assert "ABC1234" in (tmp_path / "records.csv").read_text(encoding="utf-8-sig")


@pytest.mark.slow
def test_one_program_both_ways(gateway: CameraGateway, tmp_path: Path) -> None:
    [program] = code_under("One program, both ways", "python")
    program = at(gateway, program)
    # As it stands it ends without having waited for what it sent to be on its way.
    end = "\ncommunicator.sio.call('ping', {})\ncommunicator.sio.disconnect()\n"
    said = run(tmp_path, sys.executable, "-c", program + end)
    assert "Using SocketIO for communication\n" in said
    assert said.splitlines()[-1] != "Detection data sent: False"
    wait_until(lambda: gateway.statistics()["total_detections"] == 1, "what it sent is there")
    over_rest = program.replace("if communicator.connect_socketio():", "if False:")
    said = run(tmp_path, sys.executable, "-c", over_rest)
    assert said.splitlines()[-2:] == ["Using REST API for communication", "Detection data sent: True"]
    assert gateway.statistics()["total_detections"] == 2


def test_the_limits() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| ([\d,]+) \|", section("Limits"), re.MULTILINE)
    assert {name: int(number.replace(",", "")) for name, number in rows} == {
        name: limit.default for name, limit in CAMERA_LIMITS.items()
    }
