"""The systems beside the range as `make demo` shows them: a call, offload, an array, a signal, cameras."""

import asyncio
import time
from contextlib import AsyncExitStack, aclosing
from functools import partial
from pathlib import Path

from rich.console import Console

from snyper.cli import extras, play_bench
from snyper.cli.demo_step import check, say
from snyper.cli.processes import running
from snyper.client import HubClient
from snyper.device.adapters import RemoteFileAdapter
from snyper.device.answer import Answer
from snyper.device.connection import Connection
from snyper.services.async_client import AsyncClient
from snyper.services.async_server import AsyncServer

NUMBERS = 2_000
SAMPLES = 400
CAMERAS = 2
CARS = 2  # that each camera reads
_SERVICES = """
from snyper.services import data_service


@data_service("/api/analyze", takes="readings", gives="anomalies")
def analyze(readings: list[float]) -> list[float]:
    mean = sum(readings) / len(readings)
    return [reading for reading in readings if abs(reading - mean) > 10]
"""


class SystemsDemo:
    """One use of each at a hub, HOST:PORT. What runs for it ends with the stack; `directory` has files."""

    def __init__(
        self, console: Console, stack: AsyncExitStack, directory: Path, address: str, hub: HubClient
    ) -> None:
        self._say = partial(say, console)
        self._stack = stack
        self._directory = directory
        self._address = address
        self._hub = hub

    async def show(self) -> int:
        """Show those for which the extras are here, and return how many systems, with the range, that made.

        Raises DemoError for what does not do what it should, and OSError, CallError, TransferError,
        ProtocolError.
        """
        await self._call()
        if not (extras.is_here("arrays") and extras.is_here("cameras")):
            self._say("others", "offload, arrays, signals and cameras need snyper[arrays,cameras]")
            return 2
        await self._hand_over()
        gateway, cameras = await play_bench.begin_gateway(
            *(self._stack, self._directory, self._address),
            *("-n", str(CAMERAS), "--count", str(CARS), "--interval", "0.2"),
        )
        url = gateway.said["urls"][0]
        await asyncio.to_thread(self._store, url)
        await self._read_signal()
        await cameras.ended()
        await self._count(url)
        return 5

    async def _call(self) -> None:
        instrument = AsyncServer(play_bench.Thermometer(), hub=self._address, name=play_bench.NAME)
        await self._stack.enter_async_context(instrument)
        async with AsyncClient(hub=self._address, name=play_bench.NAME) as thermometer:
            began = time.monotonic()
            celsius = await thermometer.read_celsius()
            took_ms = (time.monotonic() - began) * 1000
        self._say(
            "call", f"{play_bench.NAME}.read_celsius(samples=4) gave {celsius} °C after {took_ms:.1f} ms"
        )

    async def _hand_over(self) -> None:
        services = self._directory / "services.py"
        services.write_text(_SERVICES)
        state = str(self._directory / "results")
        serving = await self._stack.enter_async_context(
            running("serve", str(services), "--listen", "127.0.0.1:0", "--workers", "1", "--state", state)
        )
        device = RemoteFileAdapter(serving.said["urls"][0])
        answer = await device.post_async("/api/analyze", {"readings": [20, 21, 20, 55, 19]})
        check(answer == {"anomalies": [55]}, f"of five readings the odd one is 55, not {answer}")
        self._say("offload", "a worker found what is odd in 20, 21, 20, 55, 19: 55")

    def _store(self, url: str) -> None:
        from snyper.arrays import NumpyClient  # of an extra

        numbers = [at / NUMBERS for at in range(NUMBERS)]
        with NumpyClient(url) as client:
            index = client.upload_numpy_array(numbers, "ramp")["index"]
            check(client.get_array(index).tolist() == numbers, "an array should come back as it was stored")
        self._say("array", f"{NUMBERS:,} numbers are stored at a gateway, and came back as they were")

    async def _read_signal(self) -> None:
        sending = await self._stack.enter_async_context(running("simulate-signal", "--hub", self._address))
        stream, samples, lost = sending.said["stream"], 0, 0
        reader = self._hub.read_stream(stream, wait=True)
        async with aclosing(reader.__aiter__()) as blocks:
            async for block in blocks:
                samples += len(block.samples)
                lost += block.lost
                if samples >= SAMPLES:
                    break
        check(lost == 0, f"of {stream} nothing should be lost, and {lost} samples are")
        self._say("signal", f"{samples} samples of {stream} came through the hub, none lost")

    async def _count(self, url: str) -> None:
        with Connection(url) as gateway:
            statistics = await asyncio.to_thread(gateway.request, "GET", "/api/statistics", take=Answer.value)
        stored, all_read = statistics["data"]["total_detections"], CAMERAS * CARS
        check(stored == all_read, f"the gateway should have {all_read} detections, and has {stored}")
        self._say("cameras", f"{CAMERAS} cameras read {stored} plates: each is stored with its pictures")
