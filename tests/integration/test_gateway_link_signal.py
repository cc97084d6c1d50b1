"""`snyper gateway --stream`: a stream of the link, as existing clients take a signal."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy
import pytest
from websockets.asyncio.client import ClientConnection

from snyper.shared.runtime import end_task
from snyper.shared.stream_source import SourceStream
from tests.integration.harness import DEADLINE_S, HOST, free_port, snyper, until
from tests.integration.signal_harness import (
    START,
    STOP,
    STOPPED,
    STREAMING,
    gateway,
    health,
    hear,
    late_packets,
    listening,
    say,
    timestamps_of,
)
from tests.integration.stream_harness import ACCELEROMETER, source_of, stream_hub


def bridge(port: int, *arguments: str) -> Any:
    return gateway("--hub", f"{HOST}:{port}", "--stream", "lab1/acc", *arguments, SNYPER_KEY="")


@asynccontextmanager
async def counting(stream: SourceStream, block: int = 20, rate_hz: float = 400) -> AsyncIterator[None]:
    """Send numbers that count up, those of a sample 0.25 apart, for as long as the block lasts."""

    async def send() -> None:
        shape = tuple(stream.spec["shape"])
        values = numpy.arange(int(numpy.prod(shape)), dtype="<f4").reshape(shape) / 4
        while True:
            numbers = numpy.arange(stream.seq, stream.seq + block).reshape(-1, *(1 for _ in shape))
            await stream.send((numbers + values).astype("<f4"))
            await asyncio.sleep(block / rate_hz)

    sending = asyncio.create_task(send())
    try:
        yield
    finally:
        await end_task(sending)


async def start(client: ClientConnection) -> None:
    await say(client, START)
    assert await hear(client) == STREAMING


async def packet_of(client: ClientConnection) -> dict[str, Any]:
    packet = await hear(client)
    assert packet["type"] == "data"
    return packet


async def until_state(address: str, **wanted: object) -> None:
    async def is_so() -> bool:
        return bool(wanted.items() <= (await health(address))["stream"].items())

    await until(is_so, f"its state should be {wanted}")


async def test_a_stream_is_a_signal_while_somebody_listens() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        device.stream("acc", dtype="<f4", rate_hz=400) as stream,
        counting(stream),
        bridge(hub.port) as address,
        listening(address) as client,
    ):
        await until_state(address, name="lab1/acc", state="not read", lost=0)
        assert not stream.is_read
        await start(client)
        packets = [await packet_of(client) for _ in range(8)]
        y = numpy.concatenate([numpy.array(packet["y"], packet["dtype"]) for packet in packets])
        assert (numpy.diff(y) == 1).all()
        for packet in packets:
            assert packet["x"][0] == packet["timestamp"]
            assert packet["shape"] == [len(packet["x"])] == [len(packet["y"])]
            assert packet["dtype"] == "float32"
            assert numpy.diff(packet["x"]) == pytest.approx(1 / 400)
        timestamps = [packet["timestamp"] for packet in packets]
        assert timestamps == sorted(set(timestamps))
        await until_state(address, state="here", lost=0)
        answer, late = await late_packets(client, lambda: say(client, STOP))
        assert (answer, late <= 10) == (STOPPED, True)
        await until(lambda: not stream.is_read, "nobody should read it any more")


@pytest.mark.parametrize(
    ("arguments", "first", "shape"),
    [
        ((), 0.0, ()),
        (("--channel", "z"), 0.5, ()),
        (("--channel", "1"), 0.25, ()),
        (("--channel", "all"), [0.0, 0.25, 0.5], (3,)),
    ],
    ids=["by default the first", "by its name", "by its number", "all"],
)
async def test_a_channel(arguments: tuple[str, ...], first: object, shape: tuple[int, ...]) -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        device.stream("acc", **ACCELEROMETER, names=("x", "y", "z")) as stream,
        counting(stream),
        bridge(hub.port, *arguments) as address,
        listening(address) as client,
    ):
        await start(client)
        packet = await packet_of(client)
        x, y = numpy.array(packet["x"]), numpy.array(packet["y"])
        assert list(x.shape) == list(y.shape) == packet["shape"]
        assert y.shape[1:] == shape
        assert (y[0] % 1).tolist() == first


@pytest.mark.parametrize(
    ("spec", "arguments", "detail"),
    [
        (ACCELEROMETER, ("--channel", "up"), "it has no channel up: 0 to 2"),
        ({**ACCELEROMETER, "names": ("x", "y", "z")}, ("--channel", "3"), "it has no channel 3: x, y, z"),
        ({"dtype": "<c8"}, (), "its numbers are complex, which existing clients do not take"),
        (
            {"dtype": "<f4", "shape": (8192,)},
            ("--channel", "all"),
            "a sample has 8,192 values, and clients take 4,096: choose one",
        ),
    ],
    ids=["no such name", "no such number", "complex", "too many"],
)
async def test_what_no_client_could_take(
    spec: dict[str, Any], arguments: tuple[str, ...], detail: str
) -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        device.stream("acc", **spec) as stream,
        bridge(hub.port, *arguments) as address,
        listening(address) as client,
    ):
        await start(client)
        await until(lambda: stream.is_read, "it should be read")
        await stream.send(bytes(stream.sample_bytes))
        await until_state(address, detail=detail)
        async with snyper("arrays", "stream", "--to", f"http://{address}") as command:
            await command.says(f"the gateway passes nothing on: {detail}")


async def test_a_hub_and_a_source_that_come_and_go() -> None:
    port = free_port()
    async with bridge(port) as address, listening(address) as client:
        await until_state(address, state="no hub")
        await start(client)
        last_s = -1.0
        for _ in range(2):
            async with stream_hub(port):
                await until_state(address, state="away")
                for _ in range(2):
                    async with (
                        source_of(port) as device,
                        device.stream("acc", dtype="<f4", rate_hz=400) as stream,
                        counting(stream),
                    ):
                        for _ in range(3):
                            packet = await packet_of(client)
                            assert packet["timestamp"] > last_s
                            last_s = packet["timestamp"]
                    await until_not_here(address)
            await until_state(address, state="no hub")


async def until_not_here(address: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while (await health(address))["stream"]["state"] == "here":
            pass


async def test_a_stream_that_is_too_fast_is_thinned_out() -> None:
    """What is left out is counted, and all else is served meanwhile."""
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        device.stream("acc", dtype="<f4", rate_hz=1_000_000) as stream,
        counting(stream, 20_000, 1_000_000),
        bridge(hub.port) as address,
        listening(address) as client,
    ):
        await start(client)

        async def has_lost() -> bool:
            return bool((await health(address))["stream"]["lost"])

        async with timestamps_of(client) as heard:
            await until(has_lost, "some should be lost")
        assert heard == sorted(set(heard))


async def test_a_source_that_samples_now_and_then() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        device.stream("acc", dtype="<i2") as stream,
        bridge(hub.port) as address,
        listening(address) as client,
    ):
        await start(client)
        await until(lambda: stream.is_read, "it should be read")
        for number in range(3):
            await stream.send(numpy.array([number], "<i2"))
            packet = await packet_of(client)
            assert (packet["y"], packet["shape"], packet["dtype"]) == ([number], [1], "int16")
