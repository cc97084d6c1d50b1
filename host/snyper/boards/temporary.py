"""Temporary directories that go with the process that made them, even if it is killed."""

import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Waits for the end of the process that holds the other end of its stdin. What that one had started may still
# write while it ends, hence until the directory stays away; a minute later nothing will remove it any more.
_JANITOR = """
import os, shutil, sys, time
was_orderly = sys.stdin.buffer.read(1)
checks_left = 0 if was_orderly else 3
give_up_at = time.monotonic() + 60
while checks_left and time.monotonic() < give_up_at:
    checks_left = 3 if os.path.lexists(sys.argv[1]) else checks_left - 1
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    time.sleep(0.1)
"""


@contextmanager
def temporary_directory(prefix: str) -> Iterator[Path]:
    """Make a temporary directory, removed after the block with all that is in it.

    Should this process be killed, another one removes it, which no signal to this one or from the terminal
    reaches. Raises OSError.
    """
    directory = _place() / f"{prefix}{secrets.token_hex(4)}"
    janitor = subprocess.Popen(  # first: there is no directory without one
        [sys.executable, "-I", "-S", "-c", _JANITOR, str(directory)],
        cwd=directory.anchor,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        directory.mkdir(mode=0o700)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        janitor.communicate(b".")


def _place() -> Path:
    try:
        return Path(tempfile.gettempdir()).resolve()
    except FileNotFoundError:
        raise OSError("no directory here takes temporary files: name one in the variable TMPDIR") from None
