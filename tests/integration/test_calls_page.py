"""The lines of docs/calls.md, each run: those of the lab's computer in a process, those of the desk here."""

import ast
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.loopback import free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/calls.md").read_text()
BLOCKS = re.findall(r"^```python\n# (lab|desk)\.py\n(.*?)^```$", PAGE, re.M | re.S)
FIRST_OF_LAB = [at for at, (where, _) in enumerate(BLOCKS) if where == "lab"]


def test_the_page_has_both_sides() -> None:
    assert len(FIRST_OF_LAB) >= 4
    assert PAGE.count("```python") == len(BLOCKS)


@contextlib.contextmanager
def running(code: str) -> Iterator[None]:
    """Run what stands for the lab's computer until it listens, and to the end of the block."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'examples/powermeter'}"}
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
    ) as lab:
        try:
            assert lab.stdout is not None
            said = []
            for line in lab.stdout:
                said.append(line)
                if line.startswith("Auxiliary calls"):
                    break
            else:
                raise AssertionError("".join(said))
            yield
        finally:
            lab.kill()


def run_lines(code: str) -> int:
    """Run each statement; where a comment says what it returns, compare. Return how many did."""
    names: dict[str, object] = {}
    compared = 0
    lines = code.splitlines()
    for statement in ast.parse(code).body:
        text = "\n".join(lines[statement.lineno - 1 : statement.end_lineno])
        _, says, value = text.partition("  # returns ")
        if says:
            assert eval(text, names) == ast.literal_eval(value), text
            compared += 1
        else:
            exec(text, names)
    return compared


@pytest.mark.parametrize("first", FIRST_OF_LAB)
def test_a_server_and_its_clients(
    first: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples/powermeter"))
    port = str(free_port())

    def here(code: str) -> str:
        code = code.replace("192.168.1.10", "127.0.0.1").replace("9999", port)
        return re.sub(r'(address="127.0.0.1")\)', rf"\1, port={port})", code)

    clients = []
    for where, code in BLOCKS[first + 1 :]:
        if where == "lab":
            break
        clients.append(here(code))
    assert clients
    with running(here(BLOCKS[first][1])):
        for code in clients:
            run_lines(code)


def test_most_lines_say_what_they_return() -> None:
    assert PAGE.count("  # returns ") >= 10
