"""A signal as our own client listens to it: arrays, its start and stop, and whatever ends it."""

import asyncio
import signal
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy
import pytest
from websockets.asyncio.server import ServerConnection, serve

from snyper.arrays import NumpyClient
from snyper.device.errors import BadAnswer, Refused, Unreachable
from tests.integration.harness import DEADLINE_S, HOST, free_port, snyper
from tests.integration.signal_harness import control, demonstration, health
from tests.integration.test_device import certificate_for
from tools.bench.processes import line_of, on_cpython, running

Packet = dict[str, Any]


@asynccontextmanager
async def listening(client: NumpyClient, **options: Any) -> AsyncIterator["asyncio.Queue[Packet]"]:
    """Listen for the block, into a queue."""
    packets: asyncio.Queue[Packet] = asyncio.Queue()
    task = asyncio.create_task(client.connect_streaming(packets.put_nowait, **options))
    try:
        yield packets
    finally:
        task.cancel()
        await asyncio.wait([task])


async def next_of(packets: "asyncio.Queue[Packet]") -> Packet:
    async with asyncio.timeout(DEADLINE_S):
        return await packets.get()


async def test_packets_come_as_arrays() -> None:
    async with demonstration() as address, listening(NumpyClient(f"http://{address}/")) as packets:
        for index in range(3):
            packet = await next_of(packets)
            x, y = packet["x"], packet["y"]
            assert (packet["type"], packet["timestamp"], packet["shape"]) == ("data", index / 10, [100])
            assert (x.shape, x.dtype, y.shape, y.dtype) == ((100,), "float64", (100,), "float64")
            assert numpy.abs(y - numpy.sin(x)).max() < 1


async def test_a_server_that_has_json_alone_does_too() -> None:
    async with running(*on_cpython("plain_stream")) as server:
        port = int(await line_of(server))
        async with listening(NumpyClient(f"http://{HOST}:{port}")) as packets:
            packet = await next_of(packets)
            assert (packet["x"].shape, packet["y"].dtype) == ((100,), "float64")


async def test_somebody_else_may_start_it() -> None:
    async with demonstration() as address:
        async with listening(NumpyClient(f"http://{address}"), auto_start=False) as packets:
            async with asyncio.timeout(DEADLINE_S):
                while (await health(address))["connections"] != 1:
                    pass
            assert (await health(address))["streaming"] is False
            await control(address, "start")
            assert (await next_of(packets))["timestamp"] == 0.0
        assert (await health(address))["streaming"] is True


@pytest.mark.parametrize("where", ["in the callback", "in another thread"])
async def test_it_is_stopped(where: str) -> None:
    async with demonstration() as address:
        client = NumpyClient(f"http://{address}")
        heard = 0

        async def on_data(packet: Packet) -> None:
            nonlocal heard
            heard += 1
            if heard == 3:
                if where == "in the callback":
                    client.stop_streaming()
                else:
                    threading.Thread(target=client.stop_streaming).start()

        async with asyncio.timeout(DEADLINE_S):
            await client.connect_streaming(on_data)
        assert 3 <= heard <= 13
        told = await health(address)
        assert (told["streaming"], told["connections"]) == (False, 0)
        async with listening(client) as packets:
            assert (await next_of(packets))["timestamp"] > 0.2


async def test_its_time_is_over() -> None:
    async with demonstration() as address:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(NumpyClient(f"http://{address}").connect_streaming(), 0.3)
        assert (await health(address))["connections"] == 0


async def test_what_its_callback_raises_ends_it() -> None:
    async with demonstration() as address:
        with pytest.raises(ZeroDivisionError):
            await NumpyClient(f"http://{address}").connect_streaming(lambda packet: 1 / 0)
        assert (await health(address))["connections"] == 0


async def test_a_key() -> None:
    async with demonstration(SNYPER_SERVICE_KEY="some-words-that-nobody-guesses") as address:
        with pytest.raises(Refused, match="the key is wrong"):
            await NumpyClient(f"http://{address}", key="word").connect_streaming()
        client = NumpyClient(f"http://{address}", key="some-words-that-nobody-guesses")
        async with listening(client) as packets:
            await next_of(packets)


async def test_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = tmp_path / "both.pem"
    certificate.write_bytes(certificate_for(HOST))
    async with demonstration("--certificate", str(certificate)) as address:
        with pytest.raises(ssl.SSLCertVerificationError):
            await NumpyClient(f"https://{address}").connect_streaming()
        monkeypatch.setenv("SNYPER_CA_FILE", str(certificate))
        async with listening(NumpyClient(f"https://{address}")) as packets:
            assert (await next_of(packets))["timestamp"] == 0.0


async def test_nobody_is_there() -> None:
    with pytest.raises(Unreachable, match="onnect"):
        await NumpyClient(f"http://{HOST}:{free_port()}").connect_streaming()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "ended"])
async def test_the_server_ends(end: signal.Signals) -> None:
    arguments = ("--hub", f"{HOST}:{free_port()}", "--listen", f"{HOST}:0", "--json")
    async with snyper("gateway", "--demo-signal", *arguments) as command:
        url = (await command.says_json())["urls"][0]

        def on_data(packet: Packet) -> None:
            if packet["timestamp"] == 0.2:
                command.process.send_signal(end)

        with pytest.raises(Unreachable):
            await NumpyClient(url).connect_streaming(on_data)


async def test_the_signal_is_started_and_stopped_over_http() -> None:
    async with demonstration() as address:
        with NumpyClient(f"http://{address}") as client:
            await asyncio.to_thread(client.start_streaming)
            assert (await health(address))["streaming"] is True
            await asyncio.to_thread(client.stop_streaming)
            assert (await health(address))["streaming"] is False


@pytest.mark.parametrize("message", ["{", "[]", '{"type": "data"}', b"", b"\xff" * 8, b"\0\0\0\0"])
async def test_a_server_that_sends_what_is_no_signal(message: str | bytes) -> None:
    async def answer(web_socket: ServerConnection) -> None:
        await web_socket.send(message)
        await web_socket.wait_closed()

    async with serve(answer, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BadAnswer):
            await NumpyClient(f"http://{HOST}:{port}").connect_streaming()
