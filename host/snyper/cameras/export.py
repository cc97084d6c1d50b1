"""Records to take away: a table, or an archive of it with the pictures and the SHA-256 of each file."""

import csv
import hashlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import IO

from sqlalchemy.exc import SQLAlchemyError

from snyper.cameras.pictures import PictureFolder
from snyper.cameras.queries import Queries
from snyper.cameras.records import Overloaded, Picture, Record, RecordQuery
from snyper.cameras.times import iso
from snyper.cameras.zip_stream import ZipStream, pieces_of
from snyper.system.text import json_text, table_cell

CSV, ZIP = "csv", "zip"
TABLE, MANIFEST = "records.csv", "MANIFEST.sha256"
_BYTE_ORDER_MARK = "\ufeff"
_PAGE = 100  # records read at once, each of which may have 256 kB
_IN_MEMORY_BYTES = 1_000_000  # of each file that is gathered, before it is one of the disk
_COLUMNS = (
    *("cursor", "detection_id", "camera_id", "checkpoint_id", "timestamp", "captured_at", "received_at"),
    *("vehicles_count", "plates_count", "ocr_results", "picture", "is_annotated", "cropped_plates"),
    *("is_protected", "possible_double_of", "warnings", "details"),
)


class Export:
    """An export of the records that a query asks for, in the order in which they came. `count` is how many
    are in what was taken of it so far.
    """

    def __init__(
        self, queries: Queries, pictures: PictureFolder, query: RecordQuery, most: int | None
    ) -> None:
        """`most` is how many records there may be at most."""
        self._queries, self._pictures, self._query = queries, pictures, query
        self._most = most
        self.count = 0

    def table(self) -> Iterator[bytes]:
        """Iterate over a table that spreadsheets open as it is. Raises Overloaded."""
        yield _lines([_COLUMNS], _BYTE_ORDER_MARK)
        for records in self._pages():
            yield _lines([_cells(record) for record in records])
            self.count += len(records)

    def archive(self) -> Iterator[bytes]:
        """Iterate over an archive. Pictures that were removed meanwhile are not in it. Raises OSError,
        Overloaded.
        """
        with _gathered() as directory, _gathered() as table, _gathered() as manifest:
            archive = ZipStream(directory)
            table.write(_lines([_COLUMNS], _BYTE_ORDER_MARK))
            hour, written = "", set[str]()
            for records in self._pages():
                for record in records:
                    for picture in _pictures_of(record):
                        # A picture has the hour in which it came first in its name: it is repeated in none.
                        if picture.name.partition("/")[0] != hour:
                            hour, written = picture.name.partition("/")[0], set()
                        if picture.name not in written:
                            written.add(picture.name)
                            yield from self._picture(archive, picture, manifest)
                    table.write(_lines([_cells(record)]))
                    self.count += 1
            yield from archive.copy(TABLE, table)
            digest = hashlib.sha256()
            for piece in pieces_of(table):
                digest.update(piece)
            manifest.write(_manifest_line(digest.hexdigest(), TABLE))
            yield from archive.copy(MANIFEST, manifest)
            yield from archive.end()

    def _picture(self, archive: ZipStream, picture: Picture, manifest: IO[bytes]) -> Iterator[bytes]:
        path = self._pictures.path(picture.name)
        try:
            content = path.read_bytes() if path is not None else None
        except FileNotFoundError:
            content = None
        if content is not None:
            name = _path_of(picture)
            manifest.write(_manifest_line(hashlib.sha256(content).hexdigest(), name))
            yield from archive.file(name, content)

    def _pages(self) -> Iterator[Sequence[Record]]:
        query = replace(self._query, after=self._query.after or 0, before=None)
        left = self._most
        while True:
            limit = _PAGE if left is None else min(_PAGE, left)
            try:
                page = self._queries.records(replace(query, limit=limit), counts=False)
            except SQLAlchemyError as error:
                raise Overloaded("what is kept cannot be read now: ask again") from error
            yield page.records
            if left is not None:
                left -= len(page.records)
            if page.next_cursor is None or left == 0:
                return
            query = replace(query, after=int(page.next_cursor))


def _gathered() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)


def _lines(rows: Sequence[Sequence[object]], begin: str = "") -> bytes:
    text = io.StringIO()
    text.write(begin)
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cells(record: Record) -> list[object]:
    texts = (record.detection_id, record.camera_id, record.checkpoint_id, record.timestamp)
    captured = "" if record.captured_s is None else iso(record.captured_s)
    return [
        record.cursor,
        *map(table_cell, texts),
        *(captured, iso(record.received_s)),
        *(record.vehicles_count, record.plates_count),
        table_cell(", ".join(record.ocr_results)),
        *("" if record.picture is None else _path_of(record.picture), int(record.is_annotated)),
        " ".join(map(_path_of, record.cropped_plates)),
        int(record.is_protected),
        table_cell(record.possible_double_of or ""),
        table_cell(", ".join(record.warnings)),
        table_cell(json_text(dict(record.details))),
    ]


def _pictures_of(record: Record) -> Iterator[Picture]:
    if record.picture is not None:
        yield record.picture
    yield from record.cropped_plates


def _path_of(picture: Picture) -> str:
    return f"pictures/{picture.name}"


def _manifest_line(digest: str, name: str) -> bytes:
    return f"{digest}  {name}\n".encode()
