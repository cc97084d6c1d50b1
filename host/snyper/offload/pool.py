"""The pool of workers: who gets the next one, and a new one for each that is lost."""

import asyncio
import logging
import os
import statistics
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from snyper.offload.declarations import Service
from snyper.offload.guard import Guard
from snyper.offload.loading import ServicesError
from snyper.offload.work import Done, Work, WorkError
from snyper.offload.worker_process import NotStarted, WorkerProcess
from snyper.shared.backoff import Backoff

_log = logging.getLogger("snyper")

START_LIMIT_S = 300.0  # a service may train its model, or fetch it, with its first import
_AGAIN_FIRST_MS = 1_000
_AGAIN_CAP_MS = 30_000
_END_LIMIT_S = 1.0  # for a worker without work, of the 2 s that Ctrl-C may take
_STEADY_S = 10.0  # a worker that ends sooner, without work, would do so again and again
_KEPT_DURATIONS = 100


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
        return statistics.median(self.durations_s) if self.durations_s else None

    def count(self, duration_s: float, is_failure: bool) -> None:
        """Count a call that has ended."""
        self.calls += 1
        self.failures += is_failure
        self.durations_s.append(duration_s)


def _do_nothing(*_: object) -> None: ...


class Pool:
    """Worker processes that a file of services is loaded in. An asynchronous context manager.

    Entering it starts the workers, and returns when the first one has imported the services, which are in
    `services` from then on. Raises ServicesError where it cannot. Leaving it ends all of them within 2 s.
    """

    def __init__(
        self, services: Path, workers: int | None = None, start_limit_s: float = START_LIMIT_S
    ) -> None:
        self.services: tuple[Service, ...] = ()
        self.workers = workers or _processors()
        self.statistics: dict[str, ServiceStatistics] = {}
        self._path = services
        self._start_limit_s = start_limit_s
        self._alive: set[WorkerProcess] = set()  # that have imported the services
        self._idle: list[WorkerProcess] = []  # the one that was used last is last, and next
        self._waiters: deque[asyncio.Future[WorkerProcess]] = deque()
        self._probes: set[asyncio.Future[None]] = set()
        self._keepers: list[asyncio.Task[None]] = []

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
        return sum(not waiter.done() for waiter in self._waiters)

    async def __aenter__(self) -> Self:
        self._guard = Guard()
        first = WorkerProcess(self._path, self._guard)
        try:
            self.services = await first.start(self._start_limit_s)
        except BaseException:
            self._guard.close()
            raise
        self.statistics = {service.name: ServiceStatistics() for service in self.services}
        self._keepers = [
            asyncio.create_task(self._keep_worker(first if place == 0 else None))
            for place in range(self.workers)
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(WorkError("the services are being stopped"))
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._guard.close()

    async def run(
        self,
        work: Work,
        on_progress: Callable[[float], None] = _do_nothing,
        on_start: Callable[[], None] = _do_nothing,
    ) -> Done:
        """Do a piece of work, in its turn, and return what came of it.

        A file that it gives lies in `work.folder`. `on_start` is called when a worker begins with it, and
        `on_progress` with its share that is done. Cancelled, it gives up its turn, or its worker is killed,
        which has ended when CancelledError is raised. Raises WorkError; TypeError, ValueError for a value
        that is no JSON.
        """
        while True:
            worker = await self._take_worker()
            try:
                return await self._run_in(worker, work, on_progress, on_start)
            except NotStarted:
                continue
            finally:
                self._offer(worker)

    async def probe(self, timeout_s: float) -> bool:
        """Tell whether a worker gets done within so many seconds: one without work answers, or one with some
        ends it, and not by being killed.
        """
        until_s = time.monotonic() + timeout_s
        while self._idle:
            worker = self._idle.pop()
            try:
                if await worker.answers(until_s - time.monotonic()):
                    return True
            finally:
                self._offer(worker)
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
        worker: WorkerProcess,
        work: Work,
        on_progress: Callable[[float], None],
        on_start: Callable[[], None],
    ) -> Done:
        counted = self.statistics.setdefault(work.service.name, ServiceStatistics())
        counted.running += 1
        began_s = time.monotonic()
        try:
            done = await worker.run(work, on_start, on_progress)
        except WorkError:
            counted.count(time.monotonic() - began_s, is_failure=True)
            raise
        finally:
            counted.running -= 1
            if worker.is_alive:
                self._tell_probes()
        counted.count(time.monotonic() - began_s, is_failure=False)
        return done

    async def _take_worker(self) -> WorkerProcess:
        """Wait for a worker, in the order of asking."""
        if self._idle:
            return self._idle.pop()
        waiter: asyncio.Future[WorkerProcess] = asyncio.get_running_loop().create_future()
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

    def _offer(self, worker: WorkerProcess) -> None:
        """Give a worker to who waits longest, or keep it for who comes next."""
        if not worker.is_alive:
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(worker)
                return
        self._idle.append(worker)
        self._tell_probes()

    def _tell_probes(self) -> None:
        for told in self._probes:
            if not told.done():
                told.set_result(None)

    async def _keep_worker(self, worker: WorkerProcess | None) -> None:
        """Keep one worker running, from one to the next."""
        backoff = Backoff(_AGAIN_FIRST_MS, _AGAIN_CAP_MS)
        said = ""
        while True:
            if worker is None:
                worker = WorkerProcess(self._path, self._guard)
                try:
                    services = await worker.start(self._start_limit_s)
                except ServicesError as error:
                    if str(error) != said:
                        said = str(error)
                        _log.error("%s. It is tried again until it works", said)
                    worker = None
                    await asyncio.sleep(backoff.next_ms() / 1000)
                    continue
                if services != self.services:
                    _log.warning("%s has changed: start again to serve it as it is", self._path.name)
                said = ""
            began_s = time.monotonic()
            await self._attend(worker)
            if worker.works or time.monotonic() - began_s >= _STEADY_S:
                backoff.reset()
            else:
                await asyncio.sleep(backoff.next_ms() / 1000)
            worker = None

    async def _attend(self, worker: WorkerProcess) -> None:
        """Have a worker take work until it ends, or the pool does."""
        self._alive.add(worker)
        self._offer(worker)
        try:
            await worker.ended.wait()
        finally:
            self._alive.discard(worker)
            with suppress(ValueError):
                self._idle.remove(worker)
            await worker.close(_END_LIMIT_S)


def _processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "process_cpu_count"):  # from Python 3.13 on
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
