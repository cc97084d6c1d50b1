"""A hub with a key, on both runtimes: who has it is served, and nobody else does anything."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from snyper.boards.board import BoardProcess
from snyper.client import connect
from snyper.client.environment import key_text
from snyper.firmware.master.config import LIMITS
from snyper.shared.keys import Key, seals
from snyper.shared.seal import SEAL_BYTES, Seal
from snyper.shared.socket_protocol import ProtocolError
from tests.integration.harness import (
    DEADLINE_S,
    HOST,
    HubUnderTest,
    Message,
    free_port,
    needs_micropython,
    running_hub,
    start_hub,
    until,
)

pytestmark = needs_micropython

TEXT = key_text("open sesame")
OTHER = key_text("open barley")
KIOSK, DESK, LANE = (f"{name}:{digit * 64}" for name, digit in (("kiosk", "1"), ("desk", "2"), ("lane", "3")))
KEYS = (f"{TEXT} fleet", f"{KIOSK} reader", f"{DESK} console", f"{LANE} device")


@pytest.fixture(params=["cpython", "micropython"])
async def hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with running_hub(request.param, tmp_path, keys=KEYS) as running:
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
        """The next line; nothing at the end of the connection."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                return await self._reader.readline()
            except ConnectionError:
                return b""

    async def error(self) -> str:
        """The code of the error that comes, after which the hub hangs up."""
        line = await self.line()
        said: Message = json.loads(line[line.index(b"{") :])
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


async def try_all(attempt: Callable[..., Awaitable[None]], cases: Sequence[tuple[Any, ...]]) -> None:
    """Make the attempts, as many at once as a hub board has places for strangers: whom it refuses it gives a
    second to read why.
    """
    places = asyncio.Semaphore(LIMITS["unregistered"].default)

    async def make(case: tuple[Any, ...]) -> None:
        async with places:
            await attempt(*case)

    async with asyncio.TaskGroup() as group:
        for case in cases:
            group.create_task(make(case))


def sealed(seal: Seal, line: bytes) -> bytes:
    return seal.seal(line)


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
        settings = list(board.flash.glob("config*"))
        assert [path.name for path in settings if path.stat().st_mode & 0o077] == []
        assert len(settings) == 2  # as staged, and as the firmware has copied it


async def test_who_has_not_is_refused(hub: HubUnderTest) -> None:
    async def refused(line: bytes, code: str) -> None:
        async with wire_to(hub) as wire:
            await wire.send(line)
            assert await wire.error() == code, line

    nonce = "0" * 32
    await try_all(
        refused,
        [
            (register("console"), "unauthorized"),
            (register("target", "target_1"), "unauthorized"),
            (register("service", "printer"), "unauthorized"),
            (register("console", key="open sesame"), "unauthorized"),
            (register("console", nonce=nonce), "unauthorized"),
            (register("console", key="no name", nonce=nonce), "unauthorized"),
            (register("console", key="fleet", nonce="zz"), "bad_message"),
            (register("console", key="fleet", nonce=[]), "bad_message"),
            (register("console", key=TEXT, nonce=nonce), "bad_message"),
        ],
    )


async def test_what_is_not_sealed_after_the_challenge_is_refused(hub: HubUnderTest) -> None:
    async def refused(line: bytes) -> None:
        async with wire_to(hub) as wire:
            await wire.challenged(TEXT, "console")
            await wire.send(line)
            assert await wire.error() == "unauthorized", line

    await try_all(
        refused,
        [
            (register("console"),),
            (b"\n",),
            (b'{"type":"ping","id":1}\n',),
            (b"0" * SEAL_BYTES + register("console"),),
            (register("console", key="fleet", nonce="0" * 32),),
        ],
    )


async def test_another_key_of_the_same_name_is_refused(hub: HubUnderTest) -> None:
    async with wire_to(hub) as wire:
        to_hub, _ = await wire.challenged(OTHER, "console")
        await wire.send(sealed(to_hub, register("console")))
        assert await wire.error() == "unauthorized"


async def test_the_hub_seals_nothing_before_the_peers_proof(hub: HubUnderTest) -> None:
    """From what is sealed a key that was made of a text could be guessed off line, by anybody who asks."""
    for of_key in (OTHER, TEXT):
        async with wire_to(hub) as wire:
            to_hub, _ = await wire.challenged(of_key, "console")
            await wire.send(sealed(to_hub, register("console"))[:-2] + b"?\n")
            assert json.loads(await wire.line())["data"]["code"] == "unauthorized"
            assert await wire.line() == b""


async def test_the_proof_is_of_one_role_and_one_name(hub: HubUnderTest) -> None:
    async def refused(line: bytes) -> None:
        async with wire_to(hub) as wire:
            to_hub, _ = await wire.challenged(TEXT, "console")
            await wire.send(sealed(to_hub, line))
            assert await wire.error() == "unauthorized", line

    others = (register("target", "target_1"), register("service", "printer"), register("console", "me"))
    await try_all(refused, [(line,) for line in others])


async def test_a_name_of_no_key_is_answered_as_a_wrong_key_is(hub: HubUnderTest) -> None:
    answers = []
    for text in (OTHER, f"nobodys:{'4' * 64}"):
        async with wire_to(hub) as wire:
            to_hub, _ = await wire.challenged(text, "console")
            await wire.send(sealed(to_hub, register("console")))
            line = await wire.line()
            answers.append(line[line.index(b"{") :])
            assert await wire.line() == b""
    assert answers[0] == answers[1]
    assert json.loads(answers[0])["data"]["code"] == "unauthorized"


@pytest.mark.parametrize(
    ("key", "role", "name"),
    [
        (LANE, "target", "lane"),
        (LANE, "service", "lane"),
        (DESK, "console", ""),
        (KIOSK, "console", "kiosk"),
        (TEXT, "target", "lane"),
        (TEXT, "service", "printer"),
    ],
)
async def test_a_key_gives_its_rights(hub: HubUnderTest, key: str, role: str, name: str) -> None:
    async with wire_to(hub) as wire:
        said = await registered_with(wire, key, role, name)
        assert said["type"] == "registered", said


async def test_a_key_gives_no_more_than_its_rights(hub: HubUnderTest) -> None:
    async def refused(key: str, role: str, name: str, why: str) -> None:
        async with wire_to(hub) as wire:
            said = await registered_with(wire, key, role, name)
            assert said["type"] == "error", (key, role, name)
            assert said["data"]["code"] == "unauthorized"
            assert why in said["data"]["message"]
            assert await wire.line() == b""

    alone = "is for the target or service lane alone"
    await try_all(
        refused,
        [
            (LANE, "target", "lane_2", alone),
            (LANE, "service", "printer", alone),
            (LANE, "console", "lane", alone),
            (LANE, "console", "", alone),
            (DESK, "target", "desk", "is for consoles alone"),
            (DESK, "service", "desk", "is for consoles alone"),
            (KIOSK, "target", "kiosk", "is for consoles alone"),
        ],
    )


async def test_who_has_a_devices_key_holds_no_other_board(hub: HubUnderTest) -> None:
    async with wire_to(hub) as lane, wire_to(hub) as other:
        for wire, key, name in ((lane, LANE, "lane"), (other, TEXT, "target_1")):
            about = {"hardware_id": "of target_1", "heartbeat_ms": 60_000}
            said = await registered_with(wire, key, "target", name, **about)
            assert said["type"] == "registered", said
        async with connect(hub.address, DESK) as client:
            assert [target.connected for target in await client.targets()] == [True, True]


async def registered_with(wire: Wire, key: str, role: str, name: str, **data: object) -> Message:
    """Prove a key and register; return what the hub says."""
    to_hub, from_hub = await wire.challenged(key, role, name)
    await wire.send(sealed(to_hub, register(role, name, **data)))
    line = from_hub.open(await wire.line())
    assert line is not None
    said: Message = json.loads(line)
    return said


async def test_who_may_only_read_commands_nothing(hub: HubUnderTest, tmp_path: Path) -> None:
    async with target_of(hub, tmp_path, TEXT) as board:
        await until(lambda: board.times_up, "it should register")
        async with connect(hub.address, KIOSK) as client:
            assert [target.target_id for target in await client.targets()] == ["target_1"]
            [result] = await client.ping("target_1")
            assert result.ok
            for refused in (
                client.stand_up("target_1"),
                client.command("target_1", "configure", threshold=7),
                client.start_game("quick"),
                client.stop_game(),
            ):
                with pytest.raises(ProtocolError, match="your key may only read") as raised:
                    await refused
                assert raised.value.code == "unauthorized"
            assert (await client.cease_fire("a dog")).held  # anybody may stop it all
            state = await client.cease_fire_state()
            assert state is not None
            assert state.why == "a dog"
            with pytest.raises(ProtocolError, match="your key may only read"):
                await client.release()
        async with connect(hub.address, DESK) as client:
            assert not client.is_open
            assert not (await client.release()).held
            [result] = await client.stand_up("target_1")
            assert result.ok


@pytest.mark.parametrize("engine", ["cpython", "micropython"])
async def test_an_open_hub_says_so_and_has_who_brings_a_key_prove_it(engine: str, tmp_path: Path) -> None:
    async with running_hub(engine, tmp_path, keys=KEYS, is_open=True) as open_hub:
        async with connect(open_hub.address, "") as client:
            assert client.is_open
            assert await client.targets() == []
        async with connect(open_hub.address, KIOSK, reconnect=True) as client:
            assert client.is_open
            with pytest.raises(ProtocolError, match="your key may only read"):
                await client.stop_game()
        with pytest.raises(ProtocolError, match="is the key the same at both ends"):
            async with connect(open_hub.address, OTHER):
                pass
        async with wire_to(open_hub) as wire:  # which cannot say later that it is somebody else
            to_hub, from_hub = await wire.challenged(LANE, "target", "lane")
            await wire.send(sealed(to_hub, register("console")))
            assert b"unauthorized" in (from_hub.open(await wire.line()) or b"")


@pytest.mark.parametrize("engine", ["cpython", "micropython"])
async def test_no_web_page_commands_a_hub_without_a_key(engine: str, tmp_path: Path) -> None:
    """A browser sends to any port of this computer what any page gives it, behind the head of a request."""
    body = register("console") + b'{"type":"list_games","id":3}\n'
    async with running_hub(engine, tmp_path) as running:
        for request in (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"GET /%7B HTTP/1.0\r\n"):
            async with wire_to(running) as wire:
                await wire.send(request + body)
                assert await wire.error() == "unsupported"
        async with wire_to(running) as wire:  # a person may mistype it
            await wire.send(b"hello\n" + body)
            assert json.loads(await wire.line())["data"]["code"] == "bad_json"
            assert json.loads(await wire.line())["type"] == "registered"


@pytest.mark.parametrize(
    ("config", "is_served"),
    [
        ({"access_point": {}}, False),
        ({"access_point": {"password": "pop-up-targets"}}, False),
        ({"access_point": {"ssid": "mine"}, "open": True}, True),
        ({"access_point": {"password": "one of my own"}}, True),
    ],
)
async def test_a_hub_board_with_no_secret_at_all_lets_nobody_in(
    config: Message, is_served: bool, tmp_path: Path
) -> None:
    port = free_port()
    board = BoardProcess(tmp_path / "hub", "master", {"listen": f"{HOST}:{port}", **config})
    try:
        await start_hub(board)
        for role, name in (("console", ""), ("target", "target_1"), ("service", "printer")):
            async with wire_to(HubUnderTest(port)) as wire:
                await wire.send(register(role, name))
                said = json.loads(await wire.line())
                assert said["type"] == ("registered" if is_served else "error"), said
                if not is_served:
                    assert said["data"]["message"] == "this hub has no key to let anybody in by: give it one"
        assert ("lets nobody in: it has no key" in board.log) is not is_served
        assert ("open: whoever is in its Wi-Fi" in board.log) is bool(config.get("open"))
    finally:
        board.kill()


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
        await wire.send(registered)
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


async def test_lines_are_taken_as_they_were_sent_or_not_at_all(hub: HubUnderTest) -> None:
    async def refused(name: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
        async with wire_to(hub) as wire:
            to_hub, from_hub = await wire.challenged(TEXT, "target", name)
            await wire.send(sealed(to_hub, register("target", name)))
            registered = from_hub.open(await wire.line())
            assert registered is not None
            lines = [sealed(to_hub, b'{"type":"ping","id":1%d}\n' % number) for number in range(3)]
            await wire.send(b"".join(change(lines)))
            answers = []
            while line := await wire.line():
                answer = from_hub.open(line)
                assert answer is not None
                answers.append(json.loads(answer))
            assert answers[-1]["data"]["code"] == "unauthorized", (name, answers)
            taken = [answer["id"] for answer in answers if answer["type"] == "pong"]
            assert taken in ([], [10]), name

    await try_all(
        refused,
        [
            ("another_order", lambda lines: [lines[1], lines[0]]),
            ("one_twice", lambda lines: [lines[0], lines[0]]),
            ("one_left_out", lambda lines: [lines[0], lines[2]]),
            ("half_of_one", lambda lines: [lines[0][: len(lines[0]) // 2] + b"\n"]),
            ("two_as_one", lambda lines: [lines[0][:-1] + lines[1]]),
            ("a_longer_one", lambda lines: [lines[0][:-2] + b" }\n"]),
            ("another_one", lambda lines: [lines[0].replace(b'"id":1', b'"id":2')]),
            ("capital_digits_of_its_seal", lambda lines: [lines[0].upper()]),
        ],
    )


async def test_a_challenge_cannot_be_answered_by_the_hub_itself(hub: HubUnderTest) -> None:
    """Whoever has no key asks the hub to seal for it, over another connection and with the same nonces."""
    async with wire_to(hub) as wire, wire_to(hub) as other:
        first = {"role": "console", "key": "fleet", "nonce": "0" * 32}
        await wire.send(register(**first))
        nonce = json.loads(await wire.line())["data"]["nonce"]
        await other.send(register("console", key="fleet", nonce=nonce))
        assert json.loads(await other.line())["data"]["nonce"] not in (nonce, "0" * 32)
        await other.send(register("console"))
        reflected = await other.line()
        assert b"unauthorized" in reflected
        await wire.send(reflected)
        assert await wire.error() == "unauthorized"


async def test_what_comes_in_one_piece_with_the_request_for_a_challenge_is_not_taken(
    hub: HubUnderTest,
) -> None:
    async def refused(more: bytes) -> None:
        async with wire_to(hub) as wire:
            await wire.send(register("console", key="fleet", nonce="0" * 32) + more)
            assert json.loads(await wire.line())["type"] == "challenge"
            await wire.send(b"\n")
            assert await wire.error() == "unauthorized", more

    pieces = (register("console"), b'{"type":"ping","id":3}\n', b'{"type":"register","id":4', b"\n")
    await try_all(refused, [(more,) for more in pieces])


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
        running_hub("cpython", tmp_path, keys=[f"{OTHER} fleet"]) as other_hub,
        target_of(other_hub, tmp_path, TEXT) as board,
    ):
        await until(lambda: "is the key the same at both ends" in board.log, "it should see it")
        assert not board.times_up
