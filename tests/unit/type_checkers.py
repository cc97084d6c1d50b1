"""The type checkers that people use, over a folder of files."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import mypy.api
import pytest

_ROOT = Path(__file__).parents[2]
# What pyright is told by the file of a project. Both checkers complain of an ignored line without an error.
_PYRIGHT = {"pythonVersion": "3.11", "reportUnnecessaryTypeIgnoreComment": "error"}


def _complaints_of_mypy(folder: Path) -> list[str]:
    cache = str(_ROOT / ".mypy_cache" / "samples")
    options = ("--strict", "--config-file", "", "--python-version", "3.11", "--cache-dir", cache)
    said, errors, _ = mypy.api.run([*options, "--no-error-summary", str(folder)])
    assert errors == ""
    return said.replace(f"{folder}/", "").splitlines()


def _complaints_of_pyright(folder: Path) -> list[str]:
    (folder / "pyrightconfig.json").write_text(json.dumps(_PYRIGHT))
    # `--outputjson` also keeps it from asking the network for a newer version.
    command = [
        sys.executable,
        "-m",
        "pyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "-p",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    assert found["summary"]["filesAnalyzed"] > 0
    return [
        f"{Path(one['file']).name}:{one['range']['start']['line'] + 1}: error: {one['message']}"
        for one in found["generalDiagnostics"]
        if one["severity"] == "error"
    ]


_needs_pyright = pytest.mark.skipif(find_spec("pyright") is None, reason="there is no Node.js for it here")
Complaints = Callable[[Path], list[str]]
each_checker = pytest.mark.parametrize(
    "complaints_of",
    [
        pytest.param(_complaints_of_mypy, id="mypy"),
        pytest.param(_complaints_of_pyright, id="pyright", marks=_needs_pyright),
    ],
)
