"""A hub with a key, on both runtimes: who has it is served, and nobody else does anything."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from snyper.boards.board import BoardProcess
from snyper.client import connect
from snyper.client.environment import key_text
from snyper.shared.keys import Key, seals
from snyper.shared.seal import SEAL_BYTES, Seal
from tests.integration.harness import (
    DEADLINE_S,
    HOST,
    HubUnderTest,
    Message,
    needs_micropython,
    running_hub,
    until,
)

pytestmark = needs_micropython

TEXT = key_text("open sesame")
OTHER = key_text("open barley")


@pytest.fixture(params=["cpython", "micropython"])
async def hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with running_hub(request.param, tmp_path, key=TEXT) as running:
        yield running


def register(role: str, name: str = "", **data: object) -> bytes:
    message: Message = {"type": "register", "id": 2, "data": {"role": role, **data}}
    if name:
        message["target_id"] = name
    return json.dumps(message).encode() + b"\n"


class Wire:
    """One connection to the hub, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.sent = b""

    async def send(self, line: bytes) -> None:
        self.sent += line
        self._writer.write(line)
        await self._writer.drain()

    async def line(self) -> bytes:
        """The next line without its end; nothing at the end of the connection."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                return (await self._reader.readline()).removesuffix(b"\n")
            except ConnectionError:
                return b""

    async def error(self) -> str:
        """The code of the error that comes, after which the hub hangs up."""
        line = await self.line()
        said: Message = json.loads(line[: line.rindex(b"}") + 1])
        assert said["type"] == "error", said
        assert await self.line() == b""
        code: str = said["data"]["code"]
        return code

    async def challenged(self, key_text: str, role: str, name: str = "") -> tuple[Seal, Seal]:
        """Have the hub challenge this peer; return the seals of what goes to it and of what comes."""
        key = Key(key_text)
        nonce = os.urandom(16)
        message: Message = {
            "type": "register",
            "id": 1,
            "data": {"role": role, "key": key.name, "nonce": nonce.hex()},
        }
        if name:
            message["target_id"] = name
        await self.send(json.dumps(message).encode() + b"\n")
        challenge = json.loads(await self.line())
        assert challenge["type"] == "challenge", challenge
        return seals(key, role, name, nonce, bytes.fromhex(challenge["data"]["nonce"]))


@asynccontextmanager
async def wire_to(hub: HubUnderTest) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection(HOST, hub.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


def sealed(seal: Seal, line: bytes) -> bytes:
    return bytes(seal.seal(line[:-1])) + b"\n"


@asynccontextmanager
async def target_of(hub: HubUnderTest, directory: Path, key: str) -> AsyncIterator[BoardProcess]:
    board = BoardProcess(directory / "target", "target", {"hub": [hub.address], "key": key})
    board.start()
    try:
        yield board
    finally:
        board.kill()


async def test_who_has_the_key_is_served(hub: HubUnderTest, tmp_path: Path) -> None:
    async with target_of(hub, tmp_path, TEXT) as board:
        await until(lambda: board.times_up, "it should register")
        async with connect(hub.address, "open sesame") as client:
            [result] = await client.stand_up("target_1")
            assert result.ok
            [result] = await client.ping("target_1")
            assert result.ok
            await client.send_bytes("target_1", "a.bin", os.urandom(20_000))
        assert TEXT[6:20] not in board.log


async def test_who_has_not_is_refused(hub: HubUnderTest) -> None:
    nonce = "0" * 32
    for line in (
        register("console"),
        register("target", "target_1"),
        register("service", "printer"),
        register("console", key="open sesame"),
        register("console", nonce=nonce),
        register("console", key="other", nonce=nonce),
    ):
        async with wire_to(hub) as wire:
            await wire.send(line)
            assert await wire.error() == "unauthorized", line
    for line in (
        register("console", key="fleet", nonce="zz"),
        register("console", key="fleet", nonce=[]),
        register("console", key=TEXT, nonce=nonce),
    ):
        async with wire_to(hub) as wire:
            await wire.send(line)
            assert await wire.error() == "bad_message", line


@pytest.mark.parametrize(
    "line",
    [
        register("console"),
        b"\n",
        b'{"type":"ping","id":1}\n',
        register("console")[:-1] + b"0" * SEAL_BYTES + b"\n",
        register("console", key="fleet", nonce="0" * 32),
    ],
    ids=["no seal", "nothing", "a ping", "a false seal", "another challenge"],
)
async def test_what_is_not_sealed_after_the_challenge_is_refused(hub: HubUnderTest, line: bytes) -> None:
    async with wire_to(hub) as wire:
        await wire.challenged(TEXT, "console")
        await wire.send(line)
        assert await wire.error() == "unauthorized"


async def test_another_key_of_the_same_name_is_refused(hub: HubUnderTest) -> None:
    async with wire_to(hub) as wire:
        to_hub, _ = await wire.challenged(OTHER, "console")
        await wire.send(sealed(to_hub, register("console")))
        assert await wire.error() == "unauthorized"


async def test_the_proof_is_of_one_role_and_one_name(hub: HubUnderTest) -> None:
    for line in (register("target", "target_1"), register("service", "printer"), register("console", "me")):
        async with wire_to(hub) as wire:
            to_hub, _ = await wire.challenged(TEXT, "console")
            await wire.send(sealed(to_hub, line))
            assert await wire.error() == "unauthorized"


async def test_what_was_recorded_and_what_the_hub_said_is_of_no_use(hub: HubUnderTest) -> None:
    async with wire_to(hub) as wire:
        to_hub, from_hub = await wire.challenged(TEXT, "console")
        await wire.send(sealed(to_hub, register("console")))
        registered = await wire.line()
        content = from_hub.open(registered)
        assert content is not None
        assert json.loads(content)["type"] == "registered"
        await wire.send(sealed(to_hub, b'{"type":"list_targets","id":3}\n'))
        listed = from_hub.open(await wire.line())
        assert listed is not None
        assert json.loads(listed)["type"] == "targets"
        recorded = wire.sent
        await wire.send(registered + b"\n")
        while (line := await wire.line()) and b"unauthorized" not in (from_hub.open(line) or b""):
            pass
        assert line
        assert await wire.line() == b""
    async with wire_to(hub) as again:
        first, rest = recorded.split(b"\n", 1)
        await again.send(first + b"\n")
        assert json.loads(await again.line())["type"] == "challenge"
        await again.send(rest)
        assert await again.error() == "unauthorized"


async def test_what_comes_in_one_piece_with_the_request_for_a_challenge_is_not_taken(
    hub: HubUnderTest,
) -> None:
    for more in (register("console"), b'{"type":"ping","id":3}\n', b'{"type":"register","id":4', b"\n"):
        async with wire_to(hub) as wire:
            await wire.send(register("console", key="fleet", nonce="0" * 32) + more)
            assert json.loads(await wire.line())["type"] == "challenge"
            await wire.send(b"\n")
            assert await wire.error() == "unauthorized"


async def test_a_target_does_nothing_for_a_hub_that_has_not_proven_the_key(tmp_path: Path) -> None:
    """Neither before the challenge, nor in one piece with it, nor after it."""
    raised = b'{"type":"stand_up","id":5}\n'
    begun = asyncio.Event()
    said: list[bytes] = []

    async def play_the_hub(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(await reader.readline())
        challenge = {"type": "challenge", "id": asked["id"], "data": {"nonce": "0" * 32}}
        for line in (
            raised,
            json.dumps(challenge).encode() + b"\n" + raised + b'{"type":"stand_up",',
            raised,
        ):
            writer.write(line)
            await writer.drain()
            if line is not raised:
                await reader.readline()  # what is refused of the first, or the sealed `register`
        said.append(await reader.read())
        writer.close()
        begun.set()

    server = await asyncio.start_server(play_the_hub, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    async with server, target_of(HubUnderTest(port), tmp_path, TEXT) as board:
        await asyncio.wait_for(begun.wait(), DEADLINE_S)
        assert b"standing" not in said[0]
        await until(lambda: "is the key the same at both ends" in board.log, "it should say why")
        assert not board.times_up


async def test_a_target_with_a_key_serves_no_hub_without(tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path) as open_hub, target_of(open_hub, tmp_path, TEXT) as board:
        await until(lambda: "this hub has no key" in board.log, "it should be told")
        assert not board.times_up
    async with (
        running_hub("cpython", tmp_path, key=OTHER) as other_hub,
        target_of(other_hub, tmp_path, TEXT) as board,
    ):
        await until(lambda: "is the key the same at both ends" in board.log, "it should see it")
        assert not board.times_up
