"""A packet: points of a signal as existing clients take them, x and y of one shape."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy

Array = numpy.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Packet:
    """Points of a signal. `timestamp` rises from one packet of a source to the next."""

    timestamp: float
    x: Array
    y: Array  # of the same shape


class PacketSource(Protocol):
    """A signal that can be listened to, by one at a time."""

    def packets(self) -> AsyncGenerator[Packet, None]:
        """Iterate over its packets from now on, for as long as it is listened to."""

    def health(self) -> Mapping[str, object]:
        """Return what there is to say of how it stands."""


class NoSignal:
    """A source of which nothing comes, where none was named."""

    async def packets(self) -> AsyncGenerator[Packet, None]:
        """Wait until nobody listens any more."""
        await asyncio.Event().wait()
        yield Packet(0.0, numpy.empty(0), numpy.empty(0))

    def health(self) -> Mapping[str, object]:
        """Return that there is none."""
        return {"stream": {"state": "none"}}
