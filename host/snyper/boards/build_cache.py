"""Keep what was built where this user's other processes find it.

An entry is found by what it was built from, so that it cannot be of another age; it is there whole or not at
all; and whatever is wrong with the folder, what is wanted is built.
"""

import hashlib
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from snyper.system.files import own_file, write_private

Built = dict[str, bytes]

MOST_ENTRIES = 64  # an image is one, of a hundred kilobytes


def kept(key: str, build: Callable[[], Built], is_current: Callable[[], bool]) -> Built:
    """Return what `build` returns, or returned earlier for the same `key`: a hash of all that it depends on,
    which has not changed while it was built if `is_current` says so. The entries that were read last stay,
    MOST_ENTRIES of them. Raises what `build` does.
    """
    folder = _folder()
    if folder is None:
        return build()
    entry = folder / key
    found = _read(entry)
    if found is None:
        found = build()
        with suppress(OSError):
            if is_current():
                _write(entry, found)
    return found


def _folder() -> Path | None:
    """Return this user's folder; None where there is none, or where others may put something into it."""
    try:
        folder = own_file(user_cache_path, "builds", OSError())
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError:
        return None
    is_own = os.name != "posix" or (found.st_uid == os.geteuid() and not found.st_mode & 0o022)
    return folder if is_own else None


def _read(entry: Path) -> Built | None:
    with suppress(OSError):
        digest, _, content = entry.read_bytes().partition(b"\n")
        if hashlib.sha256(content).hexdigest().encode() == digest:
            os.utime(entry)
            return {name: b64decode(encoded) for name, encoded in json.loads(content).items()}
    return None


def _write(entry: Path, built: Built) -> None:
    content = json.dumps({name: b64encode(content).decode() for name, content in built.items()}).encode()
    write_private(entry, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    for old in sorted(entry.parent.iterdir(), key=_read_at, reverse=True)[MOST_ENTRIES:]:
        old.unlink(missing_ok=True)


def _read_at(entry: Path) -> int:
    with suppress(FileNotFoundError):  # another process has removed it
        return entry.stat().st_mtime_ns
    return 0
