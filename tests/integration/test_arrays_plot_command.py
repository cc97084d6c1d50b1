"""`snyper arrays plot`: of stored arrays, files and recordings; printed, in a window, and as a picture."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from matplotlib.image import imread

from tests.integration.arrays_harness import Arrays, saved
from tests.integration.calls_harness import HubProcess
from tests.integration.harness import DEADLINE_S, at_length, run_snyper, snyper, until
from tests.unit.test_still_plots import recorded

PLOT = ("arrays", "plot")
HERE = {"DISPLAY": "", "COLUMNS": "100", "LINES": "30"}


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    with HubProcess() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arrays]:
    running = Arrays(tmp_path_factory.mktemp("arrays"), "--hub", hub.address, "--name", "store")
    array = numpy.zeros((3_000_000, 2), "<f4")
    array[2_345_678, 1] = 7
    running.store(array, "spike.npy")
    yield running
    assert running.end() == 0


def blue_of(path: Path) -> int:
    pixels = imread(path)
    assert pixels.shape == (720, 1_200, 4)
    return int(numpy.count_nonzero(pixels[:, :, 2] > pixels[:, :, 0] + 0.3))


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("way", at_length(["http", "hub"], ["hub"]))
async def test_a_stored_array(gateway: Arrays, hub: HubProcess, way: str, tmp_path: Path) -> None:
    to = ("--to", gateway.url) if way == "http" else ("--hub", hub.address, "--to", "store")
    status, said, err = await run_snyper(*PLOT, "spike", *to, **HERE)
    assert (status, err) == (0, "")
    assert said.startswith("spike: float32, 3,000,000 × 2\n")
    assert "━ channel 0   ━ channel 1" in said
    assert "2,000,000" in said
    file = tmp_path / "x.png"
    status, _, err = await run_snyper(*PLOT, "0", "--channel", "1", "--png", str(file), *to, **HERE)
    assert (status, err) == (0, f"0 is in {file}\n")
    assert blue_of(file) > 1_000
    status, said, _ = await run_snyper(*PLOT, "spike", "--slice", "2345600:2345700,1", *to, **HERE)
    assert said.startswith("spike[2345600:2345700,1]: float32, 100\n")
    assert "  7┤" in said


@pytest.mark.slow
async def test_a_file_and_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "complex.npy"
    path.write_bytes(saved(numpy.exp(1j * numpy.arange(100)) * numpy.arange(100)[:, None]))
    status, said, _ = await run_snyper(*PLOT, str(path), "--slice", ":50,0", **HERE)
    assert (status, f"{path}: complex128, 50, absolute\n" in said) == (0, True)
    folder = tmp_path / "recording"
    recorded(folder).close()
    status, said, _ = await run_snyper(*PLOT, str(folder), **HERE)
    assert said.startswith("lab1/accelerometer: 4.00 s from 2026-12-01 21:00:00 UTC on\n")
    assert "│ 1 door [31mopened$x$" in said
    status, _, err = await run_snyper(
        *(*PLOT, str(folder), "--begin", "3", "--channel", "x", "--rolling", "0.1"),
        *("--png", str(tmp_path / "y.png")),
        **HERE,
    )
    assert (status, "is in" in err) == (0, True)
    assert blue_of(tmp_path / "y.png") > 300


@pytest.mark.slow
async def test_what_goes_wrong_is_one_line(gateway: Arrays, tmp_path: Path) -> None:
    contents = {
        "empty": saved(numpy.zeros((0, 3))),
        "text": saved(numpy.array(["a"])),
        "cut": saved(numpy.zeros(100))[:-1],
        "none": b"",
        "words": b"hello",
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.npy").write_bytes(content)
    numpy.savez(tmp_path / "archive", numpy.zeros(3))
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    recorded(tmp_path / "recording").close()
    for arguments, said, expected in (
        ((f"{tmp_path}/empty.npy",), "nothing to plot: its shape is 0 × 3", 1),
        ((f"{tmp_path}/text.npy",), "no numbers: it is of the type <U1", 1),
        ((f"{tmp_path}/cut.npy",), "is no .npy file of numbers", 1),
        ((f"{tmp_path}/none.npy",), "is no .npy file of numbers", 1),
        ((f"{tmp_path}/words.npy",), "is no .npy file of numbers", 1),
        ((f"{tmp_path}/archive.npy",), "is no .npy file of numbers", 1),
        ((f"{tmp_path}/missing.npy",), "No such file", 1),
        ((f"{tmp_path}/",), "is no recording: it has no recording.json", 1),
        ((f"{tmp_path}/recording", "--slice", "3"), "no --slice", 2),
        ((f"{tmp_path}/recording", "--begin", "9"), "it lasts 3.999 s", 1),
        (("spike", "--begin", "9"), "--slice is of an array", 2),
        (("spike", "--channel", "2"), "it has no channel 2: 0 to 1", 1),
        (("spike", "--slice", "x"), "is no slice", 1),
        (("nobody",), "there is no array nobody (404)", 1),
        (("spike", "--png", str(tmp_path)), "Is a directory", 1),
    ):
        status, _, err = await run_snyper(*PLOT, *arguments, "--to", gateway.url, **HERE)
        assert (status, said in err, "Traceback" in err) == (expected, True, False), err


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="no Xvfb: apt install xvfb")
async def test_in_a_window(tmp_path: Path) -> None:
    pytest.importorskip("tkinter", reason="this Python has no tkinter")
    (tmp_path / "probe.npy").write_bytes(saved(numpy.arange(100.0)))
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
        async with snyper(*PLOT, str(tmp_path / "probe.npy"), DISPLAY=f":{int(number)}") as window:
            await until(lambda: (tmp_path / "Xvfb_screen0").read_bytes() != blank, "there should be one")
            assert await window.interrupt() == 0
    finally:
        os.close(ours)
        screen.terminate()
        await screen.wait()
