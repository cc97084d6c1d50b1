"""The history as files to take away, as `snyper export` writes them."""

import tempfile
import time
from functools import partial
from io import TextIOWrapper
from typing import Annotated

from fastapi import FastAPI, Query
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse, Response, StreamingResponse

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
_PIECE_BYTES = 65_536

Period = Annotated[int, Query(ge=0, le=10**10)]


def add_route(app: FastAPI, store: Store) -> None:
    """Serve `/export/games.csv` and the like."""

    @app.get("/export/{what}.{extension}", include_in_schema=False)
    def export(what: str, extension: str, period_s: Period = 0, game: str = "", player: str = "") -> Response:
        """Export games or events, in a thread of its own, as this is not async. `period_s` back from now; 0
        is always.
        """
        if what not in KINDS or extension not in FORMATS:
            return PlainTextResponse("there is games, hits and events, each as csv and json", 404)
        store.flush(1.0)
        since_ms = round((time.time() - period_s) * 1000) if period_s > 0 else None
        which = RecordFilter(since_ms, game or None, player or None)
        file = tempfile.TemporaryFile()  # noqa: SIM115 - it has no name, and so cannot be left behind
        try:
            with History(store.path) as history:
                text = TextIOWrapper(file, "utf-8", "backslashreplace", newline="")
                write_rows(text, history, ExportKind(what), extension == "csv", which)
                text.detach()
            size = file.tell()
            file.seek(0)
        except (JournalError, OSError) as error:
            file.close()
            return PlainTextResponse(f"the history cannot be exported: {error}", 500)
        name = f"snyper-{what}-{time.strftime('%Y-%m-%d')}.{extension}"
        return StreamingResponse(
            iter(partial(file.read, _PIECE_BYTES), b""),
            media_type=FORMATS[extension],
            headers={"content-disposition": f'attachment; filename="{name}"', "content-length": str(size)},
            background=BackgroundTask(file.close),
        )
