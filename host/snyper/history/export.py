"""Write what a journal holds as CSV, or as a line of JSON for each row."""

import csv
from collections.abc import Iterable
from dataclasses import asdict, fields
from enum import StrEnum
from typing import TextIO

from snyper.history.reader import History
from snyper.history.records import ALL, EventRecord, GameRecord, RecordFilter, ShotRecord
from snyper.system.text import json_text, table_cell

_BYTE_ORDER_MARK = "\ufeff"


class ExportKind(StrEnum):
    """The kinds of rows that `export` writes."""

    EVENTS = "events"
    GAMES = "games"
    HITS = "hits"


def write_rows(file: TextIO, kept: History, what: ExportKind, as_csv: bool, which: RecordFilter = ALL) -> int:
    """Write a row for each event, game, or hit and miss, oldest first, and return how many.

    A table is one that spreadsheets open as it is: it begins with a byte order mark, without which Excel does
    not see UTF-8, its lines end as RFC 4180 has it and are one for each row, and no cell of it is a formula.

    Raises JournalError when the journal cannot be read, OSError when the file takes nothing.
    """
    rows: Iterable[EventRecord | GameRecord | ShotRecord]
    kind: type[EventRecord | GameRecord | ShotRecord]
    if what is ExportKind.GAMES:
        rows, kind = reversed(kept.games(which.player, which.game, which.since_ms)), GameRecord
    elif what is ExportKind.HITS:
        rows, kind = kept.shots_of(which), ShotRecord
    else:
        rows, kind = kept.events_of(which), EventRecord
    names = [field.name for field in fields(kind)]
    table = csv.writer(file)
    if as_csv:
        file.write(_BYTE_ORDER_MARK)
        table.writerow(names)
    count = 0
    for row in rows:
        count += 1
        if as_csv:
            table.writerow(_cell(getattr(row, name)) for name in names)
        else:
            file.write(json_text(asdict(row)) + "\n")
    return count


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, (dict, list, tuple)):
        return json_text(value)
    if isinstance(value, str):
        return table_cell(value)
    return value
