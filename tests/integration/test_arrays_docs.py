"""docs/arrays.md does what it says: its commands and its code, with a gateway as it starts one."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from snyper.arrays.packet_format import pack
from snyper.gateway.limits import ARRAY_LIMITS
from tests.integration.arrays_harness import Arrays, saved
from tests.integration.calls_harness import HubProcess
from tests.integration.harness import ROOT, wait_until

PAGE = (ROOT / "docs" / "arrays.md").read_text(encoding="utf-8")
SHOWN_URLS = ("http://127.0.0.1:8000", "http://localhost:8000")


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def code_under(heading: str) -> list[str]:
    """Return the Python that stands under a heading."""
    return re.findall(r"^```python\n(.*?)^```$", section(heading), re.MULTILINE | re.DOTALL)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Arrays]:
    running = Arrays(tmp_path, "--demo-signal")
    yield running
    assert running.end() == 0


def at(gateway: Arrays, text: str) -> str:
    """Return what stands on the page as it is with this gateway."""
    for url in SHOWN_URLS:
        text = text.replace(url, gateway.url)
    return text


def run(gateway: Arrays, directory: Path, *command: str) -> str:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        command,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PATH": path, "SNYPER_GATEWAY": gateway.url},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_five_minutes(gateway: Arrays, tmp_path: Path) -> None:
    start, talk = re.findall(r"^```\n(.*?)^```$", section("In five minutes"), re.MULTILINE | re.DOTALL)
    log = tmp_path / "gateway.log"
    wait_until(lambda: "Ctrl-C" in log.read_text(), "it says where it is")
    said = log.read_text().splitlines()[0]
    to_hub = re.compile(r" to the hub at [^;]*")
    assert to_hub.sub("", said) == at(gateway, start.splitlines()[1])
    steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", talk, re.MULTILINE)
    assert len(steps) == 8
    for command, expected in steps:
        assert run(gateway, tmp_path, "sh", "-c", at(gateway, command)).rstrip("\n") == expected.rstrip("\n")
    [program] = code_under("In five minutes")
    command = [sys.executable, "-u", "-c", at(gateway, program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        uploaded, listed, downloaded, *received = (process.stdout.readline() for _ in range(6))
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate(timeout=30)[1]
    assert "'index': 2" in uploaded
    assert "'count': 2" in listed
    assert downloaded == "Downloaded shape: (2, 3)\n"
    assert all(re.fullmatch(r"Received: 100 points, mean=-?\d\.\d{3}\n", line) for line in received)


def test_an_existing_client(gateway: Arrays, tmp_path: Path) -> None:
    [program] = code_under("With the clients that exist")
    program = at(gateway, program) + "\nassert (rebuilt == array).all()\nprint(index)"
    assert run(gateway, tmp_path, sys.executable, "-c", program) == "0\n"


@pytest.mark.slow
def test_through_a_hub(tmp_path: Path) -> None:
    [program] = code_under("Through a hub")
    start, shell = re.findall(r"^```sh\n(.*?)^```$", section("Through a hub"), re.MULTILINE | re.DOTALL)
    assert start.splitlines()[1] == (
        "snyper gateway --hub 192.168.1.2:8081 --name store --arrays arrays --demo-signal"
    )
    with HubProcess() as hub:
        gateway = Arrays(tmp_path, "--hub", hub.address, "--name", "store", "--demo-signal")

        def here(text: str) -> str:
            return text.replace("192.168.1.2:8081", hub.address)

        assert run(gateway, tmp_path, sys.executable, "-c", here(program)) == "[0. 3.] 1\n"
        (tmp_path / "probe.npy").write_bytes(saved(numpy.arange(6.0).reshape(2, 3)))
        shell = f"export SNYPER_HUB={hub.address}\n{here(shell)}"
        said = run(gateway, tmp_path, "sh", "-e", "-c", shell)
        assert said == "1  float64  2 × 3  probe.npy\n[0. 1. 2.]\n"
        assert "store" in (tmp_path / "services.txt").read_text()
        assert gateway.end() == 0


def test_who_listens(gateway: Arrays, tmp_path: Path) -> None:
    [listens] = code_under("A live signal")[:1]
    program = at(gateway, listens).replace("ws://localhost:8000", gateway.url.replace("http", "ws"))
    command = [sys.executable, "-u", "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert said == [f"{index / 10} 100 True\n" for index in range(3)]


def test_packets_in_bytes() -> None:
    x, y = numpy.arange(3, dtype="<f4"), numpy.array([1, 2, 3], ">i2")
    packed = pack({"shape": [3], "dtype": str(y.dtype)}, x, y)
    there: dict[str, Any] = {"message": packed}
    exec(code_under("A live signal")[1] + "\nhead, x, y = unpack(message)", there)
    assert (there["x"].tolist(), there["y"].tolist()) == ([0, 1, 2], [1, 2, 3])


def test_the_limits() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| ([\d,]+) \|", section("Limits"), re.MULTILINE)
    assert {name: int(number.replace(",", "")) for name, number in rows} == {
        name: limit.default for name, limit in ARRAY_LIMITS.items()
    }
