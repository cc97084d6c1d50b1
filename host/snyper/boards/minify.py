"""Minify a module for a board: drop what only takes memory there, and keep every line's number."""

import ast
import re
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from symtable import symtable
from typing import Any

from snyper.boards.syntax import tree_of, walk

Constants = dict[str, int | str]  # by name; a class's by `Class.NAME`
Origins = dict[str, str]  # the module that makes a name, by that name

_CONSTANT = re.compile("_?[A-Z][A-Z0-9_]*")
_PRIVATE = re.compile("_[A-Z]")
_PRIVATE_DATA = re.compile("_[A-Za-z]")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Larger integers are objects on a board with 32 bits, and longer text is one in every module that has it.
_MAX_INTEGER = (1 << 30) - 1
_MAX_CHARS = 10


def minify_source(
    source: str,
    constants_of: Callable[[str], Mapping[str, int | str]],
    origins_of: Callable[[str], Mapping[str, str]],
) -> str:
    """Remove the imports for the type check and the branches for CPython, and inline small constants.

    A constant's name is replaced by its value, own or imported; it then need not be imported. `constants_of`
    returns the constants of a module by the module's name. Public constants stay, so that others can import
    them, but those of a class go: wherever a board reads one there is its value, and a class of nothing else
    goes too. What a module only passes on is imported from where it is made, which `origins_of` returns by
    the module's name. Raises SyntaxError when `source` is no Python.
    """
    tree, removed = _board_tree(source)
    edits = _Edits(source)
    for first, last in removed:
        edits.replace((first, 0), (last + 1, 0), "")
    bound = Counter(_bound_names(tree))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    inner_imports = [node for node in walk(tree) if isinstance(node, ast.ImportFrom) and node not in imports]
    known = _constants(tree, bound)
    for statement in imports:
        names = {alias.name: _bound_by(alias) for alias in statement.names}
        for name, value in constants_of(statement.module or "").items():
            owner = _first(name)
            if owner in names:
                known[names[owner] + name[len(owner) :]] = value
    values = {name: value for name, value in known.items() if bound[_first(name)] == 1}
    reads = list(_reads(tree))
    names_read = Counter(name for name, _ in reads if "." not in name)
    members_read = Counter(_first(name) for name, _ in reads if "." in name)
    uses = names_read.copy()
    for name, node in reads:
        if name in values:
            uses[_first(name)] -= 1
            edits.replace_node(node, f"({values[name]!r})")
    unused = {_first(name) for name in values if not uses[_first(name)]}
    for statement in imports + inner_imports:
        is_outer = statement in imports
        kept = [alias for alias in statement.names if not is_outer or _bound_by(alias) not in unused]
        needed = _by_origin(statement.module or "", kept, origins_of)
        if len(kept) < len(statement.names) or [*needed] != [statement.module]:
            parts = [f"from {module} import {', '.join(names)}" for module, names in needed.items()]
            edits.replace_node(statement, "; ".join(parts))
    for name, assignment in _assignments(tree):
        if _PRIVATE.match(name) and name in unused:
            edits.replace_node(assignment, "")
    for defined in tree.body:
        if isinstance(defined, ast.ClassDef) and names_read[defined.name] == members_read[defined.name]:
            inlined = [one for name, one in _assignments(defined) if f"{defined.name}.{name}" in values]
            is_all = 0 < len(inlined) == len(list(_assignments(defined)))
            for gone in [defined] if is_all else inlined:
                edits.replace_node(gone, "")
    return edits.text()


class Wanted:
    """The names that the modules of one image need of each other. `sources` are all of them, minified."""

    def __init__(self, sources: Iterable[str]) -> None:
        self.words: set[str] = set()  # attributes that are read, and texts, which could name one
        self._names: dict[str, set[str]] = {}
        for source in sources:
            for node in _nodes(source):
                match node:
                    case ast.Attribute(_, word) | ast.Constant(str(word)):
                        self.words.add(word)
                    case ast.ImportFrom(str(module), aliases):
                        self._names.setdefault(module, set()).update(alias.name for alias in aliases)

    def names(self, module: str) -> set[str] | None:
        """Return what others import from a module; None where that is not known, since they import the module
        itself, or by a name that is put together.
        """
        package, _, name = module.rpartition(".")
        return None if name in self._names.get(package, ()) else self._names.get(module)


def without_unwanted(source: str, module: str, wanted: Wanted) -> str:
    """Remove from a minified module functions, classes and constants that neither another module of the image
    nor what stays needs, and methods that nobody calls.
    """
    imported = wanted.names(module)
    if imported is None:
        return source
    tree = tree_of(source)
    times = Counter(map(_name_of, tree.body))
    optional = {
        name: node
        for node in tree.body
        if (name := _name_of(node)) and name not in imported and times[name] == 1
    }
    new = [node for node in tree.body if node not in optional.values()]
    while new:
        needed = {inner.id for node in new for inner in walk(node) if isinstance(inner, ast.Name)}
        new = [optional.pop(name) for name in needed if name in optional]
    edits = _Edits(source)
    for node in optional.values():
        edits.replace_node(node, "")
    for method in _methods(tree):
        if method.name not in wanted.words and not method.name.startswith("__"):
            first = min(node.lineno for node in (method, *method.decorator_list))
            edits.replace((first, 0), (_end(method) + 1, 0), "")
    return edits.text()


def _methods(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every method but those that are the first in their class, which may be all that it has."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for inner in node.body[1:]:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield inner


def _name_of(node: ast.stmt) -> str:
    """Return what a statement defines and does no more; empty for any other statement."""
    match node:
        case ast.FunctionDef(name, decorator_list=[]) | ast.AsyncFunctionDef(name, decorator_list=[]):
            return name
        case ast.ClassDef(name, decorator_list=[]):
            return name
        case ast.Assign([ast.Name(name)], ast.Constant()):
            return name
    return ""


def short_names(sources: Iterable[str]) -> dict[str, str]:
    """Find a short name for each private attribute and variable of a package, whose modules are `sources`.

    A board keeps every name once, as text. Functions and classes keep theirs, which a traceback shows. A name
    stays the same for as long as it is there, so that an update does not change every module.
    """
    nodes = [node for source in sources for node in _nodes(source)]
    stored = {name for node in nodes for name in _stored_names(node) if _PRIVATE_DATA.match(name)}
    known = {word for node in nodes for word in _words_of(node)}
    found: dict[str, str] = {}
    for name in sorted(stored - {word for node in nodes for word in _kept_words(node)}):
        number = zlib.crc32(name.encode())
        while (short := f"_{_LETTERS[number % 26]}{_LETTERS[number // 26 % 26]}") in known:
            number += 1
        if len(short) < len(name):
            known.add(short)
            found[name] = short
    return found


def with_short_names(source: str, names: Mapping[str, str]) -> str:
    """Replace names of a minified module by those of `short_names`."""
    edits = _Edits(source)
    for node in _nodes(source):
        match node:
            case ast.Name(name) if name in names:
                edits.replace_node(node, names[name])
            case ast.Attribute(_, name) if name in names:
                assert node.end_lineno is not None
                assert node.end_col_offset is not None
                end = (node.end_lineno, node.end_col_offset)
                edits.replace((end[0], end[1] - len(name)), end, names[name])
            case ast.Global(global_names) if set(global_names) & set(names):
                shown = ", ".join(names.get(name, name) for name in global_names)
                edits.replace_node(node, f"global {shown}")
    return edits.text()


def _stored_names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(name, ast.Store()) | ast.Attribute(_, name, ast.Store()):
            yield name


def _kept_words(node: ast.AST) -> Iterator[str]:
    """Yield what a node has that must stay as it is: what it defines or imports, parameters, texts."""
    match node:
        case ast.FunctionDef(word) | ast.AsyncFunctionDef(word) | ast.ClassDef(word):
            yield word
        case ast.arg(word) | ast.keyword(str(word)) | ast.Constant(str(word)):
            yield word
        case ast.alias():
            yield from (node.name, _bound_by(node))
        case ast.Nonlocal(words):
            yield from words


def _words_of(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(word) | ast.Attribute(_, word):
            yield word
    yield from _kept_words(node)


def constants_in(source: str) -> Constants:
    """Find the small constants of a module that a board binds once: integers and private texts, and both in a
    class of nothing else. Raises SyntaxError when `source` is no Python.
    """
    tree, _ = _board_tree(source)
    return _constants(tree, Counter(_bound_names(tree)))


def origins_in(source: str, names_of: Callable[[str], Collection[str]]) -> Origins:
    """Find what a module only passes on, and where that is imported from: as a type checker sees it, by
    `from other import name as name` and by `from other import *`. `names_of` returns the names of a module by
    the module's name. Raises SyntaxError when `source` is no Python.
    """
    tree, _ = _board_tree(source)
    found: Origins = {}
    for node in walk(tree):
        match node:
            case ast.ImportFrom(str(module), [ast.alias("*")]):
                found |= dict.fromkeys(names_of(module), module)
            case ast.ImportFrom(str(module), aliases):
                found |= {alias.name: module for alias in aliases if alias.asname == alias.name}
    return found


def names_in(source: str) -> set[str]:
    """Find the public names that a module binds. Raises SyntaxError when `source` is no Python."""
    tree, _ = _board_tree(source)
    symbols = symtable(ast.unparse(tree), "", "exec").get_symbols()
    bound = {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}
    return {name for name in bound if not name.startswith("_")}


def _by_origin(
    module: str, aliases: Collection[ast.alias], origins_of: Callable[[str], Mapping[str, str]]
) -> dict[str, list[str]]:
    """Sort what is imported of a module by the modules that make it."""
    found: dict[str, list[str]] = {}
    for alias in aliases:
        found.setdefault(origins_of(module).get(alias.name, module), []).append(ast.unparse(alias))
    return found


def _constants(tree: ast.Module, bound: Mapping[str, int]) -> Constants:
    found: Constants = {}
    all_integers: dict[str, int] = {}

    def add(body: ast.Module | ast.ClassDef, prefix: str) -> None:
        for name, assignment in _assignments(body):
            value = _value(assignment.value, all_integers)
            if value is None or not _CONSTANT.fullmatch(name) or bound[_first(prefix + name)] > 1:
                continue
            if isinstance(value, int):
                all_integers[prefix + name] = value
                if abs(value) <= _MAX_INTEGER:
                    found[prefix + name] = value
            elif len(value) <= _MAX_CHARS and (prefix or _PRIVATE.match(name)):
                found[prefix + name] = value

    add(tree, "")
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.bases and all(map(_is_plain, node.body)):
            add(node, node.name + ".")
    return found


def _value(node: ast.expr, integers: Mapping[str, int]) -> int | str | None:
    """Evaluate an expression of literals and `integers`; return None for any other expression."""
    value: Any
    if isinstance(node, ast.Constant):
        value = node.value
    else:
        names = {inner.id for inner in walk(node) if isinstance(inner, ast.Name)}
        allowed = (ast.Constant, ast.Name, ast.BinOp, ast.operator, ast.UnaryOp, ast.unaryop)
        if not names <= set(integers) or not all(isinstance(inner, allowed) for inner in walk(node)):
            return None
        value = eval(compile(ast.Expression(node), "constant", "eval"), dict(integers))
    return value if type(value) in (int, str) else None


def _assignments(body: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.Assign]]:
    for node in body.body:
        match node:
            case ast.Assign([ast.Name(name)]):
                yield name, node


def _is_plain(node: ast.stmt) -> bool:
    is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_docstring or (isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant))


@lru_cache(maxsize=256)
def _board_tree(source: str) -> tuple[ast.Module, list[tuple[int, int]]]:
    """Parse a module without what is there for the type check or for CPython.

    Returns the tree, which is nobody's to change, and of each removed part the first and the last line.
    Raises SyntaxError.
    """
    body: list[ast.stmt] = []
    removed = []
    for node in tree_of(source).body:
        if (isinstance(node, ast.Assign) and ast.unparse(node) == "TYPE_CHECKING = False") or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ):
            removed.append((node.lineno, _end(node)))
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "MICROPYTHON" and node.orelse:
            removed.append((_end(node.body[-1]) + 1, _end(node)))
            body.append(ast.copy_location(ast.If(node.test, node.body, []), node))
        else:
            body.append(node)
    return ast.Module(body, []), removed


@lru_cache(maxsize=512)
def _nodes(source: str) -> list[ast.AST]:
    """Return every node of a module's tree. Raises SyntaxError."""
    return list(walk(tree_of(source)))


def _bound_names(tree: ast.AST) -> Iterator[str]:
    """Yield a name each time that it, or an attribute of it, is bound, in any scope."""
    for node in walk(tree):
        match node:
            case ast.Name(name, ast.Store() | ast.Del()):
                yield name
            case ast.Attribute(ast.Name(name), _, ast.Store() | ast.Del()):
                yield name
            case ast.arg(name) | ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                yield name
            case ast.alias():
                yield _bound_by(node)
            case ast.Global(names) | ast.Nonlocal(names):
                yield from names


def _reads(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield every read of a `NAME` and of a `NAME.ATTRIBUTE`, with its node."""
    for node in walk(tree):
        match node:
            case ast.Name(name, ast.Load()):
                yield name, node
            case ast.Attribute(ast.Name(name), attribute, ast.Load()):
                yield f"{name}.{attribute}", node


def _bound_by(alias: ast.alias) -> str:
    return alias.asname or alias.name


def _first(name: str) -> str:
    return name.partition(".")[0]


def _end(node: ast.expr | ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno


class _Edits:
    """Edits to a text that keep every line's number. Positions are those of `ast`: lines from 1, columns in
    bytes.
    """

    def __init__(self, text: str) -> None:
        self._lines = [line.encode() for line in text.splitlines(keepends=True)]
        self._edits: list[tuple[tuple[int, int], tuple[int, int], str]] = []

    def replace_node(self, node: ast.expr | ast.stmt, by: str) -> None:
        assert node.end_col_offset is not None
        self.replace((node.lineno, node.col_offset), (_end(node), node.end_col_offset), by)

    def replace(self, start: tuple[int, int], end: tuple[int, int], by: str) -> None:
        self._edits.append((start, end, by))

    def text(self) -> str:
        """Apply every edit but for those inside of another, and return the text."""
        pieces = []
        at = (1, 0)
        for start, end, by in sorted(self._edits, key=lambda edit: (edit[0], (-edit[1][0], -edit[1][1]))):
            if start >= at:
                pieces += [self._between(at, start), by.encode(), b"\n" * (end[0] - start[0])]
                at = end
        return b"".join([*pieces, self._between(at, (len(self._lines) + 1, 0))]).decode()

    def _between(self, start: tuple[int, int], end: tuple[int, int]) -> bytes:
        lines = [*self._lines, b""][start[0] - 1 : end[0]]
        lines[-1] = lines[-1][: end[1]]
        lines[0] = lines[0][start[1] :]
        return b"".join(lines)
