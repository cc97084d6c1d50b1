"""What a command leaves in the temporary directory when it is killed: nothing, however and whenever."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snyper.cli.processes import running
from tests.integration.harness import (
    DEADLINE_S,
    HOST,
    ROOT,
    free_port,
    left_in,
    linux_only,
    needs_micropython,
    processes_with,
    snyper,
    until,
)

pytestmark = [linux_only, needs_micropython]

COMMANDS = {
    "demo": ("register", "demo"),
    "simulate": ("on micropython", "simulate --engine micropython --targets 2 --hub 127.0.0.1:{port}"),
    "hub": ("Ctrl-C stops it", "hub --engine micropython --listen 127.0.0.1:{port}"),
    "board": ("/dev/", "board {directory}/flash"),
}
KILLS = [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _no_nohup() -> Iterator[None]:
    """Commands inherit what these tests were started with, and below `nohup` a SIGHUP ends none."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("kill", KILLS, ids=lambda kill: kill.name)
@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command_that_is_killed(command: str, kill: signal.Signals, tmp_path: Path) -> None:
    words, line = COMMANDS[command]
    arguments = line.format(port=free_port(), directory=tmp_path).split()
    async with snyper(*arguments, TMPDIR=str(tmp_path)) as running:
        await running.says(words)
        await until(lambda: left_in(tmp_path), "it should have its folder")
        status = await running.interrupt(kill)
        assert status == -kill if kill is signal.SIGKILL else status in (0, 130)
        assert "Traceback" not in running.err
    await until(lambda: not left_in(tmp_path) and not processes_with(str(tmp_path)), "nothing should be left")


@pytest.mark.parametrize("command", [*COMMANDS, "play"])
def test_no_place_for_temporary_files_names_the_variable(command: str, tmp_path: Path) -> None:
    """Nobody may write a byte into a file, as where every such directory is full."""
    _, words = COMMANDS.get(command, ("", f"play --no-open --listen {HOST}:{{port}}"))
    arguments = words.format(port=free_port(), directory=tmp_path).split()
    if command == "play":
        pytest.importorskip("nicegui")
    result = subprocess.run(
        ["bash", "-c", 'ulimit -f 0; exec "$0" -m snyper.cli "$@"', sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    said = result.stdout + result.stderr
    assert "no directory here takes temporary files: name one in the variable TMPDIR\n" in said, said
    assert "Traceback" not in said


@pytest.mark.parametrize("after_s", [0.2, 0.5, 1.0, 2.0])
async def test_a_start_that_is_cut_short(after_s: float, tmp_path: Path) -> None:
    pytest.importorskip("nicegui")
    listen = f"{HOST}:{free_port()}"
    async with snyper("play", "--no-open", "--listen", listen, TMPDIR=str(tmp_path)) as running:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(running.process.wait(), after_s)
        await running.interrupt(signal.SIGKILL)
    await until(lambda: not left_in(tmp_path) and not processes_with(str(tmp_path)), "nothing should be left")


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM], ids=lambda kill: kill.name)
async def test_a_tool_that_is_killed(kill: signal.Signals, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tools.power_cuts"),
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        cwd=ROOT,
    )
    await until(lambda: left_in(tmp_path), "it should have its folder")
    process.send_signal(kill)
    assert await process.wait() == -kill
    await until(lambda: not left_in(tmp_path) and not processes_with(str(tmp_path)), "nothing should be left")


async def test_the_end_of_the_terminal_is_none_for_nohup(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *("nohup", sys.executable, "-m", "snyper.cli"),
        *("hub", "--listen", f"{HOST}:{free_port()}", "--no-journal"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        cwd=ROOT,
    )
    assert process.stderr is not None
    async with asyncio.timeout(DEADLINE_S):
        while b"Ctrl-C" not in await process.stderr.readline():
            pass
        process.send_signal(signal.SIGHUP)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(process.wait(), 0.5)
        process.terminate()
        assert await process.wait() == 0


@pytest.mark.slow
async def test_a_compiler_leaves_nothing(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It runs for each module of a deploy, and a deploy may be killed at any of them."""
    nothing_is_kept = str(tmp_path_factory.mktemp("cache"))
    program = "from snyper.boards import image; image.contents('target')"
    done = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        env={**os.environ, "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": nothing_is_kept},
        cwd=ROOT,
    )
    seen: set[str] = set()
    while done.returncode is None:
        seen |= set(os.listdir(tmp_path))  # noqa: PTH208
        await asyncio.sleep(0)
    assert (done.returncode, seen) == (0, set())


async def test_an_end_just_when_a_part_is_ready_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    original = asyncio.StreamReader.readline

    async def run() -> None:
        async with running("hub", "--listen", f"{HOST}:0", "--no-journal"):
            await asyncio.Event().wait()

    async def readline(reader: asyncio.StreamReader) -> bytes:
        line = await original(reader)
        if b"listen" in line and line.startswith(b"{"):
            task.cancel()
        return line

    monkeypatch.setattr(asyncio.StreamReader, "readline", readline)
    task = asyncio.create_task(run())
    done, _ = await asyncio.wait([task], timeout=DEADLINE_S)
    task.cancel()
    assert done
    assert task.cancelled()
