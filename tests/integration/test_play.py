"""`snyper play`: everything at once, and nothing left of it."""

import asyncio
import json
import os
import re
import signal
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from snyper.client import connect, key_store
from snyper.shared.keys import Rights
from tests.integration.harness import (
    DEADLINE_S,
    HOST,
    at_length,
    free_port,
    left_in,
    linux_only,
    parent_of,
    processes_with,
    run_snyper,
    snyper,
    until,
    wait_until,
)

pytest.importorskip("nicegui", reason="the dashboard is an extra: pip install snyper[dashboard]")

PARTS = at_length(
    ("hub", "simulate", "simulate-signal", "gateway", "simulate-cameras", "dashboard"),
    ("hub", "simulate-cameras"),
)


def told(url: str) -> Any:
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


@linux_only
async def test_a_range_to_click_through(tmp_path: Path) -> None:
    with key_store.changing() as store:
        store.add(key_store.new_key("fleet"), Rights.FLEET)
    listen = f"{HOST}:{free_port()}"
    async with snyper(
        "play", "--no-open", "--targets", "2", "--listen", listen, TMPDIR=str(tmp_path)
    ) as command:
        await command.says("snyper watch")
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://{listen}/").read().decode())
        assert "<title>" in page
        [hub] = re.findall(r"`snyper watch --hub (\S+)`", command.err)
        here: set[str] = set()
        async with connect(hub) as console, asyncio.timeout(DEADLINE_S):
            async for event in console.events(after=0):
                here |= {event.target_id} if event.event == "registered" else set()
                if here == {"target_1", "target_2"}:
                    break
            names = [stream.name for stream in await console.streams()]
            assert names == ["demo/signal", "target_1/piezo", "target_2/piezo"]
            assert {one.target_id for one in await console.services()} >= {"cameras", "lab1"}
        [gateway] = re.findall(r"at the gateway (\S+)", command.err)
        await asyncio.to_thread(
            wait_until,
            lambda: told(f"{gateway}/api/statistics")["data"]["unique_cameras"] == 4,
            "cameras tell",
        )
        assert told(f"{gateway}/arrays")["count"] == 1
        assert await command.interrupt() == 0
        assert "Traceback" not in command.err
    assert processes_with(str(tmp_path)) == []
    assert left_in(tmp_path) == []


@pytest.mark.slow
@linux_only
@pytest.mark.long
@pytest.mark.parametrize("part", PARTS)
async def test_a_part_that_dies_is_named(part: str, tmp_path: Path) -> None:
    listen = f"{HOST}:{free_port()}"
    async with snyper("play", "--no-open", "--listen", listen, TMPDIR=str(tmp_path)) as command:
        await command.says("snyper watch")
        # A process that it starts has the same command line until it has become another program.
        program = "snyper.hub" if part == "hub" else f"snyper.cli\0{part}"
        known = set(processes_with(f"{program}\0")) & set(processes_with(str(tmp_path)))
        [pid] = [pid for pid in known if parent_of(pid) == command.pid]
        os.kill(pid, signal.SIGKILL)
        assert await command.wait() == 1
        assert f"`snyper {part}` was ended by SIGKILL" in command.err.splitlines()[-1]
        assert "Traceback" not in command.err
    await until(lambda: not processes_with(str(tmp_path)), "no part should outlive it")
    await until(lambda: not left_in(tmp_path), "what was killed should leave nothing either")


@linux_only
async def test_one_that_is_killed_leaves_no_part(tmp_path: Path) -> None:
    listen = f"{HOST}:{free_port()}"
    async with snyper("play", "--no-open", "--listen", listen, TMPDIR=str(tmp_path)) as command:
        await command.says("snyper watch")
        assert len(processes_with(str(tmp_path))) > 3
        command.process.send_signal(signal.SIGKILL)
        await command.wait()
    await until(lambda: not processes_with(str(tmp_path)), "no part should outlive it")
    assert left_in(tmp_path) == []


@pytest.mark.slow
@linux_only
async def test_it_says_what_is_in_the_way(tmp_path: Path) -> None:
    port = free_port()
    server = await asyncio.start_server(lambda reader, writer: writer.close(), HOST, port)
    async with server:
        status, out, err = await run_snyper(
            "play", "--no-open", "--listen", f"{HOST}:{port}", TMPDIR=str(tmp_path)
        )
    assert status == 1
    assert str(port) in err.splitlines()[-1]
    assert "Traceback" not in out + err
    assert processes_with(str(tmp_path)) == []
    assert left_in(tmp_path) == []
