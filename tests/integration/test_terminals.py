"""What a person sees on terminals of several kinds and sizes, each a real one."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.harness import (
    ROOT,
    console_of,
    linux_only,
    mortal_hub,
    running_hub,
    scripted_target,
    until,
)

pytestmark = linux_only

_MOVES = re.compile(r"\x1b\[\d*[ABCDHJKf]")  # of the cursor, and what erases
_ESCAPES = re.compile(r"\x1b\[[\d;?]*[a-zA-Z]")


class Terminal:
    """A terminal with `snyper` on it."""

    def __init__(self, process: asyncio.subprocess.Process, descriptor: int) -> None:
        self.process = process
        self.said = ""
        self._descriptor = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:  # the last process on it has ended
            data = b""
        self.said += data.decode()
        if not data:
            asyncio.get_running_loop().remove_reader(self._descriptor)

    @property
    def text(self) -> str:
        """What it has said, without colours and moves."""
        return _ESCAPES.sub("", self.said)

    async def shows(self, text: str) -> None:
        await until(
            lambda: text in self.text or self.process.returncode is not None, f"it should show {text!r}"
        )
        assert text in self.text, self.text


@asynccontextmanager
async def terminal(columns: int, rows: int, *arguments: str, **environment: str) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    variables = {**os.environ, "TERM": "xterm-256color", **environment}
    for name in ("COLUMNS", "LINES", "SNYPER_HUB", "NO_COLOR", "CI", "FORCE_COLOR"):
        if name not in environment:
            variables.pop(name, None)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "snyper.cli", *arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=variables,
        cwd=ROOT,
    )
    os.close(theirs)
    seen = Terminal(process, ours)
    try:
        yield seen
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (50, 20), (40, 10), (20, 10)])
@pytest.mark.parametrize("color", [{}, {"NO_COLOR": "1"}], ids=["colours", "no colours"])
async def test_watch_draws(columns: int, rows: int, color: dict[str, str], tmp_path: Path) -> None:
    async with (
        running_hub("cpython", tmp_path, max_consoles=2) as hub,
        scripted_target(hub, "target_1", state="standing") as target,
        terminal(columns, rows, "watch", "--hub", hub.address, **color) as watch,
    ):
        await watch.shows("target_1")
        assert re.search(r"target_1 +up\b", watch.text), watch.text
        await target.send({"type": "hit", "id": 1, "data": {"peak": 7, "reaction_ms": 321}})
        await watch.shows(" hit ")
        assert _MOVES.search(watch.said)


async def test_watch_draws_that_its_hub_is_lost_and_back(tmp_path: Path) -> None:
    async with (
        mortal_hub("cpython", tmp_path) as hub,
        terminal(80, 24, "watch", "--hub", hub.under_test.address) as watch,
    ):
        async with scripted_target(hub.under_test, "before"):
            await watch.shows("before")
        await hub.kill()
        await watch.shows("no hub: ")
        await hub.start()
        async with scripted_target(hub.under_test, "after"):
            await watch.shows("after")
            await watch.shows("1 of 1 target")


@pytest.mark.parametrize("rows", [24, 10])
async def test_game_watch_shows_every_player(rows: int, tmp_path: Path) -> None:
    players = [f"Player {number}" for number in range(1, 9)]
    async with (
        running_hub("cpython", tmp_path, max_consoles=2) as hub,
        console_of(hub) as console,
        scripted_target(hub, "target_1"),
    ):
        await console.ask("start_game", "all", game="quick", players=players)
        async with terminal(80, rows, "game", "watch", "--hub", hub.address) as watch:
            await watch.shows("Player 1")
            await watch.shows("Player 8")
            assert ("╭" in watch.text) == (rows == 24)


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": "unknown"}, {"CI": "true"}], ids=str)
@pytest.mark.parametrize("command", ["watch", "game watch"])
async def test_lines_as_they_happen(command: str, environment: dict[str, str], tmp_path: Path) -> None:
    async with (
        running_hub("cpython", tmp_path, max_consoles=2) as hub,
        console_of(hub) as console,
        scripted_target(hub, "target_1"),
        terminal(80, 24, *command.split(), "--hub", hub.address, **environment) as watch,
    ):
        assert hub.hub is not None
        consoles = hub.hub.router.registry.others
        await until(lambda: len(consoles) == 2, "it should register")
        await console.ask("get_game")
        for _ in range(200):  # until it listens
            await console.ask("start_game", "all", game="quick", players=["Ann"])
            await console.ask("stop_game")
            if "game_over" in watch.said.partition("game_started")[2]:
                break
            await asyncio.sleep(0.05)
        assert "game_started" in watch.said
        assert watch.process.returncode is None
        assert not _MOVES.search(watch.said), watch.said


async def test_a_command_on_a_narrow_terminal(tmp_path: Path) -> None:
    async with (
        running_hub("cpython", tmp_path, max_consoles=2) as hub,
        scripted_target(hub, "target_1"),
        terminal(20, 10, "stand-up", "target_1", "nobody", "--hub", hub.address) as command,
    ):
        await command.shows("nobody")
        assert await asyncio.wait_for(command.process.wait(), 10) == 1
        await until(lambda: re.search(r"target_1 +up\b", command.text), f"it should be up: {command.text}")
        assert "…" not in command.text
