"""Minify a module before it is compiled for a board."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from snyper.boards import image
from snyper.boards.micropython import find_micropython
from snyper.boards.minify import (
    Wanted,
    constants_in,
    minify_source,
    names_in,
    origins_in,
    short_names,
    with_short_names,
    without_unwanted,
)
from tests.integration.harness import needs_micropython

OTHER = '''
LIMIT = 1 << 10
HUGE = 1 << 40
LONG = "longer than ten"
NAME = "name"
_SHORT = ""


class Word:
    """Constants, and nothing else."""

    HIT = "hit"
    LONG_ONE = "not registered"


class Thing:
    SIZE = 4

    def size(self):
        return self.SIZE
'''

SOURCE = '''"""A module."""

from os import sep
from snyper.shared.other import (
    HUGE,
    LIMIT,
    LONG,
    NAME,
    Thing,
)
from snyper.shared.other import Word
from snyper.shared.words import Word as OtherWord, MICROPYTHON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snyper.shared.other import LIMIT

PUBLIC = 7
_SIZE = 1 << 4  # µ, with a remark
_DOUBLE = (
    2
    * _SIZE
)
_BELOW = PUBLIC - 9
_TEXT = "text"
_lower = 5
_ONE = _SAME = 2

if MICROPYTHON:

    def twice(number):
        return 2 * number

else:
    from math import prod

    def twice(number):
        return prod((2, number))


def late():
    return _LATE + _SIZE


_LATE = 3
_FLAG = True


def shadowed(_HIDDEN):
    return _HIDDEN


_HIDDEN = 1


class Word2:
    A = "a"


Word2.A = "b"


def total():
    global _lower
    _lower += 1
    small = PUBLIC + _SIZE + _DOUBLE - _BELOW + len("µ" + _TEXT) + _lower + late()
    small += _FLAG + _ONE + _SAME
    return small + LIMIT + HUGE + len(LONG) + Thing.SIZE + twice(3) + shadowed(8)


def words():
    return NAME + Word.HIT + Word.LONG_ONE + OtherWord.HIT + Word2.A + sep


print(total(), words())
'''
WORDS = """MICROPYTHON = True


class Word:
    HIT = "HIT"
"""

TOTAL = 7 + 16 + 32 + 2 + 5 + 6 + 19 + 1 + 2 + 2 + 1024 + (1 << 40) + 15 + 4 + 6 + 8
RESULT = f"{TOTAL} namehitnot registeredHITb/\n"


def minified(source: str) -> str:
    modules = {"snyper.shared.other": OTHER, "snyper.shared.words": WORDS, "snyper.shared.front": FRONT}
    return minify_source(
        source,
        lambda module: constants_in(modules.get(module, "")),
        lambda module: origins_in(modules.get(module, ""), lambda other: names_in(modules.get(other, ""))),
    )


def test_the_constants_of_a_module_are_its_small_integers_and_short_texts() -> None:
    assert constants_in(OTHER) == {"LIMIT": 1024, "_SHORT": "", "Word.HIT": "hit"}


def test_what_takes_only_memory_goes_and_every_line_stays_where_it_is() -> None:
    given, left = SOURCE.splitlines(), minified(SOURCE).splitlines()
    assert len(left) == len(given)
    changed = [(old, new) for old, new in zip(given, left, strict=True) if old != new]
    gone = [old for old, new in changed if not new.strip()]
    assert [(old, new) for old, new in changed if new.strip()] == [
        ("from snyper.shared.other import (", "from snyper.shared.other import HUGE, LONG, NAME, Thing"),
        (
            "from snyper.shared.words import Word as OtherWord, MICROPYTHON",
            "from snyper.shared.words import MICROPYTHON",
        ),
        ("_SIZE = 1 << 4  # µ, with a remark", "  # µ, with a remark"),
        ("    return _LATE + _SIZE", "    return (3) + (16)"),
        (
            '    small = PUBLIC + _SIZE + _DOUBLE - _BELOW + len("µ" + _TEXT) + _lower + late()',
            "    small = (7) + (16) + (32) - (-2) + len(\"µ\" + ('text')) + _lower + late()",
        ),
        (
            "    return small + LIMIT + HUGE + len(LONG) + Thing.SIZE + twice(3) + shadowed(8)",
            "    return small + (1024) + HUGE + len(LONG) + Thing.SIZE + twice(3) + shadowed(8)",
        ),
        (
            "    return NAME + Word.HIT + Word.LONG_ONE + OtherWord.HIT + Word2.A + sep",
            "    return NAME + ('hit') + Word.LONG_ONE + ('HIT') + Word2.A + sep",
        ),
    ]
    for line in ("_LATE = 3", '_TEXT = "text"', "_BELOW = PUBLIC - 9", "else:", "    from math import prod"):
        assert line in gone, line
    assert not [line for line in gone if re.match("PUBLIC|_lower|_ONE|_FLAG|_HIDDEN|class|from os", line)]


def test_what_a_board_binds_twice_is_no_constant() -> None:
    source = """
LIMIT = 1
BYTES = 2
if MICROPYTHON:
    LIMIT = 3
else:
    BYTES = 4
DOUBLE = 2 * LIMIT


class Word:
    HIT = "hit"


Word.HIT = "HIT"
"""
    assert constants_in(source) == {"BYTES": 2}


def test_a_module_that_needs_nothing_of_another_does_not_import_it() -> None:
    assert (
        minified("from snyper.shared.other import LIMIT, Word\nprint(LIMIT, Word.HIT)\n")
        == "\nprint((1024), ('hit'))\n"
    )


FRONT = """
from os import sep as sep
from snyper.shared.words import MICROPYTHON, Word as Words
if MICROPYTHON:
    from snyper.shared.other import *
else:
    from math import pi as pi


def own(): pass
"""


def test_what_a_module_only_passes_on_is_imported_from_where_it_is_made() -> None:
    names = {"LIMIT", "HUGE", "LONG", "NAME", "Word", "Thing"}
    assert names_in(OTHER) == names
    origins = origins_in(FRONT, lambda module: names_in(OTHER))
    assert origins == {**dict.fromkeys(names, "snyper.shared.other"), "sep": "os"}
    assert minified("from snyper.shared.front import own, Thing, sep, Word as W\n") == (
        "from snyper.shared.front import own;"
        " from snyper.shared.other import Thing, Word as W; from os import sep\n"
    )
    assert minified("from snyper.shared.front import MICROPYTHON\n") == (
        "from snyper.shared.front import MICROPYTHON\n"
    )


@needs_micropython
def test_it_does_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "here" / "snyper"
    monkeypatch.setattr(image, "PACKAGE", package)
    said = []
    for directory, is_minified in ((package, False), (tmp_path / "board" / "snyper", True)):
        (directory / "shared").mkdir(parents=True)
        for name, source in (("other", OTHER), ("words", WORDS), ("sums", SOURCE)):
            given = package / "shared" / f"{name}.py"
            if is_minified:
                (directory / "shared" / f"{name}.mpy").write_bytes(image.compile_module(given))
            else:
                given.write_text(source)
        command = [str(find_micropython()), "-c", "import snyper.shared.sums"]
        done = subprocess.run(command, cwd=directory.parent, capture_output=True, text=True, check=True)
        said.append(done.stdout)
    assert said[0] == said[1] == RESULT
    compiled = image.compile_module(package / "shared" / "sums.py")
    for word, stays in ((b"_DOUBLE", False), (b"_LATE", False), (b"LIMIT", False), (b"PUBLIC", True)):
        assert (word in compiled) == stays, word


@pytest.mark.parametrize("role", image.ROLES)
def test_every_module_stays_one(role: str) -> None:
    for path, here in image.files(role, source=True).items():
        source = here.read_text()
        left = image.minify_module(here)
        compile(left, path, "exec")
        assert len(left.splitlines()) == len(source.splitlines()), path
        assert "TYPE_CHECKING" not in left, path


def test_the_constants_of_a_class_go_and_with_them_a_class_of_nothing_else() -> None:
    source = """
class Word:
    HIT = "hit"
    MISS = "miss"


class Both:
    SHORT = "short"
    LONG_ONE = "longer than ten"


class Read:
    HIT = "hit"


print(Word.HIT, Both.SHORT, Both.LONG_ONE, vars(Read))
"""
    left = minified(source)
    assert len(left.splitlines()) == len(source.splitlines())
    assert ast.unparse(ast.parse(left)) == (
        "class Both:\n    LONG_ONE = 'longer than ten'\n\nclass Read:\n    HIT = 'hit'\n"
        "print('hit', 'short', Both.LONG_ONE, vars(Read))"
    )


@pytest.mark.parametrize("role", image.ROLES)
def test_nothing_is_missing_that_another_module_reads(role: str) -> None:
    modules = image.modules(role)
    left = {name: ast.parse(image.minify_module(source)) for name, source in modules.items()}
    was = {name: _names_in(ast.parse(source.read_text())) for name, source in modules.items()}
    now = {name: _names_in(tree) for name, tree in left.items()}
    for name, tree in left.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                now[name] |= now[node.module or ""]
    read = 0
    for name, tree in left.items():
        origins = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in left:
                for alias in node.names:
                    assert alias.name in now[node.module] | {"*"}, (name, node.module, alias.name)
                    origins[alias.asname or alias.name] = (node.module, alias.name)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module, owner = origins.get(node.value.id, (name, node.value.id))
                read += (constant := f"{owner}.{node.attr}") in was[module]
                assert constant not in was[module] - now[module], (name, module, constant)
    assert read > 20


def _names_in(tree: ast.Module) -> set[str]:
    """What a module binds, and what its classes do as `Class.name`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{name}" for name in _names_in(ast.Module(node.body, []))}
    return names


NAMED = """
from a.parts import _imported
_total = 0
_LONG_TABLE = {"_by_text": 1}


def _function(_parameter):
    global _total, other
    _total += _parameter
    return _total


class _Class:
    _shared_value = 3

    def __init__(self):
        self._own_value, self._by_text = 4, 5
        self._ab = 6
        self.public = self._own_value + self._shared_value + self._ab

    def _method(self):
        return self._own_value + foreign._not_ours


print(_LONG_TABLE, _function(2), _Class().public)
"""


def test_private_data_gets_short_names_and_what_a_traceback_shows_keeps_its_own() -> None:
    names = short_names([NAMED])
    assert set(names) == {"_total", "_LONG_TABLE", "_shared_value", "_own_value"}
    assert short_names(["_total = 0\n"])["_total"] == names["_total"]
    assert len(set(names.values()) - {"_ab"}) == len(names)
    left = with_short_names(NAMED, names)
    assert len(left.splitlines()) == len(NAMED.splitlines())
    assert not [name for name in names if name in left]
    for word in ("_function", "_parameter", "_Class", "_method", "_by_text", "_not_ours", "_imported", "_ab"):
        assert left.count(word) == NAMED.count(word), word
    codes = [code.partition("_imported\n")[2] for code in (NAMED, left)]
    outputs = []
    for code in codes:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        outputs.append(done.stdout)
    assert outputs == ["{'_by_text': 1} 2 13\n"] * 2


PARTS = """
LIMIT = compute()
UNUSED = 1_000_000_000_000
def used():
    return helper()
def helper():
    return Thing().one()
def unused():
    return only_here()
def only_here():
    return UNUSED
class Thing:
    size = 0
    def one(self):
        return self.two
    @property
    def two(self):
        return 2
    @property
    def three(self):
        return 3
    def __len__(self):
        return 4
class Other:
    pass
"""


def test_what_no_other_module_of_an_image_needs_goes() -> None:
    wanted = Wanted([PARTS, "from a.parts import used\n"])
    left = without_unwanted(PARTS, "a.parts", wanted)
    assert len(left.splitlines()) == len(PARTS.splitlines())
    names = {node.name for node in ast.walk(ast.parse(left)) if hasattr(node, "name")}
    assert names == {"used", "helper", "Thing", "one", "two", "__len__"}
    assert "LIMIT = compute()" in left
    assert "UNUSED" not in left


@pytest.mark.parametrize("by", ["import a.parts", "from a import parts", "__import__('a.' + name)"])
def test_of_a_module_that_is_imported_itself_all_stays(by: str) -> None:
    wanted = Wanted([PARTS, by])
    assert "class Other" in without_unwanted(PARTS, "a.parts", wanted)
