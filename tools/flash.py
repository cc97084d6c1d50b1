"""What the flash of each board holds: the one list, for the simulator and for deploying to a real board."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

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


def stage(role: str, directory: Path, config: Mapping[str, object]) -> None:
    """Makes `directory` a flash of that role with `config` as its config.json.

    What is there already stays, but for files of the same names. Raises ValueError, OSError.
    """
    for path, source in files(role).items():
        copy = directory / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
