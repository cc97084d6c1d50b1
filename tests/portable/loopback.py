"""Links and raw peers joined over loopback."""

import asyncio
import os

from snyper.shared.link import Link
from snyper.shared.runtime import Stream, close_server, dial, listen
from snyper.shared.socket_protocol import ErrorCode, MessageLineParser, ProtocolError, SocketMessage
from tests.portable.support import run_link, within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from snyper.shared.link import Handler

    Admit = Callable[[Link, SocketMessage], None]

HOST = "127.0.0.1"


async def echo(link: Link, message: SocketMessage) -> SocketMessage:
    """Answer at once with what was given."""
    return message.reply("ack", "ok", message.data)


async def never(link: Link, message: SocketMessage) -> None:
    """Hang, as a handler may."""
    await asyncio.Event().wait()


class StreamServer:
    """What listens on loopback at `address`, and hands out the connections that come. For `async with`."""

    def __init__(self) -> None:
        self._accepted: "list[Stream]" = []
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> "StreamServer":
        while True:
            # MicroPython cannot tell which port the system gave: ask for one that it does not give.
            seed = os.urandom(2)
            self.port = 20_000 + (seed[0] << 8 | seed[1]) % 10_000
            try:
                self._server = await listen(self._accept, HOST, self.port, 1, lambda: True)
                return self
            except OSError:
                continue

    async def __aexit__(self, *_: object) -> None:
        await close_server(self._server)
        for stream in self._accepted:
            await stream.close()

    @property
    def address(self) -> str:
        return "%s:%d" % (HOST, self.port)

    async def accept(self) -> Stream:
        """Return the listening end of the next connection."""
        while not self._accepted:
            self._arrived.clear()
            await within(self._arrived.wait())
        return self._accepted.pop(0)

    async def _accept(self, stream: Stream) -> None:
        self._accepted.append(stream)
        self._arrived.set()


async def connected_streams() -> "tuple[Stream, Stream]":
    """Connect by TCP: the end that dialled and the end that listened."""
    async with StreamServer() as server:
        dialled = await dial(HOST, server.port, 5_000)
        return dialled, await server.accept()


class RawPeer:
    """The far end of a connection, without a Link: it sends bytes and reads messages as told."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._parser = MessageLineParser()
        self._found: "list[SocketMessage | ProtocolError]" = []
        self._changed = asyncio.Event()
        self._has_left = True
        self._has_ended = False
        self._is_reading = False
        self._error: "Exception | None" = None
        stream.attach(self)
        stream.pause_reading()

    async def send(self, data: bytes) -> bool:
        """Send; return false when the connection is gone meanwhile."""
        try:
            self._has_left = self._stream.write(data)
        except OSError:
            return False
        while not self._has_left and not self._has_ended:
            await self._change()
        return self._has_left

    async def next(self) -> "SocketMessage | None":
        """Return the next message, or None at the end of the stream. Raises OSError for a reset."""
        if not self._is_reading:
            self._is_reading = True
            self._stream.resume_reading()
        while not self._found and not self._has_ended:
            await self._change()
        if not self._found:
            if self._error is not None:
                raise self._error
            return None
        item = self._found.pop(0)
        assert isinstance(item, SocketMessage), item
        return item

    async def close(self) -> None:
        await self._stream.close()

    async def _change(self) -> None:
        self._changed.clear()
        await within(self._changed.wait())

    # --- what the stream calls

    def data_received(self, data: "bytes | memoryview") -> None:
        self._found += self._parser.feed(data)
        if len(self._found) > 3:
            self._is_reading = False
            self._stream.pause_reading()
        self._changed.set()

    def write_progressed(self, at_us: int) -> None:
        """Wait on: not all has left."""

    def resume_writing(self) -> None:
        self._has_left = True
        self._changed.set()

    def connection_lost(self, error: "Exception | None") -> None:
        if not self._has_ended:
            self._has_ended = True
            self._error = error
            self._changed.set()


class LinkPair:
    """Two running links joined over loopback: `near` has dialled, `far` has listened. For `async with`."""

    def __init__(
        self,
        far_handlers: "dict[str, Handler] | None" = None,
        near_handlers: "dict[str, Handler] | None" = None,
        admit: "Admit | None" = None,
    ) -> None:
        self._far_handlers = far_handlers or {}
        self._near_handlers = near_handlers or {}
        self._admit = admit

    async def __aenter__(self) -> "LinkPair":
        near, far = await connected_streams()
        self.near = Link(near, self._near_handlers, "near")
        self.far = Link(far, self._far_handlers, "far", self._admit)
        self.near_run = asyncio.create_task(run_link(self.near))
        self.far_run = asyncio.create_task(run_link(self.far))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.near.close(ProtocolError(ErrorCode.DISCONNECTED, "the test is over"))
        self.far.close(ProtocolError(ErrorCode.DISCONNECTED, "the test is over"))
        await within(self.near_run)
        await within(self.far_run)


class LinkAndPeer:
    """A running `link` that has listened, and a raw `peer` that has dialled it. For `async with`."""

    def __init__(self, handlers: "dict[str, Handler] | None" = None) -> None:
        self._handlers = handlers or {}

    async def __aenter__(self) -> "LinkAndPeer":
        near, far = await connected_streams()
        self.peer = RawPeer(near)
        self.link = Link(far, self._handlers, "link")
        self.run = asyncio.create_task(run_link(self.link))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.link.close(ProtocolError(ErrorCode.DISCONNECTED, "the test is over"))
        await within(self.run)
        await self.peer.close()
