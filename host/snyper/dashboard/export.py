"""The history as files to take away, as `snyper export` writes them."""

import asyncio
import tempfile
import time
from functools import partial
from io import TextIOWrapper
from typing import IO, Annotated

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


def add_route(app: FastAPI, store: Store, most: int) -> None:
    """Serve `/export/games.csv` and the like: `most` at a time, with the one that is written."""
    exporting = asyncio.Lock()
    waiting = 0

    @app.get("/export/{what}.{extension}", include_in_schema=False)
    async def export(
        what: str, extension: str, period_s: Period = 0, game: str = "", player: str = ""
    ) -> Response:
        """Export games or events, one export after the other. `period_s` back from now; 0 is always."""
        nonlocal waiting
        if what not in KINDS or extension not in FORMATS:
            return PlainTextResponse("there is games, hits and events, each as csv and json", 404)
        if waiting >= most:
            words = "others export already: try again in a minute"
            return PlainTextResponse(words, 503, headers={"retry-after": "60"})
        since_ms = round((time.time() - period_s) * 1000) if period_s > 0 else None
        which = RecordFilter(since_ms, game or None, player or None)
        waiting += 1
        try:
            async with exporting:
                file, size = await asyncio.to_thread(_write, store, ExportKind(what), extension, which)
        except (JournalError, OSError) as error:
            return PlainTextResponse(f"the history cannot be exported: {error}", 500)
        finally:
            waiting -= 1
        name = f"snyper-{what}-{time.strftime('%Y-%m-%d')}.{extension}"
        return StreamingResponse(
            iter(partial(file.read, _PIECE_BYTES), b""),
            media_type=FORMATS[extension],
            headers={"content-disposition": f'attachment; filename="{name}"', "content-length": str(size)},
            background=BackgroundTask(file.close),
        )


def _write(store: Store, what: ExportKind, extension: str, which: RecordFilter) -> tuple[IO[bytes], int]:
    """Write the rows into a file without a name, which cannot be left behind, and return it with its size.
    Raises JournalError, OSError.
    """
    store.flush(1.0)
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever gets it closes it
    try:
        with History(store.path) as history:
            text = TextIOWrapper(file, "utf-8", "backslashreplace", newline="")
            write_rows(text, history, what, extension == "csv", which)
            text.detach()
        size = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file, size
