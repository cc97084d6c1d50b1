"""A hub with a fan-out of streams, its sources and its subscribers, in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy

import snyper
from snyper.client import HubClient
from snyper.hub.stream_hub import StreamHub
from snyper.shared.device import Device
from snyper.shared.runtime import end_task
from snyper.shared.socket_protocol import MAX_HEARTBEAT_MS
from snyper.shared.stream_source import SourceStream
from snyper.streams import Block, Mark
from snyper.streams.subscriber import StreamReader
from tests.integration.harness import DEADLINE_S, HOST, until

ACCELEROMETER: dict[str, Any] = {"dtype": "<f4", "shape": (3,), "rate_hz": 400}


@asynccontextmanager
async def stream_hub(
    port: int = 0, keys: tuple[str, ...] = (), max_consoles: int = 8
) -> AsyncIterator[StreamHub]:
    """Run a hub in this process."""
    hub = StreamHub(HOST, port, 8, max_consoles, "\n".join(keys))
    hub.unregistered = hub.places = 64
    hub.strangers_per_s = 1_000
    await hub.start()
    try:
        yield hub
    finally:
        await asyncio.wait_for(hub.shut_down(), DEADLINE_S)


@asynccontextmanager
async def source_of(port: int, name: str = "lab1", key: str = "") -> AsyncIterator[Device]:
    """Run a device, from when it is registered on."""
    device = Device(f"{HOST}:{port}", name, key)
    running = asyncio.create_task(device.run())
    try:
        await until(lambda: device.link is not None, f"{name} should register")
        yield device
    finally:
        await end_task(running)


@asynccontextmanager
async def console(port: int, key: str | None = "") -> AsyncIterator[HubClient]:
    """Connect to the hub as a console."""
    async with snyper.connect(f"{HOST}:{port}", key) as hub:
        yield hub


def deafen(hub: StreamHub, client: HubClient) -> None:
    """Have a console read nothing any more, which nobody takes for a dead one."""
    for link in (client._link, *hub.links):
        link.start_heartbeat(MAX_HEARTBEAT_MS, MAX_HEARTBEAT_MS)
    client._link._stream.pause_reading()


async def take(blocks: AsyncIterator[Block], count: int) -> list[Block]:
    """Return the next blocks."""
    return [await asyncio.wait_for(anext(blocks), DEADLINE_S) for _ in range(count)]


COUNTER: dict[str, Any] = {"dtype": "<u4"}


class Counter:
    """A source whose samples are their own numbers, so that each shows whether it is in its place."""

    def __init__(self, stream: SourceStream) -> None:
        self.stream = stream

    async def send(self, count: int) -> None:
        """Send so many samples."""
        seq = self.stream.seq
        await self.stream.send(numpy.arange(seq, seq + count, dtype="<u4"))


@asynccontextmanager
async def counter_of(device: Device, name: str = "count", **options: Any) -> AsyncIterator[Counter]:
    """Begin a stream of a device, `COUNTER`."""
    async with device.stream(name, **COUNTER, **options) as stream:
        yield Counter(stream)


class Tally:
    """A subscriber that reads on and on, and checks what comes: sent = received + lost, in each epoch."""

    def __init__(self, reader: StreamReader) -> None:
        self.reader = reader
        self.received = 0
        self.lost = 0
        self.next_seq = 0  # that comes after what came last
        self.epochs: list[str] = []
        self.marks: list[Mark] = []
        self.wrong: list[str] = []
        self.error: Exception | None = None
        self._came = asyncio.Event()
        self.task = asyncio.create_task(self._run())
        self.task.add_done_callback(lambda _: self._came.set())

    async def _run(self) -> None:
        try:
            async for block in self.reader:
                self._take(block)
        except Exception as error:
            self.error = error

    def _take(self, block: Block) -> None:
        expected = self.next_seq + block.lost if self.received else block.seq
        if not self.epochs or block.epoch != self.epochs[-1]:
            self.epochs.append(block.epoch)
        elif block.seq != expected:
            self.wrong.append(f"{block.seq} came for {expected}")
        if (block.samples != numpy.arange(block.seq, block.next_seq, dtype="<u4")).any():
            self.wrong.append(f"samples of others at {block.seq}")
        self.received += len(block.samples)
        self.marks += block.marks
        self.lost += block.lost
        self.next_seq = block.next_seq
        self._came.set()

    async def until(self, next_seq: int) -> None:
        """Wait until it has come so far."""
        async with asyncio.timeout(DEADLINE_S):
            while self.next_seq < next_seq and not self.task.done():
                self._came.clear()
                await self._came.wait()
        assert self.error is None, self.error
        assert self.wrong == []


@asynccontextmanager
async def tally_of(hub: HubClient, name: str = "lab1/count", **options: Any) -> AsyncIterator[Tally]:
    """Read a stream in a task, from when the hub has said what it is on."""
    tally = Tally(hub.read_stream(name, **options))
    try:
        await until(lambda: tally.reader.spec is not None or tally.task.done(), f"{name} should begin")
        yield tally
    finally:
        await end_task(tally.task)


@asynccontextmanager
async def waiting_tally_of(hub: HubClient) -> AsyncIterator[Tally]:
    """Read a stream in a task, of a source that need not be there yet."""
    tally = Tally(hub.read_stream("lab1/count", wait=True))
    try:
        yield tally
    finally:
        await end_task(tally.task)
