"""A hub whose 20 ms tick is watched while streams pass. Says its port; then, for each line that it reads, the
longest gap between two ticks since the last, in milliseconds.
"""

import asyncio
import sys

from snyper.hub.stream_hub import StreamHub
from tools.bench.programs.hub_ticker import Ticker


async def main() -> None:
    hub = StreamHub("127.0.0.1", 0, 4, 4)
    await hub.start()
    print(hub.port, flush=True)
    ticker = Ticker()
    ticking = asyncio.create_task(ticker.run())
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(ticker.longest_gap_us / 1000, flush=True)
        ticker.longest_gap_us = 0
    ticking.cancel()
    await hub.shut_down()


asyncio.run(main())
