"""The face of cameras over REST: what they send, statistics, who they are."""

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus

from snyper.cameras.grants import RULES, SEND, WATCH, Grants
from snyper.cameras.records import Detection, Health, Malformed
from snyper.cameras.service import Cameras
from snyper.device.serving.exchange import Exchange, Handler, Refusal
from snyper.gateway import camera_bodies as bodies
from snyper.gateway.app import Gateway
from snyper.gateway.camera_requests import fields_of, shaped, time_of
from snyper.gateway.camera_settings import changed_settings, settings_body
from snyper.gateway.places import Places, places_for

_DEFAULT_SPANS_S = {"hour": 86_400.0, "day": 30 * 86_400.0}
_MAX_SETTINGS_BYTES = 10_000


class CameraRoutes:
    """The REST of cameras themselves. `connected` counts the clients of Socket.IO."""

    def __init__(
        self, gateway: Gateway, cameras: Cameras, grants: Grants, connected: Callable[[], int]
    ) -> None:
        limits = gateway.limits
        self._cameras = cameras
        self._grants = grants
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
            ("GET", "/api/statistics/history", self._history),
            ("GET", "/api/cameras", self._list),
            ("GET", "/api/cameras/{camera_id:path}/settings", self._settings),
            ("PUT", "/api/cameras/{camera_id:path}/settings", self._change_settings),
        ):
            gateway.add(method, path, shaped(handler))

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
            count = places_for(exchange, self._most_bytes)
            if not count:
                await self._receive(exchange, take)
                return
            async with self._places.one(exchange.address, count):
                await self._receive(exchange, take)

        return handler

    async def _receive(self, exchange: Exchange, take: Callable[[object], bodies.Item]) -> None:
        content = bytearray()
        async for piece in exchange.body(self._most_bytes):
            content += piece
        item = take(bodies.parse(content))
        self._grants.check(exchange.principal, SEND, item.camera_id)
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
        await exchange.answer_json(bodies.answer_of(item, accepted, words))

    async def _statistics(self, exchange: Exchange) -> None:
        statistics = await self._cameras.statistics(self._grants.among(exchange.principal, WATCH))
        await exchange.answer_json(bodies.statistics_body(statistics, self._connected()))

    async def _history(self, exchange: Exchange) -> None:
        among = self._grants.among(exchange.principal, WATCH)
        fields = fields_of(exchange)
        size, of = fields.get("bucket", "hour"), fields.get("of", "cameras")
        if size not in _DEFAULT_SPANS_S or of not in ("cameras", "all"):
            raise Malformed("bucket is hour or day, and of is cameras or all")
        now_s = time.time() + 1
        from_s, until_s = (time_of(fields, name, self._cameras.zone) for name in ("from", "until"))
        if until_s is None:
            until_s = now_s
        if from_s is None:
            from_s = min(until_s, now_s) - _DEFAULT_SPANS_S[size]
        try:
            found = await self._cameras.history(
                (from_s, until_s), size == "day", fields.get("camera_id") or None, of == "all", among
            )
        except ValueError as error:
            raise Malformed(str(error)) from None
        await exchange.answer(200, await asyncio.to_thread(bodies.history_content, found))

    async def _settings(self, exchange: Exchange) -> None:
        camera_id = exchange.path_values["camera_id"]
        self._grants.check(exchange.principal, WATCH, camera_id)
        settings = self._cameras.settings_of(camera_id)
        await exchange.answer_json(settings_body(camera_id, settings))

    async def _change_settings(self, exchange: Exchange) -> None:
        camera_id = exchange.path_values["camera_id"]
        self._grants.check(exchange.principal, RULES, camera_id)
        content = b"".join([piece async for piece in exchange.body(_MAX_SETTINGS_BYTES)])
        settings = self._cameras.settings_of(camera_id)
        settings = changed_settings(settings, bodies.parse(content), self._cameras.zone)
        try:
            is_there = await self._cameras.change_settings(camera_id, settings)
        except ValueError as error:  # of a zone
            raise Malformed(str(error)) from None
        if not is_there:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such camera")
        await exchange.answer_json(settings_body(camera_id, settings))

    async def _list(self, exchange: Exchange) -> None:
        states = await self._cameras.cameras(self._grants.among(exchange.principal, WATCH))
        listed = [bodies.camera_body(state, self._cameras.zone_of(state.camera_id)) for state in states]
        await exchange.answer_json(
            {"success": True, "cameras": listed, "total_cameras": len(listed), "timestamp": bodies.now()}
        )
