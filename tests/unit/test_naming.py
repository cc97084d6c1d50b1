"""The words of the code: the field's, as CONTRIBUTING has them, read from the source."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from snyper.boards.syntax import parse, walk

ROOT = Path(__file__).parents[2]
BOARD = ("shared", "firmware")
ALL = (*BOARD, "host", "tools", "tests")
_HOST = (
    *("boards", "cli", "client", "dashboard", "device", "history", "hub", "offload", "services"),
    *("cameras", "recordings", "streams", "system", "web"),
)
WITH_A_VERB = (*BOARD, *(f"host/snyper/{name}" for name in _HOST), "tools")

# Words of our own that have given way to the field's: what stands for them now.
RETIRED = {
    "Chosen": "HistoryQuery",
    "Dice": "Rng",
    "Found": "HistoryResult",
    "GameRoom": "GameRunner",
    "Guesses": "LoginThrottle",
    "Heard": "PiezoPeaks",
    "Keeper": "ReconnectingClient",
    "Order": "TargetCommand",
    "ReportRecord": "ShotRecord",
    "UNSEEN": "INVISIBLE",
    "Welcome": "Registered",
    "What": "ExportKind",
    "Which": "RecordFilter",
    "Wish": "BoardSpec",
    "_tidy": "_unload_modules",
    "attached": "attachment_bytes",
    "call_off": "cancel",
    "dice": "rng",
    "feel": "detect",
    "felt": "detected",
    "felt_us": "detected_us",
    "figures": "stats",
    "flash": "image",
    "forget": "unload",
    "forgotten": "unloaded",
    "game_room": "game_runner",
    "gate": "auth",
    "is_troubled": "needs_attention",
    "lean": "minify",
    "leashed": "killed_with_parent",
    "look": "sample",
    "looks": "samples",
    "open_game": "create_game",
    "parts": "widgets",
    "post_line": "send_line_nowait",
    "prove": "mark_good",
    "schedules": "chaos",
    "set_keeper": "set_sink",
    "settle": "wait_until_idle",
    "settle_later": "admit_after_probe",
    "settled": "wait_until_tried",
    "shaken": "crosstalk",
    "shell": "layout",
    "tell_gap": "warn_of_gap",
    "tell_losses": "warn_of_losses",
    "tidied": "normalised",
    "trouble": "last_error",
    "tune": "configure_stream",
    "tuning": "maintenance",
    "twins": "duplicates",
    "unseen_us": "unsampled_us",
    "why_not": "explain_failure",
    "wish": "spec",
}
# These are words of the field too, and retired only as the names of modules.
_MODULES_ONLY = {
    "attached",
    "shaken",
    "flash",
    "gate",
    "lean",
    "parts",
    "shell",
    "figures",
    "feel",
}

# The same for what is written for people: comments, messages, pages.
_RETIRED_PROSE = re.compile(r"(?i)(?<![a-z])(bad days?|feels?|felt|feeling|trouble[ds]?|twins?)(?![a-z])")
_PAGES = ("*.md", "docs/*.md", "Makefile", *(f"{folder}/**/*.py" for folder in ALL))

# How a docstring's first line does not begin: not with a question, a noun or a condition, but with a verb.
_NO_VERB = re.compile(
    "(a|all|also|an|and|another|as|at|both|by|each|every|everything|for|from|has|how|if|in|into|is|it|its|like"
    "|more|no|none|nothing|of|off|on|one|only|or|raises|said|some|the|this|those|to|what|when|where|whether"
    "|which|who|whom|whose|with|without)"
)
_IMPERATIVES_IN_S = frozenset(("address", "discuss", "dismiss", "focus", "guess", "pass", "press", "process"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*folders: str) -> list[tuple[Path, ast.Module]]:
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert paths, folders
    return [(path.relative_to(ROOT), tree_of(path)) for path in paths]


@cache
def tree_of(path: Path) -> ast.Module:
    return parse(path.read_text(encoding="utf-8"))


@cache
def nodes_of(tree: ast.Module) -> list[ast.AST]:
    return list(walk(tree))


def names_in(tree: ast.Module) -> Iterator[str]:
    """Every identifier that the file defines, binds or uses."""
    for node in nodes_of(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.arg | ast.keyword):
            yield node.arg or ""
        elif isinstance(node, ast.alias):
            yield from node.name.split(".")
        elif isinstance(node, ast.ClassDef | Function):
            yield node.name


def functions_in(tree: ast.Module) -> Iterator[Function]:
    """The functions whose docstring says what a call does: not those of attributes, nor of making one."""
    for node in nodes_of(tree):
        if isinstance(node, Function) and node.name != "__init__":
            decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
            if not any(name == "property" or name.endswith(".setter") for name in decorators):
                yield node


def is_imperative(docstring: str) -> bool:
    word = re.split(r"[\s,.:;]", docstring, maxsplit=1)[0]
    lower = word.lower()
    is_third_person = lower.endswith("s") and not lower.endswith("ss") and lower not in _IMPERATIVES_IN_S
    return word.isalpha() and word.istitle() and not _NO_VERB.fullmatch(lower) and not is_third_person


def bound_names(tree: ast.Module) -> Iterator[str]:
    """Parameters and variables."""
    for node in nodes_of(tree):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def hidden_builtins(tree: ast.Module) -> set[str]:
    """Those of `type` and `id` that are called in a file which has a parameter or variable of that name."""
    called = {
        node.func.id
        for node in nodes_of(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return called & {"type", "id"} & set(bound_names(tree))


def test_no_module_has_a_retired_name() -> None:
    stems = {path.stem.removeprefix("test_"): path for path, _ in sources(*ALL)}
    assert {stem: str(stems[stem]) for stem in RETIRED if stem in stems} == {}


def test_no_identifier_is_a_retired_word() -> None:
    retired = set(RETIRED) - _MODULES_ONLY
    found = {
        f"{path}: {name}, now {RETIRED[name]}"
        for path, tree in sources(*ALL)
        for name in retired.intersection(names_in(tree))
    }
    assert found == set()


def test_no_page_says_a_retired_word() -> None:
    paths = {path for pattern in _PAGES for path in ROOT.glob(pattern)} - {Path(__file__)}
    found = [
        f"{path.relative_to(ROOT)}:{number} {word[0]}"
        for path in sorted(paths)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for word in _RETIRED_PROSE.finditer(line)
    ]
    assert found == []


def test_what_is_called_back_and_what_records_say_so() -> None:
    found = {
        f"{path}: {name}, on_... or record_..."
        for path, tree in sources(*ALL)
        for name in names_in(tree)
        if re.match("_?note_", name)
    }
    assert found == set()


def test_a_functions_docstring_begins_with_a_verb() -> None:
    found = [
        f"{path}:{function.lineno} {docstring.splitlines()[0]}"
        for path, tree in sources(*WITH_A_VERB, "tests")
        if not path.name.startswith("test_")  # where a docstring adds to what the test's name says
        for function in functions_in(tree)
        if (docstring := ast.get_docstring(function)) and not is_imperative(docstring)
    ]
    assert found == []


def test_what_a_module_or_a_class_is_stands_first() -> None:
    """Not a question that it answers, nor the subject of a sentence: 'What one sees', 'Somebody who'."""
    found = [
        f"{path}:{getattr(node, 'lineno', 1)} {docstring.splitlines()[0]}"
        for path, tree in sources(*WITH_A_VERB)
        for node in nodes_of(tree)
        if isinstance(node, ast.ClassDef | ast.Module)
        and (docstring := ast.get_docstring(node))
        and re.match("(How|Some(body|thing)|Wh[a-z]+) ", docstring)
    ]
    assert found == []


def test_a_docstring_says_itself_what_is_raised() -> None:
    found = [
        f"{path}:{node.lineno}"
        for path, tree in sources(*ALL)
        for node in nodes_of(tree)
        if isinstance(node, Function | ast.ClassDef)
        and re.search(r"[Rr]aises\s+(as|like)\b|\b[Ll]ike\s+`\w+`\.|\bLike `", ast.get_docstring(node) or "")
    ]
    assert found == []


def test_no_parameter_hides_a_builtin_that_the_file_calls() -> None:
    assert {str(path): hidden for path, tree in sources(*ALL) if (hidden := hidden_builtins(tree))} == {}


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Listen on a TCP address.", True),
        ("Pass an `item` on.", True),
        ("Listens on a TCP address.", False),
        ("Whether it listens.", False),
        ("What others begin.", False),
        ("`text` in lower case.", False),
        ("Raises OSError.", False),
        ("Without a port, its own.", False),
        ("HOST:PORT, or wrong usage.", False),
    ],
)
def test_a_verb_is_told_from_a_noun_and_a_question(docstring: str, expected: bool) -> None:
    assert is_imperative(docstring) is expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(type): return type", set()),
        ("def f(type): return type\nassert type(1) is int", {"type"}),
        ("for id in (): pass\nid(1)", {"id"}),
        ("def f(a): return type(a)", set()),
        ("a.type = type(a)", set()),
    ],
)
def test_a_hidden_builtin_is_found(source: str, expected: set[str]) -> None:
    assert hidden_builtins(ast.parse(source)) == expected
