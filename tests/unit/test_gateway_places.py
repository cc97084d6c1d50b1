"""Places of a gateway: what is large takes several, nobody waits for ever."""

import asyncio

import pytest

from snyper.device.serving.exchange import Refusal
from snyper.gateway.places import Places

HOLD_S = 60.0


async def test_what_is_large_takes_several() -> None:
    places = Places(8, HOLD_S)
    most = under_way = done = 0

    async def work(address: str, count: int) -> None:
        nonlocal most, under_way, done
        async with places.one(address, count):
            under_way += count
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= count
            done += 1

    await asyncio.gather(*(work(f"{number % 3}", number % 4 + 1) for number in range(200)))
    assert (most, under_way, done, places.waiting) == (8, 0, 200, 0)


async def test_one_that_is_too_large_has_half_of_them() -> None:
    places = Places(8, HOLD_S)
    async with places.one("a", 1_000), places.one("b", 1_000):
        other = asyncio.create_task(places.one("c").__aenter__())
        await asyncio.sleep(0)
        assert (other.done(), places.waiting) == (False, 1)
        other.cancel()
        await asyncio.wait([other])
    async with places.one("c", 4), places.one("d", 4):
        assert places.waiting == 0


async def test_at_the_end_who_would_wait_is_refused() -> None:
    places = Places(4, HOLD_S)
    async with places.one("a", 2):
        waiting = asyncio.create_task(places.one("a", 2).__aenter__())
        await asyncio.sleep(0)
        places.end()
        with pytest.raises(Refusal):
            await waiting
        for count in (1, 2):
            with pytest.raises(Refusal):
                async with places.one("a", count):
                    pass
        async with places.one("b", 2):
            pass
