"""A source of numbers, for who reads them: as raw bytes, over a link of its own, or through a hub.

    python -m tools.bench.programs.stream_source HOW PORT BYTES BLOCK_BYTES (or MicroPython with this file)

Dials PORT for `raw` and `direct`, where whoever listens reads BYTES in all, and is a device at the hub there
for `hub`. Sends as soon as somebody reads, then waits until it is ended.
"""

import asyncio
import gc
import sys
from array import array

from snyper.shared.device import Device
from snyper.shared.link import Link
from snyper.shared.stream_source import Sources

TYPE_CHECKING = False
if TYPE_CHECKING or sys.implementation.name != "micropython":
    from snyper.shared.runtime import dial, sleep_ms
else:  # in a board's image there is no module that only passes these on
    from snyper.shared.runtime_micropython import dial, sleep_ms

if TYPE_CHECKING:
    from snyper.shared.stream_source import SourceStream

CHUNK_BYTES = 65_536  # that any computer takes after a line
ITEM_BYTES = 4


async def send_raw(port: int, count: int, samples: "array[float]") -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    content = bytes(samples)
    for _ in range(count):
        writer.write(content)
        await writer.drain()
    await reader.read(1)


async def send(stream: "SourceStream", count: int, samples: "array[float]") -> None:
    gc.collect()  # as a board does at its start
    while not stream.is_read:
        await sleep_ms(1)
    for _ in range(count):
        await stream.send(samples)
        await stream.flush()
    while stream.is_read:
        await sleep_ms(1)


async def send_directly(port: int, count: int, samples: "array[float]") -> None:
    sources = Sources()
    stream = sources.open("numbers", {"dtype": "<f4"}, 1 << 20)
    link = Link(await dial("127.0.0.1", port, 5_000), {"read_stream": sources.answer}, "reader")
    link.peer_max_chunk_bytes = CHUNK_BYTES
    link.on_stream = sources.on_item
    link.on_close = sources.on_close
    link.start(lambda link: None)
    await send(stream, count, samples)
    link.end()


async def send_through_hub(port: int, count: int, samples: "array[float]") -> None:
    hub = Device("127.0.0.1:" + str(port), "source")
    running = asyncio.create_task(hub.run())
    async with hub.stream("numbers", "<f4") as stream:
        await send(stream, count, samples)
    running.cancel()


def main(how: str, port: int, size: int, block_bytes: int) -> None:
    samples = array("f", bytes(block_bytes))
    if len(samples) != block_bytes // ITEM_BYTES:  # MicroPython takes bytes for numbers
        samples = array("f", [0.0] * (block_bytes // ITEM_BYTES))
    count = size // block_bytes
    sending = {"raw": send_raw, "direct": send_directly, "hub": send_through_hub}[how]
    asyncio.run(sending(port, count, samples))


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
