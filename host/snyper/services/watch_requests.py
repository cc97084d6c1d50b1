"""The requests of clients to watch: what is watched is read, and they are told."""

import contextlib
import time
from collections.abc import Callable, Iterable

from snyper.services.connection import Connection
from snyper.services.desk import Desk, Job, Needs, Session
from snyper.services.remote_exceptions import Busy, CallError, Locked, NotServed, Refused
from snyper.services.stations import Stations
from snyper.services.surface import GETTER, SETTER, Surface
from snyper.services.watching import Watched, Watcher, Watches
from snyper.services.wire import Pieces, refusal, word
from snyper.shared.socket_protocol import (
    MAX_INTEGER,
    ErrorCode,
    ProtocolError,
    SocketMessage,
    integer_field,
)

MIN_EVERY_MS, MAX_EVERY_MS = 10, 3_600_000  # between two reads for who watches
MAX_OF_CLIENT = 256  # watches
_LOOK_S = 1.0  # after which it is looked whether anybody still waits for a read
_STATUS_BYTES = 100  # of an answer, within which its status stands


class WatchRequests:
    """The watches of a server, and the calls by which it reads for them. `run` runs calls whose turn it is,
    `call_at` calls back at an instant by `time.monotonic`.
    """

    def __init__(
        self,
        watches: Watches,
        surface: Surface,
        desk: Desk,
        stations: Stations,
        run: Callable[[Iterable[Job]], None],
        call_at: Callable[[float, Callable[[], object]], None],
    ) -> None:
        self._watches = watches
        self._surface = surface
        self._desk = desk
        self._stations = stations
        self._run = run
        self._call_at = call_at

    def begin(self, connection: Connection, message: SocketMessage) -> None:
        """Begin to tell a client the values of a property. Raises ProtocolError, CallError."""
        session, data = connection.session, message.data or {}
        if not isinstance(message.id, str):
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "the id of a watch is a string")
        every_s = None
        if "every_ms" in data:
            every_s = integer_field(data, "every_ms", 0, MIN_EVERY_MS, MAX_EVERY_MS) / 1000
        member = self._surface.find_read(word(data, "name"))
        if every_s is None and member.kind != GETTER:
            raise Refused(f"{member.name} is no property: watch(..., every=...) calls it once for all")
        if member.kind == SETTER:
            raise Refused(f"{member.name} sets a property: watch {member.attribute!r}")
        if member.is_generator:
            raise Refused(f"{member.name} has many values of its own: iterate over what it returns")
        if self._watches.count(session.id) >= MAX_OF_CLIENT:
            raise Busy(f"{session.who} has {MAX_OF_CLIENT} watches")
        watched = self._watches.find(member, every_s)
        if not (watched.has_value or watched.is_read):
            try:
                self._read(watched, session)
            except CallError:
                self._watches.tidy()
                raise
        if every_s is not None and not watched.watchers:
            self._poll_at(watched, every_s, time.monotonic() + every_s)
        watched.add(Watcher(message.id, session.id, connection.send))

    def tell(self, job: Job, pieces: Pieces) -> Job | None:
        """Tell what has come of a call to who watches that; return the read that follows one which has set
        it.
        """
        is_returned = b'"status":"returned"' in bytes(pieces[0][:_STATUS_BYTES])
        follows = None
        if job.watched is not None:
            job.watched.is_read = False
        for watched in list(self._watches.of(job.member)):
            if job.member.kind != SETTER:
                is_of_it = job.watched is watched or (is_returned and watched.every_s is None)
                if is_of_it and job.began_s >= watched.set_s:
                    watched.take(pieces)
            elif is_returned and watched.every_s is None:
                watched.set_s = time.monotonic()
                read = self._job_of_read(watched, job.session)
                if _may_follow(read.needs, job.needs):
                    follows = read
                else:
                    with contextlib.suppress(Locked, Busy):
                        self._read(watched, job.session)
        self._watches.tidy()
        return follows

    def end_unserved(self) -> None:
        """End the watches of what is served no more."""
        for watched in list(self._watches):
            try:
                self._surface.find(watched.member.name)
            except NotServed as error:
                watched.take(refusal(0, error))
        self._watches.tidy()

    # ---

    def _poll_at(self, watched: Watched, every_s: float, at_s: float) -> None:
        look_s = min(at_s, time.monotonic() + _LOOK_S)
        self._call_at(look_s, lambda: self._poll(watched, every_s, at_s))

    def _poll(self, watched: Watched, every_s: float, at_s: float) -> None:
        if not watched.watchers:
            return
        now_s = time.monotonic()
        if now_s < at_s:
            self._poll_at(watched, every_s, at_s)
            return
        self._poll_at(watched, every_s, now_s + every_s)
        for session in {session for session, _ in watched.watchers}:
            if watched.is_read:
                break
            with contextlib.suppress(Locked, Busy):  # then it is one time the less
                self._read(watched, self._desk.sessions[session])

    def _read(self, watched: Watched, session: Session) -> None:
        """Read what is watched, with the leases of a client that does. Raises Locked, Busy."""
        job = self._job_of_read(watched, session)
        if self._desk.admit(job, time.monotonic()):
            self._run([job])
        watched.is_read = True

    def _job_of_read(self, watched: Watched, session: Session) -> Job:
        member = watched.member
        reader = Session(session.id, f"a watch of {session.who}", seen=MAX_INTEGER)  # nobody has its answers
        job = Job(reader, 0, member, (), {}, self._stations.of(member))
        job.watched = watched
        return job


def _may_follow(read: Needs, call: Needs) -> bool:
    """Tell whether a read may take over the stations of a call that ends: not where that has had none, or
    where others share them still.
    """
    return read.stations == call.stations and (read.is_shared or not call.is_shared)
