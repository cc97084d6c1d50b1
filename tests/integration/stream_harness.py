"""A hub with a fan-out of streams, its sources and its subscribers, in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import snyper
from snyper.client import HubClient
from snyper.hub.stream_hub import StreamHub
from snyper.shared.device import Device
from snyper.shared.runtime import end_task
from snyper.streams import Block
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


async def take(blocks: AsyncIterator[Block], count: int) -> list[Block]:
    """Return the next blocks."""
    return [await asyncio.wait_for(anext(blocks), DEADLINE_S) for _ in range(count)]
