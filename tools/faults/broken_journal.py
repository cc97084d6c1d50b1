"""Journals with something wrong in them, and the commands that read them."""

import csv
import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from snyper.history.database import JournalError
from snyper.hub.journal import Journal
from tools.faults.liar import EVENTS, WRONG, carry_out, mutated

READING: tuple[tuple[str, ...], ...] = (
    ("history",),
    ("history", "--json", "--player", "Ann"),
    ("stats",),
    ("stats", "--json"),
    ("export", "--csv", "--events"),
    ("export", "--json", "--events"),
    ("export", "--csv", "--games"),
    ("export", "--json", "--games"),
    ("export", "--csv", "--hits"),
    ("export", "--json", "--hits", "--game", "quick"),
)
_CHANGES = {
    "events": ("log", "seq", "unix_ms", "event", "target_id", "data", "report"),
    "games": ("log", "seq", "unix_ms", "game_id", "game", "title", "turn", "end_seq", "over_seq", "reason"),
    "seats": ("place", "player", "known", "score", "won", "best_ms"),
    "shots": ("target_id", "unix_ms", "hit", "missed", "reaction_ms", "dropped", "game", "player"),
    "logs": ("log_id", "reserved_seq"),
}
_CELLS: tuple[object, ...] = (
    None,
    -1,
    (1 << 63) - 1,
    1.5,
    "",
    "[/]",
    "=1+1",
    "x\x1b[2J\n12:00:00 hub: all is well",
    b"\xff\x00",
    "null",
    "[1]",
    "[" * 3_000,
    "NaN",
    '{"players": NaN}',
)


def make_journal(path: Path) -> None:
    """Make a journal with one event of each kind, and a game."""
    journal = Journal(path)
    try:
        for seq, event in enumerate(EVENTS, 1):
            data = {name: value for name, value in event.items() if name != "event"}
            journal.record(journal.log_id, seq, event["event"], "target_1", data, 1_790_000_000_000 + seq)
        if not journal.flush(30.0):
            raise OSError(f"nothing is written to {path}")
    finally:
        journal.close()


def break_journal(path: Path, rng: random.Random) -> str:
    """Get one thing of it wrong: a cell, a field of an event's data, or some bytes. Return what."""
    kind = rng.randrange(5)
    if kind == 0:
        content = bytearray(path.read_bytes())
        for _ in range(rng.randrange(1, 30)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content[: rng.choice((None, rng.randrange(len(content))))])
        return "bytes"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        if kind == 1:
            table = rng.choice(sorted(_CHANGES))
            column, value = rng.choice(_CHANGES[table]), rng.choice(_CELLS)
            row = "(SELECT rowid FROM logs)" if table == "logs" else ""
            where = f"WHERE rowid IN {row}" if row else f"WHERE abs(random()) % {rng.choice((1, 3))} = 0"
            db.execute(f"UPDATE OR IGNORE {table} SET {column} = ? {where}", (value,))
            return f"{table}.{column} = {value!r}"[:80]
        log, seq, data = rng.choice(db.execute("SELECT log, seq, data FROM events").fetchall())
        if kind == 2:
            changed = mutated(data.encode(), rng).decode(errors="replace")
        else:
            fields = json.loads(data)
            if fields:
                fields[rng.choice(sorted(fields))] = rng.choice(WRONG)
            changed = json.dumps(fields)
        db.execute("UPDATE events SET data = ? WHERE log = ? AND seq = ?", (changed, log, seq))
        return f"data of {seq} = {changed}"[:200]


def read_broken(directory: Path, count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Have commands read `count` journals, each wrong in one to three places, and the writer of a hub begin
    on some of them. Yields what was tried, and what went wrong.
    """
    whole = directory / "whole.sqlite3"
    make_journal(whole)
    for number in range(count):
        rng = random.Random(f"{seed}-{number}")
        path = directory / "broken.sqlite3"
        for part in directory.glob("broken.sqlite3*"):
            part.unlink()
        path.write_bytes(whole.read_bytes())
        what = []
        try:
            what = [break_journal(path, rng) for _ in range(rng.choice((1, 1, 3)))]
        except (sqlite3.Error, ValueError, TypeError, AttributeError):
            what.append("too broken for more")  # than what was done to it already
        arguments = rng.choice(READING)
        outcome = carry_out([*arguments, "--journal", str(path)])
        wrong = outcome.wrong(False)
        if not wrong and "--csv" in arguments:
            cells = (cell for row in csv.reader(outcome.printed.splitlines()) for cell in row)
            wrong = "a cell is a formula" if any(cell.startswith("=") for cell in cells) else ""
        if not wrong and number % 5 == 0:
            wrong = _started_on(path)
        yield f"{' '.join(arguments)}, journal {seed}-{number}: {'; '.join(what)}"[:300], wrong


def _started_on(path: Path) -> str:
    """Start a journal's writer on it, as a hub does; return what is wrong, empty for nothing."""
    try:
        journal = Journal(path)
    except JournalError:
        return ""
    try:
        journal.record(journal.log_id, journal.seq + 1, "hit", "target_1", {"peak": 5}, report_key="key")
        journal.flush(0.2)  # or it says that it fails
        return "" if journal._thread.is_alive() else "the thread that writes has ended"
    finally:
        journal.close()
