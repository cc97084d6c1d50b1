"""The queue of work: who gets the next worker, and how long it all took. Pure but for the clock."""

import asyncio
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from snyper.offload.declarations import Service
from snyper.offload.work import Done, Lost, Work, WorkError

_KEPT_DURATIONS = 100
_STOPPED = "the services are being stopped"
_MOST_TRIES = 3  # of idempotent work whose workers are lost one after the other: it may be what ends them


class NotStarted(Exception):
    """The worker ended before it began with the work: another one can have it."""


class Worker(Protocol):
    """A worker, as far as the queue needs it: with one piece of work at a time."""

    @property
    def is_alive(self) -> bool:
        """Whether it takes work, or is at some."""
        ...

    async def run(self, work: Work, on_progress: Callable[[float], None]) -> Done:
        """Do a piece of work. Raises NotStarted, WorkError."""
        ...

    async def answers(self, limit_s: float) -> bool:
        """Tell whether it answers within so many seconds, while it has no work."""
        ...


@dataclass(slots=True)
class ServiceStatistics:
    """The calls of a service: how many, and how long the last ones took."""

    calls: int = 0  # that have ended, but for those whose caller gave them up
    failures: int = 0
    running: int = 0
    durations_s: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT_DURATIONS))

    @property
    def median_s(self) -> float | None:
        """The median of the last 100 durations, failures among them; None before the first."""
        durations_s = list(self.durations_s)
        return statistics.median(durations_s) if durations_s else None

    def count(self, duration_s: float, is_failure: bool) -> None:
        """Count a call that has ended."""
        self.calls += 1
        self.failures += is_failure
        self.durations_s.append(duration_s)


def _do_nothing(*_: object) -> None: ...


class WorkQueue:
    """Work that waits for workers, in order. Whoever has these makes them known by `join` and `leave`."""

    def __init__(self, workers: int) -> None:
        self.services: tuple[Service, ...] = ()
        self.workers = workers
        self.statistics: dict[str, ServiceStatistics] = {}
        self._alive: set[Worker] = set()
        self._idle: list[Worker] = []  # the one that was used last is last, and next
        self._waiters: deque[asyncio.Future[Worker]] = deque()
        self._probes: set[asyncio.Future[None]] = set()
        self._is_ended = False

    @property
    def ready(self) -> int:
        """How many workers can take work, or are at some."""
        return len(self._alive)

    @property
    def busy(self) -> int:
        """How many workers are at some work."""
        return len(self._alive) - len(self._idle)

    @property
    def waiting(self) -> int:
        """How many pieces of work wait for a worker."""
        return sum(not waiter.done() for waiter in list(self._waiters))

    def describe(self) -> dict[str, Any]:
        """Return the workers, the queue and the calls of each service as JSON. For any thread."""
        return {
            "workers": self.workers,
            "ready": self.ready,
            "busy": self.busy,
            "waiting": self.waiting,
            "services": [
                {
                    "name": name,
                    "calls": counted.calls,
                    "failures": counted.failures,
                    "running": counted.running,
                    "median_s": counted.median_s,
                }
                for name, counted in list(self.statistics.items())
            ],
        }

    def serve(self, services: Sequence[Service]) -> None:
        """Say which services there are."""
        self.services = tuple(services)
        self.statistics = {service.name: ServiceStatistics() for service in services}

    def join(self, worker: Worker) -> None:
        """Have a worker take work from now on."""
        self._alive.add(worker)
        self._offer(worker)

    def leave(self, worker: Worker) -> None:
        """Have a worker take no more work."""
        self._alive.discard(worker)
        with suppress(ValueError):
            self._idle.remove(worker)

    def end(self) -> None:
        """End all work that waits, and refuse what comes, with a WorkError."""
        self._is_ended = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(WorkError(_STOPPED))

    async def run(
        self,
        work: Work,
        on_progress: Callable[[float], None] = _do_nothing,
        on_start: Callable[[], None] = _do_nothing,
    ) -> Done:
        """Do a piece of work, in its turn, and return what came of it.

        A file that it gives lies in `work.folder`. `on_start` is called before a worker gets it, and
        `on_progress` with its share that is done. Cancelled, it gives up its turn, or its worker is killed,
        which has ended when CancelledError is raised. Raises WorkError; TypeError, ValueError for a value
        that is no JSON.
        """
        tries = 0
        while True:
            worker = await self._take_worker()
            try:
                on_start()
                return await self._run_in(worker, work, on_progress)
            except NotStarted:
                continue
            except Lost:
                tries += 1
                if not work.service.idempotent or tries == _MOST_TRIES:
                    raise
            finally:
                self._offer(worker)

    async def probe(self, timeout_s: float) -> bool:
        """Tell whether a worker gets done within so many seconds: one without work answers, or one with some
        ends it, and not by being killed.
        """
        until_s = time.monotonic() + timeout_s
        for worker in reversed(self._idle.copy()):
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return False
            if worker in self._idle:
                self._idle.remove(worker)
                try:
                    if await worker.answers(left_s):
                        return True
                finally:
                    self._offer(worker, is_done=False)
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._probes.add(told)
        try:
            async with asyncio.timeout(until_s - time.monotonic()):
                await told
            return True
        except TimeoutError:
            return False
        finally:
            self._probes.discard(told)

    async def _run_in(
        self,
        worker: Worker,
        work: Work,
        on_progress: Callable[[float], None],
    ) -> Done:
        counted = self.statistics.setdefault(work.service.name, ServiceStatistics())
        counted.running += 1
        began_s = time.monotonic()
        try:
            done = await worker.run(work, on_progress)
        except WorkError:
            counted.count(time.monotonic() - began_s, is_failure=True)
            raise
        finally:
            counted.running -= 1
            if worker.is_alive:
                self._tell_probes()
        counted.count(time.monotonic() - began_s, is_failure=False)
        return done

    async def _take_worker(self) -> Worker:
        """Wait for a worker, in the order of asking."""
        if self._is_ended:
            raise WorkError(_STOPPED)
        if self._idle:
            return self._idle.pop()
        waiter: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._offer(waiter.result())
            raise
        finally:
            with suppress(ValueError):
                self._waiters.remove(waiter)

    def _offer(self, worker: Worker, is_done: bool = True) -> None:
        """Give a worker to who waits longest, or keep it for who comes next."""
        if not worker.is_alive:
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(worker)
                return
        self._idle.append(worker)
        if is_done:
            self._tell_probes()

    def _tell_probes(self) -> None:
        for told in self._probes:
            if not told.done():
                told.set_result(None)
