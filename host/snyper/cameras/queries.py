"""The queries of the cameras. Blocking; any thread may ask."""

import json
from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

import sqlalchemy as sql

from snyper.cameras import schema
from snyper.cameras.database import Database
from snyper.cameras.plates import fold
from snyper.cameras.records import CameraState, Picture, Record, RecordPage, RecordQuery, Statistics
from snyper.cameras.times import day_of

MAX_LIMIT = 1_000
_MAX_COUNTED = 10_000  # rows that a query without a counter counts
_ACTIVE_S = 60.0


class Queries:
    """The queries of a database. `zone` has today; `zone_name` is what the counters of its days go by."""

    def __init__(self, database: Database, zone: tzinfo, zone_name: str) -> None:
        self._database = database
        self._zone, self._zone_name = zone, zone_name

    def statistics(self, now_s: float) -> Statistics:
        """Return the counters. Raises sqlalchemy.exc.SQLAlchemyError."""
        cameras, days = schema.cameras, schema.days
        today = day_of(now_s, self._zone).isoformat()
        active = sql.select(sql.func.count()).where(cameras.c.last_seen_s > now_s - _ACTIVE_S)
        with self._database.reading() as db:
            numbers = _numbers(db)
            last_seen_s = db.scalar(sql.select(sql.func.max(cameras.c.last_seen_s)))
            of_today = db.execute(
                sql.select(days.c.detections, days.c.healths).where(
                    days.c.zone == self._zone_name, days.c.day == today
                )
            ).first() or (0, 0)
            active_cameras = db.scalar(active) or 0
        return Statistics(
            total_detections=numbers.get("all_detections", 0),
            today_detections=of_today[0],
            total_health_checks=numbers.get("all_healths", 0),
            today_health_checks=of_today[1],
            unique_cameras=numbers.get("cameras", 0),
            active_cameras=active_cameras,
            last_update_s=last_seen_s or 0.0,
            zone=self._zone_name,
        )

    def cameras(self, now_s: float) -> list[CameraState]:
        """Return all cameras, by name. Raises sqlalchemy.exc.SQLAlchemyError."""
        table, pictures = schema.cameras, schema.pictures
        joined = table.outerjoin(
            pictures, (pictures.c.cursor == table.c.last_cursor) & (pictures.c.place == 0)
        )
        columns = [column for column in pictures.c if column.name != "cursor"]
        query = sql.select(table, *columns).select_from(joined).order_by(table.c.camera_id)
        with self._database.reading() as db:
            rows = db.execute(query).all()
            health = _worst_health(db)
        return [
            CameraState(
                camera_id=row.camera_id,
                checkpoint_id=row.checkpoint_id,
                registered_s=row.registered_s,
                first_seen_s=row.first_seen_s,
                last_seen_s=row.last_seen_s,
                is_active=row.last_seen_s > now_s - _ACTIVE_S,
                detection_count=row.detections,
                health_status=health.get(row.camera_id, ""),
                skew_s=row.skew_s,
                last_picture=_picture(row) if row.name else None,
            )
            for row in rows
        ]

    def records(self, query: RecordQuery) -> RecordPage:
        """Return a page of records. Raises ValueError for a cursor that is none,
        sqlalchemy.exc.SQLAlchemyError.
        """
        table = schema.detections
        conditions: list[sql.ColumnElement[bool]] = []
        if query.camera_id is not None:
            conditions.append(table.c.camera_id == query.camera_id)
        if query.checkpoint_id is not None:
            conditions.append(table.c.checkpoint_id == query.checkpoint_id)
        if query.from_s is not None:
            conditions.append(table.c.time_s >= query.from_s)
        if query.until_s is not None:
            conditions.append(table.c.time_s < query.until_s)
        if query.plate is not None:
            sightings, plates = schema.sightings, schema.plates
            number = sql.select(plates.c.number).where(plates.c.folded == fold(query.plate)).scalar_subquery()
            conditions.append(
                table.c.cursor.in_(sql.select(sightings.c.cursor).where(sightings.c.plate == number))
            )
        limit = max(1, min(query.limit, MAX_LIMIT))
        place = list(conditions)
        order: Any = table.c.cursor.desc()
        if query.after is not None:
            place.append(table.c.cursor > query.after)
            order = table.c.cursor
        elif query.before is not None:
            place.append(table.c.cursor < int(query.before))
        with self._database.reading() as db:
            rows = db.execute(sql.select(table).where(*place).order_by(order).limit(limit + 1)).all()
            total = self._total(db, query, conditions)
            found = self._pictures_of(db, [row.cursor for row in rows[:limit]])
        records = tuple(_record(row, found.get(row.cursor, {})) for row in rows[:limit])
        has_more = len(rows) > limit
        return RecordPage(
            records,
            total,
            str(records[-1].cursor) if has_more else None,
            total < _MAX_COUNTED or not conditions,
        )

    def _total(
        self, db: sql.Connection, query: RecordQuery, conditions: Sequence[sql.ColumnElement[bool]]
    ) -> int:
        table = schema.detections
        if not conditions:
            return _numbers(db).get("kept", 0)
        some = sql.select(table.c.cursor).where(*conditions).limit(_MAX_COUNTED).subquery()
        return int(db.execute(sql.select(sql.func.count()).select_from(some)).scalar_one())

    def _pictures_of(self, db: sql.Connection, cursors: Sequence[int]) -> dict[int, dict[int, Picture]]:
        table = schema.pictures
        found: dict[int, dict[int, Picture]] = {}
        query = sql.select(table).where(table.c.cursor.in_(cursors)).order_by(table.c.place)
        for row in db.execute(query):
            found.setdefault(row.cursor, {})[row.place] = _picture(row)
        return found


def _numbers(db: sql.Connection) -> dict[str, int]:
    return {row.name: row.value for row in db.execute(sql.select(schema.numbers))}


def _worst_health(db: sql.Connection) -> dict[str, str]:
    """Return the worst status of each camera's components."""
    table = schema.components
    worst: dict[str, str] = {}
    for row in db.execute(sql.select(table.c.camera_id, table.c.status)):
        if row.camera_id not in worst or _badness(row.status) > _badness(worst[row.camera_id]):
            worst[row.camera_id] = row.status
    return worst


def _badness(status: str) -> int:
    return {"healthy": 0, "warning": 2, "error": 3}.get(status.lower(), 1)


def _picture(row: Any) -> Picture:
    return Picture(row.name, row.media_type, row.width, row.height, row.length)


def _record(row: Any, pictures: dict[int, Picture]) -> Record:
    return Record(
        cursor=row.cursor,
        id=row.id,
        detection_id=row.id if row.device_id is None else row.device_id,
        camera_id=row.camera_id,
        checkpoint_id=row.checkpoint_id,
        timestamp=row.timestamp,
        captured_s=row.captured_s,
        time_s=row.time_s,
        received_s=row.received_s,
        vehicles_count=row.vehicles_count,
        plates_count=row.plates_count,
        ocr_results=tuple(json.loads(row.plates)),
        details=json.loads(row.details),
        picture=pictures.pop(0, None),
        is_annotated=row.is_annotated,
        cropped_plates=tuple(pictures.values()),
        possible_double_of=row.possible_double_of,
        is_protected=row.is_protected,
        warnings=tuple(json.loads(row.warnings)),
    )
