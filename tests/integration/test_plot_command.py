"""`snyper plot`: in a terminal, in a window, and as a picture."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy
import pytest
from matplotlib.image import imread

from snyper.shared.runtime import end_task
from tests.integration.harness import DEADLINE_S, HOST, run_snyper, snyper, until
from tests.integration.stream_harness import Counter, counter_of, source_of, stream_hub
from tests.integration.terminal import in_terminal

SEEN = ("--seconds", "2")


@asynccontextmanager
async def counting(*options: str) -> AsyncIterator[tuple[tuple[str, ...], dict[str, str]]]:
    """Run a hub with a source that counts, and say how it is plotted and where."""
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device, rate_hz=1_000) as counter,
    ):
        sending = asyncio.create_task(_count(counter))
        try:
            variables = {"SNYPER_HUB": f"{HOST}:{hub.port}", "SNYPER_KEY": "", "DISPLAY": ""}
            yield ("plot", "lab1/count", *SEEN, *options), variables
        finally:
            await end_task(sending)


async def _count(counter: Counter) -> None:
    while True:
        await counter.send(10)
        await asyncio.sleep(0.01)


async def test_a_picture(tmp_path: Path) -> None:
    file = tmp_path / "count.png"
    async with counting("--png", str(file)) as (command, variables):
        status, _, said = await run_snyper(*command, **variables)
    assert (status, "is in" in said) == (0, True), said
    pixels = imread(file)
    assert pixels.shape == (720, 1_200, 4)
    red, _, blue = (pixels[:, :, at] for at in range(3))
    assert numpy.count_nonzero(blue > red + 0.3) > 300  # the signal
    assert numpy.count_nonzero(red > blue + 0.3) > 300  # its mean


async def test_in_a_terminal_until_ctrl_c() -> None:
    async with (
        counting() as (command, variables),
        in_terminal(*command, **variables) as (running, screen),
    ):
        await until(lambda: "lab1/count, " in screen() and "⣀" in screen(), "it should be drawn")
        os.write(running.terminal, b"\x03")
        assert await asyncio.wait_for(running.process.wait(), DEADLINE_S) == 0
        await until(lambda: "stopped" in screen(), "it should say that it stopped")
        assert "Traceback" not in screen()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="no Xvfb: apt install xvfb")
async def test_in_a_window(tmp_path: Path) -> None:
    pytest.importorskip("tkinter", reason="this Python has no tkinter")
    ours, theirs = os.pipe()
    screen = await asyncio.create_subprocess_exec(
        *("Xvfb", "-displayfd", str(theirs), "-screen", "0", "1280x800x24", "-fbdir", str(tmp_path)),
        pass_fds=(theirs,),
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(theirs)
    try:
        number = await asyncio.wait_for(asyncio.to_thread(os.read, ours, 16), DEADLINE_S)
        blank = (tmp_path / "Xvfb_screen0").read_bytes()
        async with (
            counting() as (command, variables),
            snyper(*command, **variables | {"DISPLAY": f":{int(number)}"}) as window,
        ):
            await until(lambda: (tmp_path / "Xvfb_screen0").read_bytes() != blank, "there should be one")
            assert await window.interrupt() == 0
    finally:
        os.close(ours)
        screen.terminate()
        await screen.wait()


@pytest.mark.slow
async def test_what_goes_wrong_is_one_line(tmp_path: Path) -> None:
    async with counting() as (_, variables):
        for arguments, said, expected in (
            (("lab1/count",), "--png FILE draws a picture", 1),
            (("lab1/count", "--png", "q.jpg"), "does not end with .png", 2),
            (("lab1/count", "--png", str(tmp_path / "no" / "x.png")), "make it first", 2),
            (("lab1/other", "--png", "x.png"), "`snyper stream list` lists them", 1),
            (("lab1/count", *SEEN, "--channel", "1", "--png", "x.png"), "it has no channel 1: 0", 1),
            (("lab1/count", *SEEN, "--png", str(tmp_path)), "Is a directory", 1),
            (("lab1",), "lab1 is no stream: SOURCE/STREAM", 2),
            (("a b/count",), "is no stream", 2),
            (("lab1/count", "--history", "long"), "is no time", 2),
        ):
            status, _, err = await run_snyper("plot", *arguments, **variables)
            assert (status, said in err) == (expected, True), err


async def test_a_stream_of_which_nothing_comes(tmp_path: Path) -> None:
    file = tmp_path / "none.png"
    async with stream_hub() as hub, source_of(hub.port) as device, counter_of(device):
        variables = {"SNYPER_HUB": f"{HOST}:{hub.port}", "SNYPER_KEY": ""}
        arguments = ("lab1/count", "--seconds", "0.3", "--png", str(file))
        status, _, said = await run_snyper("plot", *arguments, **variables)
    assert (status, "nothing came of lab1/count within 0.3 s" in said, file.exists()) == (1, True, False)
