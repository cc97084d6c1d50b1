"""Measures what detecting a hit costs a target's loop: `micropython tools/sampling_cost.py`.

A task counts how often it gets its turn, in turns alone and beside an armed piezo with the default settings.
On a computer the ADC is a function that returns 0, so that all but the conversion is measured. On a board
(`mpremote run tools/sampling_cost.py`, with the firmware in its flash) it is the ADC itself, on GPIO 26.
"""

import asyncio
import sys

if sys.platform in ("linux", "darwin"):
    _HOST = __file__.rpartition("/")[0] + "/../host"
    sys.path[:0] = [_HOST, _HOST + "/snyper/boards/virtual_board"]
    import machine

    machine.ADC.read_u16 = lambda self: 0

from snyper.firmware.target.config import SCHEMA
from snyper.firmware.target.peripherals import Piezo
from snyper.shared.clock import now_us
from snyper.shared.config import defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable

ROUNDS = 15
ROUND_MS = 400


class Turns:
    """Counts its turns, for as long as it runs."""

    def __init__(self) -> None:
        self._count = 0

    async def run(self) -> None:
        while True:
            self._count += 1
            await asyncio.sleep(0)

    async def period_ns(self, work: "Awaitable[object]") -> int:
        """Measure the time from one turn to the next until `work` is done."""
        count, began_us = self._count, now_us()
        await work
        return (now_us() - began_us) * 1000 // (self._count - count)


def median(values: "list[int]") -> int:
    return sorted(values)[len(values) // 2]


async def main() -> None:
    config = defaults(SCHEMA)["piezo"]
    config["threshold"] = 65_535  # nothing that a pin without a piezo picks up is a hit
    config["debounce_ms"] = 0
    piezo = Piezo(config)
    turns = Turns()
    running = asyncio.create_task(turns.run())
    shares, gaps_us = [], []
    for _ in range(ROUNDS):
        alone_ns = await turns.period_ns(asyncio.sleep(ROUND_MS / 1000))
        piezo.arm()
        beside_ns = await turns.period_ns(piezo.detect(ROUND_MS))
        shares.append(1000 * (beside_ns - alone_ns) // beside_ns)
        gaps_us.append(piezo.gap_us)
    running.cancel()
    print(f"{config['burst']} samples every {config['sample_ms']} ms, {ROUNDS} rounds of {ROUND_MS} ms")
    print(f"share of the loop: {median(shares) / 10} %, from {min(shares) / 10} to {max(shares) / 10}")
    print(f"longest gap of a round: {median(gaps_us)} µs, from {min(gaps_us)} to {max(gaps_us)}")


asyncio.run(main())
