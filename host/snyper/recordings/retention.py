"""Removes the oldest of what is recorded, by age and by size: never what somebody uses."""

import heapq
import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from snyper.recordings.layout import (
    DESCRIPTION,
    READERS_LOCK,
    WRITER_LOCK,
    is_own,
    segment_path,
    segments_in,
    sidecar_path,
)
from snyper.system.files import lock
from snyper.system.retention_clock import RetentionClock

_AT_ONCE = 256  # files that a step looks at
_BEGUN_S = 3_600.0  # after which a recording without segments is none that has just begun


@dataclass(frozen=True, order=True)
class _Old:
    """A segment that might be removed. The oldest is the least."""

    written_s: float  # at least that of the one before it
    folder: Path
    number: int
    bytes: int
    is_last: bool  # of its recording, or the last when that was looked at


def newest_s(place: Path) -> float | None:
    """Return when the last record in a folder of recordings was written, by its file, in seconds since 1970;
    None where there is none.
    """
    newest: float | None = None
    for path in place.glob("*/*.seg"):
        with suppress(OSError):
            newest = max(newest or 0.0, path.stat().st_mtime)
    return newest


def recordings_in(place: Path) -> list[Path]:
    """Return the folders of the recordings in a folder, by their names. Raises OSError."""
    return sorted(path.parent for path in place.glob(f"*/{DESCRIPTION}"))


def remove_old(
    place: Path,
    max_age_s: float | None = None,
    max_bytes: int | None = None,
    clock: RetentionClock | None = None,
) -> Iterator[Path]:
    """Remove segments of the recordings in a folder: those whose last record is older than `max_age_s`, and
    the oldest while all have more than `max_bytes` together. A recording without any goes an hour after
    it was begun. Ages are by `clock`, without one by the time of day.

    Each step of the iteration is short, however many there are: it looks at some files of a recording, and
    yields its folder, or removes a segment, and yields its path. Nothing is removed of what somebody reads,
    nor the segment that is written, nor what a link leads to, nor files of others. What cannot be removed is
    left, and the first reason why is raised at the end, an OSError.
    """
    found: list[list[_Old]] = []
    errors: list[OSError] = []
    total = 0
    for folder in sorted(place.iterdir()):
        if folder.is_symlink() or not any((folder / name).exists() for name in (DESCRIPTION, WRITER_LOCK)):
            continue
        segments = yield from _segments_of(folder, clock)
        total += sum(one.bytes for one in segments)
        found.append(segments)
        if not segments and (max_age_s, max_bytes) != (None, None):
            _remove_empty(folder, errors)
    now_s = time.time() if clock is None else clock.now_s
    used: set[Path] = set()
    for one in heapq.merge(*found):
        is_old = max_age_s is not None and one.written_s < now_s - max_age_s
        is_too_much = max_bytes is not None and total > max_bytes
        if not is_old and not is_too_much:
            break
        if one.folder not in used and _is_removed(one, errors):
            total -= one.bytes
            yield segment_path(one.folder, one.number)
        else:
            used.add(one.folder)  # nor what follows in it: a recording begins later, it has no holes
            yield one.folder
    if errors:
        raise errors[0]


def _is_removed(one: _Old, errors: list[OSError]) -> bool:
    try:
        return _remove(one)
    except OSError as error:
        errors.append(error)
        return False


def _segments_of(folder: Path, clock: RetentionClock | None) -> Generator[Path, None, list[_Old]]:
    numbers = segments_in(folder)
    yield folder
    found: list[_Old] = []
    written_s = 0.0
    for number in numbers:
        path = segment_path(folder, number)
        size = 0
        with suppress(FileNotFoundError):  # nobody has written the file beside it, or somebody removes both
            state = path.stat()
            stamp_s = state.st_mtime if clock is None else clock.came_s(state.st_mtime)
            written_s, size = max(written_s, stamp_s), state.st_size
            size += sidecar_path(path).stat().st_size
        found.append(_Old(written_s, folder, number, size, number == numbers[-1]))
        if len(found) % _AT_ONCE == 0:
            yield folder
    return found


def _remove(one: _Old) -> bool:
    """Remove a segment, and with the last its recording; return whether nobody uses it."""
    path = segment_path(one.folder, one.number)
    with _held(one.folder / READERS_LOCK) as is_unread, _held(one.folder / WRITER_LOCK) as is_finished:
        if not is_unread or (one.is_last and not is_finished):
            return False
        sidecar_path(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        if one.is_last and not segments_in(one.folder):
            _remove_rest(one.folder)
    return True


def _remove_empty(folder: Path, errors: list[OSError]) -> None:
    """Remove a recording that has no segment, and gets none: its recorder was killed as it began, or its end
    was about to be removed.
    """
    try:
        with _held(folder / READERS_LOCK) as is_unread, _held(folder / WRITER_LOCK) as is_finished:
            is_old = folder.stat().st_mtime < time.time() - _BEGUN_S
            if is_unread and is_finished and is_old and not segments_in(folder):
                _remove_rest(folder)
    except OSError as error:
        errors.append(error)


def _remove_rest(folder: Path) -> None:
    # What tells whose folder it is goes last, so that one whose removal is cut off is known again.
    left = sorted(folder.iterdir(), key=lambda path: path.name == WRITER_LOCK)
    for path in left:
        if is_own(path.name):
            path.unlink()
    if all(is_own(path.name) for path in left):
        folder.rmdir()


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Hold a lock for the block, if nobody else has it. Without the file there is nobody."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield True
        return
    try:
        yield lock(descriptor, waits=False)
    finally:
        os.close(descriptor)
