"""`NumpyClient` and `snyper arrays`, with a gateway, over cuts, and with what is no gateway."""

import asyncio
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
import pytest

from snyper.arrays import NumpyClient
from snyper.device import BadAnswer, Refused, Unreachable, retrying
from tests.integration.arrays_harness import Arrays, ended_gateways, saved
from tests.integration.device_harness import Scripted, relayed, scripted_server
from tests.integration.harness import DEADLINE_S, HOST, linux_only

NOBODY = f"http://{HOST}:9"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arrays]:
    running = Arrays(tmp_path_factory.mktemp("arrays"))
    yield running
    assert running.end() == 0


@pytest.fixture(autouse=True)
def _no_gateway_is_left() -> Iterator[None]:
    with ended_gateways():
        yield


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "_FIRST_DELAY_S", 0.001)
    monkeypatch.delenv("SNYPER_SERVICE_KEY", raising=False)
    monkeypatch.delenv("SNYPER_GATEWAY", raising=False)


def arrays() -> dict[str, Any]:
    """Make arrays of every kind that there is to be sent."""
    plain = numpy.arange(24.0).reshape(2, 3, 4)
    return {
        "a list": [[1, 2], [3, 4]],
        "a number": 3.5,
        "plain": plain,
        "fortran": numpy.asfortranarray(plain),
        "transposed": plain.transpose(1, 0, 2),
        "with gaps": plain[:, ::2, 1:],
        "backwards": plain[::-1],
        "read-only": numpy.broadcast_to(numpy.arange(3), (4, 3)),
        "big-endian": plain.astype(">i2"),
        "bool": plain > 7,
        "empty": numpy.zeros((0, 3), "<f4"),
        "large": numpy.random.default_rng(5).normal(size=(700, 1_000)),
        "nan": numpy.array([numpy.nan, numpy.inf, -numpy.inf], "<f2"),
    }


@pytest.mark.parametrize("kind", arrays())
def test_an_array_comes_back_as_it_was(gateway: Arrays, kind: str) -> None:
    array = numpy.asarray(arrays()[kind])
    told: list[tuple[int, int]] = []
    with NumpyClient(gateway.url) as client:
        stored = client.upload_numpy_array(arrays()[kind], kind, lambda *done: told.append(done))
        assert stored["shape"] == list(array.shape)
        assert not array.size or told[-1] == (array.nbytes, array.nbytes)
        for which in (stored["index"], kind):
            told.clear()
            found = client.get_array(which, on_progress=lambda *done: told.append(done))
            assert not array.size or told[-1] == (array.nbytes, array.nbytes)
            assert numpy.array_equal(found, array, equal_nan=array.dtype.kind == "f")
            assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.flags.writeable


def test_what_the_client_does(gateway: Arrays, tmp_path: Path) -> None:
    client = NumpyClient(gateway.url)
    index = client.upload_numpy_array(numpy.arange(10.0))["index"]
    listed = client.list_arrays()
    assert listed["arrays"][-1] == {"index": index, "shape": [10], "dtype": "float64"}
    described = list(client.describe_arrays())
    assert described[-1]["name"] == "array"
    newest, before = [], None
    while page := client.newest_arrays(1, before)["arrays"]:
        [one] = page
        assert one.pop("preview").keys() >= {"low", "high"}
        newest.append(one)
        before = one["index"]
    assert newest == described[::-1]
    assert len(list(client.describe_arrays())) == listed["count"] == client.health()["arrays_stored"]
    assert client.get_array(index, "2:8:3").tolist() == [2.0, 5.0]
    (tmp_path / "Probe 1.npy").write_bytes(saved([7]))
    assert client.get_array(client.upload_file(tmp_path / "Probe 1.npy")["index"]).tolist() == [7]
    assert client.get_array("Probe 1").tolist() == [7]
    client.close()
    assert client.delete_array("Probe 1")["index"] == index + 1
    for which in ("Probe 1", 10**15, -1, "a/b"):
        with pytest.raises(Refused, match="there is no array"):
            client.get_array(which)
    for wrong in ([1j], ["a"], [None], numpy.zeros(3, "M8[s]"), numpy.zeros(3, [("a", "<f8")])):
        with pytest.raises(ValueError, match="are not taken"):
            client.upload_numpy_array(wrong)
    with pytest.raises(Refused, match="is no slice"):
        client.get_array(index, "x")
    client.close()


def test_an_upload_over_cuts_is_stored_once(gateway: Arrays) -> None:
    array = numpy.random.default_rng(7).normal(size=(500, 1_000))
    with NumpyClient(gateway.url) as client:
        before = client.health()["arrays_stored"]
    with relayed(gateway.port, [1_000_000, 3_000_000]) as relay, NumpyClient(relay.url) as client:
        index = client.upload_numpy_array(array)["index"]
        assert relay.cuts_left == 0
        assert numpy.array_equal(client.get_array(index), array)
        assert client.health()["arrays_stored"] == before + 1


def test_a_deletion_whose_answer_is_lost_deletes_no_other_array(gateway: Arrays) -> None:
    """Of a name another try would take the array that had it before."""
    older, newer, other = (gateway.store([number], f"{name}.npy") for number, name in enumerate("aab"))
    losses = 2

    def lose(request: Scripted) -> None:
        nonlocal losses
        done = gateway.request(request.command, request.path)
        if losses:
            losses -= 1
            raise ConnectionError
        request.answer(done.status_code, done.content)

    with scripted_server(lose) as server, NumpyClient(server.url) as client:
        with pytest.raises(Unreachable):
            client.delete_array("a")
        assert client.delete_array(other)["index"] == other
        assert losses == 0
        with pytest.raises(Refused, match="there is no array"):
            client.delete_array(newer)
        assert client.get_array("a").tolist() == [0]
        assert client.delete_array("a")["index"] == older


def test_an_upload_over_the_end_of_its_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is killed in the middle of it and started again: whole, and once."""
    monkeypatch.setattr(retrying, "_FIRST_DELAY_S", 4.0)
    gateway = Arrays(tmp_path)
    kept = gateway.store([1])
    array = numpy.random.default_rng(9).normal(size=(2_000, 1_000))
    is_half_way = threading.Event()

    def on_progress(done: int, total: int) -> None:
        if done > total // 2:
            is_half_way.set()

    with NumpyClient(gateway.url) as client, ThreadPoolExecutor(1) as pool:
        uploading = pool.submit(client.upload_numpy_array, array, "over it", on_progress)
        assert is_half_way.wait(30)
        gateway.process.end(signal.SIGKILL)
        gateway = Arrays(tmp_path, port=gateway.port)
        assert uploading.result(60)["index"] == kept + 1
        assert numpy.array_equal(client.get_array("over it"), array)
        assert client.health()["arrays_stored"] == 2
    assert gateway.parts() == []
    assert gateway.end() == 0


def test_what_is_no_gateway() -> None:
    with NumpyClient(NOBODY) as client, pytest.raises(Unreachable):
        client.list_arrays()
    with pytest.raises(ValueError, match="is no http"):
        NumpyClient("localhost:8000")

    def answer(request: Scripted) -> None:
        answers[request.path.partition("?")[0]](request)

    npy = {"Content_Type": "application/x-npy"}
    answers = {
        "/health": lambda request: request.answer(200, b"[1]"),
        "/array/json": lambda request: request.answer(200, b'{"shape": [2], "dtype": "<i2", "data": [1, 2]}'),
        "/array/wrong": lambda request: request.answer(
            200, b'{"shape": [3], "dtype": "<i2", "data": [1, 2]}'
        ),
        "/array/none": lambda request: request.answer(200, b"[]"),
        "/array/text": lambda request: request.answer(200, b"hello", **npy),
        "/array/short": lambda request: request.answer(200, saved([1, 2])[:-1], **npy),
        "/array/head": lambda request: request.answer(200, saved([1, 2])[:50], **npy),
        "/array/nothing": lambda request: request.answer(200, b"", **npy),
        "/array/huge": lambda request: request.answer(
            200, saved([1]).replace(b"(1,), }             ", b"(999999999999,), }  "), **npy
        ),
    }
    with scripted_server(answer) as server, NumpyClient(server.url) as client:
        assert client.get_array("json").tolist() == [1, 2]
        for which in ("wrong", "none", "text", "short", "head", "nothing", "huge"):
            with pytest.raises(BadAnswer, match="is no array"):
                client.get_array(which)
        with pytest.raises(BadAnswer):
            client.health()


def test_a_signal_without_an_answer_may_want_tls() -> None:
    with (
        scripted_server(lambda request: setattr(request, "close_connection", True)) as server,
        NumpyClient(server.url) as client,
        pytest.raises(Unreachable, match="lost before any answer: is it https://"),
    ):
        asyncio.run(client.connect_streaming())


# --- the command


def snyper(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snyper.cli", "arrays", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.mark.slow
def test_the_command(gateway: Arrays, tmp_path: Path) -> None:
    to = ("--to", gateway.url)
    for number in range(2):
        (tmp_path / f"probe-{number}.npy").write_bytes(saved(numpy.arange(6.0).reshape(2, 3) + number))
    done = snyper("upload", *(str(tmp_path / f"probe-{number}.npy") for number in range(2)), *to)
    assert (done.returncode, done.stderr) == (0, "")
    index = int(done.stdout.split()[0])
    assert done.stdout.splitlines()[1] == f"{index + 1}  float64  2 × 3  {tmp_path}/probe-1.npy"
    listed = snyper("list", SNYPER_GATEWAY=gateway.url)
    assert "probe-1" in listed.stdout
    assert "float64" in listed.stdout
    entries = json.loads(snyper("list", "--json", *to).stdout)
    assert entries[-1]["name"] == "probe-1"
    shown = snyper("get", "probe-1", *to)
    assert shown.stdout == "[[1. 2. 3.]\n [4. 5. 6.]]\n"
    assert shown.stderr == "float64, 2 × 3\n"
    as_json = json.loads(snyper("get", str(index), "--slice", ":,0", "--json", *to).stdout)
    assert as_json == {"shape": [2], "dtype": "float64", "data": [0.0, 3.0]}
    into = tmp_path / "got.npy"
    assert snyper("get", "probe-1", "-o", str(into), *to).returncode == 0
    assert numpy.load(into).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert snyper("delete", str(index), "probe-1", *to).returncode == 0
    again = snyper("delete", str(index), *to)
    assert (again.returncode, again.stderr) == (1, f"snyper: there is no array {index} (404)\n")


@pytest.mark.slow
def test_how_the_command_ends(gateway: Arrays, tmp_path: Path) -> None:
    to = ("--to", gateway.url)
    wrong = tmp_path / "wrong.npy"
    wrong.write_text("hello")
    into = tmp_path / "old.npy"
    into.write_text("as it was")
    with NumpyClient(gateway.url) as client:
        index = client.upload_numpy_array([1])["index"]
    for status, said, words in (
        (1, "no .npy file", ("upload", str(wrong), *to)),
        (1, "No such file", ("upload", str(tmp_path / "missing.npy"), *to)),
        (1, "there is no array", ("get", "nobody", "-o", str(into), *to)),
        (1, "is no slice", ("get", str(index), "--slice", "x", *to)),
        (3, "Connection refused: is a server running there?", ("list", "--to", NOBODY)),
        (2, "a name at a hub needs --hub", ("list", "--to", "nowhere")),
        (2, "Missing argument", ("upload",)),
    ):
        done = snyper(*words)
        assert (done.returncode, said in done.stderr) == (status, True), done
    assert into.read_text() == "as it was"


def test_the_command_says_what_it_waits_for(tmp_path: Path) -> None:
    gateway = Arrays(tmp_path, "--limit", "arrays=1")
    gateway.store([1])
    (tmp_path / "probe.npy").write_bytes(saved([2]))
    upload = ("upload", str(tmp_path / "probe.npy"), "--to", gateway.url)
    command = [sys.executable, "-m", "snyper.cli", "arrays", *upload]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert re.fullmatch(r"there are 1 arrays.* \(507\); the next try is in 6\d s\n", said), said
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        # Ctrl-C in the midst of writing a line may write that again.
        assert process.stderr.read().removeprefix(said) == "stopped\n"
    assert gateway.end() == 0


@pytest.mark.slow
def test_the_command_shows_a_signal(tmp_path: Path) -> None:
    gateway = Arrays(tmp_path, "--demo-signal")
    try:
        done = snyper("stream", "--duration", "2", "--to", gateway.url)
        *lines, last = done.stdout.splitlines()
        assert (done.returncode, len(lines) > 1) == (0, True), done
        assert all(re.fullmatch(r"\d+\.\d{3}  100 points, mean .* … .*", line) for line in [*lines, last])
        assert done.stderr == f"{len(lines) + 1} packets\n"
        told = snyper("stream", "--duration", "2", "--json", "--to", gateway.url).stdout.splitlines()
        assert [len(json.loads(line)["y"]) for line in told] == [100] * len(told)
        command = [sys.executable, "-m", "snyper.cli", "arrays", "stream", "--to", gateway.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
    finally:
        assert gateway.end() == 0
    assert snyper("stream", "--to", gateway.url).returncode == 3


@pytest.mark.slow
@linux_only  # for /dev/full
def test_a_signal_into_what_takes_none(tmp_path: Path) -> None:
    gateway = Arrays(tmp_path, "--demo-signal")
    command = [sys.executable, "-m", "snyper.cli", "arrays", "stream", "--to", gateway.url]
    try:
        for options in (["--duration", "60"], ["--json"]):
            with Path("/dev/full").open("wb") as full:
                done = subprocess.run(
                    [*command, *options], stdout=full, stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S
                )
            said = "snyper: stdout cannot be written: No space left on device\n1 packet\n"
            assert (done.returncode, done.stderr) == (1, said)
    finally:
        assert gateway.end() == 0


def test_where_there_is_no_signal_the_command_says_so(gateway: Arrays) -> None:
    done = snyper("stream", "--duration", "3", "--to", gateway.url)
    assert "no signal: start it with --stream" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="opens a terminal")
def test_a_bar_shows_how_far_it_is(gateway: Arrays, tmp_path: Path) -> None:
    path = tmp_path / "large.npy"
    path.write_bytes(saved(numpy.zeros(4_000_000)))
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("CI", None)
    command = [sys.executable, "-m", "snyper.cli", "arrays", "upload", str(path), "--to", gateway.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        said = io.BytesIO()
        while True:
            try:
                content = os.read(ours, 65_536)
            except OSError:
                break
            if not content:
                break
            said.write(content)
        assert process.wait(60) == 0
    os.close(ours)
    assert "large.npy" in said.getvalue().decode()
    assert "━" in said.getvalue().decode()
