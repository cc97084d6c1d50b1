"""The database of the cameras: every write and every query. Blocking; one thread writes, any may read."""

import hashlib
import json
import uuid
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite

from snyper.cameras import schema
from snyper.cameras.pictures import NotAPicture, PictureFolder, decode
from snyper.cameras.plates import fold, fold_alike
from snyper.cameras.records import (
    Accepted,
    CameraState,
    Detection,
    Health,
    Overloaded,
    Picture,
    Record,
    RecordPage,
    RecordQuery,
    Registration,
    Statistics,
)
from snyper.cameras.times import day_of, seconds_of

Item = Registration | Detection | Health
Outcome = Accepted | Exception
MAX_LIMIT = 1_000
MAX_SKEW_S = 2.0  # how far ahead a camera's clock may be before its stamps are not sorted by
_DOUBLE_S = 60.0  # the document's client sends again by REST within this
_MAX_RECENT = 20_000  # bodies that a double is looked for among: 300 a second for a minute
_REPEATED_S = 3600.0  # an unchanged health is stored once in this
_MAX_COUNTED = 10_000  # rows that a query without a counter counts
_ACTIVE_S = 60.0
_WRITERS = 8  # files synced at once: the disk writes its journal once for all of them


@dataclass
class Incoming:
    """An item that is to be written, and when it came."""

    item: Item
    received_s: float
    principal: str = ""
    is_live: bool = True
    outcome: Outcome | None = None
    cursor: int | None = None
    pictures: list[tuple[int, Picture]] = field(default_factory=list)
    new_files: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    digest: str = ""


class Store:
    """A store in `folder`, with its rows in `database`, a URL of SQLAlchemy, or in SQLite there. Naive stamps
    are read in `zone`, which also has today. Raises OSError.
    """

    def __init__(self, folder: Path, database: str | None, zone: tzinfo, zone_name: str) -> None:
        self.pictures = PictureFolder(folder / "pictures")
        self._zone, self._zone_name = zone, zone_name
        self._engine = _engine(folder, database)
        self._insert: Any = sqlite.insert if self._engine.dialect.name == "sqlite" else postgresql.insert
        schema.TABLES.create_all(self._engine)
        self._pool = ThreadPoolExecutor(_WRITERS, "pictures")
        self._recent: OrderedDict[str, tuple[str, float]] = OrderedDict()
        with self._engine.begin() as db:
            rows = db.execute(sql.select(schema.numbers)).all()
            self._numbers = {row.name: row.value for row in rows}

    def close(self) -> None:
        """Let go of the database."""
        self._pool.shutdown()
        self._engine.dispose()

    # --- writing, by one thread

    def write(self, batch: Sequence[Incoming]) -> None:
        """Write all of a batch in one transaction, and set the outcome of each."""
        detected = [one for one in batch if isinstance(one.item, Detection)]
        list(self._pool.map(self._store_pictures, detected))
        try:
            self.pictures.sync({name for one in detected for name in one.new_files})
            self._write_rows([one for one in batch if one.outcome is None])
        except Exception as error:
            for one in batch:
                if not isinstance(one.outcome, Exception):
                    one.outcome = _explained(error)
        failed = [one for one in batch if isinstance(one.outcome, Exception)]
        if failed:
            self._remove_files(failed, {name for one in batch if one not in failed for name in one.new_files})

    def _remove_files(self, failed: Sequence[Incoming], used: set[str]) -> None:
        for name in {name for one in failed for name in one.new_files} - used:
            self.pictures.remove(name)

    def _store_pictures(self, one: Incoming) -> None:
        """Write the pictures of a detection; what is none costs a warning."""
        detection = one.item
        assert isinstance(detection, Detection)
        digest = hashlib.sha256(_body(detection))
        for place, sent in enumerate([detection.picture, *detection.cropped_plates]):
            if sent is None:
                continue
            try:
                content = decode(sent)
                digest.update(hashlib.sha256(content).digest())
                picture, is_new = self.pictures.store(content, one.received_s)
            except NotAPicture as error:
                what = f"cropped_plates[{place - 1}]" if place else "the picture"
                one.warnings.append(f"{what} is not kept: {error}")
                digest.update(sent.encode("utf-8", "replace") if isinstance(sent, str) else sent)
            except OSError as error:
                one.outcome = _explained(error)
                return
            else:
                one.pictures.append((place, picture))
                if is_new:
                    one.new_files.append(picture.name)
        one.digest = digest.hexdigest()

    def _write_rows(self, batch: Sequence[Incoming]) -> None:
        numbers = dict(self._numbers)
        rows: dict[sql.Table, list[dict[str, Any]]] = {}
        accepted: list[tuple[Incoming, Accepted]] = []
        with self._engine.begin() as db:
            known = self._known_ids(db, batch)
            stored = self._stored_components(db, batch)
            for one in batch:
                if isinstance(one.item, Detection):
                    accepted.append((one, self._add_detection(one, one.item, known, numbers, rows)))
                elif isinstance(one.item, Health):
                    accepted.append((one, self._add_health(one, one.item, stored, numbers, rows)))
                else:
                    accepted.append((one, Accepted(str(uuid.uuid4()), one.received_s)))
            self._add_sightings(db, batch, numbers, rows)
            for table in schema.TABLES.sorted_tables:
                if table in rows:
                    db.execute(sql.insert(table), rows[table])
            counted = [one for one, answer in accepted if not answer.is_known]
            self._count(db, counted)
            self._put_components(db, stored)
            changed = [{"name": name, "value": value} for name, value in numbers.items()]
            if changed:
                self._upsert(db, schema.numbers, changed, ("value",))
        self._numbers = numbers
        for one, answer in accepted:
            one.outcome = answer
            if one.cursor is not None:
                self._remember(one, answer)

    def _known_ids(self, db: sql.Connection, batch: Iterable[Incoming]) -> dict[str, tuple[str, str]]:
        hashes = [
            _id_hash(one.item) for one in batch if isinstance(one.item, Detection) and one.item.detection_id
        ]
        if not hashes:
            return {}
        ids = schema.device_ids
        rows = db.execute(sql.select(ids).where(ids.c.hash.in_(hashes))).all()
        return {row.hash: (row.id, row.digest) for row in rows}

    def _add_detection(
        self,
        one: Incoming,
        item: Detection,
        known: dict[str, tuple[str, str]],
        numbers: dict[str, int],
        rows: dict[sql.Table, list[dict[str, Any]]],
    ) -> Accepted:
        warnings = [*item.warnings, *one.warnings]
        double = None
        if item.detection_id:
            key = _id_hash(item)
            if key in known:
                first, digest = known[key]
                if digest != one.digest:
                    warnings.append("this detection_id came before with another body: the first is kept")
                return Accepted(first, one.received_s, tuple(warnings), is_known=True)
            answer = item.detection_id
            known[key] = (answer, one.digest)
            rows.setdefault(schema.device_ids, []).append({"hash": key, "id": answer, "digest": one.digest})
        else:
            answer = str(uuid.uuid4())
            double = self._double_of(one)
        one.cursor = numbers["detections"] = numbers.get("detections", 0) + 1
        captured_s = seconds_of(item.timestamp, self._zone)
        if captured_s is None:
            warnings.append("timestamp is no ISO 8601: the time at which it came stands for it")
        is_usable = captured_s is not None and captured_s <= one.received_s + MAX_SKEW_S
        rows.setdefault(schema.detections, []).append(
            {
                "cursor": one.cursor,
                "id": answer,
                "camera_id": item.camera_id,
                "checkpoint_id": item.checkpoint_id,
                "timestamp": item.timestamp,
                "captured_s": captured_s,
                "time_s": captured_s if is_usable else one.received_s,
                "received_s": one.received_s,
                "vehicles_count": item.vehicles_count,
                "plates_count": item.plates_count,
                "plates": _json(item.ocr_results),
                "details": _json(item.details),
                "is_annotated": item.is_annotated,
                "digest": one.digest,
                "possible_double_of": double,
                "warnings": _json(warnings),
                "principal": one.principal,
            }
        )
        for place, picture in one.pictures:
            rows.setdefault(schema.pictures, []).append(
                {"cursor": one.cursor, "place": place, **vars(picture)}
            )
        return Accepted(answer, one.received_s, tuple(warnings))

    def _add_sightings(
        self,
        db: sql.Connection,
        batch: Iterable[Incoming],
        numbers: dict[str, int],
        rows: dict[sql.Table, list[dict[str, Any]]],
    ) -> None:
        seen = {
            (one.cursor, folded)
            for one in batch
            if one.cursor is not None and isinstance(one.item, Detection)
            for plate in one.item.ocr_results
            if (folded := fold(plate))
        }
        if not seen:
            return
        plates = schema.plates
        texts = sorted({folded for _, folded in seen})
        found = db.execute(
            sql.select(plates.c.folded, plates.c.number).where(plates.c.folded.in_(texts))
        ).all()
        known = {row.folded: row.number for row in found}
        for text in texts:
            if text not in known:
                known[text] = numbers["plates"] = numbers.get("plates", 0) + 1
                new = {"number": known[text], "folded": text, "alike": fold_alike(text)}
                rows.setdefault(plates, []).append(new)
        rows[schema.sightings] = [
            {"plate": known[folded], "cursor": cursor} for cursor, folded in sorted(seen)
        ]

    def _double_of(self, one: Incoming) -> str | None:
        found = self._recent.get(one.digest)
        return found[0] if found and one.received_s - found[1] <= _DOUBLE_S else None

    def _remember(self, one: Incoming, answer: Accepted) -> None:
        self._recent[one.digest] = (answer.id, one.received_s)
        self._recent.move_to_end(one.digest)
        while len(self._recent) > _MAX_RECENT:
            self._recent.popitem(last=False)

    def _stored_components(self, db: sql.Connection, batch: Iterable[Incoming]) -> dict[tuple[str, str], Any]:
        names = {(one.item.camera_id, one.item.component) for one in batch if isinstance(one.item, Health)}
        if not names:
            return {}
        table = schema.components
        condition = sql.tuple_(table.c.camera_id, table.c.component).in_(sorted(names))
        rows = db.execute(sql.select(table).where(condition)).mappings()
        return {(row["camera_id"], row["component"]): dict(row) for row in rows}

    def _add_health(
        self,
        one: Incoming,
        item: Health,
        stored: dict[tuple[str, str], Any],
        numbers: dict[str, int],
        rows: dict[sql.Table, list[dict[str, Any]]],
    ) -> Accepted:
        answer = Accepted(str(uuid.uuid4()), one.received_s, item.warnings)
        last = stored.get((item.camera_id, item.component))
        is_recent = last is not None and one.received_s - last["stored_s"] < _REPEATED_S
        if last and is_recent and (last["status"], last["message"]) == (item.status, item.message):
            return answer
        number = numbers["healths"] = numbers.get("healths", 0) + 1
        common = {"camera_id": item.camera_id, "component": item.component}
        common |= {"status": item.status, "message": item.message}
        stored[item.camera_id, item.component] = {**common, "stored_s": one.received_s, "is_new": True}
        rows.setdefault(schema.healths, []).append(
            {
                **common,
                "number": number,
                "id": answer.id,
                "checkpoint_id": item.checkpoint_id,
                "timestamp": item.timestamp,
                "received_s": one.received_s,
                "details": _json(item.details),
                "principal": one.principal,
            }
        )
        return answer

    def _put_components(self, db: sql.Connection, stored: dict[tuple[str, str], Any]) -> None:
        rows = [row for row in stored.values() if row.pop("is_new", False)]
        if rows:
            self._upsert(db, schema.components, rows, ("status", "message", "stored_s"))

    def _count(self, db: sql.Connection, batch: Sequence[Incoming]) -> None:
        """Keep the counters of cameras and days."""
        cameras: dict[str, dict[str, Any]] = {}
        days: Counter[tuple[str, str]] = Counter()
        for one in batch:
            item = one.item
            row = cameras.setdefault(
                item.camera_id,
                {
                    "camera_id": item.camera_id,
                    "first_seen_s": one.received_s,
                    "registered_s": None,
                    "detections": 0,
                    "healths": 0,
                    "health_status": "",
                    "last_cursor": None,
                    "skew_s": None,
                },
            )
            row |= {"checkpoint_id": item.checkpoint_id, "last_seen_s": one.received_s}
            day = day_of(one.received_s, self._zone).isoformat()
            captured_s = seconds_of(item.timestamp, self._zone) if one.is_live else None
            if captured_s is not None:
                row["skew_s"] = captured_s - one.received_s
            if isinstance(item, Registration):
                row["registered_s"] = one.received_s
            elif isinstance(item, Detection):
                row["detections"] += 1
                row["last_cursor"] = one.cursor
                days[day, "detections"] += 1
            else:
                row["healths"] += 1
                row["health_status"] = item.status
                days[day, "healths"] += 1
        if not cameras:
            return
        statement = self._insert(schema.cameras)
        old, new = schema.cameras.c, statement.excluded
        statement = statement.on_conflict_do_update(
            index_elements=["camera_id"],
            set_={
                "checkpoint_id": new.checkpoint_id,
                "registered_s": sql.func.coalesce(new.registered_s, old.registered_s),
                "last_seen_s": new.last_seen_s,
                "detections": old.detections + new.detections,
                "healths": old.healths + new.healths,
                "health_status": sql.case(
                    (new.health_status != "", new.health_status), else_=old.health_status
                ),
                "skew_s": sql.func.coalesce(new.skew_s, old.skew_s),
                "last_cursor": sql.func.coalesce(new.last_cursor, old.last_cursor),
            },
        )
        db.execute(statement, list(cameras.values()))
        rows: dict[str, dict[str, Any]] = {}
        for (day, kind), count in days.items():
            row = {"zone": self._zone_name, "day": day, "detections": 0, "healths": 0}
            rows.setdefault(day, row)[kind] = count
        if rows:
            statement = self._insert(schema.days)
            old, new = schema.days.c, statement.excluded
            sums = {name: old[name] + new[name] for name in ("detections", "healths")}
            db.execute(
                statement.on_conflict_do_update(index_elements=["zone", "day"], set_=sums),
                list(rows.values()),
            )

    def _upsert(
        self, db: sql.Connection, table: sql.Table, rows: list[dict[str, Any]], changing: Sequence[str]
    ) -> None:
        statement = self._insert(table)
        changes = {name: statement.excluded[name] for name in changing}
        keys = [column.name for column in table.primary_key]
        db.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes), rows)

    # --- reading, by any thread

    def statistics(self, now_s: float) -> Statistics:
        """Return the counters. Raises sqlalchemy.exc.SQLAlchemyError."""
        cameras, days = schema.cameras, schema.days
        today = day_of(now_s, self._zone).isoformat()
        with self._engine.connect() as db:
            total = db.execute(
                sql.select(
                    sql.func.count(),
                    sql.func.coalesce(sql.func.sum(cameras.c.detections), 0),
                    sql.func.coalesce(sql.func.sum(cameras.c.healths), 0),
                    sql.func.coalesce(
                        sql.func.sum(sql.case((cameras.c.last_seen_s > now_s - _ACTIVE_S, 1), else_=0)), 0
                    ),
                    sql.func.coalesce(sql.func.max(cameras.c.last_seen_s), 0.0),
                ).select_from(cameras)
            ).one()
            of_today = db.execute(
                sql.select(days.c.detections, days.c.healths).where(
                    days.c.zone == self._zone_name, days.c.day == today
                )
            ).first() or (0, 0)
        return Statistics(
            int(total[1]),
            of_today[0],
            int(total[2]),
            of_today[1],
            total[0],
            int(total[3]),
            total[4],
            self._zone_name,
        )

    def cameras(self, now_s: float) -> list[CameraState]:
        """Return all cameras, by name. Raises sqlalchemy.exc.SQLAlchemyError."""
        table, pictures = schema.cameras, schema.pictures
        joined = table.outerjoin(
            pictures, (pictures.c.cursor == table.c.last_cursor) & (pictures.c.place == 0)
        )
        columns = [column for column in pictures.c if column.name != "cursor"]
        query = sql.select(table, *columns).select_from(joined).order_by(table.c.camera_id)
        with self._engine.connect() as db:
            rows = db.execute(query).all()
        return [
            CameraState(
                camera_id=row.camera_id,
                checkpoint_id=row.checkpoint_id,
                registered_s=row.registered_s,
                first_seen_s=row.first_seen_s,
                last_seen_s=row.last_seen_s,
                is_active=row.last_seen_s > now_s - _ACTIVE_S,
                detection_count=row.detections,
                health_status=row.health_status,
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
        with self._engine.connect() as db:
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
            return int(
                db.execute(
                    sql.select(sql.func.coalesce(sql.func.sum(schema.cameras.c.detections), 0))
                ).scalar_one()
            )
        some = sql.select(table.c.cursor).where(*conditions).limit(_MAX_COUNTED).subquery()
        return int(db.execute(sql.select(sql.func.count()).select_from(some)).scalar_one())

    def _pictures_of(self, db: sql.Connection, cursors: Sequence[int]) -> dict[int, dict[int, Picture]]:
        table = schema.pictures
        found: dict[int, dict[int, Picture]] = {}
        query = sql.select(table).where(table.c.cursor.in_(cursors)).order_by(table.c.place)
        for row in db.execute(query):
            found.setdefault(row.cursor, {})[row.place] = _picture(row)
        return found


def _engine(folder: Path, database: str | None) -> sql.Engine:
    if database is not None:
        url = sql.make_url(database)
        return sql.create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    engine = sql.create_engine(f"sqlite:///{folder / 'cameras.db'}")

    @sql.event.listens_for(engine, "connect")
    def set_up(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000"):
            connection.execute(f"PRAGMA {pragma}")

    @sql.event.listens_for(engine, "begin")
    def begin(connection: sql.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _explained(error: Exception) -> Exception:
    """Return what whoever sent something is told of a fault of the disk or the database."""
    return Overloaded(f"it could not be stored, send it again: {getattr(error, 'orig', None) or error}")


def _body(detection: Detection) -> bytes:
    """Return a detection without its pictures and stamps of delivery, the same for the same."""
    fields = [
        *(detection.camera_id, detection.checkpoint_id, detection.timestamp, detection.detection_id),
        *(detection.vehicles_count, detection.plates_count, detection.ocr_results, detection.details),
    ]
    return json.dumps(fields, sort_keys=True, ensure_ascii=False).encode()


def _id_hash(item: Item) -> str:
    assert isinstance(item, Detection)
    return hashlib.sha256(json.dumps([item.camera_id, item.detection_id]).encode()).hexdigest()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _picture(row: Any) -> Picture:
    return Picture(row.name, row.media_type, row.width, row.height, row.length)


def _record(row: Any, pictures: dict[int, Picture]) -> Record:
    return Record(
        cursor=row.cursor,
        id=row.id,
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
        warnings=tuple(json.loads(row.warnings)),
    )
