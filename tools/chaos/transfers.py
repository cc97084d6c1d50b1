"""The senders of files to the targets of a simulated range, and the promises of a transfer."""

import asyncio
import random
from hashlib import sha256
from typing import Any

from snyper.client import ReconnectingClient
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from tools.chaos.machines import FILES, Board
from tools.chaos.promises import BrokenPromise, Step

CHUNK_BYTES = 256  # few, so that a file of some kB is in many
FLUSH_BYTES = 1_024
STALL_MS = 20_000
ARRIVES_S = 90.0  # whatever happens meanwhile
PAUSE_S = 0.2
PART = ".part"
LIE = sha256(b"a lie").hexdigest()  # the SHA-256 that a lie says, and no file has
PASSING = (ErrorCode.BUSY, ErrorCode.TIMEOUT, ErrorCode.DISCONNECTED, ErrorCode.UNKNOWN_TARGET)


class _Progress:
    """The progress of one transfer, as its sender was told."""

    def __init__(self) -> None:
        self.received = 0
        self.window = 0
        self.begins_anew = False


class Transfers:
    """Watches the transfers of a run. What it is given travels between a console and boards."""

    def __init__(self, boards: list[Board]) -> None:
        self._offered: dict[tuple[str, str], list[bytes]] = {}  # by target and name
        self._kept: dict[tuple[str, str], list[bytes]] = {}
        self._progress: dict[tuple[str, str], _Progress] = {}  # by target and SHA-256
        self._asked: dict[str, tuple[str, str, bool]] = {}  # by id: the target, the SHA-256, is it an offer?
        self._asked_of: dict[tuple[str, str], tuple[str, int]] = {}  # by target and id: path, size on flash
        self._boards = {board.machine.name: board for board in boards}

    def offer(self, target_id: str, name: str, data: bytes) -> None:
        """Take note that a console begins to send a file."""
        self._offered.setdefault((target_id, name), []).append(data)

    def check_whole(self, target_id: str, name: str, data: bytes) -> None:
        """Check a file that is said to be whole. Raises BrokenPromise."""
        if data not in self._kept.get((target_id, name), []):
            raise BrokenPromise(f"{name} is said to be whole on {target_id}, and never was")

    def on_change(self, board: Board, path: str) -> None:
        """Check a file that is new on a flash. Raises BrokenPromise."""
        where = (board.machine.name, path.rpartition("/")[2])
        if path.endswith(PART):
            parts = [other for other in board.flash.files if other.endswith(PART)]
            if len(parts) > 1:
                raise BrokenPromise(f"{where[0]} keeps {len(parts)} files that are not whole")
            return
        if board.flash.files[path] not in self._offered.get(where, []):
            raise BrokenPromise(f"{where[1]} is on {where[0]}, and is no file that anybody sent")
        self._kept.setdefault(where, []).append(board.flash.files[path])

    # --- what a console says and is told

    def on_console_says(self, message: dict[str, Any], attached: bytes) -> None:
        """Check an `offer` or a `chunk` as it is sent. Raises BrokenPromise."""
        data = message["data"]
        key = (message["target_id"], data["sha256"])
        is_offer = message["type"] == "offer"
        self._asked[message["id"]] = (*key, is_offer)
        progress = self._progress.setdefault(key, _Progress())
        if is_offer:
            return
        if progress.begins_anew and data["offset"] != progress.received:
            raise BrokenPromise(f"a file goes on at {data['offset']}, and {progress.received} are there")
        progress.begins_anew = False
        if data["offset"] + len(attached) > progress.received + progress.window:
            raise BrokenPromise(f"{key[0]} is sent more than its window takes")

    def on_console_gets(self, message: dict[str, Any]) -> None:
        """Take note of an answer."""
        if message.get("id") in self._asked:
            *key, is_offer = self._asked.pop(message["id"])
            progress = self._progress[key[0], key[1]]
            progress.received = message["data"]["received_bytes"]
            progress.window = message["data"]["window_bytes"]
            progress.begins_anew = progress.begins_anew or is_offer

    # --- what a board gets and says

    def on_board_gets(self, board: Board, message: dict[str, Any]) -> None:
        """Take note of an `offer` or a `chunk`."""
        target_id, path = board.machine.name, f"{FILES}/{message['data']['sha256'][:32]}{PART}"
        on_flash = len(board.flash.files.get(path, b"")) if message["type"] == "offer" else 0
        for key, (other, _) in self._asked_of.items():
            if key[0] == target_id and other != path:  # the one may have to make place for the other
                self._asked_of[key] = (other, 0)
                on_flash = 0
        self._asked_of[target_id, message["id"]] = (path, on_flash)

    def on_boot(self, board: Board) -> None:
        """Forget what a board was asked that boots."""
        target_id = board.machine.name
        self._asked_of = {key: asked for key, asked in self._asked_of.items() if key[0] != target_id}

    def on_board_says(self, board: Board, message: dict[str, Any]) -> None:
        """Check an answer. Raises BrokenPromise."""
        path, on_flash = self._asked_of.pop((board.machine.name, message["id"]), ("", 0))
        if not path or message["status"] == "whole":
            return
        received = message["data"]["received_bytes"]
        if received > board.flash.size(path):
            raise BrokenPromise(f"{board.machine.name} says that it has {received} bytes, and has fewer")
        if received < on_flash:
            raise BrokenPromise(f"{board.machine.name} begins anew, and had {on_flash} bytes of a file")


class Sender:
    """Sends files by the steps of a run, until they are there."""

    def __init__(self, client: ReconnectingClient, transfers: Transfers, rng: random.Random) -> None:
        self._client = client
        self._transfers = transfers
        self._rng = rng

    async def send(self, board: Board, step: Step) -> None:
        """Send a file, again after whatever passes. Raises BrokenPromise when it does not arrive."""
        name, data = f"{step.second}.bin", self._rng.randbytes(step.first)
        target_id = board.machine.name
        self._transfers.offer(target_id, name, data)
        try:
            async with asyncio.timeout(ARRIVES_S):
                is_there = await self._try(board, name, data)
                while not is_there:
                    await asyncio.sleep(PAUSE_S)
                    is_there = await self._try(board, name, data)
        except TimeoutError:
            raise BrokenPromise(f"{name} does not arrive at {target_id} within {ARRIVES_S:.0f} s") from None
        self._transfers.check_whole(target_id, name, data)

    async def _try(self, board: Board, name: str, data: bytes) -> bool:
        try:
            await self._client.send_bytes(board.machine.name, name, data, stall_ms=STALL_MS)
        except ProtocolError as error:
            if error.code not in PASSING and not (error.code == ErrorCode.FAULT and board.flash.was_full):
                raise BrokenPromise(f"{name} is refused by {board.machine.name}: {error}") from None
            return False
        return True

    async def lie(self, board: Board, step: Step) -> None:
        """Send a file that is another than was said. Raises BrokenPromise when it is taken for whole."""
        data = self._rng.randbytes(step.first + 1)
        source = (lambda offset, count: data[offset : offset + count]), len(data), LIE
        try:
            await self._client._send_attachment(
                board.machine.name, "lie.bin", source, lambda received: None, STALL_MS
            )
        except ProtocolError as error:
            if error.code not in (*PASSING, ErrorCode.BAD_MESSAGE, ErrorCode.FAULT):
                raise BrokenPromise(f"a lie is refused: {error}") from None
            return
        raise BrokenPromise(f"{board.machine.name} has taken a file that is not what was offered")
