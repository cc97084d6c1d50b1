"""A hub with a screen to keep alive: how long its 20 ms tick was ever late. Runs under both runtimes.

    python -m tools.bench.programs.hub_ticker PORT TARGETS SECONDS        (or MicroPython with this file)

Waits until TARGETS have registered, commands all of them again and again for SECONDS, then prints one line
of JSON: the longest gap between two ticks in milliseconds, the ticks, the commands, how the results came out.
"""

import asyncio
import gc
import json
import sys

from snyper.firmware.master.server import Hub
from snyper.shared.socket_protocol import ALL_TARGETS

TYPE_CHECKING = False
if TYPE_CHECKING or sys.implementation.name != "micropython":
    from snyper.shared.runtime import now_ms, now_us, sleep_ms
else:  # in a board's image there is no module that only passes these on
    from snyper.shared.runtime_micropython import now_ms, now_us, sleep_ms

TICK_MS = 20
STAND_UP = "stand_up"  # in a board's image `MessageType` has not the words that its own modules compile in
COMMAND_TIMEOUT_MS = 500


class Ticker:
    """Ticks as the screen of a hub board does: something short, every 20 ms."""

    def __init__(self) -> None:
        self.ticks = 0
        self.longest_gap_us = 0

    async def run(self) -> None:
        last_us = now_us()
        while True:
            await sleep_ms(TICK_MS)
            tick_us = now_us()
            self.longest_gap_us = max(self.longest_gap_us, tick_us - last_us)
            last_us = tick_us
            self.ticks += 1


async def main(port: int, targets: int, seconds: int) -> None:
    hub = Hub("127.0.0.1", port, targets, 1)
    await hub.start()
    while len(hub.router.registry.connected()) < targets:
        await sleep_ms(TICK_MS)
    gc.collect()
    ticker = Ticker()
    ticking = asyncio.create_task(ticker.run())
    ok = failed = commands = 0
    slowest_ok_us = 0
    end_ms = now_ms() + seconds * 1000
    while now_ms() < end_ms:
        command = hub.router.send(STAND_UP, hub.router.registry.select(ALL_TARGETS), None, COMMAND_TIMEOUT_MS)
        for result in await command.results():
            if result.ok:
                ok += 1
                slowest_ok_us = max(slowest_ok_us, result.round_trip_us)
            else:
                failed += 1
        commands += 1
    ticking.cancel()
    left = len(hub.router.registry.connected())
    print(
        json.dumps(
            {
                "longest_gap_ms": ticker.longest_gap_us / 1000,
                "ticks": ticker.ticks,
                "commands": commands,
                "ok": ok,
                "failed": failed,
                "slowest_ok_ms": slowest_ok_us / 1000,
                "left": left,
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
