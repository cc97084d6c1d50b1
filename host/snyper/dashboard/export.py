"""The history as files to take away, as `snyper export` writes them."""

import time
from functools import partial
from io import TextIOWrapper
from typing import IO, Annotated

from fastapi import FastAPI, Query
from starlette.responses import PlainTextResponse, Response

from snyper.dashboard.exporting import Exports
from snyper.dashboard.store import Store
from snyper.history.database import JournalError
from snyper.history.export import ExportKind, write_rows
from snyper.history.reader import History
from snyper.history.records import RecordFilter

KINDS = {
    ExportKind.GAMES: "Games and scores",
    ExportKind.HITS: "Hits and misses",
    ExportKind.EVENTS: "All that happened",
}
FORMATS = {"csv": "text/csv", "json": "application/x-ndjson"}

Period = Annotated[int, Query(ge=0, le=10**10)]


def add_route(app: FastAPI, store: Store, exports: Exports) -> None:
    """Serve `/export/games.csv` and the like."""

    @app.get("/export/{what}.{extension}", include_in_schema=False)
    async def export(
        what: str, extension: str, period_s: Period = 0, game: str = "", player: str = ""
    ) -> Response:
        """Export games or events. `period_s` back from now; 0 is always."""
        if what not in KINDS or extension not in FORMATS:
            return PlainTextResponse("there is games, hits and events, each as csv and json", 404)
        since_ms = round((time.time() - period_s) * 1000) if period_s > 0 else None
        which = RecordFilter(since_ms, game or None, player or None)
        write = partial(_write, store, ExportKind(what), extension, which)
        name = f"snyper-{what}-{time.strftime('%Y-%m-%d')}.{extension}"
        try:
            return await exports.answer(write, name, FORMATS[extension])
        except (JournalError, OSError) as error:
            return PlainTextResponse(f"the history cannot be exported: {error}", 500)


def _write(store: Store, what: ExportKind, extension: str, which: RecordFilter, file: IO[bytes]) -> None:
    """Write the rows into a file. Raises JournalError, OSError."""
    store.flush(1.0)
    with History(store.path) as history:
        text = TextIOWrapper(file, "utf-8", "backslashreplace", newline="")
        write_rows(text, history, what, extension == "csv", which)
        text.detach()
