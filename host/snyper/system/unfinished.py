"""Files and folders that get their name once they are whole, and those that killed processes have left."""

import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from snyper.device.disk import lock

_OWN = re.compile(r"\.snyper-[0-9a-f]{8}\.part")
_TRIES = 3
_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # which Windows has not


def begin_part(path: Path, mode: int = 0o666) -> tuple[Path, int]:
    """Make an empty file beside `path`, and return it and its descriptor, which writes. While that is open no
    other process takes it for one that was left. Raises OSError.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)  # of Windows: no line ends
    return _begin(path, lambda part: os.open(part, flags, mode))


@contextmanager
def part_folder(path: Path) -> Iterator[Path]:
    """Make a folder beside `path` for the block, in which what gets that name may grow. Raises OSError."""
    if os.name != "posix":  # which locks no folder
        part = _name(path)
        part.mkdir()
        number = None
    else:
        part, number = _begin(path, _make_folder)
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if number is not None:
            os.close(number)


def _begin(path: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    try:
        return _begin_unnamed(path, make)
    except OSError as error:
        error.filename = str(path)  # which a person named, as they did not name the part
        raise


def _begin_unnamed(path: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    _remove_left(path.parent)
    for _ in range(_TRIES):
        part = _name(path)
        number = make(part)
        # Before it was locked, another process may have taken it for one that was left.
        if lock(number, waits=False) and part.exists():
            return part, number
        os.close(number)
        with suppress(OSError):
            _remove(part)
    part = _name(path)
    return part, make(part)  # where nothing is ever locked, nothing is taken for left either


def _name(path: Path) -> Path:
    return path.with_name(f".snyper-{secrets.token_hex(4)}.part")


def _make_folder(part: Path) -> int:
    part.mkdir()
    return os.open(part, os.O_RDONLY | _PLAIN)


def _remove_left(folder: Path) -> None:
    """Remove what killed processes of this user have left in a folder; on Windows it stays."""
    if os.name != "posix":
        return
    with suppress(OSError):  # a folder that may not be read
        for entry in os.scandir(folder):
            if _OWN.fullmatch(entry.name):
                with suppress(OSError):  # gone meanwhile, or somebody else's
                    _remove_unless_used(Path(entry.path))


def _remove_unless_used(part: Path) -> None:
    """Remove a part of this user's that no process has open. Raises OSError."""
    number = os.open(part, os.O_RDONLY | _PLAIN)
    try:
        found = os.fstat(number)
        is_own = found.st_uid == os.getuid() and (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode))
        if is_own and lock(number, waits=False):
            _remove(part)
    finally:
        os.close(number)


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink()
