"""A source whose samples say their number and their epoch: `counting_source ADDRESS FILE`.

Before it sends it writes into FILE which epoch it has and how many samples it has sent then, so that this is
known of one that is killed. SIGTERM ends its sending; the stream stays.
"""

import asyncio
import signal
import sys
import zlib
from pathlib import Path

import numpy

from snyper.shared.device import Device

NAME, STREAM = "lab1", "count"
_RATE_HZ = 20_000
_PERIOD_S = 0.005


def samples_of(epoch: str, first: int, count: int) -> "numpy.ndarray[tuple[int], numpy.dtype[numpy.uint32]]":
    """Return what the samples of an epoch are."""
    numbers = numpy.arange(first, first + count, dtype="<u8") + zlib.crc32(epoch.encode())
    return numbers.astype("<u4")


async def main(address: str, file: Path) -> None:
    """Send until the process ends."""
    device = Device(address, NAME)
    running = asyncio.create_task(device.run())
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    count = int(_RATE_HZ * _PERIOD_S)
    async with device.stream(STREAM, "<u4", rate_hz=_RATE_HZ) as stream:
        with file.open("ab", buffering=0) as sent:
            while not ended.is_set():
                first = stream.seq
                sent.write(f"{stream.epoch} {first + count}\n".encode())
                await stream.send(samples_of(stream.epoch, first, count))
                await asyncio.sleep(_PERIOD_S)
        await running


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
