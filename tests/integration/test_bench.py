"""The measurements run: on counts that say nothing, and without a word about time."""

import sys
from pathlib import Path

import pytest

from tests.integration.harness import needs_micropython
from tools.bench.against import rows_against
from tools.bench.arrays import array_rows
from tools.bench.board_calls import board_call_rows
from tools.bench.calls import call_rows
from tools.bench.cameras import camera_rows
from tools.bench.fan_out import fan_out_rows
from tools.bench.idle import idle_rows
from tools.bench.offload import offload_rows
from tools.bench.ping import ping_rows
from tools.bench.processes import ROOT
from tools.bench.recordings import recording_rows
from tools.bench.stream_clients import stream_client_rows
from tools.bench.streams import stream_rows
from tools.idle_load import measure
from tools.message_cost import WORKS, costs

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="asks for the CPU time of another process")


@needs_micropython
async def test_a_ping_is_measured_beside_its_floors() -> None:
    rows = await ping_rows(rounds=1, pings=3)
    assert len(rows) == 5
    assert all(float(row.ratio) > 0 for row in rows)


async def test_a_command_to_many_is_measured_beside_its_floors() -> None:
    rows = await fan_out_rows(targets=3, rounds=1)
    assert len(rows) >= 1  # two where uvloop is installed
    assert all(row.floor.endswith(" ms") for row in rows)


async def test_a_call_is_measured_beside_its_floors() -> None:
    rows = await call_rows(rounds=1, calls=2, array_bytes=1 << 16)
    assert len(rows) == 6
    assert all(float(row.ratio) > 0 for row in rows)


@needs_micropython
async def test_a_board_s_call_is_measured_beside_http() -> None:
    rows = await board_call_rows(rounds=1)
    assert len(rows) == 4
    assert all(float(row.ratio) > 0 for row in rows)


@needs_micropython
async def test_streams_are_measured_beside_raw_sockets() -> None:
    rows = await stream_rows(rounds=1, size=1 << 20, board_size=1 << 20)
    assert len(rows) == 6
    assert all(float(row.ratio) > 0 for row in rows)


@needs_linux
async def test_offload_is_measured_beside_fastapi() -> None:
    rows = await offload_rows(rounds=1, requests=2, file_bytes=1_000_000)
    assert len(rows) == 4
    assert all(float(row.ratio) > 0 for row in rows[:3])


async def test_a_recording_is_measured_beside_reading_all_of_it() -> None:
    (row,) = await recording_rows(rounds=1, seconds=10)
    assert float(row.ratio) > 0


async def test_few_arrays_are_measured_beside_many() -> None:
    rows = await array_rows(rounds=1, requests=2, counts=(200, 400))
    assert len(rows) == 3
    assert all(abs(float(row.ratio)) < 10 for row in rows)


@needs_linux
async def test_a_signal_is_measured_beside_fastapi() -> None:
    [row] = await stream_client_rows(clients=2, rounds=1)
    assert float(row.ratio) > 0


@needs_linux
async def test_idle_clients_are_measured_beside_idle_links() -> None:
    memory, cpu = await idle_rows(count=20, seconds=0.5)
    assert memory.measured.endswith(" kB")
    assert cpu.measured.endswith(" ms")


@needs_linux
@pytest.mark.slow
async def test_cameras_are_measured_beside_a_plain_server() -> None:
    rows = await camera_rows(rounds=1, cameras=20, seconds=1.0, detections=8)
    assert {row.aim for row in rows} >= {"3.0", "2.0", "0.25"}
    assert all(float(row.ratio) > 0 for row in rows if row.ratio)
    assert [row.what.partition(": ")[2] for row in rows if "eventlet" in row.what][:2] == [
        "SQLite, Socket.IO, over eventlet",
        "SQLite, link, over eventlet",
    ]


@needs_linux
async def test_idle_targets_are_counted() -> None:
    load = await measure(targets=6, seconds=0.5)
    assert (load.connected, load.answered, load.failed) == (6, 6, "")
    assert load.hub_cores > 0


@needs_linux
@needs_micropython
@pytest.mark.slow
async def test_a_checkout_is_measured_against_another() -> None:
    if not (ROOT / ".venv" / "bin" / "snyper").exists():
        pytest.skip("this checkout's environment is somewhere else")
    rows = await rows_against(ROOT, rounds=1, pings=2, targets=3)
    assert len(rows) == 4
    assert all(float(row.ratio) > 0 for row in rows)


async def test_a_checkout_without_an_environment_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make setup"):
        await rows_against(tmp_path, rounds=1, pings=1, targets=1)


@needs_micropython
async def test_the_bytes_of_each_message_are_counted() -> None:
    counted = await costs(few=1, many=3, valgrind=None)
    assert [cost.what for cost in counted] == list(WORKS)
    assert all(cost.allocated_bytes > 0 and cost.instructions is None for cost in counted)


@needs_micropython
async def test_a_counted_target_that_ends_is_said_to_have_ended() -> None:
    with pytest.raises(OSError, match="has ended"):
        await costs(few=1, many=2, valgrind="/bin/false")
