"""Peers that vanish without a word, and peers that never read."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from snyper.boards.board import BoardProcess
from tools.faults.case import Case, Figure, Scale, at_most
from tools.faults.ranges import (
    ENGINES,
    WAIT_S,
    AttackedHub,
    attacked_hub,
    control_of,
    is_up,
    measure_beside,
    prober_of,
    targets_of,
    until,
)
from tools.faults.wire import Peer, console_of, dial, kernel_end, reset
from tools.impaired_link import ImpairedLink
from tools.loopback import HOST

KNOWN_S = 2.0
BACK_S = 10.0
CUT_S = 2.0
MORE_MS = 100.0
TARGETS = 4
_REGISTER = b'{"type":"register","id":0,"data":{"role":"console"}}\n{"type":"subscribe","id":1}\n'
_LONG_ANSWER = b'{"type":"list_games","id":2}\n'
_STALL_S = 0.25


async def half_open(scale: Scale) -> AsyncIterator[Figure]:
    rounds = scale.pick(2, 25)
    for engine in ENGINES:
        directory = scale.place(engine)
        async with attacked_hub(engine, directory) as hub, AsyncExitStack() as stack:
            links = [await stack.enter_async_context(ImpairedLink(hub.port)) for _ in range(TARGETS)]
            boards = await stack.enter_async_context(targets_of(directory, [link.port for link in links]))
            known: list[float] = []
            safe: list[float] = []
            back: list[float] = []
            async with console_of(hub.port, subscribed=True) as console:
                for number in range(rounds):
                    scale.tell(f"{engine}: targets, round {number + 1} of {rounds}")
                    await _raise_all(console)
                    known += await _vanish(console, links, boards, safe, back)
            of = f"worst of {rounds * TARGETS}"
            yield at_most(f"{engine} hub: a target that vanished is known, {of}", max(known), KNOWN_S, "s")
            yield at_most(f"{engine} hub: the target lies down, {of}", max(safe), KNOWN_S, "s")
            yield at_most(f"{engine} hub: it is back, {of}", max(back), BACK_S, "s")
            safe.clear()
            back.clear()
            for number in range(rounds):
                scale.tell(f"{engine}: hub, round {number + 1} of {rounds}")
                async with console_of(hub.port) as console:
                    await _raise_all(console)
                await _freeze(hub, boards, safe, back)
            yield at_most(f"{engine} hub that is frozen: targets lie down, {of}", max(safe), KNOWN_S, "s")
            yield at_most(f"{engine} hub that is frozen: they are back, {of}", max(back), BACK_S, "s")


async def _raise_all(console: Peer) -> None:
    """Raise all targets once they are there. Raises TimeoutError."""
    ends = time.monotonic() + WAIT_S
    while (reply := await console.ask("stand_up", "all")).get("data", {}).get("ok") != TARGETS:
        if time.monotonic() > ends:
            raise TimeoutError(f"not all targets stand up: {reply}")
        await asyncio.sleep(0.1)


async def _lies_after(board: BoardProcess) -> float:
    return await until(lambda: not is_up(board), f"{board.name} should lie down")


async def _vanish(
    console: Peer, links: list[ImpairedLink], boards: list[BoardProcess], safe: list[float], back: list[float]
) -> list[float]:
    """Let the air be silent; return after how long the hub knew it of each target, and add to `safe` and
    `back` after how long they lay, and were back.
    """
    lying = [asyncio.create_task(_lies_after(board)) for board in boards]
    began = time.monotonic()
    for link in links:
        link.is_held = True
    known = await _times_of(console, "lost", began)
    safe += await asyncio.gather(*lying)
    for link in links:
        link.is_held = False
    back += await _times_of(console, "registered", time.monotonic())
    return known


async def _times_of(console: Peer, kind: str, began: float) -> list[float]:
    """Wait for this event of every target; return after how long each came."""
    found: dict[str, float] = {}
    while len(found) < TARGETS:
        message = await console.next()
        if message["type"] == "event" and message["data"]["event"] == kind:
            found[message["target_id"]] = time.monotonic() - began
    return list(found.values())


async def _freeze(hub: AttackedHub, boards: list[BoardProcess], safe: list[float], back: list[float]) -> None:
    times_up = [board.times_up for board in boards]
    os.kill(hub.pid, signal.SIGSTOP)
    try:
        safe += await asyncio.gather(*map(_lies_after, boards))
    finally:
        os.kill(hub.pid, signal.SIGCONT)
    began = time.monotonic()
    for board, before in zip(boards, times_up, strict=True):
        await until(lambda: board.times_up > before, f"{board.name} should be back")  # noqa: B023
        back.append(time.monotonic() - began)


async def never_reads(scale: Scale) -> AsyncIterator[Figure]:
    rounds = scale.pick(1, 10)
    for engine in ENGINES:
        directory = scale.place(engine)
        config = {"max_targets": 3, "max_consoles": 2}
        async with (
            attacked_hub(engine, directory, config=config) as hub,
            targets_of(directory, [hub.port]),
            prober_of(hub.address, "target_1") as prober,
            control_of(engine, scale.place(f"{engine}-control"), config=config) as control,
        ):
            for says_blank_lines, what in ((False, "silent"), (True, "with blank lines")):
                cut, more = [], []
                for _ in range(rounds):
                    being_deaf = _be_deaf(hub, says_blank_lines)
                    found, after_s = await measure_beside(prober, control, 4, being_deaf)
                    cut.append(after_s)
                    more.append(found.more_ms)
                yield at_most(f"{engine}, {what}: cut after it was full", max(cut), CUT_S, "s")
                yield at_most(f"{engine}, {what}: p99 of others", max(more), MORE_MS, "ms more")


async def _be_deaf(hub: AttackedHub, says_blank_lines: bool) -> float:
    """Ask for long answers and read none; return how long the hub kept the connection after the last byte
    that it could send.
    """
    sock = await dial(hub.port, receive_buffer=4_096)
    try:
        sock.send(_REGISTER)
        held, since, said = 0, time.monotonic(), 0.0
        ends = time.monotonic() + WAIT_S
        while time.monotonic() < ends:
            end = kernel_end((HOST, hub.port), sock.getsockname())
            now = time.monotonic()
            if end is None:
                return now - since
            if end.to_send != held:
                held, since = end.to_send, now
            is_full = held > 0 and now - since > _STALL_S
            try:
                if not is_full:
                    sock.send(_LONG_ANSWER * 8)
                elif says_blank_lines and now - said > 0.1:
                    said = now
                    sock.send(b"\n")
            except BlockingIOError:
                pass
            except OSError:
                return time.monotonic() - since
            await asyncio.sleep(0.005)
        return WAIT_S
    finally:
        reset(sock)


CASES = (
    Case(
        1,
        "half-open",
        "The air goes silent while targets stand; then the hub freezes. TCP says nothing of either.",
        "Each side knows within 2 s and the targets lie down; all are back within 10 s of the end.",
        half_open,
    ),
    Case(
        5,
        "a peer that never reads",
        "A console asks for long answers and reads none; or goes on sending blank lines meanwhile.",
        "It is cut within 2 s, and the commands of others take 100 ms more at most.",
        never_reads,
    ),
)
