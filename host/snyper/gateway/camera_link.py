"""Cameras over the link: the service `cameras` of a hub, which `snyper.Camera` calls."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from snyper.cameras.camera import DETECTION, HEALTH, MAX_BATCH, SERVICE, SILENCE_S
from snyper.cameras.grants import SEND, Grants
from snyper.cameras.intake import detection_of, health_of, registration_of
from snyper.cameras.records import Accepted, CamerasError, Detection, Health, Overloaded
from snyper.cameras.service import Cameras
from snyper.gateway.app import Gateway
from snyper.services.async_server import AsyncServer
from snyper.services.carrying import Proven
from snyper.services.execution import Declined
from snyper.services.remote_exceptions import Busy

RETRY_AFTER_S = 1.0
_OWN_FAULT = "the server has an error: its terminal says which"
_log = logging.getLogger("snyper")
Answer = dict[str, Any]


@asynccontextmanager
async def cameras_at_hub(
    gateway: Gateway, cameras: Cameras, hub: str, name: str = SERVICE, grants: Grants | None = None
) -> AsyncIterator[None]:
    """Take what cameras tell as the service `name` of a hub, for the block. When `gateway` drains, calls do.

    Raises Refused where the hub does not take it; ValueError for a name that is none.
    """
    served = LinkedCameras(cameras, grants or Grants({}))
    server = AsyncServer(served, hub=hub, name=name, devices=True, concurrent=(served,))
    served._server = server
    async with server:
        gateway.on_drained(server.drain)
        yield


def may_speak(proven: Proven, camera_id: str, grants: Grants) -> bool:
    """Tell whether who has proven that speaks for a camera. Who has a `device` key, of the name NAME, speaks
    for NAME, for NAME/… and for those that are granted to it; who has another key of the hub for those that
    are granted to that, or for all where nothing is; who comes through a hub without keys for all.
    """
    if not proven.is_device:
        return grants.may(proven.key, SEND, camera_id)
    own = camera_id == proven.name or camera_id.startswith(f"{proven.name}/")
    return own or grants.has(proven.key, SEND, camera_id)


class LinkedCameras:
    """Cameras, for who calls them.

    What is malformed, or of a camera that the caller's key does not speak for, is refused.
    """

    _server: AsyncServer

    def __init__(self, cameras: Cameras, grants: Grants) -> None:
        self._cameras = cameras
        self._grants = grants

    async def register(self, about: dict[str, Any]) -> Answer:
        """Register a camera: `camera_id`, `checkpoint_id`. Raises PermissionError, ValueError."""
        try:
            registration = registration_of(about)
            principal = self._check(registration.camera_id)
            accepted = await self._cameras.register(registration, principal)
        except Overloaded as error:
            raise Declined(Busy(str(error), RETRY_AFTER_S)) from None
        except CamerasError as error:
            raise ValueError(str(error)) from None
        self._note(registration.camera_id, registration.checkpoint_id)
        return _taken(accepted)

    async def tell(self, told: list[Any], is_live: bool = True) -> list[Answer]:
        """Take detections and health checks, at most 16, each `[id, kind, body, [[field, picture], …]]`, in
        their order; return for each its `outcome`: `taken`, `refused` or `forbidden` and `why`, or `again`.
        """
        if not isinstance(told, list) or len(told) > MAX_BATCH:
            raise ValueError(f"what is told at once is a list of at most {MAX_BATCH}")
        # In this order: each is in the queue before the next begins.
        takes = [self._take(one, is_live is True) for one in told]
        taken = [await takes[0]] if len(takes) == 1 else await asyncio.gather(*takes)
        for camera_id, checkpoint_id in {camera for camera, _ in taken if camera is not None}:
            self._note(camera_id, checkpoint_id)
        return [answer for _, answer in taken]

    async def beat(self, camera_id: str, checkpoint_id: str) -> int:
        """Take a sign of life of a camera, and return the time here, in µs since 1970.

        Raises PermissionError, ValueError.
        """
        try:
            about = registration_of({"camera_id": camera_id, "checkpoint_id": checkpoint_id})
        except CamerasError as error:
            raise ValueError(str(error)) from None
        self._check(about.camera_id)
        if not self._server.is_caller_away():  # who has left since is no longer there for it
            self._note(about.camera_id, about.checkpoint_id)
        return time.time_ns() // 1_000

    # ---

    def _note(self, camera_id: str, checkpoint_id: str) -> None:
        """Note that the caller's connection speaks for a camera."""
        caller, loop = ("link", self._server.id_of_caller()), asyncio.get_running_loop()
        if not self._cameras.connect(caller, camera_id, checkpoint_id, SILENCE_S):
            return

        def lose() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._cameras.disconnect, caller)

        self._server.when_caller_away(lose)

    def _check(self, camera_id: str) -> str:
        """Return the name of the caller's key. Raises PermissionError where it speaks for another camera."""
        proven = self._server.proof_of_caller()
        if not may_speak(proven, camera_id, self._grants):
            raise PermissionError(f"the key {proven.key} does not speak for the camera {camera_id}")
        return proven.key

    async def _take(self, told: Any, is_live: bool) -> tuple[tuple[str, str] | None, Answer]:
        """Return the camera, with its checkpoint, of what was taken; and the answer."""
        try:
            _, kind, body, pictures = told
            body = {**body, **_fields_of(pictures)}
            item: Detection | Health
            if kind == DETECTION:
                item = detection_of(body)
                accepted = await self._cameras.detect(item, self._check(item.camera_id), is_live)
            elif kind == HEALTH:
                item = health_of(body)
                accepted = await self._cameras.health(item, self._check(item.camera_id), is_live)
            else:
                return None, _refused(f"this service takes no {kind}")
            return (item.camera_id, item.checkpoint_id), _taken(accepted)
        except PermissionError as error:
            return None, {"outcome": "forbidden", "why": str(error)}
        except Overloaded as error:
            return None, {"outcome": "again", "why": str(error), "retry_after_s": RETRY_AFTER_S}
        except CamerasError as error:
            return None, _refused(str(error))
        except (TypeError, ValueError):
            return None, _refused("it is no id, kind, body and pictures")
        except Exception:  # a fault of one thing is its alone: the others are taken
            _log.exception("what a camera told ended with an error of the server's own")
            return None, {"outcome": "again", "why": _OWN_FAULT, "retry_after_s": RETRY_AFTER_S}


def _fields_of(pictures: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return pictures as the fields of a body: several of `cropped_plates` are a list. Raises TypeError."""
    fields: dict[str, Any] = {}
    for name, content in pictures:
        picture = content if isinstance(content, bytes) else bytes(memoryview(content))
        if name == "cropped_plates":
            fields.setdefault(name, []).append(picture)
        else:
            fields[name] = picture
    return fields


def _taken(accepted: Accepted) -> Answer:
    return {"outcome": "taken", "id": accepted.id, "warnings": list(accepted.warnings)}


def _refused(why: str) -> Answer:
    return {"outcome": "refused", "why": why}
