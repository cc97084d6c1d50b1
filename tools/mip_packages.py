"""The `package.json` files that `mpremote mip install` reads: `python -m tools.mip_packages` writes them."""

import json
from pathlib import Path

from snyper.boards import image
from snyper.firmware.board.version import VERSION

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("shared", "firmware/target", "firmware/master")


def package(folder: str) -> dict[str, object]:
    """Return the `package.json` of one of PACKAGES: all that it needs, as source, for a board's /lib.

    `mip` takes the addresses relative to the file; those of `deps` it would take relative to where it runs.
    Raises ValueError for a folder that is none of PACKAGES.
    """
    if folder not in PACKAGES:
        raise ValueError(f"a package is one of {', '.join(PACKAGES)}, not {folder!r}")
    own = set((image.PACKAGE / folder).glob("*.py")) - set((image.PACKAGE / "shared").glob("*_cpython.py"))
    role = Path(folder).name
    if role in image.ROLES:
        own = {image.PACKAGE / folder / "main.py"}
    to_root = "../" * len(Path(folder).parts)
    paths = sorted(image.path_of(source) for source in image.imported_by(own))
    return {"urls": [[f"{image.NAME}/{path}", to_root + path] for path in paths], "version": VERSION}


def write() -> None:
    """Bring the files of the checkout up to date. Raises OSError."""
    for folder in PACKAGES:
        (ROOT / folder / "package.json").write_text(json.dumps(package(folder), indent=2) + "\n")


if __name__ == "__main__":
    write()
