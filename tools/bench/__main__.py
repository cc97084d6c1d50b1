"""Measures the link against the least that could do the job: `make bench`.

All processes of a measurement share one CPU where the system allows it; what is compared alternates in one
run, and medians count.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tools.bench.against import rows_against
from tools.bench.arrays import array_link_rows, array_rows
from tools.bench.board_calls import board_call_rows
from tools.bench.calls import call_rows
from tools.bench.camera_growth import MOST, growth_rows
from tools.bench.cameras import camera_rows
from tools.bench.fan_out import fan_out_rows
from tools.bench.idle import idle_rows
from tools.bench.offload import offload_rows
from tools.bench.ping import ping_rows
from tools.bench.processes import pin_to_one_cpu
from tools.bench.recordings import recording_rows
from tools.bench.rounds import Row
from tools.bench.stream_clients import CLIENTS as STREAM_CLIENTS, stream_client_rows
from tools.bench.streams import stream_rows
from tools.bench.tick import tick_row

console = Console()


def measure(arguments: argparse.Namespace) -> list[Row]:
    console.print("bench: one PING")
    rows = asyncio.run(ping_rows(arguments.rounds, arguments.pings))
    for engine in ("micropython", "cpython"):
        console.print(f"bench: the tick of a {engine} hub, {arguments.seconds} s")
        rows.append(tick_row(engine, arguments.seconds))
    console.print(f"bench: one command to {arguments.targets} targets")
    rows += asyncio.run(fan_out_rows(arguments.targets, arguments.rounds))
    console.print("bench: one call")
    rows += asyncio.run(call_rows(arguments.rounds, arguments.pings))
    console.print("bench: a board's readings")
    rows += asyncio.run(board_call_rows(arguments.rounds))
    console.print("bench: streams over the link")
    rows += asyncio.run(stream_rows(arguments.rounds))
    console.print("bench: a recording")
    rows += asyncio.run(recording_rows(min(arguments.rounds, 5)))
    if sys.platform == "linux":
        console.print(f"bench: {arguments.targets} idle clients of calls")
        rows += asyncio.run(idle_rows(arguments.targets, arguments.seconds))
        console.print("bench: files and JSON over HTTP")
        rows += asyncio.run(offload_rows(arguments.rounds, arguments.pings))
        console.print("bench: few arrays and a million of them")
        rows += asyncio.run(array_rows(min(arguments.rounds, 5), min(arguments.pings, 100)))
        console.print("bench: an array through a hub")
        rows += asyncio.run(array_link_rows(min(arguments.rounds, 5)))
        console.print("bench: a signal to stock clients of its WebSocket")
        rows += asyncio.run(stream_client_rows(STREAM_CLIENTS, arguments.rounds))
        console.print("bench: detections and health of cameras")
        rows += asyncio.run(camera_rows(min(arguments.rounds, 5), arguments.targets, arguments.seconds))
        console.print(f"bench: {MOST:,} records of cameras")
        rows += asyncio.run(growth_rows(MOST, min(arguments.pings, 100)))
    return rows


def compare(arguments: argparse.Namespace) -> list[Row]:
    console.print(f"bench: {arguments.against} against this checkout")
    counts = (arguments.rounds, arguments.pings, arguments.targets)
    return asyncio.run(rows_against(arguments.against, *counts))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench", description="Measure SNYPER against raw asyncio, as ratios."
    )
    parser.add_argument("--rounds", type=int, default=15, help="alternating repetitions (15)")
    parser.add_argument("--pings", type=int, default=300, help="in each of them (300)")
    parser.add_argument("--targets", type=int, default=1000, help="for the fan-out (1000)")
    parser.add_argument("--seconds", type=int, default=10, help="for each tick measurement (10)")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="compare with another checkout")
    parser.add_argument("--records", type=int, help="see only how cameras grow to so many records (1000000)")
    arguments = parser.parse_args()
    pin_to_one_cpu()
    if arguments.records is not None:
        columns, rows = ("few", "many"), asyncio.run(growth_rows(arguments.records, arguments.pings))
    elif arguments.against is None:
        columns, rows = ("floor", "measured"), measure(arguments)
    else:
        columns, rows = ("before", "after"), compare(arguments)
    table = Table("what", *columns, "ratio", "aim", title="medians of alternating repetitions")
    for row in rows:
        table.add_row(row.what, row.floor, row.measured, row.ratio, row.aim)
    console.print(table)


if __name__ == "__main__":
    main()
