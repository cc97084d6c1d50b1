"""A bench for `make play` and `make demo`: an instrument, a gateway with arrays and cameras."""

import asyncio
import math
import random
import time
from contextlib import AsyncExitStack
from pathlib import Path

from snyper.cli.processes import Running, running
from snyper.services.async_client import AsyncClient
from snyper.services.async_server import AsyncServer
from snyper.services.remote_exceptions import CallError
from snyper.shared.runtime import end_task

NAME = "lab1"
_READ_S = 1.0
_AGAIN_S = 2.0


class Thermometer:
    """A simulated thermometer."""

    def read_celsius(self, samples: int = 1) -> float:
        """Measure the temperature."""
        return round(21 + math.sin(time.time() / 60) + random.gauss(0, 0.05 / math.sqrt(samples)), 2)


async def begin(stack: AsyncExitStack, hub: str, gateway: str) -> None:
    """Have the instrument work at the hub until the stack's end, and an array be at the gateway. Raises
    OSError, TransferError, CallError.
    """
    await asyncio.to_thread(_store, gateway)
    await stack.enter_async_context(AsyncServer(Thermometer(), hub=hub, name=NAME))
    reading = asyncio.create_task(_read(hub))
    stack.push_async_callback(end_task, reading)


async def _read(hub: str) -> None:
    while True:
        try:
            async with AsyncClient(hub=hub, name=NAME) as thermometer:
                while True:
                    await thermometer.read_celsius(samples=random.choice((1, 4, 16)))
                    await asyncio.sleep(_READ_S)
        except CallError:
            await asyncio.sleep(_AGAIN_S)


async def begin_gateway(
    stack: AsyncExitStack, directory: Path, hub: str, *cameras: str
) -> tuple[Running, Running]:
    """Have a gateway with arrays and cameras run until the stack's end, and simulated cameras, which get more
    options with `cameras`. Raises OSError.
    """
    places = ("--arrays", str(directory / "arrays"), "--cameras", str(directory / "cameras"))
    gateway = await stack.enter_async_context(
        running("gateway", *places, "--hub", hub, "--listen", "127.0.0.1:0", TMPDIR=str(directory))
    )
    outboxes = ("--outbox", str(directory / "outboxes"))
    simulated = await stack.enter_async_context(
        running("simulate-cameras", "--hub", hub, *outboxes, *cameras)
    )
    return gateway, simulated


def _store(gateway: str) -> None:
    """Store a spectrum of three lines."""
    from snyper.arrays import NumpyClient  # of an extra

    lines = ((4.0, 3.0), (9.0, 7.0), (16.0, 5.0))  # where, how high
    spectrum = [
        sum(math.exp(-((at / 100 - where) ** 2) * 20) * height for where, height in lines)
        for at in range(2_000)
    ]
    with NumpyClient(gateway) as client:
        client.upload_numpy_array(spectrum, "spectrum")
