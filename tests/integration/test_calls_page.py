"""The lines of docs/calls.md, each run: those of the lab's computer in a process, those of the desk here."""

import ast
import asyncio
import contextlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.calls_harness import HubProcess
from tools.loopback import free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/calls.md").read_text()
BLOCKS = re.findall(r"^```(?:python|sh)\n# (lab\.py|desk\.py|desk\.sh)\n(.*?)^```$", PAGE, re.M | re.S)
FIRST_OF_LAB = [at for at, (where, _) in enumerate(BLOCKS) if where == "lab.py"]


def test_the_page_has_both_sides() -> None:
    assert len(FIRST_OF_LAB) >= 4
    assert PAGE.count("```python") + PAGE.count("# desk.sh") == len(BLOCKS)


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
    """Run each statement, as a notebook does it; where a comment says what it returns, compare. Return how
    many did.
    """
    names: dict[str, object] = {}
    compared = 0
    lines = code.splitlines()
    with asyncio.Runner() as runner:

        def run(text: str, mode: str) -> object:
            program = compile(text, "the page", mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            value = eval(program, names)
            return runner.run(value) if program.co_flags & inspect.CO_COROUTINE else value

        for statement in ast.parse(code).body:
            text = "\n".join(lines[statement.lineno - 1 : statement.end_lineno])
            _, says, value = text.partition("  # returns ")
            if says:
                assert run(text, "eval") == ast.literal_eval(value), text
                compared += 1
            else:
                run(text, "exec")
    return compared


def run_shell(code: str, directory: Path) -> None:
    """Run each line; where a comment says what it writes, compare."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    for line in code.splitlines():
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            environment[name] = value
            continue
        done = subprocess.run(
            line,
            shell=True,
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), line
        _, says, value = line.partition("  # ")
        if says:
            assert done.stdout.strip() == value, line


@pytest.mark.parametrize("first", FIRST_OF_LAB)
def test_a_server_and_its_clients(
    first: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples/powermeter"))
    port = str(free_port())

    hub = HubProcess()

    def here(code: str) -> str:
        code = code.replace("192.168.1.10", "127.0.0.1").replace("9999", port)
        code = code.replace("192.168.1.2:8081", hub.address)
        return re.sub(r'(address="127.0.0.1")\)', rf"\1, port={port})", code)

    clients = []
    for where, code in BLOCKS[first + 1 :]:
        if where == "lab.py":
            break
        clients.append((where, code))
    assert clients
    with contextlib.ExitStack() as running_here:
        if "hub=" in BLOCKS[first][1]:
            running_here.enter_context(hub)
        running_here.enter_context(running(here(BLOCKS[first][1])))
        for where, code in clients:
            if where == "desk.sh":
                run_shell(here(code).replace("127.0.0.1 ", f"127.0.0.1:{port} "), tmp_path)
            else:
                run_lines(here(code))


def test_most_lines_say_what_they_return() -> None:
    assert PAGE.count("  # returns ") >= 10
