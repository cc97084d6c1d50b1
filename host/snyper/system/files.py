"""Files that a person names: how they are written, and how their names are shown."""

import errno
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from snyper.device.disk import lock as lock, shown as shown
from snyper.system.unfinished import begin_part

PRIVATE = 0o600  # the mode of a file with a secret in it
PRIVATE_FOLDER = 0o700
# What a read, or a connection, in the block of `writing` does not raise.
_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_AS_IT_IS = getattr(os, "O_BINARY", 0)  # Windows would make two bytes of each end of a line


def own_file(folder: Callable[[str], Path], name: str, no_home: Exception) -> Path:
    """Return where this user's file of that name is, in a `folder` of platformdirs. Raises `no_home` for a
    user without a home directory.
    """
    try:
        found = folder("snyper")
    except RuntimeError:
        raise no_home from None
    if not found.is_absolute():  # what older versions of platformdirs make of no home
        raise no_home
    return found / name


@contextmanager
def writing(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Open a stream of bytes for what is to be in the file `path`.

    A new file, of that `mode` less the umask, or one that is there, whose permissions stay, is there whole
    after the block, or as it was when the block raises. A link is followed. What cannot be replaced whole is
    written as it is: a FIFO, a device, a file with another name too, one in a folder that takes no other.
    This process's own stdout is written where it stands. Raises OSError, which names `path` where it is that
    which cannot be written, or has no room.
    """
    try:
        with _opened(path, mode) as file:
            yield file
    except OSError as error:
        if str(error.filename) == str(path.resolve()) or (error.filename is None and error.errno in _NO_ROOM):
            error.filename = str(path)
        raise


@contextmanager
def _opened(path: Path, mode: int) -> Iterator[BinaryIO]:
    found = _found(path)
    if found is not None and os.path.samestat(found, os.fstat(1)):
        yield sys.stdout.buffer
        sys.stdout.flush()
    elif found is None or _is_replaceable(path, found):
        with _replacing(path.resolve(), found, mode) as file:
            yield file
    else:
        with os.fdopen(os.open(path, os.O_WRONLY | _AS_IT_IS), "wb") as file:
            if stat.S_ISREG(found.st_mode):
                file.truncate()
            yield file


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all. A link is followed. Raises OSError."""
    path = path.resolve()
    new, number = begin_part(path, PRIVATE)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if os.name != "posix":  # Windows renames nothing that is open, and takes nothing for left
                file.close()
            new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def make_private(path: Path) -> None:
    """Make an empty file that only its owner may read, or take one that is there from everybody else. Raises
    OSError.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE))
    if others_access(path):
        path.chmod(PRIVATE)


def make_private_folder(path: Path) -> None:
    """Make a folder that only its owner may enter, or take one that is there from everybody else. Those above
    it are made as usual. Raises OSError.
    """
    path.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
    if others_access(path):
        path.chmod(PRIVATE_FOLDER)


def others_access(path: Path) -> bool:
    """Return whether others than its owner may use a file or folder, as far as the system says it. Raises
    OSError.
    """
    return os.name == "posix" and bool(path.stat().st_mode & 0o077)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that is the file `path`, which is made and stays: nobody else has it meanwhile. Waits for
    whoever has it. Raises OSError.
    """
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE), "r+b") as file:
        lock(file.fileno(), waits=True)
        yield


def _found(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _is_replaceable(path: Path, found: os.stat_result) -> bool:
    folder = path.parent.resolve()
    # What stands there is a link to something that is open, such as /dev/fd/3.
    is_descriptor = folder.parts[1:2] in (("dev",), ("proc",))
    is_plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and not is_descriptor
    return is_plain and os.access(path.resolve().parent, os.W_OK | os.X_OK)


@contextmanager
def _replacing(path: Path, found: os.stat_result | None, mode: int) -> Iterator[BinaryIO]:
    """Open another file beside `path` that takes its place at the end."""
    if found is not None:
        os.close(os.open(path, os.O_WRONLY))  # raises where this is not to be written
    new, number = begin_part(path, mode)
    try:
        with os.fdopen(number, "wb") as file:
            if found is not None:
                if hasattr(os, "chown"):  # not on Windows
                    with suppress(PermissionError):  # somebody else's, that may be written: it changes hands
                        os.chown(new, found.st_uid, found.st_gid)
                new.chmod(stat.S_IMODE(found.st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
            if os.name != "posix":
                file.close()
            _replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def _replace(new: Path, path: Path) -> None:
    try:
        new.replace(path)
    except OSError:
        # It is a mount of its own, or somebody else's in a folder where only the owner may remove.
        with new.open("rb") as source, path.open("r+b") as target:
            shutil.copyfileobj(source, target)
            target.truncate()
