"""Speaks as a side of a measurement: its port, a line when it is ready, then the CPU time of each round."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable


def say(word: object) -> None:
    print(word, flush=True)


async def serve_rounds(work: Callable[[], Awaitable[object]]) -> None:
    """Do `work` for each line of the standard input, and say how many ms of CPU time this process took."""
    say("ready")
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        began = time.process_time()
        await work()
        say((time.process_time() - began) * 1000)
