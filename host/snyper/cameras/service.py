"""`Cameras`, which all faces use: takes what cameras send, keeps it, tells it to who listens."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import tzinfo
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from snyper.cameras.batch import Incoming, Item
from snyper.cameras.check import CheckResult
from snyper.cameras.database import Database, explained, said_of
from snyper.cameras.export import Export
from snyper.cameras.feed import Feed
from snyper.cameras.grants import is_among
from snyper.cameras.log import DELETE, Entry, Log
from snyper.cameras.presence import ONLINE, Change, Presence
from snyper.cameras.queries import MAX_LIMIT, Queries
from snyper.cameras.records import (
    Accepted,
    Bucket,
    CameraSettings,
    CameraState,
    Detection,
    Event,
    Health,
    Overloaded,
    Record,
    RecordPage,
    RecordQuery,
    Registration,
    Statistics,
)
from snyper.cameras.retention import Retention
from snyper.cameras.silence import Expectation
from snyper.cameras.still import StillPictures
from snyper.cameras.store import Store
from snyper.cameras.thumbnails import Thumbnails
from snyper.cameras.times import iso, seconds_of, zone_named
from snyper.cameras.visits import GAP_S, VisitPage, page_of, parse_cursor, slim
from snyper.cameras.writer import Limits, Writer
from snyper.cameras.zones import Zones
from snyper.system import steady
from snyper.system.files import PRIVATE_FOLDER, shown
from snyper.system.text import one_line

T = TypeVar("T")
_log = logging.getLogger(__name__)
_SWEEP_EVERY_S = 300.0
_REMOVED_AT_ONCE = 100  # cameras
_READERS = 4
_UNSET = CameraSettings()
_PAGE_OF_VISITS = 100  # records that are read at once, each of which may have 256 kB
_MAX_OF_VISITS = 5_000  # that are read for a page
_MAX_PLATES_OF_VISITS = 10_000  # in them
_CHECK_S = 0.5  # between two checks of who is silent
_PROBE_S = 5.0  # between two looks at whether the database answers
_ANSWER_S = 2.0  # for it to do so

# What judges a detection: returns it as it is to be kept, and what is to be called once it is.
Judge = Callable[[Detection], tuple[Detection, Callable[[Accepted], None]]]


class Cameras:
    """The cameras of a store. Its methods belong to the event loop that made it; none of them blocks it.

    What takes something returns once it is on the disk. Raises Overloaded where it is not, and may be sent
    again; cancelled, it may be written all the same.
    """

    def __init__(
        self,
        store: Store,
        queries: Queries,
        limits: Limits,
        zones: Zones,
        settings: dict[str, CameraSettings],
        expectations: Mapping[str, Expectation],
    ) -> None:
        self._store, self._queries, self._zones = store, queries, zones
        self._settings = settings
        self.judge: Judge | None = None  # sees each detection before it is written
        self._loop = asyncio.get_running_loop()
        self._writer = Writer(store, limits, self._heed)
        self._feeds: set[Feed] = set()
        self.log = Log(store.log, self._change_rows, self._read)
        self._thumbnails = Thumbnails(store.pictures)
        self._expectations = expectations
        expected = {name: self._expected(name) for name in {*expectations, *settings}}
        self._presence = Presence(zones, expected)
        self._still = StillPictures()
        self._readers = ThreadPoolExecutor(_READERS, "camera records")
        self._prober = ThreadPoolExecutor(1, "camera database")  # which waits for no search
        self.is_answered = True  # by the database
        self._checks = [
            self._loop.create_task(check) for check in (self._check_silence(), self._check_database())
        ]

    async def register(self, registration: Registration, principal: str = "") -> Accepted:
        """Take a registration. Raises Overloaded."""
        return await self._writer.take(registration, principal, True)

    async def detect(self, detection: Detection, principal: str = "", is_live: bool = True) -> Accepted:
        """Take a detection, of unknown cameras too. Raises Overloaded."""
        if self.judge is None:
            return await self._writer.take(detection, principal, is_live)
        judged, on_kept = self.judge(detection)
        accepted = await self._writer.take(judged, principal, is_live)
        on_kept(accepted)
        return accepted

    async def health(self, health: Health, principal: str = "", is_live: bool = True) -> Accepted:
        """Take a health check. Raises Overloaded."""
        return await self._writer.take(health, principal, is_live)

    def connect(
        self, connection: Hashable, camera_id: str, checkpoint_id: str, silence_s: float = math.inf
    ) -> bool:
        """Take that a connection speaks for a camera: until it ends, or there is no such sign of life for
        `silence_s`, the camera is there. Return whether it is the first that this connection speaks for.
        """
        now, is_first = (steady.now_s(), time.time()), not self._presence.knows(connection)
        self._tell_changes(self._presence.connect(connection, camera_id, checkpoint_id, *now, silence_s))
        return is_first

    def disconnect(self, connection: Hashable) -> None:
        """Take that a connection which spoke for cameras has ended."""
        self._tell_changes(self._presence.disconnect(connection, steady.now_s(), time.time()))

    def recall(self, known: Iterable[CameraState]) -> None:
        """Take those that were seen just now, by a process before this one, to be there."""
        now = steady.now_s(), time.time()
        for one in known:
            self._presence.recall(one.camera_id, one.checkpoint_id, one.last_seen_s, *now)

    def expect_soon(self, camera_id: str) -> None:
        """Expect to hear of a camera: listeners are told that it is gone unless it comes within a minute."""
        self._presence.expect_soon(camera_id, steady.now_s())

    def is_silent(self, camera_id: str) -> bool:
        """Tell whether a camera is not there, and expected neither to be asleep nor to come soon."""
        return self._presence.is_silent(camera_id)

    async def answers(self) -> bool:
        """Tell whether the database answers within 2 s; `is_answered` is what was so the last time."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._loop.run_in_executor(self._prober, self._queries.probe)
            is_answered, why = True, ""
        except (SQLAlchemyError, TimeoutError) as error:
            is_answered, why = False, one_line(str(getattr(error, "orig", None) or "it takes too long"))
        if is_answered != self.is_answered:
            _log.warning("the database %s", "answers again" if is_answered else f"does not answer: {why}")
        self.is_answered = is_answered
        return is_answered

    async def statistics(self, among: Sequence[str] | None = None) -> Statistics:
        """Return the counters, of cameras among those that are named, as `is_among` reads them."""
        if among is None:
            found = await self._read(self._queries.statistics, time.time())
        else:
            found = await self._read(self._queries.statistics_of, time.time(), among)
        here = (camera for camera in self._presence if among is None or is_among(camera, among))
        return replace(found, active_cameras=sum(1 for _ in here))

    async def cameras(self, among: Sequence[str] | None = None) -> list[CameraState]:
        """Return all cameras, by name, among those that are named, as `is_among` reads them."""
        found = await self._read(self._queries.cameras)
        return [
            self._with_presence(self._with_warnings(camera))
            for camera in found
            if among is None or is_among(camera.camera_id, among)
        ]

    async def cameras_of_picture(self, name: str) -> set[str]:
        """Return the cameras that a picture is of."""
        return await self._read(self._queries.cameras_of_picture, name)

    async def camera_of(self, cursor: int) -> str | None:
        """Return the camera of a record, None where there is no such record."""
        return await self._read(self._queries.camera_of, cursor)

    async def records(self, query: RecordQuery) -> RecordPage:
        """Return a page of records. Raises ValueError for a cursor that is none."""
        return await self._read(self._queries.records, query)

    def seconds_of(self, detection: Detection) -> float | None:
        """Return what the stamp of a detection that comes now means, in seconds since 1970 (UTC); None where
        it is none.
        """
        return seconds_of(detection.timestamp, self._zones.of(detection.camera_id), time.time())

    def picture(self, name: str) -> Path | None:
        """Return where the file of a picture is, None for a name that is none; it may be gone."""
        return self._store.pictures.path(name)

    async def thumbnail(self, name: str) -> Path | None:
        """Return where the thumbnail of a picture is, a JPEG, which may be made now; None where there is no
        such picture, or it cannot be decoded.
        """
        return await self._thumbnails.get(name)

    async def visits(self, query: RecordQuery) -> VisitPage:
        """Return a page of the visits that the records of a query are of, the newest first; `before` is the
        `next_cursor` of the page before. Raises ValueError for a cursor that is none.
        """
        before = None if query.before is None else parse_cursor(query.before)
        until_s, end_s, cut = query.until_s, math.inf, None
        if before is not None:
            until_s = min(math.inf if until_s is None else until_s, before.end[0] + GAP_S)
            end_s = before.end[0] - GAP_S
            cut = None if before.record is None else "{!r}:{}".format(*before.record)
        # With a time, so that the newest are those captured last.
        asked = replace(
            query, limit=_PAGE_OF_VISITS, after=None, before=cut, from_s=query.from_s or 0.0, until_s=until_s
        )
        records: list[Record] = []
        plates = 0
        while True:
            page = await self._read(self._queries.records, asked, False)
            records += map(slim, page.records)
            plates += sum(len(one.ocr_results) for one in page.records)
            asked = replace(asked, before=page.next_cursor)
            has_begun = len(records) >= MAX_LIMIT and records[-1].time_s < end_s
            is_enough = has_begun or len(records) >= _MAX_OF_VISITS or plates >= _MAX_PLATES_OF_VISITS
            if page.next_cursor is None or is_enough:
                break
        has_more = page.next_cursor is not None
        return await self._read(page_of, records, has_more, before, max(1, query.limit))

    async def history(
        self,
        span_s: tuple[float, float],
        by_day: bool = False,
        camera_id: str | None = None,
        of_all: bool = False,
        among: Sequence[str] | None = None,
    ) -> list[Bucket]:
        """Return what came in the hours or days that begin in a span of time, the oldest first: of each
        camera or of all together, of one alone, of those that are named. Raises ValueError for too many.
        """
        return await self._read(self._queries.history, span_s, by_day, camera_id, of_all, among)

    def settings_of(self, camera_id: str) -> CameraSettings:
        """Return what is set of a camera."""
        return self._settings.get(camera_id, _UNSET)

    @property
    def zone(self) -> tzinfo:
        """The zone that has today."""
        return self._zones.zone

    def zone_of(self, camera_id: str) -> str:
        """Return the name of the zone of a camera's clock."""
        return self._zones.name_of(camera_id)

    async def change_settings(self, camera_id: str, settings: CameraSettings) -> bool:
        """Set what is so of a camera; tell whether there is such a camera. Raises ValueError for a zone that
        is none, Overloaded.
        """
        if settings.zone is not None:
            await asyncio.to_thread(zone_named, settings.zone)
        if not await self._change_rows(lambda: self._store.change_settings(camera_id, settings)):
            return False
        self._settings[camera_id] = settings
        self._zones.change(camera_id, settings.zone)
        self._presence.expect(camera_id, self._expected(camera_id))
        return True

    def export(self, query: RecordQuery, most: int | None = None) -> Export:
        """Return an export of all records that a query asks for, or of `most`, for another thread."""
        return Export(self._queries, self._store.pictures, query, most)

    async def count(self, query: RecordQuery) -> int:
        """Return how many records meet the conditions, all of which are counted. Raises Overloaded."""
        return await self._read(self._queries.count, query)

    def listen(self) -> Feed:
        """Return the events from now on."""
        feed = Feed(self._feeds.discard)
        self._feeds.add(feed)
        return feed

    async def close(self) -> None:
        """Write what waits, and let go of the store."""
        for check in self._checks:
            check.cancel()
        await asyncio.gather(*self._checks, return_exceptions=True)
        for feed in list(self._feeds):
            feed.close()
        with contextlib.suppress(Overloaded):
            await self.log.flush()
        await self._writer.close()
        await self._thumbnails.close()
        await asyncio.to_thread(self._readers.shutdown)
        self._prober.shutdown(wait=False)

    def _with_warnings(self, camera: CameraState) -> CameraState:
        if not self._still.is_still(camera.camera_id):
            return camera
        return replace(camera, warnings=(*camera.warnings, "its picture does not change"))

    def _with_presence(self, camera: CameraState) -> CameraState:
        name, presence = camera.camera_id, self._presence
        age_s = presence.age_s(name, steady.now_s())
        return replace(
            camera,
            is_active=presence.status_of(name) == ONLINE,
            asleep_until_s=presence.asleep_until_s(name, time.time()),
            last_seen_s=max(camera.last_seen_s, presence.seen_s(name)),
            age_s=max(0.0, time.time() - camera.last_seen_s) if age_s is None else age_s,
        )

    def _expected(self, camera_id: str) -> Expectation:
        expected = self._expectations.get(camera_id, Expectation())
        return expected.with_settings(self.settings_of(camera_id))

    async def _check_silence(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_S)
            self._tell_changes(self._presence.check(steady.now_s(), time.time()))

    async def _check_database(self) -> None:
        while True:
            await asyncio.sleep(_PROBE_S)
            await self.answers()

    def _tell_changes(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._tell(Event("status", {**change._asdict(), "timestamp": iso(time.time())}))

    async def _read(self, function: Callable[..., T], *arguments: Any) -> T:
        try:
            return await self._loop.run_in_executor(self._readers, function, *arguments)
        except SQLAlchemyError as error:
            _log.warning("the database cannot be read (%s)", type(error).__name__)
            raise Overloaded("what is kept cannot be read now: ask again") from error

    # --- what is removed, in the writer's thread

    async def protect(self, cursor: int, is_protected: bool) -> bool:
        """Have a record outlive retention, or no more; tell whether it is there. Raises Overloaded."""
        return await self._change_rows(lambda: self._store.protect(cursor, is_protected))

    async def erase_plate(
        self, plate: str, who: str = "", among: Sequence[str] | None = None, rewrites: bool = False
    ) -> int:
        """Erase all records of a plate, protected ones too, with their pictures, so that no file has it any
        more; return how many there were. `among` are the cameras of which, None for all: the log says no more
        that somebody looked for it, of those cameras alone where they are named, and that `who` erased.
        PostgreSQL has it in the free space of its files unless it `rewrites` them, while which all wait.
        Raises OSError while somebody reads the database, Overloaded.
        """
        entry = Entry(DELETE, who)
        await self.log.write(entry)
        count = 0
        while erased := await self._change_rows(lambda: self._store.erase_some(plate, among)):
            count += erased
        await self._change_rows(lambda: self._store.log.erase_plate(plate, among))
        await self.log.write(replace(entry, count=count, times=0))
        await self._change_rows(lambda: self._store.leave_no_trace(rewrites))
        return count

    async def remove_cameras(self, named: Sequence[str], with_records: bool, who: str) -> list[str]:
        """Remove the cameras that are named, each by its id or the begin of one and *, and return which: none
        where one has records, unless it goes `with_records`, protected ones too. What came in all stays
        counted. The log says that `who` did. Nobody may be connected. Raises ValueError for a name that no
        camera has, OSError where one has records, Overloaded.
        """
        found = await self._change_rows(lambda: self._store.cameras_with_records(named))
        for name in named:
            if not any(is_among(camera_id, [name]) for camera_id in found):
                raise ValueError(f"there is no camera {name}: nothing is removed")
        kept = [camera_id for camera_id, has_records in found.items() if has_records]
        if kept and not with_records:
            which = f"{kept[0]} has records" + (f", and so have {len(kept) - 1:,} more" if kept[1:] else "")
            raise OSError(f"{which}: nothing is removed; --with-records removes those too")
        entry = Entry(DELETE, who, {"cameras": " ".join(named)})
        await self.log.write(entry)
        names, count = sorted(found), 0
        for at in range(0, len(names), _REMOVED_AT_ONCE):
            some = names[at : at + _REMOVED_AT_ONCE]
            while removed := await self._change_rows(partial(self._store.remove_some_cameras, some)):
                count += removed
        await self.log.write(replace(entry, count=count, times=0))
        return names

    async def check(
        self,
        repairs: bool = False,
        forces: bool = False,
        reads: bool = False,
        on_step: Callable[[int, int], object] = lambda done, hours: None,
    ) -> CheckResult:
        """Look for pictures without a record, and for records whose picture is gone or, by its size, damaged;
        where it `reads` each, by its SHA-256 too. With `repairs` the first and the last are removed, and the
        records, which stay, say no more that they have one. `on_step` is told how many hours of how many are
        done. Raises OSError where most pictures would go, unless it `forces` that.
        """
        check = self._store.new_check(repairs, forces, reads)
        while not await self._writer.do(check.step):
            on_step(check.hours_done, check.hours)
        return check.result

    async def sweep(self, retention: Retention) -> None:
        """Remove what is older than it may be, or takes too much room."""
        sweep = await self._writer.do(lambda: self._store.new_sweep(retention))
        while not await self._writer.do(sweep.step):
            pass

    @property
    def clock_doubt(self) -> str | None:
        """Say what is not believed of the time of day, by which nothing grows old yet; None for nothing."""
        return self._store.clock_doubt

    async def keep_for(self, retention: Retention | None) -> None:
        """Sweep every few minutes, until cancelled; without a retention nothing is removed."""
        while retention is not None:
            try:
                await self.sweep(retention)
            except (OSError, SQLAlchemyError) as error:
                _log.warning("old records could not be removed (%s): it is tried again", said_of(error))
            await asyncio.sleep(_SWEEP_EVERY_S)

    async def _change_rows(self, job: Callable[[], T]) -> T:
        """Do something in the writer's thread for somebody who hears what comes of it. Raises Overloaded."""
        try:
            return await self._writer.do(job)
        except SQLAlchemyError as error:
            _log.warning("the database cannot be written (%s)", type(error).__name__)
            raise Overloaded("it cannot be written now: ask again") from error

    def _heed(self, incoming: Incoming, accepted: Accepted) -> None:
        """Make what follows of something that was written."""
        self._hear(incoming.item)
        if accepted.is_known:
            return
        self._tell(_event(incoming, accepted))
        for place, picture in incoming.pictures:
            self._thumbnails.add(picture.name)
            if place == 0:
                self._still.see(incoming.item.camera_id, picture.name.rpartition("/")[2])

    def _hear(self, item: Item) -> None:
        now = steady.now_s(), time.time()
        changes = self._presence.hear(item.camera_id, item.checkpoint_id, *now)
        if not isinstance(item, Registration):  # of which listeners hear anyway
            self._tell_changes(changes)

    def _tell(self, event: Event) -> None:
        for feed in self._feeds:
            feed.put(event)


@asynccontextmanager
async def opened(
    folder: Path,
    database: str | None = None,
    limits: Limits | None = None,
    zone: str = "UTC",
    retention: Retention | None = None,
    camera_zones: Mapping[str, str] | None = None,
    sweeps: bool = True,
    expectations: Mapping[str, Expectation] | None = None,
) -> AsyncIterator[Cameras]:
    """Open the cameras of a folder, which is made where it is missing. `database` is a URL such as
    postgresql://user@host/name, else it is SQLite in the folder. Naive stamps are read in `zone`, which has
    today too. `expectations` are of single cameras. Raises OSError, ValueError.
    """
    limits, zones = limits or Limits(), Zones(zone, camera_zones)
    with explained(folder, database):
        base = await asyncio.to_thread(_database, folder, database)
        try:
            store = await asyncio.to_thread(Store, folder, base, zones, limits.keep_free_bytes)
            settings = await asyncio.to_thread(store.settings)
            for camera_id, one in settings.items():
                if one.zone is not None:
                    zones.change(camera_id, one.zone)
            queries = Queries(base, zones)
            known = await asyncio.to_thread(queries.cameras)
            cameras = Cameras(store, queries, limits, zones, settings, expectations or {})
            cameras.recall(known)
            sweeping = asyncio.create_task(cameras.keep_for(retention or Retention() if sweeps else None))
            try:
                yield cameras
            finally:
                sweeping.cancel()
                await asyncio.gather(sweeping, return_exceptions=True)
                await cameras.close()
                await asyncio.to_thread(store.close)
        finally:
            await asyncio.to_thread(base.close)


def _database(folder: Path, url: str | None) -> Database:
    try:
        folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        return Database(folder, url)
    except OSError as error:
        if error.errno is None:
            raise
        why = f"no cameras can be kept in {shown(folder)} ({error.strerror}): name another folder"
        raise OSError(why) from error


def _event(incoming: Incoming, answer: Accepted) -> Event:
    item = incoming.item
    common: dict[str, Any] = {
        "camera_id": item.camera_id,
        "checkpoint_id": item.checkpoint_id,
        "timestamp": item.timestamp,
        "received_at": iso(answer.received_s),
    }
    if isinstance(item, Detection):
        more = {"detection_id": answer.id, "cursor": incoming.cursor, "vehicles_count": item.vehicles_count}
        plates = {"plates_count": item.plates_count, "ocr_results": list(item.ocr_results)}
        return Event("detection", {**common, **more, **plates})
    if isinstance(item, Health):
        how = {"component": item.component, "status": item.status, "message": item.message}
        return Event("health", {**common, **how, "details": dict(item.details), "health_id": answer.id})
    return Event("status", {**common, "status": ONLINE})
