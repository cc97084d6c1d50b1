"""Calls over asyncio: `AsyncClient` against servers in threads of this process, over real sockets."""

import asyncio
import gc
import threading
from typing import Any

import pytest

from snyper.services.async_client import AsyncClient
from snyper.services.async_server import AsyncServer
from snyper.services.client import running
from snyper.services.context import deadline
from snyper.services.remote_exceptions import (
    Busy,
    CallError,
    OutcomeUnknown,
    Refused,
    StreamLost,
    Unreachable,
)
from snyper.services.window import MAX_ITEMS
from tests.integration.calls_harness import (
    CUT_STEP,
    HOST,
    Bath,
    CuttingRelay,
    Powermeter,
    Scanner,
    each_secret,
    hello,
    hello2,
    served,
    waited,
)
from tests.integration.harness import until
from tools.loopback import free_port


@each_secret
async def test_an_object(secret: str | None) -> None:
    with served(Powermeter(), secret=secret) as server:
        async with AsyncClient(Powermeter, address=HOST, port=server.port, secret=secret) as pm:
            assert await pm.identity == "PM-1"
            await pm.set_range(3)
            assert await pm.range == 3
            assert await pm.read_voltage(samples=20) == 5.0
            with pytest.raises(ValueError, match="range 7 is not 1 to 5"):
                await pm.set_range(7)
            with pytest.raises(TypeError, match="sample"):
                pm.read_voltage(sample=20)


async def test_an_assignment_says_what_to_await() -> None:
    pm: Any = AsyncClient(Powermeter, address=HOST, port=free_port())
    with pytest.raises(AttributeError, match=r"await client\.set_range\(3\)"):
        pm.range = 3


async def test_prefixes_and_functions_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    items = ((Powermeter("A"), "pump_"), (Powermeter("B"), "signal_"), hello, (hello2, "hello_world"))
    with served(*items) as server:
        pm: Any = AsyncClient((Powermeter, "pump_"), (Powermeter, "signal_"), address=HOST, port=server.port)
        assert (await pm.pump_identity, await pm.signal_identity) == ("A", "B")
        assert await pm.get_signal_range() == 1
        assert await pm.hello(name="pluto") == await pm.call("hello", "pluto") == "Hello pluto!"
        capsys.readouterr()
        await pm.help("hello_world")
        assert "Hide from the user." in capsys.readouterr().out
        await pm.close()


@each_secret
async def test_many_calls_are_under_way_at_once(secret: str | None) -> None:
    meeting = threading.Barrier(16)

    class Guest:
        def meet(self, number: int) -> int:
            meeting.wait(30)
            return number

    guests = [(Guest(), f"guest{number}_") for number in range(16)]
    with served(*guests, secret=secret) as server:
        async with AsyncClient(address=HOST, port=server.port, secret=secret) as c:
            calls = [c.call(f"guest{number}_meet", number) for number in range(16)]
            assert await asyncio.gather(*calls) == list(range(16))


@pytest.mark.long
@each_secret
@pytest.mark.parametrize("from_server", [False, True])
async def test_a_call_cut_after_any_byte_is_carried_out_once(secret: str | None, from_server: bool) -> None:
    done: list[int] = []
    with served(done.append, secret=secret) as server:
        relay = CuttingRelay(server.port)
        after = 0
        relay.has_cut = True
        while relay.has_cut:  # until it says all that there is in fewer bytes
            relay.has_cut = False
            relay.cut = (from_server, after)
            async with AsyncClient(address=HOST, port=relay.port, secret=secret) as c:
                await c.append(after)
            after += 1 if secret is None else CUT_STEP
        relay.close()
        assert len(done) > (30 if secret is None else 5)
        assert done == sorted(set(done))


async def test_arrays_go_both_ways() -> None:
    numpy = pytest.importorskip("numpy")
    sent = numpy.arange(300_000, dtype=">f4").reshape(300, 1_000)

    def double(array: Any) -> Any:
        return {"doubled": array * 2.0, "shape": array.shape}

    for secret in (None, "a secret of some length"):
        with served(double, secret=secret) as server:
            async with AsyncClient(address=HOST, port=server.port, secret=secret) as c:
                for got in await asyncio.gather(*(c.double(sent) for _ in range(4))):
                    assert numpy.array_equal(got["doubled"], sent * 2.0)
                    assert got["shape"] == (300, 1_000)


async def test_a_wrong_secret_is_refused() -> None:
    with served(hello, secret="waktu") as server:
        for secret in ("Waktu", None):
            async with AsyncClient(address=HOST, port=server.port, secret=secret) as wrong:
                refused = await asyncio.gather(wrong.hello(), wrong.hello(), return_exceptions=True)
                assert [type(error) for error in refused] == [Refused, Refused]
        async with AsyncClient(address=HOST, port=server.port, secret="waktu") as right:
            assert await right.hello() == "Hello world!"
    with served(hello) as server, pytest.raises(Refused, match="secret"):
        async with AsyncClient(address=HOST, port=server.port, secret="waktu") as c:
            await c.hello()


async def test_a_call_waits_for_a_server_that_is_late() -> None:
    port = free_port()
    async with AsyncClient(address=HOST, port=port) as c:
        calls = [asyncio.create_task(c.hello()) for _ in range(3)]
        await asyncio.sleep(0)
        with served(hello, port=port):
            assert await asyncio.gather(*calls) == ["Hello world!"] * 3


async def test_a_limit_ends_the_wait_for_a_server() -> None:
    async with AsyncClient(address=HOST, port=free_port(), timeout=0.1) as c:
        with pytest.raises(Unreachable, match="nobody listens there"):
            await c.hello()


async def test_an_idle_client_goes_on_with_a_server_that_was_started_anew() -> None:
    port = free_port()
    async with AsyncClient(address=HOST, port=port) as c:
        for _ in range(3):
            with served(hello, port=port):
                assert await c.hello() == "Hello world!"


async def test_a_call_that_was_under_way_at_a_restart_is_unknown() -> None:
    bath, port = Bath(), free_port()
    async with AsyncClient(address=HOST, port=port) as c:
        with served(bath, port=port):
            call = asyncio.create_task(c.cool())
            await waited(bath.began)
        with served(bath, port=port):
            with pytest.raises(OutcomeUnknown):
                await call
            bath.ends.set()


async def test_a_call_whose_server_is_gone_at_its_deadline_is_unknown() -> None:
    bath = Bath()
    async with (
        AsyncServer(bath, address=HOST, port=0) as server,
        AsyncClient(address=HOST, port=server.port) as c,
    ):
        with deadline(1.0):
            call = asyncio.create_task(c.cool())
        await waited(bath.began)
        await server.close()
        with pytest.raises(OutcomeUnknown):
            await call
        bath.ends.set()


async def test_a_connection_that_does_not_answer_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snyper.services.async_connection._IDLE_US", -1)
    monkeypatch.setattr("snyper.services.async_connection.ALIVE_S", 0.1)
    with served(hello) as server:
        relay = CuttingRelay(server.port)
        async with AsyncClient(address=HOST, port=relay.port) as c:
            assert await c.hello() == "Hello world!"
            silent = c._snyper._connection
            assert silent is not None
            assert await c.hello() == "Hello world!"
            assert c._snyper._connection is silent
            silent._transport.pause_reading()
            assert await c.hello() == "Hello world!"
            assert c._snyper._connection is not silent
        relay.close()


@pytest.mark.parametrize("how", ["cancelled", "asyncio.timeout", "deadline", "timeout"])
async def test_a_call_that_is_given_up_leaves_the_connection(how: str) -> None:
    bath = Bath()
    with served(bath, urgent="temperature") as server:
        timeout = 1.0 if how == "timeout" else None  # of the call after it too
        async with AsyncClient(address=HOST, port=server.port, timeout=timeout) as c:
            assert await c.temperature() == 4.2
            connection = c._snyper._connection
            if how == "cancelled":
                call = asyncio.create_task(c.cool())
                await waited(bath.began)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
            elif how == "asyncio.timeout":
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await c.cool()
            else:
                with deadline(0.05 if how == "deadline" else 60), pytest.raises(OutcomeUnknown):
                    await c.cool()
            assert await c.temperature() == 4.2
            [row] = await running(c)
            assert (row["name"], row["cancelled"]) == ("cool", True)
            assert c._snyper._connection is connection
            bath.ends.set()


async def test_a_call_that_waits_and_is_given_up_is_never_begun() -> None:
    bath = Bath()
    with served(bath) as server:
        async with AsyncClient(address=HOST, port=server.port) as c:
            first = asyncio.create_task(c.cool())
            await waited(bath.began)
            others = [asyncio.create_task(c.cool()) for _ in range(5)]
            while len(await running(c)) < 6:
                pass
            for other in others:
                other.cancel()
            await asyncio.wait(others)
            assert len(await running(c)) == 1
            bath.ends.set()
            assert await first == "cold"
    assert bath.cooled == 1


async def test_cancelling_who_waits_for_a_server_ends_the_dialling() -> None:
    c = AsyncClient(address=HOST, port=free_port())
    one, other = asyncio.create_task(c.hello()), asyncio.create_task(c.hello())
    await asyncio.sleep(0.01)
    one.cancel()
    await asyncio.wait([one])
    dialling = c._snyper._connecting
    assert dialling is not None
    assert not dialling.done()
    other.cancel()
    await asyncio.wait([other, dialling])
    assert dialling.cancelled()


async def test_closing_loses_no_call() -> None:
    bath = Bath()
    with served(bath) as server:
        async with AsyncClient(address=HOST, port=server.port) as c:
            call = asyncio.create_task(c.cool())
            await waited(bath.began)
            await c.close()
            bath.ends.set()
            assert await call == "cold"
    assert bath.cooled == 1


def size(content: bytes) -> int:
    return len(content)


async def test_closing_waits_for_what_has_still_to_leave() -> None:
    """Once that is sent the connection ends, and there is nothing left to break off."""
    with served(size) as server:
        client = AsyncClient(address=HOST, port=server.port)
        assert await client.call("size", b"") == 0
        connection: Any = client._snyper._connection
        calls = [asyncio.create_task(client.call("size", bytes(4 << 20))) for _ in range(8)]
        await until(lambda: connection._transport.get_write_buffer_size() > 0, "it should have to wait")
        for call in calls:
            call.cancel()
        await client.close()
        assert connection._transport.get_write_buffer_size() == 0
        assert await client.call("size", b"abc") == 3
        await client.close()


async def test_a_server_is_drained_before_it_is_closed() -> None:
    bath = Bath()
    async with AsyncServer(bath, hello, address=HOST, port=0) as server:
        client: Any = AsyncClient(address=HOST, port=server.port)
        cools = asyncio.create_task(client.cool())
        await waited(bath.began)
        waits = asyncio.create_task(client.hello())
        async with AsyncClient(address=HOST, port=server.port) as other:
            while len(await running(other)) < 2:
                pass
        drained = asyncio.create_task(server.drain())
        for refused in (waits, client.cool()):
            with pytest.raises(Busy, match="this server is ending: call again later"):
                await refused
        assert not drained.done()
        bath.ends.set()
        await drained
        assert await cools == "cold"
        await client.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # for connections that are left open
def test_a_client_outlives_its_event_loop() -> None:
    async def greet(c: Any) -> object:
        return await c.hello()

    with served(hello) as server:
        client = AsyncClient(address=HOST, port=server.port)
        assert [asyncio.run(greet(client)) for _ in range(3)] == ["Hello world!"] * 3
        asyncio.run(client.close())
    gc.collect()


async def test_a_class_that_differs_is_said_once() -> None:
    class Older:
        def gone(self) -> None:
            pass

    with served(Powermeter()) as server:
        async with AsyncClient(Older, address=HOST, port=server.port) as old:
            with pytest.warns(UserWarning, match="gone is not served") as warned:
                await old.read_voltage()
            await asyncio.gather(*(old.read_voltage() for _ in range(3)))
            assert [one.filename for one in warned] == [__file__]
            with pytest.raises(CallError, match="not registered"):
                await old.gone()


async def test_a_stream() -> None:
    scanner = Scanner()
    with served(scanner) as server:
        async with AsyncClient(Scanner, address=HOST, port=server.port) as c:
            assert [item async for item in await c.scan(1_000)] == list(range(1_000))
            arrays = [array async for array in await c.scan(10, size=300_000)]
            assert [int(array[-1]) for array in arrays] == list(range(10))
            stream = await c.fail()
            assert await anext(stream) == 1
            with pytest.raises(ValueError, match="the lamp is out"):
                await anext(stream)
            with pytest.raises(StopAsyncIteration):
                await anext(stream)


async def test_calls_go_on_beside_a_stream_that_nobody_reads() -> None:
    scanner = Scanner()
    with served((scanner, "scanner_"), (Powermeter(), "pm_")) as server:
        async with AsyncClient(address=HOST, port=server.port) as c:
            stream = await c.scanner_scan()
            assert await c.pm_read_voltage(8) == 2.0
            assert await anext(stream) == 0
            assert scanner.made <= MAX_ITEMS + 2
            await stream.aclose()
            assert await c.scanner_position() is not None
            assert scanner.ends == ["GeneratorExit, cancelled"]


@pytest.mark.parametrize("how", ["deleted", "cut", "deadline"])
async def test_a_stream_that_ends_early(how: str) -> None:
    scanner = Scanner()
    with served(scanner) as server:
        relay = CuttingRelay(server.port)
        async with AsyncClient(address=HOST, port=relay.port) as c:
            stream = await c.scan(waits=True)
            scanner.step.release()
            assert await anext(stream) == 0
            if how == "deleted":
                del stream
            elif how == "cut":
                connection = c._snyper._connection
                assert connection is not None
                connection.abort()
                with pytest.raises(StreamLost) as lost:
                    await anext(stream)
                assert lost.value.after == 1
            else:
                with deadline(0.05), pytest.raises(StreamLost):
                    await anext(stream)
            while not scanner.ended.is_set():
                scanner.step.release()
                await asyncio.sleep(0.001)
        relay.close()
    assert len(scanner.begun) == 1
