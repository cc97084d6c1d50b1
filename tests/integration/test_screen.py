"""Nothing blocks the hub: its screen's 20 ms tick goes on while most of its targets are dead."""

import pytest

from tests.integration.harness import each_engine
from tools.bench.programs.hub_ticker import COMMAND_TIMEOUT_MS, TICK_MS
from tools.bench.tick import ANSWERING, HANGING, VANISHING, measure_tick

SECONDS = 4


@each_engine
def test_the_screen_ticks_while_targets_hang(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = measure_tick(engine, SECONDS)
    with capsys.disabled():
        print(f"\n{engine} hub: {result}")
    assert result["commands"] >= 2
    assert result["longest_gap_ms"] < COMMAND_TIMEOUT_MS / 2
    # It ticked all the time, not once in a while: at least half of the ticks of an idle machine.
    assert result["ticks"] > SECONDS * 1000 / TICK_MS / 2
    # Those that answer answered every command, long before the others' time was over.
    assert result["ok"] == result["commands"] * ANSWERING
    assert result["slowest_ok_ms"] < COMMAND_TIMEOUT_MS / 2
    assert result["failed"] >= result["commands"] * HANGING
    # Those that vanished were given up, and only those.
    assert result["left"] == ANSWERING + HANGING
    assert VANISHING > 0
