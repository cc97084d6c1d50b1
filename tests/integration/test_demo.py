"""`snyper demo`: how it ends, well and otherwise."""

import re
import signal
from pathlib import Path

import pytest

from snyper.client import key_store
from snyper.shared.keys import Rights
from tests.integration.harness import (
    left_in,
    linux_only,
    needs_micropython,
    processes_with,
    run_snyper,
    snyper,
)


@needs_micropython
@linux_only
async def test_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = await run_snyper("demo", TMPDIR=str(tmp_path))
    lines = out.splitlines()
    with capsys.disabled():
        print("\n" + "\n".join(lines[-2:]))
    assert status == 0, out + err
    last = re.fullmatch(
        r"DEMO OK targets=4 commands=(\d+) hits=(\d+) misses=(\d+) score=(\d+)"
        r" ping_p50_ms=(\d+\.\d+) systems=5",
        lines[-1],
    )
    assert last is not None, lines[-1]
    commands, hits, misses, score = (int(last[number]) for number in (1, 2, 3, 4))
    assert commands >= 4 * 50
    assert hits + misses >= 4
    assert hits > 0
    points = [int(line.split()[-2]) for line in lines if line.endswith(" points")]
    assert score == sum(points) > 0
    assert any(line.startswith("│ ★") and line.endswith(f" {score} │") for line in lines)
    steps = [line.split()[0] for line in lines if line[:1].isalpha()]
    assert steps[-7:-2] == ["call", "offload", "array", "signal", "cameras"]
    assert err == ""
    assert "lost" in out
    assert processes_with(str(tmp_path)) == []
    assert left_in(tmp_path) == []


@linux_only
async def test_the_demo_without_micropython(tmp_path: Path) -> None:
    nowhere = "/no/micropython"
    status, out, err = await run_snyper("demo", MICROPYTHON=nowhere, TMPDIR=str(tmp_path))
    assert status == 1
    last = (out + err).splitlines()[-1]
    assert f"MICROPYTHON={nowhere}" in last
    assert "DEMO OK" not in out
    assert "Traceback" not in out + err
    assert processes_with(str(tmp_path)) == []
    assert left_in(tmp_path) == []


@needs_micropython
@linux_only
async def test_the_demo_of_somebody_with_keys_is_cut_short(tmp_path: Path) -> None:
    with key_store.changing() as store:
        store.add(key_store.new_key("fleet"), Rights.FLEET)
    async with snyper("demo", TMPDIR=str(tmp_path)) as command:
        await command.says("register")
        command.process.send_signal(signal.SIGINT)
        assert await command.wait() == 130
        assert "Traceback" not in command.out + command.err
        assert "DEMO OK" not in command.out
    assert processes_with(str(tmp_path)) == []
    assert left_in(tmp_path) == []
