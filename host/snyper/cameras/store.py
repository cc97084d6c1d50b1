"""The store of the cameras: pictures, then rows, then the answers. One thread writes, blocking."""

import contextlib
import hashlib
import logging
import math
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import sqlalchemy as sql

from snyper.cameras import schema
from snyper.cameras.batch import Batch, Incoming, digest_of
from snyper.cameras.check import Check
from snyper.cameras.database import Database, said_of
from snyper.cameras.grants import is_among
from snyper.cameras.log import LogTable
from snyper.cameras.pictures import NotAPicture, PictureFolder, decode
from snyper.cameras.plates import fold
from snyper.cameras.queries import named_cameras
from snyper.cameras.recent import WINDOW_S, RecentBodies
from snyper.cameras.records import CamerasError, CameraSettings, Detection, Malformed, Overloaded
from snyper.cameras.removal import Removal
from snyper.cameras.retention import Retention, Sweep
from snyper.cameras.zones import Zones
from snyper.system.retention_clock import FILE, RetentionClock

_log = logging.getLogger(__name__)
_ERASED_AT_ONCE = 50
_SETTINGS = [field.name for field in fields(CameraSettings)]
_LOOK_S = 1.0  # between two looks at how much of the disk is free
_WRITERS = 8  # files synced at once: the disk writes its journal once for all of them


class Store:
    """A store in `folder`, with its rows in `database`. With less than `keep_free_bytes` of the disk free no
    picture is taken. Raises OSError.
    """

    def __init__(self, folder: Path, database: Database, zones: Zones, keep_free_bytes: int) -> None:
        self._folder = folder
        self._clock: RetentionClock | None = None  # once something is removed by its age
        self.pictures = PictureFolder(folder / "pictures")
        self._database, self._zones = database, zones
        self._keep_free_bytes = keep_free_bytes
        self._is_full, self._look_s = False, -math.inf
        self._recent = RecentBodies()
        self._is_recent_known = False
        self._fault = ""  # of the database, when last written to
        self._cameras: set[str] = set()  # that have a row, as far as was asked
        self._removal = Removal(database, self.pictures)
        self.log = LogTable(database)
        # An executor's futures, which nobody waits for, cost more than the queue.
        self._unwritten: SimpleQueue[tuple[Incoming, Callable[[], object]] | None] = SimpleQueue()
        self._writers = [
            threading.Thread(target=self._write_pictures_of_all, name="camera pictures", daemon=True)
            for _ in range(_WRITERS)
        ]
        self._load_recent()
        for writer in self._writers:
            writer.start()

    def close(self) -> None:
        """End the threads that write pictures."""
        if self._clock is not None:
            self._clock.update()
        for _ in self._writers:
            self._unwritten.put(None)
        for writer in self._writers:
            writer.join()

    def prepare(self, one: Incoming, then: Callable[[], object]) -> None:
        """Write the pictures of a detection in a thread, several at once, and call `then` in it."""
        self._unwritten.put((one, then))

    def write(self, items: Sequence[Incoming]) -> None:
        """Write all that came in one transaction, and set the outcome of each. What has pictures is prepared.
        A fault of one item is its outcome alone. Raises nothing.
        """
        detections = [one for one in items if isinstance(one.item, Detection)]
        try:
            for one in detections:
                self._place_pictures(one)
            placed = [one for one in detections if one.outcome is None]
            self.pictures.sync({picture.name for one in placed for _, picture in one.pictures})
            self._write_rows([one for one in items if one.outcome is None])
            self._remove_unused(detections)
        except Exception as error:
            for one in items:
                one.outcome = one.outcome or _refusal(error)
            with contextlib.suppress(OSError):  # `check` finds what is left
                self._remove_unused(detections)

    def settings(self) -> dict[str, CameraSettings]:
        """Return what is set of single cameras."""
        table = schema.camera_settings
        with self._database.reading() as db:
            rows = db.execute(sql.select(table)).mappings().all()
        return {row["camera_id"]: CameraSettings(**{name: row[name] for name in _SETTINGS}) for row in rows}

    def change_settings(self, camera_id: str, settings: CameraSettings) -> bool:
        """Set what is so of a camera; tell whether there is such a camera."""
        cameras = schema.cameras
        with self._database.writing() as db:
            is_there = sql.select(cameras.c.camera_id).where(cameras.c.camera_id == camera_id)
            if db.scalar(is_there) is None:
                return False
            row = {"camera_id": camera_id, **asdict(settings)}
            self._database.put(db, schema.camera_settings, [row], _new_settings)
        return True

    def protect(self, cursor: int, is_protected: bool) -> bool:
        """Have a record outlive retention, or no more; tell whether it is there."""
        table = schema.detections
        with self._database.writing() as db:
            change = sql.update(table).where(table.c.cursor == cursor).values(is_protected=is_protected)
            return bool(db.execute(change).rowcount)

    def erase_some(self, plate: str, among: Sequence[str] | None) -> int:
        """Erase some of the records that have this very plate, folded, of those cameras, and return how
        many.
        """
        sightings, plates = schema.sightings, schema.plates
        query = sql.select(sightings.c.cursor).join(plates, plates.c.number == sightings.c.plate)
        query = query.where(plates.c.folded == fold(plate))
        if among is not None:
            table = schema.detections
            with self._database.reading() as db:
                is_theirs = table.c.camera_id.in_(named_cameras(db, among))
            query = query.join(table, table.c.cursor == sightings.c.cursor).where(is_theirs)
        return self._remove_some(query)

    def cameras_with_records(self, named: Sequence[str]) -> dict[str, bool]:
        """Return the cameras that are named, and of each whether it has records."""
        cameras, detections = schema.cameras.c.camera_id, schema.detections.c.camera_id
        has_records = sql.select(detections).where(detections == cameras).exists()
        with self._database.reading() as db:
            return {
                name: has
                for name, has in db.execute(sql.select(cameras, has_records))
                if is_among(name, named)
            }

    def remove_some_cameras(self, names: Sequence[str]) -> int:
        """Remove some of the records of cameras, and return how many; where there are none, the cameras."""
        table = schema.detections
        count = self._remove_some(sql.select(table.c.cursor).where(table.c.camera_id.in_(names)))
        if not count:
            self._removal.remove_cameras(names)
            self._cameras.difference_update(names)
        return count

    def _remove_some(self, query: sql.Select[Any]) -> int:
        """Remove some of the records whose cursors a query finds, and return how many."""
        with self._database.reading() as db:
            cursors = list(db.scalars(query.limit(_ERASED_AT_ONCE)))
        self._removal.remove_records(cursors)
        return len(cursors)

    def leave_no_trace(self, rewrites: bool) -> None:
        """Have what was removed in no file any more, as Removal has it. Raises OSError."""
        self._removal.leave_no_trace(rewrites)

    def new_check(self, repairs: bool, forces: bool, reads: bool) -> Check:
        """Return a check of all pictures, to be taken step by step."""
        return Check(self._database, self.pictures, self._removal, repairs, forces, reads)

    def new_sweep(self, retention: Retention) -> Sweep:
        """Return a sweep of what is too old now, to be taken step by step. Raises
        sqlalchemy.exc.SQLAlchemyError.
        """
        if self._clock is None:
            self._clock = RetentionClock(self._folder / FILE, self._newest_s)
        else:
            self._clock.update()
        return Sweep(self._database, self.pictures, self._removal, self.log, retention, self._clock)

    @property
    def clock_doubt(self) -> str | None:
        """Say what is not believed of the time of day, if anything."""
        return None if self._clock is None else self._clock.doubt

    def _newest_s(self) -> float | None:
        """Return when the last record came."""
        table = schema.detections
        last = sql.select(table.c.received_s).order_by(table.c.cursor.desc()).limit(1)
        with self._database.reading() as db:
            found: float | None = db.scalar(last)
        return found

    def _write_pictures_of_all(self) -> None:
        while (job := self._unwritten.get()) is not None:
            self._prepare(*job)
            del job  # which has the pictures

    def _prepare(self, one: Incoming, then: Callable[[], object]) -> None:
        try:
            if self._is_disk_full():
                one.outcome = Overloaded("the server's disk is full: send it again later")
            else:
                self._write_pictures(one)
        except Exception as error:
            one.outcome = _refusal(error)
        finally:
            then()

    def _is_disk_full(self) -> bool:
        """Tell whether there is too little room for pictures, as it was within the last second."""
        now_s = time.monotonic()
        if now_s >= self._look_s:
            self._look_s = now_s + _LOOK_S
            self._is_full = shutil.disk_usage(self.pictures.folder).free < self._keep_free_bytes
        return self._is_full

    def _write_pictures(self, one: Incoming) -> None:
        """Write the pictures of a detection; what is none costs a warning. Raises OSError."""
        assert isinstance(one.item, Detection)
        digests = []
        for place, sent in enumerate([one.item.picture, *one.item.cropped_plates]):
            if sent is None:
                continue
            try:
                one.parts.append((place, self.pictures.write(decode(sent), one.received_s)))
                digests.append(one.parts[-1][1].digest)
            except NotAPicture as error:
                what = f"cropped_plates[{place - 1}]" if place else "the picture"
                one.warnings.append(f"{what} is not kept: {error}")
                digests.append(hashlib.sha256(_bytes(sent)).digest())
        one.digest = digest_of(one.item, digests)

    def _place_pictures(self, one: Incoming) -> None:
        """Give pictures their names, or remove them where the detection is not taken."""
        assert isinstance(one.item, Detection)
        one.digest = one.digest or digest_of(one.item, [])
        for _, part in one.parts:
            try:
                if one.outcome is not None:
                    part.file.unlink(missing_ok=True)
                elif self.pictures.place(part):
                    one.new_files.add(part.picture.name)
            except OSError as error:
                one.outcome = one.outcome or _refusal(error)

    def _write_rows(self, items: Sequence[Incoming]) -> None:
        """Write rows in one transaction; where an item is at fault, each in one of its own."""
        try:
            if not self._is_recent_known:
                self._load_recent()
            with self._database.writing() as db:
                batch = Batch(self._database, db, self._recent, self._zones, self._cameras)
                outcomes = batch.write(items)
        except Exception as error:
            self._is_recent_known = False
            for one in items:
                one.cursor = None
                if isinstance(error, sql.exc.DBAPIError) and error.connection_invalidated:
                    one.new_files.clear()  # which stay: it may have been done all the same
            if len(items) > 1 and not _is_of_the_disk(error):
                for one in items:
                    self._write_rows([one])
            else:
                self._tell_fault(error)
                for one in items:
                    one.outcome = _refusal(error)
        else:
            self._fault = ""
            self._cameras |= batch.more_cameras
            for one, outcome in zip(items, outcomes, strict=True):
                one.outcome = outcome

    def _tell_fault(self, error: Exception) -> None:
        """Log what the database says of a fault, once: senders may be strangers, and come again."""
        fault = said_of(error)
        if fault != self._fault:
            _log.warning("what cameras send cannot be written: %s", fault)
        self._fault = fault

    def _remove_unused(self, detections: Sequence[Incoming]) -> None:
        """Remove the new pictures of what has no row."""
        kept = [one for one in detections if one.cursor is not None]
        used = {picture.name for one in kept for _, picture in one.pictures}
        for one in detections:
            for name in one.new_files - used:
                self.pictures.remove(name)

    def _load_recent(self) -> None:
        """Learn the bodies of the last minute, which another process may have taken."""
        table = schema.detections
        since_s = time.time() - WINDOW_S
        self._recent.clear()
        query = sql.select(table).where(table.c.received_s > since_s).order_by(table.c.cursor)
        with self._database.reading() as db:
            for row in db.execute(query):
                if row.device_id is None:
                    self._recent.add(row.digest, row.possible_double_of or row.id, row.received_s)
        self._is_recent_known = True


def _new_settings(old: Any, new: Any) -> dict[str, Any]:
    return {name: new[name] for name in _SETTINGS}


def _bytes(sent: str | bytes) -> bytes:
    return sent.encode("utf-8", "replace") if isinstance(sent, str) else sent


def _is_of_the_disk(error: Exception) -> bool:
    return isinstance(error, OSError | sql.exc.OperationalError | sql.exc.InterfaceError)


def _refusal(error: Exception) -> CamerasError:
    """Return what whoever sent something is told of a fault of the disk, the database, or what was sent."""
    if isinstance(error, sql.exc.DataError):  # of all others the database, and who keeps it, is at fault
        return Malformed("it cannot be stored as it is")
    why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
    return Overloaded(f"it could not be stored{why}: send it again")
