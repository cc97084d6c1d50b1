"""Where commands write: a stdout that is full, closed or read no more, a stderr, and lines in a pipe."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.harness import (
    DEADLINE_S,
    HOST,
    OBEDIENT,
    ROOT,
    HubUnderTest,
    console_of,
    free_port,
    linux_only,
    run_snyper,
    running_hub,
    scripted_target,
    snyper,
    until,
)

pytestmark = linux_only  # for /dev/full

FAILED, USAGE, NO_HUB, GONE = 1, 2, 3, 141
JSON_TOO = ("targets", "ping", "activate t", "game list")
COMMANDS = [  # each is tried with a stdout that fails in one way or another: what they write through is one
    *JSON_TOO,
    *(f"{command} --json" for command in JSON_TOO),
    *(
        "stand-up t",
        "lay-down t --json",
        "identify t",
        "game list quick",
        "game start gallery --no-wait --json",
        "game scores --json",
        "game stop --json",
    ),
    *("history", "history --json", "stats", "stats --json", "export --csv", "export --json"),
    *("--help", "watch --help", "game --help"),
]
SERVERS = (  # and what says something on stderr before
    "boards --no-ask --json",
    "hub --listen 127.0.0.1:0 --no-journal --json",
    "simulate --engine cpython --json",
)


async def redirected(command: str, redirection: str, hub: str = "", **environment: str) -> tuple[int, str]:
    """The exit status and stderr of `snyper COMMAND REDIRECTION`, as a shell runs it."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'exec "$0" -m snyper.cli {command} {redirection}', sys.executable),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "SNYPER_HUB": hub, **environment},
        cwd=ROOT,
    )
    async with asyncio.timeout(60.0):
        _, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, err.decode()


async def unread(command: str, hub: str = "", **environment: str) -> tuple[int, str]:
    """The exit status and stderr of `snyper COMMAND` with a pipe for stdout whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "snyper.cli", *command.split()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writer,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "SNYPER_HUB": hub, **environment},
            cwd=ROOT,
        )
    finally:
        os.close(writer)
    async with asyncio.timeout(60.0):
        _, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, err.decode()


@asynccontextmanager
async def busy_hub(directory: Path) -> AsyncIterator[HubUnderTest]:
    """With a target `t`, and space for every command."""
    async with running_hub("cpython", directory, 4, 8) as hub, scripted_target(hub, "t", OBEDIENT):
        yield hub


@pytest.fixture
async def journal(tmp_path: Path) -> str:
    """A hub's journal with an event in it."""
    path = tmp_path / "journal.sqlite3"
    listening = snyper("hub", "--listen", f"{HOST}:0", "--journal", str(path), "--json")
    async with listening as command:
        await until(lambda: command.out, "the hub should listen")
        hub = HubUnderTest(int(json.loads(command.out)["listen"].rpartition(":")[2]))
        async with scripted_target(hub, "t") as target, console_of(hub) as console:
            await console.ask("start_game", "all", game="gallery", players=["Ann"])
            await console.ask("stop_game")
            await target.ask("miss", "t")
        await command.interrupt()
    return str(path)


@pytest.mark.slow
async def test_a_full_stdout_is_named(journal: str, tmp_path: Path) -> None:
    async with busy_hub(tmp_path) as hub:
        for command in COMMANDS[::2]:
            said = await redirected(command, "> /dev/full", hub.address, SNYPER_JOURNAL=journal)
            words = "snyper: stdout cannot be written: No space left on device"
            assert (said[0], said[1].splitlines()[-1:]) == (FAILED, [words]), command
            assert said[1].count("stdout") == 1, command
            assert "Traceback" not in said[1], command


@pytest.mark.slow
async def test_a_stdout_that_has_gone_ends_a_command_silently(journal: str, tmp_path: Path) -> None:
    async with busy_hub(tmp_path) as hub:
        for command in COMMANDS[1::2]:
            status, err = await unread(command, hub.address, SNYPER_JOURNAL=journal)
            assert (status, err) == (GONE, ""), command
        for command in COMMANDS[::4]:
            status, err = await redirected(command, ">&-", hub.address, SNYPER_JOURNAL=journal)
            assert (status, err) == (GONE, ""), command


async def test_a_hub_and_a_simulation_too(tmp_path: Path) -> None:
    for command in SERVERS:
        status, err = await redirected(command, "> /dev/full", f"{HOST}:{free_port()}")
        assert (status, "stdout cannot be written" in err) == (FAILED, True), command
        assert "Traceback" not in err
        status, err = await unread(command, f"{HOST}:{free_port()}")
        assert (status, "Traceback" in err) == (GONE, False), command


async def test_events_into_what_takes_none(tmp_path: Path) -> None:
    async with busy_hub(tmp_path) as hub:
        for command in ("watch", "watch --json", "game watch", "game watch --json"):
            assert hub.hub is not None
            consoles = hub.hub.router.registry.others
            watching = asyncio.create_task(redirected(command, "> /dev/full", hub.address))
            await until(lambda now=consoles: len(now) == 1, "it should register")  # type: ignore[misc]
            async with console_of(hub) as console, asyncio.timeout(DEADLINE_S):
                while not watching.done():
                    await console.ask("start_game", "all", game="gallery", players=["Ann"])
                    await console.ask("stop_game")
                    await asyncio.sleep(0.05)
            status, err = await watching
            assert (status, err.count("stdout cannot be written")) == (FAILED, 1), err
            assert "Traceback" not in err
            await until(lambda now=consoles: not now, "it should be gone")  # type: ignore[misc]


@pytest.mark.parametrize("command", ["watch", "watch --json", "game watch"])
async def test_a_reader_that_leaves_is_noticed_without_an_event(command: str, tmp_path: Path) -> None:
    async with busy_hub(tmp_path) as hub:
        assert await unread(command, hub.address) == (GONE, "")


async def test_head_takes_one_line_and_the_rest_is_silence(tmp_path: Path) -> None:
    async with busy_hub(tmp_path) as hub, AsyncExitStack() as stack:
        assert hub.hub is not None
        subscriptions = hub.hub.router.events._published._waiters
        reading = asyncio.create_task(redirected("watch --json", "| head -n 1 >&2", hub.address))
        await until(lambda: subscriptions, "it should subscribe")
        await stack.enter_async_context(scripted_target(hub, "new"))
        status, err = await asyncio.wait_for(reading, DEADLINE_S)
        assert status == 0  # head's
        [line] = err.splitlines()
        assert json.loads(line)["event"] == "registered"


@pytest.mark.slow
async def test_what_stderr_does_not_take_changes_nothing(tmp_path: Path) -> None:
    async with busy_hub(tmp_path) as hub:
        for redirection in ("2> /dev/full", "2>&-", "2>&- >&- <&-"):
            expected = 0 if ">&- <" not in redirection else GONE
            assert (await redirected("ping t", redirection, hub.address))[0] == expected
            assert (await redirected("ping nobody", redirection, hub.address))[0] == FAILED
            assert (await redirected("targets", redirection, f"{HOST}:{free_port()}"))[0] == NO_HUB
            assert (await redirected("dance", redirection))[0] == USAGE
        assert (await redirected("calibrate t", "<&-", hub.address))[0] == USAGE  # nobody to be asked


@pytest.mark.slow
async def test_a_stdout_that_is_told_not_to_block(tmp_path: Path) -> None:
    """By another program that has the same pipe: what does not fit now goes out when there is space."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    journal = tmp_path / "journal.sqlite3"
    limit = ("--limit", "events_at_once=2000")
    async with snyper("hub", "--listen", f"{HOST}:0", "--journal", str(journal), "--json", *limit) as hub:
        await until(lambda: hub.out, "the hub should listen")
        under_test = HubUnderTest(int(json.loads(hub.out)["listen"].rpartition(":")[2]))
        async with scripted_target(under_test, "t") as target:
            for number in range(1_500):
                await target.ask("miss", "t", reason="r" * 40, n=number)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "snyper.cli", "export", "--json", "--journal", str(journal)),
        stdout=writer,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    os.close(writer)
    with open(reader, "rb") as pipe:  # noqa: ASYNC230, PTH123
        loop = asyncio.get_running_loop()
        lines = (await asyncio.wait_for(loop.run_in_executor(None, pipe.read), DEADLINE_S)).splitlines()
    assert await process.wait() == 0
    assert len([line for line in lines if json.loads(line)["event"] == "miss"]) == 1_500


# --- lines


PLAYERS = [f"{letter} player with a rather long name"[:24] for letter in "ABCD"]


@pytest.mark.parametrize("columns", ["20", "80"])
@pytest.mark.parametrize("command", ["watch", "game watch"])
async def test_an_event_is_a_line_however_long_it_is(command: str, columns: str, tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path, 4, 8) as hub, scripted_target(hub, "t"):
        watching = snyper(*command.split(), "--hub", hub.address, COLUMNS=columns)
        async with watching as watch, console_of(hub) as console:
            assert hub.hub is not None
            links = hub.hub.router.registry.others
            await until(lambda: len(links) == 2, "it should register")
            async with asyncio.timeout(DEADLINE_S):
                while "game_started" not in watch.out:
                    await console.ask("start_game", "all", game="gallery", players=PLAYERS)
                    await console.ask("stop_game")
            await watch.interrupt()
        [line, *_] = [line for line in watch.out.splitlines() if "game_started" in line]
        assert line.endswith(f"gallery with {', '.join(PLAYERS)}")


async def test_a_word_with_ends_of_lines_in_it_is_one_line_too(tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path, 4, 8) as hub:
        async with snyper("watch", "--hub", hub.address) as watch, scripted_target(hub, "t") as target:
            async with asyncio.timeout(DEADLINE_S):
                while "miss" not in watch.out:
                    await target.ask("miss", "t", reason="one\ntwo\r\nthree\u2028four")
            await watch.interrupt()
        [line, *_] = [line for line in watch.out.splitlines() if "miss" in line]
        assert line.endswith("one two three four")


@pytest.mark.parametrize("columns", ["20", "80"])
async def test_a_row_is_a_line(columns: str, tmp_path: Path) -> None:
    groups = [f"a-group-with-a-long-name-{number}" for number in range(8)]
    async with running_hub("cpython", tmp_path, 4, 8) as hub:
        target = scripted_target(hub, "a-target-with-a-long-name", groups=groups, state="down")
        async with target:
            status, out, _ = await run_snyper("targets", "--hub", hub.address, COLUMNS=columns)
            assert status == 0
            [row] = [line for line in out.splitlines() if "a-target" in line]
            assert all(word in row for word in ("a-target-with-a-long-name", "down", *groups))
            for command in ("game list", "game list quick"):
                _, wide, _ = await run_snyper(*command.split(), "--hub", hub.address, COLUMNS="1000")
                _, out, _ = await run_snyper(*command.split(), "--hub", hub.address, COLUMNS=columns)
                assert out == wide
            assert max(len(line) for line in out.splitlines()) < 1_000
