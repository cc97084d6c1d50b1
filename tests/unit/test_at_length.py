"""What the suite has only a part of is run in full by `make long`: each such test is marked."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MARK = "pytest.mark.long"

Name = tuple[str, str]  # of a module, and of what it defines


def definitions(module: str, tree: ast.Module) -> dict[Name, set[Name]]:
    """Find what each definition of a module names, itself or as a fixture, of all that tests define."""
    imported = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    found = {}
    for node in tree.body:
        match node:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                defined = [name]
            case ast.Assign(targets):
                defined = [one.id for one in targets if isinstance(one, ast.Name)]
            case _:
                continue
        words = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
        words |= {one.arg for one in ast.walk(node) if isinstance(one, ast.arg)}
        for name in defined:
            found[module, name] = {imported.get(word, (module, word)) for word in words}
    return found


def is_marked(tree: ast.Module, name: str) -> bool:
    """Tell whether a test is marked, itself or with all of its module."""
    for node in tree.body:
        match node:
            case ast.Assign([ast.Name("pytestmark")], value) if MARK in ast.unparse(value):
                return True
            case ast.FunctionDef(other) | ast.AsyncFunctionDef(other) if other == name:
                return MARK in map(ast.unparse, node.decorator_list)
    return False


def unmarked(sources: dict[str, str]) -> set[Name]:
    """Find the tests that have a part of something and are not marked."""
    trees: dict[str, ast.Module] = {}
    uses: dict[Name, set[Name]] = {}
    more = partial = {("tests.integration.harness", "at_length")}
    while more:
        words = [name for _, name in more]
        for module in sources.keys() - trees.keys():
            if any(word in sources[module] for word in words):
                trees[module] = ast.parse(sources[module])
                uses |= definitions(module, trees[module])
        more = {name for name, used in uses.items() if used & partial} - partial
        partial = partial | more
    return {
        (module, name)
        for module, name in partial
        if name.startswith("test_") and not is_marked(trees[module], name)
    }


def test_whatever_has_a_part_is_marked() -> None:
    sources = {
        ".".join(path.relative_to(TESTS.parent).with_suffix("").parts): path.read_text(encoding="utf-8")
        for path in TESTS.rglob("*.py")
    }
    assert unmarked(sources) == set()


HARNESS = "def at_length(full, part): ...\nSTEP = at_length(1, 29)\n"
IMPORT = "from tests.integration.harness import at_length, STEP\n"


@pytest.mark.parametrize(
    "source",
    [
        "def test_a(): at_length(2, 1)",
        "def test_a(): range(0, 9, STEP)",
        "COUNT = at_length(2, 1)\nasync def test_a(): range(COUNT)",
        "COUNT = at_length(2, 1)\ndef cut(): return COUNT\ndef test_a(): cut()",
        "@pytest.fixture\ndef count(): return STEP\ndef test_a(count): ...",
        "@pytest.mark.parametrize('step', [STEP])\ndef test_a(step): ...",
    ],
)
def test_each_way_to_have_a_part_is_seen(source: str) -> None:
    here = "tests.integration.test_here"
    sources = {"tests.integration.harness": HARNESS, here: IMPORT + source}
    assert unmarked(sources) == {(here, "test_a")}
    marked = re.sub(r"^(async )?def test_a", rf"@{MARK}\n\g<0>", source, flags=re.MULTILINE)
    assert unmarked({**sources, here: IMPORT + marked}) == set()
    assert unmarked({**sources, here: f"{IMPORT}pytestmark = [pytest.mark.long]\n{source}"}) == set()
