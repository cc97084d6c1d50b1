"""What docs/offload.md says of pushes: its code, its options, its limits."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from snyper.cli.receive_command import _LIMITS
from snyper.device.serving.limits import DEVICE_LIMITS
from tests.integration.device_harness import DEADLINE_S, copied_device, python_3_7
from tests.integration.harness import free_port, wait_until
from tests.integration.receiver import DEVICE, SNYPER, receiving
from tests.integration.test_gateway_docs import PAGE, can_connect, code_under
from tests.integration.test_inbox_http import until

PUSH = """
import asyncio, sys
from client_push import ClientPush

async def main():
    device = ClientPush(sys.argv[1])
    print(await device.push_file("song.wav"))
    print(await device.push_data({"speak": "hello"}))

asyncio.run(main())
"""


@pytest.mark.parametrize("program", [SNYPER, DEVICE])
def test_the_push_of_the_page(tmp_path: Path, program: str) -> None:
    handlers, _, client = code_under("Push")
    (tmp_path / "client_push.py").write_text(client)
    (tmp_path / "song.wav").write_bytes(b"a song")
    with receiving(tmp_path / "beagle", handlers=handlers, program=program) as receiver:
        path = receiver.into / "song.wav"
        assert pushed(tmp_path, receiver.url) == [
            str({"status": "ok", "message": "File received", "path": str(path)}),
            str({"status": "ok", "message": "Data received"}),
        ]
        assert path.read_bytes() == b"a song"
        assert until(lambda: not httpx.get(receiver.url + "/health").json()["waiting"])
        said, _ = receiver.end(signal.SIGTERM)
        assert {f"song.wav is at {path}", "speak: hello"} <= set(said.splitlines())


def pushed(folder: Path, url: str) -> list[str]:
    """Push as the page does, with its client in `folder`; return what it prints."""
    command = [sys.executable, "-c", PUSH, url]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_program_of_the_page(tmp_path: Path, number: signal.Signals) -> None:
    """On a device that has nothing else of ours."""
    _, program, client = code_under("Push")
    board, port = copied_device(tmp_path / "board"), free_port()
    (board / "toy_fish.py").write_text(program.replace("8001", str(port)))
    (tmp_path / "client_push.py").write_text(client)
    (tmp_path / "song.wav").write_bytes(b"a song")
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    environment.pop("SNYPER_SERVICE_KEY", None)
    command = [python_3_7() or sys.executable, "-W", "error", "toy_fish.py"]
    with subprocess.Popen(command, cwd=board, env=environment, stdout=subprocess.PIPE, text=True) as process:
        wait_until(lambda: can_connect(port), "it listens")
        pushed(tmp_path, f"http://127.0.0.1:{port}")
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(2)]
        process.send_signal(number)
        assert process.wait(DEADLINE_S) == 0
    assert sorted(said) == [f"playing {board / 'received' / 'song.wav'}\n", "speak: hello\n"]


def test_its_limits_are_those_of_the_code() -> None:
    section = PAGE.split("\n## Push\n")[1].split("\n## ")[0]
    connections, of_address = DEVICE_LIMITS["connections"], DEVICE_LIMITS["per_address"]
    said = f"at most {connections.default} `connections` and {of_address.default} `per_address`"
    assert said in section
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", section, re.MULTILINE)
    assert {name: int(value.replace(",", "")) for name, value in rows} == {
        name: limit.default for name, limit in _LIMITS.items()
    }
