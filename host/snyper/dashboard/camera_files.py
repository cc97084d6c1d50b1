"""The pictures of cameras, and records as files: from the gateway through the dashboard, piece by piece, for
browsers that do not reach it.
"""

import asyncio
import re
import time

import httpx
from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from snyper.dashboard.camera_faces import number
from snyper.dashboard.camera_feed import CameraFeed
from snyper.dashboard.camera_gateway import Fields, GatewayFailed
from snyper.dashboard.camera_search import search_of

_AT_ONCE = 12  # pictures; the other ones wait
_EXPORTS_AT_ONCE = 2  # more are refused
_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9/_.-]{1,200}")
_PICTURES = {"image/jpeg", "image/png", "image/webp"}
_FORMATS = {"csv": "text/csv", "zip": "application/zip"}


def add_route(app: FastAPI, cameras: CameraFeed) -> None:
    """Add `/cameras/pictures/…`, `/cameras/thumbnails/…` and `/export/cameras/records.csv`, `.zip`."""
    pictures = asyncio.Semaphore(_AT_ONCE)
    exports = asyncio.Semaphore(_EXPORTS_AT_ONCE)

    @app.get("/cameras/{kind}/{name:path}", include_in_schema=False)
    async def picture(kind: str, name: str) -> Response:
        if kind not in ("pictures", "thumbnails") or not _NAME.fullmatch(name):
            return PlainTextResponse("there is no such picture", 404)
        return _Passing(cameras, f"/api/{kind}/{name}", {}, pictures, {})

    @app.get("/export/cameras/records.{extension}", include_in_schema=False)
    async def export(extension: str, request: Request) -> Response:
        """Export the records that meet the conditions of a search, whose times are in seconds since 1970."""
        if extension not in _FORMATS:
            return PlainTextResponse("there is csv and zip", 404)
        if exports.locked():
            return PlainTextResponse("others export already: try again in a minute", 503)
        asked = dict(request.query_params)
        search = search_of({**asked, **{name: _number(asked.get(name)) for name in ("from_s", "until_s")}})
        name = f"snyper-cameras-{time.strftime('%Y-%m-%d')}.{extension}"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return _Passing(
            cameras,
            "/api/export",
            {**search.conditions(), "format": extension},
            exports,
            {**headers, "content-type": _FORMATS[extension]},
        )


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else number(float(text))
    except ValueError:
        return None


class _Passing(Response):
    """An answer of the gateway, passed on as fast as the browser takes it."""

    def __init__(
        self,
        cameras: CameraFeed,
        path: str,
        fields: Fields,
        turns: asyncio.Semaphore,
        headers: dict[str, str],
    ) -> None:
        super().__init__()
        self._cameras, self._path, self._fields = cameras, path, fields
        self._turns, self._file = turns, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_begun = False
        try:
            async with self._turns, self._cameras.gateway.passing(self._path, self._fields) as answer:
                is_begun = True
                found = StreamingResponse(answer.aiter_raw(), headers=self._file or _of_picture(answer))
                await found(scope, receive, send)
        except GatewayFailed as error:
            if is_begun:  # the browser sees that it is cut off
                raise
            status = 404 if error.status == 404 else 502
            await PlainTextResponse(str(error), status)(scope, receive, send)


def _of_picture(answer: httpx.Response) -> dict[str, str]:
    kind = answer.headers.get("content-type", "").partition(";")[0]
    return {
        "content-type": kind if kind in _PICTURES else "application/octet-stream",
        "cache-control": "private, max-age=86400, immutable",
    }
