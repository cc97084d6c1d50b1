"""The `snyper` command as people run it: exit statuses, what it says and where, and its end by Ctrl-C."""

import asyncio
import itertools
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from snyper.cli.help_page import PANELS
from snyper.cli.main import app_with
from snyper.client import connect
from tests.integration.harness import (
    DEADLINE_S,
    HOST,
    OBEDIENT,
    Command,
    HubUnderTest,
    console_of,
    each_engine,
    free_port,
    is_alive,
    left_in,
    linux_only,
    mortal_hub,
    needs_micropython,
    processes_with,
    run_snyper,
    running_hub,
    scripted_target,
    snyper,
    until,
    virtual_target,
)

FAILED = 1
USAGE = 2
NO_HUB = 3
DISOBEDIENT = {**OBEDIENT, "stand_up": ("error", "error")}


@asynccontextmanager
async def hub_with_targets(directory: Path) -> AsyncIterator[HubUnderTest]:
    """`good_1` and `good_2` in the group `front`, and `odd`, which stands up for nobody."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("cpython", directory, 8, 8))
        for name, answers, groups in (
            ("good_1", OBEDIENT, ["front"]),
            ("good_2", OBEDIENT, ["front"]),
            ("odd", DISOBEDIENT, []),
        ):
            await stack.enter_async_context(
                scripted_target(hub, name, answers, groups=groups, state="down", firmware="7.7")
            )
        yield hub


def only_document(out: str) -> Any:
    """stdout is one JSON document on one line, and nothing else."""
    assert out.count("\n") == 1
    assert out.endswith("\n")
    return json.loads(out)


def documents(out: str) -> list[Any]:
    """stdout is JSON, a document a line."""
    return [json.loads(line) for line in out.splitlines()]


# --- commands


async def test_targets(tmp_path: Path) -> None:
    async with hub_with_targets(tmp_path) as hub:
        status, out, err = await run_snyper("targets", "--hub", hub.address)
        assert (status, err) == (0, "")
        for word in ("good_1", "good_2", "odd", "front", "7.7"):
            assert word in out
        status, out, err = await run_snyper("targets", "--json", "--hub", hub.address)
        assert (status, err) == (0, "")
        found = only_document(out)
        assert [target["target_id"] for target in found] == ["good_1", "good_2", "odd"]
        assert found[0]["groups"] == ["front"]
        assert found[0]["connected"] is True
        assert set(found[0]) == {
            *("target_id", "connected", "state", "groups", "firmware", "seen_ms_ago", "round_trip_us"),
            *("uptime_ms", "dropped", "uncertainty_us", "heap_free_bytes", "rests_at", "last_error"),
        }


async def test_a_targets_words_do_nothing_to_the_terminal(tmp_path: Path) -> None:
    escape = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\u2066\u200b"
    async with running_hub("cpython", tmp_path, max_consoles=2) as hub:
        target = scripted_target(hub, "bad", {"ping": ("error", "error")}, firmware=escape, state=escape)
        async with target, snyper("watch", "--hub", hub.address) as watch:
            for command in (["targets"], ["targets", "--json"], ["ping", "bad"]):
                _, out, err = await run_snyper(*command, "--hub", hub.address)
                assert "31m" in out or command == ["ping", "bad"]
                assert not set("\x1b\x07\x9b\u202e\u2066\u200b") & set(out + err), command
            await watch.interrupt()
            assert not set("\x1b\x07\x9b") & set(watch.out + watch.err)


async def test_a_hub_without_targets(tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path) as hub:
        status, out, err = await run_snyper("targets", "--hub", hub.address)
        assert (status, out) == (0, " ARMED \n")
        assert "no target" in err
        status, out, _ = await run_snyper("targets", "--json", "--hub", hub.address)
        assert (status, only_document(out)) == (0, [])
        status, out, err = await run_snyper("ping", "--hub", hub.address)
        assert (status, out) == (FAILED, "")
        assert "snyper targets" in err


@pytest.mark.parametrize(
    ("arguments", "shown", "word"),
    [
        (("ping",), "alive", "alive"),
        (("ping", "all"), "alive", "alive"),
        (("stand-up", "group:front"), " up ", "standing"),
        (("stand-up", "good_1"), " up ", "standing"),
        (("lay-down", "all"), "down", "down"),
        (("activate", "group:front", "--duration", "0.5"), "armed", "activated"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_commands_that_go_well(
    arguments: tuple[str, ...], shown: str, word: str, tmp_path: Path
) -> None:
    names = {"all": ["good_1", "good_2", "odd"], "group:front": ["good_1", "good_2"], "good_1": ["good_1"]}
    meant = names[arguments[1] if len(arguments) > 1 else "all"]
    async with hub_with_targets(tmp_path) as hub:
        status, out, err = await run_snyper(*arguments, "--hub", hub.address)
        assert (status, err) == (0, "")
        assert out.count(shown) == len(meant)
        assert all(name in out for name in meant)
        status, out, err = await run_snyper(*arguments, "--json", "--hub", hub.address)
        assert (status, err) == (0, "")
        results = only_document(out)
        assert [result["target_id"] for result in results] == meant
        assert all((result["ok"], result["status"]) == (True, word) for result in results)
        assert all(result["round_trip_us"] > 0 for result in results)


async def test_a_target_that_fails(tmp_path: Path) -> None:
    async with hub_with_targets(tmp_path) as hub:
        for selector, oks in (("odd", [False]), ("all", [True, True, False])):
            status, out, _ = await run_snyper("stand-up", selector, "--json", "--hub", hub.address)
            assert status == FAILED
            assert [result["ok"] for result in only_document(out)] == oks
        status, out, _ = await run_snyper("stand-up", "all", "--hub", hub.address)
        assert status == FAILED
        assert out.count(" up ") == 2
        assert "error" in out


# --- several targets at once


@pytest.mark.parametrize(
    ("selectors", "names"),
    [
        (("good_1", "odd"), ["good_1", "odd"]),
        (("good_2", "good_1", "good_2"), ["good_1", "good_2"]),
        (("group:front", "good_1", "odd"), ["good_1", "good_2", "odd"]),
        (("good_1", "all"), ["good_1", "good_2", "odd"]),
        (("group:front", "group:front"), ["good_1", "good_2"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_each_of_several_targets_is_told_once(
    selectors: tuple[str, ...], names: list[str], tmp_path: Path
) -> None:
    async with hub_with_targets(tmp_path) as hub:
        status, out, err = await run_snyper("lay-down", *selectors, "--json", "--hub", hub.address)
        assert (status, err) == (0, "")
        assert [result["target_id"] for result in only_document(out)] == names


async def test_one_of_several_targets_fails(tmp_path: Path) -> None:
    async with hub_with_targets(tmp_path) as hub:
        for others, oks in (
            (("odd",), [True, False]),
            (("nobody",), [True, False]),
            (("group:nobody", "good_2"), [True, True, False]),
        ):
            told = ("stand-up", "good_1", *others)
            status, out, _ = await run_snyper(*told, "--json", "--hub", hub.address)
            assert status == FAILED
            assert sorted([result["ok"] for result in only_document(out)], reverse=True) == oks
        status, out, _ = await run_snyper("stand-up", "good_1", "nobody", "--hub", hub.address)
        assert status == FAILED
        assert "unknown_target" in out
        status, out, err = await run_snyper("stand-up", "good_1", "a/b", "--hub", hub.address)
        assert (status, out) == (USAGE, "")
        assert "a/b is no target's name" in err


async def test_many_targets_begin_at_one_instant(tmp_path: Path) -> None:
    """More than a hub has requests of one console under way."""
    names = [f"t{number}" for number in range(20)]
    async with running_hub("cpython", tmp_path, 32, 8) as hub, AsyncExitStack() as stack:
        targets = [
            await stack.enter_async_context(scripted_target(hub, name, groups=["odd"] if number % 2 else []))
            for number, name in enumerate(names)
        ]
        for selectors in (names, ["group:odd", *names[::2]]):
            told = ("stand-up", *selectors, "--in", "0.5", "--json", "--hub", hub.address)
            status, out, err = await run_snyper(*told)
            assert (status, err) == (0, "")
            assert sorted(result["target_id"] for result in only_document(out)) == sorted(names)
            requests = [await target.expect("stand_up") for target in targets]
            assert len({request["data"]["at_us"] for request in requests}) == 1


async def test_a_timeout(tmp_path: Path) -> None:
    async with hub_with_targets(tmp_path) as hub, scripted_target(hub, "slow", {}):
        status, out, _ = await run_snyper(
            "stand-up", "slow", "--timeout", "0.3", "--json", "--hub", hub.address
        )
        assert status == FAILED
        (result,) = only_document(out)
        assert (result["status"], result["code"]) == ("unknown", "timeout")
        assert 300_000 <= result["round_trip_us"] < 1_500_000
        status, out, _ = await run_snyper("ping", "slow", "--timeout", "0.2", "--hub", hub.address)
        assert status == FAILED
        assert "unknown: timeout" in out


async def test_an_empty_log_is_said(tmp_path: Path) -> None:
    async with (
        running_hub("cpython", tmp_path) as hub,
        scripted_target(hub, "a") as target,
        snyper("logs", "--target", "a", "--hub", hub.address) as command,
    ):
        request = await target.expect("read_log")
        empty = {"text": "", "next": None}
        await target.send({"type": "log", "id": request["id"], "status": "ok", "data": empty})
        assert (await command.wait(), command.out) == (0, "")
        assert "a: its log is empty" in command.err


async def test_the_hub_comes_from_the_environment(tmp_path: Path) -> None:
    async with hub_with_targets(tmp_path) as hub:
        status, out, _ = await run_snyper("ping", "good_1", "--json", SNYPER_HUB=hub.address)
        assert status == 0
        assert only_document(out)[0]["ok"]
        dead = f"{HOST}:{free_port()}"
        status, _, err = await run_snyper("ping", "--hub", dead, SNYPER_HUB=hub.address)
        assert (status, dead in err) == (NO_HUB, True)  # what is typed goes first


@pytest.mark.slow
async def test_a_key_out_of_a_file(tmp_path: Path) -> None:
    """What an editor puts around it is no part of it."""
    address = f"{HOST}:{free_port()}"
    async with snyper("hub", "--listen", address, SNYPER_KEY="\ufeffa key\r\n") as hub:
        await hub.says("Ctrl-C stops it")
        for key, expected in (("a key", 0), ("a key\n", 0), ("a key ", FAILED), ("\udce4", FAILED)):
            status, _, err = await run_snyper("targets", "--hub", address, SNYPER_KEY=key)
            assert status == expected, err
        assert "SNYPER_KEY is not UTF-8" in err


async def test_an_unknown_target(tmp_path: Path) -> None:
    async with hub_with_targets(tmp_path) as hub:
        for selector in ("nobody", "group:nobody"):
            status, out, err = await run_snyper("stand-up", selector, "--json", "--hub", hub.address)
            assert (status, out) == (FAILED, "")
            assert selector in err
            assert "snyper targets" in err


@pytest.mark.parametrize("command", ["targets", "ping", "stand-up all", "watch"])
async def test_no_hub_there(command: str) -> None:
    address = f"{HOST}:{free_port()}"
    status, out, err = await run_snyper(*command.split(), "--json", "--hub", address)
    assert (status, out) == (NO_HUB, "")
    assert address in err
    assert "`snyper hub`" in err
    assert "make " not in err
    assert "--hub" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        "ping --hub 127.0.0.1:port",
        "ping --hub 127.0.0.1:70000",
        "watch --hub ::1",
        "hub --listen nowhere:x",
        "simulate --hub a:b",
        "simulate --targets 0",
        "simulate --engine jython",
        "stand-up",
        "stand-up all --timeout 0",
        "activate all --duration 0",
        "stand-up a/b",
        "dance",
    ],
)
async def test_wrong_usage(arguments: str) -> None:
    status, out, err = await run_snyper(*arguments.split())
    assert (status, out) == (USAGE, "")
    assert "Usage" in err
    assert "Traceback" not in err


async def test_a_bad_address_in_the_environment() -> None:
    status, out, err = await run_snyper("targets", SNYPER_HUB="127.0.0.1:x")
    assert (status, out) == (USAGE, "")
    assert "127.0.0.1:x" in err


@pytest.mark.parametrize("taken", ["the console's place", "every place"])
async def test_a_hub_that_is_full(taken: str, tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path, 1, 1) as hub, console_of(hub), AsyncExitStack() as stack:
        if taken == "every place":
            await stack.enter_async_context(scripted_target(hub, "a"))
        status, out, err = await run_snyper("targets", "--hub", hub.address)
        assert (status, out) == (FAILED, "")
        assert "busy" in err


async def test_the_hub_is_lost_meanwhile(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("cpython", tmp_path))
        target = await stack.enter_async_context(scripted_target(hub, "slow", {}))
        command = await stack.enter_async_context(
            snyper("stand-up", "slow", "--timeout", "60", "--hub", hub.address)
        )
        await target.expect("stand_up")
        assert hub.hub is not None
        await hub.hub.shut_down()
        assert await command.wait() == NO_HUB
        assert "lost" in command.err
        assert "Traceback" not in command.err


async def test_ctrl_c_on_a_command(tmp_path: Path) -> None:
    async with (
        hub_with_targets(tmp_path) as hub,
        scripted_target(hub, "slow", {}) as target,
        snyper("stand-up", "slow", "--timeout", "60", "--hub", hub.address) as command,
    ):
        await target.expect("stand_up")
        assert await command.interrupt() == 130
        assert "Traceback" not in command.err


async def interrupted_by_itself(modules: Path, **files: str) -> tuple[int | None, str]:
    """Run `snyper --version` with modules of a test before all others; return its status and its stderr."""
    for name, source in files.items():
        (modules / f"{name}.py").write_text(source)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "snyper.cli", "--version"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(modules)},
    )
    _, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, err.decode()


@linux_only
async def test_ctrl_c_while_a_command_loads_or_ends(tmp_path: Path) -> None:
    """No traceback from an import, nor from what the interpreter does at its end."""
    interrupt = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    assert await interrupted_by_itself(tmp_path, typer=interrupt) == (-signal.SIGINT, "")
    (tmp_path / "typer.py").unlink()
    at_its_end = (
        "import atexit, os, signal; atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT) or print())"
    )
    assert await interrupted_by_itself(tmp_path, sitecustomize=at_its_end) == (-signal.SIGINT, "")


async def test_the_command_starts_by_its_light_module() -> None:
    [snyper_here] = entry_points(group="console_scripts", name="snyper")
    assert snyper_here.value == "snyper.cli.__main__:main"


# --- watch


@each_engine
async def test_watch(engine: str, tmp_path: Path) -> None:
    async with running_hub(engine, tmp_path) as hub:
        for form in ("--json", "lines"):
            arguments = ["watch", "--hub", hub.address, *(["--json"] if form == "--json" else [])]
            async with snyper(*arguments) as command, AsyncExitStack() as stack:
                await until_watching(command, hub)
                target = await stack.enter_async_context(scripted_target(hub, "a", boot_id=form))
                await command.says("registered")
                await target.send({"type": "hit", "id": 1, "data": {"peak": 7, "reaction_ms": 321}})
                await command.says("321")
                await target.close()
                await until(
                    lambda: "lost" in command.out.rpartition("321")[2], f"it should say lost: {command.out}"
                )
                assert await command.interrupt() == 0
                assert "Traceback" not in command.err
                if form == "--json":
                    events = [event for event in documents(command.out) if event["target_id"] == "a"]
                    assert [event["event"] for event in events] == ["registered", "hit", "lost"]
                    assert events[1]["data"] == {"peak": 7, "reaction_ms": 321}
                    seqs = [event["seq"] for event in events]
                    assert seqs == sorted(set(seqs))
                else:
                    lines = command.out.splitlines()
                    assert any(" hit " in line and "321" in line for line in lines)


async def until_watching(command: Command, hub: HubUnderTest) -> None:
    """Makes events until the first of them is shown: from then on none is missed."""
    numbers = itertools.count()  # one name alone would cause more than one may

    async def is_seen() -> bool:
        async with scripted_target(hub, f"knock{next(numbers)}"):
            pass
        return "knock" in command.out

    await until(is_seen, "it should show who comes")


async def test_watch_for_a_while(tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path) as hub:
        status, out, _ = await run_snyper("watch", "--json", "--timeout", "3", "--hub", hub.address)
        assert (status, out) == (0, "")


async def until_a_game_is_shown(command: Command, hub: HubUnderTest) -> None:
    """Play games until the first of them is shown: from then on none is missed."""
    async with scripted_target(hub, "t", OBEDIENT), console_of(hub) as console:
        async with asyncio.timeout(DEADLINE_S):
            while '"game_started"' not in command.out:
                await console.ask("start_game", "all", game="quick", players=["Ann"])
                await console.ask("stop_game")


async def test_game_watch_outlives_its_hub(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(mortal_hub("cpython", tmp_path))
        address = hub.under_test.address
        command = await stack.enter_async_context(snyper("game", "watch", "--json", "--hub", address))
        for _ in range(2):
            await until_a_game_is_shown(command, hub.under_test)
            command.out = ""
            await hub.kill()
            await command.says(f"the hub at {address} is lost (")
            await hub.start()
            await command.says(f"the hub at {address} is back")
            command.err = ""
        assert await command.interrupt() == 0


async def test_game_watch_tells_that_a_game_went_with_its_hub(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(mortal_hub("cpython", tmp_path))
        async with scripted_target(hub.under_test, "t1"), console_of(hub.under_test) as console:
            assert (await console.ask("start_game", game="quick"))["status"] == "running"
            command = await stack.enter_async_context(
                snyper("game", "watch", "--hub", hub.under_test.address)
            )
            await command.says("Player 1")
            await hub.kill()
        await hub.start()
        await command.says("the game ended with the hub, which has started anew")
        assert await command.interrupt() == 0


@each_engine
async def test_watch_outlives_its_hub(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(mortal_hub(engine, tmp_path))
        address = hub.under_test.address
        command = await stack.enter_async_context(snyper("watch", "--json", "--hub", address))
        await until_watching(command, hub.under_test)
        await hub.kill()
        await command.says(f"the hub at {address} is lost (")
        await hub.start()
        await command.says(f"the hub at {address} is back")
        async with scripted_target(hub.under_test, "after"):
            await command.says('"after"')
        assert await command.interrupt() == 0
        assert "counts its events anew" in command.err


# --- hub and simulate


@each_engine
async def test_hub_until_ctrl_c(engine: str, tmp_path: Path) -> None:
    address = f"{HOST}:{free_port()}"
    async with snyper(
        "hub", "--engine", engine, "--listen", address, "--json", TMPDIR=str(tmp_path)
    ) as command:
        await command.says("Ctrl-C stops it")
        said = {"status": "listening", "listen": address, "engine": engine, "open": False}
        assert only_document(command.out) == said
        status, out, _ = await run_snyper("targets", "--json", "--hub", address)
        assert (status, only_document(out)) == (0, [])
        async with virtual_target("cpython", tmp_path / "target", address):
            await command.says("target_1")
            status, out, _ = await run_snyper("stand-up", "target_1", "--json", "--hub", address)
            assert (status, only_document(out)[0]["status"]) == (0, "standing")
        assert await command.interrupt() == 0
        assert "Traceback" not in command.err
        assert len(command.out.splitlines()) == 1
    assert left_in(tmp_path) == []
    assert processes_with(str(tmp_path)) == []


@linux_only
@each_engine
@pytest.mark.parametrize("ignored", [False, True])
async def test_sigterm_ends_a_hub_as_ctrl_c_does(engine: str, ignored: bool, tmp_path: Path) -> None:
    """Also where Ctrl-C is ignored, as in what a shell script starts with `&`."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if ignored else None
    try:
        starting = snyper(
            *("hub", "--engine", engine, "--listen", f"{HOST}:{free_port()}"), TMPDIR=str(tmp_path)
        )
        async with starting as command:
            if before is not None:
                signal.signal(signal.SIGINT, before)
            await command.says("Ctrl-C stops it")
            [address] = [line.split()[3][:-1] for line in command.err.splitlines() if "Ctrl-C" in line]
            async with connect(address), virtual_target("cpython", tmp_path / "target", address):
                await command.says("target_1")
                assert await command.interrupt(signal.SIGTERM) == 0
            assert "Error" not in command.err
            assert "Traceback" not in command.err
            assert command.err.splitlines()[-1] == "stopped"
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
    assert left_in(tmp_path) == []


@each_engine
async def test_a_port_in_use(engine: str, tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path) as hub:
        status, out, err = await run_snyper(
            "hub", "--engine", engine, "--listen", hub.address, "--json", TMPDIR=str(tmp_path)
        )
        assert (status, out) == (FAILED, "")
        assert hub.address in err
        assert "--listen" in err
    assert left_in(tmp_path) == []


@linux_only
@each_engine
async def test_simulate_until_ctrl_c(engine: str, tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path) as hub, console_of(hub) as console:
        async with snyper(
            *("simulate", "--engine", engine, "--targets", "2", "--hit-rate", "1", "--json"),
            *("--hub", hub.address),
            TMPDIR=str(tmp_path),
        ) as command:
            assert hub.hub is not None
            registry = hub.hub.router.registry
            await until(lambda: len(registry.connected()) == 2, f"two should register: {command.err}")
            processes = processes_with(f"SNYPER_BOARD={tmp_path}")
            assert len(processes) == (2 if engine == "micropython" else 0)
            assert only_document(command.out) == {
                "targets": ["target_1", "target_2"],
                "hub": hub.address,
            }
            assert (await console.ask("ping", "all"))["data"] == {"ok": 2, "failed": 0}
            await console.ask("subscribe")
            assert (await console.ask("activate", "target_1"))["status"] == "activated"
            assert (await console.event("hit", "target_1"))["peak"] > 20_000  # somebody shoots
            assert await command.interrupt() == 0
            assert "Traceback" not in command.err
        await until(lambda: not registry.connected(), "they should be gone")
        assert not [pid for pid in processes if is_alive(pid)]
        assert left_in(tmp_path) == []


@needs_micropython
@linux_only
async def test_simulate_that_is_killed_leaves_no_board(tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path) as hub:
        async with snyper(
            *("simulate", "--engine", "micropython", "--targets", "2", "--hub", hub.address),
            TMPDIR=str(tmp_path),
        ) as command:
            assert hub.hub is not None
            registry = hub.hub.router.registry
            await until(lambda: len(registry.connected()) == 2, f"two should register: {command.err}")
            command.process.send_signal(signal.SIGKILL)
            await command.wait()
        await until(lambda: not processes_with(str(tmp_path)), "no board should outlive it")


async def test_no_micropython(tmp_path: Path) -> None:
    for arguments in (
        ("hub", "--engine", "micropython", "--listen", f"{HOST}:{free_port()}"),
        ("simulate", "--engine", "micropython"),
    ):
        status, out, err = await run_snyper(
            *arguments, MICROPYTHON=str(tmp_path / "nowhere"), TMPDIR=str(tmp_path)
        )
        assert (status, out) == (FAILED, "")
        assert f"MICROPYTHON={tmp_path / 'nowhere'}" in err
        assert "Traceback" not in err
    assert left_in(tmp_path) == []


def commands_of(group: TyperGroup) -> list[tuple[str, ...]]:
    """The words of each command of a group, and of those below it."""
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found.append((name,))
        if isinstance(command, TyperGroup):
            found += [(name, *words) for words in commands_of(command)]
    return found


async def test_help() -> None:
    for option in ("-h", "--help"):
        status, out, _ = await run_snyper(option)
        assert status == 0
        listed = [line.split()[0] for line in out.splitlines() if line.startswith("  ") and line[2] != " "]
        for panel, names in PANELS.items():
            assert f"{panel}:" in out
            assert all(listed.count(name) == 1 for name in names)
    status, _, err = await run_snyper()
    assert status in (0, USAGE)
    assert "Traceback" not in err


def test_every_command_is_in_one_panel() -> None:
    group = typer.main.get_command(app_with())
    assert isinstance(group, TyperGroup)
    assert sorted(name for names in PANELS.values() for name in names) == sorted(group.commands)


@pytest.mark.slow
def test_the_help_of_every_command() -> None:
    """`-h` shows it, in words and not in types, and it is for people who have no checkout."""
    group = typer.main.get_command(app_with())
    assert isinstance(group, TyperGroup)
    for words in commands_of(group):
        page = CliRunner().invoke(app_with(), [*words, "-h"])
        assert page.exit_code == 0, words
        assert page.output.startswith("Usage: "), words
        assert not re.search(r"range>|[A-Z] <[\w\[\]]+>|RANGE|make [a-z]+`", page.output), page.output
        if words == ("stand-up",):
            assert "[OPTIONS] {TARGET}...\n" in page.output


async def test_version() -> None:
    status, out, err = await run_snyper("--version")
    assert (status, out, err) == (0, f"snyper {version('snyper')}\n", "")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("snyper st", {"stand-up", "stats", "stream", "stubs"}),
        ("snyper stand-up --t", {"--timeout"}),
        ("snyper hub --engine ", {"micropython", "cpython"}),
        ("snyper game s", {"start", "stop", "scores"}),
    ],
)
async def test_completion(line: str, found: set[str]) -> None:
    words = line.split(" ")
    variables = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_SNYPER_COMPLETE": "complete_bash"}
    program = "import sys; sys.argv[0] = 'snyper'; from snyper.cli.main import main; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, env={**os.environ, **variables}
    )
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    assert set(out.decode().split()) == found


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
async def test_completion_is_installed(tmp_path: Path) -> None:
    """In a real shell, by what it is told, for the next one that starts."""
    snyper_here = Path(sys.executable).with_name("snyper")
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f"{snyper_here} --install-completion; true"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    assert b"bash completion installed" in out
    script = (
        "source ~/.bashrc; complete -p snyper; COMP_WORDS=(snyper lay); COMP_CWORD=1;"
        " _snyper_completion snyper; echo ${COMPREPLY[@]}"
    )
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", script),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(tmp_path), "PATH": f"{snyper_here.parent}:{os.environ['PATH']}"},
    )
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    assert out.decode().splitlines()[-1] == "lay-down", out
