"""Temporary folders that the next start removes, should the process that has one be killed."""

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from snyper.system.files import PRIVATE, lock

_PREFIX = "snyper-"
_LOCK = ".snyper-lock"  # whose name says that the folder is ours, and its lock that somebody uses it
_FILES = "files"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a temporary folder for the block, once those are removed that killed processes of this user have
    left. Raises OSError.
    """
    place = Path(tempfile.gettempdir())
    _remove_left(place)
    folder, number = _new(place)
    try:
        (folder / _FILES).mkdir()
        yield folder / _FILES
    finally:
        os.close(number)
        with suppress(OSError):
            _remove_unless_used(folder)


def _new(place: Path) -> tuple[Path, int]:
    """Make a folder; return it and the descriptor that holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        number = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, PRIVATE)
        # Before it was locked, another start may have taken it for one that was left.
        if lock(number, waits=False) and (folder / _LOCK).exists():
            return folder, number
        os.close(number)


def _remove_left(place: Path) -> None:
    for folder in place.glob(f"{_PREFIX}*"):
        try:
            if _is_own(folder):
                _remove_unless_used(folder)
        except OSError:  # gone meanwhile, or none of these
            continue


def _is_own(folder: Path) -> bool:
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and (sys.platform == "win32" or found.st_uid == os.getuid())


def _remove_unless_used(folder: Path) -> None:
    """Remove a folder whose lock nobody holds. Raises OSError for one without a lock, whoever made it."""
    number = os.open(folder / _LOCK, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        if not lock(number, waits=False):
            return
        shutil.rmtree(folder / _FILES, ignore_errors=True)
        if (folder / _FILES).exists():  # a worker that outlives its server writes there: the next start's
            return
        if os.name == "posix":  # Windows removes no file that is open
            (folder / _LOCK).unlink()
    finally:
        os.close(number)
    (folder / _LOCK).unlink(missing_ok=True)
    folder.rmdir()
