"""The samples of a signal that are seen, as a file of numpy's."""

import re
from collections.abc import Iterator
from typing import Annotated

from fastapi import FastAPI, Query
from starlette.responses import PlainTextResponse, Response

from snyper.dashboard.exporting import Exports
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.recorded_past import RecordedPast, write_npy
from snyper.dashboard.signal_feed import Array
from snyper.recordings import RecordingError
from snyper.streams import StreamSpec

Instant = Annotated[float, Query(ge=-(2**60), le=2**60)]
Parts = Iterator[tuple[StreamSpec, Array]]


def add_route(app: FastAPI, feed: HubFeed, exports: Exports) -> None:
    """Add `/export/signal`: the samples of a stream, of a time in the hub's clock, as recordings and the last
    minute have them, or those of a `recording` in its own clock. What is missing between them is left out,
    and what is from before a change of the spec.
    """

    @app.get("/export/signal", include_in_schema=False)
    async def export(from_us: Instant, to_us: Instant, name: str = "", recording: str = "") -> Response:
        if recording and feed.past.find(recording) is None:
            return PlainTextResponse("there is no such recording", 404)
        if recording:
            parts = feed.past.samples_in(recording, int(from_us), int(to_us))
        else:
            parts = _of_stream(feed, name, int(from_us), int(to_us))
        try:
            return await exports.answer(
                lambda file: write_npy(file, parts),
                f"{plain_name(recording or name)}.npy",
                "application/octet-stream",
                "there is nothing of that any more",
            )
        except (OSError, RecordingError) as error:
            if recording and not feed.past.is_there(recording):  # removed since it was listed
                return PlainTextResponse("there is no such recording any more", 404)
            return PlainTextResponse(f"it cannot be exported: {error}", 500)


def plain_name(words: str) -> str:
    """Return words as every file system and every header takes them."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", words)


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
