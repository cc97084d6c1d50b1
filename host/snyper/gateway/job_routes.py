"""The routes of work that nobody waits for: `/jobs/ID` and its result."""

from http import HTTPStatus

from snyper.device.serving.exchange import Exchange, Refusal
from snyper.gateway.results import send_result
from snyper.gateway.work_routes import result_of
from snyper.offload.declarations import Service
from snyper.offload.idempotency import Result
from snyper.offload.jobs import Job, Jobs, State


class JobRoutes:
    """Shows jobs, gives their results, ends them: to whoever began them, where there are keys."""

    def __init__(self, jobs: Jobs, services: dict[str, Service]) -> None:
        self._jobs = jobs
        self._services = services

    async def show(self, exchange: Exchange) -> None:
        """Answer with how a job stands. Raises Refusal."""
        found = await self._find(exchange)
        await exchange.answer_json(_shown(found) if isinstance(found, Result) else self._shown_job(found))

    def _shown_job(self, job: Job) -> dict[str, object]:
        shown: dict[str, object] = {"id": job.id, "state": job.state, "progress": job.progress}
        if job.state is State.QUEUED:
            shown["place"] = self._jobs.place(job)
        if job.state is State.FAILED:
            shown["detail"] = job.detail
        return shown

    async def result(self, exchange: Exchange) -> None:
        """Answer with what the service gave, as it would have at once. Raises Refusal."""
        found = await self._find(exchange)
        if isinstance(found, Job):
            if not found.is_over:
                raise Refusal(
                    HTTPStatus.CONFLICT,
                    f"the job is {found.state}: it has no result yet",
                    {"retry-after": "1"},
                )
            found = result_of(found)
        await send_result(exchange, self._services[found.service], found)

    async def remove(self, exchange: Exchange) -> None:
        """End a job and throw its result away. Raises Refusal."""
        found = await self._find(exchange)
        if isinstance(found, Job):
            await self._jobs.remove(found)
        else:
            await self._jobs.remove_result(found.job_id)
        await exchange.answer(HTTPStatus.NO_CONTENT, b"")

    async def _find(self, exchange: Exchange) -> Job | Result:
        job_id = exchange.path_values["id"]
        job = self._jobs.find(job_id)
        if job is not None and job.request.owner != exchange.principal:
            job = None
        # A repeat of what is done is queued too, until its result is found.
        if job is not None and job.state is not State.QUEUED:
            return job
        result = await self._jobs.find_result(job_id, exchange.principal)
        if result is not None and result.service in self._services:
            return result
        if job is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such job here, or no more")
        return job


def _shown(result: Result) -> dict[str, object]:
    if result.refusal is not None:
        return {"id": result.job_id, "state": State.FAILED, "progress": 0.0, "detail": result.refusal}
    return {
        "id": result.job_id,
        "state": State.DONE,
        "progress": 1.0,
        "result": f"/jobs/{result.job_id}/result",
    }
