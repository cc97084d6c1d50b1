"""The face of an inbox: files and data into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from snyper.device.disk import remove
from snyper.device.inbox.inbox import Inbox
from snyper.device.inbox.uploads import Upload
from snyper.device.serving.application import Application
from snyper.device.serving.exchange import Exchange, Refusal
from snyper.device.serving.forms import OTHER_BYTES, FileWriter, read_form
from snyper.device.serving.requests import check_room, idempotency_key, parse_object
from snyper.device.serving.resumable_routes import ResumableRoutes, Target, refusing

FILE_PATH = "/api/receive/file"
DATA_PATH = "/api/receive/data"


@asynccontextmanager
async def serving_inbox(application: Application, inbox: Inbox) -> AsyncIterator[None]:
    """Open an inbox and serve it for the block. Raises OSError."""
    async with inbox:
        routes = _ReceiveRoutes(inbox)
        application.add("POST", FILE_PATH, routes.resumable.or_else(routes.receive_file))
        application.add("POST", DATA_PATH, refusing(routes.receive_data))
        routes.resumable.add_to(application.add)
        application.add_state(inbox.counts)
        application.on_drain(inbox.uploads.end_appends)
        yield


class _ReceiveRoutes(Target):
    """Serves an inbox. It is the target of resumable uploads, too."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.max_bytes = inbox.limits.max_file_bytes
        self.resumable = ResumableRoutes(inbox.uploads, {FILE_PATH: self})

    async def receive_file(self, exchange: Exchange) -> None:
        """Answer a file in a form. Raises Refusal, HungUp."""
        key = idempotency_key(exchange.header("idempotency-key")) or None
        limits, part = self._inbox.limits, self._inbox.new_part()
        check_room(exchange, part.parent, limits, limits.max_file_bytes)
        body = exchange.body(limits.max_file_bytes + OTHER_BYTES)
        media_type = exchange.header("content-type")
        try:
            form = await read_form(body, media_type, "file", FileWriter(part, limits), limits.max_file_bytes)
        except BaseException:
            remove(part)
            raise
        path = await self._inbox.keep_file(part, form.filename or "", form.media_type, key)
        await _answer(exchange, "File received", {"path": str(path)})

    async def receive_data(self, exchange: Exchange) -> None:
        """Answer a value of JSON. Raises Refusal, HungUp."""
        key = idempotency_key(exchange.header("idempotency-key")) or None
        content = bytearray()
        async for piece in exchange.body(self._inbox.limits.max_data_bytes):
            content += piece
        value = parse_object(content)
        if "data" not in value:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "field 'data' is missing: send {\"data\": …}")
        await self._inbox.keep_data(value["data"], key)
        await _answer(exchange, "Data received", {})

    # --- as the target of resumable uploads

    async def replay(
        self, exchange: Exchange, key: str, digest: str | None, length: int | None, filename: str
    ) -> bool:
        """Answer as before what was received under `key`; return whether anything was. Raises Refused."""
        path = await self._inbox.known(key, digest, length, filename)
        if path is not None:
            await _answer(exchange, "File received", {"path": str(path)})
        return path is not None

    async def finish(self, exchange: Exchange, upload: Upload) -> None:
        """Keep an upload that is complete, and answer it. Raises Refused."""
        path = await self._inbox.keep_upload(upload)
        await _answer(exchange, "File received", {"path": str(path)})


async def _answer(exchange: Exchange, message: str, more: dict[str, object]) -> None:
    await exchange.answer_json({"status": "ok", "message": message, **more})
