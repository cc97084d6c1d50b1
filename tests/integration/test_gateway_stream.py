"""`snyper gateway --demo-signal`: the signal as existing clients take it, over WebSockets."""

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import httpx
import numpy
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from snyper.arrays import NumpyClient
from snyper.device import Refused
from snyper.system.self_signed import make_certificate
from tests.integration.harness import HOST, snyper, until
from tests.integration.signal_harness import (
    PING,
    START,
    STOP,
    STOPPED,
    STREAMING,
    control_by,
    demonstration,
    gateway,
    health,
    hear,
    late_packets,
    listening,
    say,
    until_not_data,
)


async def test_the_client_that_exists_is_served() -> None:
    async with demonstration() as address, listening(address) as client:
        await say(client, START)
        assert await hear(client) == STREAMING
        packets = [await hear(client) for _ in range(5)]
        for index, packet in enumerate(packets):
            x, y = numpy.array(packet["x"]), numpy.array(packet["y"], dtype=packet["dtype"])
            assert (packet["type"], packet["shape"], packet["dtype"]) == ("data", [100], "float64")
            assert packet["timestamp"] == index / 10 == x[0]
            assert x[-1] - x[0] == pytest.approx(2 * numpy.pi)
            assert 0 < numpy.std(y - numpy.sin(x)) < 0.2
        answer, late = await late_packets(client, lambda: say(client, STOP))
        assert (answer, late <= 10) == (STOPPED, True)
        await say(client, PING)
        assert await hear(client) == {"type": "pong"}
        await say(client, START)
        assert await hear(client) == STREAMING
        assert (await hear(client))["timestamp"] > packets[-1]["timestamp"]


async def test_everybody_gets_the_data_and_the_asker_alone_its_status() -> None:
    async with demonstration() as address, listening(address) as one, listening(address) as other:
        await say(one, START)
        assert await hear(one) == STREAMING
        first = await hear(other)
        assert first["type"] == "data"
        assert await hear(one) == first
        firsts = [await first_of_newcomer(address) for _ in range(5)]
        assert STREAMING in firsts  # of a computer that stands still for a while some may be late
        await say(other, STOP)
        assert (await until_not_data(other))[0] == STOPPED
        await say(one, PING)
        assert (await until_not_data(one))[0] == {"type": "pong"}


async def first_of_newcomer(address: str) -> dict[str, Any]:
    """Return what somebody hears first who comes to a running signal and starts it at once."""
    async with listening(address) as newcomer:
        await say(newcomer, START)
        first = await hear(newcomer)
        assert (await until_data(newcomer))["type"] == "data"
        return first


async def until_data(client: ClientConnection) -> dict[str, Any]:
    while (message := await hear(client))["type"] != "data":
        pass
    return message


async def test_http_starts_and_stops_and_tells_nobody() -> None:
    async with demonstration() as address, listening(address) as client, httpx.AsyncClient() as http:
        assert await control_by(http, address, "start") == {"status": "streaming started"}
        assert (await hear(client))["type"] == "data"
        told = await health(address)
        assert (told["status"], told["streaming"], told["connections"]) == ("healthy", True, 1)

        async def stop() -> None:
            assert await control_by(http, address, "stop") == {"status": "streaming stopped"}
            await say(client, PING)

        answer, late = await late_packets(client, stop)
        assert (answer, late <= 10) == ({"type": "pong"}, True)
        assert (await health(address))["streaming"] is False


async def test_without_a_hub_health_is_that_of_the_document(tmp_path: Path) -> None:
    async with gateway("--arrays", str(tmp_path / "arrays"), "--demo-signal", SNYPER_HUB="") as address:
        told = {"status": "healthy", "streaming": False, "connections": 0, "arrays_stored": 0}
        assert await health(address) == {**told, "dropped": 0}


async def test_arrays_alone_have_a_signal_of_which_nothing_comes(tmp_path: Path) -> None:
    arguments = ("--arrays", str(tmp_path / "arrays"))
    async with gateway(*arguments, SNYPER_HUB="") as address, listening(address) as client:
        await say(client, START)
        assert await hear(client) == STREAMING
        assert (await health(address))["connections"] == 1
        await say(client, STOP)
        assert await hear(client) == STOPPED


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "null",
        "[]",
        '"start"',
        '{"action": "dance"}',
        '{"action": ["start"]}',
        "[" * 20_000,
        b"\xff\0",
    ],
    ids=lambda message: repr(message)[:12],
)
async def test_a_message_that_makes_no_sense_costs_an_error(message: str | bytes) -> None:
    async with demonstration() as address:
        async with listening(address) as client:
            await client.send(message)
            assert (await hear(client))["type"] == "error"
            await say(client, PING)
            assert await hear(client) == {"type": "pong"}
            assert (await health(address))["connections"] == 1
        assert (await health(address))["connections"] == 0


async def test_nothing_is_packed() -> None:
    async with demonstration() as address, listening(address) as client:
        assert client.protocol.extensions == []


async def test_a_key_and_its_own_pages_alone() -> None:
    key = "some words that nobody guesses"
    async with demonstration(SNYPER_SERVICE_KEY=key) as address:
        for headers, status in [
            ({}, 401),
            ({"authorization": "Bearer other words"}, 401),
            ({"authorization": f"Bearer {key}", "origin": "http://elsewhere"}, 403),
        ]:
            with pytest.raises(InvalidStatus) as caught:
                await listening(address, additional_headers=headers)
            assert caught.value.response.status_code == status
            assert b'{"detail": ' in (caught.value.response.body or b"")
        async with listening(address, additional_headers={"authorization": f"Bearer {key}"}) as client:
            await say(client, PING)
            assert await hear(client) == {"type": "pong"}


async def test_a_gateway_without_a_signal_says_what_serves_one() -> None:
    words = ("gateway", "--listen", f"{HOST}:0", "--json", "--hub", f"{HOST}:1")
    async with snyper(*words) as command:
        url = (await command.says_json())["urls"][0]
        with (
            NumpyClient(url) as client,
            pytest.raises(Refused, match="at /ws/stream: `snyper gateway --stream SOURCE/STREAM` serves"),
        ):
            await client.connect_streaming()


async def test_a_refusal_is_no_error_in_the_log() -> None:
    async with snyper("gateway", "--listen", f"{HOST}:0", "--json", "--demo-signal") as command:
        address = (await command.says_json())["urls"][0].partition("://")[2]
        with pytest.raises(InvalidStatus):
            await listening(address, additional_headers={"origin": "http://elsewhere"})
        assert await command.interrupt() == 0
        assert "handshake" not in command.err


def numbers_of(message: bytes) -> tuple[dict[str, Any], Any, Any]:
    """Take a packet in bytes apart, as docs/arrays.md says."""
    begin = 4 + int.from_bytes(message[:4], "little")
    head = json.loads(message[4:begin])
    count = int(numpy.prod(head["shape"]))
    x = numpy.frombuffer(message, head["x_dtype"], count, begin)
    y_begin = begin + -(-x.nbytes // 8) * 8
    return head, x, numpy.frombuffer(message, head["dtype"], count, y_begin).reshape(head["shape"])


async def test_who_asks_for_bytes_gets_the_same_numbers_in_them() -> None:
    async with demonstration() as address:
        protocols = ["other", "snyper.binary"]
        async with listening(address) as one, listening(address, subprotocols=protocols) as other:
            assert other.subprotocol == "snyper.binary"
            await say(other, START)
            assert await hear(other) == STREAMING
            for _ in range(3):
                packet, message = await hear(one), await other.recv()
                assert isinstance(message, bytes)
                head, x, y = numbers_of(message)
                assert (x.tolist(), y.tolist()) == (packet.pop("x"), packet.pop("y"))
                assert head == {**packet, "x_dtype": "float64"}
                assert len(message) < 1_800


async def test_a_hub_that_stays_away_is_logged_once() -> None:
    dialled = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal dialled
        dialled += 1
        writer.close()

    async with await asyncio.start_server(hang_up, HOST, 0) as nobody:
        address = f"{HOST}:{nobody.sockets[0].getsockname()[1]}"
        words = ("--listen", f"{HOST}:0", "--hub", address, "--stream", "lab1/acc")
        async with snyper("gateway", "--json", *words) as command:
            await until(lambda: dialled >= 6, "it should try on")
            assert await command.interrupt() == 0
    lines = [line.partition(" ")[2] for line in command.err.splitlines() if "session: " in line]
    assert 1 <= len(lines) == len(set(lines))


async def test_who_leaves_over_tls_is_no_error_in_the_log(tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(make_certificate())
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    words = ("--listen", f"{HOST}:0", "--demo-signal", "--certificate", str(certificate))
    async with snyper("gateway", "--json", *words) as command:
        url = (await command.says_json())["urls"][0]
        for _ in range(10):
            async with httpx.AsyncClient(verify=context) as client:
                assert (await client.get(f"{url}/health")).json()["connections"] == 0
        assert await command.interrupt() == 0
        assert "Traceback" not in command.err
