"""The log of the cameras: who searched, exported and erased, and which rules fired.

The same again within a while counts up what is written already, so that a page that asks every second makes
a row an hour.
"""

import asyncio
import contextlib
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sql

from snyper.cameras import schema
from snyper.cameras.database import Database
from snyper.cameras.grants import is_among
from snyper.cameras.plates import SIMILAR, fold, parse_pattern
from snyper.cameras.records import CamerasError

SEARCH, EXPORT, DELETE, RULE = "search", "export", "delete", "rule"
ERASED = "(erased)"  # in the place of a plate that somebody has had erased
MAX_ENTRIES = 1_000_000  # some 200 MB
_WINDOWS_S = {SEARCH: 3600.0, RULE: 60.0}  # within which the same again is no new row
_MAX_KNOWN = 10_000  # rows that may count up
_MAX_WAITING = 10_000
_MAX_VALUE_CHARS = 128
_FLUSH_S = 1.0  # for what nobody waits for

_Key = tuple[str, str, str, str | None, object]


@dataclass(frozen=True)
class Entry:
    """An entry that is to be written. `who` is the name of a key, or of a rule; `what` is JSON; `about` a
    detection. `times` is 0 where only `count`, of records, goes up.
    """

    kind: str
    who: str
    what: Mapping[str, object] = field(default_factory=dict)
    plate: str | None = None
    count: int = 0
    times: int = 1
    about: str | None = None
    deed: object = field(default_factory=object, repr=False)  # what `replace` gives to its later parts

    @property
    def key(self) -> _Key:
        """What the same again has too: of a kind that does not count up, only the same deed."""
        what = {name: _short(value) for name, value in self.what.items()}
        text = json.dumps(what, ensure_ascii=False, sort_keys=True)
        return self.kind, self.who, text, self.plate, None if self.kind in _WINDOWS_S else self.deed


@dataclass(frozen=True)
class LogRow:
    """A row of the log. Times are in seconds since 1970 (UTC); `times` is how often it was so between them,
    `count` how many records there were in all.
    """

    number: int
    kind: str
    who: str
    what: Mapping[str, Any]
    plate: str | None
    about: str | None
    first_s: float
    last_s: float
    times: int
    count: int


def folded_pattern(text: str | None) -> str | None:
    """Return what is kept of the plate that somebody asked for."""
    if text is None:
        return None
    pattern = parse_pattern(text)
    return f"~1{pattern.text}" if pattern.kind == SIMILAR else pattern.text


class LogTable:
    """The rows of the log. One thread writes; any may read. Raises sqlalchemy.exc.SQLAlchemyError."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[_Key, tuple[int, float]] = OrderedDict()

    def write(self, entries: Sequence[Entry]) -> None:
        """Write entries, all or none."""
        table, now_s = schema.entries, time.time()
        known = dict[_Key, tuple[int, float]]()
        with self._database.writing() as db:
            last = db.scalar(sql.select(sql.func.max(table.c.number))) or 0
            for entry in entries:
                kind, who, what, plate, _ = entry.key
                number, first_s = known.get(entry.key) or self._known.get(entry.key) or (0, 0.0)
                is_same = 0.0 <= now_s - first_s < _WINDOWS_S.get(kind, 0.0) or not entry.times
                if number and is_same:
                    sums = {"times": table.c.times + entry.times, "count": table.c.count + entry.count}
                    change = sql.update(table).where(table.c.number == number)
                    if db.execute(change.values(last_s=now_s, **sums)).rowcount:
                        continue
                last += 1
                row = {"kind": kind, "who": who, "what": what, "plate": plate, "about": entry.about}
                counts = {"times": max(1, entry.times), "count": entry.count}
                times = {"first_s": now_s, "last_s": now_s}
                db.execute(sql.insert(table).values(number=last, **row, **times, **counts))
                known[entry.key] = (last, now_s)
            db.execute(sql.delete(table).where(table.c.number <= last - MAX_ENTRIES))
        for key, value in known.items():
            self._known[key] = value
            self._known.move_to_end(key)
        while len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)

    def rows(self, kinds: Sequence[str], limit: int, before: int | None) -> list[LogRow]:
        """Return the newest rows of some kinds, before that number."""
        table = schema.entries
        query = sql.select(table).where(table.c.kind.in_(kinds)).order_by(table.c.number.desc())
        if before is not None:
            query = query.where(table.c.number < before)
        with self._database.reading() as db:
            found = db.execute(query.limit(limit)).mappings().all()
        return [LogRow(**{**row, "what": json.loads(row["what"])}) for row in found]

    def trim(self, is_old: sql.ColumnElement[bool], limit: int) -> int:
        """Remove some rows that are old, at most `limit`, and return how many."""
        return self._database.remove_some(schema.entries, is_old, limit)

    def erase_plate(self, plate: str, among: Sequence[str] | None = None) -> None:
        """Have no row say a plate; with `among`, none that is about one of those cameras."""
        table, folded = schema.entries, fold(plate)
        with self._database.writing() as db:
            has_it = table.c.plate.contains(folded, autoescape=True)
            if among is not None:
                rows = db.execute(sql.select(table.c.number, table.c.what).where(has_it)).all()
                theirs = [row.number for row in rows if _is_about(json.loads(row.what), among)]
                has_it = table.c.number.in_(theirs)
            db.execute(sql.update(table).where(has_it).values(plate=ERASED))
        for kind, who, what, asked, deed in list(self._known):
            if asked is not None and folded in asked and deed is None:
                del self._known[kind, who, what, asked, deed]


class Log:
    """The log, for an event loop. `do` runs something in the writer's thread, `read` in a reader's; both
    raise Overloaded.
    """

    def __init__(
        self,
        table: LogTable,
        do: Callable[[Callable[[], None]], Awaitable[None]],
        read: Callable[..., Awaitable[Any]],
    ) -> None:
        self._table, self._do, self._read = table, do, read
        self._waiting: dict[_Key, Entry] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def write(self, entry: Entry) -> None:
        """Write an entry; it is on the disk once this returns. Raises Overloaded."""
        self._add(entry)
        await self.flush()

    def note(self, entry: Entry) -> None:
        """Have an entry written soon."""
        self._add(entry)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_S, self._flush_soon)

    async def flush(self) -> None:
        """Write what waits. Raises Overloaded."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        entries, self._waiting = list(self._waiting.values()), {}
        await self._do(lambda: self._table.write(entries))

    async def rows(self, kinds: Sequence[str], limit: int, before: int | None = None) -> list[LogRow]:
        """Return the newest rows of some kinds, before that number. Raises Overloaded."""
        found: list[LogRow] = await self._read(self._table.rows, kinds, limit, before)
        return found

    def _add(self, entry: Entry) -> None:
        known = self._waiting.get(entry.key)
        if known is not None:
            times, count = known.times + entry.times, known.count + entry.count
            self._waiting[entry.key] = replace(known, times=times, count=count)
        elif len(self._waiting) < _MAX_WAITING:
            self._waiting[entry.key] = entry

    def _flush_soon(self) -> None:
        self._timer = None
        self._flushing = asyncio.create_task(self._flush_noted())

    async def _flush_noted(self) -> None:
        with contextlib.suppress(CamerasError):  # which the terminal says
            await self.flush()


def _is_about(what: Mapping[str, object], among: Sequence[str]) -> bool:
    """Tell whether somebody asked for one of those cameras alone."""
    return is_among(str(what.get("camera_id", "")), among)


def _short(value: object) -> object:
    return value[:_MAX_VALUE_CHARS] if isinstance(value, str) else value
