"""After a hundred connections that ended in every rude way nothing of them is left."""

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from snyper.firmware.master.roles.target import Target
from snyper.shared.link import Link
from tests.integration.harness import (
    HubUnderTest,
    Peer,
    console_of,
    descriptors,
    linux_only,
    needs_micropython,
    peer_of,
    registration,
    running_hub,
    scripted_target,
    until,
    until_connected,
)

ROUNDS = 10  # of ten connections each
MEMORY_SLACK_BYTES = 2_048  # of a heap of 180 kB: less than one connection takes

# A hub board's main.py that says how much memory is free whenever a file named `measure` appears.
MEASURED_HUB = """
import asyncio, gc, os
from snyper.firmware.master.config import read
from snyper.firmware.master.server import Hub
from snyper.shared.address import parse_address
from snyper.shared.config import read_file

async def main():
    config = read(read_file("config.json"), "unix")
    host, port = parse_address(config["listen"])
    await Hub(host, port, config["max_targets"], config["max_consoles"]).start()
    print('snyper: {"status": "listening"}')
    while True:
        await asyncio.sleep_ms(20)
        try:
            os.remove("measure")
        except OSError:
            continue
        gc.collect()
        print("free", gc.mem_free())

asyncio.run(main())
"""


async def reset_at_once(hub: HubUnderTest, peer: Peer) -> None:
    await peer.close(reset=True)


async def half_a_line(hub: HubUnderTest, peer: Peer) -> None:
    await peer.send(b'{"type":"regis')


async def too_long_a_line(hub: HubUnderTest, peer: Peer) -> None:
    await peer.send(b"x" * 10_000)
    await peer.close(reset=True)


async def refused(hub: HubUnderTest, peer: Peer) -> None:
    await peer.send({"type": "register", "id": 1, "data": {"role": "referee"}})
    await peer.expect("error")
    await peer.close(reset=True)


async def registered_and_gone(hub: HubUnderTest, peer: Peer) -> None:
    """Without waiting for the answer."""
    await peer.send(registration("leaver"))
    await peer.close()


async def target_that_babbles(hub: HubUnderTest, peer: Peer) -> None:
    await peer.send(registration("leaver"))
    await peer.expect("registered")
    await peer.send(b"babble\n" * 20)
    await peer.close(reset=True)


async def target_that_reports(hub: HubUnderTest, peer: Peer) -> None:
    await peer.send(registration("leaver"))
    await peer.expect("registered")
    await peer.send({"type": "hit", "id": 1}, {"type": "miss", "id": 2})
    await peer.expect("ack")
    peer.half_close()
    await peer.end()


async def target_that_goes_with_a_command(hub: HubUnderTest, peer: Peer) -> None:
    await peer.send(registration("leaver"))
    await peer.expect("registered")
    async with console_of(hub) as console:
        id = await console.request("stand_up", "leaver", timeout_ms=60_000)
        await peer.expect("stand_up")
        await peer.close(reset=True)
        assert (await console.answer_to(id))[-1]["status"] == "unknown"


async def console_that_goes_with_a_command(hub: HubUnderTest, peer: Peer) -> None:
    await peer.ask("register", role="console")
    for _ in range(3):
        await peer.request("stand_up", "slow", timeout_ms=60_000)
    await peer.request("stand_up", "all", timeout_ms=60_000)
    await peer.close(reset=True)


async def console_that_subscribes(hub: HubUnderTest, peer: Peer) -> None:
    await peer.ask("register", role="console")
    await peer.ask("subscribe")
    await peer.request("list_targets")
    await peer.close(reset=True)


RUDE_WAYS: list[Callable[[HubUnderTest, Peer], Awaitable[None]]] = [
    reset_at_once,
    half_a_line,
    too_long_a_line,
    refused,
    registered_and_gone,
    target_that_babbles,
    target_that_reports,
    target_that_goes_with_a_command,
    console_that_goes_with_a_command,
    console_that_subscribes,
]


async def be_rude(hub: HubUnderTest, console: Peer) -> None:
    """A hundred connections, one after the other."""
    for _ in range(ROUNDS):
        for way in RUDE_WAYS:
            async with peer_of(hub) as peer:
                await way(hub, peer)
            await until_connected(console, {"good", "slow"})


def links() -> list[Link]:
    gc.collect()
    return [found for found in gc.get_objects() if type(found) is Link]


@linux_only
async def test_nothing_is_left_on_cpython(tmp_path: Path) -> None:
    gc.collect()
    gc.freeze()  # what other tests have left is not looked through
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("cpython", tmp_path, 4, 4))
        assert hub.hub is not None
        await stack.enter_async_context(scripted_target(hub, "good"))
        slow = await stack.enter_async_context(scripted_target(hub, "slow", answers={}))
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        await until_connected(console, {"good", "slow"})
        before = (len(links()), len(asyncio.all_tasks()), descriptors(os.getpid()))
        await be_rude(hub, console)

        def left() -> tuple[int, int, int]:
            return (len(links()), len(asyncio.all_tasks()), descriptors(os.getpid()))

        await until(lambda: left() == before, f"links, tasks and descriptors should be {before}")
        assert len([found for found in gc.get_objects() if type(found) is Target]) <= 4 + 4
        # The four commands to `slow` whose console went: nobody waits for their answers.
        await until(
            lambda: not any(type(id) is str for link in links() for id in link._pending),
            "no command should be pending",
        )
        assert [message["type"] for message in slow.received].count("stand_up") > 0
        assert (await console.ask("stand_up", "good"))["status"] == "standing"


@pytest.mark.slow
@linux_only
@needs_micropython
async def test_nothing_is_left_on_a_hub_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first hundred fill what is meant to fill up: the ring of events, the remembered names."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("micropython", tmp_path, 4, 4, main=MEASURED_HUB))
        await stack.enter_async_context(scripted_target(hub, "good"))
        await stack.enter_async_context(scripted_target(hub, "slow", answers={}))
        console = await stack.enter_async_context(console_of(hub))
        await be_rude(hub, console)
        before = await free_bytes(hub)
        descriptors_before = await settled_descriptors(hub, None)
        await be_rude(hub, console)
        await settled_descriptors(hub, descriptors_before)
        free = 0

        async def is_free_again() -> bool:  # the hub drops strangers twice a second
            nonlocal free
            free = await free_bytes(hub)
            return free >= before - MEMORY_SLACK_BYTES

        try:
            await until(is_free_again, f"{before - MEMORY_SLACK_BYTES} bytes should be free again")
        finally:
            said = f"\nhub board after 100 connections: {before} bytes free, after 200: {free}"
            with capsys.disabled():
                print(said, file=sys.stderr)
        assert (await console.ask("stand_up", "good"))["status"] == "standing"


async def free_bytes(hub: HubUnderTest) -> int:
    assert hub.board is not None
    log = hub.board.log
    (hub.board.flash / "measure").touch()
    board = hub.board
    await until(lambda: board.log.count("free ") > log.count("free "), "the hub should measure")
    return int(board.log.rpartition("free ")[2].split()[0])


async def settled_descriptors(hub: HubUnderTest, expected: int | None) -> int:
    """How many the hub has once its good peers are all it has: three connections, and what it began with."""
    assert hub.board is not None
    pid = hub.board.pid
    assert pid is not None
    if expected is None:
        # Every connection beyond the three has been closed by its peer, or is about to be by the hub.
        sockets = 4  # the listening one, two targets, a console
        await until(lambda: sockets_of(pid) == sockets, f"the hub should have {sockets} sockets")
        return descriptors(pid)
    await until(lambda: descriptors(pid) == expected, f"the hub should have {expected} descriptors again")
    return expected


def sockets_of(pid: int) -> int:
    return sum(
        1 for entry in Path(f"/proc/{pid}/fd").iterdir() if os.path.realpath(entry).find("socket:") >= 0
    )
