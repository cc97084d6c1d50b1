"""Results of functions as they leave a worker: JSON, or a file in the folder of the work."""

import json
import os
import secrets
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

from snyper.offload.declarations import Kind, Service
from snyper.offload.work import Raised

# What a process that serves many may have to hold at once for one of them.
MAX_JSON_BYTES = 64 * 2**20
_MAX_SUFFIX = 20


def as_result(service: Service, value: object, folder: Path) -> bytes | Path:
    """Return what a service gave: JSON, or the path of a file that lies in `folder` and that nobody else has.

    A file from elsewhere is copied, one in `folder` is moved there. Raises Raised for what cannot be sent.
    """
    if service.kind is not Kind.DATA:
        if isinstance(value, bytes | bytearray | memoryview):
            kept = fresh_file(folder, "")
            kept.write_bytes(value)
            return kept
        if isinstance(value, os.PathLike):
            return _keep_file(service, Path(value), folder)
        if isinstance(value, str):
            raise Raised(
                f"{service.name} returned text, which may be the name of a file or not: it returns Path(...) "
                'for a file, {"text": ...} for JSON'
            )
    return _as_json(service, value)


def _as_json(service: Service, value: object) -> bytes:
    try:
        text = json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":")).encode()
    except RecursionError:
        raise Raised(
            f"{service.name} returned what is nested too deeply for JSON, or within itself"
        ) from None
    except Exception as error:
        raise Raised(f"{service.name} returned what JSON has not: {error}") from None
    if len(text) > MAX_JSON_BYTES:
        raise Raised(
            f"{service.name} returned {len(text):,} bytes of JSON, and {MAX_JSON_BYTES:,} is the "
            "limit: more goes into a file"
        )
    return text


def _plain(value: Any) -> object:
    """Return numpy's arrays and numbers, and others that know how, as JSON has them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__}")


def _keep_file(service: Service, path: Path, folder: Path) -> Path:
    given = path.absolute()
    real = folder.resolve()
    is_ours = given.is_relative_to(folder) or given.is_relative_to(real)
    if is_ours and not given.resolve().is_relative_to(real):
        # Such as one that came in an archive.
        raise Raised(f"{service.name} returned {path.name!r}, a link out of the folder of its work")
    try:
        # Not to wait for the other end of a FIFO.
        file = os.open(given, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise Raised(f"{service.name} returned the file {path.name!r}: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise Raised(f"{service.name} returned {path.name!r}, which is no file that holds something")
        kept = fresh_file(folder, path.suffix)
        if is_ours and not given.is_symlink() and not _is_written(file):
            given.replace(kept)
        else:
            with os.fdopen(file, "rb", closefd=False) as source, kept.open("xb") as copy:
                shutil.copyfileobj(source, copy, 2**20)
    finally:
        os.close(file)
    return kept


def fresh_file(folder: Path, suffix: str) -> Path:
    """Return a name for a result in `folder` that nothing has."""
    return folder / f"result-{secrets.token_hex(4)}{suffix if len(suffix) <= _MAX_SUFFIX else ''}"


def _is_written(file: int) -> bool:
    """Tell whether somebody may still write into an open file; True where the system does not say."""
    if sys.platform != "linux":
        return True
    import fcntl

    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)  # refused while anybody has it open for writing
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return True
    return False
