"""Retention of records and pictures, and the sweep that removes what is older, a little at a time."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from snyper.cameras import schema
from snyper.cameras.database import Database
from snyper.cameras.log import LogTable
from snyper.cameras.pictures import PictureFolder
from snyper.cameras.removal import Removal
from snyper.system.retention_clock import Late, RetentionClock

DAY_S = 86_400.0
_AIM_S = 0.02  # of one step: detections that come meanwhile wait at most 50 ms
_FIRST = 50  # removed at once, before it is known how long that takes
_MOST = 500
_VACUUMED_PAGES = 64


@dataclass(frozen=True)
class RetentionRule:
    """The days that records of a camera, of a class such as `person`, or of both are kept, and their
    pictures. The first rule that fits a record holds.
    """

    days: float
    picture_days: float
    camera_id: str | None = None
    class_name: str | None = None


@dataclass(frozen=True)
class Retention:
    """The days that what no rule fits is kept, and the log. Beyond `max_picture_bytes`, or with less than
    `min_free_bytes` of the disk free, the oldest pictures go sooner, never records. What is protected stays.
    """

    days: float = 30.0
    picture_days: float = 30.0
    log_days: float = 365.0
    rules: tuple[RetentionRule, ...] = ()
    max_picture_bytes: int | None = None
    min_free_bytes: int = 1_000_000_000


class Sweep:
    """One sweep over what is too old by a clock, of all that has come when it begins. Each `step` is short;
    between them others write. Raises sqlalchemy.exc.SQLAlchemyError.
    """

    def __init__(
        self,
        database: Database,
        pictures: PictureFolder,
        removal: Removal,
        log: LogTable,
        retention: Retention,
        clock: RetentionClock,
    ) -> None:
        self._database, self._pictures, self._removal = database, pictures, removal
        self._log, self._retention = log, retention
        self._now_s, self._late = clock.now_s, clock.late
        with database.reading() as db:
            self._last = db.scalar(sql.select(sql.func.max(schema.pictures.c.cursor))) or 0
        self._count = _FIRST
        self._position: tuple[float, ...] = ()
        self._is_full = True
        self._steps: list[Callable[[], bool]] = [
            self._remove_records,
            self._remove_pictures,
            self._remove_healths,
            self._remove_hours,
            self._trim_log,
            self._make_room,
            lambda: not self._database.vacuum(_VACUUMED_PAGES),
        ]

    def step(self) -> bool:
        """Remove some of what is too old, and tell whether that was all. Raises
        sqlalchemy.exc.SQLAlchemyError, OSError.
        """
        if not self._steps:
            return True
        begin = time.monotonic()
        if self._steps[0]():
            self._steps.pop(0)
            self._count, self._position, self._is_full = _FIRST, (), True
        else:
            took = time.monotonic() - begin
            most = 2.0 if self._is_full else 1.0  # a step that removed less was no measure
            self._count = max(1, min(_MOST, int(self._count * min(most, _AIM_S / max(took, 1e-6)))))
        return not self._steps

    def _remove_records(self) -> bool:
        """Remove some records that are older than they may be."""
        table = schema.detections
        old = self._walk(table, self._is_old(is_of_pictures=False), self._shortest_s(is_of_pictures=False))
        if old is None:
            return True
        self._removal.remove_records(old)
        return False

    def _remove_pictures(self) -> bool:
        """Remove some pictures that are older than they may be."""
        table = schema.pictures
        old = self._walk(table, self._is_old(is_of_pictures=True), self._shortest_s(is_of_pictures=True))
        if old is None:
            return True
        self._removal.remove_pictures(old)
        return False

    def _walk(
        self, table: sql.Table, is_old: sql.ColumnElement[bool], kept_s: float | None
    ) -> list[int] | None:
        """Return the records to remove, at most `_count`, among the next rows of a table that came longer ago
        than `kept_s`, or of all as they came, whatever the clock said; None after the last.
        """
        detections = schema.detections
        place = [table.c.cursor] if kept_s is None else [table.c.received_s, table.c.cursor]
        query = sql.select((is_old & ~detections.c.is_protected).label("is_to_go"), *place)
        if kept_s is None:
            query = query.where(table.c.cursor <= self._last)
        else:
            query = query.where(table.c.received_s < self._now_s - kept_s)
        if self._position:
            query = query.where(sql.tuple_(*place) > sql.tuple_(*self._position))
        if table is not detections:
            query = query.join(detections, detections.c.cursor == table.c.cursor)
        with self._database.reading() as db:
            rows = db.execute(query.order_by(*place).limit(_MOST)).all()
        if not rows:
            return None
        found: set[int] = set()
        for is_to_go, *position in rows:
            self._position = tuple(position)
            if is_to_go:
                found.add(position[-1])
            self._is_full = len(found) == self._count
            if self._is_full:
                break
        return sorted(found)

    def _is_old(self, is_of_pictures: bool) -> sql.ColumnElement[bool]:
        table = schema.detections
        whens: list[tuple[sql.ColumnElement[bool], float]] = []
        for rule in self._retention.rules:
            fits: list[sql.ColumnElement[bool]] = [sql.true()]
            if rule.camera_id is not None:
                fits.append(table.c.camera_id == rule.camera_id)
            if rule.class_name is not None:
                name = sql.func.lower(sql.func.trim(table.c.class_name))
                is_same = name == rule.class_name.strip().lower()
                fits.append((table.c.class_name == rule.class_name) | is_same)  # SQLite lowers ASCII alone
            whens.append((sql.and_(*fits), (rule.picture_days if is_of_pictures else rule.days) * DAY_S))
        default_s = (self._retention.picture_days if is_of_pictures else self._retention.days) * DAY_S
        kept_s = sql.case(*whens, else_=default_s) if whens else sql.literal(default_s)
        return came_before(table.c.received_s, self._now_s - kept_s, self._late)

    def _shortest_s(self, is_of_pictures: bool) -> float:
        all_of_them: tuple[Retention | RetentionRule, ...] = (self._retention, *self._retention.rules)
        return DAY_S * min(one.picture_days if is_of_pictures else one.days for one in all_of_them)

    def _remove_healths(self) -> bool:
        old = came_before(schema.healths.c.received_s, self._now_s - self._retention.days * DAY_S, self._late)
        return self._removal.remove_healths(old, self._count) < self._count

    def _remove_hours(self) -> bool:
        """Remove some counters of single cameras that are older than their records; those of all stay."""
        old = came_before(schema.hours.c.from_s, self._now_s - self._retention.days * DAY_S, self._late)
        return self._removal.remove_hours(old, self._count) < self._count

    def _trim_log(self) -> bool:
        old = came_before(schema.entries.c.last_s, self._now_s - self._retention.log_days * DAY_S, self._late)
        return self._log.trim(old, self._count) < self._count

    def _make_room(self) -> bool:
        """Remove some of the oldest pictures, where they take too much of the disk, and no more than do."""
        limit = self._retention.max_picture_bytes
        numbers = schema.numbers
        with self._database.reading() as db:
            used = db.scalar(sql.select(numbers.c.value).where(numbers.c.name == schema.PICTURE_BYTES)) or 0
        short = self._retention.min_free_bytes - shutil.disk_usage(self._pictures.folder).free
        excess = max(short, 0 if limit is None else used - limit)
        if excess <= 0:
            return True
        oldest = self._walk(schema.pictures, sql.true(), None)
        if oldest is None:
            return True
        self._removal.remove_pictures(self._enough(oldest, excess))
        return False

    def _enough(self, cursors: list[int], excess: int) -> list[int]:
        """Return the first of these records, with so many bytes of pictures: from there the walk goes on."""
        table = schema.pictures
        query = sql.select(table.c.cursor, sql.func.sum(table.c.length)).group_by(table.c.cursor)
        with self._database.reading() as db:
            lengths = db.execute(query.where(table.c.cursor.in_(cursors)).order_by(table.c.cursor)).all()
        found: list[int] = []
        for cursor, length in lengths:
            if excess <= 0:
                self._position = (found[-1],)
                break
            found.append(cursor)
            excess -= length
        return found


def came_before(
    stamp: sql.ColumnElement[Any], before_s: sql.ColumnElement[Any] | float, late: Sequence[Late]
) -> sql.ColumnElement[bool]:
    """Return the condition that what has a stamp came before a time, wherever the clock was behind then."""
    later = [stamp.between(one.from_s, one.until_s) & (stamp + one.by_s >= before_s) for one in late]
    return (stamp < before_s) & ~sql.or_(sql.false(), *later)
