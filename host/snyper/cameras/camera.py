"""`Camera`: a camera on its device, which tells cameras' service at a hub what it sees, over any outage."""

import asyncio
import hashlib
import json
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from platformdirs import user_data_path

from snyper.cameras.intake import MAX_DEPTH
from snyper.cameras.outbox import MAX_BYTES, Counts, Item, Outbox, Pictures, SetAside
from snyper.device.retrying import delay_s
from snyper.services.async_caller import AsyncCaller
from snyper.services.context import deadline
from snyper.services.remote_exceptions import Busy, OutcomeUnknown, Refused, ResultGone
from snyper.services.through_hub import ThroughHub
from snyper.shared.hub_clock import HubClock
from snyper.shared.runtime import end_task
from snyper.shared.socket_protocol import is_target_id
from snyper.system import steady
from snyper.system.files import own_file
from snyper.system.text import one_line

SERVICE = "cameras"  # the name at the hub of who takes what cameras tell
BEAT_S = 1.5  # between two signs of life
SILENCE_S = 5.0  # after which a camera is not there, nor is who serves it
MAX_BATCH = 16  # things told in one call
MAX_PICTURES_BYTES = 16 << 20  # of one thing
MAX_BODY_CHARS = 256 << 10  # of the rest of it, as JSON
DETECTION = "detection"
HEALTH = "health"
_LIVE_S = 5.0  # for how long what is new goes before what has waited for longer
_TURN_S = 0.25  # that a call should take, so that what is new does not wait for what is old
_MIN_BATCH_BYTES = 64 << 10
_MAX_BATCH_BYTES = 4 << 20
_REFUSED_S = 10.0  # until a hub or a service that takes nothing of this camera is asked again
_FAR = 2**62
_OURS = ("camera_id", "checkpoint_id", "timestamp", "detection_id", "captured_by_hub")
_log = logging.getLogger("snyper")
T = TypeVar("T")


class Delivery(NamedTuple):
    """The state of a delivery: `is_connected`, and if not `why`."""

    is_connected: bool
    why: str


class Camera:
    """A camera that tells what it sees to the service `cameras` of the hub at `hub` (HOST:PORT).

    What it is given is on the disk when its call returns, in the file `outbox`, which one process at a time
    has and which takes `max_outbox_bytes`; from there it is told, again until it is acknowledged, what is new
    first. By default that file is in this user's data, by the name of the camera.

    The hub knows it as the device `name`, which by default is its id, where that is a name. `key` is one of
    the hub's; by default it is this computer's. A `device` key is for the cameras NAME and NAME/….

    Raises ValueError for an address, a name or a key that is none.
    """

    def __init__(
        self,
        camera_id: str,
        checkpoint_id: str,
        *,
        hub: str,
        outbox: str | Path | None = None,
        key: str | None = None,
        name: str | None = None,
        service: str = SERVICE,
        max_outbox_bytes: int = MAX_BYTES,
        on_change: Callable[[Delivery], object] = lambda delivery: None,
    ) -> None:
        for text, what in ((camera_id, "camera"), (checkpoint_id, "checkpoint")):
            if not isinstance(text, str) or not text.strip() or len(text) > 128 or not text.isprintable():
                raise ValueError(f"the id of a {what} is a text of 1 to 128 characters that can be seen")
        self.camera_id = camera_id.strip()
        self.checkpoint_id = checkpoint_id.strip()
        self.name = name_of(self.camera_id) if name is None else name
        self.delivery = Delivery(False, "it has not been tried yet")
        self._path = _default_path(self.camera_id) if outbox is None else Path(outbox)
        self._max_bytes = max_outbox_bytes
        self._caller = AsyncCaller(ThroughHub(hub, service, key, device=self.name), None, None)
        self._on_change = on_change
        self._clock = HubClock()  # of whoever serves cameras
        self._clock_us = 0  # when it was asked last
        self._live: deque[tuple[int, float]] = deque()  # what came in the last seconds, and when
        self._batch_bytes = _MIN_BATCH_BYTES

    async def __aenter__(self) -> Self:
        """Open the outbox, and tell what is in it from now on. A hub that is not there yet is waited for.

        Raises OutboxLocked where another process has the outbox; OSError.
        """
        self._thread = ThreadPoolExecutor(1, "camera outbox")
        self._has_more = asyncio.Event()
        self._is_idle = asyncio.Event()
        try:
            self._outbox = await self._in_thread(Outbox, self._path, self._max_bytes)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        self._tasks = [asyncio.create_task(self._deliver()), asyncio.create_task(self._beat())]
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Tell nothing more, and close the outbox: what is in it is told the next time."""
        for task in self._tasks:
            await end_task(task)
        await self._caller.close()
        await self._in_thread(self._outbox.close)
        self._thread.shutdown(wait=False)

    async def detection(
        self,
        *,
        ocr_results: Sequence[str] = (),
        annotated_image: bytes | None = None,
        original_image: bytes | None = None,
        cropped_plates: Sequence[bytes] = (),
        captured_at: datetime | None = None,
        **more: Any,
    ) -> str:
        """Tell what was seen, and return its id once it is on the disk.

        Pictures are the bytes of JPEG or PNG files: one of the whole, annotated or original, and the plates.
        `more` is JSON: `vehicles_count`, `plates_count`, `vehicle_detections`, `plate_detections`,
        `processing_time_ms`, whatever else. `captured_at`, which is now if left out, is by this computer's
        clock. Names, id and times are the camera's own to give.

        Raises ValueError, TypeError for what cannot be told, is nested deeper than 32 levels, or is more than
        16 MiB of pictures and 256 KiB else; OutboxFull where even what is old cannot make way; OSError.
        """
        if captured_at is not None and not isinstance(captured_at, datetime):
            raise TypeError(f"captured_at is a datetime, not {type(captured_at).__name__}")
        taken = more.keys() & set(_OURS)
        if taken:
            raise ValueError(f"{min(taken)} is given by the camera itself")
        if isinstance(ocr_results, str):
            raise TypeError("ocr_results is a list of plates, not one text")
        if annotated_image is not None and original_image is not None:
            raise ValueError("a detection has one picture: annotated_image or original_image")
        pictures = [
            (name, bytes(memoryview(picture)))  # bytes of a number are as many zeros
            for name, picture in (("annotated_image", annotated_image), ("original_image", original_image))
            if picture is not None
        ]
        pictures += [("cropped_plates", bytes(memoryview(plate))) for plate in cropped_plates]
        if sum(len(picture) for _, picture in pictures) > MAX_PICTURES_BYTES:
            raise ValueError(f"a detection has at most {MAX_PICTURES_BYTES:,} bytes of pictures")
        detection_id = str(uuid.uuid4())
        at = datetime.now(UTC) if captured_at is None else captured_at.astimezone(UTC)
        body = {"detection_id": detection_id, "ocr_results": list(ocr_results), **more}
        stamp = self._hub_stamp(0.0 if captured_at is None else time.time() - at.timestamp())
        if stamp:
            body["captured_by_hub"] = stamp
        await self._add(DETECTION, detection_id, at, body, pictures)
        return detection_id

    async def health(
        self, component: str, status: str, message: str = "", details: Mapping[str, Any] | None = None
    ) -> str:
        """Tell how a component is, such as `camera` is `healthy`; return its id once it is on the disk.

        Raises ValueError, TypeError for what is no JSON, deeper than 32 levels or more than 256 KiB;
        OutboxFull, OSError.
        """
        if details is not None and not isinstance(details, Mapping):
            raise TypeError(f"details is a mapping, not {type(details).__name__}")
        health_id = str(uuid.uuid4())
        body = {
            "health_id": health_id,
            "component": component,
            "status": status,
            "message": message,
            "details": dict(details or {}),
        }
        await self._add(HEALTH, health_id, datetime.now(UTC), body, ())
        return health_id

    async def counts(self) -> Counts:
        """Count what is in the outbox, and what became of all that was."""
        return await self._in_thread(self._outbox.counts)

    async def set_aside(self) -> list[SetAside]:
        """Return what was refused for good, with the reasons: at most 100, the newest first."""
        return await self._in_thread(self._outbox.set_aside)

    async def try_again(self) -> int:
        """Tell what was refused once more, and return how many that are."""
        found = await self._in_thread(self._outbox.try_again)
        self._has_more.set()
        return found

    async def flush(self) -> None:
        """Wait until all is told, or refused. `asyncio.timeout` ends that."""
        self._is_idle.clear()
        self._has_more.set()
        await self._is_idle.wait()

    # --- what is to be told

    async def _add(
        self, kind: str, item_id: str, at: datetime, body: dict[str, Any], pictures: Pictures
    ) -> None:
        body = {
            "camera_id": self.camera_id,
            "checkpoint_id": self.checkpoint_id,
            "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            **body,
        }
        if _is_deeper(body, MAX_DEPTH):  # or no call would ever carry it
            raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels, or contains itself")
        if len(json.dumps(body, allow_nan=False)) > MAX_BODY_CHARS:
            raise ValueError(f"all but the pictures has at most {MAX_BODY_CHARS:,} characters")
        await self._in_thread(self._put, kind, item_id, body, pictures)
        self._has_more.set()

    def _put(self, kind: str, item_id: str, body: dict[str, Any], pictures: Pictures) -> None:
        seq = self._outbox.add(kind, item_id, body, pictures)
        self._live.append((seq, time.monotonic()))

    def _hub_stamp(self, age_s: float) -> dict[str, float]:
        """Return the instant so long ago by the clock of who serves cameras, in seconds since 1970, and by
        how much that may be wrong; nothing where it has not been asked for long.
        """
        now = _now_us()
        if not self._clock.is_set or now - self._clock_us > 60_000_000:
            return {}
        within_s = self._clock.uncertainty_us(now) / 1e6
        return {"at_s": self._clock.hub_us(now) / 1e6 - age_s, "within_s": within_s}

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    # --- delivery

    def _next(self) -> tuple[list[Item], bool]:
        """Return what is to be told next, and whether it is new."""
        too_old_s = time.monotonic() - _LIVE_S
        while self._live and self._live[0][1] < too_old_s:
            self._live.popleft()
        first = self._live[0][0] if self._live else _FAR
        take = partial(self._outbox.take, max_items=MAX_BATCH, max_bytes=self._batch_bytes)
        found = take(first, _FAR) if self._live else []
        return (found, True) if found else (take(0, first - 1), False)

    async def _deliver(self) -> None:
        failures = 0
        while True:
            try:
                self._has_more.clear()
                items, is_live = await self._in_thread(self._next)
                if not items:
                    self._is_idle.set()
                    await self._has_more.wait()
                    continue
                await self._tell(items, is_live)
                failures = 0
            except (OutcomeUnknown, ResultGone):
                pass  # told again it is known by its id
            except (Refused, PermissionError) as error:
                self._becomes(False, str(error))
                await asyncio.sleep(_REFUSED_S)
            except Exception as error:  # whatever it is, it may be over the next time
                failures += 1
                self._becomes(False, str(error) or type(error).__name__)
                await asyncio.sleep(
                    delay_s(failures, error.retry_after_s if isinstance(error, Busy) else None)
                )

    async def _tell(self, items: Sequence[Item], is_live: bool) -> None:
        """Tell some things, and take out what is told or refused. Raises Busy where some are to be told
        again; CallError, PermissionError.
        """
        began_s = time.monotonic()
        told = [[item.id, item.kind, item.body, [list(one) for one in item.pictures]] for item in items]
        answers: Any = await self._caller.call("tell", (told, is_live), {})
        done: list[int] = []
        refused: dict[int, str] = {}
        busy: Busy | None = None
        forbidden: PermissionError | None = None
        for item, answer in zip(items, answers, strict=True):
            if answer["outcome"] == "taken":
                done.append(item.seq)
                for warning in answer.get("warnings", ()):
                    _log.warning("%s: %s", self.camera_id, one_line(str(warning)))
            elif answer["outcome"] == "forbidden" and item.body["camera_id"] == self.camera_id:
                forbidden = PermissionError(str(answer["why"]))  # which somebody may see to
            elif answer["outcome"] in ("refused", "forbidden"):
                refused[item.seq] = one_line(str(answer["why"]))
                _log.warning("%s: refused: %s", self.camera_id, refused[item.seq])
            else:
                busy = Busy(str(answer["why"]), float(answer["retry_after_s"]))
        await self._in_thread(self._outbox.conclude, done, refused)
        took_s = max(0.001, time.monotonic() - began_s)
        rate = sum(item.size for item in items) / took_s
        self._batch_bytes = int(min(max(rate * _TURN_S, _MIN_BATCH_BYTES), _MAX_BATCH_BYTES))
        if forbidden is not None:
            raise forbidden
        self._becomes(True, "")
        if busy is not None:
            raise busy

    async def _beat(self) -> None:
        """Give a sign of life now and then, and ask for the time; first of all, and after each outage, say
        who this is.
        """
        about = {"camera_id": self.camera_id, "checkpoint_id": self.checkpoint_id}
        is_registered = False
        while True:
            try:
                with deadline(SILENCE_S):
                    if not is_registered:
                        await self._caller.call("register", (about,), {})
                        is_registered = True
                    sent_us = _now_us()
                    at_us: Any = await self._caller.call("beat", (self.camera_id, self.checkpoint_id), {})
                self._clock.add(sent_us, int(at_us), _now_us())
                self._clock_us = _now_us()
                self._becomes(True, "")
            except Exception as error:
                is_registered = False
                self._becomes(False, str(error) or type(error).__name__)
            await asyncio.sleep(BEAT_S)

    def _becomes(self, is_connected: bool, why: str) -> None:
        delivery = Delivery(is_connected, one_line(why))
        if delivery != self.delivery:
            self.delivery = delivery
            if why:
                _log.warning("%s: %s", self.camera_id, delivery.why)
            self._on_change(delivery)


def name_of(camera_id: str) -> str:
    """Return what a hub calls a camera: its id, where that is a name there, else a name made from it."""
    with suppress(TypeError):
        if is_target_id(camera_id) and camera_id != "all":
            return camera_id
    return f"camera-{hashlib.sha256(camera_id.encode()).hexdigest()[:12]}"


def _now_us() -> int:
    """Return microseconds of a clock that goes on while the device sleeps."""
    return int(steady.now_s() * 1_000_000)


def _is_deeper(value: object, levels: int) -> bool:
    """Tell whether there are more containers in containers."""
    if levels == 0:
        return True
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return any(_is_deeper(one, levels - 1) for one in inner)


def _default_path(camera_id: str) -> Path:
    no_home = OSError("there is no home directory to keep what is to be told in: give outbox=")
    return own_file(user_data_path, "cameras", no_home) / f"{name_of(camera_id)}.outbox"
