"""The samples of a signal that are seen, as a file of numpy's."""

import asyncio
import re
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import IO, Annotated

from fastapi import FastAPI, Query
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from snyper.dashboard.feed import HubFeed
from snyper.dashboard.recorded_past import RecordedPast, write_npy
from snyper.dashboard.signal_feed import Array
from snyper.recordings import RecordingError
from snyper.streams import StreamSpec

_PIECE_BYTES = 65_536

Instant = Annotated[float, Query(ge=-(2**60), le=2**60)]
Parts = Iterator[tuple[StreamSpec, Array]]


def add_route(app: FastAPI, feed: HubFeed, most: int) -> None:
    """Add `/export/signal`: the samples of a stream, of a time in the hub's clock, as recordings and the last
    minute have them, or those of a `recording` in its own clock. What is missing between them is left out,
    and what is from before a change of the spec. `most` wait at a time, with the one that is written.
    """
    exporting = asyncio.Lock()
    waiting = 0

    @app.get("/export/signal", include_in_schema=False)
    async def export(from_us: Instant, to_us: Instant, name: str = "", recording: str = "") -> Response:
        nonlocal waiting
        if recording and feed.past.find(recording) is None:
            return PlainTextResponse("there is no such recording", 404)
        if waiting >= most:
            words = "others export already: try again in a minute"
            return PlainTextResponse(words, 503, headers={"retry-after": "60"})
        if recording:
            parts = feed.past.samples_in(recording, int(from_us), int(to_us))
        else:
            parts = _of_stream(feed, name, int(from_us), int(to_us))
        waiting += 1
        try:
            async with exporting:
                file, size = await asyncio.to_thread(_write, parts)
        except (OSError, RecordingError) as error:
            return PlainTextResponse(f"it cannot be exported: {error}", 500)
        finally:
            waiting -= 1
        if not size:
            file.close()
            return PlainTextResponse("there is nothing of that any more", 404)
        called = re.sub(r"[^A-Za-z0-9_.-]+", "-", recording or name)
        return StreamingResponse(
            iter(partial(file.read, _PIECE_BYTES), b""),
            media_type="application/octet-stream",
            headers={
                "content-disposition": f'attachment; filename="{called}.npy"',
                "content-length": str(size),
            },
            background=BackgroundTask(file.close),
        )


def _of_stream(feed: HubFeed, name: str, from_us: int, to_us: int) -> Parts:
    """Return what recordings have from before the last minute, then what is kept of that."""
    signal = feed.signals.find(name)
    kept = [] if signal is None else list(signal.samples(from_us, to_us))
    until_us = to_us if signal is None or signal.first_us is None else min(to_us, signal.first_us)
    known = feed.signals.utc_ahead_us(), feed.model.boot_id
    return _joined(feed.past, name, (from_us, until_us), known, kept)


def _joined(
    past: RecordedPast,
    name: str,
    times_us: tuple[int, int],
    known: tuple[int | None, str],
    kept: list[tuple[StreamSpec, Array]],
) -> Parts:
    if times_us[0] < times_us[1]:
        yield from past.samples_of(name, *times_us, *known)
    yield from kept


def _write(parts: Parts) -> tuple[IO[bytes], int]:
    """Write them into a file without a name, which cannot be left behind, and return it with its size. Raises
    RecordingError, OSError.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever gets it closes it
    try:
        size = file.tell() if write_npy(file, parts) else 0
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file, size
