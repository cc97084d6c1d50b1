"""`snyper send --to`, `push` and `outbox`, and the device's own commands on an older Python."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from snyper.cli.main import app_with
from snyper.device import Delivery, Outbox, retrying, settings
from snyper.device.__main__ import main
from snyper.device.limits import Limits
from tests.integration.device_harness import (
    DEADLINE_S,
    HOST,
    Receiver,
    Scripted,
    Service,
    copied_device,
    existing_server,
    python_3_7,
    scripted_server,
    serving,
    write,
)
from tests.integration.harness import wait_until

ROOT = Path(__file__).resolve().parents[2]
SERVICE = Service()
NOBODY = f"http://{HOST}:9"


@pytest.fixture(scope="module")
def existing() -> Iterator[str]:
    with serving(existing_server(SERVICE)) as port:
        yield f"http://{HOST}:{port}"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    SERVICE.__init__()  # type: ignore[misc]
    monkeypatch.setattr(retrying, "_FIRST_DELAY_S", 0.001)
    monkeypatch.setenv("SNYPER_OUTBOX", str(tmp_path / "outbox"))
    for name in ("SERVICE_SERVER_URL", "CLIENT_SERVER_URL", "SERVICE_MODE", "SNYPER_SERVICE_KEY"):
        monkeypatch.delenv(name, raising=False)


def snyper(*words: str) -> Result:
    return CliRunner().invoke(app_with(["send", "push", "outbox"]), words)


def test_send(existing: str, tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.csv", 7))
    done = snyper("send", path, "--to", existing, "--options", "fast")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"size": 7})
    assert SERVICE.files == [("a.csv", 7, "fast")]
    done = snyper("send", '{"t": 1.5}', "--to", existing, "--options", '{"k": 1}')
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"t": 1.5})
    assert SERVICE.data == [({"t": 1.5}, {"k": 1})]
    made = write(tmp_path / "made.bin", 9)
    SERVICE.result = lambda path, options: str(made)
    done = snyper("send", path, "--to", existing, "--save-to", str(tmp_path))
    assert Path(done.stdout.strip()).read_bytes() == made.read_bytes()


def test_push(existing: str, tmp_path: Path) -> None:
    done = snyper("push", str(write(tmp_path / "a", 1)), "--to", existing)
    assert (done.exit_code, json.loads(done.stdout)["message"]) == (0, "File received")
    done = snyper("push", "[1]", "--to", existing)
    assert (done.exit_code, json.loads(done.stdout)["message"]) == (0, "Data received")


@pytest.mark.parametrize("command", ["send", "push"])
def test_exit_statuses(command: str, existing: str, tmp_path: Path) -> None:
    path = str(write(tmp_path / "a", 1))
    assert snyper(command, path, "--to", NOBODY).exit_code == 3
    assert snyper(command, path, "--to", existing + "/elsewhere").exit_code == 1
    assert snyper(command, "no file, no JSON", "--to", existing).exit_code == 2
    with scripted_server(lambda request: request.answer(500, b'{"detail": "broken"}')) as server:
        done = snyper(command, "1", "--to", server.url)
    assert (done.exit_code, "broken" in done.stderr) == (1, True)


def test_send_to_a_server_takes_one_thing(existing: str) -> None:
    assert snyper("send", "1", "2", "--to", existing).exit_code == 2
    assert snyper("send", "1", "--to", existing, "--options", "text").exit_code == 2
    assert snyper("send", "target_1", "ping", "--timeout", "1000").exit_code == 2


def test_outbox(tmp_path: Path) -> None:
    receiver = Receiver()
    added = snyper("outbox", "add", '{"a": 1}').stdout.strip()
    snyper("outbox", "add", str(write(tmp_path / "a.jpg", 5)))
    assert added in snyper("outbox", "list").stdout
    listed = json.loads(snyper("outbox", "list", "--json").stdout)
    assert [item["filename"] for item in listed["waiting"]] == ["", "a.jpg"]
    done = snyper("outbox", "run", "--once", "--to", NOBODY)
    assert (done.exit_code, "2 waiting" in done.stderr) == (3, True)
    with scripted_server(lambda request: request.answer(400, b'{"detail": "no"}')) as server:
        assert snyper("outbox", "run", "--once", "--to", server.url).exit_code == 1
    assert "no (400)" in snyper("outbox", "list").stdout
    assert snyper("outbox", "discard", added).exit_code == 0
    assert snyper("outbox", "discard", added).exit_code == 1
    assert snyper("outbox", "retry", added).exit_code == 1
    assert snyper("outbox", "retry").exit_code == 0
    with scripted_server(receiver) as server:
        done = snyper("outbox", "run", "--once", "--to", server.url)
    assert (done.exit_code, json.loads(done.stdout)[1:]) == (0, ["a.jpg", "sent"])
    assert "0 waiting, 0 refused" in snyper("outbox", "list").stderr


EVIL = "no\x1b]0;title\x07\x1b[2J\r\nsnyper.device: all is well\n\u202e\u2028!"


@pytest.mark.parametrize("status", [400, 503])
def test_what_a_server_says_does_nothing_to_a_terminal(
    status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(request: Scripted) -> None:
        request.body()
        request.answer(status, json.dumps({"detail": EVIL}).encode())

    with scripted_server(refuse) as server:
        to = ("--to", server.url)
        assert main(["send", str(write(tmp_path / "a", 1)), *to]) == 1
        assert main(["push", "1", *to]) == 1
        assert main(["outbox", "add", "1"]) == 0
        assert main(["outbox", "run", "--once", *to]) != 0
        assert main(["outbox", "list"]) == 0
    said = capsys.readouterr()
    lines = (said.out + said.err).split("\n")
    assert all(line.isprintable() for line in lines), lines
    assert sum("title" in line for line in lines) >= 4
    assert not any(line.startswith("snyper.device: all") for line in lines), lines


def test_what_a_server_says_forges_no_line_of_a_log(caplog: pytest.LogCaptureFixture) -> None:
    outbox, limits = Outbox(), Limits()
    outbox.add_data(1)
    answer = json.dumps({"detail": EVIL}).encode()
    with scripted_server(lambda request: request.answer(503, answer)) as server:
        delivery = Delivery(outbox, server.url)
        thread = threading.Thread(target=delivery.run_here, args=(limits,))
        thread.start()
        wait_until(lambda: bool(caplog.messages), "it should say why all waits")
        limits.stop()
        thread.join(DEADLINE_S)
    assert all(message.isprintable() for message in caplog.messages), caplog.messages


# --- docs/offload.md


def snippets() -> dict[str, str]:
    """The programs of its section, by their names."""
    page = (ROOT / "docs" / "offload.md").read_text(encoding="utf-8")
    [section] = re.findall(r"^## The device\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    return dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("device.py", "{'size': 30}\n{'size': 30}\n{'temperature': 25.3, 'humidity': 60.2}\n[55]\n"),
        ("either.py", "{'bytes': 30, 'options': 'default'}\n"),
        ("logger.py", "2 0 \n"),
        ("on_the_laptop.py", "{'status': 'ok', 'message': 'File received', 'path': '/tmp/x'}\n"),
    ],
)
def test_what_the_page_says_runs(name: str, said: str, existing: str, tmp_path: Path) -> None:
    for data in ("sensor_data.csv", "processed_data.csv"):
        write(tmp_path / data, 30)
    program = re.sub(r"http://192\.168\.6\.\d:800\d", existing, snippets()[name])
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "host"), "SERVICE_SERVER_URL": existing}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.stdout.startswith(said), done.stderr
    assert done.returncode == 0


def test_the_page_names_each_setting() -> None:
    text = (ROOT / "host" / "snyper" / "device" / "settings.py").read_text()
    page = (ROOT / "docs" / "offload.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", page, re.MULTILINE))
    asked = set(re.findall(r'environ\.get\("([A-Z_]+)"\)', text)) - {"XDG_DATA_HOME"}
    assert asked <= set(table)
    assert table["SERVICE_SERVER_URL"] == f"`{settings.service_server_url()}`"
    assert table["CLIENT_SERVER_URL"] == f"`{settings.client_server_url()}`"


# --- Python 3.7


_PROGRAM = """
import asyncio, sys
assert sys.version_info[:2] == (3, 7)
from snyper.device import ClientPush, Delivery, LocalFileAdapter, Outbox, RemoteFileAdapter
assert not [name for name in sys.modules if name.startswith("snyper.") and "device" not in name]
existing, receiver, small, large, box = sys.argv[1:]
remote = RemoteFileAdapter(existing)
assert remote.process(small) == {"size": 7}
assert asyncio.run(remote.process_async(small)) == {"size": 7}
assert remote.process_data([1]) == [1]
assert LocalFileAdapter(lambda path: {"size": path.stat().st_size}).process(small) == {"size": 7}
assert asyncio.run(ClientPush(receiver).push_file(large))["status"] == "ok"
outbox = Outbox(box)
outbox.add_file(small)
outbox.add_data(5)
assert Delivery(outbox, receiver).flush().sent == 2
"""


def test_a_folder_copied_to_python_3_7(existing: str, tmp_path: Path) -> None:
    """As docs/offload.md has it: the folder alone, where there is nothing else of ours."""
    python = python_3_7()
    if python is None:
        pytest.skip("there is no Python 3.7")
    board = copied_device(tmp_path / "board")
    receiver = Receiver()
    with scripted_server(receiver) as server:
        small, large = write(tmp_path / "a.csv", 7), write(tmp_path / "large", 1500_000)
        words = [existing, server.url, str(small), str(large), str(tmp_path / "box")]
        done = subprocess.run(
            [python, "-W", "error", "-c", _PROGRAM, *words],
            cwd=board,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, done.stderr
        listed = subprocess.run(
            [python, "-m", "snyper.device", "push", str(small), "--to", server.url],
            cwd=board,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )
    assert json.loads(listed.stdout)["status"] == "ok", listed.stderr
    assert len(receiver.items) == 4


def test_nothing_in_it_is_newer_than_python_3_7() -> None:
    """By its syntax and by what it imports, where no such Python is at hand."""
    done = subprocess.run(
        [Path(sys.executable).with_name("vermin"), "-t=3.7-", "--no-tips", ROOT / "host/snyper/device"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
