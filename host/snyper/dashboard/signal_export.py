"""The samples of a signal that are seen, as a file of numpy's."""

import io
import re

import numpy
from fastapi import FastAPI
from starlette.responses import PlainTextResponse, Response

from snyper.dashboard.signal_feed import SignalFeed


def add_route(app: FastAPI, signals: SignalFeed) -> None:
    """Add `/export/signal`: the samples of a stream that is looked at, of a time in the hub's clock, without
    what is missing between them.
    """

    @app.get("/export/signal")
    async def export(name: str, from_us: float, to_us: float) -> Response:
        signal = signals.find(name)
        samples = None if signal is None else signal.samples(from_us, to_us)
        if samples is None:
            return PlainTextResponse("there is nothing of that any more", 404)
        file = io.BytesIO()
        numpy.save(file, samples, allow_pickle=False)
        called = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
        return Response(
            file.getvalue(),
            media_type="application/octet-stream",
            headers={"content-disposition": f'attachment; filename="{called}.npy"'},
        )
