"""The face of cameras over REST: what they send, statistics, cameras, records, pictures."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from http import HTTPStatus
from urllib.parse import parse_qs

from snyper.cameras.records import (
    Detection,
    Health,
    Malformed,
    MissingField,
    Overloaded,
    RecordQuery,
    Registration,
)
from snyper.cameras.service import Cameras
from snyper.cameras.times import seconds_of
from snyper.device.serving.exchange import Exchange, Handler, Refusal
from snyper.gateway import camera_bodies as bodies
from snyper.gateway.app import Gateway
from snyper.gateway.camera_silence import CameraSilence
from snyper.gateway.places import Places, overloaded

_DEFAULT_RECORDS = 20
_MAX_RECORDS = 1_000
_PAGE = 100  # read at once
_MAX_ANSWER_BYTES = 16_000_000  # after which no more is read: 1,000 records have a quarter of it
_MAX_FIELDS = 20  # of a query
_SMALL_BYTES = 65_536  # a body of which needs no place
_MAX_CURSOR = 2**63
_MEDIA_TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


class CameraRoutes:
    """The REST of cameras. `connected` counts the clients of Socket.IO."""

    def __init__(
        self, gateway: Gateway, cameras: Cameras, silence: CameraSilence, connected: Callable[[], int]
    ) -> None:
        limits = gateway.limits
        self._cameras = cameras
        self._silence = silence
        self._connected = connected
        self._most_bytes = limits["sio_message_mb"] * 1_000_000
        self._places = Places(limits["places"], limits["hold_s"])

    def add_to(self, gateway: Gateway) -> None:
        """Serve them."""
        for method, path, handler in (
            ("GET", "/", self._index),
            ("GET", "/api/test", self._test),
            ("POST", "/api/cameras/register", self._taking(bodies.take_registration)),
            ("POST", "/api/detection", self._taking(bodies.take_detection)),
            ("POST", "/api/health", self._taking(bodies.take_health)),
            ("POST", "/api/statistics", self._taking(bodies.take_any)),
            ("GET", "/api/statistics", self._statistics),
            ("GET", "/api/cameras", self._list),
            ("GET", "/api/records", self._records),
            ("GET", f"{bodies.PICTURES_PATH}/{{name:path}}", self._picture),
        ):
            gateway.add(method, path, _shaped(handler))

    async def _index(self, exchange: Exchange) -> None:
        await exchange.answer_json(
            {"success": True, "message": "SNYPER gateway of cameras", "status": "running"}
        )

    async def _test(self, exchange: Exchange) -> None:
        await exchange.answer_json(
            {"success": True, "message": "Server is running", "timestamp": bodies.now()}
        )

    def _taking(self, take: Callable[[object], bodies.Item]) -> Handler:
        async def handler(exchange: Exchange) -> None:
            announced = exchange.header("content-length")
            if announced.isdecimal() and int(announced) <= _SMALL_BYTES:
                await self._receive(exchange, take)
            else:
                async with self._places.one(exchange.address):
                    await self._receive(exchange, take)

        return handler

    async def _receive(self, exchange: Exchange, take: Callable[[object], bodies.Item]) -> None:
        content = bytearray()
        async for piece in exchange.body(self._most_bytes):
            content += piece
        item = take(bodies.parse(content))
        content.clear()
        if isinstance(item, Detection):
            accepted = await self._cameras.detect(item, exchange.principal)
            words = "Detection data received"
        elif isinstance(item, Health):
            accepted = await self._cameras.health(item, exchange.principal)
            words = "Health data received"
        else:
            accepted = await self._cameras.register(item, exchange.principal)
            words = "Camera registered successfully"
        self._silence.hear(item.camera_id, item.checkpoint_id, is_told=not isinstance(item, Registration))
        await exchange.answer_json(bodies.answer_of(item, accepted, words))

    async def _statistics(self, exchange: Exchange) -> None:
        statistics = await self._cameras.statistics()
        await exchange.answer_json(bodies.statistics_body(statistics, self._connected()))

    async def _list(self, exchange: Exchange) -> None:
        states = await self._cameras.cameras()
        listed = [bodies.camera_body(state, self._silence.is_asleep(state.camera_id)) for state in states]
        await exchange.answer_json(
            {"success": True, "cameras": listed, "total_cameras": len(listed), "timestamp": bodies.now()}
        )

    async def _records(self, exchange: Exchange) -> None:
        query = _query(exchange)
        after = query.get("after")
        if after is not None and not (after.isdecimal() and after.isascii() and int(after) < _MAX_CURSOR):
            raise Malformed("after is the cursor of a record: a number")
        query_of_all = RecordQuery(
            limit=_limit(query.get("limit", "")),
            after=None if after is None else int(after),
            before=query.get("before"),
            camera_id=query.get("camera_id") or None,
            checkpoint_id=query.get("checkpoint_id") or None,
            plate=query.get("plate") or None,
            from_s=_time(query, "from"),
            until_s=_time(query, "until"),
        )
        await exchange.answer(200, await self._answer_records(query_of_all))

    async def _answer_records(self, query: RecordQuery) -> bytes:
        """Return an answer with as many records as are asked for, or as fit; it says where to go on."""
        parts: list[bytes] = []
        while True:
            left = query.limit - len(parts)
            try:
                page = await self._cameras.records(replace(query, limit=min(_PAGE, left)))
            except ValueError as error:  # of a cursor
                raise Malformed(str(error)) from None
            parts += await asyncio.to_thread(bodies.record_parts, page)
            is_enough = len(parts) >= query.limit or sum(map(len, parts)) > _MAX_ANSWER_BYTES
            if page.next_cursor is None or is_enough:
                return bodies.records_body(parts, page)
            if query.after is None:
                query = replace(query, before=page.next_cursor)
            else:
                query = replace(query, after=int(page.next_cursor))

    async def _picture(self, exchange: Exchange) -> None:
        path = self._cameras.picture(exchange.path_values["name"])
        try:
            content = b"" if path is None else await asyncio.to_thread(path.read_bytes)
        except FileNotFoundError:
            path = None
        if path is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such picture")
        media_type = _MEDIA_TYPES.get(path.suffix, "application/octet-stream")
        await exchange.answer(200, content, media_type, {"cache-control": "private, max-age=86400"})


def _shaped(handler: Handler) -> Handler:
    """Return a handler whose errors have the shape that clients of cameras know."""

    async def serve(exchange: Exchange) -> None:
        exchange.error_of = lambda detail: {"success": False, "message": detail}
        try:
            await handler(exchange)
        except (MissingField, Malformed) as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from None
        except Overloaded as error:
            raise overloaded(str(error)) from None

    return serve


def _query(exchange: Exchange) -> dict[str, str]:
    try:
        text = exchange.scope["query_string"].decode("latin-1")
        found = parse_qs(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="replace")
    except ValueError:
        raise Malformed(f"a query has at most {_MAX_FIELDS} fields") from None
    return {name: values[-1] for name, values in found.items()}


def _limit(text: str) -> int:
    """Return how many records are asked for, as existing servers read it: 0 is as many as there may be."""
    try:
        number = int(text[:20])
    except ValueError:
        return _DEFAULT_RECORDS
    return min(number, _MAX_RECORDS) if number > 0 else _MAX_RECORDS


def _time(query: dict[str, str], name: str) -> float | None:
    if not query.get(name):
        return None
    time_s = seconds_of(query[name], UTC)
    if time_s is None:
        raise Malformed(f"{name} is a time such as 2024-12-19T10:00:00Z")
    return time_s
