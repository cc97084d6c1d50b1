"""A few of the runs that `make chaos` does by the thousand."""

import asyncio
from pathlib import Path

import pytest

from tests.integration.harness import needs_micropython
from tools.chaos.processes import _Target, plan, run
from tools.impaired_link import ImpairedLink

SEEDS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 45, 114]  # which have every fault at least twice
FAULTS = {
    *("cut", "cut_at_report", "cut_at_ack", "cut_console", "hold", "delay", "double"),
    *("kill_hub", "kill_hub_at_report", "kill_hub_at_ack", "kill_board", "reboot"),
}


@pytest.mark.slow
@needs_micropython
async def test_nothing_is_lost_nor_doubled(tmp_path: Path) -> None:
    done: list[int] = []
    broken = await run(SEEDS, 6, tmp_path, lambda seed, why: done.append(seed))
    assert broken == {}
    assert sorted(done) == SEEDS


@needs_micropython
async def test_whether_a_strike_was_detected_is_not_known_while_its_board_boots(tmp_path: Path) -> None:
    target = _Target(tmp_path, 1, ImpairedLink(1))
    target.has_power = False
    striking = asyncio.create_task(target.strike(2_000))
    await asyncio.sleep(0)
    await asyncio.to_thread(target.board.start)  # which clears the strike away
    try:
        assert await striking is None
    finally:
        await asyncio.to_thread(target.board.kill)


def test_a_seed_decides_the_whole_run() -> None:
    assert plan(7) == plan(7)
    assert plan(7) != plan(8)
    happened = [step.what for seed in SEEDS for step in plan(seed)]
    assert {what for what in happened if happened.count(what) > 1} >= FAULTS
