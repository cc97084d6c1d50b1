"""A gateway with few arrays and one with many: what a page of the list and an array take, asked by httpx."""

import asyncio
import json
import math
import os
import random
import sqlite3
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path

import httpx
import numpy

from snyper.arrays import NumpyClient
from snyper.arrays.npy import head_bytes, head_of, read_head
from snyper.arrays.store import DATABASE, Store, Upload
from snyper.boards.temporary import temporary_directory
from tools.bench.processes import line_of, on_cpython, running
from tools.bench.rounds import Row, alternate, row

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
EXPONENT_AIM = "0.2"
_PAGE = 100  # entries
_MOST_LINKS = 50_000  # to one file: ext4 takes 65,000
_COLUMNS = "dtype, shape, is_fortran, offset, created_s, digest, preview"


async def array_rows(rounds: int, requests: int, counts: Sequence[int] = COUNTS) -> list[Row]:
    """Measure with each of these counts, in `rounds` alternating batches of `requests`. Raises OSError."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=60))
        urls = {count: await stack.enter_async_context(_filled_gateway(count)) for count in counts}
        return [
            await _growth(
                what,
                rounds,
                requests,
                {count: partial(ask, client, url, count) for count, url in urls.items()},
            )
            for what, ask in (
                (f"a page of {_PAGE} from the list", _page),
                ("an array by index", _get),
                ("an array by name", _find),
            )
        ]


async def _growth(
    what: str, rounds: int, requests: int, asks: dict[int, Callable[[], Awaitable[object]]]
) -> Row:
    """Return the times of few and of many, and the exponent by which one grows with their number."""
    taken = await alternate(
        rounds, {str(count): partial(_median_ms, ask, requests) for count, ask in asks.items()}
    )
    medians = {count: statistics.median(taken[str(count)]) for count in asks}
    few, many = min(asks), max(asks)
    slope = statistics.linear_regression(
        [math.log(count) for count in medians], [math.log(ms) for ms in medians.values()]
    ).slope
    return Row(
        f"{what}, of {few:,} and of {many:,}; exponent",
        f"{medians[few]:.2f} ms",
        f"{medians[many]:.2f} ms",
        f"{slope:.3f}",
        EXPONENT_AIM,
    )


async def _median_ms(ask: Callable[[], Awaitable[object]], count: int) -> float:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        await ask()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


async def _page(client: httpx.AsyncClient, url: str, count: int) -> None:
    after = random.randrange(count - _PAGE)
    answer = await client.get(f"{url}/arrays?limit={_PAGE}&after={after}")
    assert len(answer.json()["arrays"]) == _PAGE


async def _get(client: httpx.AsyncClient, url: str, count: int) -> None:
    answer = await client.get(f"{url}/array/{random.randrange(count)}")
    assert answer.json()["shape"] == [10]


async def _find(client: httpx.AsyncClient, url: str, count: int) -> None:
    answer = await client.get(f"{url}/array/probe_{random.randint(2, count)}")
    assert answer.json()["shape"] == [10]


async def array_link_rows(rounds: int, size: int = 64 << 20) -> list[Row]:
    """Measure an array up to a gateway and down, through a hub and over HTTP past it. Raises OSError."""
    array = numpy.zeros(size // 8)

    async def up(client: NumpyClient) -> float:
        return await asyncio.to_thread(_mb_per_s, size, lambda: client.upload_numpy_array(array))

    async def down(client: NumpyClient) -> float:
        return await asyncio.to_thread(_mb_per_s, size, lambda: client.get_array(0))

    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running(*on_cpython("stream_hub")))
        address = f"127.0.0.1:{int(await line_of(hub))}"
        folder = stack.enter_context(temporary_directory("snyper-bench-"))
        url = await stack.enter_async_context(_gateway(folder, address, "--name", "store"))
        past = stack.enter_context(NumpyClient(url))
        through = stack.enter_context(NumpyClient(hub=address, name="store"))
        ways = {
            f"{how.__name__} {name}": partial(how, client)
            for name, client in (("past", past), ("through", through))
            for how in (up, down)
        }
        taken = await alternate(rounds, ways)
    what = f"{size >> 20} MiB as a stored array"
    return [
        row(
            f"{what}, {how} through a hub, over HTTP",
            taken[f"{how} through"],
            taken[f"{how} past"],
            "MB/s",
            0,
        )
        for how in ("up", "down")
    ]


def _mb_per_s(size: int, transfer: Callable[[], object]) -> float:
    began = time.perf_counter()
    transfer()
    return size / (time.perf_counter() - began) / 1e6


@asynccontextmanager
async def _filled_gateway(count: int) -> AsyncIterator[str]:
    with temporary_directory("snyper-bench-") as folder:
        fill(folder, count)
        async with _gateway(folder, "127.0.0.1:9") as url:
            yield url


@asynccontextmanager
async def _gateway(folder: Path, hub: str, *words: str) -> AsyncIterator[str]:
    words = (*words, "--hub", hub, "--listen", "127.0.0.1:0", "--arrays", str(folder), "--json")
    async with running(sys.executable, "-m", "snyper.cli", "gateway", *words, quiet=True) as process:
        yield json.loads(await line_of(process))["urls"][0]


def fill(folder: Path, count: int) -> None:
    """Have `count` arrays in a store, of which one was stored as all are."""
    array = numpy.arange(10.0)
    content = head_bytes(head_of(array)) + array.tobytes()
    with closing(Store(folder)) as store:
        part, head = store.new_part(), read_head(content)
        assert head is not None
        part.write_bytes(content)
        store.add(part, head, Upload("probe_1"))
        for index in range(1, count):
            if index % _MOST_LINKS:
                os.link(store.path(index - index % _MOST_LINKS), store.path(index))
            else:
                store.path(index).write_bytes(content)
    with closing(sqlite3.connect(folder / DATABASE)) as db, db:
        db.execute(
            f"WITH RECURSIVE more(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM more WHERE n < {count})"
            f" INSERT INTO arrays (number, name, {_COLUMNS})"
            f" SELECT n, 'probe_' || n, {_COLUMNS} FROM more, arrays WHERE number = 1"
        )
