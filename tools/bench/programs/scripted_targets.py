"""Targets as the hub sees them on the wire. Arguments: the hub's address, the number of the first, how many,
and whether they are `idle` or `quiet`.

Each registers and answers what it is asked. One that is `idle` also asks for the hub's clock, as the
firmware's targets do that nobody commands; a `quiet` one says nothing of its own accord, so that a command is
all there is. Nothing else is done for them, so that a hub with thousands can be measured on a machine of
which it has half. One that loses its connection stays away.

Says `ready` when the last has registered; then, for each line of the standard input, how many are connected.
"""

import asyncio
import json
import sys
from typing import cast

from snyper.shared.address import parse_address
from snyper.shared.socket_protocol import HEARTBEAT_MS, MAX_HEARTBEAT_MS
from tools.bench.peer import line_with
from tools.bench.processes import RECEIVE_BYTES, limit_reads

TICK_MS = 10
# As shared/clock_sync.py has them, which an older checkout that is compared has elsewhere.
SYNC_MS = 500
ASKS_PER_HEALTH = 10  # one in so many says how the target is
HEALTH = {
    "state": "down",
    "uptime_ms": 123_456,
    "dropped": 0,
    "rests_at": 0,
    "uncertainty_us": 812,
    "heap_free_bytes": 65_536,
}


class ScriptedTarget(asyncio.Protocol):
    """One of them."""

    transport: asyncio.Transport

    def __init__(self, name: str, heartbeat_ms: int) -> None:
        self.is_connected = False
        self.is_registered = asyncio.Event()
        self._name = name
        self._heartbeat_ms = heartbeat_ms
        self._begun = b""  # of a line
        self._next_id = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        limit_reads(transport, RECEIVE_BYTES)
        self.is_connected = True
        data: dict[str, object] = {"protocol": 1, "firmware": "0.1.0", "state": "down"}
        data |= {"hardware_id": self._name, "boot_id": self._name, "heartbeat_ms": self._heartbeat_ms}
        self._send({"type": "register", "id": 0, "target_id": self._name, "data": data})

    def connection_lost(self, error: Exception | None) -> None:
        self.is_connected = False

    def data_received(self, data: bytes) -> None:
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            # Most lines are the hub's answers to `ask`; what is in them only the firmware wants to know.
            if b'"ping"' in line:
                self._answer(json.loads(line))
            elif b'"registered"' in line:
                self.is_registered.set()

    def ask(self) -> None:
        """Send what a target sends of its own accord."""
        if self.is_connected:
            message: dict[str, object] = {"type": "ping", "id": self._next_id}
            if self._next_id % ASKS_PER_HEALTH == 0:
                message["data"] = HEALTH | {"round_trip_us": 612}
            self._send(message)
            self._next_id += 1

    def _answer(self, ping: dict[str, object]) -> None:
        self._send({"type": "pong", "id": ping["id"], "status": "alive", "data": HEALTH})

    def _send(self, message: dict[str, object]) -> None:
        self.transport.write(line_with(message))


async def ask_in_turns(targets: list[ScriptedTarget]) -> None:
    """Let each target ask every SYNC_MS, spread over that time."""
    loop = asyncio.get_running_loop()
    turns = SYNC_MS // TICK_MS
    due = loop.time()
    while True:
        for turn in range(turns):
            for target in targets[turn::turns]:
                target.ask()
            due += TICK_MS / 1000
            await asyncio.sleep(due - loop.time())


async def main(hub: str, first: int, count: int, is_idle: bool) -> None:
    loop = asyncio.get_running_loop()
    targets: list[ScriptedTarget] = []
    asking = loop.create_task(ask_in_turns(targets)) if is_idle else None
    for number in range(first, first + count):
        target = ScriptedTarget(f"target_{number}", HEARTBEAT_MS if is_idle else MAX_HEARTBEAT_MS)
        await loop.create_connection(lambda target=target: target, *parse_address(hub))  # type: ignore[misc]
        await target.is_registered.wait()
        targets.append(target)
    print("ready", flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(sum(target.is_connected for target in targets), flush=True)
    if asking is not None:
        asking.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "idle"))
