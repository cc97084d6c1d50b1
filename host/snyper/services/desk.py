"""The calls of a server: which wait, which runs, which answers are kept. Pure.

One thread at a time uses a Desk. Calls to one instance are one at a time and in their order, but for those
that share it.
"""

import os
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from snyper.services.carrying import NOTHING, Proven
from snyper.services.leasing import Leases
from snyper.services.remote_exceptions import Busy, Locked, ResultGone, WouldDeadlock
from snyper.services.shown import Note, Shown
from snyper.services.surface import Member
from snyper.services.wire import RETURNED, Pieces

MAX_QUEUED = 64  # calls that wait for one instance
MAX_QUEUED_OF_CLIENT = 48  # of them, so that one that calls without end keeps out nobody
MAX_OF_CLIENT = 256  # calls of one that wait or run
MAX_RUNNING = 1_000  # calls: each may have a thread
MAX_WAITING_BYTES = 1 << 30  # of the arguments of all calls that wait, where there are several
MAX_UNSEEN = 1_000  # answers of a client that it may have and not say so
MAX_SESSIONS = 10_000  # clients that are remembered
KEEP_S = 600.0  # for how long an answer is kept for who has not had it
KEEP_BYTES = 256 << 20  # of all of them, each with
ANSWER_BYTES = 256  # that it takes beside its own


@dataclass(eq=False, slots=True, weakref_slot=True)
class Station:
    """Stands for one instance that is served: one call at a time has it, or several that share it."""

    name: str
    owner: object = None
    jobs: "list[Job]" = field(default_factory=list)  # that have it
    queued: int = 0

    def is_free_for(self, job: "Job") -> bool:
        """Tell whether a call can have it beside those that do."""
        return not self.jobs or (job.needs.is_shared and self.jobs[0].needs.is_shared)


@dataclass(frozen=True, slots=True)
class Needs:
    """The stations of a call, whether it shares them, and whether it may have them in spite of leases."""

    stations: tuple[Station, ...] = ()
    is_shared: bool = False
    is_open: bool = False


def _new_key() -> str:
    return os.urandom(8).hex()


@dataclass(eq=False, slots=True)
class Session:
    """A client over all its connections."""

    id: str
    who: str
    send: Callable[[Pieces], None] | None = None  # over its connection; None while it has none
    is_taking: bool = True  # what it is sent; if not, nothing that waits is begun for it
    seen: int = 0  # it has had the answers up to this one, but for the `open`
    open: frozenset[int] = frozenset()
    gone: set[int] = field(default_factory=set)  # those it has not, whose answers are not kept any more
    gone_s: float = 0.0  # when its connection was lost
    jobs: "dict[int, Job]" = field(default_factory=dict)
    answers: dict[int, tuple[Pieces, int, float]] = field(default_factory=dict)  # its bytes, since when
    kept_bytes: int = 0  # of all of them
    proven: Proven = NOTHING  # to the hub
    on_away: Callable[[], object] | None = None  # called when its connection is lost
    key: str = field(default_factory=_new_key)  # of its calls: who makes one up passes all that wait

    def has(self, seq: int) -> bool:
        """Tell whether the client has said that it has the answer to a call."""
        return seq <= self.seen and seq not in self.open


class Job:
    """One call."""

    # Here, and not in each: most calls have nothing else.
    chain: tuple[str, ...] = ()  # the calls within which it is made
    leases: tuple[str, ...] = ()  # of its caller, which it relies on
    shown: Shown | None = None  # as the log shows its arguments; None where it is not logged
    note: Note = ""  # those
    outcome: str = RETURNED  # what comes of it, as the log has it
    size: int = 0  # of its arguments, in bytes of memory
    is_within: bool = False  # one that runs and waits for it
    stream: Any = None  # that it has begun
    watched: Any = None  # for which it reads
    began_s: float = 0.0  # 0 while it waits
    is_cancelled: bool = False
    is_declined: bool = False  # its function has done nothing: who makes it again has it made anew
    when_gone: "tuple[float, Callable[[], object]] | None" = None  # after so many seconds that is called

    def __init__(
        self,
        session: Session,
        seq: int,
        member: Member,
        args: Sequence[object],
        kwargs: dict[str, object],
        needs: Needs,
    ) -> None:
        self.session = session
        self.seq = seq
        self.member = member
        self.args = args
        self.kwargs = kwargs
        self.needs = needs

    @property
    def key(self) -> str:
        """What the calls that it makes have in their chain."""
        return f"{self.session.key}:{self.seq}"

    @property
    def is_given_up(self) -> bool:
        """Tell whether nobody waits for what comes of it."""
        return self.is_cancelled or (self.stream is not None and self.stream.is_stopped)

    def stop_stream(self) -> None:
        """Have the stream that it has begun end, if it has: nobody takes its items any more."""
        if self.stream is not None:
            self.stream.stop()

    def describe(self, now_s: float) -> str:
        """Return its name, its caller, and for how long it runs."""
        for_s = f", running {now_s - self.began_s:.0f} s" if self.began_s else ""
        cancelled = "cancelled " if self.is_cancelled else ""
        return f"{cancelled}{self.member.name}() of {self.session.who}{for_s}"


class Desk:
    """The calls of one server."""

    def __init__(self, leases: Leases | None = None) -> None:
        self.leases = Leases() if leases is None else leases
        self.sessions: OrderedDict[str, Session] = OrderedDict()
        self._waiting: deque[Job] = deque()
        self._waiting_bytes = 0
        self._running: set[Job] = set()
        self._kept_bytes = 0
        self._ending = ""

    @property
    def is_idle(self) -> bool:
        """Tell whether no call runs."""
        return not self._running

    def end(self, why: str) -> list[Job]:
        """Begin no call from now on but those that running ones make: each is Busy, for `why`. Return those
        that have waited.
        """
        self._ending = why
        dropped = [job for job in self._waiting if not job.is_within]
        for job in dropped:
            self._remove(job)
        return dropped

    def open(self, id: str, who: str, send: Callable[[Pieces], None]) -> tuple[Session, bool]:
        """Return the session of a client that has connected, and whether it was known."""
        session = self.sessions.get(id)
        is_known = session is not None
        if session is None:
            session = self.sessions[id] = Session(id, who)
        session.send, session.is_taking = send, True
        self.sessions.move_to_end(id)
        while len(self.sessions) > MAX_SESSIONS and self._forget_one():
            pass
        return session, is_known

    def close(self, session: Session) -> list[Job]:
        """Take that the client has no connection any more: of its calls none that waits is begun. Return
        those. What has waited for them is for `next`.
        """
        session.send = None
        self.sessions.move_to_end(session.id)  # of those that are gone the first is forgotten first
        dropped = [job for job in session.jobs.values() if not job.began_s]
        for job in dropped:
            self._remove(job)
        return dropped

    def cancel(self, session: Session, seq: int) -> Job | None:
        """Give a call up: one that waits is never begun, one that runs ends for nobody. Return it; None where
        there is none. What has waited for it is for `next`.
        """
        job = session.jobs.get(seq)
        if job is not None:
            job.is_cancelled = True
            if not job.began_s:
                self._remove(job)
        return job

    def running(self, now_s: float) -> list[dict[str, object]]:
        """Describe the calls that run or wait, in the order in which they came."""
        jobs = [job for session in self.sessions.values() for job in session.jobs.values()]
        jobs.sort(key=lambda job: (not job.began_s, job.began_s))
        return [
            {
                "name": job.member.name,
                "who": job.session.who,
                "state": "running" if job.began_s else "waiting",
                "cancelled": job.is_cancelled,
                "seconds": round(now_s - job.began_s, 3) if job.began_s else 0.0,
            }
            for job in jobs
        ]

    def admit(self, job: Job, now_s: float) -> bool:
        """Take a call that has not come before; return whether it is to run now. Else `finish` gives it back
        when its turn has come.

        Raises Locked, LeaseLost, Busy, WouldDeadlock.
        """
        session, needs = job.session, job.needs
        if job.chain:
            self._check_chain(job)  # first: its object may be leased to who has made the outer call
        if self._ending and not job.is_within:
            raise Busy(self._ending)
        if job.leases or self.leases.given:
            self.leases.check(needs.stations, session.id, job.leases, now_s, needs.is_open)
        if len(session.jobs) >= MAX_OF_CLIENT:
            raise Busy(f"{session.who} has {MAX_OF_CLIENT} calls that wait or run")
        if len(self._running) >= MAX_RUNNING:
            raise Busy(f"{MAX_RUNNING:,} calls run")
        for station in needs.stations:
            if station.jobs or station.queued:
                is_begun = self._may_begin(job, now_s)
                break
        else:
            is_begun = True
        session.jobs[job.seq] = job
        if is_begun:
            self._begin(job, now_s)
            return True
        self._waiting.append(job)
        self._waiting_bytes += job.size
        for station in needs.stations:
            station.queued += 1
        return False

    def finish(
        self,
        job: Job,
        pieces: Pieces,
        now_s: float,
        kept: Pieces | None = None,
        followed_by: Job | None = None,
    ) -> list[Job]:
        """Send the answer to a call that has ended, and keep it, or `kept` in its place; return those whose
        turn it is now. `followed_by` has its instances before any that waits for them.
        """
        session = job.session
        session.jobs.pop(job.seq, None)
        self._running.discard(job)
        for station in job.needs.stations:
            station.jobs.remove(job)
        if not job.is_declined and (job.seq > session.seen or not session.has(job.seq)):
            self._keep(session, job.seq, pieces if kept is None else kept, now_s)
        if session.send is not None and not job.is_cancelled:
            session.send(pieces)
        if followed_by is not None:
            followed_by.session.jobs[followed_by.seq] = followed_by
            self._begin(followed_by, now_s)
            return [followed_by, *self.next(now_s)]
        return self.next(now_s) if self._waiting else []

    def next(self, now_s: float) -> list[Job]:
        """Begin the waiting calls whose instances are free, none before one that came first; return them."""
        begun = []
        for job in self._turns(list(self._waiting)):
            self._take_out(job)
            self._begin(job, now_s)
            begun.append(job)
        return begun

    def lock(
        self,
        session: Session,
        id: str,
        stations: Collection[Station],
        names: Collection[str],
        lease_s: float,
        why: str,
        now_s: float,
    ) -> list[tuple[Job, Locked]]:
        """Give a client a lease; return the calls of others that have waited and are not to be begun, each
        with the error for who made it. What runs goes on.

        Raises Locked, LeaseLost, Busy.
        """
        self.leases.grant(id, session.id, session.who, stations, names, lease_s, why, now_s)
        refused = []
        for job in list(self._waiting):
            try:
                self.leases.check(job.needs.stations, job.session.id, (), now_s, job.needs.is_open)
            except Locked as error:
                self._remove(job)
                refused.append((job, error))
        return refused

    def recall(self, session: Session, seq: int, name: str) -> Pieces | bool:
        """Return the answer to a call that has come again; True while it waits or runs; False where it is
        new.

        Raises ResultGone for one that is over and whose answer is not kept.
        """
        answer = session.answers.get(seq)
        if answer is not None:
            return answer[0]
        if seq in session.jobs:
            return True
        if (seq <= session.seen and session.has(seq)) or seq in session.gone:
            raise ResultGone(f"{name}()")
        if len(session.answers) + len(session.gone) >= MAX_UNSEEN:
            raise Busy(f"{session.who} has had {MAX_UNSEEN:,} answers and says of none that it has it")
        return False

    def acknowledge(self, session: Session, seen: int, open: Collection[int] = ()) -> None:
        """Forget the answers up to `seen` but for those `open`: the client has them. What it has said before
        stays true.
        """
        if seen <= session.seen and not session.open:
            return
        if open or session.open:
            open = frozenset(open)
            session.open = frozenset(
                seq
                for seq in session.open | open
                if (seq in open or seq > seen) and not session.has(seq) and seq <= max(seen, session.seen)
            )
        if seen > session.seen:
            session.seen = seen
        if session.gone:
            session.gone = {seq for seq in session.gone if not session.has(seq)}
        answers = session.answers
        if not session.open and seen in answers:  # the one that most have
            self._drop(session, seen)
        if answers:
            for seq in [seq for seq in answers if seq <= session.seen and seq not in session.open]:
                self._drop(session, seq)

    def expire(self, now_s: float) -> None:
        """Forget the answers that are too old."""
        for session in self.sessions.values():
            while session.answers and now_s - _oldest_s(session) >= KEEP_S:
                self._give_away(session)

    # ---

    def _check_chain(self, job: Job) -> None:
        """Tell whether a call is within one that runs. Raises WouldDeadlock where it would wait for that."""
        job.is_within = any(running.key in job.chain for running in self._running)
        if job.is_within and any(running.key in job.chain for running in self._awaited(job)):
            raise WouldDeadlock(f"{job.member.name}()")

    def _may_begin(self, job: Job, now_s: float) -> bool:
        """Tell whether a new call may begin at once, though not all of its instances are idle. Raises
        Busy.
        """
        if job in self._turns([*self._waiting, job]):
            return True
        for station in job.needs.stations:
            if station.queued < MAX_QUEUED_OF_CLIENT:
                continue
            running = station.jobs[0].describe(now_s) if station.jobs else "others"
            if station.queued >= MAX_QUEUED:
                raise Busy(f"{running}; {station.queued} calls wait for {station.name}")
            owners = [one.session.id for one in self._waiting if station in one.needs.stations]
            if owners.count(job.session.id) >= MAX_QUEUED_OF_CLIENT:
                raise Busy(f"{running}; {MAX_QUEUED_OF_CLIENT} calls of yours wait for {station.name}")
        if job.size and 0 < self._waiting_bytes > MAX_WAITING_BYTES - job.size:
            raise Busy(f"calls with {self._waiting_bytes:,} bytes of arguments wait")
        return False

    def _turns(self, waiting: Iterable[Job]) -> Iterator[Job]:
        """Yield those calls whose turn it is: none before one that came first and wants the same instance,
        unless both share it, or one that runs waits for it. Those of who takes no answers wait for that.
        """
        wanted: set[Station] = set()
        wanted_alone: set[Station] = set()
        for job in waiting:
            if not job.session.is_taking:
                continue
            taken = wanted_alone if job.needs.is_shared else wanted
            is_next = job.is_within or taken.isdisjoint(job.needs.stations)
            if is_next and all(station.is_free_for(job) for station in job.needs.stations):
                yield job
                continue
            wanted.update(job.needs.stations)
            if not job.needs.is_shared:
                wanted_alone.update(job.needs.stations)

    def _awaited(self, job: Job) -> Iterator[Job]:
        """Yield the running calls that have to end before it begins, also those that wait for one another."""
        found: set[Job] = set()
        waiting = [job]
        while waiting:
            one = waiting.pop()
            for station in one.needs.stations:
                if station.is_free_for(one):
                    continue
                for running in station.jobs:
                    if running not in found:
                        found.add(running)
                        yield running
                        waiting += [other for other in self._waiting if running.key in other.chain]

    def _remove(self, job: Job) -> None:
        """Forget a call that waits."""
        self._take_out(job)
        del job.session.jobs[job.seq]

    def _take_out(self, job: Job) -> None:
        self._waiting.remove(job)
        self._waiting_bytes -= job.size
        for station in job.needs.stations:
            station.queued -= 1

    def _begin(self, job: Job, now_s: float) -> None:
        job.began_s = now_s
        self._running.add(job)
        for station in job.needs.stations:
            station.jobs.append(job)

    def _keep(self, session: Session, seq: int, pieces: Pieces, now_s: float) -> None:
        size = sum(map(len, pieces)) + ANSWER_BYTES
        session.answers[seq] = pieces, size, now_s
        session.kept_bytes += size
        self._kept_bytes += size
        while self._kept_bytes > KEEP_BYTES:
            self._give_away(max(self.sessions.values(), key=lambda one: one.kept_bytes))

    def _give_away(self, session: Session) -> None:
        """Keep the oldest answer of a client no more."""
        seq = next(iter(session.answers))
        self._drop(session, seq)
        session.gone.add(seq)

    def _drop(self, session: Session, seq: int) -> None:
        _pieces, size, _at_s = session.answers.pop(seq)
        session.kept_bytes -= size
        self._kept_bytes -= size

    def _forget_one(self) -> bool:
        for session in self.sessions.values():
            if session.send is None and not session.jobs:
                for seq in list(session.answers):
                    self._drop(session, seq)
                del self.sessions[session.id]
                return True
        return False


def _oldest_s(session: Session) -> float:
    """Return since when the oldest of its answers is kept: they come in their order."""
    return next(iter(session.answers.values()))[2]
