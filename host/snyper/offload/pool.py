"""The pool of workers on this computer: one more for each that is lost."""

import asyncio
import logging
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from snyper.offload.guard import Guard
from snyper.offload.loading import ServicesError
from snyper.offload.work_queue import WorkQueue
from snyper.offload.worker_process import WorkerProcess
from snyper.shared.backoff import Backoff

_log = logging.getLogger("snyper")

START_LIMIT_S = 300.0  # a service may train its model, or fetch it, with its first import
_AGAIN_FIRST_MS = 1_000
_AGAIN_CAP_MS = 30_000
_END_LIMIT_S = 1.0  # for a worker without work, of the 2 s that Ctrl-C may take
_STEADY_S = 10.0  # a worker that ends sooner, without work, would do so again and again


class Pool(WorkQueue):
    """Worker processes that a file of services is loaded in. An asynchronous context manager.

    Entering it starts the workers, and returns when the first one has imported the services, which are in
    `services` from then on. Raises ServicesError where it cannot. Leaving it ends all of them within 2 s.
    """

    def __init__(
        self, services: Path, workers: int | None = None, start_limit_s: float = START_LIMIT_S
    ) -> None:
        super().__init__(workers or _processors())
        self._path = services.absolute()
        self._threads = max(1, _processors() // self.workers)  # of each, so that all together have enough
        self._start_limit_s = start_limit_s
        self._keepers: list[asyncio.Task[None]] = []
        self._said = ""

    async def __aenter__(self) -> Self:
        self._guard = Guard()
        first = WorkerProcess(self._path, self._guard, self._threads)
        try:
            self.serve(await first.start(self._start_limit_s))
        except BaseException:
            self._guard.close()
            raise
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
        self.end()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._guard.close()

    async def _keep_worker(self, worker: WorkerProcess | None) -> None:
        """Keep one worker running, from one to the next."""
        backoff = Backoff(_AGAIN_FIRST_MS, _AGAIN_CAP_MS)
        while True:
            if worker is None:
                worker = WorkerProcess(self._path, self._guard, self._threads)
                try:
                    services = await worker.start(self._start_limit_s)
                except ServicesError as error:
                    self._say(logging.ERROR, f"{error}. It is tried again until it works")
                    worker = None
                    await asyncio.sleep(backoff.next_ms() / 1000)
                    continue
                if services != self.services:
                    self._say(
                        logging.WARNING, f"{self._path.name} has changed: start again to serve it as it is"
                    )
                else:
                    self._said = ""
            began_s = time.monotonic()
            await self._attend(worker)
            if worker.works or time.monotonic() - began_s >= _STEADY_S:
                backoff.reset()
            else:
                await asyncio.sleep(backoff.next_ms() / 1000)
            worker = None

    def _say(self, level: int, text: str) -> None:
        """Log what becomes of the file, once for all workers and tries."""
        if text != self._said:
            self._said = text
            _log.log(level, "%s", text)

    async def _attend(self, worker: WorkerProcess) -> None:
        """Have a worker take work until it ends, or the pool does."""
        self.join(worker)
        try:
            await worker.ended.wait()
        finally:
            self.leave(worker)
            await worker.close(_END_LIMIT_S)


def _processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "process_cpu_count"):  # from Python 3.13 on
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
