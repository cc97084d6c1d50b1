"""A stream of the link as a signal: its blocks gathered into packets that existing clients can take."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import numpy

from snyper.client import ReconnectingClient
from snyper.shared.runtime import end_task
from snyper.shared.session import SessionState
from snyper.shared.socket_protocol import ProtocolError
from snyper.streams.block import Block
from snyper.streams.packet import Array, Packet
from snyper.streams.spec import StreamSpec, channel_number
from snyper.streams.subscriber import StreamReader

ALL_CHANNELS = "all"
MAX_VALUES = 4_096  # of a packet: in JSON a fifth of what existing clients take as a message
_GATHER_S = 0.05  # as often as the demonstration signal
# Between packets of a stream that has more than they hold: encoding them takes a third of a processor.
_LEAST_GAP_S = 0.02
_QUEUED_BYTES = 1 << 20  # of blocks for which there was no time
_RETRY_S = 1.0  # after the hub has refused
_STEP_S = 1e-6  # between samples that come at any time

_log = logging.getLogger("snyper")


class LinkSignal:
    """The stream `name`, `SOURCE/STREAM`, of the hub that `hub` is connected to, for as long as that is open.

    Of samples with several values the packets have one channel, by its name or its number from 0 on, by
    default the first, or ALL_CHANNELS. What comes faster than clients can take is left out, and counted.

    Raises ValueError for a name that is none.
    """

    def __init__(self, hub: ReconnectingClient, name: str, channel: str | None = None) -> None:
        self._hub = hub
        self._name = name
        self._channel = channel
        self._reader: StreamReader | None = None
        self._detail = ""
        self._lost = 0
        self._clock = RisingClock()
        hub.read_stream(name)

    async def packets(self) -> AsyncGenerator[Packet, None]:
        """Iterate over packets of what is sampled from now on. A hub and a source that are away are waited
        for.
        """
        next_s = 0.0
        while True:
            self._reader = reader = self._hub.read_stream(
                self._name, max_queued_bytes=_QUEUED_BYTES, wait=True
            )
            try:
                async with aclosing(_gathered(reader)) as gathered:
                    async for spec, blocks in gathered:
                        self._lost += sum(block.lost for block in blocks)
                        for packet in self._packets_of(spec, blocks):
                            await asyncio.sleep(next_s - time.monotonic())
                            next_s = time.monotonic() + _LEAST_GAP_S
                            self._say("")
                            yield packet
                self._say("it has ended")
            except ProtocolError as error:
                self._say(error.message)
            except ValueError as error:
                self._say(str(error))
            finally:
                self._reader = None
            await asyncio.sleep(_RETRY_S)

    def health(self) -> Mapping[str, object]:
        """Return how it stands with the stream, and how many samples nobody could be given."""
        told: dict[str, object] = {"name": self._name, "state": self._state(), "lost": self._lost}
        return {"stream": told | ({"detail": self._detail} if self._detail else {})}

    def _state(self) -> str:
        if self._hub.state != SessionState.CONNECTED:
            return "no hub"
        if self._reader is None:
            return "not read"
        return "away" if self._reader.is_gone or not self._reader.blocks else "here"

    def _say(self, detail: str) -> None:
        if detail and detail != self._detail:
            _log.warning("the stream %s cannot be passed on: %s", self._name, detail)
        self._detail = detail

    def _packets_of(self, spec: StreamSpec, blocks: list[Block]) -> list[Packet]:
        """Make packets of blocks. Raises ValueError where no client could take them."""
        channel = _channel(spec, self._channel)
        step_s = 1 / spec.rate_hz if spec.rate_hz else _STEP_S
        x: Array = numpy.concatenate(
            [block.at_us / 1e6 + numpy.arange(len(block.samples)) * step_s for block in blocks]
        )
        y: Array = numpy.concatenate([block.samples for block in blocks])
        if channel is not None:
            y = y.reshape(len(y), -1)[:, channel]
        step = MAX_VALUES // math.prod(y.shape[1:])
        packets = []
        for at in range(0, len(y), step):
            part = y[at : at + step]
            times = x[at : at + step] + self._clock.shift_of(x[at])
            times = numpy.broadcast_to(times.reshape(-1, *(1 for _ in part.shape[1:])), part.shape)
            packets.append(Packet(float(times.flat[0]), times, part))
        return packets


def _channel(spec: StreamSpec, wanted: str | None) -> int | None:
    """Return which of the values of a sample is meant, None for all. Raises ValueError."""
    count = math.prod(spec.shape)
    if numpy.dtype(spec.dtype).kind == "c":
        raise ValueError("its numbers are complex, which existing clients do not take")
    if wanted == ALL_CHANNELS:
        if count > MAX_VALUES:
            raise ValueError(f"a sample has {count:,} values, and clients take {MAX_VALUES:,}: choose one")
        return None if spec.shape else 0
    return 0 if wanted is None else channel_number(wanted, count, spec.names)


async def _gathered(reader: StreamReader) -> AsyncGenerator[tuple[StreamSpec, list[Block]], None]:
    """Gather the blocks that come within _GATHER_S, or fill a packet, and are of one spec."""
    blocks: list[Block] = []
    spec: StreamSpec | None = None
    next_s = 0.0
    coming: asyncio.Task[Block] | None = None
    async with aclosing(_blocks_of(reader)) as arriving:
        try:
            while True:
                coming = coming or asyncio.create_task(anext(arriving))
                wait_s = max(0.0, next_s - time.monotonic()) if blocks else None
                await asyncio.wait([coming], timeout=wait_s)
                block = None
                if coming.done():
                    done, coming = coming, None
                    block = done.result()
                if blocks and spec is not None and (block is None or _is_full(blocks) or reader.spec != spec):
                    yield spec, blocks
                    blocks, next_s = [], time.monotonic() + _GATHER_S
                if block is not None:
                    blocks.append(block)
                    spec = reader.spec
        except StopAsyncIteration:
            if blocks and spec is not None:
                yield spec, blocks
        finally:
            if coming is not None:
                await end_task(coming)


async def _blocks_of(reader: StreamReader) -> AsyncGenerator[Block, None]:
    async for block in reader:
        yield block


def _is_full(blocks: list[Block]) -> bool:
    return sum(block.samples.size for block in blocks) >= MAX_VALUES


class RisingClock:
    """The time of packets, which never stands still nor goes back: that of a hub that is new begins anew, and
    here it goes on from where it was.
    """

    def __init__(self) -> None:
        self._shift_s = 0.0
        self._last_s = -math.inf

    def shift_of(self, at_s: float) -> float:
        """Return by how much the time of a packet, whose first sample was taken at `at_s`, is shifted."""
        if at_s + self._shift_s <= self._last_s:
            step_s = max(_STEP_S, 4 * math.ulp(max(abs(self._last_s), abs(at_s))))  # that is not rounded away
            self._shift_s = self._last_s + step_s - at_s
        self._last_s = at_s + self._shift_s
        return self._shift_s
