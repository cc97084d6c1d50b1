"""Watching a property over asyncio, over real sockets."""

import asyncio
import gc
from typing import Any

import pytest

from snyper.services.async_client import AsyncClient
from snyper.services.client import running
from snyper.services.context import deadline
from snyper.services.locks import lock
from snyper.services.remote_exceptions import CallError, Locked, NotServed, Refused, StreamLost
from snyper.services.server import Server
from snyper.services.watches import watch
from tests.integration.calls_harness import (
    HOST,
    CuttingRelay,
    Powermeter,
    Scanner,
    Sensor,
    becomes,
    hello,
    served,
    two_async_clients,
)
from tests.integration.stopwatch import Stopwatch
from tools.loopback import free_port


async def test_the_value_now_and_each_that_anybody_sets() -> None:
    with served(Powermeter()) as server:
        async with two_async_clients(server, Powermeter) as (one, other):
            values = watch(one, "range")
            assert await anext(values) == 1
            await other.set_range(3)
            assert await anext(values) == 3
            await one.set_range(3)  # which is no change
            await one.set_range(4)
            assert await anext(values) == 4
            assert values.missed == 0
            for value in (5, 1, 2):
                await other.set_range(value)
                assert await anext(values) == value
            await values.aclose()
            assert [value async for value in values] == []
            await other.set_range(5)
            assert await running(one) == []


async def test_a_slow_one_gets_the_newest_and_a_count() -> None:
    with served(Powermeter()) as server:
        async with two_async_clients(server, Powermeter) as (one, other):
            values = watch(one, "range")
            assert await anext(values) == 1
            for at in range(20):
                await other.set_range(2 + at % 2)
            await other.set_range(5)
            got, missed = 0, 0
            while got != 5:
                got = await anext(values)
                missed += values.missed
            assert missed >= 17  # of 21: what was under way could come in between


async def test_all_who_watch_in_one_period_cost_one_reading() -> None:
    sensor = Sensor()
    with served(sensor) as server:
        async with two_async_clients(server) as clients:
            seen: list[set[int]] = [set() for _ in range(10)]

            async def follow(values: Any, mine: set[int]) -> None:
                async for value in values:
                    mine.add(value)
                    if set.intersection(*seen):  # each reading has another value
                        break

            watching = [watch(client, "level", every=0.05) for client in clients for _ in range(5)]
            await asyncio.gather(*map(follow, watching, seen))
            del watching
            gc.collect()
            await becomes(lambda: not server._watches.watched)  # nobody watches, and nobody reads


async def test_a_method_can_be_watched_in_a_period_only() -> None:
    with served(Sensor(), hello) as server:
        async with two_async_clients(server) as (one, _):
            async with watch(one, "measure", every=0.02) as values:
                assert [await anext(values) for _ in range(3)] == [0.5, 1.0, 1.5]
            with pytest.raises(Refused, match="no property"):
                await anext(watch(one, "measure"))
            with pytest.raises(NotServed, match="lvel"):
                async for _ in watch(one, "lvel"):
                    pass
            with pytest.raises(ValueError, match="every"):
                watch(one, "level", every=0)
            unfit: Any = watch(one, "level")
            with pytest.raises(TypeError, match="not iterable"):
                iter(unfit)


async def test_what_reading_raises_ends_it() -> None:
    sensor = Sensor()
    with served(sensor) as server:
        async with two_async_clients(server) as (one, _):
            values = watch(one, "level", every=0.02)
            assert await anext(values) == 1
            sensor.fails = True
            with pytest.raises(TimeoutError, match="does not answer") as raised:
                async for _ in values:
                    pass
            assert raised.value.remote  # type: ignore[attr-defined]
            assert [value async for value in values] == []


async def test_a_device_that_is_leased_is_not_read_for_others() -> None:
    with served(Powermeter()) as server:
        async with two_async_clients(server, Powermeter) as (one, other):
            async with lock(one):
                with pytest.raises(Locked):
                    await anext(watch(other, "range"))
                own = watch(one, "range")
                assert await anext(own) == 1
            await other.set_range(2)
            assert await anext(own) == 2


async def test_it_goes_on_where_the_connection_breaks_after_any_byte() -> None:
    with served(Powermeter()) as server:
        async with AsyncClient(address=HOST, port=server.port) as other:
            relay = CuttingRelay(server.port)
            relay.has_cut = True
            after = 0
            while relay.has_cut:
                relay.has_cut = False
                for from_server in (False, True):
                    relay.cut = (from_server, after)
                    await other.set_range(1)
                    async with (
                        AsyncClient(address=HOST, port=relay.port) as c,
                        watch(c, "range") as values,
                    ):
                        assert await anext(values) == 1
                        await other.set_range(2)
                        while await anext(values) != 2:
                            pass
                after += 11
            relay.close()


async def test_it_goes_on_with_a_server_that_was_started_anew() -> None:
    port = free_port()
    async with AsyncClient(address=HOST, port=port) as c:
        values = watch(c, "range")
        with served(Powermeter(), port=port):
            assert await anext(values) == 1
        pm = Powermeter()
        pm.range = 4
        with served(pm, port=port):
            assert await anext(values) == 4
            await values.aclose()


async def test_a_deadline_ends_the_wait_and_a_timeout_is_of_calls() -> None:
    with served(Powermeter()) as server:
        async with AsyncClient(address=HOST, port=server.port, timeout=0.2) as c:
            values = watch(c, "range")
            assert await anext(values) == 1
            waiting = asyncio.ensure_future(anext(values))
            done, _ = await asyncio.wait([waiting], timeout=0.4)
            assert not done
            await c.set_range(2)
            assert await waiting == 2
            with deadline(0.05), pytest.raises(StreamLost, match="after 2 items"):
                await anext(values)


async def test_a_wait_that_is_cancelled_loses_nothing() -> None:
    with served(Powermeter()) as server:
        async with two_async_clients(server, Powermeter) as (one, other):
            values = watch(one, "range")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):  # before it has begun
                    await anext(values)
            assert await anext(values) == 1
            for value in (2, 3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await anext(values)
                await other.set_range(value)
                assert await anext(values) == value
            assert values.missed == 0


async def test_what_is_served_no_more_is_watched_no_more() -> None:
    sensor = Sensor()
    server = Server(sensor, hello, address=HOST, port=0)
    server.run(threaded=True)
    async with AsyncClient(address=HOST, port=server.port) as c:
        values = watch(c, "level", every=0.02)
        assert await anext(values) == 1
        server.unregister(sensor)
        with pytest.raises(CallError, match="not registered"):
            async for _ in values:
                pass
    server.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # for a connection that is left open
def test_in_another_event_loop_it_goes_on_and_a_stream_is_lost() -> None:
    async def both(values: Any, numbers: Any) -> tuple[object, object]:
        return await anext(values), await anext(numbers)

    with served((Powermeter(), "pm_"), (Scanner(), "scanner_")) as server:
        c: Any = AsyncClient(address=HOST, port=server.port)
        values, numbers = watch(c, "pm_range"), asyncio.run(c.scanner_scan())
        assert asyncio.run(anext(values)) == 1
        with pytest.raises(StreamLost, match="after 0 items"):
            asyncio.run(anext(numbers))
        with Stopwatch() as took:
            assert asyncio.run(anext(values)) == 1
        assert took.seconds < 10
        asyncio.run(values.aclose())
        asyncio.run(c.close())
    del c, values, numbers
    gc.collect()
