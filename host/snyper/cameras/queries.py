"""The queries of the cameras. Blocking; any thread may ask."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sql

from snyper.cameras import schema
from snyper.cameras.batch import MAX_SKEW_S
from snyper.cameras.database import Database
from snyper.cameras.grants import is_among
from snyper.cameras.plate_search import PlateSearch
from snyper.cameras.plates import parse_pattern
from snyper.cameras.records import Bucket, CameraState, Picture, Record, RecordPage, RecordQuery, Statistics
from snyper.cameras.times import day_bounds, day_of
from snyper.cameras.zones import Zones
from snyper.system.text import span

MAX_LIMIT = 1_000
MAX_BUCKETS = 50_000  # in one answer: 1,000 cameras in two days by the hour, in seven weeks by the day
_MAX_COUNTED = 10_000  # rows that a query without a counter counts
_MAX_CURSOR = 2**62
_PAGE_CHARS = 1_000_000  # of details: read, they may take 20 times as much
_TABLE = schema.detections


class Queries:
    """The queries of a database."""

    def __init__(self, database: Database, zones: Zones) -> None:
        self._database, self._zones = database, zones

    def probe(self) -> None:
        """Read a little. Raises sqlalchemy.exc.SQLAlchemyError."""
        with self._database.reading() as db:
            db.scalar(sql.select(schema.numbers.c.value).limit(1))

    def statistics(self, now_s: float) -> Statistics:
        """Return the counters, none of who is active. Raises sqlalchemy.exc.SQLAlchemyError."""
        cameras, days = schema.cameras, schema.days
        today = day_of(now_s, self._zones.zone).isoformat()
        with self._database.reading() as db:
            numbers = _numbers(db)
            last_seen_s = db.scalar(sql.select(sql.func.max(cameras.c.last_seen_s)))
            of_today = db.execute(
                sql.select(days.c.detections, days.c.healths).where(
                    days.c.zone == self._zones.name, days.c.day == today
                )
            ).first() or (0, 0)
        return Statistics(
            total_detections=numbers.get("all_detections", 0),
            today_detections=of_today[0],
            total_health_checks=numbers.get("all_healths", 0),
            today_health_checks=of_today[1],
            unique_cameras=numbers.get("cameras", 0),
            active_cameras=0,
            last_update_s=last_seen_s or 0.0,
            zone=self._zones.name,
        )

    def statistics_of(self, now_s: float, among: Sequence[str]) -> Statistics:
        """Return the counters of some cameras. Raises sqlalchemy.exc.SQLAlchemyError."""
        cameras, hours = schema.cameras, schema.hours
        today_s = day_bounds(day_of(now_s, self._zones.zone), self._zones.zone)[0]
        with self._database.reading() as db:
            names = named_cameras(db, among)
            total = db.execute(
                sql.select(
                    sql.func.coalesce(sql.func.sum(cameras.c.detections), 0),
                    sql.func.coalesce(sql.func.sum(cameras.c.healths), 0),
                    sql.func.count(),
                    sql.func.coalesce(sql.func.max(cameras.c.last_seen_s), 0.0),
                ).where(cameras.c.camera_id.in_(names))
            ).one()
            today = db.execute(
                sql.select(
                    sql.func.coalesce(sql.func.sum(hours.c.detections), 0),
                    sql.func.coalesce(sql.func.sum(hours.c.healths), 0),
                ).where(hours.c.camera_id.in_(names), hours.c.from_s >= today_s)
            ).one()
        return Statistics(
            total_detections=int(total[0]),
            today_detections=int(today[0]),
            total_health_checks=int(total[1]),
            today_health_checks=int(today[1]),
            unique_cameras=total[2],
            active_cameras=0,
            last_update_s=total[3],
            zone=self._zones.name,
        )

    def cameras_of_picture(self, name: str) -> set[str]:
        """Return the cameras that a picture is of. Raises sqlalchemy.exc.SQLAlchemyError."""
        pictures = schema.pictures
        joined = pictures.join(_TABLE, _TABLE.c.cursor == pictures.c.cursor)
        query = sql.select(_TABLE.c.camera_id).select_from(joined).where(pictures.c.name == name)
        with self._database.reading() as db:
            return set(db.scalars(query.distinct().limit(_MAX_COUNTED)))

    def camera_of(self, cursor: int) -> str | None:
        """Return the camera of a record. Raises sqlalchemy.exc.SQLAlchemyError."""
        with self._database.reading() as db:
            return db.scalar(sql.select(_TABLE.c.camera_id).where(_TABLE.c.cursor == cursor))

    def cameras(self) -> list[CameraState]:
        """Return all cameras, by name, none of them as active. Raises sqlalchemy.exc.SQLAlchemyError."""
        table, pictures = schema.cameras, schema.pictures
        joined = table.outerjoin(_TABLE, _TABLE.c.cursor == table.c.last_cursor).outerjoin(
            pictures, (pictures.c.cursor == table.c.last_cursor) & (pictures.c.place == 0)
        )
        columns = [column for column in pictures.c if column.name != "cursor"]
        columns += [_TABLE.c.cursor, _TABLE.c.id, _TABLE.c.device_id]
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
                is_active=False,
                detection_count=row.detections,
                health_status=health.get(row.camera_id, ""),
                skew_s=row.skew_s,
                warnings=_warnings(row.skew_s),
                last_picture=_picture(row) if row.name else None,
                last_detection_id=row.id if row.device_id is None else row.device_id,
                last_cursor=row.cursor,
            )
            for row in rows
        ]

    def history(
        self,
        span_s: tuple[float, float],
        by_day: bool,
        camera_id: str | None,
        is_of_all: bool,
        among: Sequence[str] | None,
    ) -> list[Bucket]:
        """Return what came in the hours that begin in a span of time, hour by hour or day by day, the oldest
        first: of each camera, or of all together, among those that may be seen. Raises ValueError for more
        than MAX_BUCKETS, sqlalchemy.exc.SQLAlchemyError.
        """
        table, found = schema.hours, list[Bucket]()
        with self._database.reading() as db:
            conditions = [table.c.from_s >= span_s[0], table.c.from_s < span_s[1]]
            if is_of_all and camera_id is None and among is None:
                conditions.append(table.c.camera_id == schema.OF_ALL)
            else:
                conditions.append(table.c.camera_id != schema.OF_ALL)
            if camera_id is not None:
                conditions.append(table.c.camera_id == camera_id)
            if among is not None:
                conditions.append(table.c.camera_id.in_(named_cameras(db, among)))
            name = sql.literal(schema.OF_ALL) if is_of_all else table.c.camera_id
            totals = sql.func.sum(table.c.detections), sql.func.sum(table.c.healths)
            first_s, last_s = db.execute(
                sql.select(sql.func.min(table.c.from_s), sql.func.max(table.c.from_s)).where(*conditions)
            ).one()
            if first_s is None:
                return []
            for begin_s, end_s in self._days_between(first_s, last_s):
                from_s = sql.literal(begin_s) if by_day else table.c.from_s
                chosen = sql.select(from_s.label("begin_s"), name.label("name"), *totals)
                chosen = chosen.where(*conditions, table.c.from_s >= begin_s, table.c.from_s < end_s)
                chosen = chosen.group_by("begin_s", "name").order_by("begin_s", "name")
                rows = db.execute(chosen.limit(MAX_BUCKETS + 1 - len(found)))
                found += (Bucket(float(row[0]), row[1] or None, int(row[2]), int(row[3])) for row in rows)
                if len(found) > MAX_BUCKETS:
                    raise ValueError(f"these are more than {MAX_BUCKETS:,} counts: ask for less time")
        return found

    def _days_between(self, first_s: float, last_s: float) -> Iterator[tuple[float, float]]:
        """Yield when each day begins and ends, from that of one instant to that of another."""
        day = day_of(first_s, self._zones.zone)
        while (bounds := day_bounds(day, self._zones.zone))[0] <= last_s:
            yield bounds
            day += timedelta(days=1)

    def count(self, query: RecordQuery) -> int:
        """Return how many records meet the conditions, all of which are counted. Raises
        sqlalchemy.exc.SQLAlchemyError.
        """
        with self._database.reading() as db:
            chosen = self._choice(db, query)
            if query.after is not None:
                chosen = chosen.where(*_place(query))
            return db.scalar(sql.select(sql.func.count()).select_from(chosen.subquery())) or 0

    def records(self, query: RecordQuery, counts: bool = True) -> RecordPage:
        """Return a page of records, with fewer than `limit` where these have megabytes of details; its
        `total` is 0 unless it `counts`. Raises ValueError for a cursor
        that is none, sqlalchemy.exc.SQLAlchemyError.
        """
        limit = max(1, min(query.limit, MAX_LIMIT))
        with self._database.reading() as db:
            chosen = self._choice(db, query)
            place = _place(query)
            order: tuple[sql.ColumnElement[Any], ...]
            if query.after is not None:
                order = (_TABLE.c.cursor,)
            elif _is_by_time(query):
                order = (_TABLE.c.time_s.desc(), _TABLE.c.cursor.desc())
            else:
                order = (_TABLE.c.cursor.desc(),)
            statement = chosen.with_only_columns(_TABLE).where(*place).order_by(*order).limit(limit + 1)
            total = self._total(db, query, chosen) if counts else 0  # at first: what is counted is among them
            rows, has_more = _some(db.execute(statement), limit)
            found = self._pictures_of(db, [row.cursor for row in rows])
        records = tuple(_record(row, found.get(row.cursor, {})) for row in rows)
        next_cursor = None
        if has_more:
            last = records[-1]
            next_cursor = f"{last.time_s!r}:{last.cursor}" if _is_by_time(query) else str(last.cursor)
        return RecordPage(records, total, next_cursor, total < _MAX_COUNTED or _is_unconditional(query))

    def _choice(self, db: sql.Connection, query: RecordQuery) -> sql.Select[Any]:
        """Return the records that meet the conditions."""
        chosen = sql.select(_TABLE.c.cursor)
        if query.among is not None:
            chosen = chosen.where(_TABLE.c.camera_id.in_(named_cameras(db, query.among)))
        if query.camera_id is not None:
            chosen = chosen.where(_TABLE.c.camera_id == query.camera_id)
        if query.checkpoint_id is not None:
            chosen = chosen.where(_TABLE.c.checkpoint_id == query.checkpoint_id)
        if query.from_s is not None:
            chosen = chosen.where(_TABLE.c.time_s >= query.from_s)
        if query.until_s is not None:
            chosen = chosen.where(_TABLE.c.time_s < query.until_s)
        if query.class_name is not None:
            chosen = chosen.where(_TABLE.c.class_name == query.class_name)
        if query.plate is None:
            return chosen
        sightings, plates = schema.sightings, schema.plates
        pattern = parse_pattern(query.plate)
        search = PlateSearch(db, self._database.is_sqlite)
        numbers = search.numbers(pattern)
        if numbers is None:
            of_record = sightings.join(plates, sightings.c.plate == plates.c.number)
            seen = sql.select(sightings.c.cursor).select_from(of_record)
            return chosen.where(
                seen.where(sightings.c.cursor == _TABLE.c.cursor, search.condition(pattern)).exists()
            )
        if len(numbers) == 1:  # in whose index its records are in order
            chosen = chosen.join(sightings, sightings.c.cursor == _TABLE.c.cursor)
            return chosen.where(sightings.c.plate == numbers[0])
        seen = sql.select(sightings.c.cursor).where(sightings.c.plate.in_(numbers))
        return chosen.where(_TABLE.c.cursor.in_(seen))

    def _total(self, db: sql.Connection, query: RecordQuery, chosen: sql.Select[Any]) -> int:
        if _is_unconditional(query):
            return _numbers(db).get("kept", 0)
        some = chosen.limit(_MAX_COUNTED).subquery()
        return db.scalar(sql.select(sql.func.count()).select_from(some)) or 0

    def _pictures_of(self, db: sql.Connection, cursors: Sequence[int]) -> dict[int, dict[int, Picture]]:
        table = schema.pictures
        found: dict[int, dict[int, Picture]] = {}
        query = sql.select(table).where(table.c.cursor.in_(cursors)).order_by(table.c.place)
        for row in db.execute(query):
            found.setdefault(row.cursor, {})[row.place] = _picture(row)
        return found


def _some(found: sql.CursorResult[Any], limit: int) -> tuple[list[sql.Row[Any]], bool]:
    """Return rows of records, at most `limit` and _PAGE_CHARS, and whether there are more."""
    rows: list[sql.Row[Any]] = []
    chars = 0
    for row in found:
        if len(rows) == limit or chars > _PAGE_CHARS:
            found.close()
            return rows, True
        rows.append(row)
        chars += len(row.details)
    return rows, False


def _is_unconditional(query: RecordQuery) -> bool:
    times = (query.from_s, query.until_s)
    what = (query.plate, query.class_name, query.among)
    return all(one is None for one in (query.camera_id, query.checkpoint_id, *what, *times))


def _is_by_time(query: RecordQuery) -> bool:
    """Tell whether the newest are those captured last, as where times are asked for: else that came last."""
    return query.after is None and not (query.from_s is None and query.until_s is None)


def _place(query: RecordQuery) -> list[sql.ColumnElement[bool]]:
    """Return where a page begins. Raises ValueError for a cursor that is none."""
    if query.after is not None:
        return [_TABLE.c.cursor > min(max(query.after, -1), _MAX_CURSOR)]
    if query.before is None:
        return []
    time_s, _, cursor = query.before.rpartition(":")
    try:
        number = min(max(int(cursor), 0), _MAX_CURSOR)
        if not _is_by_time(query):
            return [_TABLE.c.cursor < number]
        return [sql.tuple_(_TABLE.c.time_s, _TABLE.c.cursor) < sql.tuple_(float(time_s), number)]
    except ValueError:
        raise ValueError("the cursor is none that a page of these records had") from None


def named_cameras(db: sql.Connection, among: Sequence[str]) -> list[str]:
    """Return the ids of the cameras that are named."""
    return [name for name in db.scalars(sql.select(schema.cameras.c.camera_id)) if is_among(name, among)]


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


def _warnings(skew_s: float | None) -> tuple[str, ...]:
    if skew_s is None or abs(skew_s) <= MAX_SKEW_S:
        return ()
    return (f"its clock is {span(abs(skew_s))} {'ahead' if skew_s > 0 else 'behind'}",)


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
        is_annotated=row.is_annotated and 0 in pictures,
        picture=pictures.pop(0, None),
        cropped_plates=tuple(pictures.values()),
        possible_double_of=row.possible_double_of,
        is_protected=row.is_protected,
        warnings=tuple(json.loads(row.warnings)),
    )
