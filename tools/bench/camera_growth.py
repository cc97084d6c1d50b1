"""Queries of the cameras, with a thousand records and with many more: what a page of 10 takes, asked in this
process; and what memory a gateway with the most of them has, once all was asked of it.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sql

from snyper.boards.temporary import temporary_directory
from snyper.cameras import schema
from snyper.cameras.batch import new_value
from snyper.cameras.database import Database
from snyper.cameras.plates import fold_alike
from snyper.cameras.queries import Queries
from snyper.cameras.records import RecordQuery
from snyper.cameras.zones import Zones
from tools.bench.cameras import cluster, gateway
from tools.bench.processes import resident_kb
from tools.bench.rounds import Row

MOST = 100_000
EXPONENT_AIM = "0.2"
MEMORY_AIM = "200 MB"
PATTERNS = frozenset(
    ("plate, begin known", "plate, middle known", "plate, two letters known", "plate, one letter other")
)
_BEGIN_S = 1_790_000_000.0
_CAMERAS, _CHECKPOINTS = 100, 20
_PER_PLATE = 4  # how often a plate comes
_CHUNK = 10_000
_LONGEST_S = 1.0  # for one query, of many records
_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"


async def growth_rows(most: int, requests: int) -> list[Row]:
    """Measure with 1,000 records, 10,000 and so on to `most`; the fastest of `requests` counts, since others
    may share the computer. Linux only. Raises OSError.
    """
    sizes = [10**power for power in range(3, 10) if 10**power <= most]
    rows = []
    with cluster() as postgresql:
        urls = {"SQLite": None, **({"PostgreSQL": postgresql.new_database()} if postgresql else {})}
        for name, url in urls.items():
            with temporary_directory("snyper-bench-") as folder:
                rows += _rows_of(name, folder, url, sizes, requests)
                rows.append(await _memory_row(name, folder, url, sizes[-1]))
    if postgresql is None:
        rows.append(Row("the same: PostgreSQL", "", "PostgreSQL is not installed", ""))
    return rows


def _rows_of(name: str, folder: Path, url: str | None, sizes: Sequence[int], requests: int) -> list[Row]:
    taken: dict[str, list[float]] = {}
    with closing(Database(folder, url)) as database:
        queries = Queries(database, Zones())
        last = 0
        for size in sizes:
            load(database, last, size)
            last = size
            for what, ask in measured(queries, size).items():
                taken.setdefault(what, []).append(_least_ms(ask, requests))
    return [
        Row(
            f"{what}, of {sizes[0]:,} and of {sizes[-1]:,} in {name}; exponent",
            f"{times[0]:.2f} ms",
            f"{times[-1]:.2f} ms",
            f"{_exponent(sizes, times):.2f}",
            "" if what in PATTERNS else EXPONENT_AIM,
        )
        for what, times in taken.items()
    ]


def _exponent(sizes: Sequence[int], times: Sequence[float]) -> float:
    return statistics.linear_regression(
        [math.log(one) for one in sizes], [math.log(ms) for ms in times]
    ).slope


async def _memory_row(name: str, folder: Path, url: str | None, size: int) -> Row:
    """Ask a gateway for what is asked of it most, and for patterns, and look at its memory."""
    plate = plate_of(size // _PER_PLATE // 2)
    asked = [
        *("statistics", "cameras", "visits", "records?limit=1000", "records?camera_id=camera_7"),
        *(
            f"records?plate={pattern}"
            for pattern in (plate, f"*{plate[1:3]}*", f"*{plate[2:6]}*", f"~1{plate}")
        ),
        f"records?after={size // 2}&limit=1000",
    ]
    words = ("--database", url) if url else ()
    async with gateway(folder, *words) as (process, address), httpx.AsyncClient(timeout=60) as client:
        for what in asked * 3:
            answer = await client.get(f"{address}/api/{what}")
            answer.raise_for_status()
        memory = resident_kb(process.pid) / 1_000
    return Row(f"memory of a gateway with {size:,} records in {name}", "", f"{memory:.0f} MB", "", MEMORY_AIM)


def plate_of(number: int) -> str:
    """Return a plate, folded, of which there are some 120 million."""
    scattered = number * 7_919_999 % (len(_LETTERS) ** 3 * 10_000)
    letters, digits = divmod(scattered, 10_000)
    text = ""
    for _ in range(3):
        letters, at = divmod(letters, len(_LETTERS))
        text += _LETTERS[at]
    return f"{text}{digits:04}"


def load(database: Database, first: int, end: int) -> None:
    """Insert the records from number `first` + 1 to `end`."""
    for begin in range(first, end, _CHUNK):
        chunk = range(begin, min(begin + _CHUNK, end))
        cursors = [number + 1 for number in chunk]
        new = [number // _PER_PLATE for number in chunk if number % _PER_PLATE == 0]
        plates = [(number + 1, plate_of(number), fold_alike(plate_of(number))) for number in new]
        with database.writing() as db:
            _insert(db, schema.detections, map(_detection, cursors))
            _insert(db, schema.plates, iter(plates))
            sightings = ((number // _PER_PLATE + 1, number + 1) for number in chunk)
            _insert(db, schema.sightings, sightings)
            _insert(db, schema.pictures, map(_picture, cursors))
            if database.is_sqlite:
                statement = "INSERT INTO plates_trigrams (rowid, folded, alike) VALUES (?, ?, ?)"
                db.connection.cursor().executemany(statement, plates)
            numbers = [{"name": name, "value": end} for name in ("kept", "all_detections")]
            database.put(db, schema.numbers, numbers, new_value)
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            db.execute(sql.text("VACUUM ANALYZE"))


def _detection(cursor: int) -> tuple[Any, ...]:
    time_s = _BEGIN_S + cursor
    plate = plate_of((cursor - 1) // _PER_PLATE)
    names = (f"camera_{cursor % _CAMERAS}", f"checkpoint_{cursor % _CHECKPOINTS}", "2026-12-01T10:00:00Z")
    return (
        *(cursor, f"{cursor:036}", None, *names, time_s, time_s, time_s, 1, 1, "car"),
        *(f'["{plate}"]', '{"processing_time_ms":150}', True, False, f"{cursor:064}", None, "[]", ""),
    )


def _picture(cursor: int) -> tuple[Any, ...]:
    name = f"2026120100/{cursor:064}.jpg"
    return (cursor, 0, name, _BEGIN_S + cursor, "image/jpeg", 1_920, 1_080, 200_000)


def _insert(db: sql.Connection, table: sql.Table, rows: Iterator[tuple[Any, ...]]) -> None:
    """Insert rows, with their columns in the table's order, past SQLAlchemy."""
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    cursor: Any = db.connection.cursor()
    if db.dialect.name == "sqlite":
        marks = ", ".join("?" * len(table.columns))
        cursor.executemany(f"INSERT INTO {table.name} ({columns}) VALUES ({marks})", rows)
        return
    with cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def measured(queries: Queries, size: int) -> dict[str, Callable[[], object]]:
    """Return the queries, by name."""
    plate = plate_of(size // _PER_PLATE // 2)
    middle_s = _BEGIN_S + size / 2
    asked = {
        "newest page of records": RecordQuery(),
        "page of a camera": RecordQuery(camera_id="camera_7"),
        "page of a checkpoint": RecordQuery(checkpoint_id="checkpoint_7"),
        "page of ten minutes": RecordQuery(from_s=middle_s, until_s=middle_s + 600),
        "page since a time": RecordQuery(from_s=middle_s),
        "page after a cursor": RecordQuery(after=size // 2),
        "exact plate": RecordQuery(plate=plate),
        "plate, begin known": RecordQuery(plate=f"{plate[:5]}*"),
        "plate, middle known": RecordQuery(plate=f"*{plate[2:6]}*"),
        "plate, two letters known": RecordQuery(plate=f"*{plate[1:3]}*"),
        "plate, one letter other": RecordQuery(plate=f"~1{plate}"),
    }
    return {
        **{name: partial(queries.records, query) for name, query in asked.items()},
        "statistics": partial(queries.statistics, _BEGIN_S),
    }


def _least_ms(ask: Callable[[], object], requests: int) -> float:
    """Return how long the fastest of some calls took."""
    ask()
    times: list[float] = []
    while len(times) < requests and sum(times) < _LONGEST_S:
        began = time.perf_counter()
        ask()
        times.append(time.perf_counter() - began)
    return min(times) * 1_000
