"""The archive as files to take away, as `snyper export` writes them."""

import tempfile
import time
from pathlib import Path

from fastapi import FastAPI
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, PlainTextResponse, Response

from snyper.history import History
from snyper.history_commands import What, write_rows
from snyper.journal import Journal, JournalError

KINDS = {What.GAMES: "Games and scores", What.HITS: "Hits and misses", What.EVENTS: "All that happened"}
FORMATS = {"csv": "text/csv", "json": "application/x-ndjson"}


def add_route(app: FastAPI, archive: Journal) -> None:
    """`/export/games.csv` and the like."""

    @app.get("/export/{what}.{extension}", include_in_schema=False)
    def export(what: str, extension: str) -> Response:
        """Runs in a thread of its own, as it is not async."""
        if what not in KINDS or extension not in FORMATS:
            return PlainTextResponse("there is games, hits and events, each as csv and json", 404)
        archive.flush(1.0)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", newline="", suffix="." + extension, prefix="snyper-", delete=False
        ) as file:
            path = Path(file.name)
            try:
                with History(archive.path) as history:
                    write_rows(file, history, What(what), extension == "csv")
            except (JournalError, OSError) as error:
                path.unlink()
                return PlainTextResponse(f"the archive cannot be exported: {error}", 500)
        name = f"snyper-{what}-{time.strftime('%Y-%m-%d')}.{extension}"
        return FileResponse(
            path, media_type=FORMATS[extension], filename=name, background=BackgroundTask(path.unlink)
        )
