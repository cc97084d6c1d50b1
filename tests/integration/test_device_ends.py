"""Both ends of ours: what a device sends to `snyper serve` and to either receiver, cut and killed."""

import asyncio
import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from snyper.device import (
    ClientPush,
    Delivery,
    FileChanged,
    Outbox,
    Refused,
    RemoteFileAdapter,
    ServerFailed,
    TimedOut,
    jobs,
    retrying,
)
from tests.integration.device_harness import DEADLINE_S, relayed, write
from tests.integration.gateway_harness import Serve
from tests.integration.harness import at_length, wait_until
from tests.integration.receiver import DEVICE, SNYPER, Receiver, receiving
from tests.integration.stopwatch import running_s
from tools.loopback import free_port

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "_FIRST_DELAY_S", 0.01)
    monkeypatch.delenv("SNYPER_SERVICE_KEY", raising=False)


@pytest.fixture(scope="module", params=[SNYPER, DEVICE])
def receiver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiving(tmp_path_factory.mktemp("receiver"), program=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    running = Serve(tmp_path_factory.mktemp("serve"))
    yield running
    running.end()


def test_a_push(receiver: Receiver, tmp_path: Path) -> None:
    path = write(tmp_path / "möwe.jpg", 1000)
    answer = ClientPush(receiver.url).push_file_sync(path)
    assert (answer["status"], answer["message"]) == ("ok", "File received")
    assert Path(answer["path"]).read_bytes() == path.read_bytes()
    assert ClientPush(receiver.url).push_data_sync([1])["message"] == "Data received"


def test_cut_at_twenty_random_offsets(receiver: Receiver, tmp_path: Path) -> None:
    size = 8 * MIB
    path = write(tmp_path / "large.bin", size)
    cuts = sorted(random.Random(1).sample(range(size), 20))
    port = int(receiver.url.rpartition(":")[2])
    with relayed(port, cuts) as relay:
        answer = ClientPush(relay.url).push_file_sync(path)
    assert relay.cuts_left == 0
    assert Path(answer["path"]).read_bytes() == path.read_bytes()
    assert [name for name in receiver.files() if name.startswith("large")] == [path.name]
    assert relay.sent - size < MIB
    assert receiver.parts() == []


def test_work(serve: Serve, tmp_path: Path) -> None:
    remote = RemoteFileAdapter(serve.url, save_to=tmp_path)
    path = write(tmp_path / "a.csv", 1000)
    assert remote.process(path, "describe")["bytes"] == 1000
    assert Path(remote.process(path)).read_bytes() == path.read_bytes()
    assert remote.process_data([1], {"k": 2}) == {"data": [1], "options": {"k": 2}}
    assert remote.post("/api/far", {"readings": [3]}) == {"anomalies": [3]}
    with pytest.raises(Refused, match="audio"):
        RemoteFileAdapter(serve.url, path="/api/stt/transcribe").process(path)


def test_what_is_packed_comes_out_as_it_was(serve: Serve, receiver: Receiver, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"21.5\n" * 30_000)
    with relayed(serve.port, []) as relay:
        remote = RemoteFileAdapter(relay.url, compress=True)
        assert remote.process(path, "describe")["bytes"] == 150_000
        assert remote.process_data("x" * 50_000)["data"] == "x" * 50_000
    assert relay.sent < 10_000
    with relayed(int(receiver.url.rpartition(":")[2]), []) as relay:
        answer = ClientPush(relay.url, compress=True).push_file_sync(path)
    assert relay.sent < 10_000
    assert Path(answer["path"]).read_bytes() == path.read_bytes()


def test_a_large_file_for_a_service(serve: Serve, tmp_path: Path) -> None:
    size = 12 * MIB
    path = write(tmp_path / "a.csv", size)
    before = serve.calls("process")
    with relayed(serve.port, [MIB, 5 * MIB, 5 * MIB + 10, 11 * MIB]) as relay:
        found = RemoteFileAdapter(relay.url).process(path, "describe")
    assert (found["bytes"], found["options"]) == (size, "describe")
    assert relay.cuts_left == 0
    assert relay.sent - size < MIB
    assert serve.calls("process") == before + 1


def test_work_that_is_asked_for_again_is_done_once(serve: Serve, tmp_path: Path) -> None:
    """The client gives up waiting for an answer, and its next try gets it."""
    before = serve.calls("far")
    answers = []
    with serve.held("far"):
        remote = RemoteFileAdapter(serve.url, timeout=0.3, tries=50)
        thread = threading.Thread(target=lambda: answers.append(remote.post("/api/far", {"readings": 1})))
        thread.start()
        thread.join(1)
        assert thread.is_alive()
    thread.join(DEADLINE_S)
    assert answers == [{"anomalies": 1}]
    assert serve.calls("far") == before + 1


_SENDER = """
import sys
from snyper.device import Delivery, Outbox
Delivery(Outbox(sys.argv[1]), sys.argv[2]).run_here()
"""


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("program", [SNYPER, DEVICE])
def test_kill_9_of_either_side(tmp_path: Path, program: str) -> None:
    """At random moments, while small and large things go: all of it arrives once, in order. A handler that a
    kill has interrupted gets its event again; those of files and of data do not wait for each other.
    """
    rng, count = random.Random(5), at_length(1_000, 60)
    outbox = Outbox(tmp_path / "outbox")
    for number in range(count):
        if number % 20 == 10:
            outbox.add_file(write(tmp_path / f"large-{number}.bin", 3 * MIB))
        else:
            outbox.add_data(number)
    with receiving(tmp_path / "receiver", program=program) as receiver:

        def until(count: int) -> None:
            """Wait until so few wait."""
            for _ in range(int(DEADLINE_S / 0.005)):
                if outbox.count() <= count:
                    return
                threading.Event().wait(0.005)
            raise AssertionError(outbox.status())

        kills = 0
        for turn in range(count // 12):
            with subprocess.Popen([sys.executable, "-c", _SENDER, outbox.folder, receiver.url]) as sender:
                until(count - 5 - 10 * turn - rng.randrange(5))
                if turn % 2:
                    receiver.kill()
                    receiver.start()
                    kills += 1
                sender.send_signal(signal.SIGKILL)
        report = Delivery(outbox, receiver.url).flush(tries=20)
        assert report[1:4] == (0, 0, "delivering")
        wait_until(lambda: not httpx.get(receiver.url + "/health").json()["waiting"], "the handlers")
        data = [event["data"] for event in receiver.events() if "data" in event]
        names = [event["filename"] for event in receiver.events() if "data" not in event]
        files = receiver.files()
        assert receiver.parts() == []
    assert list(dict.fromkeys(data)) == [number for number in range(count) if number % 20 != 10]
    assert list(dict.fromkeys(names)) == [f"large-{number}.bin" for number in range(10, count, 20)]
    assert len(data) + len(names) <= count + 2 * kills
    assert {name: content for name, content in files.items() if name.startswith("large")} == {
        path.name: path.read_bytes() for path in tmp_path.glob("large-*.bin")
    }


def test_a_file_that_changes_leaves_no_part(receiver: Receiver, tmp_path: Path) -> None:
    path = write(tmp_path / "growing.log", 3 * MIB)

    def on_sent(sent: int, total: int) -> None:
        if sent == MIB:
            with path.open("ab") as file:
                file.write(b"more")

    with pytest.raises(FileChanged):
        ClientPush(receiver.url).push_file_sync(path, on_sent=on_sent)
    health = httpx.get(receiver.url + "/health").json()
    assert (health["parts"], path.name in receiver.files()) == (0, False)


def test_long_work_is_asked_about_until_it_is_done(serve: Serve, tmp_path: Path) -> None:
    told: list[tuple[float, int | None]] = []
    adapter = RemoteFileAdapter(
        serve.url, timeout=1, long=True, on_progress=lambda share, place: told.append((share, place))
    )
    before = serve.calls("far")
    with ThreadPoolExecutor(3) as threads:
        with serve.held("far"):
            calls = [threads.submit(adapter.post, "/api/far", {"readings": [at]}) for at in range(3)]
            wait_until(lambda: {(0.25, None), (0.0, 0)} <= set(told), "two that run, and one that waits")
            began_s = running_s()
            wait_until(lambda: running_s() - began_s > 1, "longer than the limit of each wait")
        assert [call.result()["anomalies"] for call in calls] == [[0], [1], [2]]
    assert serve.calls("far") == before + 3


@pytest.mark.parametrize("size", [1_000, 3 * MIB])
def test_long_work_on_a_file_is_done_once_over_cuts(serve: Serve, tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "a.wav", size)
    before = serve.calls("process")
    with relayed(serve.port, sorted(random.Random(2).sample(range(size), 3))) as relay:
        adapter = RemoteFileAdapter(relay.url, long=True, tries=20, save_to=tmp_path)
        assert Path(adapter.process(path)).read_bytes() == path.read_bytes()
        assert adapter.process(path, "describe")["bytes"] == size
    assert serve.calls("process") == before + 2


@pytest.mark.parametrize(
    ("data", "status", "detail"),
    [("invalid", 422, "another word"), ("raise", 500, "RuntimeError: it is broken")],
)
def test_long_work_fails_as_other_work_does(serve: Serve, data: str, status: int, detail: str) -> None:
    before = serve.calls("process_data")
    with pytest.raises((Refused, ServerFailed)) as caught:
        RemoteFileAdapter(serve.url, long=True).process_data(data)
    assert (caught.value.status, caught.value.detail) == (status, detail)
    assert serve.calls("process_data") == before + 1


async def test_long_work_that_is_called_off_ends_at_the_server(serve: Serve) -> None:
    def busy() -> int:
        found: int = httpx.get(serve.url + "/health").json()["busy"]
        return found

    adapter = RemoteFileAdapter(serve.url, long=True)
    with serve.held("far"):
        calling = asyncio.create_task(adapter.post_async("/api/far", {"readings": [1]}))
        await asyncio.to_thread(wait_until, lambda: busy() == 1, "it runs")
        calling.cancel()
        await asyncio.to_thread(wait_until, lambda: busy() == 0, "its worker is free")
        limited = RemoteFileAdapter(serve.url, long=True, total_s=0.5)
        with pytest.raises(TimedOut):
            await asyncio.to_thread(limited.post, "/api/far", {"readings": [2]})
        await asyncio.to_thread(wait_until, lambda: busy() == 0, "its worker is free")


@pytest.mark.parametrize(
    "program", [["-m", "snyper.device", "send", "--data-path"], ["-m", "snyper.cli", "send", "--path"]]
)
def test_ctrl_c_ends_long_work_at_the_server(serve: Serve, program: list[str]) -> None:
    with serve.held("process_data"), relayed(serve.port, []) as relay:
        command = [sys.executable, *program, "/api/process/data", "--long", "--to", relay.url, '{"a": 1}']
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            wait_until(lambda: relay.sent > 1_500, "it has begun, and is asked about")
            assert httpx.get(serve.url + "/health").json()["busy"] == 1
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
        wait_until(lambda: httpx.get(serve.url + "/health").json()["busy"] == 0, "its worker is free")


def test_long_work_that_somebody_removes_is_refused(serve: Serve) -> None:
    adapter = RemoteFileAdapter(serve.url, long=True, on_progress=lambda share, place: remove())
    locations: list[str] = []
    before = serve.calls("far")

    def remove() -> None:
        (found,) = locations
        assert httpx.delete(found).status_code == 204

    taken = jobs.LongWork._take_begun

    def take(self: jobs.LongWork, answer: Any) -> Any:
        locations.append(serve.url + answer.header("Location"))
        return taken(self, answer)

    with pytest.MonkeyPatch.context() as patch, serve.held("far"):
        patch.setattr(jobs.LongWork, "_take_begun", take)
        with pytest.raises(Refused, match="the job was called off at the server"):
            adapter.post("/api/far", {"readings": [1]})
    assert serve.calls("far") <= before + 1


@pytest.mark.parametrize("servers", [2, 3])
def test_long_work_is_begun_at_so_many_servers(servers: int) -> None:
    """Each is away for two tries of three, and then knows nothing of it; the last one, if any, does it."""
    asked = {"POST": 0, "GET": 0}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked["POST"] += 1
            self.answer(202, {"id": "1"})

        def do_GET(self) -> None:
            asked["GET"] += 1
            if asked["POST"] > servers:
                self.answer(200, {"state": "done", "progress": 1.0})
            elif asked["GET"] % 3 == 0:
                self.answer(404, {"detail": "there is no such job"})

        def answer(self, status: int, value: object) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Location", "/jobs/1")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            adapter = RemoteFileAdapter(f"http://127.0.0.1:{server.server_port}", long=True, tries=3)
            if servers < 3:
                assert adapter.post("/x", {})["state"] == "done"
            else:
                with pytest.raises(ServerFailed, match="has the job no more"):
                    adapter.post("/x", {})
        finally:
            server.shutdown()
    assert asked["POST"] == 3


@pytest.mark.slow
def test_long_work_outlives_its_server(tmp_path: Path) -> None:
    port = free_port()
    directory = tmp_path / "serve"
    listen = ("--listen", f"127.0.0.1:{port}")
    told: list[float] = []
    url = f"http://127.0.0.1:{port}"
    adapter = RemoteFileAdapter(url, long=True, tries=100, on_progress=lambda share, _: told.append(share))
    with ThreadPoolExecutor(1) as threads:
        with Serve(directory, *listen) as first, first.held("far"):
            call = threads.submit(adapter.post, "/api/far", {"readings": [1]})
            wait_until(lambda: told and first.calls("far") == 1, "it runs")
            first.end(signal.SIGKILL)
        with Serve(directory, *listen) as second:
            assert call.result() == {"anomalies": [1]}
            assert second.calls("far") == 2
            assert second.end() == 0
