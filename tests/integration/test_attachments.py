"""Bytes that follow a line, through hubs of both runtimes."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from snyper.boards.board import BoardProcess
from snyper.client import HubClient, connect, hub_client, receive_files
from snyper.client.file_receiver import FileReceiver
from snyper.shared.handshake_client import Registered, register_message
from snyper.shared.link import Link
from snyper.shared.runtime import dial, end_task
from snyper.shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage
from tests.integration.harness import (
    HOST,
    HubUnderTest,
    ProcessTarget,
    each_body,
    each_engine,
    needs_micropython,
    running_hub,
    scripted_target,
    until,
    virtual_target,
)
from tests.portable.support import run_link

if TYPE_CHECKING:
    from snyper.shared.link import Handler

CHUNK = bytes(range(256)) * 4
TIMEOUT_MS = 10_000


@asynccontextmanager
async def registered_link(
    hub: HubUnderTest, role: str, name: str, handlers: "dict[str, Handler]", is_old: bool = False
) -> AsyncIterator[Link]:
    """A link to the hub; one that `is_old` announces no bytes."""
    link = Link(await dial(HOST, hub.port, 5_000), handlers, name)
    running = asyncio.create_task(run_link(link))
    try:
        limit = 0 if is_old else link.max_chunk_bytes
        message = register_message(0, {"role": role}, name, limit)
        Registered(await link.request(message, TIMEOUT_MS)).apply_to(link)
        yield link
    finally:
        await end_task(running)


async def reversed_bytes(link: Link, message: SocketMessage) -> SocketMessage:
    assert message.attachment is not None
    reply = message.reply("reply", "ok", {"offset": (message.data or {})["offset"]})
    reply.attachment = bytes(reversed(message.attachment))
    return reply


@each_engine
async def test_a_hub_passes_bytes_on_with_their_message(engine: str, tmp_path: Path) -> None:
    async with (
        running_hub(engine, tmp_path) as hub,
        registered_link(hub, "service", "store", {"chunk": reversed_bytes}),
        registered_link(hub, "console", "c", {}) as console,
    ):
        assert console.peer_max_chunk_bytes == (1_024 if engine == "micropython" else 65_536)
        for offset in range(40):
            message = SocketMessage("chunk", offset, "store", None, {"offset": offset}, CHUNK)
            reply = await console.request(message, TIMEOUT_MS)
            assert reply.attachment == bytes(reversed(CHUNK))
            assert (reply.data or {})["offset"] == offset


@each_engine
async def test_an_old_peer_gets_no_bytes(engine: str, tmp_path: Path) -> None:
    async with (
        running_hub(engine, tmp_path) as hub,
        registered_link(hub, "service", "store", {"chunk": reversed_bytes}, is_old=True) as store,
        registered_link(hub, "console", "c", {}) as console,
    ):
        message = SocketMessage("chunk", 1, "store", None, {"offset": 0}, CHUNK)
        with pytest.raises(ProtocolError, match="then 0") as refused:
            await console.request(message, TIMEOUT_MS)
        assert refused.value.code == ErrorCode.LINE_TOO_LONG
        assert not refused.value.unknown_fate
        # Both are as well as before.
        assert (await console.request(SocketMessage("ping", 2), TIMEOUT_MS)).status == "alive"
        assert (await store.request(SocketMessage("ping", 1), TIMEOUT_MS)).status == "alive"


@each_engine
async def test_an_old_console_gets_the_answer_without_its_bytes(engine: str, tmp_path: Path) -> None:
    async with (
        running_hub(engine, tmp_path) as hub,
        registered_link(hub, "service", "store", {"chunk": reversed_bytes}),
        registered_link(hub, "console", "c", {}, is_old=True) as console,
    ):
        message = SocketMessage("chunk", 1, "store", None, {"offset": 0}, CHUNK)
        reply = await console.request(message, TIMEOUT_MS)
        assert reply.attachment is None
        assert (reply.data or {})["left_out"] is True


# --- files


DATA = random.Random(7).randbytes(200_000)
BOARD_DATA = random.Random(8).randbytes(20_500)


@asynccontextmanager
async def file_store(hub: str, directory: Path) -> AsyncIterator[FileReceiver]:
    async with receive_files(hub, "store", directory) as store:
        await store.wait_until_tried()
        yield store


@each_engine
async def test_a_file_arrives_whole(engine: str, tmp_path: Path) -> None:
    received = tmp_path / "received"
    source = tmp_path / "data.bin"
    source.write_bytes(DATA)
    progress: list[int] = []
    async with (
        running_hub(engine, tmp_path) as hub,
        file_store(hub.address, received),
        connect(hub.address) as client,
    ):
        await client.send_file("store", source, on_progress=progress.append)
        assert (received / "data.bin").read_bytes() == DATA
        assert progress == sorted(progress)
        assert progress[-1] == len(DATA)
        await client.send_bytes("store", "empty", b"")
        await client.send_bytes("store", "data.bin", DATA)  # once more: it is there
        await client.send_bytes("store", "data.bin", b"other")  # replaces it
        assert {path.name: path.read_bytes() for path in received.iterdir()} == {
            "empty": b"",
            "data.bin": b"other",
        }


@each_engine
@each_body
async def test_a_target_keeps_a_file_on_its_flash(engine: str, body: str, tmp_path: Path) -> None:
    async with (
        running_hub(engine, tmp_path) as hub,
        virtual_target(body, tmp_path, hub.address, "t_1") as target,
        connect(hub.address) as client,
    ):
        await until_registered(client, "t_1")
        if body == "cpython":
            with pytest.raises(ProtocolError, match="no flash"):
                await client.send_bytes("t_1", "a.bin", BOARD_DATA)
            return
        await client.send_bytes("t_1", "a.bin", BOARD_DATA)
        assert isinstance(target, ProcessTarget)
        assert (target.board.flash / "files" / "a.bin").read_bytes() == BOARD_DATA
        with pytest.raises(ProtocolError) as refused:
            await client.send_bytes("t_1", "../a", b"x")
        assert refused.value.code == ErrorCode.BAD_MESSAGE
        assert [path.name for path in (target.board.flash / "files").iterdir()] == ["a.bin"]


@needs_micropython
async def test_a_file_that_is_there_interrupts_none_that_comes_in(tmp_path: Path) -> None:
    there, coming = BOARD_DATA[:3_000], BOARD_DATA[3_000:4_500]
    async with (
        running_hub("cpython", tmp_path, max_consoles=2) as hub,
        virtual_target("micropython", tmp_path, hub.address, "t_1") as target,
        connect(hub.address) as client,
        registered_link(hub, "console", "c", {}) as console,
    ):

        async def ask(word: str, attachment: bytes | None = None, **data: object) -> SocketMessage:
            message = SocketMessage(word, console.new_id(), "t_1", None, data, attachment)
            return await console.request(message, TIMEOUT_MS)

        async def offer(name: str, content: bytes) -> str | None:
            sha256 = hashlib.sha256(content).hexdigest()
            return (await ask("offer", name=name, sha256=sha256, length_bytes=len(content))).status

        await until_registered(client, "t_1")
        await client.send_bytes("t_1", "there", there)
        sha256 = hashlib.sha256(coming).hexdigest()
        assert await offer("coming", coming) == "partial"
        await ask("chunk", coming[:1_000], sha256=sha256, offset=0)
        assert await offer("there", there) == "whole"
        await ask("chunk", coming[1_000:], sha256=sha256, offset=1_000)  # needs no other offer
        # This one is checked while that is asked for.
        statuses = await asyncio.gather(offer("coming", coming), offer("there", there))
        assert list(statuses) == ["whole", "whole"]
        assert isinstance(target, ProcessTarget)
        assert (target.board.flash / "files" / "coming").read_bytes() == coming
        assert "Traceback" not in target.board.log


async def test_a_file_goes_to_one_peer(tmp_path: Path) -> None:
    async with (
        running_hub("cpython", tmp_path) as hub,
        scripted_target(hub, "t_1", {}, groups=["g"]) as target,
        connect(hub.address) as client,
    ):
        for many in ("all", "group:g"):
            with pytest.raises(ProtocolError, match="one peer") as refused:
                await client.send_bytes(many, "a", b"x")
            assert refused.value.code == ErrorCode.BAD_MESSAGE
        assert [message["type"] for message in target.received] == ["registered"]


@pytest.mark.parametrize("name", ["", "all", "a b", "group:g", "x" * 33])
def test_a_receiver_of_no_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no name"):
        FileReceiver("127.0.0.1:1", name, tmp_path, "")


async def until_registered(client: HubClient, target_id: str) -> None:

    async def is_there() -> bool:
        return any(target.connected and target.target_id == target_id for target in await client.targets())

    await until(is_there, f"{target_id} should register")


@pytest.mark.parametrize("seed", range(4))
@each_engine
async def test_a_transfer_that_is_cut_goes_on_where_it_stopped(
    engine: str, seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    received = tmp_path / "received"
    data = DATA if engine == "cpython" else DATA[:60_000]
    async with running_hub(engine, tmp_path, max_consoles=2) as hub, CuttableProxy(hub.port) as proxy:
        address = f"{HOST}:{proxy.port}"
        async with file_store(address, received), connect(address, reconnect=True) as client:
            last = 0

            def on_progress(count: int) -> None:
                nonlocal last
                assert count >= last
                last = count

            proxy.cut_after = rng.randrange(1, len(data))
            sending = asyncio.create_task(client.send_bytes("store", "a", data, on_progress))
            while not sending.done():
                await asyncio.wait([sending], timeout=0.05)
                if proxy.was_cut and proxy.cuts < 3:
                    proxy.cut_after = rng.randrange(1, len(data) // 2)
            await sending
            assert proxy.cuts >= 1
        assert [path.name for path in received.iterdir()] == ["a"]
        assert (received / "a").read_bytes() == data
        assert last == len(data)


class CuttableProxy:
    """A TCP proxy that breaks every connection once so many bytes have passed, in the middle of whatever."""

    def __init__(self, hub_port: int) -> None:
        self.port = 0
        self.cuts = 0
        self.was_cut = False
        self._cut_after: int | None = None
        self._hub_port = hub_port
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def cut_after(self) -> int | None:
        """How many bytes pass before the next cut."""
        return self._cut_after

    @cut_after.setter
    def cut_after(self, count: int | None) -> None:
        self._cut_after = count
        self.was_cut = False

    async def __aenter__(self) -> "CuttableProxy":
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        self._cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        hub_reader, hub_writer = await asyncio.open_connection(HOST, self._hub_port)
        self._writers |= {writer, hub_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, hub_writer))
                group.create_task(self._pass(hub_reader, writer))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            for one in (writer, hub_writer):
                one.transport.abort()
                self._writers.discard(one)
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(4_096):
            if self._cut_after is not None:
                self._cut_after -= len(piece)
                if self._cut_after <= 0:
                    writer.write(piece[: len(piece) // 2])
                    await writer.drain()
                    self.cuts += 1
                    self._cut_after = None
                    self.was_cut = True
                    self._cut()
                    return
            writer.write(piece)
            await writer.drain()
        raise ConnectionResetError


@each_engine
async def test_who_lies_about_length_or_hash_is_refused(engine: str, tmp_path: Path) -> None:
    received = tmp_path / "received"
    async with (
        running_hub(engine, tmp_path) as hub,
        file_store(hub.address, received),
        registered_link(hub, "console", "c", {}) as console,
    ):

        async def ask(word: str, attachment: bytes | None = None, **data: object) -> SocketMessage:
            message = SocketMessage(word, console.new_id(), "store", None, data, attachment)
            return await console.request(message, TIMEOUT_MS)

        sha256 = hashlib.sha256(CHUNK).hexdigest()
        await ask("offer", name="a", sha256=sha256, length_bytes=len(CHUNK) - 1)
        with pytest.raises(ProtocolError) as refused:  # more than was offered
            await ask("chunk", CHUNK, sha256=sha256, offset=0)
        assert refused.value.code == ErrorCode.BAD_MESSAGE
        with pytest.raises(ProtocolError) as refused:  # another length now
            await ask("offer", name="a", sha256=sha256, length_bytes=len(CHUNK))
        assert refused.value.code == ErrorCode.BAD_MESSAGE
        reply = await ask("chunk", CHUNK[:-1], sha256=sha256, offset=0)
        assert (reply.data or {})["received_bytes"] == len(CHUNK) - 1
        reply = await ask("chunk", CHUNK[:-1], sha256=sha256, offset=0)  # twice: not taken again
        assert (reply.data or {})["received_bytes"] == len(CHUNK) - 1
        with pytest.raises(ProtocolError, match="another SHA-256") as refused:
            await ask("offer", name="a", sha256=sha256, length_bytes=len(CHUNK) - 1)
        assert refused.value.code == ErrorCode.BAD_MESSAGE
        assert list(received.iterdir()) == []
        with pytest.raises(ProtocolError, match="no such file"):
            await ask("chunk", CHUNK[:-1], sha256=sha256, offset=0)
        for name in ("", "..", "a/b", "a\0", ".a", "a.part", "x" * 65):
            with pytest.raises(ProtocolError) as refused:
                await ask("offer", name=name, sha256=sha256, length_bytes=1)
            assert refused.value.code == ErrorCode.BAD_MESSAGE
        for length in (-1, 1 << 40, "1"):
            with pytest.raises(ProtocolError) as refused:
                await ask("offer", name="a", sha256=sha256, length_bytes=length)
            assert refused.value.code == ErrorCode.BAD_MESSAGE
        assert list(received.iterdir()) == []


@each_engine
async def test_a_receiver_that_takes_nothing_stops_its_sender_and_nobody_else(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_client, "CHUNK_TIMEOUT_MS", 1_000)

    async def offered(link: Link, message: SocketMessage) -> SocketMessage:
        here: dict[str, object] = {"received_bytes": 0, "window_bytes": 1 << 40, "max_chunk_bytes": 1 << 30}
        return message.reply("reply", "partial", here)

    async def hangs(link: Link, message: SocketMessage) -> None:
        await asyncio.Event().wait()

    async with (
        running_hub(engine, tmp_path) as hub,
        registered_link(hub, "service", "store", {"offer": offered, "chunk": hangs}) as store,
        connect(hub.address) as client,
    ):
        sending = asyncio.create_task(client.send_bytes("store", "a", DATA, stall_ms=0))
        for _ in range(20):
            status = await client.status()
            assert status.round_trip_us < 5_000_000
        assert store.under_way <= 4  # whatever window it opens
        with pytest.raises(ProtocolError, match="nothing has come through for") as stopped:
            await sending
        assert stopped.value.code == ErrorCode.TIMEOUT
        assert store.close_error is None


@asynccontextmanager
async def faulty_target(hub: HubUnderTest, directory: Path) -> AsyncIterator[BoardProcess]:
    config = {"target_id": "t_1", "hub": [hub.address]}
    board = BoardProcess(directory / "board", "target", config, name="t_1", faults={})
    board.start()
    try:
        yield board
    finally:
        board.kill()


@needs_micropython
async def test_a_full_flash_keeps_nothing(tmp_path: Path) -> None:
    async with (
        running_hub("cpython", tmp_path) as hub,
        faulty_target(hub, tmp_path) as board,
        connect(hub.address) as client,
    ):
        await until_registered(client, "t_1")
        await client.send_bytes("t_1", "small", b"x")
        taken = sum(path.stat().st_size for path in board.flash.rglob("*") if path.is_file())
        board.set_faults(capacity_bytes=taken)
        with pytest.raises(ProtocolError) as refused:
            await client.send_bytes("t_1", "a.bin", BOARD_DATA)
        assert refused.value.code == ErrorCode.FAULT
        assert [path.name for path in (board.flash / "files").iterdir()] == ["small"]
        board.set_faults(capacity_bytes=None)
        await client.send_bytes("t_1", "a.bin", BOARD_DATA)
        assert (board.flash / "files" / "a.bin").read_bytes() == BOARD_DATA


@needs_micropython
async def test_a_target_that_is_killed_goes_on_where_its_flash_stopped(tmp_path: Path) -> None:
    async with (
        running_hub("cpython", tmp_path) as hub,
        faulty_target(hub, tmp_path) as board,
        connect(hub.address) as client,
    ):
        await until_registered(client, "t_1")
        was_killed = False

        def on_progress(received: int) -> None:
            nonlocal was_killed
            if received > len(BOARD_DATA) // 2 and not was_killed:
                was_killed = True
                board.kill()

        sending = asyncio.create_task(client.send_bytes("t_1", "a.bin", BOARD_DATA, on_progress))
        await until(lambda: board.pid is None, "the target is not killed")
        [part] = (board.flash / "files").iterdir()
        kept = part.stat().st_size
        assert part.suffix == ".part"
        assert 0 < kept < len(BOARD_DATA)
        board.start()
        await sending
        assert (board.flash / "files" / "a.bin").read_bytes() == BOARD_DATA
        assert [path.name for path in (board.flash / "files").iterdir()] == ["a.bin"]
