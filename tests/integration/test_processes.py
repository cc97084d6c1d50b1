"""Commands of `snyper` that another one starts: `play` and `demo` do."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from snyper.cli import processes
from tests.integration.harness import HOST, is_alive, linux_only, until

pytestmark = linux_only

HUB = ("hub", "--listen", f"{HOST}:0", "--no-journal")


async def test_what_lies_in_the_current_folder_is_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("snyper", "rich", "json"):
        (tmp_path / f"{name}.py").write_text("raise AssertionError(__file__)\n")
    monkeypatch.chdir(tmp_path)
    async with processes.running(*HUB) as hub:
        assert hub.said["listen"].startswith(f"{HOST}:")


async def test_one_that_is_not_ready_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "READY_TIMEOUT_S", 0.001)
    with pytest.raises(OSError, match=r"`snyper hub` was not ready within 0\.001 s; it said last: nothing"):
        async with processes.running(*HUB):
            pass


async def test_one_that_hangs_is_killed_also_where_its_end_is_cut_short() -> None:
    """As by another Ctrl-C."""
    pids: list[int] = []

    async def hold() -> None:
        async with processes.running(*HUB) as hub:
            pids.append(hub.pid)
            await asyncio.Event().wait()

    holding = asyncio.create_task(hold())
    await until(lambda: pids, "it should run")
    os.kill(pids[0], signal.SIGSTOP)
    for _ in range(2):
        holding.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(holding, return_exceptions=True)
    await until(lambda: not is_alive(pids[0]), "it should be killed")
