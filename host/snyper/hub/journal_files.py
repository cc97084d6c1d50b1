"""The files that a journal is made of: their owner's alone, and known again."""

import logging
import os
import stat
from pathlib import Path
from typing import NamedTuple

from snyper.history.database import JournalError
from snyper.system.files import shown

_PARTS = ("", "-wal", "-shm")  # SQLite gives the others the permissions of the first
_STAMPED = 2  # of these: into the last one readers write, too
_OTHERS = 0o077

_logger = logging.getLogger("snyper")


class ExchangedError(JournalError):
    """The files are not those that were opened. `is_whole` says that what was written to those can still be
    brought together: they are open, and nobody has written to them.
    """

    def __init__(self, message: str, is_whole: bool) -> None:
        super().__init__(message)
        self.is_whole = is_whole


class Files(NamedTuple):
    """The files of a journal as they were found: which they are, and what the first of them and its -wal were
    like (size, and time in ns); None where there is none.
    """

    ids: tuple[tuple[int, int] | None, ...]
    stamps: tuple[tuple[int, int] | None, ...]


def make_private(path: Path) -> None:
    """Make an empty file that its owner alone may read and write, where there is none. One that is there is
    taken from everybody else, with what belongs to it, and that is said. A link is followed. Raises
    JournalError.
    """
    path = real_path(path)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        parts = [path.with_name(path.name + suffix) for suffix in _PARTS]
        if sum(_take_from_others(part) for part in parts):
            _logger.warning("journal: %s could be read by others, and is its owner's alone now", shown(path))
    except OSError as error:
        raise JournalError(f"{shown(path)} cannot be made ({error.strerror})") from None


def _take_from_others(path: Path) -> bool:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if os.name == "nt" or not path.is_file() or not mode & _OTHERS:
            return False
        path.chmod(mode & ~_OTHERS)
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        why = f"others may read {shown(path)}, and that stays so"
        _logger.warning("journal: %s (%s): chmod 600 it as its owner", why, error.strerror)
        return False


GONE = Files((None,) * len(_PARTS), (None,) * _STAMPED)


def real_path(path: Path) -> Path:
    """Return the file itself, where `path` is a link to it: beside that SQLite puts what belongs to it."""
    return Path(os.path.realpath(path))


def files_of(path: Path) -> Files:
    """Look which files there are. Raises OSError where the first of them is not."""
    path = real_path(path)
    found: list[os.stat_result | None] = [path.stat()]
    for suffix in _PARTS[1:]:
        try:
            found.append(path.with_name(path.name + suffix).stat())
        except FileNotFoundError:
            found.append(None)
    return Files(
        tuple(one and (one.st_dev, one.st_ino) for one in found),
        tuple(one and (one.st_size, one.st_mtime_ns) for one in found[:_STAMPED]),
    )


def check_files(path: Path, known: Files, was_written: bool = False) -> Files:
    """Check that the files of the journal at `path` are those that are `known`, as they were, or as SQLite
    leaves them where it `was_written` since: none of them shorter. Return how they are now. To be called
    after each transaction of ours: any of them may bring the -wal into the first file. Raises ExchangedError,
    after which SQLite would go on in files that nobody finds any more, or with what nobody has written.
    """
    try:
        now = files_of(path)
    except OSError:
        now = GONE
    if now.ids[0] != known.ids[0]:
        raise ExchangedError("it was moved or removed; a new one is begun in its place", True)
    for same, before, after in zip(_same(now, known), known.stamps, now.stamps, strict=True):
        if same and before and after and (after[0] < before[0] or not (was_written or after == before)):
            raise ExchangedError("somebody else has written to it; it is opened anew", False)
    if now.ids != known.ids:
        raise ExchangedError("its -wal or -shm was removed; it is opened anew", True)
    return now


def _same(now: Files, known: Files) -> list[bool]:
    """Tell of each file that has a stamp whether it is the one that it was."""
    return [one == other for one, other in zip(now.ids[:_STAMPED], known.ids[:_STAMPED], strict=True)]
