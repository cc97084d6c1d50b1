"""A thermometer on a Pico W that leaves the calculating to a laptop: its main.py.

It measures into a file, which its memory need not hold, and has `analyze` of examples/offload/services.py
look for what is odd in it. config.json beside it says where: {"ssid": "…", "password": "…",
"hub": "192.168.1.10:8081", "key": "", "service": "laptop", "readings": 30000}.
"""

import asyncio
import json
import struct
import time

import network
from machine import ADC

from snyper.shared.device import Device
from snyper.shared.service_call import RemoteError
from snyper.shared.socket_protocol import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

FILE = "readings.bin"
FORMAT = "<H"
BYTES = 2  # of a reading
BLOCK = 256  # readings that are measured, or read, at a time
SENSOR = 4  # the input of the chip's own thermometer
PAUSE_S = 60


class Thermometer(Device):
    """A device with a name of its own at the hub, on the Wi-Fi of config.json."""

    def __init__(self, config: "dict[str, Any]") -> None:
        super().__init__(config["hub"], "thermometer", config.get("key", ""), about="a thermometer")
        self._config = config
        self._wlan = network.WLAN(network.WLAN.IF_STA)

    async def join(self) -> None:
        self._wlan.active(True)
        if not self._wlan.isconnected():
            self._wlan.connect(self._config["ssid"], self._config["password"])
        until_ms = time.ticks_add(time.ticks_ms(), 20_000)
        while not self._wlan.isconnected():
            if time.ticks_diff(until_ms, time.ticks_ms()) < 0:
                self._wlan.disconnect()
                raise OSError(0, "no Wi-Fi %s" % self._config["ssid"])
            await asyncio.sleep_ms(100)


async def measure(count: int) -> None:
    """Write `count` readings of the sensor into FILE, 16 bits each."""
    sensor = ADC(SENSOR)
    with open(FILE, "wb") as file:
        for begin in range(0, count, BLOCK):
            block = range(min(BLOCK, count - begin))
            file.write(b"".join([struct.pack(FORMAT, sensor.read_u16()) for _ in block]))
            await asyncio.sleep_ms(0)  # the link has its turn


def readings() -> "Iterator[int]":
    """Give the readings one by one, as often as it is asked."""
    with open(FILE, "rb") as file:
        while True:
            block = file.read(BLOCK * BYTES)
            if not block:
                return
            for at in range(0, len(block), BYTES):
                yield struct.unpack_from(FORMAT, block, at)[0]


async def main() -> None:
    with open("config.json") as file:
        config = json.load(file)
    hub = Thermometer(config)
    connection = asyncio.create_task(hub.run())
    while not connection.done():
        await measure(config.get("readings", 30_000))
        try:
            found = await hub.call(config.get("service", "laptop"), "analyze", readings=readings)
            print("thermometer: %d are odd" % len(found))
        except (ProtocolError, RemoteError) as error:
            print("thermometer: not analyzed: %s" % error)
        await asyncio.sleep(PAUSE_S)


asyncio.run(main())
