"""The core of a connection of calls: what a client and its server have in common once it is let in. Pure."""

import mmap
from collections.abc import Callable, Iterator
from typing import Any

from snyper.services.wire import MAX_BODY_BYTES
from snyper.shared.clock import now_us
from snyper.shared.link_core import LinkCore
from snyper.shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage

_SMALL_BYTES = 1 << 20
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


class Core(LinkCore):
    """One end of it. Most lines are of one kind: what `read` takes goes a shorter way."""

    max_chunk_bytes = MAX_BODY_BYTES
    peer_max_chunk_bytes = MAX_BODY_BYTES

    def __init__(
        self,
        handlers: dict[str, Any],
        who: str,
        write: Callable[[bytes], None],
        read: Callable[[bytes], SocketMessage | None],
    ) -> None:
        super().__init__(handlers, who, now_us())
        self._parser.new_buffer = _new_buffer
        self.transmit = write
        self._read = read

    @property
    def coming_bytes(self) -> int:
        """Return how much has come of what follows the last line, and is not whole yet."""
        message = self._parser.message
        return 0 if message is None else len(message.attachment or b"") - self._parser.missing

    def receive_data(self, data: Any, now_us: int) -> "Iterator[SocketMessage | None] | tuple[Any, ...]":
        """Take the next bytes, as LinkCore does."""
        message = self.receive_usual(data, now_us)
        if message is None:
            return self.receive_other(data, now_us)
        return (message,) if self.handlers else self.take_reply(message)

    def receive_usual(self, data: Any, now_us: int) -> SocketMessage | None:
        """Take the next bytes where they are one whole line as most are, and return it, to be served or
        taken by `take_reply`; None where they are to be given to `receive_other`.
        """
        parser = self._parser
        if (
            (type(data) is not bytes or data.find(b"\n") != len(data) - 1)
            or (parser._begun_bytes or parser.missing or parser.overrun)
            or self.close_error is not None
        ):
            return None
        message = self._read(data)
        if message is not None:
            self.received_us, self._last_word = now_us, None
        return message

    def receive_other(self, data: Any, now_us: int) -> "Iterator[SocketMessage | None] | tuple[Any, ...]":
        """Take the next bytes, whatever they are."""
        if type(data) is memoryview and len(data) < self._parser.missing:  # it is where it belongs
            self.received_us = now_us
            self._parser.missing -= len(data)
            self._parser.buffer = self._parser.buffer[len(data) :]  # type: ignore[index]
            return ()
        return super().receive_data(data, now_us)

    def _take_each(self, data: Any) -> "Iterator[SocketMessage | None]":
        at = 0
        if type(data) is bytes and self._parser.is_between_lines():
            while self.close_error is None:
                end = data.find(b"\n", at) + 1
                message = self._read(data[at:end]) if end else None
                if message is None:
                    break
                at, self._last_word = end, None
                yield from (message,) if self.handlers else self.take_reply(message)
        if at < len(data):
            yield from super()._take_each(data[at:] if at else data)

    def take_reply(self, message: SocketMessage) -> tuple[()]:
        """Give a reply to who waits for it."""
        waiting = self._pending.pop(message.id, None)  # type: ignore[arg-type]
        if waiting is None:
            return ()
        on_reply, token = waiting
        on_reply(token, message)
        return ()

    def _refuse(self, error: ProtocolError) -> None:
        """Refuse a line, and tell whose answer is too large: asked for again it is no smaller."""
        if error.code == ErrorCode.LINE_TOO_LONG and error.id in self._pending:
            on_reply, token = self._pending.pop(error.id)
            on_reply(token, ProtocolError(error.code, "the answer is larger than is taken here", error.id))
        super()._refuse(error)

    def on_state(self) -> None:
        """Let go of what has come of a message: who reads looks at `close_error`, and keeps this for long."""
        self._parser.message = self._parser.buffer = None

    def log(self, text: str) -> None:
        """Say nothing: the server's log has the calls."""


def _new_buffer(size: int) -> bytearray | mmap.mmap:
    """Make room for what follows a line. What nobody sends of it takes no memory. Raises MemoryError."""
    if size < _SMALL_BYTES:
        return bytearray(size)
    try:
        return mmap.mmap(-1, size, **_PRIVATE)
    except OSError:
        raise MemoryError from None
