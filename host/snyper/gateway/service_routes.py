"""The face of a person's services: their paths, jobs and uploads, with the work behind them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from snyper.device import settings
from snyper.device.inbox.limits import Limits
from snyper.device.inbox.uploads import Uploads
from snyper.device.serving.exchange import Refusal
from snyper.gateway.app import Gateway
from snyper.gateway.job_routes import JobRoutes
from snyper.gateway.limits import LIMITS
from snyper.gateway.places import Places
from snyper.gateway.upload_folder import uploads_in
from snyper.gateway.work_routes import WorkRoutes
from snyper.gateway.work_uploads import upload_limits, uploads_to
from snyper.offload.declarations import Service
from snyper.offload.idempotency import KeptResults
from snyper.offload.jobs import Jobs
from snyper.offload.pool import Pool
from snyper.offload.spool import Spool
from snyper.offload.work_queue import WorkQueue
from snyper.system.limits import complete_limits
from snyper.system.temporary import temporary_folder

READY_LIMIT_S = 2.0
SPOOL = "snyper-spool"  # which is emptied: nobody else has one of that name
UPLOADS = "uploads"


def services_app(
    services: str | Path,
    workers: int | str | None = None,
    state: str | Path | None = None,
    keys: Mapping[str, str] | None = None,
    limits: Sequence[str] = (),
) -> Gateway:
    """Build the application that serves the functions in the file `services`, in `workers` processes, or on
    those of the Dask cluster at `dask+tls://HOST:PORT`.

    It keeps results in the folder `state`, which is then its own; by default in one that goes with it. `keys`
    are secrets by name, of which a request has to bring one; if they are left out that is SNYPER_SERVICE_KEY,
    as for `snyper serve`. Without any it asks for none. `limits` are `NAME=NUMBER`. Raises ValueError.
    """

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        async with serving(gateway, Path(services), workers, None if state is None else Path(state)):
            yield

    if keys is None:
        key = settings.service_key()
        keys = {} if key is None else {"key": key}
    gateway = Gateway(complete_limits(LIMITS, limits), keys, lifespan)
    return gateway


@dataclass(frozen=True)
class Serving:
    """The services that are served, and the work that is under way."""

    services: Sequence[Service]
    jobs: Jobs
    pool: WorkQueue
    places: Places
    spool: Spool
    limits: Limits  # of what is uploaded

    @property
    def waiting(self) -> int:
        """How much waits for a worker, or for a place before that."""
        return self.pool.waiting + self.places.waiting

    def describe(self) -> dict[str, Any]:
        """Return the workers, what waits, and the calls of each service as JSON. For any thread."""
        return {**self.pool.describe(), "waiting": self.waiting}

    def health(self) -> dict[str, object]:
        """Return what is served, and how much there is to do."""
        return {
            "services": [service.path for service in self.services],
            "workers": self.pool.workers,
            "busy": self.pool.busy,
            "waiting": self.waiting,
        }

    async def ready(self) -> dict[str, object]:
        """Raise Refusal where no worker gets done in time."""
        if not await self.pool.probe(READY_LIMIT_S):
            detail = "no worker gets done in time"
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"retry-after": "1"})
        return {}

    def drop_queued(self) -> None:
        """Refuse what has not begun, and what comes: this process is about to end."""
        self.jobs.drop_queued()
        self.places.end()


@asynccontextmanager
async def serving(
    gateway: Gateway, services: Path, workers: int | str | None, state: Path | None
) -> AsyncIterator[Serving]:
    """Serve what is in `services` for the block. Raises ServicesError, OSError."""
    limits = gateway.limits
    async with AsyncExitStack() as stack:
        folder = state or stack.enter_context(temporary_folder())
        folder.mkdir(0o700, parents=True, exist_ok=True)
        spool = stack.enter_context(closing(Spool(folder / SPOOL)))
        kept = stack.enter_context(
            closing(KeptResults(folder, limits["kept"], limits["kept_mb"] * 1_000_000, limits["keep_s"]))
        )
        pool = await stack.enter_async_context(_open_pool(services, workers))
        jobs = await stack.enter_async_context(
            Jobs(pool, kept, spool, limits["jobs"], limits["unclaimed_s"], limits["return_s"])
        )
        of_uploads = upload_limits(pool.services, limits["keep_free_mb"] * 1_000_000)
        uploads = await stack.enter_async_context(uploads_in(folder / UPLOADS, of_uploads))
        places = Places(limits["places"], limits["hold_s"])
        served = Serving(pool.services, jobs, pool, places, spool, of_uploads)
        _add_routes(gateway, served, uploads)
        yield served


def _open_pool(services: Path, workers: int | str | None) -> Pool | Any:
    if isinstance(workers, str):
        from snyper.offload.dask_pool import DaskPool

        return DaskPool(services, workers)
    return Pool(services, workers)


def _add_routes(gateway: Gateway, serving: Serving, uploads: Uploads) -> None:
    jobs = serving.jobs
    work = WorkRoutes(jobs, serving.places, serving.spool, serving.limits)
    resumable = uploads_to(serving.services, work, uploads)
    resumable.add_to(gateway.add)
    for service in serving.services:
        serve = partial(work.serve, service=service)
        gateway.add("POST", service.path, resumable.or_else(serve))
    job_routes = JobRoutes(jobs, {service.name: service for service in serving.services})
    gateway.add("GET", "/jobs/{id}", job_routes.show)
    gateway.add("GET", "/jobs/{id}/result", job_routes.result)
    gateway.add("DELETE", "/jobs/{id}", job_routes.remove)

    gateway.add_state(serving.health, serving.ready)
    gateway.on_drain(serving.drop_queued)
