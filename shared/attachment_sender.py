"""The sender of a file in chunks, to a peer that has a Receiver: goes on where a cut transfer stopped."""

import asyncio

from snyper.shared.attachment_receiver import WHOLE
from snyper.shared.clock import now_ms
from snyper.shared.runtime import end_task, sleep_ms
from snyper.shared.socket_protocol import (
    MAX_INTEGER,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    integer_field,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    # `(word, data, bytes)`: the peer's answer. Raises ProtocolError, for an `error` too.
    Request = Callable[[str, dict[str, object], bytes | None], Awaitable[SocketMessage]]

MAX_UNDER_WAY = 4  # chunks, whatever the window: half of what a link serves at once
FIRST_PAUSE_MS = 100
MAX_PAUSE_MS = 1_000
# What passes: the peer has other work, is away, or has just begun anew.
_PASSING = (ErrorCode.BUSY, ErrorCode.TIMEOUT, ErrorCode.DISCONNECTED)


async def send_attachment(
    request: "Request",
    read: "Callable[[int, int], bytes]",
    name: str,
    length: int,
    sha256: str,
    max_chunk_bytes: int,
    stall_ms: int,
    may_retry: "Callable[[ProtocolError], bool]" = lambda error: True,
    on_progress: "Callable[[int], None]" = lambda received: None,
) -> None:
    """Send `length` bytes, which `read(offset, count)` gives, to be kept as `name`; return once the peer has
    them all and found them to have this SHA-256. No more than `max_chunk_bytes` go at once.

    `on_progress` gets how many the peer has. What passes is tried again, for as long as `may_retry` says so
    and something has come through in the last `stall_ms`. Raises ProtocolError: why not. May be cancelled,
    and repeated: it goes on from there.
    """
    offer: "dict[str, object]" = {"name": name, "length_bytes": length, "sha256": sha256}
    best = -1
    best_ms = now_ms()
    pause_ms = FIRST_PAUSE_MS
    while True:
        try:
            before = best
            answer = await request(MessageType.OFFER, offer, None)
            here = _number(answer, "received_bytes", length)
            if answer.status == WHOLE:
                on_progress(length)
                return
            chunk_bytes = min(max_chunk_bytes, _number(answer, "max_chunk_bytes"))
            if not chunk_bytes:
                raise ProtocolError(ErrorCode.UNSUPPORTED, "no bytes can be sent to this peer")
            if here > best:
                best, best_ms, pause_ms = here, now_ms(), FIRST_PAUSE_MS
            window_bytes = max(chunk_bytes, _number(answer, "window_bytes"))
            async for received in _Chunks(request, read, sha256, here, length, chunk_bytes, window_bytes):
                if received > best:
                    best, best_ms, pause_ms = received, now_ms(), FIRST_PAUSE_MS
                    on_progress(received)
            if best == before:  # it has them all, and not whole, or has lost them again
                raise ProtocolError(ErrorCode.BUSY, "the peer keeps no more than %d bytes" % here)
        except ProtocolError as error:
            is_passing = error.code in _PASSING or (error.code == ErrorCode.UNKNOWN_TARGET and best >= 0)
            if not is_passing or not may_retry(error):
                raise
            stalled_ms = now_ms() - best_ms
            if stalled_ms > stall_ms:
                why = "nothing has come through for %d ms: %s" % (stalled_ms, error.message)
                raise ProtocolError(error.code, why, error.id, error.unknown_fate) from None
            await sleep_ms(pause_ms)
            pause_ms = min(2 * pause_ms, MAX_PAUSE_MS)


class _Chunks:
    """Chunks on their way, as many as the window takes. Iterate for what the peer has, until that is all or
    no longer grows.
    """

    def __init__(
        self,
        request: "Request",
        read: "Callable[[int, int], bytes]",
        sha256: str,
        received: int,
        length: int,
        chunk_bytes: int,
        window_bytes: int,
    ) -> None:
        self._request = request
        self._read = read
        self._sha256 = sha256
        self._received = received
        self._sent = received
        self._length = length
        self._chunk_bytes = chunk_bytes
        self._window_bytes = window_bytes
        self._under_way: "list[tuple[int, asyncio.Task[Any]]]" = []

    def __aiter__(self) -> "_Chunks":
        return self

    async def __anext__(self) -> int:
        is_done = False
        try:
            self._fill_window()
            if not self._under_way:
                raise StopAsyncIteration
            end, task = self._under_way[0]
            answer = await task
            self._under_way.pop(0)
            if isinstance(answer, ProtocolError):
                raise answer
            self._received = _number(answer, "received_bytes", self._length)
            self._window_bytes = max(self._chunk_bytes, _number(answer, "window_bytes"))
            if self._received < end:  # one before it was lost: ask anew
                raise ProtocolError(
                    ErrorCode.BUSY, "the peer has taken no more than %d bytes" % self._received
                )
            is_done = True
            return self._received
        finally:
            if not is_done:
                for _, task in self._under_way:
                    await end_task(task)

    def _fill_window(self) -> None:
        while self._sent < self._length and len(self._under_way) < MAX_UNDER_WAY:
            count = min(self._chunk_bytes, self._length - self._sent)
            if self._sent + count > self._received + self._window_bytes:
                return
            chunk = self._read(self._sent, count)
            self._sent += count
            data: "dict[str, object]" = {"sha256": self._sha256, "offset": self._sent - count}
            task = asyncio.create_task(self._send(data, chunk))
            self._under_way.append((self._sent, task))

    async def _send(self, data: "dict[str, object]", chunk: bytes) -> "SocketMessage | ProtocolError":
        try:
            return await self._request(MessageType.CHUNK, data, chunk)
        except ProtocolError as error:  # a task that dies before somebody waits for it would be complained of
            return error


def _number(answer: SocketMessage, name: str, high: int = MAX_INTEGER) -> int:
    """Read a number from 0 to `high` that a peer says. Raises ProtocolError `bad_message`."""
    if answer.type != MessageType.REPLY:
        raise ProtocolError(ErrorCode.UNKNOWN_TYPE, "`reply` was due, not `%s`" % answer.type)
    return integer_field(answer.data or {}, name, -1, 0, high)
