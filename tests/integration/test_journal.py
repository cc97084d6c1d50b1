"""A hub that keeps a journal: killed at every step, on a disk that is full, and read while it writes."""

import asyncio
import json
import os
import resource
import signal
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import (
    HOST,
    Command,
    HubUnderTest,
    Message,
    Peer,
    console_of,
    free_port,
    linux_only,
    peer_of,
    registration,
    run_snyper,
    scripted_target,
    snyper,
    until,
)

ABOUT: dict[str, Any] = {"hardware_id": "h", "boot_id": "b"}


@asynccontextmanager
async def journaled(path: Path, port: int) -> AsyncIterator[tuple[Command, HubUnderTest]]:
    """`snyper hub` with a journal, in a process of its own."""
    async with snyper("hub", "--listen", f"{HOST}:{port}", "--journal", str(path), "--json") as command:
        await until(lambda: command.out or command.process.returncode is not None, "the hub should listen")
        assert command.out, command.err
        yield command, HubUnderTest(port)


def reports_in(path: Path) -> list[int]:
    """The peaks of the hits that the journal has, in order."""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT data FROM events WHERE event = 'hit' ORDER BY seq").fetchall()
    return [json.loads(data)["peak"] for (data,) in rows]


def names_in(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()}


def hit(number: int) -> Message:
    return {"type": "hit", "id": f"e{number}", "data": {"peak": number}}


async def answered(port: int, message: Message) -> str:
    """What a target is told of a report: `ack`, or the code of an error."""
    async with scripted_target(HubUnderTest(port), "a", **ABOUT) as target:
        await target.send(message)
        [answer] = await target.answer_to(message["id"])
    return "ack" if answer["type"] == "ack" else str(answer["data"]["code"])


async def acknowledged(port: int, message: Message) -> None:
    """What a target does once it is back: it sends what was not acknowledged, until it is."""
    assert await answered(port, message) == "ack"


@asynccontextmanager
async def deaf_target(hub: HubUnderTest) -> AsyncIterator[Peer]:
    """One that is registered and reads nothing any more: an `ack` does not reach it."""
    async with peer_of(hub, reads=False) as peer:
        await peer.send(registration("a", **ABOUT))
        yield peer


async def kill(hub: Command) -> None:
    hub.process.kill()
    await hub.wait()


@pytest.mark.slow
async def test_a_hub_that_is_killed_at_any_step_loses_and_doubles_nothing(tmp_path: Path) -> None:
    path, port = tmp_path / "journal.sqlite3", free_port()
    async with journaled(path, port) as (hub, _):
        await kill(hub)  # before the report is sent
    async with journaled(path, port) as (hub, _):
        await acknowledged(port, hit(1))
        assert reports_in(path) == [1]
        await kill(hub)  # after it was acknowledged, but the target shall not have heard it
    async with journaled(path, port) as (hub, under_test):
        await acknowledged(port, hit(1))
        async with deaf_target(under_test) as target:
            hub.process.send_signal(signal.SIGSTOP)  # it gets the report, and has not read it
            await target.send(hit(2))
            await kill(hub)
    assert reports_in(path) == [1]
    async with journaled(path, port) as (hub, under_test):
        await acknowledged(port, hit(2))
        async with console_of(under_test, subscribed=True) as console:
            async with scripted_target(under_test, "a", **ABOUT) as target:
                await console.event("registered", "a")
                with closing(sqlite3.connect(path, isolation_level=None)) as db:
                    db.execute("BEGIN IMMEDIATE")  # read, and not committed: nobody else may write
                    await target.send(hit(3))
                    assert (await console.ask("ping"))["status"] == "alive"
                    assert (await target.ask("ping"))["status"] == "alive"  # it has read what came before
                    await kill(hub)
            assert [message for message in console.received if message.get("data", {}).get("peak")] == []
            assert [message for message in target.received if message["type"] == "ack"] == []
    assert reports_in(path) == [1, 2]
    async with journaled(path, port) as (hub, under_test):
        await acknowledged(port, hit(3))
        async with deaf_target(under_test) as target:
            await target.send(hit(4))
            await until(lambda: reports_in(path)[-1:] == [4], "it should be committed")
            await kill(hub)  # and the target knows nothing of it
    async with journaled(path, port) as (_, under_test):
        await acknowledged(port, hit(4))
        await acknowledged(port, hit(5))
        async with console_of(under_test) as console:
            await console.ask("subscribe", after=0)
            while (await console.event("hit", "a"))["peak"] != 5:
                pass
            events = [message["data"] for message in console.received if message["type"] == "event"]
    assert [data["peak"] for data in events if data["event"] == "hit"] == [1, 2, 3, 4, 5]
    assert reports_in(path) == [1, 2, 3, 4, 5]
    seqs = [data["seq"] for data in events]
    assert seqs == sorted(set(seqs))


@pytest.mark.parametrize(("window_ms", "hits"), [("20", [0, 1]), ("0", [1, 1])])
async def test_a_blow_that_two_targets_detect_is_kept_as_one(
    window_ms: str, hits: list[int], tmp_path: Path
) -> None:
    """The weaker report comes first, and is acknowledged and kept as a hit before the stronger one comes."""
    path, port = tmp_path / "journal.sqlite3", free_port()
    arguments = ("--listen", f"{HOST}:{port}", "--journal", str(path), "--crosstalk-ms", window_ms, "--json")
    async with snyper("hub", *arguments) as command:
        await command.listens()
        hub = HubUnderTest(port)
        async with scripted_target(hub, "near") as near, scripted_target(hub, "struck") as struck:
            at_us = (await near.ask("ping"))["data"]["hub_us"]
            for peer, peak, after_us in ((near, 22_000, 3_000), (struck, 60_000, 0)):
                data = {"reaction_ms": 300, "peak": peak, "at_us": at_us + after_us}
                assert (await peer.ask("hit", **data))["type"] == "ack"
        assert await command.interrupt() == 0
    status, out, _ = await run_snyper("stats", "--json", "--journal", str(path))
    assert status == 0
    assert [target["hits"] for target in json.loads(out)["targets"]] == hits


def _says_more(hub: Command, text: str, before: int) -> Callable[[], bool]:
    return lambda: hub.err.count(text) > before


@pytest.mark.slow
async def test_killed_while_it_commits(tmp_path: Path) -> None:
    """The instant is swept over the way from the first byte to the answer."""
    path, port = tmp_path / "journal.sqlite3", free_port()
    for number in range(1, 9):
        async with journaled(path, port) as (hub, under_test):
            if number > 1:
                await acknowledged(port, hit(number - 1))
            before = list(range(1, number))
            assert reports_in(path) == before
            here = hub.err.count("a is here")
            async with deaf_target(under_test) as target:
                await until(_says_more(hub, "a is here", here), "it should be registered")
                await target.send(hit(number))
                await asyncio.sleep((number - 1) / 2_000)  # for nothing: to be at another step each time
                await kill(hub)
        assert reports_in(path) in (before, [*before, number])


async def test_a_console_that_comes_back_gets_what_it_missed(tmp_path: Path) -> None:
    path, port = tmp_path / "journal.sqlite3", free_port()
    async with journaled(path, port) as (hub, under_test), console_of(under_test) as console:
        seen = (await console.ask("subscribe"))["data"]
        assert (seen["seq"], seen["oldest_seq"]) == (0, 1)
        await acknowledged(port, hit(1))
        last = (await console.event("hit", "a"))["seq"]
        assert (await console.ask("ping"))["data"]["journal"] == "ok"
        await acknowledged(port, hit(2))
        await kill(hub)
    async with journaled(path, port) as (_, under_test), console_of(under_test) as back:
        await acknowledged(port, hit(3))
        again = (await back.ask("subscribe", after=last, log_id=seen["log_id"]))["data"]
        assert again["log_id"] == seen["log_id"]
        assert [(await back.event("hit", "a"))["peak"] for _ in range(2)] == [2, 3]
        assert [
            message["data"]["peak"] for message in back.received if message.get("data", {}).get("peak")
        ] == [2, 3]


# --- disks


class Disk:
    """One that can be full. `journal` is a file on it."""

    def __init__(self, journal: Path, fill: Callable[[int], None], empty: Callable[[int], None]) -> None:
        self.journal = journal
        self.fill = fill
        self.empty = empty


@pytest.fixture
def limited(tmp_path: Path) -> Disk:
    """A limit of the system on how long a file may become, which SQLite meets like the end of a disk."""

    def limit(pid: int, size: int) -> None:
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))

    return Disk(
        tmp_path / "journal.sqlite3",
        lambda pid: limit(pid, 4096),
        lambda pid: limit(pid, resource.RLIM_INFINITY),
    )


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Disk]:
    """A real file system of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"there is no `mount` here: {error}")
    if mounted.returncode:
        pytest.skip(f"nothing may be mounted here: {mounted.stderr.strip()}")
    filler = place / "filler"

    def fill(pid: int) -> None:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        assert os.statvfs(place).f_bavail == 0

    try:
        yield Disk(place / "journal.sqlite3", fill, lambda pid: filler.unlink())
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@linux_only
@pytest.mark.parametrize("kind", ["limited", "tmpfs"])
async def test_a_full_disk_does_not_stop_the_range(kind: str, request: pytest.FixtureRequest) -> None:
    disk: Disk = request.getfixturevalue(kind)
    port = free_port()
    async with journaled(disk.journal, port) as (hub, under_test):
        async with console_of(under_test, subscribed=True) as console:
            await acknowledged(port, hit(1))
            disk.fill(hub.pid)
            failing: dict[str, Any] = {}
            number = 1
            while not failing:  # until what the file has in reserve is used up
                number += 1
                answer = await answered(port, hit(number))
                failing = _journal_event(console)
            assert answer == "fault"
            assert failing["state"] == "failing"
            assert "cannot be written" in failing["message"]
            assert await answered(port, hit(number + 1)) == "fault"  # and it is shown
            assert (await console.event("hit", "a"))["peak"]
            assert (await console.ask("ping"))["data"]["journal"] == "failing"
            await hub.says("The range goes on")
            disk.empty(hub.pid)
            await until(lambda: _journal_event(console)["state"] == "ok", "the disk should be used again")
            assert (await console.ask("ping"))["data"]["journal"] == "ok"
            for again in range(number, number + 3):
                await acknowledged(port, hit(again))
            await until(
                lambda: reports_in(disk.journal) == list(range(1, number + 3)), "nothing should be lost"
            )
            await until(
                lambda: _peaks_seen(console) == list(range(1, number + 3)), "each should be shown once"
            )
        assert await hub.interrupt() == 0


@linux_only
async def test_what_was_acknowledged_outlives_a_full_disk_and_a_kill(limited: Disk) -> None:
    port = free_port()
    told: dict[int, str] = {}
    async with journaled(limited.journal, port) as (hub, _):
        for number in range(1, 12):
            if number == 5:
                limited.fill(hub.pid)
            told[number] = await answered(port, hit(number))
        await kill(hub)
    acknowledged_hits = [number for number, answer in told.items() if answer == "ack"]
    assert acknowledged_hits[:4] == [1, 2, 3, 4]
    assert told[11] == "fault"
    assert set(acknowledged_hits) <= set(reports_in(limited.journal))
    async with journaled(limited.journal, port):  # and the target still has the others
        for number, answer in told.items():
            if answer != "ack":
                await acknowledged(port, hit(number))
        assert sorted(reports_in(limited.journal)) == list(range(1, 12))


async def test_what_was_acknowledged_outlives_a_removed_log_and_a_kill(tmp_path: Path) -> None:
    """40 hits were acknowledged after `rm J-wal J-shm`, and none was left."""
    path, port = tmp_path / "journal.sqlite3", free_port()
    async with journaled(path, port) as (hub, under_test), console_of(under_test, subscribed=True) as console:
        for number in range(1, 4):
            await acknowledged(port, hit(number))
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink()
        told = {number: await answered(port, hit(number)) for number in range(4, 8)}
        assert "fault" in told.values()
        await until(lambda: _journal_event(console).get("state") == "ok", "it should be opened anew")
        await hub.says("its -wal or -shm was removed")
        for number in range(4, 10):
            await acknowledged(port, hit(number))
        await kill(hub)
    assert reports_in(path) == list(range(1, 10))


def _peaks_seen(console: Peer) -> list[int]:
    """The peaks of the hits that it was told, in order."""
    events = [message["data"] for message in console.received if message["type"] == "event"]
    return [data["peak"] for data in events if data["event"] == "hit"]


def _journal_event(console: Peer) -> dict[str, Any]:
    """The last event about the journal, or an empty one."""
    events = [message["data"] for message in console.received if message["type"] == "event"]
    return next((data for data in reversed(events) if data["event"] == "journal"), {})


# --- the command


async def test_two_hubs_and_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    async with journaled(path, free_port()):
        status, _, err = await run_snyper("hub", "--listen", f"{HOST}:0", "--journal", str(path))
        assert status == 1
        assert f"another process writes the journal {path}" in err
        assert "--no-journal" in err


async def test_a_file_that_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear aunt, " * 500)
    status, _, err = await run_snyper("hub", "--listen", f"{HOST}:0", "--journal", str(path))
    assert status == 1
    assert "no journal" in err
    assert path.read_text() == "Dear aunt, " * 500


async def test_the_default_journal_is_where_the_user_keeps_data(tmp_path: Path) -> None:
    async with snyper(
        *("hub", "--listen", f"{HOST}:0", "--json", "--journal", str(tmp_path / "named.sqlite3")),
        XDG_DATA_HOME=str(tmp_path / "data"),
        HOME=str(tmp_path),
    ) as hub:
        await hub.listens()
        assert await hub.interrupt() == 0
    assert (tmp_path / "named.sqlite3").exists()
    status, _, err = await run_snyper("history", XDG_DATA_HOME=str(tmp_path / "data"), HOME=str(tmp_path))
    assert status == 1
    assert "there is no journal at" in err
    assert str(tmp_path) in err
    assert names_in(tmp_path) == {"named.sqlite3", "named.sqlite3-lock"}


async def test_it_is_read_while_a_hub_writes(tmp_path: Path) -> None:
    path, port = tmp_path / "journal.sqlite3", free_port()
    async with journaled(path, port):
        await acknowledged(port, {"type": "hit", "id": "e1", "data": {"reaction_ms": 412, "peak": 7}})
        await acknowledged(port, {"type": "miss", "id": "e2", "data": {"reason": "time_up"}})
        status, out, _ = await run_snyper("stats", "--json", "--journal", str(path))
        assert status == 0
        [target] = json.loads(out)["targets"]
        assert (target["target_id"], target["rounds"], target["accuracy"]) == ("a", 2, 0.5)
        status, out, err = await run_snyper("export", "--csv", "--hits", "--journal", str(path))
        assert status == 0
        assert [line.split(",")[1:5] for line in out.splitlines()[1:]] == [
            ["hit", "a", "412", "7"],
            ["miss", "a", "", ""],
        ]
        assert "2 rows" in err
