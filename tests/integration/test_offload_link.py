"""A person's services through a hub: the same functions and workers, for consoles and for devices."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from snyper.boards.board import BoardProcess
from snyper.services import (
    AsyncClient,
    CallError,
    Client,
    NotServed,
    RemoteError,
    close,
    deadline,
    on_progress,
)
from snyper.services.client import caller_of, statistics
from snyper.services.wire import DESCRIBE
from snyper.shared.device import Device
from snyper.shared.runtime import end_task
from tests.integration.calls_harness import HubProcess
from tests.integration.dashboard_process import Process
from tests.integration.gateway_harness import Serve
from tests.integration.harness import (
    ROOT,
    each_engine,
    needs_micropython,
    run_snyper,
    running_hub,
    wait_for_log,
    wait_until,
)

EXAMPLE = ROOT / "examples" / "offload"


class Linked:
    """Services at a hub and over HTTP, and a client of theirs."""

    def __init__(self, hub: str, serve: Serve, client: Any) -> None:
        self.hub, self.serve = hub, serve
        self.client = client

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(self.serve.url + "/health").json()
        return found


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Linked]:
    with HubProcess() as hub:
        serve = Serve(tmp_path_factory.mktemp("serve"), "--hub", hub.address, "--name", "laptop")
        client = Client(hub=hub.address, name="laptop")
        yield Linked(hub.address, serve, client)
        client.close()
        assert serve.end() == 0
        assert serve.files() == []


def test_each_service_is_a_function_of_its_name(linked: Linked) -> None:
    client = linked.client
    assert client.far(readings=[1, 2.5, None, "ü"]) == [1, 2.5, None, "ü"]
    assert client.far(np.arange(3, dtype="uint16")) == [0, 1, 2]
    assert client.far({"a": np.array([0.5], "float32"), "b": np.int64(7)}) == {"a": [0.5], "b": 7}
    assert client.process_data("x") == {"data": "x", "options": {}}
    assert client.process_data([1], options={"digits": 2}) == {"data": [1], "options": {"digits": 2}}
    assert client.process(b"abc", filename="../a.CSV", options="describe") == {
        "bytes": 3,
        "suffix": ".csv",
        "options": "describe",
    }
    assert client.process(np.arange(300, dtype="uint16")) == np.arange(300, dtype="uint16").tobytes()
    assert client.process(b"", options="bytes") == b"bytes"
    assert client.process(file=b"", options="new x.json") == b"{}"
    assert client.picture(image=b"a picture") == b"a picture"
    assert client.transcribe(audio=bytes(100_000)) == {"text": "100000"}
    linked.serve.until_clean()


def test_signatures_are_what_a_caller_gives(linked: Linked) -> None:
    found: Any = caller_of(linked.client).ask(DESCRIBE)
    described = {one["name"]: one["signature"] for one in found}
    assert described == {
        "process": "(file, filename='', options='default')",
        "transcribe": "(audio, filename='')",
        "picture": "(image, filename='')",
        "process_data": "(data, options=None)",
        "slow": "(data)",
        "far": "(readings)",
    }


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "said"),
    [
        ("process_data", ["raise"], RuntimeError, "it is broken"),
        ("process_data", ["invalid"], ValueError, "another word"),
        ("process_data", ["die"], RemoteError, "the worker was ended by SIGKILL"),
        ("process_data", [1, 2], ValueError, "field 'options' is an object"),
        ("slow", [1], TimeoutError, "slow took longer than its limit of 0.5 s"),
        ("far", [], TypeError, "missing a required argument: 'readings'"),
        ("far", [b"bytes"], TypeError, "it takes what JSON can say and arrays of numbers, not bytes"),
        ("far", [float("nan")], ValueError, "not JSON compliant"),
        ("process", ["text"], TypeError, "process takes the bytes of a file, not str"),
        ("process", [b"", 1], TypeError, "filename and options of process are text"),
        ("transcribe", [bytes(100_001)], ValueError, "at most 100000 bytes, not 100001"),
        ("nothing", [], NotServed, "nothing"),
    ],
)
def test_what_comes_of_an_error(
    linked: Linked, name: str, arguments: list[object], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        linked.client.call(name, *arguments)
    assert linked.client.far([1]) == [1]
    linked.serve.until_clean()


def test_http_and_link_have_one_queue(linked: Linked) -> None:
    clients = [Client(hub=linked.hub, name="laptop") for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        with linked.serve.held("far"):
            calls = [threads.submit(one.call, "far", [at]) for at, one in enumerate(clients)]
            wait_until(
                lambda: (linked.health()["busy"], linked.health()["waiting"]) == (2, 1),
                "both workers are at work, and the third call waits",
            )
        assert [one.result() for one in calls] == [[0], [1], [2]]
    for one in clients:
        one.close()


def test_a_call_that_is_given_up_ends_its_worker(linked: Linked) -> None:
    with linked.serve.held("far"), deadline(1):
        with pytest.raises(CallError):
            linked.client.far([1])
        wait_until(lambda: linked.health()["busy"] == 0, "its worker is free")
    assert linked.client.far([2]) == [2]
    linked.serve.until_clean()


def test_its_workers_are_told_to_who_asks(linked: Linked) -> None:
    before = statistics(linked.client)
    httpx.post(linked.serve.url + "/api/far", json={"readings": [1]})
    assert linked.client.far([2]) == [2]
    after = statistics(linked.client)
    calls = [{one["name"]: one["calls"] for one in found["services"]}["far"] for found in (before, after)]
    assert calls[1] - calls[0] == 2
    assert (after["workers"], after["waiting"]) == (2, 0)


def test_progress_is_told_to_who_wants_it(linked: Linked) -> None:
    told: list[float] = []
    with on_progress(told.append):
        assert linked.client.far([1]) == [1]
    assert told == [0.25]

    def fail(done: float) -> None:
        told.append(done)
        raise ValueError

    with on_progress(fail):
        assert linked.client.far([2]) == [2]
    assert told == [0.25, 0.25]
    assert linked.client.far([3]) == [3]
    assert told == [0.25, 0.25]


async def test_progress_of_asynchronous_clients_and_devices(linked: Linked) -> None:
    told: list[float] = []
    client: Any = AsyncClient(hub=linked.hub, name="laptop")
    assert await client.far([1]) == [1]
    with on_progress(told.append):
        assert await client.far([2]) == [2]
    await close(client)
    assert told == [0.25]

    device = Device(linked.hub, "thermometer")
    running = asyncio.create_task(device.run())
    try:
        assert await device.call("laptop", "far", [3]) == [3]
        device.on_progress = told.append
        assert await device.call("laptop", "far", [4]) == [4]
    finally:
        await end_task(running)
    assert told == [0.25, 0.25]


async def test_from_a_shell(linked: Linked, tmp_path: Path) -> None:
    status, out, err = await run_snyper("call", "--hub", linked.hub, "laptop", "far", "readings=[1, 2]")
    assert (status, out.split()) == (0, ["[1,", "2]"]), err


@pytest.mark.slow
def test_files_from_a_shell(linked: Linked, tmp_path: Path) -> None:
    def call(*words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "snyper.cli", "call", "--hub", linked.hub, "laptop", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    before = linked.serve.calls("process")
    content = bytes(range(256)) * 4_000
    (tmp_path / "a b.CSV").write_bytes(content)
    assert call("process", "@a b.CSV") == (0, '"processed_a b.CSV"\n', "")
    assert call("process", "file=@a b.CSV") == (0, '"processed_a b-2.CSV"\n', "")
    assert call("process", "file=@a b.CSV", "--out", "new.bin") == (0, '"new.bin"\n', "")
    for name in ("processed_a b.CSV", "processed_a b-2.CSV", "new.bin"):
        assert (tmp_path / name).read_bytes() == content
    status, out, err = call("process", "file=@a b.CSV", "--out", "new.bin")
    assert (status, out) == (2, "")
    assert "new.bin is there already, and stays: name another file with --out" in err
    status, out, err = call("process", "file=@a b.CSV", "--out", "nowhere/new.bin")
    assert (status, "there is no folder nowhere for new.bin: make it first" in err) == (2, True)
    assert linked.serve.calls("process") == before + 3
    status, out, err = call("process", "@a b.CSV", "options=describe", "--out", "other")
    assert json.loads(out) == {"bytes": len(content), "suffix": ".csv", "options": "describe"}
    assert (status, err) == (0, "it returned no bytes: there is no other\n")
    status, out, err = call("process", "@a b.CSV", "options=describe", "filename=x.txt")
    assert json.loads(out)["suffix"] == ".txt"
    status, out, err = call("process", "@b.CSV")
    assert (status, "b.CSV is no file" in err) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a b.CSV",
        "new.bin",
        "processed_a b-2.CSV",
        "processed_a b.CSV",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--hub", "127.0.0.1:1"), "--name NAME, both"), (("--name", "laptop"), "--name NAME, both")],
)
async def test_a_hub_and_a_name_go_together(arguments: tuple[str, ...], said: str) -> None:
    status, _, err = await run_snyper("serve", str(EXAMPLE / "services.py"), *arguments)
    assert (status, said in err) == (2, True), err


def documented(hub: str, directory: Path) -> str:
    """Run the client of docs/offload.md; return where it finds what is odd, and how wide its picture is."""
    page = (ROOT / "docs" / "offload.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page.split("\n## Over the link\n")[1], re.DOTALL)[:1]
    Image.new("RGB", (640, 480)).save(directory / "a.jpg")
    shown = "import io; from PIL import Image\nprint([one['index'] for one in anomalies], end=' ')\n"
    shown += "print(Image.open(io.BytesIO(small)).width)\n"
    done = subprocess.run(
        [sys.executable, "-c", program.replace("192.168.1.10:8081", hub) + shown],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.slow
@needs_micropython
@each_engine
async def test_the_thermometer_has_the_laptop_calculate(engine: str, tmp_path: Path) -> None:
    """The two examples together, the laptop without a port of its own."""
    config = {"ssid": "snyper", "password": "simulated-range", "readings": 30_000}
    async with running_hub(engine, tmp_path, max_targets=1, max_consoles=4) as hub:
        words = ("--hub", hub.address, "--name", "laptop", "--workers", "1")
        serve = await asyncio.to_thread(Process, tmp_path, "serve", str(EXAMPLE / "services.py"), *words)
        assert serve.said["urls"] == []
        board = BoardProcess(
            *(tmp_path / "board", "target", {**config, "hub": hub.address}),
            main=EXAMPLE / "thermometer.py",
        )
        board.start()
        try:
            await asyncio.to_thread(wait_for_log, board, "are odd")
            assert await asyncio.to_thread(documented, hub.address, tmp_path) == "[3] 320\n"
        finally:
            board.kill()
            status = await asyncio.to_thread(serve.end)
    assert status == 0
    assert "not analyzed" not in board.log
