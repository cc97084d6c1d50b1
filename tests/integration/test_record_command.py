"""`snyper arrays record` and `snyper recordings`: as a person and a program use them."""

import asyncio
import csv
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import numpy
import pytest

from snyper.client import connect
from snyper.recordings import Recorder, open_recording
from snyper.recordings.layout import segment_path
from snyper.recordings.recorder import AWAY
from snyper.recordings.session import record_stream
from snyper.recordings.writer import RecordingWriter
from snyper.shared.stream_spec import MAX_BLOCK_BYTES
from snyper.streams import StreamSpec
from tests.integration.harness import HOST, Command, free_port, run_snyper, snyper, until
from tests.integration.stream_harness import Counter, console, counter_of, source_of, stream_hub, tally_of


@asynccontextmanager
async def counting() -> AsyncIterator[tuple[Counter, dict[str, str]]]:
    """Run a hub with a source, and say where it is."""
    async with stream_hub() as hub, source_of(hub.port) as device, counter_of(device) as counter:
        yield counter, {"SNYPER_HUB": f"{HOST}:{hub.port}", "SNYPER_KEY": ""}


@asynccontextmanager
async def typed_to(*arguments: str, **variables: str) -> AsyncIterator[tuple[Command, asyncio.StreamWriter]]:
    """Run `snyper`, and give what somebody types to it."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "snyper.cli", *arguments),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env={**os.environ, **variables},
    )
    command = Command(process)
    try:
        assert process.stdin is not None
        yield command, process.stdin
    finally:
        await command.end()


@pytest.mark.slow
async def test_a_stream_is_recorded_shown_and_exported(tmp_path: Path) -> None:
    place = tmp_path / "recordings"
    async with counting() as (counter, variables):
        arguments = ("arrays", "record", "lab1/count", "--folder", str(place), "--json")
        async with typed_to(*arguments, **variables) as (command, stdin):
            await until(lambda: counter.stream.is_read, "it should be read")
            stdin.write(b"too early\n")
            await command.says("lab1/count: no mark 'too early': nothing of it is recorded yet")
            await counter.send(1_000)
            await command.says("lab1/count: into")
            stdin.write(b"door opened\n")
            [folder] = _folders(place)
            with open_recording(folder) as growing:

                def is_marked() -> bool:
                    growing.refresh()
                    return [mark.name for mark in growing.marks] == ["door opened"]

                await until(is_marked, "the mark should be recorded")
            await counter.send(500)
            status, _, error = await run_snyper(*arguments, **variables)
            assert (status, "another recorder" in error) == (1, True), error
            assert await command.interrupt() == 0
            said = json.loads(command.out)
            assert (said["stream"], said["samples"], said["missing"]) == ("lab1/count", 1_500, 0)
    status, output, _ = await run_snyper("recordings", "list", "--folder", str(place), "--json")
    [listed] = json.loads(output)
    assert (status, listed["recording"], listed["samples"]) == (0, folder.name, 1_500)
    assert listed["began"]
    status, output, _ = await run_snyper("recordings", "list", "--folder", str(place))
    assert "lab1/count" in output
    status, output, _ = await run_snyper("recordings", "info", str(folder), "--json")
    about = json.loads(output)
    assert (about["epochs"][0]["dtype"], about["gaps"]) == ("<u4", [])
    status, output, _ = await run_snyper("recordings", "info", str(folder))
    assert "1,500 samples, 0 missing" in output
    assert "mark door opened" in output
    for name in ("out.npy", "out.csv", "out.zarr"):
        status, _, error = await run_snyper("recordings", "export", str(folder), str(tmp_path / name))
        assert (status, "1,500 samples, 0 missing" in error) == (0, True), error
    assert (numpy.load(tmp_path / "out.npy") == numpy.arange(1_500)).all()
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row["number"] for row in csv.DictReader(file)] == [str(number) for number in range(1_500)]
    status, _, error = await run_snyper("recordings", "export", str(folder), str(tmp_path / "out.zarr"))
    assert (status, "there already" in error) == (1, True)


async def test_a_recorder_that_is_killed_has_recorded_what_came(tmp_path: Path) -> None:
    async with counting() as (counter, variables):
        arguments = ("arrays", "record", "lab1/count", "--folder", str(tmp_path))
        async with snyper(*arguments, **variables) as command:
            await until(lambda: counter.stream.is_read, "it should be read")
            await counter.send(1_000)
            await command.says("lab1/count: into")
            [folder] = _folders(tmp_path)
            with open_recording(folder) as growing:
                for _ in range(20):
                    await counter.send(100)

                def is_there() -> bool:
                    growing.refresh()
                    return sum(epoch.samples for epoch in growing.epochs) == 3_000

                await until(is_there, "all should be recorded")
            assert await command.interrupt(signal.SIGKILL) == -signal.SIGKILL
        with open_recording(folder) as recording:
            (run,) = recording.read(0, 10_000)
            assert (run.samples == numpy.arange(3_000)).all()
        await until(lambda: not counter.stream.is_read, "the hub should see that it is gone")
        async with snyper(*arguments, **variables) as command:  # nothing is to be repaired or unlocked
            await until(lambda: counter.stream.is_read, "it should be read")
            await counter.send(10)
            await command.says("lab1/count: into")
            assert await command.interrupt() == 0
        assert len(_folders(tmp_path)) == 2


@pytest.mark.slow
async def test_a_recorder_goes_on_where_another_ended(tmp_path: Path) -> None:
    """However that was; what is missing of an epoch is a gap."""
    arguments = ("arrays", "record", "lab1/count", "--folder", str(tmp_path), "--continue")
    async with counting() as (counter, variables):
        for number, end in enumerate((signal.SIGKILL, signal.SIGINT, signal.SIGKILL)):
            async with snyper(*arguments, **variables) as command:
                await until(lambda: counter.stream.is_read, "it should be read")
                await counter.send(1_000)
                await command.says("lab1/count: on in" if number else "lab1/count: into")
                await until(lambda: _end(tmp_path) == counter.stream.seq, "it should be recorded")
                await command.interrupt(end)
            await until(lambda: not counter.stream.is_read, "the hub should see that it is gone")
            await counter.send(77)
    [folder] = _folders(tmp_path)
    with open_recording(folder) as recording:
        (epoch,) = recording.epochs
        assert (epoch.first, epoch.end, epoch.samples) == (0, 3_154, 3_000)
        assert [(gap.first, gap.last, gap.why) for gap in recording.gaps] == [
            (1_000, 1_076, AWAY),
            (2_077, 2_153, AWAY),
        ]
        for run in recording.read(0, epoch.end):
            assert (run.samples == numpy.arange(run.first, run.first + 1_000)).all()
            assert (numpy.diff(run.times_us) >= 0).all()


async def test_what_the_hub_still_has_is_recorded_by_who_goes_on(tmp_path: Path) -> None:
    arguments = ("arrays", "record", "lab1/count", "--folder", str(tmp_path), "--continue")
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device) as counter,
        console(hub.port) as client,
        tally_of(client),  # somebody reads on
    ):
        variables = {"SNYPER_HUB": f"{HOST}:{hub.port}", "SNYPER_KEY": ""}
        for _ in range(3):
            async with snyper(*arguments, **variables) as command:
                await until(lambda: hub.fan.subscriptions() == 2, "it should be read")
                await counter.send(500)
                await until(lambda: _end(tmp_path) == counter.stream.seq, "it should be recorded")
                await command.interrupt(signal.SIGKILL)
            await until(lambda: hub.fan.subscriptions() == 1, "the hub should see that it is gone")
            await counter.send(500)
    [folder] = _folders(tmp_path)
    with open_recording(folder) as recording:
        assert recording.gaps == ()
        (run,) = recording.read(0, 3_000)
        assert (run.samples == numpy.arange(2_500)).all()


async def test_a_source_that_starts_again_is_another_epoch(tmp_path: Path) -> None:
    async with stream_hub() as hub:
        variables = {"SNYPER_HUB": f"{HOST}:{hub.port}", "SNYPER_KEY": ""}
        sent: dict[str, int] = {}
        async with snyper(
            "arrays", "record", "lab1/count", "--folder", str(tmp_path), **variables
        ) as command:
            for _ in range(3):
                async with source_of(hub.port) as device, counter_of(device) as counter:
                    await until(partial(getattr, counter.stream, "is_read"), "it should be read")
                    for _ in range(10):
                        await counter.send(50)
                    sent[counter.stream.epoch] = 500
                    await until(lambda: _stored(tmp_path) == sum(sent.values()), "it should be recorded")
            assert await command.interrupt() == 0
        [folder] = _folders(tmp_path)
        with open_recording(folder) as recording:
            assert {epoch.id: epoch.samples for epoch in recording.epochs} == sent
            assert recording.gaps == ()


def _folders(place: Path) -> list[Path]:
    return [path.parent for path in place.glob("*-lab1-count*/recording.json")]


def _stored(place: Path) -> int:
    for folder in _folders(place):
        with open_recording(folder) as recording:
            return sum(epoch.samples for epoch in recording.epochs)
    return 0


@pytest.mark.slow
async def test_what_goes_wrong_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for arguments, said, expected in (
        (("recordings", "info", str(tmp_path / "empty")), "has no recording.json", 1),
        (("recordings", "export", str(tmp_path / "empty"), "a.npy"), "has no recording.json", 1),
        (("arrays", "record", "lab1/a", "lab1/b", "lab1/a", "--folder", str(tmp_path)), "is given twice", 2),
        (("gateway", "--stream", "lab1"), "lab1 is no stream: SOURCE/STREAM", 2),
        (("gateway", "--stream", "/a"), "is no stream", 2),
        (("arrays", "record", "lab1/a", "--history", "long", "--folder", str(tmp_path)), "is no time", 2),
        (("arrays", "record", "lab1/a", "--keep-gb", "inf", "--folder", str(tmp_path)), "is no number", 2),
        (("arrays", "record", "lab1", "--folder", str(tmp_path), "--hub", "127.0.0.1:1"), "is no stream", 2),
        (("arrays", "record", "lab1/a", "--folder", str(tmp_path), "--hub", "127.0.0.1:1"), "no hub at", 3),
        (("arrays", "upload", "none.npy", "--to", "http://127.0.0.1:1"), "snyper: none.npy: No such file", 1),
        (("arrays", "list", "--to", "127.0.0.1:28000"), "is no http://HOST:PORT", 2),
        (("arrays", "record", "lab1/a", "--folder", str(tmp_path / "file" / "x")), "cannot be recorded", 1),
        (("arrays", "record", "lab1/a", "--folder", "/proc/recordings"), "cannot be recorded into", 1),
        (("recordings", "list", "--folder", str(tmp_path / "none")), "there is no folder", 1),
    ):
        status, _, error = await run_snyper(*arguments)
        assert (status, said in error) == (expected, True), error
        assert "Traceback" not in error


def _names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_an_export_that_has_no_room_leaves_what_was_there(small_disk: Path, tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r", "lab1", "count")
    writer.begin("e", StreamSpec("<f8", (), 1_000))
    for number in range(16):
        writer.write_block(number * 125_000, numpy.zeros(125_000), number * 125_000_000, 0, 0)
    writer.close()
    for name in ("out.npy", "out.csv"):
        (small_disk / name).write_text("before")
        status, _, error = await run_snyper(
            "recordings", "export", str(tmp_path / "r"), str(small_disk / name)
        )
        assert (status, error) == (1, f"snyper: {small_disk / name}: No space left on device\n")
        assert (small_disk / name).read_text() == "before"
    assert _names_in(small_disk) == ["out.csv", "out.npy"]


async def test_a_recorder_that_ends_on_a_full_disk_says_what_is_missing(small_disk: Path) -> None:
    arguments = ("arrays", "record", "lab1/count", "--folder", str(small_disk))
    async with counting() as (counter, variables), snyper(*arguments, **variables) as command:
        await until(lambda: counter.stream.is_read, "it should be read")
        await counter.send(1_000)
        await command.says("lab1/count: into")
        with (small_disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4_096))
        sent = 1_000
        while "goes on when there is room" not in command.err:
            await counter.send(10_000)
            sent += 10_000
        status = await command.interrupt()
        assert status == 1, (command.out, command.err)
        assert re.search(r"the end of lab1/count is not in .*: the disk is full", command.err)
    said = re.search(r"([\d,]+) samples, ([\d,]+) missing", command.out)
    assert said is not None, command.out
    stored, missing = (int(text.replace(",", "")) for text in said.groups())
    assert 0 < missing <= sent - stored  # what was on its way yet is neither


async def test_a_hub_that_starts_again_leaves_a_gap_with_numbers(tmp_path: Path) -> None:
    """What the source sends meanwhile nobody has: sent = stored + gaps."""
    port = free_port()
    (tmp_path / "spill").mkdir()
    recorders: list[Recorder] = []
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(AsyncExitStack())
        await hub.enter_async_context(stream_hub(port))
        device = await stack.enter_async_context(source_of(port))
        counter = await stack.enter_async_context(counter_of(device))
        client = await stack.enter_async_context(connect(f"{HOST}:{port}", "", reconnect=True))
        recording = asyncio.create_task(
            record_stream(
                client,
                "lab1/count",
                tmp_path / "r",
                tmp_path / "spill",
                lambda _, made: recorders.append(made),
            )
        )
        for _ in range(3):
            await until(lambda: counter.stream.is_read, "it should be read")
            stored = recorders[0].progress.stored if recorders else 0
            for _ in range(20):
                await counter.send(10)
            await until(lambda: recorders, "it should begin")
            await until(partial(_has_stored, recorders[0], stored + 10), "it should record")
            await hub.aclose()
            await until(lambda: not counter.stream.is_read, "the source should see it")
            await counter.send(70)
            await hub.enter_async_context(stream_hub(port))
        await until(lambda: counter.stream.is_read, "it should be read")
        await counter.send(5)
        sent = counter.stream.seq
        await until(lambda: _sum(recorders[0]) == sent, "all should be accounted for")
        recording.cancel()
        with suppress(asyncio.CancelledError):
            await recording
        assert recorders[0].progress.gaps >= 3 * 70
    [folder] = _folders(tmp_path / "r")
    with open_recording(folder) as opened:
        [epoch] = opened.epochs
        missing = sum(gap.last - gap.first + 1 for gap in opened.gaps)
        assert (epoch.first, epoch.end, epoch.samples + missing) == (0, sent, sent)
        for run in opened.read(0, sent):
            assert (run.samples == numpy.arange(run.first, run.first + len(run.samples))).all()
    status, _, error = await run_snyper("recordings", "export", str(folder), str(tmp_path / "out.npy"))
    assert (status, f"{epoch.samples:,} samples, {missing:,} missing" in error) == (0, True), error


def _has_stored(recorder: Recorder, samples: int) -> bool:
    return recorder.progress.stored >= samples


def _sum(recorder: Recorder) -> int:
    return recorder.progress.stored + recorder.progress.gaps


def _end(place: Path) -> int:
    """Return the number after the last of the one recording in a folder, 0 while there is none."""
    for folder in _folders(place):
        with open_recording(folder) as recording:
            return recording.epochs[-1].end if recording.epochs else 0
    return 0


async def test_what_is_waited_for_is_said(tmp_path: Path) -> None:
    arguments = (
        "arrays",
        "record",
        "lab1/cuont",
        "lab2/count",
        "lab3/count",
        "--folder",
        str(tmp_path / "r"),
    )
    async with counting() as (_, variables):
        port = int(variables["SNYPER_HUB"].rpartition(":")[2])
        async with source_of(port, "lab3") as device:
            stream = device.stream("count", "<u4")
            async with console(port) as hub, tally_of(hub, "lab3/count", wait=True):
                pass
        async with typed_to(*arguments, **variables) as (command, _):
            await command.says("waiting for lab1/cuont: no such stream here yet (there are: count)")
            await command.says("waiting for lab2/count: no lab2 here yet (there are: lab1/count)")
            await command.says("waiting for lab3/count: lab3 is away")
            assert await command.interrupt() == 0
        status, _, error = await run_snyper(*arguments, "--duration", "0.1", **variables)
        assert (status, "nothing has come of lab1/cuont, lab2/count, lab3/count" in error) == (1, True), error
        await stream.close()


async def test_a_stream_that_nobody_can_read_ends_its_recorder(tmp_path: Path) -> None:
    async with counting() as (counter, variables):
        counter.stream.sample_bytes = MAX_BLOCK_BYTES + 4  # as an older source has it
        arguments = ("arrays", "record", "lab1/count", "--folder", str(tmp_path / "r"))
        status, _, error = await run_snyper(*arguments, **variables)
    assert (status, "a sample has 524292 bytes" in error) == (1, True), error


async def test_what_retention_has_removed_is_no_secret_of_an_export(tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    writer = RecordingWriter(folder, "lab1", "count", segment_bytes=500)
    writer.begin("e", StreamSpec("<f8", (), 100))
    for number in range(3):
        writer.write_block(number * 100, numpy.ones(100), number * 1_000_000, 0, 0)
    writer.close()
    for removed, said in ((None, "300 samples, 0 missing\n"), (1, "0 missing; older ones were removed\n")):
        if removed is not None:
            segment_path(folder, removed).unlink()
        _, info, _ = await run_snyper("recordings", "info", str(folder))
        status, _, error = await run_snyper("recordings", "export", str(folder), str(tmp_path / "out.npy"))
        assert (status, said in info, said in error) == (0, True, True), (info, error)
        (tmp_path / "out.npy").unlink()
