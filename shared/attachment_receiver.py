"""The receiver of files that come in chunks, each whole or not at all. Loaded when one is offered.

Two words, both safe to repeat. `offer` says name, length and SHA-256; the answer says how many bytes are here
already. `chunk` brings the next ones. Once all are here, another `offer` has them checked and gives them
their name.
"""

import hashlib
import os

from snyper.shared.clock import now_ms
from snyper.shared.runtime import MAX_CHUNK_BYTES, sleep_ms
from snyper.shared.socket_protocol import (
    MAX_INTEGER,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    integer_field,
    is_target_id,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WHOLE = "whole"  # the status of an answer: the file is here, and is what was offered

BOARD_FILE_BYTES = 524_288  # a Pico W has some 800 kB for all files
BOARD_RESERVE_BYTES = 65_536  # of the flash, for the log, the settings and the next deploy
MAX_NAME_CHARS = 64
IDLE_MS = 10_000  # without a chunk, until a transfer gives its place to another
_PART = ".part"  # what a file that is not whole is called; never in the way of a name
_PART_CHARS = 32  # of the SHA-256 in its name
_HEX = "0123456789abcdef"
_FLUSH_BYTES = 4_096  # a block of a board's flash: a write that ends with one costs no copy of it


class _Transfer:
    """One file that comes in. `file` is open to append to."""

    is_checked = False  # now: nothing may be written

    def __init__(self, name: str, path: str, length: int) -> None:
        self.name = name
        self.path = path
        self.length = length
        self.received = _size(path) or 0
        self.file: Any = open(path, "ab")  # noqa: SIM115  # as long as the transfer lasts
        self.used_ms = now_ms()


class Receiver:
    """Takes files into `directory`, which is made where it is missing.

    A file has at most `max_file_bytes`, and leaves `reserve_bytes` of the file system free. At most
    `max_transfers` come at once, or are kept after a cut to be gone on with. `window_chunks` may be on their
    way. One without a chunk for `idle_ms` gives its place up.
    """

    def __init__(
        self,
        directory: str,
        max_file_bytes: int,
        reserve_bytes: int = 0,
        max_transfers: int = 1,
        window_chunks: int = 2,
        idle_ms: int = IDLE_MS,
    ) -> None:
        self._directory = directory
        self._max_file_bytes = max_file_bytes
        self._reserve_bytes = reserve_bytes
        self._max_transfers = max_transfers
        self._window_bytes = window_chunks * MAX_CHUNK_BYTES
        self._idle_ms = idle_ms
        self._transfers: "dict[str, _Transfer]" = {}

    async def serve(self, link: "Any", message: SocketMessage) -> SocketMessage:
        """Answer an `offer` or a `chunk`. May be cancelled and repeated: nothing is taken twice.

        Raises ProtocolError: `bad_message` for what is out of range, for more bytes than were offered, or for
        others, of which nothing is kept then; `busy` where it is to be offered again later; `fault` when the
        file system does not take it.
        """
        try:
            if message.type == MessageType.CHUNK:
                return self._take(message)
            return await self._offer(message)
        except OSError as error:
            raise ProtocolError(ErrorCode.FAULT, "the file system does not take it: %r" % error) from None

    @property
    def is_receiving(self) -> bool:
        """Whether a file comes in or is checked."""
        return bool(self._transfers)

    def close(self) -> None:
        """Close every file; what has come so far is kept to be gone on with."""
        for sha256 in list(self._transfers):
            self._transfers.pop(sha256).file.close()

    async def _offer(self, message: SocketMessage) -> SocketMessage:
        data = message.data or {}
        name = _name_of(data)
        sha256 = _sha256_of(data)
        length = integer_field(data, "length_bytes", -1, 0, MAX_INTEGER)
        if length > self._max_file_bytes:
            raise _bad("a file has at most %d bytes here" % self._max_file_bytes)
        path = self._directory + "/" + name
        self._close_idle()
        transfer = self._transfers.get(sha256)
        if transfer is None and _size(path) == length and await _digest(path) == sha256:
            return self._answer(message, WHOLE, length)
        transfer = self._transfers.get(sha256) or self._begin(name, sha256, length)
        if transfer.is_checked or transfer.name != name:
            raise ProtocolError(ErrorCode.BUSY, "these bytes come in as " + transfer.name)
        if transfer.length != length:
            raise _bad("these bytes were offered as %d" % transfer.length)
        if transfer.received < length:
            return self._answer(message, "partial", transfer.received)
        await self._finish(sha256, transfer, path)
        return self._answer(message, WHOLE, length)

    def _close_idle(self) -> None:
        """Close the files whose senders say nothing more: what has come is there to be gone on with."""
        for sha256 in list(self._transfers):
            transfer = self._transfers[sha256]
            if not transfer.is_checked and now_ms() - transfer.used_ms > self._idle_ms:
                self._transfers.pop(sha256).file.close()

    def _begin(self, name: str, sha256: str, length: int) -> _Transfer:
        """Make place for a file, and open what there is of it already. Raises ProtocolError, OSError."""
        if not _is_directory(self._directory):
            os.mkdir(self._directory)
        if len(self._transfers) >= self._max_transfers:
            raise ProtocolError(ErrorCode.BUSY, "another file comes in")
        own = sha256[:_PART_CHARS] + _PART
        open_ones = [other[:_PART_CHARS] + _PART for other in self._transfers]
        cut = [part for part in os.listdir(self._directory) if _is_part(part) and part not in open_ones]
        if own not in cut and len(cut) + len(open_ones) >= self._max_transfers:
            os.remove(self._directory + "/" + cut[0])
        path = self._directory + "/" + own
        if (_size(path) or 0) > length:
            os.remove(path)
        free = _free_bytes(self._directory)
        need = length - (_size(path) or 0)
        if free is not None and need > free - self._reserve_bytes:
            raise ProtocolError(ErrorCode.FAULT, "no room for %d bytes" % need)
        self._transfers[sha256] = transfer = _Transfer(name, path, length)
        return transfer

    def _take(self, message: SocketMessage) -> SocketMessage:
        data = message.data or {}
        sha256 = _sha256_of(data)
        offset = integer_field(data, "offset", -1, 0, MAX_INTEGER)
        chunk = message.attachment or b""
        transfer = self._transfers.get(sha256)
        if transfer is None or transfer.is_checked:
            raise ProtocolError(ErrorCode.BUSY, "no such file comes in now: offer it again")
        if offset + len(chunk) > transfer.length:
            raise _bad("%d bytes were offered, and no more" % transfer.length)
        transfer.used_ms = now_ms()
        if offset == transfer.received and chunk:
            try:
                transfer.file.write(chunk)
                transfer.received += len(chunk)
                if transfer.received % _FLUSH_BYTES == 0:
                    transfer.file.flush()
            except OSError:
                self._drop(sha256, transfer)
                raise
        return self._answer(message, "ok", transfer.received)

    async def _finish(self, sha256: str, transfer: _Transfer, path: str) -> None:
        """Check a file that is complete, and give it its name. Raises ProtocolError, OSError."""
        transfer.is_checked = True
        try:
            transfer.file.flush()
            if hasattr(os, "fsync"):
                os.fsync(transfer.file.fileno())
            transfer.file.close()
            if await _digest(transfer.path) != sha256:
                os.remove(transfer.path)
                raise _bad("these bytes have another SHA-256 than was offered; nothing is kept")
            getattr(os, "replace", os.rename)(transfer.path, path)
        finally:
            del self._transfers[sha256]

    def _drop(self, sha256: str, transfer: _Transfer) -> None:
        """Discard a file that the file system does not take, and give its room back."""
        del self._transfers[sha256]
        try:
            transfer.file.close()
        except OSError:
            pass  # that is what it says once more
        os.remove(transfer.path)

    def _answer(self, message: SocketMessage, status: str, received: int) -> SocketMessage:
        return message.reply(
            "reply",
            status,
            {
                "received_bytes": received,
                "window_bytes": self._window_bytes,
                "max_chunk_bytes": MAX_CHUNK_BYTES,
            },
        )


def _name_of(data: "dict[str, Any]") -> str:
    name = data.get("name")
    is_name = isinstance(name, str) and 0 < len(name) <= MAX_NAME_CHARS
    if is_name:
        half = MAX_NAME_CHARS // 2
        is_name = is_target_id(name[:half]) and (len(name) <= half or is_target_id(name[half:]))  # type: ignore[index,arg-type]
    if not is_name or name.startswith(".") or name.endswith(_PART):  # type: ignore[union-attr]
        raise _bad("`name` is 1 to %d of A-Z a-z 0-9 _ - ., no . first" % MAX_NAME_CHARS)
    return name  # type: ignore[return-value]


def _sha256_of(data: "dict[str, Any]") -> str:
    value = data.get("sha256")
    if not isinstance(value, str) or len(value) != 64 or value.strip(_HEX):
        raise _bad("`sha256` is 64 of 0-9 a-f")
    return value


def _is_part(name: str) -> bool:
    """Return whether a file is called as one that is not whole: the directory may have others."""
    return (
        name.endswith(_PART) and len(name) == _PART_CHARS + len(_PART) and not name[: -len(_PART)].strip(_HEX)
    )


async def _digest(path: str) -> str:
    """Compute the SHA-256 of a file, in pieces between which others run. Raises OSError."""
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        while True:
            piece = file.read(MAX_CHUNK_BYTES)
            if not piece:
                break
            sha256.update(piece)
            await sleep_ms(0)
    digest: str = sha256.digest().hex()
    return digest


def _size(path: str) -> "int | None":
    """Return the size of a file; None where there is none."""
    try:
        return os.stat(path)[6]
    except OSError:
        return None


def _is_directory(path: str) -> bool:
    try:
        os.listdir(path)
    except OSError:
        return False
    return True


def _free_bytes(path: str) -> "int | None":
    """Return how much the file system takes; None where that is not known."""
    if not hasattr(os, "statvfs"):
        return None
    about: Any = os.statvfs(path)
    free: int = about[1] * about[4]
    return free


def _bad(message: str) -> ProtocolError:
    return ProtocolError(ErrorCode.BAD_MESSAGE, message)
