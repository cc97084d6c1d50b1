"""A hub through which a file goes: how long its 20 ms tick was ever late. Runs under both runtimes.

    python -m tools.bench.programs.transfer_hub PORT        (or MicroPython with this file)

Ticks while a console is connected, then prints one line of JSON with the longest gap in milliseconds.
"""

import asyncio
import gc
import json
import sys

from snyper.firmware.master.server import Hub

TYPE_CHECKING = False
if TYPE_CHECKING or sys.implementation.name != "micropython":
    from snyper.shared.runtime import now_us, sleep_ms
else:  # in a board's image there is no module that only passes these on
    from snyper.shared.runtime_micropython import now_us, sleep_ms

TICK_MS = 20


async def main(port: int) -> None:
    hub = Hub("127.0.0.1", port, 4, 1)
    hub.lines_at_once = 1_000_000  # a real board takes no file so fast
    await hub.start()
    others = hub.router.registry.others
    while not others:
        await sleep_ms(TICK_MS)
    gc.collect()
    longest_us = ticks = 0
    last_us = now_us()
    while others:
        await sleep_ms(TICK_MS)
        tick_us = now_us()
        longest_us = max(longest_us, tick_us - last_us)
        last_us = tick_us
        ticks += 1
    print(json.dumps({"longest_gap_ms": longest_us / 1000, "ticks": ticks}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
