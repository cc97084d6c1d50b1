"""Files and folders that outlive a loss of power, and locks that end with their process."""

import contextlib
import errno
import hashlib
import os
import sys
from pathlib import Path

_BLOCK_BYTES = 256 * 1024


def sync_file(path: Path) -> None:
    """Have what was written to a file on the disk. Raises OSError."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can do that. Raises OSError."""
    if sys.platform == "win32":
        return
    descriptor = os.open(str(folder), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # of a file system that has no such thing
            raise
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, if it is there. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while True:
            block = file.read(_BLOCK_BYTES)
            if not block:
                return digest.hexdigest()
            digest.update(block)


def lock(number: int, waits: bool, is_shared: bool = False) -> bool:
    """Lock an open file until it is closed, and tell whether that is done: without `waits` it is not where
    another process has the lock. Several may have one that `is_shared`, which Windows does not have: there
    what is open is not removed anyway. Raises OSError.
    """
    try:
        if sys.platform == "win32":
            if is_shared:
                return True
            import msvcrt

            msvcrt.locking(number, msvcrt.LK_LOCK if waits else msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(
                number, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | (0 if waits else fcntl.LOCK_NB)
            )
    except OSError:
        if waits:
            raise
        return False
    return True


def shown(path: Path) -> str:
    """Format a path for people, and for JSON: also of a path that is no text."""
    return os.fsencode(str(path)).decode("utf-8", "backslashreplace")
