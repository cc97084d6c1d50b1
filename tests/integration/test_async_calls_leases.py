"""Leases of an AsyncClient: an instance for it alone, renewed from the event loop, over real sockets."""

import asyncio
import gc
import time
from typing import Any

import pytest

from snyper.services.async_client import AsyncClient
from snyper.services.context import deadline
from snyper.services.locks import AsyncLock, break_lock, leases, lock
from snyper.services.remote_exceptions import CallError, LeaseLost, Locked
from tests.integration.calls_harness import (
    HOST,
    CuttingRelay,
    Powermeter,
    becomes,
    hello,
    interrupt,
    needs_fork,
    program,
    served,
    two_async_clients,
)
from tests.integration.stopwatch import Stopwatch
from tools.loopback import free_port


async def test_others_are_told_at_once_and_the_holder_goes_on_in_all_its_tasks() -> None:
    with served(Powermeter(), hello) as server:
        async with two_async_clients(server, Powermeter) as (one, other):
            async with lock(one, why="cooldown"):
                with pytest.raises(Locked, match=r"locked by .* until .*: cooldown") as locked:
                    await other.read_voltage()
                assert locked.value.why == "cooldown"
                with pytest.raises(Locked):
                    await other.set_range(2)
                with pytest.raises(Locked):
                    async with lock(other):
                        pass
                with pytest.raises(Locked):  # it has all instances to itself
                    await other.hello()
                [row] = await leases(other)
                assert (row["who"], row["why"]) == (locked.value.holder, "cooldown")
                await one.set_range(3)
                assert await asyncio.gather(*(one.read_voltage(4) for _ in range(4))) == [1.0] * 4
            assert await leases(other) == []
            assert await other.range == 3


async def test_one_of_several_is_named_by_its_prefix() -> None:
    pump, signal = (Powermeter, "pump_"), (Powermeter, "signal_")
    with served((Powermeter(), "pump_"), (Powermeter(), "signal_")) as server:
        async with two_async_clients(server, pump, signal) as (both, other):
            async with lock(both, "pump_"):
                assert await other.signal_range == 1
                with pytest.raises(Locked):
                    await other.pump_range
            with pytest.raises(CallError, match="pomp_"):
                async with lock(both, "pomp_"):
                    pass


async def test_a_lease_is_renewed_while_the_block_runs() -> None:
    with served(Powermeter()) as server:
        async with two_async_clients(server, Powermeter) as (one, other):
            with deadline(1.0):  # which is of calls, and not of the renewals
                held = lock(one, lease=0.5)
                await held.__aenter__()
            ends_s = time.monotonic() + 1.6
            while time.monotonic() < ends_s:  # thrice its time
                with pytest.raises(Locked):
                    await other.range
                await asyncio.sleep(0.05)
            await held.__aexit__(None, None, None)
            assert await other.range == 1


async def test_a_loop_that_is_held_up_for_longer_loses_it() -> None:
    async def hold_up(pm: Any) -> None:
        async with lock(pm, lease=0.5):
            time.sleep(0.6)  # noqa: ASYNC251
            with pytest.raises(LeaseLost, match="not renewed"):
                await pm.set_range(3)

    with served(Powermeter()) as server:
        async with two_async_clients(server, Powermeter) as (one, _):
            with pytest.raises(LeaseLost, match="not renewed"):
                await hold_up(one)
            assert await one.range == 1


async def test_a_holder_whose_lease_was_broken_learns_by_whom() -> None:
    with served(Powermeter()) as server:
        async with two_async_clients(server, Powermeter) as (one, other):
            assert await break_lock(other) == []
            broken: list[str] = []

            async def block() -> None:
                async with lock(one):
                    await one.set_range(2)
                    broken.extend(await break_lock(other, why="fire"))
                    await other.set_range(5)
                    with pytest.raises(LeaseLost):
                        await one.set_range(3)

            with pytest.raises(LeaseLost, match="broke it: fire") as lost:
                await block()
            assert broken == [lost.value.by]
            assert await one.range == 5

            async def failing_block() -> None:
                async with lock(one):
                    await break_lock(other)
                    raise KeyError("of the block")

            with pytest.raises(KeyError) as kept:
                await failing_block()
            assert "the lease is lost" in kept.value.__notes__[0]


async def test_a_holder_of_a_server_that_was_started_anew_learns_of_it() -> None:
    port = free_port()
    async with AsyncClient(address=HOST, port=port) as pm:
        held = lock(pm)
        with served(Powermeter(), port=port):
            await held.__aenter__()
            await pm.set_range(2)
        with served(Powermeter(), port=port):
            with pytest.raises(LeaseLost, match="started anew"):
                await pm.set_range(3)
            with pytest.raises(LeaseLost, match="started anew"):
                await held.__aexit__(None, None, None)
            assert await pm.get_range() == 1


async def test_a_lease_outlives_a_connection_and_is_taken_and_given_back_once() -> None:
    with served(Powermeter()) as server:
        async with AsyncClient(address=HOST, port=server.port) as other:
            relay = CuttingRelay(server.port)
            relay.has_cut = True
            after = 0
            while relay.has_cut:
                relay.has_cut = False
                for from_server in (False, True):
                    relay.cut = (from_server, after)
                    async with AsyncClient(address=HOST, port=relay.port) as c:
                        async with lock(c):
                            await c.set_range(2)
                            assert len(await leases(other)) == 1
                        assert await leases(other) == []
                after += 7
            relay.close()


async def test_a_server_that_has_gone_ends_the_block_all_the_same() -> None:
    with served((Powermeter(), "a_"), (Powermeter(), "b_")) as server:
        async with two_async_clients(server) as (one, other):
            long = await lock(one, "a_").__aenter__()
            short = await lock(other, "b_", lease=0.5).__aenter__()
            server.close()
            await asyncio.sleep(0.6)
            ends = (held.__aexit__(None, None, None) for held in (long, short))
            with Stopwatch() as took:
                outcome = await asyncio.gather(*ends, return_exceptions=True)
            assert took.seconds < 10
    assert outcome[0] is None  # it was held to the end of the block
    with pytest.raises(LeaseLost, match="not renewed"):
        raise outcome[1] or AssertionError


async def test_a_task_that_is_cancelled_gives_it_back() -> None:
    with served(Powermeter()) as server:
        async with two_async_clients(server) as (one, other):
            has_it = asyncio.Event()

            async def hold() -> None:
                async with lock(one):
                    has_it.set()
                    await asyncio.sleep(60)

            holder = asyncio.create_task(hold())
            await has_it.wait()
            assert len(await leases(other)) == 1
            holder.cancel()
            with pytest.raises(asyncio.CancelledError):
                await holder
            assert await leases(other) == []
            assert await other.get_range() == 1


async def test_one_that_is_cancelled_while_it_is_asked_for_is_given_back() -> None:
    with served(Powermeter()) as server:
        async with two_async_clients(server) as (one, _):
            await one.get_range()
            connection = one._snyper._connection
            asking = asyncio.create_task(lock(one).__aenter__())
            await becomes(lambda: bool(connection._core._pending))
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            async with asyncio.timeout(30):
                while await leases(one):  # which is asked over the same connection, behind it
                    pass
            assert one._snyper._connection is connection


async def test_a_deadline_around_the_block_does_not_keep_it_from_being_given_back() -> None:
    async def overrun(pm: Any) -> None:
        with deadline(0.2):
            async with lock(pm):
                await asyncio.sleep(0.3)
                await pm.set_range(3)

    with served(Powermeter()) as server:
        async with two_async_clients(server, Powermeter) as (one, other):
            with pytest.raises(CallError) as raised:
                await overrun(one)
            assert not isinstance(raised.value, LeaseLost)
            assert await leases(other) == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # for a connection that is left open
def test_a_block_whose_event_loop_is_closed_can_be_ended_in_another() -> None:
    with served(Powermeter()) as server:
        client = AsyncClient(address=HOST, port=server.port)

        async def end(pm: AsyncClient, held: AsyncLock) -> None:
            assert len(await leases(pm)) == 1
            await held.__aexit__(None, None, None)
            assert await leases(pm) == []
            await pm.close()

        asyncio.run(end(client, asyncio.run(lock(client).__aenter__())))
    gc.collect()


async def test_a_lock_is_of_one_block_at_a_time() -> None:
    with served(Powermeter()) as server:
        async with two_async_clients(server, Powermeter) as (one, other):
            held: Any = lock(one)
            with pytest.raises(TypeError, match="context manager"), held:
                pass
            both = await asyncio.gather(held.__aenter__(), held.__aenter__(), return_exceptions=True)
            assert sorted(type(one).__name__ for one in both) == ["AsyncLock", "RuntimeError"]
            assert len(await leases(one)) == 1
            await held.__aexit__(None, None, None)
            async with held:
                with pytest.raises(Locked):
                    await other.range


async def test_ctrl_c_gives_it_back() -> None:
    text = """
import asyncio
async def hold():
    async with snyper.AsyncClient(address=HOST, port=PORT) as pm, snyper.lock(pm):
        print("locked")
        await asyncio.sleep(60)
try:
    asyncio.run(hold())
except KeyboardInterrupt:
    print("interrupted")
"""
    with served(Powermeter()) as server, program(text, server) as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "locked\n"
        async with AsyncClient(address=HOST, port=server.port) as other:
            assert len(await leases(other)) == 1
            await asyncio.to_thread(interrupt, process, 1)
            assert await leases(other) == []


@needs_fork
def test_after_a_fork_it_is_the_parent_s() -> None:
    text = """
import asyncio
c = snyper.AsyncClient(address=HOST, port=PORT)
held = snyper.lock(c)
values = snyper.watch(c, "range")
async def begin():
    assert await c.get_range() == 1
    assert await anext(values) == 1
    await held.__aenter__()
async def use_in_child():
    assert await anext(values) == 1
    try:
        await c.set_range(2)
    except snyper.Locked:
        await held.__aexit__(None, None, None)
        os._exit(0)
async def use_in_parent():
    await c.set_range(3)
    assert len(await snyper.leases(c)) == 1
    await held.__aexit__(None, None, None)
    assert await snyper.leases(c) == []
asyncio.run(begin())
child = os.fork()
if not child:
    asyncio.run(use_in_child())
    os._exit(1)
assert os.waitpid(child, 0)[1] == 0
asyncio.run(use_in_parent())
"""
    with served(Powermeter(), open_reads=True) as server, program(text, server):
        pass
