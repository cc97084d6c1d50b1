"""docs/offload.md does what it says: its code, against the services of examples/offload and its own."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from snyper.gateway.limits import LIMITS
from tests.integration.dashboard_process import Process
from tests.integration.harness import ROOT, free_port, wait_until

PAGE = (ROOT / "docs" / "offload.md").read_text(encoding="utf-8")


def code_under(heading: str) -> list[str]:
    """Return the Python that stands under a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def serving(directory: Path, services: Path | str) -> Process:
    return Process(directory, "serve", str(services), "--listen", "127.0.0.1:0", "--workers", "1")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process = serving(tmp_path_factory.mktemp("docs"), ROOT / "examples" / "offload" / "services.py")
    yield process.said["urls"][0]
    assert process.end() == 0


def test_the_clients(url: str, tmp_path: Path) -> None:
    """Those that build on one before it in one program, as a reader has them."""
    (tmp_path / "sensor_data.csv").write_text("temperature,humidity\n25.3,60.2\n24.7,61.0\n")
    httpx_file, httpx_data, with_requests, later = code_under("With the clients that exist")
    shown = "\nprint(repr(result))\n"
    found = {
        name: run("".join(part.replace("http://192.168.6.1:8000", url) + shown for part in parts), tmp_path)
        for name, parts in {
            "httpx": [httpx_file, httpx_data],
            "requests": [with_requests + "\nprint(anomalies, prediction)"],
            "later": [later + "\nresult = result.json()"],
        }.items()
    }
    summary, climate = found["httpx"]
    assert "'rows': 2" in summary
    assert "dew_point" in climate
    assert "'value': 55.0" in found["requests"][0]
    assert "setosa" in found["requests"][0]
    assert found["requests"][1] == summary == found["later"][-1]


def run(program: str, directory: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_five_minutes(tmp_path: Path) -> None:
    (tmp_path / "services.py").write_text(code_under("In five minutes")[0])
    process = serving(tmp_path, "services.py")
    url = process.said["urls"][0]
    talks = re.findall(r"^\$ (curl .*)\n(.*)", PAGE, re.MULTILINE)
    assert len(talks) == 2
    for command, expected in talks:
        words = command.replace("http://127.0.0.1:8000", url)
        done = subprocess.run(words, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.stdout == expected
    assert process.end() == 0
    said = (tmp_path / "serve.log").read_text().splitlines()
    shown = re.search(r"^\$ snyper serve .*?\n((?:serve: .*\n)+)", PAGE, re.MULTILINE)
    assert shown is not None
    assert [line.replace(url, "http://127.0.0.1:8000") for line in said[:3]] == shown[1].splitlines()


def test_the_application_for_other_servers(tmp_path: Path) -> None:
    services, application = code_under("In five minutes")
    (tmp_path / "services.py").write_text(services)
    (tmp_path / "app.py").write_text(application)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--log-level", "error"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as process:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: can_connect(port), "it listens")
        assert httpx.get(f"{url}/health").json()["status"] == "ok"
        assert httpx.post(f"{url}/api/analyze/sensors", json={"readings": [1, 99]}).json() == {
            "anomalies": [1, 99]
        }
        process.terminate()
    assert process.returncode in (0, -signal.SIGTERM)


def can_connect(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_the_limits() -> None:
    section = PAGE.split("\n## Limits\n")[1]
    rows: list[Any] = re.findall(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \| ([\d, ]+) \|", section, re.MULTILINE)
    shown = {
        name: int(number.replace(",", ""))
        for names, numbers in rows
        for name, number in zip(re.findall("`(.*?)`", names), numbers.split(", "), strict=True)
    }
    assert len(shown) > 10
    assert {name: LIMITS[name].default for name in shown} == shown
    assert set(LIMITS) - set(shown) == {"handshake_ms"}
