"""A worker of a Dask cluster that has services: what Dask's own command loads beside it.

    dask worker tls://scheduler:8786 --preload snyper.offload.dask_node --services services.py

It runs them in worker processes of its own, as a server on one computer does, and takes nothing but their
names and values. Loaded where there is Dask, the extra `dask`.
"""

import asyncio
import json
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from snyper.offload.pool import Pool
from snyper.offload.work import Work, WorkError

KEPT_S = 600.0  # for which what was done waits for whoever asked for it and is away
SUFFIX_CHARS = 20


@dataclass(slots=True)
class _Remote:
    """A piece of work for somebody elsewhere: its files, and its task while it runs."""

    folder: Path
    touched_s: float = field(default_factory=time.monotonic)
    input: Path | None = None
    result: Path | None = None
    task: asyncio.Task[Any] | None = None


class Node:
    """The services of one Dask worker, as its handlers have them. No handler raises."""

    def __init__(self, pool: Pool, folder: Path, tell: Callable[[str, Any], None]) -> None:
        self._pool = pool
        self._folder = folder
        self._tell = tell
        self._services = {service.name: service for service in pool.services}
        self._works: dict[str, _Remote] = {}

    @property
    def handlers(self) -> dict[str, Callable[..., Any]]:
        """The handlers by what Dask calls them."""
        return {
            "snyper_describe": self.describe,
            "snyper_put": self.put,
            "snyper_work": self.work,
            "snyper_get": self.get,
            "snyper_end": self.end,
        }

    async def describe(self) -> dict[str, Any]:
        """Tell which services there are, and how much is done at once."""
        services = json.dumps([asdict(service) for service in self._pool.services])
        return {"services": services, "workers": self._pool.workers}

    async def put(self, work_id: str, suffix: str, data: bytes) -> dict[str, Any]:
        """Take the next bytes of the file that the work takes."""
        try:
            remote = self._remote(work_id)
            if remote.input is None:
                remote.input = remote.folder / f"input{suffix}"
            await asyncio.to_thread(_append, remote.input, data)
        except OSError as error:
            return {"error": "raised", "detail": f"the worker's disk: {error.strerror}"}
        return {}

    async def work(
        self, work_id: str, topic: str, service: str, filename: str, value: bytes, options: bytes
    ) -> dict[str, Any]:
        """Do the work, and return what came of it; a file stays here until it is asked for."""
        known = self._services.get(service)
        if known is None:
            return {"error": "raised", "detail": f"there is no service {service} there"}
        try:
            remote = self._remote(work_id)
        except OSError as error:
            return {"error": "raised", "detail": f"the worker's disk: {error.strerror}"}
        work = Work(known, remote.folder, remote.input, filename, json.loads(value), json.loads(options))
        remote.task = asyncio.create_task(
            self._pool.run(
                work,
                lambda share: self._tell(topic, [work_id, share]),
                lambda: self._tell(topic, [work_id, None]),
            )
        )
        try:
            done = await remote.task
        except asyncio.CancelledError:
            return {"error": "died", "detail": "the work was ended"}
        except WorkError as error:
            return {"error": type(error).__name__.lower(), "detail": error.detail}
        finally:
            remote.task = None
            remote.touched_s = time.monotonic()
        if done.file is None:
            return {"json": done.json}
        remote.result = done.file
        return {"suffix": done.file.suffix[:SUFFIX_CHARS], "size": done.file.stat().st_size}

    async def get(self, work_id: str, offset: int, size: int) -> dict[str, Any]:
        """Return bytes of the file that the work gave."""
        remote = self._works.get(work_id)
        if remote is None or remote.result is None:
            return {"error": "died", "detail": "the result is no longer there"}
        remote.touched_s = time.monotonic()
        return {"data": await asyncio.to_thread(_read, remote.result, offset, size)}

    async def end(self, work_id: str) -> dict[str, Any]:
        """End the work, and remove its files."""
        remote = self._works.pop(work_id, None)
        if remote is not None:
            if remote.task is not None:
                remote.task.cancel()
                await asyncio.wait([remote.task])
            await asyncio.to_thread(shutil.rmtree, remote.folder, ignore_errors=True)
        return {}

    def _remote(self, work_id: str) -> _Remote:
        if work_id not in self._works:
            self._sweep()
            folder = self._folder / secrets.token_hex(8)
            folder.mkdir(0o700)
            self._works[work_id] = _Remote(folder)
        remote = self._works[work_id]
        remote.touched_s = time.monotonic()
        return remote

    def _sweep(self) -> None:
        """Remove what nobody came back for."""
        oldest_s = time.monotonic() - KEPT_S
        for work_id, remote in list(self._works.items()):
            if remote.task is None and remote.touched_s < oldest_s:
                del self._works[work_id]
                shutil.rmtree(remote.folder, ignore_errors=True)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


_pools: list[Pool] = []


@click.command()
@click.option("--services", required=True, type=click.Path(dir_okay=False, path_type=Path))
async def dask_setup(worker: Any, services: Path) -> None:
    """Serve what is in the file SERVICES from this worker. Called by Dask, whose worker does not start if it
    raises ServicesError.
    """
    folder = Path(worker.local_directory, "snyper")  # which Dask removes, also after a worker that was killed
    await asyncio.to_thread(folder.mkdir)
    pool = Pool(services, worker.state.nthreads)
    await pool.__aenter__()
    worker.handlers.update(Node(pool, folder, worker.log_event).handlers)
    _pools.append(pool)


async def dask_teardown(_: Any) -> None:
    """End what `dask_setup` began. Called by Dask."""
    while _pools:
        await _pools.pop().__aexit__(None, None, None)
