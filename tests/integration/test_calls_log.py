"""The log of who called what, over real sockets, and `snyper log`."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from snyper.services import server_log
from snyper.services.async_client import AsyncClient
from snyper.services.client import Client, call_log, caller_of, running
from snyper.services.context import deadline
from snyper.services.locks import break_lock, lock
from snyper.services.remote_exceptions import CallError, LeaseLost, Locked, NotServed, OutcomeUnknown
from snyper.services.server_log import MAX_PAGE, CallLog
from tests.integration.calls_harness import (
    HOST,
    Bath,
    Powermeter,
    Scanner,
    cooling,
    each_secret,
    hello,
    served,
    two_clients,
)
from tests.integration.harness import run_snyper, snyper
from tools.loopback import free_port


def outcomes(client: object) -> list[tuple[str, str, str]]:
    return [(row["name"], row["arguments"], row["outcome"]) for row in call_log(client)]


def limited(call: Callable[[], object]) -> None:
    with deadline(0.05):
        call()


@each_secret
def test_each_call_that_changes_something_is_there(secret: str | None) -> None:
    pm = Powermeter()
    with (
        served(pm, hello, secret=secret) as server,
    ):
        c: Any = Client(Powermeter, address=HOST, port=server.port, secret=secret)
        began = datetime.now(UTC)
        c.range = 3
        assert c.range == 3
        c.read_voltage(samples=20)
        with pytest.raises(ValueError, match="range 9"):
            c.range = 9
        with pytest.raises(NotServed):
            c.call("unknown")
        with pytest.raises(TypeError):
            c.call("hello", 1, 2)
        log = call_log(c)
        assert [(row["name"], row["arguments"]) for row in log] == [
            ("set_range", "3"),
            ("read_voltage", "samples=20"),
            ("set_range", "9"),
            ("hello", "1, 2"),
        ]
        assert [row["outcome"] for row in log[:3]] == [
            "returned",
            "returned",
            "raised ValueError: range 9 is not 1 to 5",
        ]
        assert log[3]["outcome"].startswith("raised TypeError: hello() takes")
        assert [row["number"] for row in log] == [1, 2, 3, 4]
        for row in log:
            assert row["who"].endswith(f"({HOST})")
            assert began - timedelta(seconds=1) <= row["at"] <= datetime.now(UTC)
            assert 0 <= row["seconds"] < 30
        assert call_log(c, 3) == call_log(c, log[2]) == log[3:]
        assert call_log(c, log[3]) == []
        assert secret is None or secret not in str(log)
        c.close()


def test_what_is_secret_is_nowhere() -> None:
    def login(user: str, password: str) -> None:
        raise PermissionError(f"{password} is wrong for {user}")

    with served(login) as server, Client(address=HOST, port=server.port) as c:
        with pytest.raises(PermissionError):
            c.login("eve", "hunter2")
        with pytest.raises(PermissionError):
            c.login(user={"token": "hunter2"}, password="hunter2")
        assert "hunter2" not in str(call_log(c))
        assert outcomes(c)[0] == ("login", "'eve', ***", "raised PermissionError: *** is wrong for eve")


def test_an_exception_without_a_word_is_its_type() -> None:
    def fail() -> None:
        raise TimeoutError

    with served(fail) as server, Client(address=HOST, port=server.port) as c:
        with pytest.raises(TimeoutError):
            c.fail()
        assert outcomes(c) == [("fail", "", "raised TimeoutError")]


def test_nothing_in_it_moves_a_cursor_or_begins_a_line() -> None:
    def fail(text: str) -> None:
        raise ValueError(text)

    evil = "\x1b[2J\r\nroot  reboot()\u202e\x9b"
    with served(fail) as server, Client(address=HOST, port=server.port) as c:
        with pytest.raises(ValueError, match="reboot"):
            c.fail(evil)
        with pytest.raises(TypeError):
            c.fail(**{evil: 1})
        with lock(c, why=evil):
            pass
        for row in call_log(c):
            for name in ("who", "name", "arguments", "outcome"):
                assert row[name].isprintable(), row


def test_what_is_given_up_refused_or_ends_early_says_so() -> None:
    bath, scanner = Bath(), Scanner()
    with (
        served(bath, scanner, hello, urgent="abort") as server,
        two_clients(server) as (c, other),
    ):
        with cooling(server, bath):
            with pytest.raises(OutcomeUnknown):
                limited(c.temperature)
            assert len(running(c)) == 1
        with lock(other, "cool", why="cooldown"), pytest.raises(Locked):
            c.temperature()
        items = c.scan(label="x")
        next(items)
        items.close()
        assert scanner.ended.wait(30)
        while running(c):
            pass
        list(c.scan(2))
        with pytest.raises(ValueError, match="lamp"):
            list(c.fail())
        found = outcomes(c)
        assert [row[:2] for row in found] == [
            ("temperature", ""),
            ("cool", ""),
            ("lock", "cool"),
            ("temperature", ""),
            ("lock", "cool"),
            ("scan", "label='x'"),
            ("scan", "2"),
            ("fail", ""),
        ]
        said = [row[2] for row in found]
        assert said[:3] == ["cancelled", "returned", "taken: cooldown"]
        assert said[3].startswith("refused Locked: locked by ")
        assert HOST in said[3]
        assert said[4:7] == ["given back", "cancelled, ended early", "returned"]
        assert said[7] == "raised ValueError: the lamp is out"


def test_what_runs_for_who_has_given_it_up_says_what_came_of_it() -> None:
    bath = Bath()
    with served(bath) as server, Client(address=HOST, port=server.port) as c:
        with pytest.raises(OutcomeUnknown):
            limited(c.cool)
        assert [row["cancelled"] for row in running(c)] == [True]
        bath.ends.set()
        c.temperature()
        assert outcomes(c)[0] == ("cool", "", "cancelled, returned")


def test_a_lease_that_is_broken_or_lost_is_there() -> None:
    with served(Powermeter()) as server, two_clients(server) as (one, other):
        with pytest.raises(LeaseLost), lock(one, why="cooldown"):
            break_lock(other, why="fire")
        found = outcomes(other)
        assert found[0] == ("lock", "", "taken: cooldown")
        assert found[1][2].startswith("broken by ")
        assert found[1][2].endswith(f"({HOST}): fire")


def test_readings_are_not_there() -> None:
    pm = Powermeter()
    with (
        served(pm, open_reads=["read_voltage"]) as server,
    ):
        c: Any = Client(Powermeter, address=HOST, port=server.port)
        assert c.range == 1
        assert c.read_voltage() == 0.25
        assert call_log(c) == []
        c.close()


async def test_an_asynchronous_client_awaits_it() -> None:
    with served(hello) as server:
        c: Any = AsyncClient(address=HOST, port=server.port)
        await c.hello()
        [row] = await call_log(c)
        assert row["name"] == "hello"
        assert await call_log(c, row) == []
        await c.close()


def test_pages_have_an_end_and_the_log_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_log, "MAX_ENTRIES", 2 * MAX_PAGE)
    with served(hello) as server, Client(address=HOST, port=server.port) as c:
        for at in range(2 * MAX_PAGE + 5):
            c.hello(at)
        first = call_log(c)
        assert [row["number"] for row in first] == list(range(6, 6 + MAX_PAGE))
        second = call_log(c, first[-1])
        assert [row["arguments"] for row in second][-1] == str(2 * MAX_PAGE + 4)
        assert len(second) == MAX_PAGE
        assert call_log(c, 3) == first  # some are gone
        assert call_log(c, 1_000_000) == first  # of another run


def test_long_texts_make_it_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_log, "MAX_CHARS", 1_000)
    log = CallLog("run")
    for _ in range(20):
        log.add("eve", "f", "x" * 200, 0.0, "returned")
    assert [row["number"] for row in log.page(0)] == [17, 18, 19, 20]


def test_a_client_of_a_server_that_was_started_anew_misses_nothing() -> None:
    port = free_port()
    with Client(address=HOST, port=port) as c:
        with served(hello, port=port):
            for _ in range(3):
                c.hello()
            last = call_log(c)[0]
        with served(hello, port=port):
            for at in range(5):
                c.hello(at)
            log = call_log(c, last)
            assert [row["arguments"] for row in log] == ["0", "1", "2", "3", "4"]
            assert {row["run"] for row in log} != {last["run"]}


def test_nonsense_is_refused_and_costs_nobody_anything() -> None:
    with served(hello) as server, Client(address=HOST, port=server.port) as c:
        each: list[dict[str, Any]] = [
            {"after": -1},
            {"after": "1"},
            {"after": [1]},
            {"run": {}},
            {"run": "x" * 1_000},
        ]
        for wrong in each:
            with pytest.raises(CallError, match=next(iter(wrong))):
                caller_of(c).ask("log", **wrong)
        with pytest.raises(TypeError, match="no client"):
            call_log("lab1")
        assert c.hello() == "Hello world!"


def test_a_stdout_that_nobody_reads_stops_no_call() -> None:
    program = f"""
import sys
from snyper import Server
def hello(name): return name
Server(hello, address={HOST!r}, port=int(sys.argv[1])).run()
"""
    port = free_port()
    command = [sys.executable, "-c", program, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            with Client(address=HOST, port=port) as c, deadline(60):
                for at in range(1_500):  # with a line of 50 bytes each a pipe would be full
                    c.hello(at)
                assert call_log(c, 1_499)[0]["arguments"] == "1499"
        finally:
            process.kill()


async def test_the_command_shows_it() -> None:
    with served(Powermeter(), hello) as server, Client(address=HOST, port=server.port) as c:
        c.set_range(3)
        c.hello("µ")
        address = f"{HOST}:{server.port}"
        status, out, err = await run_snyper("log", address)
        assert (status, err) == (0, "")
        first, second = out.splitlines()
        assert first.endswith(" s  returned")
        assert f"({HOST})  set_range(3)  " in first
        assert "  hello('µ')  " in second
        status, out, err = await run_snyper("log", address, "--json")
        assert (status, err) == (0, "")
        rows = [json.loads(line) for line in out.splitlines()]
        assert [row["name"] for row in rows] == ["set_range", "hello"]
        assert datetime.fromisoformat(rows[0]["at"]).tzinfo is not None


async def test_the_command_follows_it_over_a_restart_until_ctrl_c() -> None:
    port = free_port()
    address = f"{HOST}:{port}"
    with ExitStack() as first, ExitStack() as then, Client(address=HOST, port=port) as c:
        first.enter_context(served(hello, port=port))
        c.hello("first")
        async with snyper("log", address, "--follow") as command:
            await command.says("hello('first')")
            c.hello("second")
            await command.says("hello('second')")
            first.close()
            await command.says("it is waited for")
            then.enter_context(served(hello, port=port))
            c.hello("third")
            await command.says("hello('third')")
            assert "started anew: its log begins again" in command.err
            assert await command.interrupt() == 0


async def test_the_command_ends_with_the_reader_of_its_pipe() -> None:
    with served(hello) as server, Client(address=HOST, port=server.port) as c:
        c.hello()
        command = f"{sys.executable} -m snyper.cli log {HOST}:{server.port} -f | head -n 1"
        process = await asyncio.create_subprocess_exec(
            *("bash", "-o", "pipefail", "-c", command), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert b"hello()" in out
        assert err == b""


async def test_no_server_is_said() -> None:
    for options in ((), ("-f",)):
        status, out, err = await run_snyper("log", f"{HOST}:{free_port()}", *options)
        assert (status, out) == (3, "")
        assert "no server answers" in err
