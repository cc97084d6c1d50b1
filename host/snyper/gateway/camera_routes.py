"""The face of cameras over REST: what they send, statistics, who they are."""

from collections.abc import Callable

from snyper.cameras.records import Detection, Health, Registration
from snyper.cameras.service import Cameras
from snyper.device.serving.exchange import Exchange, Handler
from snyper.gateway import camera_bodies as bodies
from snyper.gateway.app import Gateway
from snyper.gateway.camera_requests import shaped
from snyper.gateway.camera_silence import CameraSilence
from snyper.gateway.places import Places

_SMALL_BYTES = 65_536  # a body of which needs no place


class CameraRoutes:
    """The REST of cameras themselves. `connected` counts the clients of Socket.IO."""

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
