"""The files of a recording."""

import errno
import os
import re
import stat
from io import FileIO
from pathlib import Path

FORMAT = 1
DESCRIPTION = "recording.json"
WRITER_LOCK = "writer.lock"  # held by who writes
READERS_LOCK = "readers.lock"  # shared by who reads, held by who removes
RESERVE = "reserve"  # a file that gives way to the last gap where the disk is full
_OWN = re.compile(
    rf"{re.escape(DESCRIPTION)}|{re.escape(WRITER_LOCK)}|{re.escape(READERS_LOCK)}|{RESERVE}"
    r"|\d{6,9}\.(seg|idx|idx\.part)|\.snyper-[0-9a-f]+\.part",
    re.ASCII,
)
_SEGMENT = re.compile(r"(\d{6,9})\.seg")


def segment_path(folder: Path, number: int) -> Path:
    """Return the path of the segment with that number, from 1."""
    return folder / f"{number:06}.seg"


def segments_in(folder: Path) -> list[int]:
    """Return the numbers of the segments in a folder. Raises OSError."""
    found = (_SEGMENT.fullmatch(entry.name) for entry in os.scandir(folder))
    return sorted(int(match[1]) for match in found if match)


def is_own(name: str) -> bool:
    """Return whether a file of this name is one of a recording, finished or left in the middle."""
    return _OWN.fullmatch(name) is not None


def sidecar_path(segment: Path) -> Path:
    """Return the path of the file beside a segment."""
    return segment.with_suffix(".idx")


def open_file(path: Path) -> FileIO:
    """Open a file to read it. Raises OSError, also for what is none: nobody waits for a pipe."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return FileIO(descriptor)
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no file", str(path))
