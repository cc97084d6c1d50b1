"""A console that measures: `python -m tools.faults.prober HOST:PORT TARGET`.

For each line on stdin, a number of seconds, it commands the target for that long and prints what it took, as
JSON.
"""

import asyncio
import json
import math
import sys
import time

from snyper.client import connect
from snyper.client.environment import client_key

PAUSE_S = 0.007  # no person commands without one, nor does a limit of rates bear two minutes of it


async def main() -> None:
    address, target_id = sys.argv[1:]
    async with connect(address, client_key()) as client:
        while line := await asyncio.to_thread(sys.stdin.readline):
            ends = time.monotonic() + float(line)
            took_ms: list[float] = []
            lost = 0
            while time.monotonic() < ends or not took_ms:
                began = time.perf_counter()
                results = await client.ping(target_id)
                took_ms.append((time.perf_counter() - began) * 1000)
                lost += not results[0].ok
                await asyncio.sleep(PAUSE_S)
            took_ms.sort()
            found = {
                "p50_ms": took_ms[len(took_ms) // 2],
                "p99_ms": took_ms[math.ceil(len(took_ms) * 0.99) - 1],
                "worst_ms": took_ms[-1],
                "count": len(took_ms),
                "lost": lost,
            }
            print(json.dumps(found), flush=True)


asyncio.run(main())
