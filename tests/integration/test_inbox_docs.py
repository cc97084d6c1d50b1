"""What docs/offload.md says of pushes: its code, its options, its limits."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from snyper.cli.receive_command import _LIMITS
from tests.integration.receiver import receiving
from tests.integration.test_gateway_docs import PAGE, code_under
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


def test_the_push_of_the_page(tmp_path: Path) -> None:
    handlers, client = code_under("Push")
    (tmp_path / "client_push.py").write_text(client)
    (tmp_path / "song.wav").write_bytes(b"a song")
    with receiving(tmp_path / "beagle", handlers=handlers) as receiver:
        command = [sys.executable, "-c", PUSH, receiver.url]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
        path = receiver.into / "song.wav"
        assert done.stdout.splitlines() == [
            str({"status": "ok", "message": "File received", "path": str(path)}),
            str({"status": "ok", "message": "Data received"}),
        ]
        assert path.read_bytes() == b"a song"
        assert until(lambda: not httpx.get(receiver.url + "/health").json()["waiting"])
        said, _ = receiver.end(signal.SIGTERM)
        assert {f"song.wav is at {path}", "speak: hello"} <= set(said.splitlines())


def test_its_limits_are_those_of_the_code() -> None:
    section = PAGE.split("\n## Push\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", section, re.MULTILINE)
    assert {name: int(value.replace(",", "")) for name, value in rows} == {
        name: limit.default for name, limit in _LIMITS.items()
    }
