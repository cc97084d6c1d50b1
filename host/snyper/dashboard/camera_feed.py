"""The cameras of a gateway, read once for all tabs: while somebody looks, and when something has come."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import aiohttp
import socketio  # type: ignore[import-untyped]

from snyper.client.labels import natural
from snyper.dashboard import camera_faces as faces
from snyper.dashboard.camera_gateway import CameraGateway, GatewayFailed
from snyper.dashboard.camera_search import Search, found_of
from snyper.dashboard.faults import log_fault
from snyper.system import steady

UNSEEN_S = 10.0  # after which nobody looks any more
READ_S = 0.25  # between two readings, however much comes
POLL_S = 2.0  # the same where nothing comes
HISTORY_S = 10.0  # between two readings of the history
AGAIN_S = 2.0  # until it connects again
MOST_TILES = 60
_MOST_CAMERAS = 10_000
_MOST_AT_ONCE = 12  # requests for the last record of a camera: the gateway writes each down
_MOST_READINGS = 200  # searches of all tabs
_MOST_RULES = 100
_WAY_S = 0.2  # by which the ways of two answers may differ
_MOST_FIRED = 20

Said = dict[str, Any]
K = TypeVar("K")

for _name in ("socketio.client", "engineio.client"):  # they tell what a gateway sends
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class CameraFeed:
    """The cameras of the gateway at `url`. Whoever shows some says so with `record_viewer`, again and again,
    and hears of news by `listen`. Nothing queues up: what comes says only that all is to be read again.
    Raises ValueError for what is no URL, OSError for a file of certificates that is none.
    """

    def __init__(self, url: str) -> None:
        self.gateway = CameraGateway(url)
        self.problem = ""  # why nothing was read the last time
        self.is_read = False
        self.cameras: dict[str, Said] = {}  # by id, in the order of their names
        self.statistics: Said = {}
        self.rules: Said = {"rules": [], "fired": []}
        self._last: dict[str, tuple[tuple[int, ...], Said | None]] = {}  # by camera, and as of which state
        self._shown: dict[str, float] = {}  # the cameras whose last record is wanted, until when
        self._searches: dict[Search, _Reading] = {}
        self._histories: dict[str, _Reading] = {}  # by bucket
        self._clock = 0.0, 0.0  # the gateway's, at which of ours
        self._listeners: set[Callable[[], None]] = set()
        self._seen_s = 0.0
        self._news = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Ask no more."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self.gateway.close()

    def listen(self, on_news: Callable[[], None]) -> Callable[[], None]:
        """Have `on_news` called when something else was read; return what ends that."""
        self._listeners.add(on_news)
        return lambda: self._listeners.discard(on_news)

    def record_viewer(self) -> None:
        """Note that somebody has a page of them open, and sees it."""
        self._seen_s = steady.now_s()
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow())

    def now_s(self) -> float:
        """Return the gateway's clock, in seconds since 1970."""
        at_s, steady_s = self._clock
        return at_s + steady.now_s() - steady_s

    def last_record(self, camera_id: str) -> Said | None:
        """Return the last record of a camera, which is read while this is asked for; None for none yet."""
        is_new = camera_id not in self._shown
        self._shown[camera_id] = steady.now_s() + UNSEEN_S
        if is_new:
            self._news.set()
        return self._last.get(camera_id, ((), None))[1]

    def found(self, search: Search) -> Said | None:
        """Return what a search has found, which is read again while this is asked for; None before it is."""
        return self._asked(self._searches, search)

    def history(self, bucket: str) -> Said | None:
        """Return how many detections there were in each `hour` or `day`; None before it is known."""
        return self._asked(self._histories, bucket)

    def _asked(self, readings: "dict[K, _Reading]", which: K) -> Said | None:
        if which not in readings:
            if len(readings) >= _MOST_READINGS:
                return None  # until others look at something else
            readings[which] = _Reading()
            self._news.set()
        readings[which].until_s = steady.now_s() + UNSEEN_S
        return readings[which].said

    async def protect(self, cursor: int, is_protected: bool) -> None:
        """Have a record outlive retention, or no more. Raises GatewayFailed."""
        await self.gateway.post(f"/api/records/{cursor}/protect", {"protected": is_protected})
        self.refresh()

    def refresh(self) -> None:
        """Have all of it read anew."""
        for reading in (*self._searches.values(), *self._histories.values()):
            reading.due_s, reading.as_of = 0.0, None
        self._last.clear()
        self._news.set()

    async def _follow(self) -> None:
        hearing = asyncio.create_task(self._hear())
        try:
            while steady.now_s() - self._seen_s < UNSEEN_S:
                self._news.clear()
                began_s = steady.now_s()
                try:
                    await self._read()
                except GatewayFailed as error:
                    self.problem = str(error)
                except Exception as error:
                    log_fault("what a gateway says of cameras cannot be understood", error)
                    self.problem = "what it answers has no sense"
                for on_news in list(self._listeners):
                    on_news()
                await asyncio.sleep(max(READ_S, steady.now_s() - began_s))  # half of the time is others'
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await self._news.wait()
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)

    # --- what it hears at once

    async def _hear(self) -> None:
        """Hear that something has come, over Socket.IO. Where that is not to be had, it is asked for."""
        place, _, path = self.gateway.url.partition("://")[2].partition("/")
        scheme = self.gateway.url.partition("://")[0]
        while True:
            async with aiohttp.ClientSession() as session:
                client = socketio.AsyncClient(
                    reconnection=False, http_session=session, ssl_verify=True, handle_sigint=False
                )
                for event in ("new_detection", "camera_status"):
                    client.on(event, self._on_news)
                gone = asyncio.Event()
                client.on("disconnect", lambda *_, gone=gone: gone.set())
                try:
                    await client.connect(
                        f"{scheme}://{place}",
                        auth={"token": self.gateway.key} if self.gateway.key else None,
                        transports=["websocket"],
                        socketio_path=f"{path}/socket.io".lstrip("/"),
                    )
                    await client.emit("join_dashboard")
                    await gone.wait()  # the client's own wait takes in what cancels it as a connection ends
                except (socketio.exceptions.SocketIOError, aiohttp.ClientError, OSError, ValueError):
                    pass
                finally:
                    await client.disconnect()
            await asyncio.sleep(AGAIN_S)

    async def _on_news(self, *_: object) -> None:
        self._news.set()

    # --- what it reads

    async def _read(self) -> None:
        answer = await self._asked_of("/api/cameras")
        now_s = steady.now_s()
        self._clock = faces.seconds(answer.get("timestamp")) or self.now_s(), now_s
        said = faces.items(answer.get("cameras"), _MOST_CAMERAS)
        listed = [self._with_same_instant(faces.camera_face(one, now_s)) for one in said]
        listed.sort(key=lambda one: natural(one["name"]))
        self.cameras = {one["id"]: one for one in listed}
        self.problem, self.is_read = "", True
        statistics = (await self.gateway.get("/api/statistics")).get("data")
        self.statistics = statistics if isinstance(statistics, dict) else {}
        await self._read_last_records(now_s)
        as_of = tuple(one["as_of"] for one in listed)
        for search in _due(self._searches, now_s, as_of):
            await self._searches[search].take(self._search(search), as_of, search.every_s)
        for bucket in _due(self._histories, now_s, as_of):
            await self._histories[bucket].take(self._read_history(bucket), as_of, HISTORY_S)
        self.rules = await self._read_rules()

    def _with_same_instant(self, face: Said) -> Said:
        """Return a camera's face, seen when it was before if nothing but the way of an answer is between."""
        before_s, seen_s = self.cameras.get(face["id"], face)["seen_s"], face["seen_s"]
        is_same = None not in (before_s, seen_s) and abs(seen_s - before_s) < _WAY_S
        return {**face, "seen_s": before_s} if is_same else face

    async def _asked_of(self, path: str) -> Said:
        try:
            return await self.gateway.get(path)
        except GatewayFailed as error:
            if error.status == 404:
                raise GatewayFailed(
                    "it serves no cameras, as “snyper gateway --cameras FOLDER” does"
                ) from None
            raise

    async def _read_last_records(self, now_s: float) -> None:
        for camera_id in [one for one, until_s in self._shown.items() if until_s < now_s]:
            del self._shown[camera_id]
            self._last.pop(camera_id, None)
        due = [
            (one, self.cameras[one]["as_of"])
            for one in self._shown
            if one in self.cameras and self._last.get(one, ((), None))[0] != self.cameras[one]["as_of"]
        ]
        if len(due) > _MOST_AT_ONCE:  # those that were read last have their turn the next time
            turns = {camera_id: turn for turn, camera_id in enumerate(self._last)}
            due = sorted(due, key=lambda one: turns.get(one[0], -1))[:_MOST_AT_ONCE]
            self._news.set()
        answers = await asyncio.gather(*(self._newest(camera_id) for camera_id, _ in due))
        for (camera_id, state), record in zip(due, answers, strict=True):
            self._last.pop(camera_id, None)
            self._last[camera_id] = state, record

    async def _newest(self, camera_id: str) -> Said | None:
        found = await self.gateway.get("/api/records", {"camera_id": camera_id, "limit": 1})
        return next(map(faces.record_face, faces.items(found.get("records"), 1)), None)

    async def _search(self, search: Search) -> Said:
        try:
            return found_of(search, await self.gateway.get(search.path, search.fields()))
        except GatewayFailed as error:
            before = self._searches[search].said or found_of(search, {})
            return {**before, "problem": str(error)}

    async def _read_history(self, bucket: str) -> Said:
        try:
            said = await self.gateway.get("/api/statistics/history", {"bucket": bucket})
        except GatewayFailed as error:
            return {"problem": str(error)}
        return {"counts": faces.counts(said.get("buckets"))}

    async def _read_rules(self) -> Said:
        try:
            said = await self.gateway.get("/api/rules")
        except GatewayFailed:
            return {"rules": [], "fired": []}
        return {
            "rules": faces.items(said.get("rules"), _MOST_RULES),
            "fired": faces.items(said.get("fired"), _MOST_FIRED),
        }


class _Reading:
    """The last answer to a question, and when it is asked again."""

    def __init__(self) -> None:
        self.said: Said | None = None
        self.due_s = 0.0
        self.until_s = 0.0
        self.as_of: tuple[object, ...] | None = None  # which state of all records

    async def take(self, answer: Awaitable[Said], as_of: tuple[object, ...], every_s: float) -> None:
        """Take an answer, after which it is asked again in `every_s`, once there are other records."""
        self.said = await answer
        self.as_of = None if self.said.get("problem") else as_of
        self.due_s = steady.now_s() + every_s


def _due(readings: dict[K, _Reading], now_s: float, as_of: tuple[object, ...]) -> list[K]:
    """Return what is to be asked now; forget what nobody asks for any more."""
    for which in [which for which, one in readings.items() if one.until_s < now_s]:
        del readings[which]
    return [which for which, one in readings.items() if one.due_s <= now_s and one.as_of != as_of]
