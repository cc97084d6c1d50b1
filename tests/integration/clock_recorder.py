"""Records one sample, captured now, and a reading of the clocks for each line that it reads; answers it."""

import asyncio
import sys
from pathlib import Path

import numpy

from snyper.recordings.recorder import Recorder
from snyper.shared.clock import now_us
from snyper.streams import Block, StreamSpec


async def main(folder: Path) -> None:
    """Record into `folder`."""
    spec = StreamSpec("<i4", (), 0)
    async with Recorder(folder / "recording", "lab1", "signal", folder, clock_s=0) as recorder:
        seq = 0
        while await asyncio.to_thread(sys.stdin.readline):
            at_us = now_us()
            block = Block("e1", seq, numpy.full(1, seq, "<i4"), at_us, 0, at_us, lag_us=1)
            await recorder.put(block, spec)
            print(seq, flush=True)
            seq += 1


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
