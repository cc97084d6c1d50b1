"""Work on the workers of a Dask cluster: a scheduler and two workers on loopback, under TLS."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from snyper.offload.dask_pool import SCHEME, DaskPool
from snyper.offload.loading import ServicesError
from snyper.offload.work import Lost, Raised, Rejected, TimedOut
from snyper.system.self_signed import make_certificate
from tests.integration.harness import linux_only, until, wait_until
from tests.integration.test_offload_pool import SERVICES, Desk, ended
from tools.loopback import free_port

pytestmark = linux_only


class Cluster:
    """A scheduler and its workers, each a process."""

    def __init__(self, stack: ExitStack, certificate: Path, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        files = ("CA_FILE", "SCHEDULER__CERT", "SCHEDULER__KEY", "WORKER__CERT", "WORKER__KEY")
        self._env = {
            **os.environ,
            **{f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(certificate) for name in files},
            "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true",
            "TMPDIR": str(folder),
        }
        self.port = free_port()
        self.address = f"tls://127.0.0.1:{self.port}"
        self.workers: list[subprocess.Popen[str]] = []
        self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")

    def add_worker(self, services: Path = SERVICES) -> None:
        options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--preload", "snyper.offload.dask_node")
        self.workers.append(self._start("worker", self.address, *options, "--services", str(services)))

    def wait_for_workers(self) -> None:
        """Returns once the scheduler knows them."""
        logs = [self._log(number, "worker") for number in range(len(self.workers))]
        wait_until(lambda: all("Registered to:" in log.read_text() for log in logs), "the workers")

    def _log(self, number: int, program: str) -> Path:
        return self._folder / f"log-{number}-{program}"

    def _start(self, *command: str) -> subprocess.Popen[str]:
        log = self._stack.enter_context(self._log(len(self.workers), command[0]).open("w"))
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *command], env=self._env, stdout=log, stderr=log, text=True
        )

        def end() -> None:
            process.kill()
            process.wait()

        self._stack.callback(end)
        return process


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(make_certificate())
    return path


@pytest.fixture(autouse=True)
def tls(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import dask

    names = {"ca-file": certificate, "client.cert": certificate, "client.key": certificate}
    with dask.config.set({f"distributed.comm.tls.{name}": str(value) for name, value in names.items()}):
        yield


@pytest.fixture(scope="module")
def cluster(certificate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        cluster = Cluster(stack, certificate, tmp_path_factory.mktemp("cluster"))
        cluster.add_worker()
        cluster.add_worker()
        cluster.wait_for_workers()
        yield cluster


@pytest.fixture
async def desk(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Desk]:
    async with DaskPool(SERVICES, f"dask+{cluster.address}") as pool:
        await until(lambda: pool.ready == 2, "both workers")
        yield Desk(pool, tmp_path)


async def test_work_is_done_on_the_clusters_workers(desk: Desk, cluster: Cluster, tmp_path: Path) -> None:
    assert desk.pool.workers == 2
    pids = {await desk.pid() for _ in range(4)}
    assert not pids & {process.pid for process in cluster.workers}
    assert await desk.ask("echo", {"a": "ü"}, options={"b": 1}) == {"data": {"a": "ü"}, "options": {"b": 1}}
    content = os.urandom(9_000_000)
    done = await desk.send(content, "input")
    assert done.file is not None
    assert (done.file.read_bytes() == content, done.file.suffix) == (True, ".txt")
    assert (await desk.send(b"", "json")).json == b'["json"]'
    with pytest.raises(Rejected, match="three numbers please"):
        await desk.run("fail", "invalid")
    with pytest.raises(Raised, match="ValueError: two lines"):
        await desk.run("fail", "plain")
    with pytest.raises(TimedOut):
        await desk.run("hang", str(tmp_path))
    ended(tmp_path)
    told: list[float] = []
    waiting = asyncio.create_task(desk.run("wait_for", str(tmp_path / "go"), on_progress=told.append))
    await until(lambda: told == [0.5], "the progress")
    (tmp_path / "go").touch()
    await waiting
    assert await desk.pool.probe(5)
    (tmp_path / "pids").unlink()
    running = asyncio.create_task(desk.run("wait", str(tmp_path)))
    await until((tmp_path / "pids").exists, "the service")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    ended(tmp_path)


async def test_only_who_declares_the_same_is_used(
    desk: Desk, cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "other.py"
    other.write_text("from snyper.services import data_service\n@data_service\ndef f(data): ...\n")
    cluster.add_worker(other)
    said = re.compile(
        r"the worker at tls://\S+ has other services than misbehaving_services.py, and is not used"
    )
    await until(lambda: any(said.match(record.getMessage()) for record in caplog.records), "a warning")
    assert desk.pool.ready == desk.pool.workers == 2
    cluster.workers.pop().kill()


def test_it_is_served_over_http(cluster: Cluster, certificate: Path) -> None:
    port = free_port()
    names = ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY")
    env = {
        **os.environ,
        **{f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(certificate) for name in names},
    }
    command = [sys.executable, "-m", "snyper.cli", "serve", str(SERVICES), "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(
        [*command, "--workers", f"dask+{cluster.address}"], env=env, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr is not None
            assert any("Ctrl-C stops it" in line for line in server.stderr)
            url = f"http://127.0.0.1:{port}/api/process/data"
            with urllib.request.urlopen(url, data=b'{"data": [1, 2]}') as answer:
                assert json.load(answer) == {"result": {"data": [1, 2], "options": {}}}
        finally:
            server.terminate()
            server.communicate()


async def test_a_worker_that_hangs(
    desk: Desk, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snyper.offload.dask_pool._CALL_LIMIT_S", 0.5)
    for worker in cluster.workers:
        worker.send_signal(signal.SIGSTOP)
    try:
        assert not await desk.pool.probe(0.1)
    finally:
        for worker in cluster.workers:
            worker.send_signal(signal.SIGCONT)
    at_work: list[float] = []
    running = asyncio.create_task(desk.run("tell_and_hang", str(tmp_path), on_progress=at_work.append))
    await until(lambda: at_work and (tmp_path / "pids").exists(), "the service, of which the pool has heard")
    for worker in cluster.workers:
        worker.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(TimedOut, match="the worker does not answer since it began with tell_and_hang"):
            await running
    finally:
        for worker in cluster.workers:
            worker.send_signal(signal.SIGCONT)
    assert await desk.ask("echo", 1)
    ended(tmp_path)


async def two_at_work(desk: Desk, name: str, flag: Path) -> tuple[list[asyncio.Task[str]], list[int]]:
    given: list[int] = []
    at_work: list[float] = []
    told = {"on_start": lambda: given.append(1), "on_progress": at_work.append}
    both = [asyncio.create_task(desk.ask(name, str(flag), **told)) for _ in range(2)]
    await until(lambda: len(at_work) == 2, "both at work")
    return both, given


async def test_work_of_a_lost_worker_begins_again_only_where_it_may(
    desk: Desk, cluster: Cluster, tmp_path: Path
) -> None:
    flag = tmp_path / "go"
    both, given = await two_at_work(desk, "wait_for", flag)
    cluster.workers.pop().kill()
    await until(lambda: any(task.done() for task in both), "the loss")
    flag.touch()
    results = await asyncio.gather(*both, return_exceptions=True)
    assert {type(result) for result in results} == {str, Lost}
    assert len(given) == 2
    cluster.add_worker()
    await until(lambda: desk.pool.ready == 2, "a new worker")
    flag.unlink()
    both, given = await two_at_work(desk, "wait_again", flag)
    cluster.workers.pop().kill()
    await until(lambda: desk.pool.waiting == 1, "work that waits again")
    flag.touch()
    assert await asyncio.gather(*both) == [str(flag)] * 2
    assert len(given) == 3


@pytest.mark.parametrize("address", ["dask://127.0.0.1:1", "dask+tcp://127.0.0.1:1", "tls://127.0.0.1:1"])
def test_nothing_goes_without_tls(address: str) -> None:
    with pytest.raises(ServicesError, match=r"reached by dask\+tls://HOST:PORT, not by"):
        DaskPool(SERVICES, address)


async def test_certificates_are_needed() -> None:
    import dask

    with (
        dask.config.set({"distributed.comm.tls.ca-file": None}),
        pytest.raises(ServicesError, match="needs certificates"),
    ):
        await DaskPool(SERVICES, "dask+tls://127.0.0.1:1").__aenter__()


@pytest.mark.slow
async def test_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snyper.offload.dask_pool._CONNECT_LIMIT_S", 0.1)
    with pytest.raises(ServicesError, match=r"no worker at tls://127.0.0.1:\d+ has these services"):
        await DaskPool(SERVICES, f"{SCHEME}127.0.0.1:{free_port()}").__aenter__()
