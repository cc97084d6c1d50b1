"""What is taken out of a module before it is compiled for a board."""

import subprocess
from pathlib import Path

import pytest

from tests.integration.harness import needs_micropython
from tools import flash
from tools.board import find_micropython

SOURCE = '''"""A module."""

from os import sep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PUBLIC = 7
_SIZE = 1 << 4  # with a remark
_DOUBLE = 2 * _SIZE
_NOT_KNOWN = PUBLIC + 1
_TEXT = "text"
_lower = 5
_ONE = _SAME = 2


def late():
    return _LATE + _SIZE


_LATE = 3
_FLAG = True


def total():
    global _lower
    _lower += 1
    return PUBLIC + _SIZE + _DOUBLE + _NOT_KNOWN + len(_TEXT) + _lower + late() + _FLAG + _ONE + _SAME


print(total())
'''


def test_only_the_names_of_private_integers_and_the_types_go() -> None:
    lean = flash.lean_source(SOURCE).splitlines()
    given = SOURCE.splitlines()
    assert len(lean) == len(given)  # what a trace says of lines stays true
    changed = {old: new for old, new in zip(given, lean, strict=True) if old != new}
    assert changed == {
        "TYPE_CHECKING = False": "",
        "if TYPE_CHECKING:": "",
        "    from typing import Any": "",
        "_SIZE = 1 << 4  # with a remark": "_SIZE = const(16)",
        "_DOUBLE = 2 * _SIZE": "_DOUBLE = const(32)",
    }


@needs_micropython
def test_it_does_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "sums.py"
    source.write_text(SOURCE)
    monkeypatch.setattr(flash, "ROOT", tmp_path)
    compiled = flash.compile_module(source)
    assert b"_DOUBLE" not in compiled
    assert b"_LATE" in compiled
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "sums.mpy").write_bytes(compiled)
    said = []
    for where in (tmp_path, tmp_path / "board"):
        command = [str(find_micropython()), "-c", "import sums"]
        done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=True)
        said.append(done.stdout)
    assert said[0] == said[1] == f"{7 + 16 + 32 + 8 + 4 + 6 + 19 + 1 + 2 + 2}\n"


@pytest.mark.parametrize("role", flash.ROLES)
def test_every_module_stays_one(role: str) -> None:
    for path, here in flash.files(role).items():
        lean = flash.lean_source(here.read_text())
        compile(lean, path, "exec")
        assert "TYPE_CHECKING" not in lean, path
