"""Workers and their pool, with services that do their worst."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from snyper.offload.pool import Pool
from snyper.offload.work import Died, Done, Raised, Rejected, TimedOut, Work, WorkError
from snyper.offload.work_queue import WorkQueue
from tests.integration.harness import (
    ROOT,
    at_length,
    is_alive,
    linux_only,
    parent_of,
    processes_with,
    until,
    wait_until,
)
from tests.integration.stopwatch import running_s

SERVICES = ROOT / "tests/integration/misbehaving_services.py"
pytestmark = linux_only


class Desk:
    """Submits work as a gateway does: in a folder of its own, which goes when the work is over."""

    def __init__(self, pool: WorkQueue, place: Path) -> None:
        self.pool = pool
        self._place = place
        self._services = {service.name: service for service in pool.services}
        self._count = 0

    async def ask(self, name: str, value: object = None, **how: Any) -> Any:
        return json.loads((await self.run(name, value=value, **how)).json)

    async def run(self, name: str, value: object = None, options: object = None, **how: Any) -> Done:
        work = Work(self._services[name], self.folder(), value=value, options=options)
        return await self.pool.run(work, **how)

    async def send(self, content: bytes, options: str, name: str = "process") -> Done:
        folder = self.folder()
        file = folder / "input.txt"
        file.write_bytes(content)
        return await self.pool.run(Work(self._services[name], folder, file, "a name", options=options))

    def folder(self) -> Path:
        self._count += 1
        folder = self._place / f"work-{self._count}"
        folder.mkdir(parents=True)
        return folder

    async def pid(self) -> int:
        pid: int = await self.ask("give", "pid")
        return pid


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with Pool(SERVICES, 1) as pool:
        yield Desk(pool, tmp_path)


def workers() -> list[int]:
    return [pid for pid in processes_with("snyper.offload.worker") if parent_of(pid) == os.getpid()]


def ended(folder: Path) -> None:
    """Wait for the end of the processes that a service has noted."""
    pids = [int(pid) for pid in (folder / "pids").read_text().split()]
    wait_until(lambda: not any(map(is_alive, pids)), "the end of a worker and of what it had started")


async def test_values_and_files_come_back(desk: Desk, tmp_path: Path) -> None:
    assert await desk.ask("echo", {"a": [1, "ü"]}, options={}) == {"data": {"a": [1, "ü"]}, "options": {}}
    assert await desk.ask("give", "numpy") == {"mean": 0.5, "count": 3, "all": [0, 1, 2]}
    assert await desk.ask("give", "text") == "Grüße \ud800"
    assert await desk.ask("give", "nothing") is None
    assert await desk.ask("later", 4) == 8
    assert await desk.ask("in_pool", [-1, 2]) == [1, 2]
    assert await desk.ask("give", "stdin") == ""
    assert (await desk.send(b"", "json")).json == b'["json"]'
    outside = tmp_path / "outside.csv"
    outside.write_bytes(b"of the user")
    for options, content, suffix in (
        ("input", os.fsencode(outside), ".txt"),
        ("bytes", b"some bytes", ""),
        ("mkstemp", b"temporary", ".png"),
        ("inside link", os.fsencode(outside), ".wav"),
        ("outside", b"of the user", ".csv"),
    ):
        done = await desk.send(os.fsencode(outside), options)
        assert done.file is not None, options
        assert done.file.parent.name.startswith("work-"), options
        assert (done.file.read_bytes(), done.file.suffix) == (content, suffix), options
    assert outside.read_bytes() == b"of the user"
    turned = await desk.send(b"abc", "", "turn")
    assert turned.file is not None
    assert turned.file.read_bytes() == b"cba"


async def test_what_a_service_forks_obeys_signals_from_its_first_moment(desk: Desk) -> None:
    assert set(await desk.ask("fork_and_end", 50)) == {-signal.SIGTERM}


async def test_a_large_value_goes_there_and_back(desk: Desk) -> None:
    value = "x" * 8_000_000
    assert (await desk.ask("echo", value))["data"] == value


async def test_what_is_no_result_is_one_error(desk: Desk) -> None:
    pid = await desk.pid()
    for name, what, said in (
        ("give", "set", "give returned what JSON has not: a set"),
        ("give", "nan", "give returned what JSON has not: Out of range float values"),
        ("give", "loop", "give returned what JSON has not: Circular reference detected"),
        ("give", "large", "give returned 68,157,442 bytes of JSON, and 67,108,864 is the limit"),
        ("give", "path", "give returned what JSON has not: a PosixPath"),
        ("fail", "plain", "ValueError: two lines[31m"),
        ("fail", "silent", "_Silent: its message raises RuntimeError"),
        ("fail", "long", "ValueError: xxxx"),
        ("fail", "exit", "SystemExit: 3"),
        ("fail", "interrupt", "KeyboardInterrupt"),
        ("fail", "empty", "KeyError"),
    ):
        with pytest.raises(Raised) as caught:
            await desk.run(name, what)
        assert caught.value.detail.startswith(said)
        assert len(caught.value.detail) < 600
    with pytest.raises(Rejected) as rejected:
        await desk.run("fail", "invalid")
    assert rejected.value.detail == "three numbers please"
    assert await desk.pid() == pid


async def test_what_is_no_file_is_one_error(desk: Desk, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"not for anybody")
    for options, said in (
        ("name", "process returned text, which may be the name of a file or not"),
        ("folder", "process returned 'work-"),
        ("missing", "process returned the file 'made.wav': No such file"),
        ("outside link", "process returned 'made.wav', a link out of the folder of its work"),
        ("outside climbed", "process returned 'secret', a link out of the folder of its work"),
        ("fifo", "process returned 'made.wav', which is no file"),
        ("device", "process returned 'zero', which is no file"),
    ):
        with pytest.raises(Raised) as caught:
            await desk.send(os.fsencode(secret), options)
        assert caught.value.detail.startswith(said)


async def test_a_file_that_is_written_on_is_sent_as_it_was(desk: Desk) -> None:
    done = await desk.send(b"", "written")
    assert done.file is not None
    made = done.file.with_name("made.wav")
    await until(lambda: made.exists() and made.read_bytes() == b"donechanged\n", "the change")
    assert done.file.read_bytes() == b"done"


async def test_temporary_files_go_with_the_work(desk: Desk) -> None:
    for number in (1, 2):
        inner, variable = await desk.ask("give", "temporary")
        assert inner == variable
        assert Path(inner).name == f"work-{number}"
    done = await desk.send(b"", "mkstemp")
    assert done.file is not None
    assert {one.name for one in done.file.parent.iterdir()} == {"input.txt", done.file.name}


async def test_a_worker_that_ends_is_one_error(desk: Desk) -> None:
    pids = {await desk.pid()}
    ways = {
        "exit": "the worker ended with exit status 3",
        "kill": "the worker was ended by SIGKILL",
        "segfault": "the worker was ended by SIGSEGV",
        "abort": "the worker was ended by SIGABRT",
        "close": "the worker ",
        "fork": "the worker ended with exit status 4",
    }
    for way, said in ways.items():
        with pytest.raises(Died) as caught:
            await desk.run("die", way)
        assert caught.value.detail.startswith(said)
        pids.add(await desk.pid())
    assert len(pids) == 1 + len(ways)


async def test_a_worker_outlives_signals(desk: Desk) -> None:
    """The pool has it finish; whoever manages services sends SIGTERM to all processes of one."""
    pid = await desk.pid()
    assert await desk.ask("die", "signals") is None
    assert await desk.pid() == pid


async def test_what_hangs_is_killed_at_its_limit_with_all_that_it_started(desk: Desk, tmp_path: Path) -> None:
    began_s, began_running_s = time.monotonic(), running_s()
    with pytest.raises(TimedOut) as caught:
        await desk.run("hang", str(tmp_path))
    assert time.monotonic() - began_s >= 0.5
    assert running_s() - began_running_s < 2
    assert caught.value.detail == "hang took longer than its limit of 0.5 s"
    ended(tmp_path)
    assert await desk.ask("echo", 1)


async def test_cancelled_work_is_killed_and_queued_work_never_begins(desk: Desk, tmp_path: Path) -> None:
    begun: list[str] = []
    running = asyncio.create_task(desk.run("wait", str(tmp_path), on_start=lambda: begun.append("first")))
    await until((tmp_path / "pids").exists, "the service")
    queued = asyncio.create_task(desk.run("echo", 1, on_start=lambda: begun.append("second")))
    last = asyncio.create_task(desk.ask("echo", 2, on_start=lambda: begun.append("third")))
    await until(lambda: desk.pool.waiting == 2, "2 waiting")
    assert desk.pool.busy == 1
    queued.cancel()
    running.cancel()
    began_s = running_s()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert running_s() - began_s < 1
    ended(tmp_path)
    with pytest.raises(asyncio.CancelledError):
        await queued
    assert (await last)["data"] == 2
    assert begun == ["first", "third"]


async def test_one_of_four_is_killed(tmp_path: Path) -> None:
    async with Pool(SERVICES, 4) as pool:
        desk = Desk(pool, tmp_path)
        await until(lambda: pool.ready == 4, "4 ready")
        flag = tmp_path / "go"
        begun: list[float] = []
        four = [
            asyncio.create_task(desk.ask("wait_for", str(flag), on_progress=begun.append)) for _ in range(4)
        ]
        await until(lambda: len(begun) == 4, "four that work")
        os.kill(workers()[0], signal.SIGKILL)
        await until(lambda: any(task.done() for task in four), "the first")
        flag.touch()
        results = await asyncio.gather(*four, return_exceptions=True)
        assert [result for result in results if not isinstance(result, Died)] == [str(flag)] * 3
        assert await desk.ask("wait_for", str(flag)) == str(flag)
        await until(lambda: pool.ready == 4, "4 ready")
        counted = pool.statistics["wait_for"]
        assert (counted.calls, counted.failures, counted.running) == (5, 1, 0)
        assert counted.median_s is not None
        assert counted.median_s > 0


async def test_whoever_waits_longest_is_next(desk: Desk, tmp_path: Path) -> None:
    order: list[int] = []
    flag = tmp_path / "go"
    first = asyncio.create_task(desk.run("wait_for", str(flag)))
    await until(lambda: desk.pool.busy == 1, "1 busy")
    others = []
    for number in range(20):
        others.append(
            asyncio.create_task(desk.run("echo", number, on_start=lambda n=number: order.append(n)))
        )
        await asyncio.sleep(0)
        assert desk.pool.waiting == number + 1
    flag.touch()
    await asyncio.gather(first, *others)
    assert order == list(range(20))


async def test_work_is_not_lost_on_a_worker_that_ended_while_it_had_none(desk: Desk) -> None:
    for number in range(3):
        os.kill(await desk.pid(), signal.SIGKILL)
        assert (await desk.ask("echo", number))["data"] == number


async def test_a_worker_that_takes_nothing_is_killed_at_the_limit(desk: Desk) -> None:
    pid = await desk.pid()
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TimedOut):
        await desk.run("hang", "x" * 1_000_000)
    assert await desk.pid() != pid


async def test_workers_share_the_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snyper.offload.pool._processors", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for workers, chosen, threads in ((None, None, "1"), (2, None, "2"), (2, "3", "3")):
        if chosen is not None:
            monkeypatch.setenv("OMP_NUM_THREADS", chosen)
        async with Pool(SERVICES, workers) as pool:
            assert pool.workers == (workers or 4)
            assert await Desk(pool, tmp_path / threads).ask("give", "threads") == threads


async def test_progress_is_told(desk: Desk) -> None:
    told: list[float] = []
    assert await desk.ask("tell", [0.25, 0.25, 7], on_progress=told.append) is True
    assert told == [0.25, 1.0]


async def test_a_probe_says_whether_a_worker_gets_done(desk: Desk, tmp_path: Path) -> None:
    assert await desk.pool.probe(5)
    running = asyncio.create_task(desk.run("wait_for", str(tmp_path / "go")))
    await until(lambda: desk.pool.busy == 1, "1 busy")
    assert not await desk.pool.probe(0.05)
    probe = asyncio.create_task(desk.pool.probe(5))
    (tmp_path / "go").touch()
    assert await probe
    await running
    os.kill(await desk.pid(), signal.SIGSTOP)
    given_up = asyncio.create_task(desk.pool.probe(5))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert not await desk.pool.probe(0.05)
    assert await desk.pool.probe(5)


async def test_a_pool_ends_at_once_with_work_under_way(tmp_path: Path) -> None:
    async with Pool(SERVICES, 1) as pool:
        desk = Desk(pool, tmp_path)
        running = asyncio.create_task(desk.run("wait", str(tmp_path)))
        await until((tmp_path / "pids").exists, "the service")
        queued = asyncio.create_task(desk.run("echo", 1))
        await until(lambda: pool.waiting == 1, "1 waiting")
        began_s = running_s()
    assert running_s() - began_s < 1
    for task in (running, queued, asyncio.create_task(desk.run("echo", 2))):
        with pytest.raises(WorkError):
            await task
    ended(tmp_path)


PARENT = """
import asyncio, sys
from pathlib import Path
from snyper.offload.pool import Pool
from snyper.offload.work import Work

async def main():
    async with Pool(Path(sys.argv[1]), 2) as pool:
        services = {service.name: service for service in pool.services}
        folder = Path(sys.argv[2])
        await pool.run(Work(services["wait"], folder, value=str(folder)))

asyncio.run(main())
"""


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(SERVICES), str(tmp_path)])
    wait_until((tmp_path / "pids").exists, "the service")

    def workers() -> list[int]:
        return [pid for pid in processes_with("snyper.offload.worker") if parent_of(pid) == parent.pid]

    wait_until(lambda: len(workers()) == 2, "both workers")
    both = workers()
    parent.kill()
    parent.wait()
    ended(tmp_path)
    wait_until(lambda: not any(map(is_alive, both)), "the end of both workers")


# It is not Windows; what is held is that nothing of what that lacks is used.
WITHOUT_POSIX = """
import os, subprocess
for name in ("fork", "killpg", "register_at_fork", "sched_getaffinity", "setsid", "O_NONBLOCK"):
    delattr(os, name)
"""
TASKKILL = '#!/bin/sh\n[ "$1 $2 $3" = "/F /T /PID" ] && kill -9 $4\n'


def test_workers_without_posix(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_POSIX)
    (tmp_path / "taskkill").write_text(TASKKILL)
    (tmp_path / "taskkill").chmod(0o700)
    loadable(tmp_path / "services.py", 1)
    with (tmp_path / "services.py").open("a") as file:
        file.write(
            "@data_service('/hang', limit_s=0.3)\ndef hang(data):\n    import time; time.sleep(1000)\n"
            "@data_service('/wait', takes='folder')\ndef wait(folder):\n    import os, time\n"
            "    open(folder + '/new', 'w').write(str(os.getpid()))\n"
            "    os.rename(folder + '/new', folder + '/pids')\n    time.sleep(1000)\n"
        )
    source = PARENT.replace(
        "        await pool.run(",
        "        assert (await pool.run(Work(services['number'], folder))).json == b'1'\n"
        "        try:\n            await pool.run(Work(services['hang'], folder))\n"
        "        except Exception as error:\n            assert 'its limit of 0.3 s' in str(error), error\n"
        "        assert (await pool.run(Work(services['number'], folder))).json == b'1'\n"
        "        await pool.run(",
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [sys.executable, "-c", source, str(tmp_path / "services.py"), str(tmp_path)]
    with subprocess.Popen(command, env=env) as parent:
        wait_until(lambda: (tmp_path / "pids").exists() or parent.poll() is not None, "the service")
        assert parent.poll() is None
        parent.kill()
    ended(tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("megabytes", [at_length(100, 10)])
def test_much_that_is_printed(tmp_path: Path, megabytes: int) -> None:
    """Nothing is lost, held in memory or done to a terminal, and each line says whose it is."""
    source = PARENT.replace('"wait"', '"print_much"').replace("str(folder)", str(megabytes))
    with (tmp_path / "stderr").open("wb") as stderr:
        subprocess.run(
            [sys.executable, "-c", source, str(SERVICES), str(tmp_path)],
            stderr=stderr,
            check=True,
            timeout=60,
        )
    printed = (tmp_path / "stderr").read_bytes()
    assert len(printed) > megabytes * 990_000
    assert b"\x1b" not in printed
    lines = printed.splitlines()
    assert b"from C" in lines
    assert b"from a program" in lines
    assert lines.pop() == b"print_much: [2Jno screen is cleared"
    assert {line[:13] for line in lines} == {b"print_much: x", b"print_much: y", b"from C", b"from a progra"}


@pytest.mark.parametrize("how", ["closed", "left", "full"])
def test_prints_that_nobody_takes(tmp_path: Path, how: str) -> None:
    """A service does not fail for it."""
    source = PARENT.replace('"wait"', '"print_much"').replace("str(folder)", "2")
    reader, writer = os.pipe()
    os.close(reader)
    script = f"{'exec 2>&-; ' if how == 'closed' else ''}{'exec 2>/dev/full; ' if how == 'full' else ''}"
    command = ["sh", "-c", script + 'exec "$@"', "sh", sys.executable, "-c", source]
    try:
        done = subprocess.run(
            [*command, str(SERVICES), str(tmp_path)], stderr=writer, check=False, timeout=60
        )
    finally:
        os.close(writer)
    assert done.returncode == 0


async def test_a_crash_shows_where_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with Pool(SERVICES, 1) as pool:
        with pytest.raises(Died):
            await Desk(pool, tmp_path).run("die", "segfault")
    assert 'misbehaving_services.py", line ' in capfd.readouterr().err


async def test_what_is_nested_too_deeply_is_the_senders_error(desk: Desk) -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(Rejected, match="nested too deeply"):
        await desk.run("echo", value)
    assert await desk.ask("echo", 1)


def loadable(path: Path, number: int) -> None:
    path.write_text(
        f"from snyper.services import data_service\n@data_service\ndef number(data):\n    return {number}\n"
    )


async def test_services_that_stop_importing_are_said_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snyper.offload.pool._AGAIN_FIRST_MS", 20)
    monkeypatch.setattr("snyper.offload.pool._AGAIN_CAP_MS", 40)
    services = tmp_path / "my_services.py"
    loadable(services, 1)
    async with Pool(services, 2) as pool:
        await until(lambda: pool.ready == 2, "2 ready")
        work = Work(pool.services[0], tmp_path, value=0)
        assert (await pool.run(work)).json == b"1"
        tries = tmp_path / "tries"
        services.write_text(f"open({str(tries)!r}, 'a').write('x')\nimport no_such_package\n")
        for pid in workers():
            os.kill(pid, signal.SIGKILL)
        await until(lambda: tries.exists() and len(tries.read_text()) >= 6, "tries")
        waiting = asyncio.create_task(pool.run(work))
        assert not await pool.probe(0.05)
        loadable(services, 2)
        assert (await waiting).json == b"2"
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert said[0].startswith(
        "my_services.py, line 2: ModuleNotFoundError: No module named 'no_such_package'"
    )


async def test_a_worker_that_ends_again_and_again_is_not_started_in_a_busy_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snyper.offload.pool._AGAIN_FIRST_MS", 200)
    services = tmp_path / "my_services.py"
    loadable(services, 1)
    starts, is_up = tmp_path / "starts", tmp_path / "is_up"
    with services.open("a") as file:
        file.write(
            f"import os, threading, time\nopen({str(starts)!r}, 'a').write(f'{{time.monotonic()}}\\n')\n"
            f"def leave():\n    while not os.path.exists({str(is_up)!r}):\n        time.sleep(0.01)\n"
            "    os._exit(1)\n"
            "threading.Thread(target=leave, daemon=True).start()\n"
        )
    async with Pool(services, 1):
        is_up.touch()
        await until(lambda: len(starts.read_text().splitlines()) >= 3, "three starts")
    first, second, third = map(float, starts.read_text().splitlines()[:3])
    assert second - first >= 0.1
    assert third - second >= 0.2


async def test_a_value_that_is_no_json_is_the_callers_error(desk: Desk) -> None:
    with pytest.raises(TypeError):
        await desk.run("echo", {1, 2})
    assert await desk.ask("echo", 1)


async def test_an_unknown_service_is_an_error(desk: Desk, tmp_path: Path) -> None:
    loadable(tmp_path / "others.py", 1)
    async with Pool(tmp_path / "others.py", 1) as others:
        with pytest.raises(Raised, match="there is no service number any more"):
            await desk.pool.run(Work(others.services[0], tmp_path))


def test_what_is_declared_reaches_the_pool(tmp_path: Path) -> None:
    async def declared() -> dict[str, Any]:
        async with Pool(SERVICES, 1) as pool:
            return {service.name: service for service in pool.services}

    found = asyncio.run(declared())
    assert json.dumps(list(found)).startswith('["echo", "give", "fail"')
    assert (found["hang"].limit_s, found["process"].field, found["tell"].takes) == (0.5, "audio", "shares")
    assert found["echo"].idempotent
    assert not found["give"].takes_options


async def test_the_services_of_the_page(tmp_path: Path) -> None:
    page = (ROOT / "docs/offload.md").read_text()
    (code,) = re.findall(r"^```python\n# my_services.py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "my_services.py").write_text(code)
    async with Pool(tmp_path / "my_services.py", 1) as pool:
        desk = Desk(pool, tmp_path)
        assert await desk.ask("translate", ["fish", "man"], options={"otherwise": "?"}) == ["poisson", "?"]
        with pytest.raises(Rejected, match="words are a list"):
            await desk.ask("translate", "fish")
        text = json.loads((await desk.send(b"x" * 32_000, "fr", "transcribe")).json)
        assert text == {"text": "blub", "seconds": pytest.approx(1), "language": "fr"}
        for name, content in (("shout", b"ABC"), ("mirror", b"cba")):
            done = await desk.send(b"abc", "", name)
            assert done.file is not None
            assert done.file.read_bytes() == content
