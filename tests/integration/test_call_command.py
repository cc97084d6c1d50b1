"""`snyper call` and `snyper stubs` as people run them, against a server in threads of this process."""

import ast
import asyncio
import json
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import typer

from snyper.cli.call_command import as_json, parse, place_options
from tests.integration.calls_harness import Bath, HubProcess, Powermeter, hello, served
from tests.integration.harness import HOST, run_snyper, snyper
from tools.loopback import free_port

FAILED, USAGE, NO_SERVER, INTERRUPTED = 1, 2, 3, 130


@pytest.fixture
def hub() -> Iterator[HubProcess]:
    with HubProcess() as running:
        yield running


def count(up_to: int) -> Iterator[int]:
    yield from range(up_to)


@pytest.mark.slow
async def test_a_call() -> None:
    with served(Powermeter(), hello, count) as server:
        address = f"{HOST}:{server.port}"
        for words, said in (
            (("read_voltage", "samples=20"), "5.0\n"),
            (("Read_Voltage", "8"), "2.0\n"),
            (("set_range", "3"), "null\n"),
            (("get_range",), "3\n"),
            (("hello", "name=pluto"), '"Hello pluto!"\n'),
            (("hello", '{"x": [1]}'), "\"Hello {'x': [1]}!\"\n"),
            (("hello", "-5"), '"Hello -5!"\n'),
            (("--timeout", "9", "hello", "-1.5e-3"), '"Hello -0.0015!"\n'),
            (("count", "up_to=3"), "0\n1\n2\n"),
        ):
            assert await run_snyper("call", address, *words) == (0, said, "")


async def test_what_goes_wrong_is_said_with_a_status() -> None:
    with served(Powermeter()) as server:
        address = f"{HOST}:{server.port}"
        for words, status, why in (
            (("set_range", "9"), FAILED, "ValueError: range 9 is not 1 to 5"),
            (("read_voltage", "sample=20"), FAILED, "TypeError: Powermeter.read_voltage() got an unexpected"),
            (("read_volt",), FAILED, "Did you mean 'read_voltage'"),
            (("read_voltage", "samples=1", "2"), USAGE, "2 is no KEY=VALUE"),
            (("read_voltage", "-samples"), USAGE, "No such option: -s"),
            (("read_voltage", "samples=1", "samples=2"), USAGE, "samples stands twice"),
            ((), USAGE, "NAME"),
        ):
            found, out, err = await run_snyper("call", address, *words)
            assert (found, out) == (status, "")
            assert why in err
            assert "Traceback" not in err
    found, out, err = await run_snyper("call", f"{HOST}:{free_port()}", "hello")
    assert (found, out) == (NO_SERVER, "")
    assert "no server answers" in err


async def test_a_limit_and_ctrl_c_end_a_call() -> None:
    bath = Bath()
    with served(bath) as server:
        status, out, err = await run_snyper("call", f"{HOST}:{server.port}", "cool", "--timeout", "0.1")
        assert (status, out) == (FAILED, "")
        assert "deadline" in err
        bath.ends.set()
    bath = Bath()
    with served(bath) as server:
        async with snyper("call", f"{HOST}:{server.port}", "cool") as command:
            assert await asyncio.to_thread(bath.began.wait, 30)
            assert await command.interrupt() == INTERRUPTED
        bath.ends.set()


async def test_a_secret_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("a secret of some length\n")
    file.chmod(0o600)
    with served(hello, secret="a secret of some length") as server:
        words = ("call", f"{HOST}:{server.port}", "hello")
        right = (0, '"Hello world!"\n', "")
        assert await run_snyper(*words, SNYPER_SECRET="a secret of some length") == right
        assert await run_snyper(*words, "--secret-file", str(file)) == right
        assert await run_snyper(*words, SNYPER_SECRET_FILE=str(file)) == right
        for wrong in ({}, {"SNYPER_SECRET": "another secret"}):
            status, out, err = await run_snyper(*words, **wrong)
            assert (status, out) == (FAILED, "")
            assert "SNYPER_SECRET" in err
            assert "another secret" not in err
        status, _, err = await run_snyper(*words, "--secret-file", str(tmp_path / "none"))
        assert status == FAILED
        assert f"--secret-file or SNYPER_SECRET_FILE: {tmp_path / 'none'} cannot be read" in err


async def test_stubs_are_python() -> None:
    with served((Powermeter(), "pump_"), hello) as server:
        status, out, err = await run_snyper("stubs", f"{HOST}:{server.port}")
    assert (status, err) == (0, "")
    classes = [node.name for node in ast.parse(out).body if isinstance(node, ast.ClassDef)]
    assert classes == ["Lab", "AsyncLab"]
    assert "def pump_read_voltage(self, samples: int = 1) -> float:" in out


@pytest.mark.parametrize("command", ["call", "stubs"])
async def test_the_help_says_where_a_secret_comes_from(command: str) -> None:
    status, out, _ = await run_snyper(command, "--help")
    assert status == 0
    assert "SNYPER_SECRET" in out
    assert "4440" in out


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ([], {})),
        (["1", "left", "a b=c"], ([1, "left", "a b=c"], {})),
        (["1", "n=2", "how=well", "why="], ([1], {"n": 2, "how": "well", "why": ""})),
        (['"a=b"', "x=a=b"], (["a=b"], {"x": "a=b"})),
    ],
)
def test_arguments(words: list[str], found: object) -> None:
    assert parse(words) == found


def test_a_file_is_an_argument(tmp_path: Path) -> None:
    path = tmp_path / "a b.bin"
    path.write_bytes(b"content")
    assert parse([f"@{path}", f"image=@{path}", 'text="@home"']) == (
        [path],
        {"image": path, "text": "@home"},
    )
    with pytest.raises(typer.BadParameter, match="home is no file; a text that begins with @ is '\"@home\"'"):
        parse(["who=@home"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("lab1:99", ("lab1", 99)),
        ("[::1]", ("::1", 4440)),
        ("[::1]:99", ("::1", 99)),
        ("192.168.1.10", ("192.168.1.10", 4440)),
        ("localhost", ("localhost", 4440)),
    ],
)
def test_an_address(text: str, found: object) -> None:
    for hub in (None, "127.0.0.1:1"):
        assert tuple(place_options(text, hub).values()) == found


@pytest.mark.parametrize("text", ["lab1:x", "::1", "lab1:99999"])
def test_what_is_no_address_is_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        place_options(text, None)


@pytest.mark.slow
async def test_a_name_is_that_of_a_service_or_of_a_computer(hub: HubProcess) -> None:
    with served(Powermeter(), address=None, hub=hub.address, name="lab1"):
        for words in (("--hub", hub.address, "lab1"), ("lab1",)):
            known = {"SNYPER_HUB": hub.address}
            assert await run_snyper("call", *words, "read_voltage", "samples=20", **known) == (0, "5.0\n", "")
        status, out, err = await run_snyper("stubs", "lab1", SNYPER_HUB=hub.address)
        assert (status, err) == (0, "")
        assert "def read_voltage" in out
        status, out, _ = await run_snyper("services", SNYPER_HUB=hub.address)
        assert status == 0
        assert "lab1" in out
        assert "Powermeter" in out
        found = await asyncio.to_thread(place_options, "lab.1", hub.address)
        assert found == {"address": "lab.1", "port": 4440}
    with served(Powermeter(), address=None, hub=hub.address, name="lab.1"):
        assert await asyncio.to_thread(place_options, "lab.1", hub.address) == {
            "hub": hub.address,
            "name": "lab.1",
        }
    status, out, err = await run_snyper("call", "lab9", "hello", SNYPER_HUB=hub.address)
    assert (status, out) == (NO_SERVER, "")
    assert "the hub knows no lab9: `snyper services` lists those it knows" in err
    free = f"{HOST}:{free_port()}"
    status, out, err = await run_snyper("call", "lab1", "hello", SNYPER_HUB=free)
    assert (status, out) == (NO_SERVER, "")
    assert free in err


def test_every_value_has_json() -> None:
    numpy = pytest.importorskip("numpy")
    when = datetime(2025, 7, 25, 15, tzinfo=UTC)
    shown = as_json(
        {
            1: (True, None, 1 << 70, "µW"),
            "floats": [0.5, math.inf, math.nan],
            "bytes": b"\x00\xff",
            "when": [when, date(2025, 7, 25), timedelta(minutes=1)],
            "others": [Decimal("1.50"), 1 - 2j, {3}],
            "arrays": [numpy.float32(0.5), numpy.array([[1, 2]]), numpy.array([1j, math.nan])],
            "long doubles": [numpy.longdouble(0.5), numpy.array([1.5], numpy.longdouble)],
        }
    )
    assert json.loads(json.dumps(shown, allow_nan=False)) == {
        "1": [True, None, 1 << 70, "µW"],
        "floats": [0.5, "inf", "nan"],
        "bytes": "00ff",
        "when": ["2025-07-25T15:00:00+00:00", "2025-07-25", 60.0],
        "others": ["1.50", "(1-2j)", [3]],
        "arrays": [0.5, [[1, 2]], ["1j", "(nan+0j)"]],
        "long doubles": ["0.5", ["1.5"]],
    }
