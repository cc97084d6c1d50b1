"""Plates by pattern in the database: trigrams find those that may match, of which few are looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from snyper.cameras import schema
from snyper.cameras.plates import EXACT, SIMILAR, PlatePattern, fold_alike, is_similar, longest_literal

_TRIGRAM = 3
_MAX_PLATES = 1_000  # from so many on a pattern is so common that the newest records have it
_TRIGRAMS = sql.table("plates_trigrams", sql.column("rowid"), sql.column("folded"), sql.column("alike"))
SQLITE_INDEX = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS plates_trigrams USING fts5"
    "(folded, alike, content='plates', content_rowid='number', tokenize='trigram')",
)
POSTGRESQL_INDEX = (
    "CREATE INDEX IF NOT EXISTS plates_trigrams ON plates USING gin (folded gin_trgm_ops)",
    "CREATE INDEX IF NOT EXISTS plates_alike_trigrams ON plates USING gin (alike gin_trgm_ops)",
)


@dataclass(frozen=True)
class PlateSearch:
    """A search of plates in the database behind `db`."""

    db: sql.Connection
    is_sqlite: bool

    def numbers(self, pattern: PlatePattern) -> list[int] | None:
        """Return the numbers of the plates that match, None for more than 1,000."""
        if pattern.kind == EXACT:
            table = schema.plates
            return list(self.db.scalars(sql.select(table.c.number).where(table.c.folded == pattern.text)))
        if pattern.kind == SIMILAR:
            return self._similar(pattern.text)
        found = self._like("folded", pattern.text, _MAX_PLATES + 1)
        return [number for number, _ in found] if len(found) <= _MAX_PLATES else None

    def condition(self, pattern: PlatePattern) -> sql.ColumnElement[bool]:
        """Return what is so of the rows of plates that match a pattern with wildcards."""
        return self._compared(schema.plates.c.folded, pattern.text)

    def _similar(self, text: str) -> list[int]:
        """Return the plates with at most one letter other: either half of those is as it is asked for."""
        alike = fold_alike(text)
        middle = len(alike) // 2
        halves = [*self._like("alike", alike[:middle] + "*"), *self._like("alike", "*" + alike[middle:])]
        return sorted({number for number, folded in halves if is_similar(text, folded)})

    def _like(self, column: str, pattern: str, limit: int | None = None) -> Sequence[Any]:
        """Return number and folded text of the plates that match a pattern with wildcards."""
        table: Any = schema.plates
        query = sql.select(table.c.number, table.c.folded)
        if self.is_sqlite and longest_literal(pattern) >= _TRIGRAM:
            query = sql.select(_TRIGRAMS.c.rowid, _TRIGRAMS.c.folded)
            table = _TRIGRAMS
        return self.db.execute(query.where(self._compared(table.c[column], pattern)).limit(limit)).all()

    def _compared(self, column: Any, pattern: str) -> sql.ColumnElement[bool]:
        if self.is_sqlite:
            compared: sql.ColumnElement[bool] = column.op("GLOB")(pattern.replace("[", "[[]"))
            return compared
        escaped = "".join(f"\\{one}" if one in "\\%_" else one for one in pattern)
        liked: sql.ColumnElement[bool] = column.like(escaped.replace("*", "%").replace("?", "_"))
        return liked
