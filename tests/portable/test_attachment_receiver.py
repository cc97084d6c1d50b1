"""A file from a sender to a receiver over one link."""

import asyncio
import hashlib
import os

from snyper.shared.attachment_receiver import Receiver
from snyper.shared.attachment_sender import send_attachment
from snyper.shared.link import Link
from snyper.shared.runtime import MAX_CHUNK_BYTES
from snyper.shared.socket_protocol import ErrorCode, SocketMessage
from tests.portable.loopback import LinkPair
from tests.portable.support import raises_async, within

_DATA = bytes(range(256)) * 12 + b"the end"


def _read(offset: int, count: int) -> bytes:
    return _DATA[offset : offset + count]


class _Directory:
    """A directory of its own, emptied before and after. For `with`."""

    def __enter__(self) -> str:
        self.path = "test-attachments-%s" % os.urandom(4).hex()
        return self.path

    def __exit__(self, *_: object) -> None:
        for name in os.listdir(self.path):
            os.remove(self.path + "/" + name)
        os.rmdir(self.path)


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


async def _send(link: Link, sha256: str, chunk_bytes: int, length: int = len(_DATA)) -> "list[int]":
    progress: "list[int]" = []

    async def request(word: str, data: "dict[str, object]", chunk: "bytes | None") -> SocketMessage:
        return await link.request(SocketMessage(word, link.new_id(), None, None, data, chunk), 5_000)

    await within(
        send_attachment(request, _read, "a.bin", length, sha256, chunk_bytes, 0, on_progress=progress.append)
    )
    return progress


async def test_a_file_arrives_in_chunks_and_is_whole() -> None:
    digest = hashlib.sha256(_DATA).digest().hex()
    with _Directory() as directory:
        receiver = Receiver(directory, 1 << 20)
        async with LinkPair({"offer": receiver.serve, "chunk": receiver.serve}) as pair:
            pair.near.peer_max_chunk_bytes = MAX_CHUNK_BYTES
            progress = await _send(pair.near, digest, 1_000)
            assert progress[0] == 1_000
            assert progress[-1] == len(_DATA)
            assert _content(directory + "/a.bin") == _DATA
            assert os.listdir(directory) == ["a.bin"]
            assert await _send(pair.near, digest, 1_000) == [len(_DATA)]  # it is there


async def test_another_receiver_goes_on_where_one_stopped() -> None:
    digest = hashlib.sha256(_DATA).digest().hex()
    with _Directory() as directory:
        receiver = Receiver(directory, 1 << 20)
        async with LinkPair({"offer": receiver.serve, "chunk": receiver.serve}) as pair:
            pair.near.peer_max_chunk_bytes = MAX_CHUNK_BYTES
            offer: "dict[str, object]" = {"name": "a.bin", "length_bytes": len(_DATA), "sha256": digest}
            await pair.near.request(SocketMessage("offer", 1, data=offer), 5_000)
            part: "dict[str, object]" = {"sha256": digest, "offset": 0}
            chunk = SocketMessage("chunk", 2, None, None, part, _DATA[:900])
            await pair.near.request(chunk, 5_000)
            receiver.close()
            receiver = Receiver(directory, 1 << 20)
            pair.far.handlers = {"offer": receiver.serve, "chunk": receiver.serve}
            assert (await _send(pair.near, digest, 1_000))[0] == 1_900
            assert _content(directory + "/a.bin") == _DATA


async def test_what_is_not_what_was_offered_is_not_kept() -> None:
    with _Directory() as directory:
        receiver = Receiver(directory, 1 << 20)
        async with LinkPair({"offer": receiver.serve, "chunk": receiver.serve}) as pair:
            pair.near.peer_max_chunk_bytes = MAX_CHUNK_BYTES
            await raises_async(ErrorCode.BAD_MESSAGE, _send(pair.near, "0" * 64, 1_000))
            assert os.listdir(directory) == []


async def test_what_there_is_no_room_for_is_refused_before_it_is_sent() -> None:
    with _Directory() as directory:
        receiver = Receiver(directory, 1 << 20, reserve_bytes=1 << 60)
        async with LinkPair({"offer": receiver.serve, "chunk": receiver.serve}) as pair:
            await raises_async(ErrorCode.FAULT, _send(pair.near, "0" * 64, 1_000))
            assert os.listdir(directory) == []


async def test_of_cut_transfers_the_last_is_kept_and_files_of_others_too() -> None:
    with _Directory() as directory:
        receiver = Receiver(directory, 1 << 20)
        async with LinkPair({"offer": receiver.serve}) as pair:
            os.mkdir(directory)
            kept = ["film.part", "0" * 31 + "x.part", "0" * 33 + ".part"]
            for name in kept:
                with open(directory + "/" + name, "wb") as file:
                    file.write(b"of others")
            for digit in "123":
                offer: "dict[str, object]" = {"name": "a", "length_bytes": 1, "sha256": digit * 64}
                await pair.near.request(SocketMessage("offer", digit, data=offer), 5_000)
                receiver.close()
            assert sorted(os.listdir(directory)) == sorted(kept + ["3" * 32 + ".part"])


async def test_an_idle_transfer_gives_way_to_the_same_bytes_of_another_name() -> None:
    digest = hashlib.sha256(_DATA).digest().hex()
    with _Directory() as directory:
        receiver = Receiver(directory, 1 << 20, idle_ms=-1)
        async with LinkPair({"offer": receiver.serve, "chunk": receiver.serve}) as pair:
            pair.near.peer_max_chunk_bytes = MAX_CHUNK_BYTES
            offer: "dict[str, object]" = {"name": "b.bin", "length_bytes": len(_DATA) + 1, "sha256": digest}
            await pair.near.request(SocketMessage("offer", 1, data=offer), 5_000)
            await _send(pair.near, digest, 1_000)
            assert os.listdir(directory) == ["a.bin"]


async def test_a_file_that_is_checked_is_let_finish() -> None:
    digest = hashlib.sha256(_DATA).digest().hex()
    with _Directory() as directory:
        receiver = Receiver(directory, 1 << 20, max_transfers=2, idle_ms=-1)
        async with LinkPair({"offer": receiver.serve, "chunk": receiver.serve}) as pair:
            pair.near.peer_max_chunk_bytes = MAX_CHUNK_BYTES
            offer: "dict[str, object]" = {"name": "a.bin", "length_bytes": len(_DATA), "sha256": digest}
            await pair.near.request(SocketMessage("offer", 1, data=offer), 5_000)
            for offset in range(0, len(_DATA), 1_000):
                part: "dict[str, object]" = {"sha256": digest, "offset": offset}
                chunk = SocketMessage("chunk", 2, None, None, part, _DATA[offset : offset + 1_000])
                await pair.near.request(chunk, 5_000)
            other: "dict[str, object]" = {"name": "b.bin", "length_bytes": 1, "sha256": "0" * 64}
            checked, _ = await asyncio.gather(
                pair.near.request(SocketMessage("offer", 3, data=offer), 5_000),
                pair.near.request(SocketMessage("offer", 4, data=other), 5_000),
            )
            assert checked.status == "whole"
            assert receiver.is_receiving
            receiver.close()


async def test_a_receiver_that_gets_no_further_does_not_keep_its_sender() -> None:
    has = [0]
    keeps = [True]

    async def receive(link: Link, message: SocketMessage) -> SocketMessage:
        if message.type == "chunk":
            has[0] += len(message.attachment)
        elif not keeps[0]:
            has[0] = 0
        about: "dict[str, object]" = {
            "received_bytes": has[0],
            "window_bytes": 2_000,
            "max_chunk_bytes": 1_000,
        }
        return message.reply("reply", "partial", about)

    async with LinkPair({"offer": receive, "chunk": receive}) as pair:
        pair.near.peer_max_chunk_bytes = MAX_CHUNK_BYTES
        await raises_async(ErrorCode.BUSY, _send(pair.near, "0" * 64, 1_000))  # never whole
        keeps[0] = False
        await raises_async(ErrorCode.BUSY, _send(pair.near, "0" * 64, 1_000))  # all anew each time
        keeps[0] = True
        has[0] = len(_DATA) + 1
        await raises_async(ErrorCode.BAD_MESSAGE, _send(pair.near, "0" * 64, 1_000))  # more than there is
