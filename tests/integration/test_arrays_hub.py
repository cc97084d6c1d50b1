"""`NumpyClient` and `snyper arrays` over the link: with a hub, and a gateway that it knows by a name."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import pytest

from snyper.arrays import NumpyClient
from snyper.arrays.over_hub import MAX_UNDER_WAY, PIECE_BYTES
from snyper.device import BadAnswer, Refused, Unreachable, retrying
from snyper.gateway.array_service import MAX_EARLY, MAX_PIECE_BYTES
from snyper.services import AsyncClient, AsyncServer, Client, RemoteError, Server
from snyper.shared.device import Device
from tests.integration.arrays_harness import Arrays, ended_gateways, saved
from tests.integration.calls_harness import HubProcess, Powermeter
from tests.integration.device_harness import scripted_server
from tests.integration.harness import HOST, wait_until
from tests.integration.stream_harness import stream_hub
from tests.integration.test_numpy_client import arrays

NAME = "store"


class Linked:
    """A gateway at a hub."""

    def __init__(self, hub: HubProcess, name: str, directory: Path, *arguments: str) -> None:
        self.hub = hub
        self.name = name
        self._directory = directory
        self._words = ("--hub", hub.address, "--name", name, *arguments)
        self.start()

    def client(self, **options: Any) -> NumpyClient:
        return NumpyClient(hub=self.hub.address, name=self.name, **options)

    def kill(self) -> None:
        self.gateway.process.end(signal.SIGKILL)

    def start(self) -> None:
        self.gateway = Arrays(self._directory, *self._words)


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    with HubProcess() as running:
        yield running


@pytest.fixture(scope="module")
def linked(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Linked]:
    running = Linked(hub, NAME, tmp_path_factory.mktemp("arrays"), "--demo-signal")
    yield running
    assert running.gateway.parts() == []
    assert running.gateway.end() == 0


@pytest.fixture(autouse=True)
def _no_gateway_is_left() -> Iterator[None]:
    with ended_gateways():
        yield


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "_FIRST_DELAY_S", 0.001)
    monkeypatch.delenv("SNYPER_GATEWAY", raising=False)


@pytest.mark.parametrize("kind", arrays())
def test_an_array_comes_back_as_it_was(linked: Linked, kind: str) -> None:
    array = numpy.asarray(arrays()[kind])
    told: list[tuple[int, int]] = []
    with linked.client() as client:
        stored = client.upload_numpy_array(arrays()[kind], kind, lambda *done: told.append(done))
        assert stored["status"] == "success"
        assert (stored["shape"], stored["dtype"]) == (list(array.shape), str(array.dtype))
        assert not array.size or told[-1] == (array.nbytes, array.nbytes)
        for which in (stored["index"], kind):
            told.clear()
            found = client.get_array(which, on_progress=lambda *done: told.append(done))
            assert not array.size or told[-1] == (array.nbytes, array.nbytes)
            assert numpy.array_equal(found, array, equal_nan=array.dtype.kind == "f")
            assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.flags.writeable


def test_what_the_client_does_is_what_it_does_over_http(linked: Linked, tmp_path: Path) -> None:
    client, web = linked.client(), NumpyClient(linked.gateway.url)
    index = client.upload_numpy_array(numpy.arange(10.0))["index"]
    assert client.list_arrays() == web.list_arrays()
    assert list(client.describe_arrays()) == list(web.describe_arrays())
    newest = client.newest_arrays(2)
    assert newest == web.newest_arrays(2)
    assert client.newest_arrays(1, newest["next"]) == web.newest_arrays(1, newest["next"])
    assert client.health() == web.health()
    assert client.get_array(index, "2:8:3").tolist() == [2.0, 5.0]
    path = tmp_path / "Probe 1.npy"
    path.write_bytes(saved([7]))
    stored = client.upload_file(path)
    assert web.get_array("Probe 1").tolist() == client.get_array("Probe 1").tolist() == [7]
    into = io.BytesIO()
    client.save_array(stored["index"], into)
    assert numpy.load(io.BytesIO(into.getvalue())).tolist() == [7]
    client.close()
    assert client.delete_array("Probe 1") == {"status": "success", "index": index + 1}
    (tmp_path / "short.npy").write_bytes(saved([1, 2])[:-1])
    for method, *words in (
        *(("get_array", which) for which in ("Probe 1", 10**15, -1, 10**30, "a/b")),
        ("delete_array", "Probe 1"),
        ("get_array", index, "x"),
        ("upload_file", tmp_path / "short.npy"),
    ):
        said = []
        for one in (client, web):
            with pytest.raises(Refused) as refused:
                getattr(one, str(method))(*words)
            said.append((refused.value.status, refused.value.detail))
        assert said[0] == said[1]
    with pytest.raises(ValueError, match="are not taken"):
        client.upload_numpy_array([1j])
    with pytest.raises(OSError, match="No such file"):
        client.upload_file(tmp_path / "missing.npy")
    assert linked.gateway.parts() == []
    client.close()
    web.close()


@pytest.mark.slow
def test_an_upload_over_the_end_of_its_gateway(
    hub: HubProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is killed in the middle of it and started again: whole, and once. A download, too."""
    linked = Linked(hub, "other", tmp_path)
    kept = linked.gateway.store([1])
    array = numpy.random.default_rng(9).normal(size=(4_000, 1_000))
    is_half_way = threading.Event()

    def on_progress(done: int, total: int) -> None:
        if done > total // 2:
            is_half_way.set()

    with linked.client() as client, ThreadPoolExecutor(1) as pool:
        uploading = pool.submit(client.upload_numpy_array, array, "over it", on_progress)
        assert is_half_way.wait(30)
        linked.kill()
        linked.start()
        assert uploading.result(60)["index"] == kept + 1
        is_half_way.clear()
        getting = pool.submit(client.get_array, "over it", on_progress=on_progress)
        assert is_half_way.wait(30)
        linked.kill()
        linked.start()
        assert numpy.array_equal(getting.result(60), array)
        assert client.health()["arrays_stored"] == 2
    assert linked.gateway.parts() == []
    assert linked.gateway.end() == 0


@pytest.mark.slow
def test_over_the_end_of_the_hub(tmp_path: Path) -> None:
    """An upload goes on where it was: its calls are carried out once, over whatever connection."""
    with HubProcess() as hub:
        linked = Linked(hub, "other", tmp_path)
        array = numpy.random.default_rng(9).normal(size=(2_000, 1_000))
        cuts = 0

        def on_progress(done: int, total: int) -> None:
            nonlocal cuts
            if done > total // 2 and not cuts:
                cuts += 1
                hub.kill()
                hub.start()

        with linked.client() as client:
            index = client.upload_numpy_array(array, "over it", on_progress)["index"]
            assert (index, cuts) == (0, 1)
            assert numpy.array_equal(client.get_array(0), array)
        assert linked.gateway.parts() == []
        assert linked.gateway.end() == 0


def test_an_upload_that_nobody_ends_is_given_up(hub: HubProcess, tmp_path: Path) -> None:
    limits = ("--limit", "stall_s=1", "--limit", "places=1", "--limit", "hold_s=1")
    linked = Linked(hub, "other", tmp_path, *limits)
    with Client(hub=hub.address, name="other") as client:
        upload = client.begin_upload("one", "")
        begin = saved(numpy.zeros(1_000_000))[:4_000_000]
        assert client.write_upload(upload, 0, begin) == len(begin)
        assert len(linked.gateway.parts()) == 1
        wait_until(lambda: not linked.gateway.parts(), "it is given up")
        with pytest.raises(LookupError, match="no such upload any more"):
            client.write_upload(upload, len(begin), b"x")
        upload = client.begin_upload()
        with pytest.raises(LookupError, match="no such upload any more"):  # what comes before never comes
            client.write_upload(upload, 1, b"")
        upload = client.begin_upload()
        assert client.write_upload(upload, 0, begin[:9]) == 9
        with pytest.raises(ValueError, match="byte 9 is the next of this upload, not 8"):
            client.write_upload(upload, 8, b"")
        for at, content, said in (
            (0, bytes(5 << 20), "a piece has at most"),
            (0, b"hello", "this is no .npy file"),
        ):
            upload = client.begin_upload()  # there is one place, which each of them gives back
            with pytest.raises(ValueError, match=said):
                client.write_upload(upload, at, content)
        for words in (("a" * 1_001,), ("", "k" * 256), (3,)):
            with pytest.raises(ValueError, match="is a text of at most"):
                client.begin_upload(*words)
        with pytest.raises(ValueError, match="limit is a number"):
            client.list_arrays(-1, 0)
    assert linked.gateway.end() == 0


async def test_pieces_wait_for_those_before_them(linked: Linked) -> None:
    content = saved(numpy.arange(3_000))
    cuts = [len(content) * part // 9 for part in range(10)]
    async with AsyncClient(hub=linked.hub.address, name=NAME) as client:

        def write(number: int) -> "asyncio.Task[int]":
            at, end = cuts[number : number + 2]
            return asyncio.create_task(client.call("write_upload", upload, at, content[at:end]))

        upload = await client.call("begin_upload")
        early = [write(number) for number in range(MAX_EARLY, 0, -1)]
        first = write(0)
        assert await asyncio.gather(first, *reversed(early)) == cuts[1:]
        index = (await client.call("end_upload", upload))["index"]
        assert linked.gateway.loaded(f"/array/{index}").tolist() == list(range(3_000))

        upload = await client.call("begin_upload")
        early = [asyncio.create_task(client.call("write_upload", upload, at, b"x")) for at in range(1, 10)]
        with pytest.raises(ValueError, match="byte 0 is the next of this upload, not 9"):
            await early.pop()
        for one in early:  # whose upload has ended with that
            with pytest.raises(LookupError, match="no such upload any more"):
                await one


class Patient:
    """A service that takes a piece of an array once as many others have come."""

    def __init__(self) -> None:
        self.here = 0
        self.are_enough = asyncio.Event()

    async def begin_upload(self, name: str, key: str) -> str:
        """Begin."""
        return "one"

    async def write_upload(self, upload: str, at: int, content: bytes) -> int:
        """Wait for others."""
        self.here += 1
        if self.here == MAX_UNDER_WAY:
            self.are_enough.set()
        await self.are_enough.wait()
        return at + len(content)

    async def end_upload(self, upload: str) -> dict[str, int]:
        """Say how many there were."""
        return {"index": self.here}


async def test_an_upload_waits_for_no_answer(hub: HubProcess) -> None:
    """Before it sends on: over a slow network each would cost it a round trip."""
    patient = Patient()
    async with AsyncServer(patient, hub=hub.address, name="patient", concurrent=(patient,)):
        with NumpyClient(hub=hub.address, name="patient", timeout=30) as client:
            array = numpy.zeros(PIECE_BYTES * MAX_UNDER_WAY // 8)
            stored = await asyncio.to_thread(client.upload_numpy_array, array)
            assert stored == {"index": MAX_UNDER_WAY + 1}


class Forgetful:
    """A service that has lost its first upload when that ends, as one that was started anew has."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def begin_upload(self, name: str, key: str) -> int:
        """Begin."""
        self.keys.append(key)
        return len(self.keys)

    def write_upload(self, upload: int, at: int, content: bytes) -> int:
        """Take it."""
        return at + len(content)

    def end_upload(self, upload: int) -> dict[str, int]:
        """End."""
        if upload == 1:
            raise LookupError("there is no such upload any more")
        return {"index": 7}


def test_an_upload_that_a_gateway_has_lost_is_begun_anew(hub: HubProcess) -> None:
    forgetful = Forgetful()
    with (
        Server(forgetful, hub=hub.address, name="forgetful"),
        NumpyClient(hub=hub.address, name="forgetful") as client,
    ):
        assert client.upload_numpy_array([1]) == {"index": 7}
    first, second = forgetful.keys
    assert first == second


def test_one_key_stores_once(linked: Linked) -> None:
    with Client(hub=linked.hub.address, name=NAME) as client:

        def store(content: bytes) -> int:
            upload = client.begin_upload("keyed", "a key")
            client.write_upload(upload, 0, content)
            index: int = client.end_upload(upload)["index"]
            return index

        assert store(saved([1])) == store(saved([1]))
        with pytest.raises(ValueError, match="came with another array"):
            store(saved([2]))
    answer = linked.gateway.upload(saved([3]), headers={"Idempotency-Key": "a key"})
    assert answer.status_code == 200  # a key at the hub is no key over HTTP


async def test_a_device_stores_an_array(linked: Linked) -> None:
    device = Device(linked.hub.address, "probe")
    running = asyncio.create_task(device.run())
    content = saved(numpy.arange(3_000))
    upload = await device.call(NAME, "begin_upload", "of a device")
    await device.call(NAME, "write_upload", upload, 0, content)
    stored: Any = await device.call(NAME, "end_upload", upload)
    running.cancel()
    assert linked.gateway.loaded(f"/array/{stored['index']}").tolist() == list(range(3_000))


async def test_a_signal_comes_over_the_link(linked: Linked) -> None:
    packets: list[dict[str, Any]] = []
    client = linked.client()

    def take(packet: dict[str, Any]) -> None:
        packets.append(packet)
        if len(packets) == 5:
            assert linked.gateway.get("/health").json()["connections"] == 1
            client.stop_streaming()

    await asyncio.wait_for(client.connect_streaming(take), 30)
    assert [packet["x"].shape for packet in packets] == [(100,)] * 5
    assert all(packet["y"].dtype == packet["dtype"] == "float64" for packet in packets)
    stamps = [packet["timestamp"] for packet in packets]
    assert stamps == sorted(set(stamps))
    assert client.health()["streaming"] is False
    await asyncio.to_thread(
        wait_until, lambda: client.health()["connections"] == 0, "who has left is not counted"
    )
    # Somebody who waits for a signal that nobody starts, and goes without a word.
    listening = asyncio.create_task(client.connect_streaming(take, auto_start=False))
    await asyncio.to_thread(wait_until, lambda: client.health()["connections"] == 1, "it listens")
    listening.cancel()
    await asyncio.wait([listening])
    await asyncio.to_thread(wait_until, lambda: client.health()["connections"] == 0, "it is gone")
    assert client.start_streaming() == {"status": "streaming started"}
    client.stop_streaming()
    assert client.health()["streaming"] is False
    client.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_who_listens_learns_that_the_gateway_is_lost(
    hub: HubProcess, tmp_path: Path, number: signal.Signals
) -> None:
    linked = Linked(hub, "other", tmp_path, "--demo-signal")
    has_come = asyncio.Event()
    with linked.client() as client:
        listening = asyncio.create_task(client.connect_streaming(lambda _: has_come.set()))
        await asyncio.wait_for(has_come.wait(), 30)
        await asyncio.to_thread(linked.gateway.process.end, number)
        with pytest.raises(Unreachable):
            await asyncio.wait_for(listening, 60)


def test_what_is_no_gateway(hub: HubProcess) -> None:
    with (
        NumpyClient(hub=hub.address, name="nobody", timeout=0.5) as client,
        pytest.raises(Unreachable, match="the hub knows no nobody"),
    ):
        client.list_arrays()
    for wrong in ({"hub": hub.address}, {"name": NAME}, {"hub": hub.address, "name": "a b"}):
        with pytest.raises(ValueError, match="name"):
            NumpyClient(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="or at a hub"):
        NumpyClient("http://localhost:1", hub=hub.address, name=NAME)
    with (
        Server(Powermeter(), hub=hub.address, name="meter"),
        NumpyClient(hub=hub.address, name="meter") as client,
        pytest.raises(BadAnswer, match="no gateway with arrays"),
    ):
        client.list_arrays()


async def test_the_keys_of_the_hub_decide(tmp_path: Path) -> None:
    fleet, desk, eyes = (f"{name}:{at:064x}" for at, name in enumerate(("fleet", "desk", "eyes"), 1))
    keys = (f"{fleet} fleet", f"{desk} console", f"{eyes} read")
    async with stream_hub(keys=keys) as hub:
        address = f"{HOST}:{hub.port}"
        words = ("--hub", address, "--name", NAME)
        gateway = await asyncio.to_thread(partial(Arrays, tmp_path, *words, SNYPER_KEY=fleet))

        def talk() -> None:
            with NumpyClient(hub=address, name=NAME, key=desk) as client:
                assert client.upload_numpy_array([1, 2])["index"] == 0
            for key, said in ((eyes, "may only read"), ("", "key"), (f"desk:{9:064x}", "key")):
                with (
                    NumpyClient(hub=address, name=NAME, key=key) as client,
                    pytest.raises(Refused) as refused,
                ):
                    client.get_array(0)
                assert (refused.value.status, said in str(refused.value)) == (403, True), refused.value

        await asyncio.to_thread(talk)
        assert await asyncio.to_thread(gateway.end) == 0


def test_a_get_over_the_end_of_its_gateway_says_what_to_do(hub: HubProcess, tmp_path: Path) -> None:
    running = Linked(hub, "short-lived", tmp_path / "arrays")
    array = numpy.zeros(4_000_000)

    class Killing(io.BytesIO):
        def write(self, content: Any) -> int:
            if self.tell() == 0:
                running.kill()
            return super().write(content)

    with running.client() as client:
        client.upload_numpy_array(array)
        with pytest.raises(Unreachable) as lost:
            client.save_array(0, Killing())
    said = str(lost.value)
    assert said.startswith(f"short-lived at the hub {hub.address} was lost, ")
    assert said.endswith(" of 32,000,128 bytes: try again once `snyper services` lists it")


class Liar:
    """A service that says of arrays what it likes."""

    def get_array(self, which: str, part: str | None) -> Iterator[Any]:
        """Give an array, of some kind."""
        content = saved([1, 2])
        yield {
            "short": {"bytes": len(content)},
            "long": {"bytes": len(content)},
            "other": {"bytes": len(content) - 8},
            "text": {"bytes": len(content)},
            "none": {"bytes": "4"},
            "list": [],
        }[which]
        yield content[:-1] if which == "short" else "hello" if which == "text" else content
        yield b"x" if which == "long" else b""

    def list_arrays(self, after: int, limit: int) -> list[int]:
        """Give no page."""
        return [1]


def test_a_service_that_lies(hub: HubProcess) -> None:
    with (
        Server(Liar(), hub=hub.address, name="liar"),
        NumpyClient(hub=hub.address, name="liar") as client,
    ):
        for which in ("short", "long", "other", "text", "none", "list"):
            with pytest.raises(BadAnswer):
                client.get_array(which)
            with pytest.raises(BadAnswer):
                client.save_array(which, io.BytesIO())
        with pytest.raises(BadAnswer, match="answers something else"):
            client.list_arrays()
        with pytest.raises(BadAnswer, match="no gateway with arrays"):
            client.health()


def snyper(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snyper.cli", "arrays", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ,
    )


def test_what_is_no_hub_is_told_in_words_of_ours() -> None:
    with scripted_server(lambda request: request.send_error(400)) as server:
        ended = snyper("list", "--hub", server.url.partition("://")[2], "--to", "x", "--timeout", "2")
    assert ended.returncode == 3
    assert [line for line in ended.stderr.splitlines() if "does not answer as a hub" not in line] == []


@pytest.mark.slow
def test_the_command(linked: Linked, tmp_path: Path) -> None:
    to = ("--hub", linked.hub.address, "--to", NAME)
    (tmp_path / "probe.npy").write_bytes(saved(numpy.arange(6.0).reshape(2, 3)))
    done = snyper("upload", str(tmp_path / "probe.npy"), *to)
    assert (done.returncode, done.stderr) == (0, "")
    index = int(done.stdout.split()[0])
    assert json.loads(snyper("list", "--json", *to).stdout)[-1]["name"] == "probe"
    assert snyper("get", "probe", *to).stdout == "[[0. 1. 2.]\n [3. 4. 5.]]\n"
    into = tmp_path / "got.npy"
    assert snyper("get", "probe", "-o", str(into), *to).returncode == 0
    assert numpy.load(into).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert len(snyper("stream", "--duration", "2", *to).stdout.splitlines()) > 1
    assert snyper("delete", str(index), *to).returncode == 0
    again = snyper("delete", str(index), *to)
    assert (again.returncode, again.stderr) == (1, f"snyper: there is no array {index} (404)\n")
    assert snyper("get", "-1", *to).stderr == "snyper: there is no array -1 (404)\n"
    for status, said, words in (
        (2, "--hub needs --to NAME", ("--hub", linked.hub.address)),
        (3, "the hub knows no nobody", ("--hub", linked.hub.address, "--to", "nobody", "--timeout", "0.5")),
    ):
        done = snyper("list", *words)
        assert (done.returncode, said in done.stderr) == (status, True), done


def test_wrong_arguments_are_told_as_the_service_says(linked: Linked) -> None:
    with Client(hub=linked.hub.address, name=NAME, timeout=5) as client:
        index = linked.client().upload_numpy_array([1.0, 2.0])["index"]
        token = client.begin_upload("probe")
        for expected, call in (
            (ValueError, lambda: client.write_upload(token, 0, b"no array at all")),
            (ValueError, lambda: client.end_upload([1])),
            (ValueError, lambda: client.begin_upload("\ud800")),
            (ValueError, lambda: client.begin_upload("n" * 1_001)),
            (ValueError, lambda: client.list_arrays(-1, 2.5)),
            (ValueError, lambda: client.list_arrays("x")),
            (ValueError, lambda: client.delete_array(2.5)),
            (ValueError, lambda: list(client.get_array(index, 5))),
            (ValueError, lambda: list(client.get_array(index, "x"))),
            (LookupError, lambda: list(client.get_array(10**9))),
            (LookupError, lambda: client.delete_array("nobody")),
        ):
            with pytest.raises(expected) as caught:
                call()
            assert not isinstance(caught.value, RemoteError)


@pytest.mark.parametrize("over_hub", [False, True])
def test_both_ways_take_and_refuse_the_same(linked: Linked, over_hub: bool) -> None:
    with linked.client() if over_hub else NumpyClient(linked.gateway.url) as client:
        index = client.upload_numpy_array([1.0], "n" * 1_000)["index"]
        assert client.get_array("n" * 200).tolist() == [1.0]
        client.delete_array(index)
        with pytest.raises(ValueError, match="halves"):
            client.upload_numpy_array([1.0], "\ud800")
        with pytest.raises(Refused, match="at most 1,000 characters"):
            client.upload_numpy_array([1.0], "n" * 1_001)
        with pytest.raises(TypeError, match="a part is a text"):
            client.get_array(index, slice(0, 1))  # type: ignore[arg-type]


@pytest.mark.slow
def test_what_is_sent_is_what_the_gateway_takes() -> None:
    assert PIECE_BYTES <= MAX_PIECE_BYTES
    assert MAX_UNDER_WAY <= MAX_EARLY
