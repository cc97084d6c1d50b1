"""Files to take away, written one after the other, each into a file that has no name."""

import asyncio
import tempfile
from collections.abc import Callable
from functools import partial
from typing import IO

from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse, Response, StreamingResponse

_PIECE_BYTES = 65_536


class Exports:
    """The exports of all tabs: `most` wait at a time, with the one that is written."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting = 0
        self._writing = asyncio.Lock()

    async def answer(
        self, write: Callable[[IO[bytes]], object], name: str, media_type: str, nothing: str = ""
    ) -> Response:
        """Answer with what `write`, in a thread, has written: a file of that name. A file without anything in
        it is answered with `nothing`, where that is given. What `write` raises is raised.
        """
        if self._waiting >= self._most:
            words = "others export already: try again in a minute"
            return PlainTextResponse(words, 503, headers={"retry-after": "60"})
        self._waiting += 1
        try:
            async with self._writing:
                file, size = await asyncio.to_thread(_written, write)
        finally:
            self._waiting -= 1
        if nothing and not size:
            file.close()
            return PlainTextResponse(nothing, 404)
        return StreamingResponse(
            iter(partial(file.read, _PIECE_BYTES), b""),
            media_type=media_type,
            headers={"content-disposition": f'attachment; filename="{name}"', "content-length": str(size)},
            background=BackgroundTask(file.close),
        )


def _written(write: Callable[[IO[bytes]], object]) -> tuple[IO[bytes], int]:
    """Have a file written that cannot be left behind, and return it with its size."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever gets it closes it
    try:
        write(file)
        size = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file, size
