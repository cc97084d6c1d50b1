"""The face of the records of cameras over REST: found, looked at, protected, erased."""

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

from snyper.cameras import export, grants
from snyper.cameras.log import EXPORT, SEARCH, Entry, folded_pattern
from snyper.cameras.plates import EXACT, NO_PATTERN, NO_PLATE, is_plate, parse_pattern
from snyper.cameras.records import Malformed, Overloaded, RecordPage, RecordQuery
from snyper.cameras.service import Cameras
from snyper.cameras.times import iso
from snyper.device.serving.exchange import Exchange, HungUp, Refusal
from snyper.gateway import camera_bodies as bodies
from snyper.gateway.app import Gateway
from snyper.gateway.camera_requests import fields_of, most_of, record_query, shaped
from snyper.gateway.places import Places

_PAGE = 100  # read at once
_MAX_ANSWER_BYTES = 16_000_000  # after which no more is read: 1,000 records have a quarter of it
_LARGE_BYTES = 1_000_000  # from which on an answer is one of few, sent as fast as its client takes it
_MAX_LARGE = 4  # at once
_MAX_READS = 8  # at once: each has megabytes until it is JSON
_MAX_BODY_BYTES = 1_000
_MAX_EXPORTS = 4  # at once: each reads as fast as its client takes it
_EXPORTED = {export.CSV: "text/csv; charset=utf-8", export.ZIP: "application/zip"}
_MAX_CURSOR_DIGITS = 18
_log = logging.getLogger("snyper")
_MEDIA_TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


class RecordRoutes:
    """The REST of what is kept."""

    def __init__(self, gateway: Gateway, cameras: Cameras, granted: grants.Grants) -> None:
        self._cameras = cameras
        self._grants = granted
        self._reads = Places(_MAX_READS, gateway.limits["hold_s"])
        self._large = Places(_MAX_LARGE, gateway.limits["hold_s"])
        self._exports = Places(_MAX_EXPORTS, gateway.limits["hold_s"])

    def add_to(self, gateway: Gateway) -> None:
        """Serve it."""
        for method, path, handler in (
            ("GET", "/api/records", self._records),
            ("DELETE", "/api/records", self._erase),
            ("POST", "/api/records/{cursor}/protect", self._protect),
            ("GET", "/api/visits", self._visits),
            ("GET", "/api/export", self._export),
            ("GET", f"{bodies.PICTURES_PATH}/{{name:path}}", self._picture),
            ("GET", f"{bodies.THUMBNAILS_PATH}/{{name:path}}", self._thumbnail),
        ):
            gateway.add(method, path, shaped(handler))

    async def _records(self, exchange: Exchange) -> None:
        among = self._grants.among(exchange.principal, grants.SEARCH)
        query = replace(record_query(fields_of(exchange), self._cameras.zone), among=among)
        asked, parts, is_large = query, list[bytes](), False
        async with AsyncExitStack() as stack:
            while True:
                page, more = await self._page(replace(asked, limit=min(_PAGE, query.limit - len(parts))))
                parts += more
                size = sum(map(len, parts))
                if size > _LARGE_BYTES and not is_large:
                    await stack.enter_async_context(self._large.one(exchange.address))
                    is_large = True
                if page.next_cursor is None or len(parts) >= query.limit or size > _MAX_ANSWER_BYTES:
                    break
                if query.after is None:
                    asked = replace(asked, before=page.next_cursor)
                else:
                    asked = replace(asked, after=int(page.next_cursor))
            await self._cameras.log.write(entry_of(SEARCH, exchange.principal, query, len(parts)))
            body = list(bodies.records_body(parts, page))
            if is_large:
                await exchange.stream(iter(body), "application/json", length=sum(map(len, body)))
            else:
                await exchange.answer(200, b"".join(body))

    async def _page(self, query: RecordQuery) -> tuple[RecordPage, list[bytes]]:
        """Return a page of records, and these as JSON."""
        async with self._reads.one():
            try:
                page = await self._cameras.records(query)
            except ValueError as error:  # of a cursor
                raise Malformed(str(error)) from None
            return replace(page, records=()), await asyncio.to_thread(bodies.record_parts, page)

    async def _visits(self, exchange: Exchange) -> None:
        among = self._grants.among(exchange.principal, grants.SEARCH)
        query = replace(record_query(fields_of(exchange), self._cameras.zone), among=among)
        try:
            page = await self._cameras.visits(query)
        except ValueError:
            raise Malformed("before is the next_cursor of a page of visits") from None
        await self._cameras.log.write(entry_of(SEARCH, exchange.principal, query, len(page.visits)))
        await exchange.answer_json(bodies.visits_body(page))

    async def _export(self, exchange: Exchange) -> None:
        among = self._grants.among(exchange.principal, grants.EXPORT)
        fields = fields_of(exchange)
        kind = fields.get("format", export.CSV)
        if kind not in _EXPORTED or "before" in fields:
            raise Malformed("format is csv or zip, and there is no before: all is exported, from after on")
        query = replace(record_query(fields, self._cameras.zone), among=among)
        most = most_of(fields.get("limit", ""))
        async with self._exports.one(exchange.address):
            entry = entry_of(EXPORT, exchange.principal, query)
            entry = replace(entry, what={**entry.what, "format": kind})
            await self._cameras.log.write(entry)
            exported = self._cameras.export(query, most)
            parts = exported.archive() if kind == export.ZIP else exported.table()
            name = f"records-{time.strftime('%Y-%m-%d', time.gmtime())}.{kind}"
            headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
            try:
                await exchange.stream(parts, _EXPORTED[kind], headers)
            except (OSError, Overloaded) as error:
                if not exchange.has_answered:
                    raise Overloaded(f"it cannot be exported now: {error}") from None
                _log.warning("an export ended in the middle: %s", error)
                raise HungUp from None  # its connection ends, so that nobody takes a part for all
            finally:
                self._cameras.log.note(replace(entry, count=exported.count, times=0))

    async def _protect(self, exchange: Exchange) -> None:
        among = self._grants.among(exchange.principal, grants.DELETE)
        cursor = exchange.path_values["cursor"]
        content = b"".join([piece async for piece in exchange.body(_MAX_BODY_BYTES)])
        body = bodies.parse(content) if content else None
        is_protected = body.get("protected") if isinstance(body, dict) else None
        if not isinstance(is_protected, bool):
            raise Malformed('the body has to be {"protected": true}, or false')
        is_number = cursor.isascii() and cursor.isdecimal() and len(cursor) <= _MAX_CURSOR_DIGITS
        camera_id = await self._cameras.camera_of(int(cursor)) if is_number else None
        is_theirs = camera_id is not None and (among is None or grants.is_among(camera_id, among))
        if not is_theirs or not await self._cameras.protect(int(cursor), is_protected):
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such record: it is called by its cursor")
        await exchange.answer_json({"success": True, "cursor": int(cursor), "protected": is_protected})

    async def _erase(self, exchange: Exchange) -> None:
        among = self._grants.among(exchange.principal, grants.DELETE)
        fields = fields_of(exchange)
        plate = fields.get("plate", "")
        if not plate or fields.keys() != {"plate"}:
            raise Malformed("say which plate is to be erased, and nothing else: ?plate=ABC1234")
        if not is_plate(plate):
            raise Malformed(NO_PLATE)
        try:
            count = await self._cameras.erase_plate(plate, exchange.principal, among)
        except OSError as error:
            raise Overloaded(f"not all of it could be erased, send it again: {error}") from None
        if not count and parse_pattern(plate).kind != EXACT:
            raise Malformed(NO_PATTERN)
        await exchange.answer_json({"success": True, "erased": count})

    async def _picture(self, exchange: Exchange) -> None:
        name = exchange.path_values["name"]
        found = self._cameras.picture(name) if await self._may_see(exchange.principal, name) else None
        await _answer_file(exchange, found, "picture")

    async def _thumbnail(self, exchange: Exchange) -> None:
        name = exchange.path_values["name"]
        may_see = await self._may_see(exchange.principal, name)
        found = await self._cameras.thumbnail(name) if may_see else None
        picture = self._cameras.picture(name) if may_see else None
        if found is None and picture is not None and await asyncio.to_thread(picture.exists):
            raise Refusal(HTTPStatus.NOT_FOUND, "its picture cannot be decoded, so there is no thumbnail")
        await _answer_file(exchange, found, "thumbnail")

    async def _may_see(self, principal: str, name: str) -> bool:
        """Tell whether a key may see a picture: who watches a camera may, or searches its records."""
        if not self._grants.is_limited(principal) or self._cameras.picture(name) is None:
            return True
        cameras = await self._cameras.cameras_of_picture(name)
        scopes = (grants.WATCH, grants.SEARCH)
        return any(self._grants.has(principal, scope, camera) for scope in scopes for camera in cameras)


def entry_of(kind: str, principal: str, query: RecordQuery, count: int = 0) -> Entry:
    """Return what is written of somebody who asks for records."""
    asked = {
        "camera_id": query.camera_id,
        "checkpoint_id": query.checkpoint_id,
        "class": query.class_name,
        "from": None if query.from_s is None else iso(query.from_s),
        "until": None if query.until_s is None else iso(query.until_s),
    }
    what = {name: value for name, value in asked.items() if value is not None}
    return Entry(kind, principal, what, folded_pattern(query.plate), count)


async def _answer_file(exchange: Exchange, path: Path | None, what: str) -> None:
    try:
        content = b"" if path is None else await asyncio.to_thread(path.read_bytes)
    except FileNotFoundError:
        path = None
    if path is None:
        raise Refusal(HTTPStatus.NOT_FOUND, f"there is no such {what}")
    media_type = _MEDIA_TYPES.get(path.suffix, "application/octet-stream")
    await exchange.answer(200, content, media_type, {"cache-control": "private, max-age=86400"})
