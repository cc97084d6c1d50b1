"""What a board's own socket module has and the unix port's has not."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import sys
sys.path.insert(0, {root!r} + "/host")
import socket
class Lwip:
    IPPROTO_TCP = 6
    TCP_NODELAY = 64
sys.modules["socket"] = Lwip
from snyper.shared import runtime
class Sock:
    def setsockopt(self, level, option, value):
        print(level, option, value)
runtime.set_nodelay(Sock())
"""


@pytest.mark.parametrize(("names", "expected"), [(True, "6 64 1"), (False, "6 1 1")])
def test_nagle_is_switched_off_by_the_ports_own_number(micropython: Path, names: bool, expected: str) -> None:
    program = PROGRAM.format(root=str(ROOT))
    if not names:
        program = program.replace('sys.modules["socket"] = Lwip', "")
    command = [str(micropython), "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout.split("\n")[0] == expected, done.stderr
