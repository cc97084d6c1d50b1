"""Jobs: identical requests join one, queued ones have places, results wait for a repeat."""

import asyncio
import hashlib
import json
import logging
import secrets
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, Self

from snyper.offload.declarations import Service
from snyper.offload.idempotency import KeptResults, Result
from snyper.offload.spool import Spool
from snyper.offload.work import Done, Malformed, Rejected, Work, WorkError

_log = logging.getLogger("snyper")

_MAX_UNCLAIMED = 64  # results; the one that waits longest goes


class State(StrEnum):
    """The states of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class KeyReused(Exception):
    """The same key came with another request."""


class Full(Exception):
    """There is no place for one more job."""


class Runner(Protocol):
    """A pool of workers, as far as jobs need it."""

    async def run(
        self, work: Work, on_progress: Callable[[float], None], on_start: Callable[[], None]
    ) -> Done:
        """Carry a piece of work out. Raises WorkError."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """A request for work, as far as it tells whether another is the same: whose it is, by the name of a key
    to this server ("" where it has none), from which address, the digest of all that it holds, the key of its
    own if it has one, and whether it waits for the result (`is_async`: it does not).
    """

    owner: str
    address: str
    digest: str
    key: str = ""
    is_async: bool = False
    media_type: str = ""  # of its file


class Job:
    """A piece of work and whoever waits for it."""

    def __init__(self, work: Work, request: Request) -> None:
        self.work = work
        self.request = request
        self.id = secrets.token_hex(16)
        self.identity = _identity(work.service.name, request)
        if request.key:  # a repeat is told the same, also by a process that does not know the first
            known = json.dumps((*self.identity, request.digest)).encode()
            self.id = hashlib.sha256(known).hexdigest()[:32]
        self.is_kept = bool(request.key) or request.is_async  # its result outlives whoever waits for it
        self.state = State.QUEUED
        self.progress = 0.0
        self.on_progress: Callable[[float], object] = lambda progress: None
        self.detail = ""  # why it failed
        self.holders = 0
        self.keeps_place_until_s = 0.0
        self.is_delivered = False
        self.is_forgotten = False
        self.task: asyncio.Task[Result]

    @property
    def is_over(self) -> bool:
        """Whether it is done, or never will be."""
        return self.task.done()

    @property
    def kept_as(self) -> tuple[str, ...]:
        """What its result is kept as: only with a key is it that of later requests, too."""
        return self.identity if self.request.key else ("job", self.id)


def _identity(service: str, request: Request) -> tuple[str, ...]:
    """Return what identical requests have in common."""
    if request.key:
        return ("key", request.owner, service, request.key)
    waits = "async" if request.is_async else ""
    return ("body", request.owner, request.address, service, request.digest, waits)


class Jobs:
    """The jobs of a process, of which `most_async` at most may be under way that nobody waits for: beyond
    that no other such is taken, and queued work with a key whose client hangs up is dropped. A result that
    nobody was there to take waits for `unclaimed_s`, and queued work whose client is to come back, or may,
    for `return_s`. At the end of an `async with` block all of them end, and their files are removed.
    """

    def __init__(
        self,
        runner: Runner,
        kept: KeptResults,
        spool: Spool,
        most_async: int,
        unclaimed_s: float,
        return_s: float,
    ) -> None:
        """Their folders are those of `spool`, to which they are given back."""
        self._runner = runner
        self._spool = spool
        self._kept = kept
        self._most_async = most_async
        self._unclaimed_s = unclaimed_s
        self.return_s = return_s
        self._joinable: dict[tuple[str, ...], Job] = {}
        self._async: OrderedDict[str, Job] = OrderedDict()
        self._live: dict[Job, None] = {}  # in the order in which they came
        self._unclaimed: dict[Job, None] = {}  # in the order in which they were done
        self._is_ending = False

    @property
    def live(self) -> int:
        """The number of jobs that are queued or running."""
        return len(self._live)

    def enter(self, work: Work, request: Request) -> Job:
        """Return the job for this work: a new one, or one that is the same, which has a `work` of its own.

        Raises KeyReused, and Full where there are too many that nobody waits for.
        """
        job = Job(work, request)
        found = self._joinable.get(job.identity)
        if found is not None:
            if found.request.digest != request.digest:
                raise KeyReused
            if request.is_async and found.id not in self._async:
                self._check_async()
                self._async[found.id] = found
            return found
        if self._is_ending:
            raise Full
        if request.is_async:
            self._check_async()
        self._joinable[job.identity] = job
        self._live[job] = None
        if request.is_async:
            self._async[job.id] = job
        job.task = asyncio.create_task(self._carry_out(job))
        job.task.add_done_callback(lambda _: self._end(job))
        return job

    async def knows(self, owner: str, service: Service, key: str) -> bool:
        """Tell whether there is a job for this key, or a result that is kept."""
        identity = ("key", owner, service.name, key)
        return identity in self._joinable or await self._kept.find(identity) is not None

    @contextmanager
    def holding(self, job: Job) -> Iterator[None]:
        """Hold a job: it goes on and its files stay for the block. Queued work that nobody holds is dropped,
        unless it is kept or its place is.
        """
        job.holders += 1
        try:
            yield
        finally:
            job.holders -= 1
            self._release(job)

    def keep_place(self, job: Job) -> None:
        """Keep its place in the queue for whoever was refused, and asked to come back."""
        loop = asyncio.get_running_loop()
        job.keeps_place_until_s = loop.time() + self.return_s
        loop.call_later(self.return_s + 0.001, self._release, job)

    def place(self, job: Job) -> int | None:
        """Return how many are to begin before it; None if it has begun."""
        if job.state is not State.QUEUED:
            return None
        queued = (one for one in self._live if one.state is State.QUEUED)
        return next((place for place, one in enumerate(queued) if one is job), None)

    def find(self, job_id: str) -> Job | None:
        """Return the job of this id, which nobody waits for, until its result is kept."""
        return self._async.get(job_id)

    async def find_result(self, job_id: str, owner: str) -> Result | None:
        """Return the result of a job that is done, while it is kept: also of an earlier process."""
        return await self._kept.find_by_id(job_id, owner)

    async def remove(self, job: Job) -> None:
        """Remove a job: its work is ended, its result thrown away."""
        self._async.pop(job.id, None)
        await self.cancel(job)
        self._forget(job)
        await self.remove_result(job.id)

    async def cancel(self, job: Job) -> None:
        """End a job, also one that runs. It has ended when this returns."""
        self._drop(job)
        await asyncio.wait([job.task])

    async def remove_result(self, job_id: str) -> None:
        """Throw a kept result away."""
        await self._kept.remove(job_id)

    def drop_queued(self) -> None:
        """Drop what has not begun, and take nothing more: this process is about to end."""
        self._is_ending = True
        for job in list(self._live):
            self.drop_if_queued(job)

    def drop_if_queued(self, job: Job) -> None:
        """Drop a job if it has not begun."""
        if job.state is State.QUEUED:
            self._drop(job)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_ending = True
        tasks = [job.task for job in self._live]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for job in [*self._joinable.values(), *self._async.values()]:
            self._forget(job)

    async def _carry_out(self, job: Job) -> Result:
        request = job.request
        if request.key:
            found = await self._kept.find(job.identity)
            if found is not None:
                if found.digest != request.digest:
                    raise KeyReused
                return found

        def on_start() -> None:
            job.state = State.RUNNING

        def on_progress(progress: float) -> None:
            job.progress = progress
            job.on_progress(progress)

        about = Result(
            job_id=job.id,
            service=job.work.service.name,
            digest=request.digest,
            filename=job.work.filename,
            media_type=request.media_type,
        )
        try:
            done = await self._runner.run(job.work, on_progress=on_progress, on_start=on_start)
        except Malformed:
            raise
        except Rejected as error:  # by the function, which ran
            await self._keep(job, replace(about, refusal=error.detail))
            raise
        return await self._keep(job, replace(about, json=done.json, file=done.file))

    async def _keep(self, job: Job, result: Result) -> Result:
        """Keep a result for who asks again, if any may. Returns it with its file where it is now."""
        if job.is_kept:
            try:
                return await self._kept.put(job.kept_as, job.request.owner, result)
            except (OSError, sqlite3.Error) as error:
                if job.request.is_async:
                    raise
                job.is_kept = False  # whoever waits gets it all the same
                _log.warning("a result cannot be kept for who asks again: %s", error)
        return result

    def _end(self, job: Job) -> None:
        self._live.pop(job, None)
        if job.task.cancelled():
            job.state = State.CANCELLED
        elif (error := job.task.exception()) is not None:
            job.state = State.FAILED
            job.detail = error.detail if isinstance(error, WorkError) else type(error).__name__
        else:
            job.state = State.DONE
            job.progress = 1.0
            self._async.pop(job.id, None)
        if job.state is not State.DONE or job.is_kept:
            self._forget(job)
        elif not job.holders:
            self._await_claim(job)
        over = [one for one in self._async.values() if one.is_over]
        for one in over[: max(0, len(over) - self._most_async)]:
            del self._async[one.id]

    def _release(self, job: Job) -> None:
        if job.holders:
            return
        if not job.is_over:
            has_place = asyncio.get_running_loop().time() < job.keeps_place_until_s
            if job.state is State.QUEUED and not has_place and not self._may_wait_alone(job):
                self._drop(job)
        elif job.is_delivered:
            self._forget(job)
        else:
            self._await_claim(job)

    def _await_claim(self, job: Job) -> None:
        self._unclaimed[job] = None
        asyncio.get_running_loop().call_later(self._unclaimed_s, self._expire, job)
        if len(self._unclaimed) > _MAX_UNCLAIMED:
            self._expire(next(iter(self._unclaimed)))

    def _drop(self, job: Job) -> None:
        self._leave(job)  # at once: who comes now begins anew
        job.task.cancel()

    def _expire(self, job: Job) -> None:
        self._unclaimed.pop(job, None)
        if not job.holders:
            self._forget(job)

    def _forget(self, job: Job) -> None:
        self._leave(job)
        if not job.is_forgotten:
            job.is_forgotten = True
            self._spool.give_back(job.work.folder)

    def _leave(self, job: Job) -> None:
        if self._joinable.get(job.identity) is job:
            del self._joinable[job.identity]

    def _check_async(self) -> None:
        """Raise Full where there is too much that nobody waits for."""
        if sum(1 for job in self._async.values() if not job.is_over) >= self._most_async:
            raise Full

    def _may_wait_alone(self, job: Job) -> bool:
        """Tell whether a queued job goes on though nobody holds it."""
        if job.id in self._async:  # its client was told so
            return True
        return (
            job.is_kept
            and sum(1 for one in self._live if one.is_kept and not one.holders) <= self._most_async
        )
