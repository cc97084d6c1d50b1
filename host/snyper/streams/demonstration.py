"""The demonstration signal: a sine with noise, for who has no sensor."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

import numpy

from snyper.shared.stream_source import SourceStream
from snyper.streams.packet import Array, Packet

POINTS = 100
PACKETS_PER_S = 20
SAMPLES_PER_S = POINTS * PACKETS_PER_S
_STEPS_OF_PACKET = 10  # a packet moves it on by a tenth
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
        timestamp = self._next_index / _STEPS_OF_PACKET
        self._next_index += 1
        x = numpy.linspace(timestamp, timestamp + 2 * numpy.pi, POINTS)
        return Packet(timestamp, x, _noisy_sine(x, self._rng))

    async def packets(self) -> AsyncGenerator[Packet, None]:
        """Iterate over its packets as they come, PACKETS_PER_S of them. It goes on where it was left."""
        async for _ in _ticks():
            yield self.next_packet()

    def health(self) -> Mapping[str, object]:
        """Return nothing: it is always there."""
        return {}


async def send_demonstration(stream: SourceStream, seed: int | None = None) -> None:
    """Send the same signal as a stream of SAMPLES_PER_S numbers "<f8", without a step in it, until cancelled.

    Raises ValueError, TypeError for a stream of another type, and once it is closed.
    """
    rng = numpy.random.default_rng(seed)
    async for _ in _ticks():
        numbers = numpy.arange(stream.seq, stream.seq + POINTS)
        await stream.send(_noisy_sine(numbers / (POINTS * _STEPS_OF_PACKET), rng))


def _noisy_sine(x: Array, rng: numpy.random.Generator) -> Array:
    return numpy.sin(x) + rng.normal(0, _NOISE, len(x))


async def _ticks() -> AsyncIterator[None]:
    """Yield PACKETS_PER_S times a second."""
    loop = asyncio.get_running_loop()
    next_s = loop.time()
    while True:
        yield
        next_s = max(next_s + 1 / PACKETS_PER_S, loop.time() - _LATE_S)
        await asyncio.sleep(next_s - loop.time())
