"""The tick of a hub's screen while most of its targets are dead."""

import asyncio
import json
import os
from asyncio.subprocess import Process

from tools.bench.processes import (
    board_image,
    on_cpython,
    on_micropython,
    running,
    take_precedence,
    when_up,
)
from tools.bench.rounds import Row
from tools.loopback import free_port

HANGING = 4
VANISHING = 2
ANSWERING = 2


def tick_row(engine: str, seconds: int) -> Row:
    """Measure the longest gap of the hub's 20 ms tick while most of its targets hang or vanish."""
    result = measure_tick(engine, seconds)
    return Row(
        f"20 ms tick of a {engine} hub, {result['commands']} commands to 8 targets of which 6 are dead",
        "20 ms",
        f"{result['longest_gap_ms']:.1f} ms",
        f"{result['longest_gap_ms'] / 20:.2f}",
        "1.25",
    )


def measure_tick(engine: str, seconds: int) -> dict[str, float]:
    """Run `hub_ticker` with two targets that answer, four that accept and never do, two that vanish.

    Returns what it prints. Raises OSError, TimeoutError.
    """
    return asyncio.run(_measure_tick(engine, seconds))


async def _measure_tick(engine: str, seconds: int) -> dict[str, float]:
    port = free_port()
    targets = ANSWERING + HANGING + VANISHING
    on_engine = on_micropython if engine == "micropython" else on_cpython
    command = on_engine("hub_ticker", port, targets, seconds)
    with board_image("master") as modules:
        async with running(*command, env={"MICROPYPATH": f"{modules}{os.pathsep}.frozen"}) as process:
            take_precedence(process.pid)  # its tick waits for itself, and not for who else works here
            output = await _output_among_targets(process, port, targets, seconds)
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


async def _output_among_targets(process: Process, port: int, targets: int, seconds: int) -> bytes:
    peers = [
        asyncio.create_task(_play_target(port, number, number < ANSWERING, number < ANSWERING + HANGING))
        for number in range(targets)
    ]
    try:
        async with asyncio.timeout(seconds + 30):
            output, _ = await process.communicate()
            return output
    finally:
        for peer in peers:
            peer.cancel()
        await asyncio.gather(*peers, return_exceptions=True)


async def _play_target(port: int, number: int, answers: bool, lives: bool) -> None:
    """Play a target that answers everything, or only PING ("hangs"), or after registering nothing
    ("vanishes").
    """
    reader, writer = await when_up(lambda: asyncio.open_connection("127.0.0.1", port))
    writer.write(json.dumps({"type": "register", "id": 0, "target_id": f"t{number}"}).encode() + b"\n")
    try:
        while line := await reader.readline():
            message = json.loads(line)
            if message["type"] == "ping" and lives:
                reply = {"type": "pong", "id": message["id"]}
            elif message["type"] == "stand_up" and answers:
                reply = {"type": "standing", "id": message["id"]}
            else:
                continue
            writer.write(json.dumps(reply).encode() + b"\n")
    except ConnectionResetError:
        return
    finally:
        writer.close()
