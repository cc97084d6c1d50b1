"""The face of cameras over Socket.IO: what they send, the rooms of those who watch."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from typing import Any

from snyper.cameras.grants import SEND, WATCH, Grants
from snyper.cameras.records import CamerasError, MissingField
from snyper.cameras.service import Cameras
from snyper.gateway import camera_bodies as bodies
from snyper.gateway.socket_io import PRINCIPAL, SocketServer

DASHBOARD = "dashboard"
HEALTH = "health"
# What each kind of event is called, and which room hears of it.
_TOLD = {
    "detection": ("new_detection", DASHBOARD),
    "status": ("camera_status", DASHBOARD),
    "health": ("health_update", HEALTH),
}

_log = logging.getLogger("snyper")

Answer = dict[str, object]


class _NoBody(CamerasError):
    """An event that came without one."""


class CameraEvents:
    """The events of cameras. Each is answered to its sender alone, by an event and an acknowledgement."""

    def __init__(self, cameras: Cameras, server: SocketServer, grants: Grants) -> None:
        self._cameras = cameras
        self._grants = grants
        self._server = server
        server.on_left(cameras.disconnect)
        for event, handler in (
            ("camera_register", self._register),
            ("lpr_data", self._detect),
            ("health_status", self._health),
            ("ping", self._ping),
            ("join_dashboard", self._joining(DASHBOARD, "Joined dashboard room")),
            ("leave_dashboard", self._leaving(DASHBOARD, "Left dashboard room")),
            ("join_health_room", self._joining(HEALTH, "Joined health monitoring room")),
            ("leave_health_room", self._leaving(HEALTH, "Left health monitoring room")),
        ):
            server.on(event, self._answering(handler))
        server.on("*", self._unknown)

    async def tell(self) -> None:
        """Tell the rooms of what happens, until cancelled."""
        with closing(self._cameras.listen()) as feed:
            async for event in feed:
                if event.kind in _TOLD:  # else it counts what was lost, as cursors show too
                    name, room = _TOLD[event.kind]
                    data = dict(event.data)
                    for key in self._server.principals():
                        if self._grants.may(key, WATCH, data["camera_id"]):
                            await self._server.tell_room(_room(room, key), name, data)

    def _answering(self, handler: Callable[[str, Any], Awaitable[tuple[str, Answer]]]) -> Callable[..., Any]:
        """Return a handler for Socket.IO, which answers errors as well."""

        async def serve(sid: str, body: object = None, *_: object) -> Answer:
            try:
                event, answer = await handler(sid, body)
            except CamerasError as error:
                event, answer = "error", _failed(str(error))
            except Exception:
                _log.exception("an event of a camera ended with an error of the server's own")
                event, answer = "error", _failed("the server has an error: its terminal says which")
            await self._server.tell(sid, event, answer)
            return answer

        return serve

    async def _unknown(self, event: object, sid: str, *_: object) -> Answer:
        answer = _failed(f"there is no event {str(event)[:40]!r}")
        await self._server.tell(sid, "error", answer)
        return answer

    async def _register(self, sid: str, body: object) -> tuple[str, Answer]:
        try:
            item = bodies.take_registration(body)
        except MissingField:
            raise _NoBody(bodies.NO_CAMERA) from None
        self._grants.check(PRINCIPAL.get(), SEND, item.camera_id)
        accepted = await self._cameras.register(item, PRINCIPAL.get())
        self._note(sid, item)
        return "camera_register", bodies.answer_of(item, accepted, "Camera registered successfully")

    async def _detect(self, sid: str, body: object) -> tuple[str, Answer]:
        _check_camera(body)
        item = bodies.take_detection(body)
        self._grants.check(PRINCIPAL.get(), SEND, item.camera_id)
        accepted = await self._cameras.detect(item, PRINCIPAL.get())
        self._note(sid, item)
        return "lpr_response", bodies.answer_of(item, accepted, "LPR data received successfully")

    async def _health(self, sid: str, body: object) -> tuple[str, Answer]:
        _check_camera(body)
        item = bodies.take_health(body)
        self._grants.check(PRINCIPAL.get(), SEND, item.camera_id)
        accepted = await self._cameras.health(item, PRINCIPAL.get())
        self._note(sid, item)
        return "health_response", bodies.answer_of(item, accepted, "Health status received successfully")

    def _note(self, sid: str, item: bodies.Item) -> None:
        if self._server.is_here(sid):
            self._cameras.connect(sid, item.camera_id, item.checkpoint_id)

    async def _ping(self, sid: str, body: object) -> tuple[str, Answer]:
        message = body.get("message") if isinstance(body, Mapping) else body
        text = message if isinstance(message, str) else None
        return "pong", {
            "success": True,
            "message": "pong",
            "original_message": text,
            "timestamp": bodies.now(),
        }

    def _joining(self, room: str, words: str) -> Callable[[str, Any], Awaitable[tuple[str, Answer]]]:
        async def join(sid: str, body: object) -> tuple[str, Answer]:
            self._grants.among(PRINCIPAL.get(), WATCH)
            await self._server.enter_room(sid, _room(room, PRINCIPAL.get()))
            return "status", {"success": True, "message": words, "timestamp": bodies.now()}

        return join

    def _leaving(self, room: str, words: str) -> Callable[[str, Any], Awaitable[tuple[str, Answer]]]:
        async def leave(sid: str, body: object) -> tuple[str, Answer]:
            await self._server.leave_room(sid, _room(room, PRINCIPAL.get()))
            return "status", {"success": True, "message": words, "timestamp": bodies.now()}

        return leave


def _room(room: str, key: str) -> str:
    """Return where those who watch with a key hear of what it may see."""
    return f"{room}:{key}"


def _check_camera(body: object) -> None:
    if bodies.lacks_camera(body):
        raise _NoBody(bodies.NO_CAMERA)


def overloaded() -> Answer:
    """Return what is answered to an event for which there is no room."""
    return _failed("too much is being written: send it again")


def _failed(message: str) -> Answer:
    return {"success": False, "message": message, "timestamp": bodies.now()}
