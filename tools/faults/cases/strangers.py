"""Strangers, in numbers; and wrong keys."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from statistics import median

from snyper.shared.keys import Key, seals
from tools.faults.case import Case, Figure, Scale, at_most
from tools.faults.ranges import (
    CPYTHON,
    ENGINES,
    KEY,
    MICROPYTHON,
    Beside,
    attacked_hub,
    control_of,
    descriptors,
    measure_beside,
    prober_of,
    targets_of,
    until,
)
from tools.faults.wire import console_of, dial, peer_of, reset, stranger_address, until_closed

STRANGERS = 1_000
PER_ADDRESS = 10
REDIALLERS = 8
TRIES_PER_S = 20.0
IN_S = 15.0
BACK_S = 10.0
DOUBLED = 2.0
WRONG_KEY = "fleet:" + "00" * 32


async def silent_strangers(scale: Scale) -> AsyncIterator[Figure]:
    directory = scale.place(CPYTHON)
    async with (
        attacked_hub(CPYTHON, directory) as hub,
        targets_of(directory, [hub.port]),
        prober_of(hub.address, "target_1") as prober,
        control_of(CPYTHON, scale.place(f"{CPYTHON}-control")) as control,
    ):
        before = descriptors(hub.pid)
        found: list[Beside] = []
        back: list[float] = []
        for _ in range(scale.pick(3, 11)):
            async with _strangers(hub.port, STRANGERS, PER_ADDRESS):
                beside, in_after_s = await measure_beside(prober, control, 3, _get_in(hub.port))
                found.append(beside)
                back.append(in_after_s)
        yield _doubled(f"{CPYTHON}, {STRANGERS:,} silent: p99 of others", found)
        lost = sum(one.attacked.lost for one in found)
        yield at_most(f"{CPYTHON}: commands of the console without an answer", lost, 0)
        yield at_most(f"{CPYTHON}: another console is in after", max(back), 2.0, "s")
        took_s = await until(lambda: descriptors(hub.pid) <= before + 2, "descriptors should be given back")
        yield at_most(f"{CPYTHON}: descriptors are back after", took_s, BACK_S, "s")
    took = []
    rounds = scale.pick(2, 20)
    for number in range(rounds):
        directory = scale.place(f"{MICROPYTHON}-{number}")
        async with attacked_hub(MICROPYTHON, directory) as hub, _strangers(hub.port, REDIALLERS, 1):
            began = time.monotonic()
            with suppress(TimeoutError):
                async with targets_of(directory, [hub.port]):
                    pass
            took.append(time.monotonic() - began)
    yield at_most(
        f"{MICROPYTHON}, {REDIALLERS} that redial: a target is in, worst of {rounds}", max(took), IN_S, "s"
    )


@asynccontextmanager
async def _strangers(port: int, count: int, per_address: int) -> AsyncIterator[None]:
    """Keep so many silent connections open, each dialled again when it ends."""

    async def stay(number: int) -> None:
        source = stranger_address(number // per_address)
        while True:
            with suppress(OSError, TimeoutError):
                sock = await dial(port, source)
                try:
                    await until_closed(sock, 60)
                finally:
                    reset(sock)
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(stay(number)) for number in range(count)]
    try:
        await asyncio.sleep(0.5)
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _get_in(port: int) -> float:
    """Register another console; return after how many seconds it was answered."""
    began = time.monotonic()
    async with console_of(port) as console:
        await console.ask("ping")
        return time.monotonic() - began


def _doubled(what: str, found: list[Beside]) -> Figure:
    """Make the figure of how many times as long others' commands take as at a hub that nobody attacks."""
    quiet = median(one.control.p99_ms for one in found)
    attacked = median(one.attacked.p99_ms for one in found)
    figure = at_most(what, median(one.ratio for one in found), DOUBLED, "times")
    return Figure(
        figure.what, f"{figure.value}, {quiet:.1f} to {attacked:.1f} ms", figure.bound, figure.holds
    )


async def wrong_keys(scale: Scale) -> AsyncIterator[Figure]:
    for engine in ENGINES:
        directory = scale.place(engine)
        async with (
            attacked_hub(engine, directory, KEY) as hub,
            targets_of(directory, [hub.port], KEY),
            prober_of(hub.address, "target_1", KEY) as prober,
            control_of(engine, scale.place(f"{engine}-control"), KEY) as control,
        ):
            found: list[Beside] = []
            rates: list[float] = []
            for _ in range(scale.pick(3, 11)):
                beside, rate = await measure_beside(prober, control, 4, _guess(hub.port))
                found.append(beside)
                rates.append(rate)
            yield at_most(f"{engine}: wrong keys judged of one address", max(rates), TRIES_PER_S, "a second")
            yield _doubled(f"{engine}: p99 of others", found)


async def _guess(port: int) -> float:
    """Try wrong keys for 4 s, eight at once; return how many were judged a second."""
    judged = 0
    began = time.monotonic()

    async def guess() -> None:
        nonlocal judged
        while time.monotonic() - began < 4:
            with suppress(OSError, EOFError, TimeoutError):
                judged += await _try_key(port)

    await asyncio.gather(*(guess() for _ in range(8)))
    return judged / (time.monotonic() - began)


async def _try_key(port: int) -> bool:
    """Register with a wrong key; return whether it was judged."""
    nonce = os.urandom(16)
    async with peer_of(port, stranger_address(0)) as peer:
        asked = {"role": "console", "key": "fleet", "nonce": nonce.hex()}
        challenge = await peer.ask("register", **asked)
        if challenge["type"] != "challenge":
            return False
        to_hub, _ = seals(Key(WRONG_KEY), "console", "", nonce, bytes.fromhex(challenge["data"]["nonce"]))
        line = json.dumps({"type": "register", "id": 2, "data": {"role": "console"}}).encode() + b"\n"
        await peer.send(to_hub.seal(line))
        answer = await peer.next()
        if answer["type"] == "registered":
            raise RuntimeError("a wrong key is taken")
        return bool(answer["data"]["code"] == "unauthorized")


CASES = (
    Case(
        4,
        "strangers",
        "1,000 connect to a hub on a computer and say nothing; eight do so to a hub board, again and again.",
        "Registered peers' p99 at most doubles, consoles have their places, descriptors are back within 10 s;"
        " a target gets in within 15 s.",
        silent_strangers,
    ),
    Case(
        12,
        "wrong keys",
        "Somebody tries wrong keys as fast as it can, eight at once.",
        "It is slowed down, and others' p99 at most doubles.",
        wrong_keys,
    ),
)
