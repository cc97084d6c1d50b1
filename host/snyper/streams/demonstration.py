"""The demonstration signal: a sine with noise, for who has no sensor."""

import asyncio
from collections.abc import AsyncGenerator, Mapping

import numpy

from snyper.streams.packet import Packet

POINTS = 100
PACKETS_PER_S = 20
_STEP_TENTHS = 1  # by which `timestamp` rises from a packet to the next
_NOISE = 0.1  # standard deviation, of a sine's amplitude of 1
_LATE_S = 1.0  # after which what was missed is left out


class DemonstrationSignal:
    """A sine over one period of POINTS points, which moves on by 0.1 a packet, and noise.

    `seed` makes it the same again; None is another noise each time.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._rng = numpy.random.default_rng(seed)
        self._next_index = 0

    def next_packet(self) -> Packet:
        """Return the packet after the last one."""
        timestamp = self._next_index * _STEP_TENTHS / 10
        self._next_index += 1
        x = numpy.linspace(timestamp, timestamp + 2 * numpy.pi, POINTS)
        return Packet(timestamp, x, numpy.sin(x) + self._rng.normal(0, _NOISE, POINTS))

    async def packets(self) -> AsyncGenerator[Packet, None]:
        """Iterate over its packets as they come, PACKETS_PER_S of them. It goes on where it was left."""
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            yield self.next_packet()
            next_s = max(next_s + 1 / PACKETS_PER_S, loop.time() - _LATE_S)
            await asyncio.sleep(next_s - loop.time())

    def health(self) -> Mapping[str, object]:
        """Return nothing: it is always there."""
        return {}
