"""`snyper stream`: as a person and a program see it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy
import pytest

from snyper.hub import stream_blocks
from tests.integration.harness import HOST, run_snyper, snyper, until
from tests.integration.stream_harness import Counter, console, counter_of, source_of, stream_hub, tally_of


@asynccontextmanager
async def counting() -> AsyncIterator[tuple[Counter, dict[str, str]]]:
    """Run a hub with a source, and say where it is."""
    async with stream_hub() as hub, source_of(hub.port) as device, counter_of(device) as counter:
        yield counter, {"SNYPER_HUB": f"{HOST}:{hub.port}", "SNYPER_KEY": ""}


async def _count(counter: Counter) -> None:
    while True:
        await counter.send(100)
        await asyncio.sleep(0.01)


async def test_it_lists_and_reads_until_it_is_interrupted(tmp_path: Path) -> None:
    async with counting() as (counter, variables):
        status, out, _ = await run_snyper("stream", "list", "--json", **variables)
        assert status == 0
        [listed] = json.loads(out)
        assert (listed["source"], listed["stream"], listed["dtype"]) == ("lab1", "count", "<u4")
        file = tmp_path / "count.npy"
        arguments = ("lab1", "count", "--json", "--out", str(file))
        async with snyper("stream", *arguments, **variables) as command:
            await until(lambda: counter.stream.is_read, "it should be read")
            sending = asyncio.create_task(_count(counter))
            second = await command.says_json()
            status = await command.interrupt()
            sending.cancel()
        assert status == 0
        assert second["samples"] > 0
        samples = numpy.load(file, allow_pickle=False)
        assert samples.dtype == numpy.dtype("<u4")
        assert (samples == numpy.arange(samples[0], samples[0] + len(samples))).all()


async def test_a_killed_one_leaves_a_file_that_loads(tmp_path: Path) -> None:
    async with counting() as (counter, variables):
        file = tmp_path / "count.npy"
        async with snyper("stream", "lab1", "count", "--json", "--out", str(file), **variables) as command:
            await until(lambda: counter.stream.is_read, "it should be read")
            sending = asyncio.create_task(_count(counter))
            second = await command.says_json()
            command.process.kill()
            await command.process.wait()
            sending.cancel()
        samples = numpy.load(file, allow_pickle=False)
        assert len(samples) >= second["samples"] > 0
        assert (samples == numpy.arange(samples[0], samples[0] + len(samples))).all()


async def test_a_full_disk_names_the_file_and_how_much_is_in_it(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("this system limits no other process")
    async with counting() as (counter, variables):
        file = tmp_path / "count.npy"
        async with snyper("stream", "lab1", "count", "--out", str(file), **variables) as command:
            await until(lambda: counter.stream.is_read, "it should be read")
            # As a full disk does, it takes a part of a block: 1,000 bytes are the head and 186 samples.
            resource.prlimit(command.process.pid, resource.RLIMIT_FSIZE, (1_000, 1_000))
            sending = asyncio.create_task(_count(counter))
            status = await command.wait()
            sending.cancel()
        assert (status, f"{file}: File too large" in command.err) == (1, True), command.err
        assert "186 of them are in" in command.err
        assert len(numpy.load(file, allow_pickle=False)) == 186


async def test_what_goes_wrong_is_one_line(tmp_path: Path) -> None:
    async with counting() as (_, variables):
        (tmp_path / "there.npy").write_bytes(b"")
        for arguments, said, expected in (
            (("lab1", "other"), "`snyper stream list` lists them", 1),
            (("lab2", "count"), "`snyper stream list` lists them", 1),
            (("lab1", "count", "--history", "long"), "is no time", 2),
            (("lab1", "count", "--out", str(tmp_path / "there.npy")), "File exists", 1),
            (("lab1", "count", "--out", str(tmp_path / "s.csv")), "does not end with .npy", 2),
            (("read", "lab1", "a/b"), "a stream's name is", 2),
            (("lab1/count",), "is two words here: lab1 count", 2),
        ):
            status, _, err = await run_snyper("stream", *arguments, **variables)
            assert (status, said in err) == (expected, True), err


async def test_a_source_that_is_away_is_no_hub_that_is_lost() -> None:
    async with stream_hub() as hub:
        async with source_of(hub.port) as device, counter_of(device):
            pass
        address = f"{HOST}:{hub.port}"
        status, _, err = await run_snyper("stream", "lab1", "count", SNYPER_HUB=address, SNYPER_KEY="")
        assert (status, err.splitlines()[0]) == (1, "snyper: lab1: disconnected: the service is away")


async def test_what_the_hub_has_no_more_of_the_time_is_said_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_blocks, "MAX_STREAM_BYTES", 1)  # the last block alone
    async with (
        counting() as (counter, variables),
        console(int(variables["SNYPER_HUB"].rpartition(":")[2])) as client,
        tally_of(client) as tally,
    ):
        for _ in range(2):
            await counter.send(100)
            await tally.until(counter.stream.seq)
        for words in (
            ("stream", "lab1", "count", "--json"),
            ("arrays", "record", "lab1/count", "--folder", str(tmp_path), "--json"),
        ):
            async with snyper(*words, "--history", "10m", **variables) as command:
                await command.says("lab1/count: the hub has 100 samples of that time no more")
                assert await command.interrupt() == 0
