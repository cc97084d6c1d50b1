"""Pretenders without the key: to the hub they are a target that is there, to a target they are the hub."""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress

from snyper.boards.board import BoardProcess
from snyper.client import connect
from snyper.shared.keys import Key, seals
from snyper.shared.seal import Seal
from snyper.shared.socket_protocol import ProtocolError
from tools.faults.case import Case, Figure, Scale, all_of, none_of
from tools.faults.ranges import (
    CPYTHON,
    ENGINES,
    KEY,
    MICROPYTHON,
    AttackedHub,
    attacked_hub,
    rises,
    targets_of,
    until,
)
from tools.faults.wire import Message, Peer, peer_of, stranger_address
from tools.impaired_link import ImpairedLink
from tools.loopback import HOST

NAME = "target_1"
WRONG_KEY = "fleet:" + "00" * 32
STAND_UP = b'{"type":"stand_up","id":"x"}\n'
AT_ONCE = {CPYTHON: 16, MICROPYTHON: 2}
_END_S = 10.0


class Recorded:
    """The lines of one connection of the true target, which is behind `link`."""

    def __init__(self, link: ImpairedLink) -> None:
        self.to_hub: list[bytes] = []
        self.from_hub: list[bytes] = []
        link.on_line = self._on_line

    def _on_line(self, to_hub: bool, line: bytes) -> int:
        kept = self.to_hub if to_hub else self.from_hub
        if len(kept) < 40:
            kept.append(line)
        return 1


async def without_the_key(scale: Scale) -> AsyncIterator[Figure]:
    for engine in ENGINES:
        directory = scale.place(engine)
        async with attacked_hub(engine, directory, KEY) as hub, AsyncExitStack() as stack:
            link = await stack.enter_async_context(ImpairedLink(hub.port))
            recorded = Recorded(link)
            boards = await stack.enter_async_context(targets_of(directory, [link.port], KEY))
            [board] = boards
            client = await stack.enter_async_context(connect(hub.address, KEY))
            for command in (client.stand_up, client.lay_down, client.ping):
                await command(NAME)
            times_up = board.times_up
            count = scale.pick(160 if engine == CPYTHON else 8, 10_000 if engine == CPYTHON else 300)
            taken = await _try_all(scale, hub, board, recorded, count)
            yield none_of(f"{engine} hub: let in as {NAME}", taken, count)
            yield none_of(f"{engine} hub: connections that {NAME} lost", board.times_up - times_up, count)
            results = await client.ping(NAME)
            yield all_of(f"{engine} hub: {NAME} answers afterwards", sum(one.ok for one in results), 1)
            moved, count = await _inject(scale, board, link, recorded)
            yield none_of(f"{engine} hub: commands on a target's own connection, obeyed", moved, count)
    moved, count = await _play_hub(scale)
    yield none_of("a hub without the key: obeyed", moved, count)


# --- to the hub


async def _try_all(
    scale: Scale, hub: AttackedHub, board: BoardProcess, recorded: Recorded, count: int
) -> int:
    """Try so often to register as the target; return how often that was taken."""
    taken = done = 0
    numbers = iter(range(count))

    async def work() -> None:
        nonlocal taken, done
        for number in numbers:
            with suppress(OSError, EOFError, TimeoutError):
                async with peer_of(hub.port, stranger_address(number)) as peer:
                    taken += await TRIES[number % len(TRIES)](peer, board, recorded)
            done += 1
            scale.tell(f"{hub.engine}: {done} of {count}")

    await asyncio.gather(*(work() for _ in range(AT_ONCE[hub.engine])))
    return taken


def _register(board: BoardProcess, **data: object) -> Message:
    said = {"role": "target", "hardware_id": board.unique_id, **data}
    return {"type": "register", "id": 1, "target_id": NAME, "data": said}


async def _is_taken(peer: Peer) -> bool:
    """Read to the end of the connection, and return whether it was registered."""
    with suppress(EOFError, TimeoutError):
        while True:
            if (await peer.next(_END_S))["type"] == "registered":
                return True
    return False


async def _no_key(peer: Peer, board: BoardProcess, recorded: Recorded) -> bool:
    await peer.send(_register(board))
    return await _is_taken(peer)


async def _no_proof(peer: Peer, board: BoardProcess, recorded: Recorded) -> bool:
    await peer.send(_register(board, key="fleet", nonce=os.urandom(16).hex()), _register(board))
    return await _is_taken(peer)


async def _challenged(peer: Peer, board: BoardProcess, nonce: bytes) -> tuple[Seal, Seal]:
    await peer.send(_register(board, key="fleet", nonce=nonce.hex()))
    challenge = await peer.next()
    if challenge["type"] != "challenge":
        raise EOFError(str(challenge))
    return seals(Key(WRONG_KEY), "target", NAME, nonce, bytes.fromhex(challenge["data"]["nonce"]))


async def _wrong_key(peer: Peer, board: BoardProcess, recorded: Recorded) -> bool:
    to_hub, _ = await _challenged(peer, board, os.urandom(16))
    await peer.send(to_hub.seal(json.dumps(_register(board)).encode() + b"\n"))
    return await _is_taken(peer)


async def _replayed(peer: Peer, board: BoardProcess, recorded: Recorded) -> bool:
    """Say all that the true target has said, each line after an answer to the one before."""
    await peer.send(recorded.to_hub[0])
    with suppress(EOFError):
        await peer.next()
        await peer.send(*recorded.to_hub[1:])
    return await _is_taken(peer)


async def _replayed_at_once(peer: Peer, board: BoardProcess, recorded: Recorded) -> bool:
    await peer.send(*recorded.to_hub)
    return await _is_taken(peer)


async def _reflected(peer: Peer, board: BoardProcess, recorded: Recorded) -> bool:
    """Say back what the hub says, and has said to the true target."""
    await peer.send(_register(board, key="fleet", nonce=os.urandom(16).hex()))
    challenge = await peer.next()
    await peer.send(challenge, *recorded.from_hub)
    return await _is_taken(peer)


TRIES: tuple[Callable[[Peer, BoardProcess, Recorded], Awaitable[bool]], ...] = (
    _no_key,
    _no_proof,
    _wrong_key,
    _replayed,
    _replayed_at_once,
    _reflected,
)


# --- to a target


async def _inject(
    scale: Scale, board: BoardProcess, link: ImpairedLink, recorded: Recorded
) -> tuple[int, int]:
    """Say commands on the connection of the true hub: unsealed, sealed with another key, recorded, turned
    around. Return how many moved the target, and how many there were.
    """
    commands = [line for line in recorded.from_hub if b'"stand_up"' in line]
    assert commands
    rng = random.Random(11)
    wrong, _ = seals(Key(WRONG_KEY), "target", NAME, bytes(16), bytes(16))
    lines = [STAND_UP, wrong.seal(STAND_UP), *commands, *recorded.to_hub[1:4]]
    moved = 0
    count = scale.pick(6, 300)
    for number in range(count):
        scale.tell(f"on a target's connection: {number} of {count}")
        times_up, before = board.times_up, rises(board)
        connections = link.connections
        line = rng.choice(lines)
        await until(lambda: link.inject(False, line), "it should be connected")  # noqa: B023
        await until(lambda: link.connections > connections, "it should hang up and dial again")  # noqa: B023
        await until(lambda: board.times_up > times_up, "it should be back")  # noqa: B023
        moved += rises(board) > before
    return moved, count


async def _play_hub(scale: Scale) -> tuple[int, int]:
    """Play the hub for a target: with its own nonce as the challenge, its own lines back, and commands that
    are not sealed. Return how many moved it, and how often it was tried.
    """
    tried = 0
    count = scale.pick(3, 100)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tried
        try:
            said = json.loads(await reader.readline())
            nonce = said["data"]["nonce"]
            challenge = {"type": "challenge", "id": said["id"], "target_id": NAME, "status": "challenged"}
            writer.write(json.dumps({**challenge, "data": {"nonce": nonce}}).encode() + b"\n")
            if tried % 2:
                writer.write(STAND_UP)
            while line := await reader.readline():
                writer.write(line)
        except (OSError, ProtocolError):
            pass  # it has hung up, as it should
        finally:
            tried += 1
            writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    board = BoardProcess(
        scale.directory / "deceived", "target", {"target_id": NAME, "hub": [f"{HOST}:{port}"], "key": KEY}
    )
    try:
        await asyncio.to_thread(board.start)
        await until(lambda: tried >= count, "it should dial again and again", 20.0 * count)
        return rises(board), tried
    finally:
        await asyncio.to_thread(board.kill)
        server.close()


CASES = (
    Case(
        11,
        "without the key",
        "Strangers say the name and hardware id of a target that is there, with no key, a wrong one, what"
        " they recorded, what the hub said; and play the hub for a target.",
        "None is let in, the target notices nothing; and none is obeyed.",
        without_the_key,
    ),
)
