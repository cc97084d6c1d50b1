"""Marks that a person makes at a terminal, which is as it was at every end."""

import asyncio
import os
import signal
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from snyper.recordings import open_recording
from tests.integration.harness import DEADLINE_S, HOST, until
from tests.integration.stream_harness import Counter, console, counter_of, source_of, stream_hub
from tests.integration.terminal import InTerminal, in_terminal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="opens a terminal")
_KEYS = termios.ICANON | termios.ECHO


class Case:
    """A source that sends, who reads it, and what stands in his blocks."""

    def __init__(self, counter: Counter, variables: dict[str, str]) -> None:
        self.counter = counter
        self.variables = variables
        self.names: list[str] = []


@asynccontextmanager
async def read_by_another() -> AsyncIterator[Case]:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device, rate_hz=1_000) as counter,
        console(hub.port) as client,
    ):
        case = Case(counter, {"SNYPER_HUB": f"{HOST}:{hub.port}", "SNYPER_KEY": "", "DISPLAY": "", "CI": ""})

        async def send() -> None:
            while True:
                await counter.send(10)
                await asyncio.sleep(0.01)

        async def read() -> None:
            async for block in client.read_stream("lab1/count"):
                case.names += [mark.name for mark in block.marks]

        tasks = [asyncio.create_task(send()), asyncio.create_task(read())]
        try:
            yield case
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def recording_in(place: Path) -> Path:
    [folder] = [path for path in place.iterdir() if path.is_dir()]
    return folder


def takes_keys(running: InTerminal) -> bool:
    return bool(not termios.tcgetattr(running.terminal)[3] & _KEYS)


def is_as_it_was(running: InTerminal) -> bool:
    return bool(termios.tcgetattr(running.terminal)[3] & _KEYS == _KEYS)


async def ended(running: InTerminal, how: Any) -> int:
    if isinstance(how, bytes):
        os.write(running.terminal, how)
    else:
        running.process.send_signal(how)
    return await asyncio.wait_for(running.process.wait(), DEADLINE_S)


ENDS = [b"\x03", b"\x1c", signal.SIGTERM, signal.SIGHUP]
_ENDS = ["Ctrl-C", "SIGQUIT", "SIGTERM", "SIGHUP"]


@pytest.mark.parametrize("how", ENDS, ids=_ENDS)
@pytest.mark.parametrize(
    "command", [("stream", "lab1", "count"), ("plot", "lab1/count", "--terminal")], ids=["stream", "plot"]
)
async def test_keys_are_marks_for_all_who_read(command: tuple[str, ...], how: Any) -> None:
    async with (
        read_by_another() as case,
        in_terminal(*command, **case.variables) as (running, screen),
    ):
        await until(lambda: takes_keys(running), "it should take keys")
        os.write(running.terminal, b"m")
        await until(lambda: case.names == ["m"], "the mark should come")
        await until(lambda: "marked m" in screen(), "it should say so")
        os.write(running.terminal, b"\r")
        await until(lambda: "mark: _" in screen(), "it should show the line")
        os.write(running.terminal, "Tür auf".encode())
        await until(lambda: "Tür auf_" in screen(), "it should show what is typed")
        os.write(running.terminal, b"\r")
        await until(lambda: case.names == ["m", "Tür auf"], "the mark should come")
        assert await ended(running, how) == 0
        assert is_as_it_was(running)
        assert "Traceback" not in screen()


@pytest.mark.parametrize("how", ENDS, ids=_ENDS)
async def test_keys_are_marks_in_stream_and_recording(how: Any, tmp_path: Path) -> None:
    async with (
        read_by_another() as case,
        in_terminal("arrays", "record", "lab1/count", "--folder", str(tmp_path), **case.variables) as (
            running,
            screen,
        ),
    ):
        await until(lambda: takes_keys(running) and "lab1/count: into" in screen(), "it should take keys")
        folder = recording_in(tmp_path)
        os.write(running.terminal, b"1")
        await until(lambda: case.names == ["1"], "the mark should come")
        os.write(running.terminal, b"\rdoor opened")
        await until(lambda: "mark: door opened_" in screen(), "it should show what is typed")
        os.write(running.terminal, b"\r")
        await until(lambda: case.names == ["1", "door opened"], "the mark should come")
        with open_recording(folder) as growing:

            def names() -> list[str]:
                growing.refresh()
                return [mark.name for mark in growing.marks]

            await until(lambda: names() == ["1", "door opened"], "both should be recorded, once")
        assert await ended(running, how) == 0
        assert is_as_it_was(running)


async def test_the_terminal_is_as_it_was_after_a_failure(tmp_path: Path) -> None:
    full = tmp_path / "full.npy"
    full.symlink_to("/dev/full")
    async with (
        read_by_another() as case,
        in_terminal("stream", "lab1", "count", "--out", str(full), **case.variables) as (running, screen),
    ):
        assert await asyncio.wait_for(running.process.wait(), DEADLINE_S) == 1
        assert is_as_it_was(running), screen()


async def test_a_stream_that_takes_no_mark(tmp_path: Path) -> None:
    """Then it is in the recording all the same, and the person is told why."""
    async with (
        read_by_another() as case,
        in_terminal("arrays", "record", "lab1/count", "--folder", str(tmp_path), **case.variables) as (
            running,
            screen,
        ),
    ):
        await until(lambda: takes_keys(running) and "lab1/count: into" in screen(), "it should take keys")
        folder = recording_in(tmp_path)
        link = case.counter.stream._sources._link
        assert link is not None
        del link.handlers["mark_stream"]  # as an older source
        os.write(running.terminal, b"x")
        await until(lambda: "'x' is in the recording alone" in screen(), "it should say so")
        with open_recording(folder) as growing:

            def names() -> list[str]:
                growing.refresh()
                return [mark.name for mark in growing.marks]

            await until(lambda: names() == ["x"], "it should be recorded")
        assert case.names == []
        assert await ended(running, b"\x03") == 0


async def test_what_is_typed_stands_below_the_lines_that_come() -> None:
    async with (
        read_by_another() as case,
        in_terminal("stream", "lab1", "count", **case.variables) as (running, screen),
    ):
        await until(lambda: takes_keys(running), "it should take keys")
        os.write(running.terminal, b"\rdoor")
        await until(lambda: "mark: door_" in screen(), "it should show what is typed")
        typed = screen().index("mark: door_")
        await until(lambda: screen().count("mark: door_") > 1, "it should show it again")
        assert "samples/s" in screen()[typed:]
        assert "mark: door_lab1" not in screen()
        assert await ended(running, b"\x03") == 0
