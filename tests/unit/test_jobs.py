"""Jobs, beside a runner that does what the test says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from snyper.offload import jobs as jobs_module
from snyper.offload.declarations import Service, data_service, service_of
from snyper.offload.idempotency import KeptResults
from snyper.offload.jobs import Full, Job, Jobs, KeyReused, Request, State
from snyper.offload.spool import Spool
from snyper.offload.work import Done, Raised, Rejected, Work
from tests.integration.harness import until


@data_service
def echo(data: object) -> object:
    return data


def service() -> Service:
    found = service_of(echo)
    assert found is not None
    return found


class Runner:
    """Runs one piece of work at a time; each waits until the test lets it end."""

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(1)
        self.may_end = asyncio.Event()
        self.begun: list[object] = []

    async def run(
        self, work: Work, on_progress: Callable[[float], None], on_start: Callable[[], None]
    ) -> Done:
        async with self.free:
            on_start()
            self.begun.append(work.value)
            await self.may_end.wait()
            if work.value == "raise":
                raise Raised("it did")
            if work.value == "reject":
                raise Rejected("another word")
            return Done(str(work.value).encode())


@asynccontextmanager
async def jobs_in(folder: Path, runner: Runner, unclaimed_s: float = 60.0) -> AsyncIterator[Jobs]:
    spool = Spool(folder / "spool")
    kept = KeptResults(folder, 100, 10**6, 60.0)
    async with Jobs(runner, kept, spool, 10, unclaimed_s, return_s=10) as jobs:
        yield jobs
    kept.close()
    spool.close()
    assert not (folder / "spool").exists()


def enter(
    jobs: Jobs, value: object, key: str = "", address: str = "a", digest: str = "", is_async: bool = False
) -> Job:
    work = Work(service(), jobs._spool.take(), value=value)
    job = jobs.enter(work, Request("", address, digest or str(value), key, is_async))
    if job.work is not work:
        jobs._spool.give_back(work.folder)
    return job


async def test_the_same_of_the_same_joins_and_nothing_else_does(tmp_path: Path) -> None:
    runner = Runner()
    async with jobs_in(tmp_path, runner) as jobs:
        first = enter(jobs, 1)
        assert enter(jobs, 1) is first
        assert enter(jobs, 2) is not first
        assert enter(jobs, 1, address="b") is not first
        keyed = enter(jobs, 1, key="k")
        assert keyed is not first
        assert enter(jobs, 1, key="k", address="b") is keyed
        with pytest.raises(KeyReused):
            enter(jobs, 2, key="k")


async def test_places_are_those_of_what_waits(tmp_path: Path) -> None:
    runner = Runner()
    async with jobs_in(tmp_path, runner) as jobs:
        first, second, third = (enter(jobs, number) for number in range(3))
        await until(lambda: runner.begun, "the first begins")
        assert [jobs.place(job) for job in (first, second, third)] == [None, 0, 1]
        with jobs.holding(second):
            pass  # who held it is gone, and nobody else waits for it
        await asyncio.wait([second.task])
        assert second.state is State.CANCELLED
        assert jobs.place(third) == 0


async def test_a_failure_is_forgotten_and_a_result_waits_for_who_was_not_there(tmp_path: Path) -> None:
    runner = Runner()
    runner.may_end.set()
    async with jobs_in(tmp_path, runner) as jobs:
        failed = enter(jobs, "raise")
        await asyncio.wait([failed.task])
        assert failed.detail == "it did"
        assert enter(jobs, "raise") is not failed
        done = enter(jobs, 1)
        await asyncio.wait([done.task])
        assert enter(jobs, 1) is done
        with jobs.holding(done):
            done.is_delivered = True
        assert enter(jobs, 1) is not done


async def test_so_many_results_wait_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "_MAX_UNCLAIMED", 2)
    runner = Runner()
    runner.may_end.set()
    async with jobs_in(tmp_path, runner) as jobs:
        done = [enter(jobs, number) for number in range(3)]
        await asyncio.wait([job.task for job in done])
        assert [enter(jobs, number) is done[number] for number in range(3)] == [False, True, True]


async def test_a_result_that_nobody_takes_goes(tmp_path: Path) -> None:
    runner = Runner()
    runner.may_end.set()
    async with jobs_in(tmp_path, runner, unclaimed_s=0.01) as jobs:
        done = enter(jobs, 1)
        await asyncio.wait([done.task])
        await until(lambda: done.is_forgotten, "it goes")
        assert enter(jobs, 1) is not done


async def test_a_key_holds_over_the_end_of_its_job(tmp_path: Path) -> None:
    runner = Runner()
    runner.may_end.set()
    async with jobs_in(tmp_path, runner) as jobs:
        first = enter(jobs, 1, key="k")
        await asyncio.wait([first.task])
    async with jobs_in(tmp_path, runner) as jobs:
        again = enter(jobs, 1, key="k")
        assert (await again.task).json == b"1"
        assert again.id == first.id
        other = enter(jobs, 2, key="k")
        with pytest.raises(KeyReused):
            await other.task
    assert runner.begun == [1]


async def test_what_a_function_rejects_it_is_asked_once_for_a_key(tmp_path: Path) -> None:
    runner = Runner()
    runner.may_end.set()
    async with jobs_in(tmp_path, runner) as jobs:
        first = enter(jobs, "reject", key="k")
        with pytest.raises(Rejected):
            await first.task
        with pytest.raises(Rejected):
            await enter(jobs, "reject").task
    async with jobs_in(tmp_path, runner) as jobs:
        assert (await enter(jobs, "reject", key="k").task).refusal == "another word"
        with pytest.raises(KeyReused):
            await enter(jobs, 2, key="k").task
    assert runner.begun == ["reject", "reject"]


async def test_so_much_waits_that_nobody_waits_for(tmp_path: Path) -> None:
    runner = Runner()
    async with jobs_in(tmp_path, runner) as jobs:
        enter(jobs, "runs")
        await until(lambda: runner.begun, "it begins")
        left = []
        for number in range(12):
            left.append(enter(jobs, number, key=str(number)))
            with jobs.holding(left[-1]):
                pass  # its client hangs up
        await asyncio.wait([left[-1].task])
        assert [job.state for job in left] == [State.QUEUED] * 10 + [State.CANCELLED] * 2
        again = enter(jobs, 11, key="11")
        with jobs.holding(again):
            runner.may_end.set()
            assert (await again.task).json == b"11"


async def test_what_is_promised_is_counted_however_it_came(tmp_path: Path) -> None:
    async with jobs_in(tmp_path, Runner()) as jobs:
        for number in range(10):
            job = enter(jobs, number, key=str(number))
            assert enter(jobs, number, key=str(number), is_async=True) is job
            with jobs.holding(job):
                pass  # it goes on all the same
        held = enter(jobs, "held", key="held")
        with jobs.holding(held):
            for value, key in (("held", "held"), ("other", "other")):
                with pytest.raises(Full):
                    enter(jobs, value, key=key, is_async=True)
            assert enter(jobs, 9, key="9", is_async=True) is job
        assert job.state is State.QUEUED
