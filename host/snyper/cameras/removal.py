"""The removal of records and pictures: of their rows, and before that is committed, of the files that no row
has any more. Who is killed in between removes them again; the other way round nobody would know of the files.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import sqlalchemy as sql

from snyper.cameras import schema
from snyper.cameras.database import Database
from snyper.cameras.pictures import PictureFolder

_DELETE_TRIGRAMS = sql.text(
    "INSERT INTO plates_trigrams (plates_trigrams, rowid, folded, alike)"
    " VALUES ('delete', :number, :folded, :alike)"
)
_OF_CAMERAS = (schema.camera_settings, schema.hours, schema.told_healths, schema.healths, schema.components)
_REMOVED_AT_ONCE = 500  # rows of records that are gone
_WITH_PLATES = "detections, entries, pictures, plates, sightings"  # tables, with what is theirs
_OPTIMIZE_TRIGRAMS = sql.text("INSERT INTO plates_trigrams (plates_trigrams) VALUES ('optimize')")


class Removal:
    """The removal of records from a database, and of pictures from their folder, in the writer's thread.
    Raises sqlalchemy.exc.SQLAlchemyError, OSError: then rows are as they were, and of their files some may be
    gone.
    """

    def __init__(self, database: Database, pictures: PictureFolder) -> None:
        self._database, self._pictures = database, pictures

    def remove_records(self, cursors: Collection[int]) -> None:
        """Remove records with all that belongs to them; what devices have used as ids stays, as hashes."""
        if not cursors:
            return
        with self._database.writing() as db:
            self._remove_pictures(db, schema.pictures.c.cursor.in_(cursors))
            sightings = schema.sightings
            numbers = set(
                db.scalars(sql.select(sightings.c.plate).where(sightings.c.cursor.in_(cursors)).distinct())
            )
            db.execute(sql.delete(sightings).where(sightings.c.cursor.in_(cursors)))
            self._remove_unseen(db, numbers)
            removed = db.execute(sql.delete(schema.detections).where(schema.detections.c.cursor.in_(cursors)))
            _add(db, "kept", -removed.rowcount)

    def remove_unrecorded(self) -> Iterator[None]:
        """Remove what is left of records that are gone, step by step, and count those that are there."""
        for table in (schema.pictures, schema.sightings):
            query = sql.select(table.c.cursor).where(~has_record(table)).limit(_REMOVED_AT_ONCE)
            while cursors := self._cursors(query):
                self.remove_records(cursors)
                yield
        numbers, count = schema.numbers, sql.select(sql.func.count()).select_from(schema.detections)
        with self._database.writing() as db:
            kept = sql.update(numbers).where(numbers.c.name == "kept")
            db.execute(kept.values(value=count.scalar_subquery()))

    def _cursors(self, query: sql.Select[Any]) -> set[int]:
        with self._database.reading() as db:
            return set(db.scalars(query))

    def remove_pictures(self, cursors: Collection[int]) -> None:
        """Remove the pictures of records, which stay."""
        if not cursors:
            return
        with self._database.writing() as db:
            self._remove_pictures(db, schema.pictures.c.cursor.in_(cursors))

    def remove_pictures_named(self, names: Collection[str]) -> None:
        """Remove pictures, whichever records have them."""
        with self._database.writing() as db:
            self._remove_pictures(db, schema.pictures.c.name.in_(names))

    def remove_cameras(self, names: Collection[str]) -> None:
        """Remove cameras that have no records: what is set and counted of each, and its health."""
        with self._database.writing() as db:
            for table in _OF_CAMERAS:
                db.execute(sql.delete(table).where(table.c.camera_id.in_(names)))
            removed = db.execute(sql.delete(schema.cameras).where(schema.cameras.c.camera_id.in_(names)))
            _add(db, "cameras", -removed.rowcount)

    def remove_healths(self, is_old: sql.ColumnElement[bool], limit: int) -> int:
        """Remove some healths that are old, at most `limit`, and return how many."""
        return self._database.remove_some(schema.healths, is_old, limit)

    def remove_hours(self, is_old: sql.ColumnElement[bool], limit: int) -> int:
        """Remove some counters of single cameras that are old, at most `limit`, and return how many."""
        table = schema.hours
        old = sql.select(table.c.camera_id, table.c.from_s).where(table.c.camera_id != schema.OF_ALL)
        with self._database.writing() as db:
            rows = db.execute(old.where(is_old).limit(limit)).all()
            for row in rows:
                is_row = (table.c.camera_id == row.camera_id) & (table.c.from_s == row.from_s)
                db.execute(sql.delete(table).where(is_row))
        return len(rows)

    def leave_no_trace(self, rewrites: bool) -> None:
        """Have what was removed in no file of the database any more. Of PostgreSQL's, rows are freed, and may
        still be read in the files' free space, unless it `rewrites` them, while which nobody has them. The
        statistics of its planner have values of rows: these are made anew, and freed by who owns the
        database. Its write-ahead log and copies are its administrator's.
        """
        if not self._database.is_sqlite:
            with self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
                db.execute(sql.text(f"VACUUM (FULL {rewrites}, ANALYZE) {_WITH_PLATES}"))
                db.execute(sql.text(f"VACUUM (FULL {rewrites}) pg_statistic"))
            return
        with self._database.writing() as db:
            db.execute(_OPTIMIZE_TRIGRAMS)
        self._database.truncate_journal()

    def _remove_pictures(self, db: sql.Connection, condition: sql.ColumnElement[bool]) -> None:
        """Remove rows of pictures, and the files that no row has any more."""
        table = schema.pictures
        removed = db.execute(sql.select(table.c.name, table.c.length).where(condition)).all()
        if not removed:
            return
        db.execute(sql.delete(table).where(condition))
        lengths = {row.name: row.length for row in removed}
        left = set(db.scalars(sql.select(table.c.name).where(table.c.name.in_(lengths))))
        names = lengths.keys() - left
        _add(db, schema.PICTURE_BYTES, -sum(lengths[name] for name in names))
        for name in names:
            self._pictures.remove(name)

    def _remove_unseen(self, db: sql.Connection, numbers: Iterable[int]) -> None:
        """Remove the plates among these that no record has any more."""
        plates, sightings = schema.plates, schema.sightings
        is_seen = sql.select(sightings.c.plate).where(sightings.c.plate == plates.c.number).exists()
        unseen = sql.select(plates).where(plates.c.number.in_(list(numbers)), ~is_seen)
        rows: list[dict[str, Any]] = [dict(row) for row in db.execute(unseen).mappings()]
        if not rows:
            return
        if self._database.is_sqlite:
            db.execute(_DELETE_TRIGRAMS, rows)
        db.execute(sql.delete(plates).where(plates.c.number.in_([row["number"] for row in rows])))


def has_record(table: sql.Table) -> sql.ColumnElement[bool]:
    """Return whether a row, which has the cursor of a record, has that record too."""
    records = schema.detections.c.cursor
    return sql.select(records).where(records == table.c.cursor).exists()


def _add(db: sql.Connection, name: str, count: int) -> None:
    table = schema.numbers
    db.execute(sql.update(table).where(table.c.name == name).values(value=table.c.value + count))
