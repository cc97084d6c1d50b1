"""The portable tests once more, under MicroPython and in a heap of a Pico W's size."""

import ast
import functools
import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PORTABLE = ROOT / "tests" / "portable"
# Of a 64-bit build, whose objects are twice the size of the board's: what fits here fits there. 40K are for
# the compiler, which a board does not need: there, modules come compiled.
HEAP = "220K"
TIMEOUT_S = 60
FILES = sorted(path.name for path in PORTABLE.glob("test_*.py"))


class Run:
    """What one file's tests came to."""

    def __init__(self, micropython: Path, file: str) -> None:
        command = [str(micropython), "-X", f"heapsize={HEAP}", str(PORTABLE / "run.py"), str(PORTABLE / file)]
        try:
            process = subprocess.run(
                command, cwd=ROOT, timeout=TIMEOUT_S, capture_output=True, check=False, encoding="utf-8"
            )
            self.output, self.exit_code = process.stdout + process.stderr, process.returncode
        except subprocess.TimeoutExpired as expired:
            printed = expired.stdout or b""
            text = printed if isinstance(printed, str) else printed.decode(errors="replace")
            self.output, self.exit_code = f"{text}\nnot done within {TIMEOUT_S} s", -1
        lines = [line for line in self.output.splitlines() if line.startswith("{")]
        self.results = {result["name"]: result for result in map(json.loads, lines)}


@functools.cache
def run(micropython: Path, file: str) -> Run:
    """Each file is run once, for all of its tests."""
    return Run(micropython, file)


def names_of(file: str) -> list[str]:
    """The tests that a file holds for MicroPython, read without running it."""
    found = []
    for node in ast.parse((PORTABLE / file).read_text(encoding="utf-8")).body:
        for inner in (
            node.body if isinstance(node, ast.If) and "MICROPYTHON" in ast.unparse(node.test) else [node]
        ):
            if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and inner.name.startswith("test_"):
                found.append(inner.name)
    return sorted(found)


@pytest.mark.parametrize(("file", "name"), [(file, name) for file in FILES for name in names_of(file)])
def test_portable(micropython: Path, file: str, name: str) -> None:
    done = run(micropython, file)
    assert name in done.results, f"{name} gave no result:\n{done.output}"
    result = done.results[name]
    assert result["ok"], f"{result['trace']}\n--- all output of {file}\n{done.output}"


@pytest.mark.parametrize("file", FILES)
def test_a_file_runs_what_it_holds_and_says_how_it_went(micropython: Path, file: str) -> None:
    done = run(micropython, file)
    assert sorted(done.results) == names_of(file)
    failed = [name for name, result in done.results.items() if not result["ok"]]
    assert done.exit_code == (1 if failed else 0), done.output
