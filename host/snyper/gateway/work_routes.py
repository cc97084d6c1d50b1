"""The routes of services: a request becomes work, is held while there is too much, and is answered."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from snyper.device.inbox.limits import Limits
from snyper.device.serving.exchange import Exchange, HungUp, Refusal
from snyper.device.serving.requests import disk_refusal, idempotency_key
from snyper.gateway.places import CALLED_OFF, Places, overloaded
from snyper.gateway.results import send_result
from snyper.gateway.uploads import Upload, read_upload
from snyper.offload.declarations import Service
from snyper.offload.idempotency import Result
from snyper.offload.jobs import Full, Job, Jobs, KeyReused, Request, State
from snyper.offload.spool import Spool
from snyper.offload.work import Malformed, Rejected, TimedOut, WorkError

Read = Callable[[Path], Awaitable[Upload]]


class WorkRoutes:
    """Serves services. Each request has a folder of `spool`, whose disk keeps the reserve of `limits`."""

    def __init__(self, jobs: Jobs, places: Places, spool: Spool, limits: Limits) -> None:
        self._jobs = jobs
        self._places = places
        self._spool = spool
        self._limits = limits

    async def serve(self, exchange: Exchange, service: Service) -> None:
        """Answer one request for a service. Raises Refusal, HungUp, NoRoom."""
        key = idempotency_key(exchange.header("idempotency-key"))
        await self.serve_read(exchange, service, key, partial(read_upload, exchange, service, self._limits))

    async def knows(self, exchange: Exchange, service: Service, key: str) -> bool:
        """Tell whether there is work, or a result, for this key of whoever asks."""
        return await self._jobs.knows(exchange.principal, service, key)

    async def serve_read(self, exchange: Exchange, service: Service, key: str, read: Read) -> None:
        """Answer a request for a service, whose work `read` makes in a folder. Raises Refusal, HungUp, and
        what `read` raises.
        """
        is_async = "respond-async" in [
            word.partition(";")[0].strip().lower() for word in exchange.header("prefer").split(",")
        ]
        async with self._places.one(exchange.address) as place:
            job = await self._begin(exchange, key, is_async, read)
            place.end_reading()
            with self._jobs.holding(job):
                if is_async:
                    await _accept(exchange, job)
                else:
                    await self._answer(exchange, service, job, place.hold_s)

    async def _begin(self, exchange: Exchange, key: str, is_async: bool, read: Read) -> Job:
        """Read a request, and return the job that it began or joined, which has its files from then on."""
        try:
            folder = self._spool.take()
        except OSError as error:
            raise disk_refusal(error) from error
        job = None
        try:
            job = self._enter(exchange, await read(folder), key, is_async)
            return job
        finally:
            if job is None or job.work.folder != folder:
                self._spool.give_back(folder)

    def _enter(self, exchange: Exchange, upload: Upload, key: str, is_async: bool) -> Job:
        owner, address = exchange.principal, exchange.address
        request = Request(owner, address, upload.digest, key, is_async, upload.media_type)
        try:
            return self._jobs.enter(upload.work, request)
        except Full:
            raise overloaded() from None
        except KeyReused:
            raise key_reused() from None

    async def _answer(self, exchange: Exchange, service: Service, job: Job, hold_s: float) -> None:
        gone = asyncio.create_task(exchange.gone())
        try:
            await self._wait(job, gone, hold_s)
            await send_result(exchange, service, result_of(job))
            job.is_delivered = not gone.done()
        finally:
            gone.cancel()

    async def _wait(self, job: Job, gone: asyncio.Task[None], hold_s: float) -> None:
        """Wait until a job is over; for its begin no longer than `hold_s`. Raises Refusal, HungUp."""
        ends: set[asyncio.Future[Any]] = {job.task, gone}
        await asyncio.wait(ends, timeout=hold_s, return_when=asyncio.FIRST_COMPLETED)
        if job.state is State.RUNNING and not gone.done():
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if job.is_over:
            return
        if gone.done():
            raise HungUp
        self._jobs.keep_place(job)
        raise overloaded()


async def _accept(exchange: Exchange, job: Job) -> None:
    headers = {"location": f"/jobs/{job.id}", "preference-applied": "respond-async"}
    await exchange.answer_json({"id": job.id, "job": f"/jobs/{job.id}"}, HTTPStatus.ACCEPTED, headers)


def result_of(job: Job) -> Result:
    """Return what came of a job that is over. Raises Refusal."""
    if job.task.cancelled():
        raise overloaded(CALLED_OFF)
    match job.task.exception():
        case None:
            return job.task.result()
        case KeyReused():
            raise key_reused()
        case Malformed() as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, error.detail)
        case Rejected() as error:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, error.detail)
        case TimedOut() as error:
            raise Refusal(HTTPStatus.GATEWAY_TIMEOUT, error.detail)
        case WorkError() as error:
            raise Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, error.detail)
        case OSError() as error:
            raise disk_refusal(error) from error
        case error:
            raise error


def key_reused() -> Refusal:
    """Return what is said of a key that came before with another request."""
    return Refusal(
        HTTPStatus.UNPROCESSABLE_ENTITY, "this Idempotency-Key came with another request: make a new one"
    )
