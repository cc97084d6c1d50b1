"""Measures how the queries of the cameras grow from a thousand records to a million.

    python -m tools.camera_growth [--database postgresql://…] [--most 1000000]

Prints the least time of each query in milliseconds, and the exponent: 0 where more records cost nothing, 1
where ten times as many cost ten times as much. Without a database it is SQLite in a temporary folder.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from rich.console import Console
from rich.table import Table

from snyper.cameras import schema
from snyper.cameras.batch import new_value
from snyper.cameras.database import Database
from snyper.cameras.plates import fold_alike
from snyper.cameras.queries import Queries
from snyper.cameras.records import RecordQuery
from snyper.cameras.zones import Zones

_BEGIN_S = 1_790_000_000.0
_CAMERAS, _CHECKPOINTS = 100, 20
_PER_PLATE = 4  # how often a plate comes
_CHUNK = 10_000
_ROUNDS = 100
_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", help="the URL of an empty PostgreSQL")
    parser.add_argument("--most", type=int, default=1_000_000)
    arguments = parser.parse_args()
    sizes = [10**power for power in range(3, 10) if 10**power <= arguments.most]
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder), arguments.database)
        queries = Queries(database, Zones())
        results: dict[str, list[float]] = {}
        last = 0
        for size in sizes:
            load(database, last, size)
            last = size
            for name, function in measured(queries, size).items():
                results.setdefault(name, []).append(least_ms(function))
        show(sizes, results)
        database.close()


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
            database.upsert(db, schema.numbers, numbers, new_value)
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
        "newest page": RecordQuery(),
        "of a camera": RecordQuery(camera_id="camera_7"),
        "of a checkpoint": RecordQuery(checkpoint_id="checkpoint_7"),
        "of ten minutes": RecordQuery(from_s=middle_s, until_s=middle_s + 600),
        "since then": RecordQuery(from_s=middle_s),
        "of a camera, since then": RecordQuery(camera_id="camera_7", from_s=middle_s),
        "after a cursor": RecordQuery(after=size // 2),
        "exact plate": RecordQuery(plate=plate),
        "no such plate": RecordQuery(plate="QQQ"),
        "plate, begin known": RecordQuery(plate=f"{plate[:5]}*"),
        "plate, middle known": RecordQuery(plate=f"*{plate[2:6]}*"),
        "plate, end known": RecordQuery(plate=f"*{plate[3:]}"),
        "plate, two letters known": RecordQuery(plate=f"*{plate[1:3]}*"),
        "plate, one letter other": RecordQuery(plate=f"~1{plate}"),
    }
    return {
        **{name: partial(queries.records, query) for name, query in asked.items()},
        "statistics": partial(queries.statistics, _BEGIN_S),
        "cameras": queries.cameras,
    }


def least_ms(function: Callable[[], object]) -> float:
    """Return how long the fastest of some calls took: others may share the computer."""
    function()
    times = []
    for _ in range(_ROUNDS):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
        if sum(times) > 5:
            break
    return min(times) * 1_000


def show(sizes: list[int], results: dict[str, list[float]]) -> None:
    """Print the table, and what memory this process takes."""
    table = Table("query", *(f"{size:,}" for size in sizes), "exponent")
    for name, times in results.items():
        slope = statistics.linear_regression(list(map(math.log, sizes)), list(map(math.log, times))).slope
        table.add_row(name, *(f"{one:.2f}" for one in times), f"{slope:.2f}")
    console = Console()
    console.print(table)
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmRSS")]
        console.print(f"resident memory {int(line.split()[1]) / 1_000:.0f} MB")


if __name__ == "__main__":
    main()
