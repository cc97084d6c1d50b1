"""Outages, chaos and days without one, at the pace of faked clocks."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from statistics import quantiles
from typing import Any

from snyper.boards.board import BoardProcess
from snyper.shared.socket_protocol import MessageType, ProtocolError
from tools.chaos.__main__ import simulate
from tools.faults.case import Case, Figure, Scale, at_most, none_of
from tools.faults.ranges import need_micropython, until
from tools.loopback import HOST, free_port
from tools.soak import PatientHub, Relay, TargetPeer
from tools.watched_board import Sample, sample, watched_board

BOARDS = 8
OUTAGE_SPEED = 20  # of the boards' clocks
BACK_S = 15.0
SHORTEST_S, LONGEST_S = 2.0, 60.0

DAYS_SPEED = 100
DAYS_HEARTBEAT_MS = 60_000
HEAP_KIB_A_DAY = 1.0
TICKS_MS = 1 << 30  # where a board's wrap


async def outages(scale: Scale) -> AsyncIterator[Figure]:
    need_micropython()
    count = scale.pick(48, 1_000)
    back_s: list[float] = []
    hub = PatientHub(HOST, 0, BOARDS, 1)
    await hub.start()
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(BOARDS):
                group.create_task(_suffer(scale, hub, number, count // BOARDS, back_s))
    finally:
        await hub.shut_down()
    p99 = quantiles(back_s, n=100, method="inclusive")[98]
    yield at_most(f"back after, p99 of {len(back_s)}, by the board's clock", p99, BACK_S, "s")


async def _suffer(scale: Scale, hub: PatientHub, number: int, count: int, back_s: list[float]) -> None:
    """Give one board so many outages, and add to `back_s` how long it took to answer after each."""
    rng = random.Random(number)
    relay = Relay()
    config = {"target_id": f"target_{number}", "hub": [f"{HOST}:{relay.port}"], "watchdog_ms": 0}
    board = BoardProcess(scale.directory / f"target_{number}", "target", config, speed=OUTAGE_SPEED)
    async with relay.running(hub.port):
        try:
            await asyncio.to_thread(board.start)
            await _answers(hub, board)
            for _ in range(count):
                await _cut(relay, board, rng.choice(("hub", "silence", "air")), rng)
                began = time.monotonic()
                await _answers(hub, board)
                back_s.append((time.monotonic() - began) * OUTAGE_SPEED)
                scale.tell(f"{len(back_s)} of {count * BOARDS}")
        finally:
            await asyncio.to_thread(board.kill)


async def _cut(relay: Relay, board: BoardProcess, how: str, rng: random.Random) -> None:
    """Let the hub be gone, the air silent or the network away for a while."""
    lasts_s = rng.uniform(SHORTEST_S, LONGEST_S) / OUTAGE_SPEED
    if how == "hub":
        await relay.close()
        await asyncio.sleep(lasts_s)
        await relay.open()
        return
    relay.carries = False
    if how == "air":
        board.set_air(up=False)
    await asyncio.sleep(lasts_s)
    if how == "air":
        board.set_air(up=True)
    relay.carries = True


async def _answers(hub: PatientHub, board: BoardProcess) -> None:
    """Return once the board answers a command. Raises TimeoutError."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        try:
            peers = hub.router.registry.select(board.name)
            results = await hub.router.send(MessageType.PING, peers, None, 500).results()
            if results[0].ok:
                return
        except ProtocolError:
            pass  # the hub does not know it yet
        await asyncio.sleep(0.01)
    raise TimeoutError(f"{board.name} should be back, and is not after 60 s:\n{board.log[-1_000:]}")


async def chaos(scale: Scale) -> AsyncIterator[Figure]:
    count = scale.pick(200, 10_000)
    broken: list[str] = []

    def run() -> None:
        for number, (seed, why) in enumerate(simulate(range(1, count + 1), os.cpu_count() or 1)):
            scale.tell(f"{number} of {count}")
            if why:
                broken.append(f"seed {seed}: {why}; again: make chaos ARGS='--simulated --seed {seed}'")

    await asyncio.to_thread(run)
    yield none_of("runs with a broken promise", len(broken), count)
    if broken:
        raise AssertionError("\n".join(broken[:5]))


async def days(scale: Scale) -> AsyncIterator[Figure]:
    need_micropython()
    hours = scale.pick(1, 72)
    # Milliseconds wrap half way, microseconds every 18 minutes.
    clock = {"offset_us": TICKS_MS * 1000 - hours * 1_800_000_000, "drift_ppm": 0}
    hub = PatientHub(HOST, 0, 1, 1)
    hub.heartbeat_ms = DAYS_HEARTBEAT_MS
    await hub.start()
    port = free_port()
    peer = TargetPeer("target_1", "", lambda what: None)
    peer.heartbeat_ms = DAYS_HEARTBEAT_MS
    plays: list[tuple[str, dict[str, Any]]] = [
        ("target", {"target_id": "target_1", "hub": [f"{HOST}:{hub.port}"]}),
        ("master", {"listen": f"{HOST}:{port}", "max_targets": 4, "max_consoles": 1}),
    ]
    async with AsyncExitStack() as stack:
        stack.push_async_callback(hub.shut_down)
        boards: dict[str, BoardProcess] = {}
        for role, config in plays:
            place = scale.place(role)
            board, _, _ = await watched_board(place / "watched", role, config, {"clock": clock}, DAYS_SPEED)
            stack.push_async_callback(asyncio.to_thread, board.kill)
            await asyncio.to_thread(board.start)
            boards[role] = board
        await until(lambda: boards["master"].times_up, "the hub board should listen")
        visiting = asyncio.create_task(peer.run(port))
        stack.callback(visiting.cancel)
        await until(lambda: peer.link is not None and boards["target"].times_up, "both should be connected")
        link = peer.link
        lost = [0]
        hub.router.events.listen(
            lambda seq, event, target_id, data: lost.append(1) if event == "lost" else None
        )
        found: dict[str, list[Sample]] = {role: [] for role in boards}
        began = time.monotonic()
        step_s = scale.pick(600, 3_600)
        for at_s in range(0, hours * 3_600 + 1, step_s):
            scale.tell(f"{at_s // 60} of {hours * 60} minutes")
            await asyncio.sleep(max(0.0, began + at_s / DAYS_SPEED - time.monotonic()))
            for role, board in boards.items():
                found[role].append(await sample(board, is_quiet=True))
        over = f"{hours} h of a board's clock, over its wrap"
        yield at_most(f"{over}: links that a target lost", sum(lost), 0)
        yield at_most(f"{over}: links that a hub board lost", int(peer.link is not link), 0)
    for role, samples in found.items():
        slope = _slope(samples) / 1024 * 24
        if scale.is_full:
            yield at_most(f"heap of a {role}", max(0.0, slope), HEAP_KIB_A_DAY, "KiB more a day")
        else:
            grown = (samples[0].free - samples[-1].free) / 1024
            yield at_most(
                f"heap of a {role}, from the first hour to the last", max(0.0, grown), 1.0, "KiB more"
            )


def _slope(samples: list[Sample]) -> float:
    """Return how many bytes an hour are taken, by least squares, once the first hours are over."""
    kept = [one.free for one in samples[len(samples) // 8 :]]
    middle = (len(kept) - 1) / 2
    mean = sum(kept) / len(kept)
    rise = sum((at - middle) * (free - mean) for at, free in enumerate(kept))
    return -rise / sum((at - middle) ** 2 for at in range(len(kept)))


CASES = (
    Case(
        14,
        "outages",
        "Hub, air or network are gone for 2 to 60 s, again and again, for boards whose clocks run 20 times as"
        " fast.",
        "99 of 100 times a target answers within 15 s of the end.",
        outages,
    ),
    Case(
        15,
        "chaos, simulated",
        "`make chaos ARGS=--simulated`: a range with eight targets under random faults, in virtual time.",
        "Every promise, after every step of every run.",
        chaos,
    ),
    Case(
        16,
        "days on end",
        "A target and a hub board are left alone for 72 hours of their clocks, over the wrap of their ticks.",
        "No link is lost, and the heap in use grows by less than 1 KiB a day.",
        days,
    ),
)
