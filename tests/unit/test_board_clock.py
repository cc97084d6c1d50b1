"""A virtual board's clock where a board's wraps: what waits goes on, and both counts stay whole."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PERIOD = 1 << 30

PROGRAM = """
import sys
sys.path[:0] = [{root!r} + "/host", {root!r} + "/host/snyper/boards/virtual_board"]
import board_clock
board_clock.install(1, {{"offset_us": {offset_us}, "drift_ppm": 200}})
import asyncio
import json
import time
from snyper.shared.clock import now_us
from snyper.shared.runtime import call_later

told = []
async def main():
    done = asyncio.Event()
    began = time.ticks_ms(), time.ticks_us(), now_us()
    def tell(name):
        told.append([name, time.ticks_diff(time.ticks_ms(), began[0]),
                     time.ticks_diff(time.ticks_us(), began[1]), now_us() - began[2]])
        if len(told) == 4:
            done.set()
    timers = []
    for delay_ms in (150, 20, 100):
        timer = call_later(delay_ms, lambda name=delay_ms: tell(name))
        timers.append((delay_ms, time.ticks_diff(timer.due_ms, began[0]) - delay_ms))
    call_later(50, lambda: call_later(30, lambda: tell(80)))
    await asyncio.wait_for(done.wait(), 10)
    print(json.dumps({{"told": told, "set": timers,
                       "began": began[:2], "ended": [time.ticks_ms(), time.ticks_us()]}}))
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("offset_us", "wraps"),
    [
        pytest.param(PERIOD - 60_000, [False, True], id="microseconds"),
        pytest.param((PERIOD - 60) * 1000, [True, True], id="both"),
        pytest.param(5_000_000, [False, False], id="neither"),
    ],
)
def test_timers_over_the_end_of_the_count(micropython: Path, offset_us: int, wraps: list[bool]) -> None:
    program = PROGRAM.format(root=str(ROOT), offset_us=offset_us)
    command = [str(micropython), "-c", program]
    for _ in range(10):
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        said = json.loads(done.stdout)
        if said["began"][1] >= offset_us % PERIOD:  # else the computer stood still until the count was over
            break
    names = [name for name, *_ in said["told"]]
    assert sorted(names) == [20, 80, 100, 150]
    # They are set in one instant, but where the computer stood still between two.
    due_ms = {name: set_ms + name for name, set_ms in said["set"]}
    assert [name for name in names if name != 80] == sorted(due_ms, key=lambda name: due_ms[name])
    for name, ms, ticks_us, us in said["told"]:
        assert ms >= name
        assert ms - 1 <= ticks_us // 1000 <= ms + 1
        assert ms - 1 <= us // 1000 <= ms + 1
    assert all(0 <= ticks < PERIOD for ticks in said["began"] + said["ended"])
    assert [end < begin for begin, end in zip(said["began"], said["ended"], strict=True)] == wraps
