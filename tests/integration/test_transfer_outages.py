"""Files whose hub is killed, or whose receiver stops to read, while they come: whole, or not there."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from snyper.client import HubClient, connect, receive_files
from snyper.shared.attachment_receiver import Receiver
from snyper.shared.link import Link
from snyper.shared.link_core import MAX_HANDLERS
from snyper.shared.socket_protocol import MAX_INTEGER, ErrorCode, ProtocolError, SocketMessage, integer_field
from tests.integration.harness import (
    ROOT,
    HubUnderTest,
    console_of,
    each_engine,
    linux_only,
    mortal_hub,
    peer_of,
    resident_kb,
    running_hub,
    scripted_target,
    slowest_answer,
    until,
)

DATA = random.Random(9).randbytes(600_000)
HALF = len(DATA) // 2
BATCHES = 40  # of chunks: 21 MB through a computer, 328 kB through a board of 180
SLOWEST_S = 1.0  # of an answer to others, on a loaded machine


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


class Offsets:
    """Where the chunks begin that a receiver gets, and how many bytes they have."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[int] = []
        self.bytes = 0
        serve = Receiver.serve

        async def counting(receiver: Receiver, link: Link, message: SocketMessage) -> SocketMessage:
            if message.type == "chunk":
                assert message.data is not None
                self.seen.append(integer_field(message.data, "offset", -1, 0, MAX_INTEGER))
                self.bytes += len(message.attachment)
            return await serve(receiver, link, message)

        monkeypatch.setattr(Receiver, "serve", counting)


@each_engine
@pytest.mark.parametrize("reconnects", [True, False])
async def test_a_hub_that_is_killed_while_a_file_passes(
    engine: str, reconnects: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = tmp_path / "received"
    offsets = Offsets(monkeypatch)
    killed = asyncio.Event()
    progress: list[int] = []

    def on_progress(count: int) -> None:
        progress.append(count)
        if count > HALF and not killed.is_set():
            os.kill(hub.pid, signal.SIGKILL)
            killed.set()

    async with mortal_hub(engine, tmp_path) as hub:
        address = hub.under_test.address
        async with receive_files(address, "store", received) as store:
            await store.wait_until_tried()
            async with client_of(address, reconnects) as client:
                sending = asyncio.create_task(client.send_bytes("store", "a", DATA, on_progress))
                await killed.wait()
                await hub.kill()
                if not reconnects:
                    with pytest.raises(ProtocolError) as lost:
                        await sending
                    assert lost.value.code == ErrorCode.DISCONNECTED
                await until(lambda: store.link is None, "the receiver should lose its hub")
                [part] = received.iterdir()
                assert part.suffix == ".part"
                assert DATA.startswith(part.read_bytes())
                assert HALF < progress[-1] <= offsets.bytes < len(DATA)
                before, kept = len(offsets.seen), offsets.bytes
                await hub.start()
                if reconnects:
                    await sending
            if not reconnects:
                await until(lambda: store.link is not None, "the receiver should find its hub")
                async with connect(address) as again:
                    await again.send_bytes("store", "a", DATA, on_progress)
    assert contents(received) == {"a": DATA}
    assert progress == sorted(progress)
    assert progress[-1] == len(DATA)
    assert offsets.seen[before] == kept
    assert offsets.bytes == len(DATA)  # nothing twice


@asynccontextmanager
async def client_of(address: str, reconnects: bool) -> AsyncIterator[HubClient]:
    if reconnects:
        async with connect(address, reconnect=True) as reconnecting:
            yield reconnecting
    else:
        async with connect(address) as once:
            yield once


RECEIVER = """
import asyncio, sys, snyper

async def main():
    async with snyper.receive_files(sys.argv[1], "store", sys.argv[2]) as store:
        await store.wait_until_tried()
        print("here", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def receiver_process(hub: HubUnderTest, directory: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RECEIVER, hub.address, str(directory)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "host")},
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"here\n"
        yield process
    finally:
        process.kill()
        await process.communicate()


@linux_only
@each_engine
async def test_a_receiver_that_is_stopped_while_a_file_comes(engine: str, tmp_path: Path) -> None:
    received = tmp_path / "received"
    stopped = asyncio.Event()

    def on_progress(count: int) -> None:
        if count > HALF and not stopped.is_set():
            receiver.send_signal(signal.SIGSTOP)
            stopped.set()

    async with (
        running_hub(engine, tmp_path, max_consoles=3) as hub,
        scripted_target(hub, "good"),
        receiver_process(hub, received) as receiver,
        console_of(hub, subscribed=True) as other,
        connect(hub.address) as client,
    ):
        sending = asyncio.create_task(client.send_bytes("store", "a", DATA, on_progress, stall_ms=0))
        await stopped.wait()
        slowest_s = await slowest_answer(other, sending)
        with pytest.raises(ProtocolError, match="nothing has come through for") as given_up:
            await sending
        assert given_up.value.code == ErrorCode.DISCONNECTED
        assert slowest_s < SLOWEST_S
        [part] = received.iterdir()
        assert part.suffix == ".part"
        assert part.read_bytes() == DATA[: part.stat().st_size]
        receiver.send_signal(signal.SIGCONT)
        await client.send_bytes("store", "a", DATA)
    assert contents(received) == {"a": DATA}


@linux_only
@each_engine
async def test_bytes_for_a_peer_that_does_not_read_are_not_kept(engine: str, tmp_path: Path) -> None:
    """A sender that heeds no window, and a receiver whose silence is no death for minutes."""
    about = {"role": "service", "heartbeat_ms": 60_000, "max_chunk_bytes": 65_536, "hardware_id": "1"}
    chunk = bytes(65_536 if engine == "cpython" else 1_024)
    async with (
        mortal_hub(engine, tmp_path) as mortal,
        peer_of(mortal.under_test, reads=False, receive_buffer=4_096) as store,
        scripted_target(mortal.under_test, "good"),
        console_of(mortal.under_test) as sender,
    ):
        await store.send({"type": "register", "id": 0, "target_id": "store", "data": about})
        while (await sender.ask("ping", "store", timeout_ms=100))["data"]["code"] == "unknown_target":
            pass
        before_kb = 0
        codes: list[str] = []
        for batch in range(BATCHES):
            ids = [f"{batch}-{number}" for number in range(MAX_HANDLERS)]
            for id in ids:
                message = {"type": "chunk", "id": id, "target_id": "store", "bytes": len(chunk)}
                await sender.send({**message, "data": {"timeout_ms": 100}}, chunk)
            codes += [(await sender.next())["data"]["code"] for _ in ids]
            assert (await sender.ask("ping", "good"))["status"] == "alive"
            if batch == BATCHES // 2:  # the system takes no more by now
                before_kb = resident_kb(mortal.pid)
        assert resident_kb(mortal.pid) - before_kb < 4_096
    # Of what a board is sent the system takes all, which is more than its heap has place for.
    assert set(codes) == ({ErrorCode.TIMEOUT, ErrorCode.BUSY} if engine == "cpython" else {ErrorCode.TIMEOUT})
