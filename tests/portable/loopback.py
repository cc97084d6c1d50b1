"""Links and raw peers joined over loopback."""

import asyncio
import os

from snyper.shared.link import Link
from snyper.shared.runtime import close_server, close_stream, configure_accepted, dial, listen, receive
from snyper.shared.socket_protocol import ErrorCode, MessageLineParser, ProtocolError, SocketMessage
from tests.portable.support import within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from snyper.shared.link import Handler

    Admit = Callable[[Link, SocketMessage], None]
    Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

HOST = "127.0.0.1"


async def echo(link: Link, message: SocketMessage) -> SocketMessage:
    """A handler that answers at once with what it was given."""
    return message.reply("ack", "ok", message.data)


async def never(link: Link, message: SocketMessage) -> None:
    """A handler that hangs."""
    await asyncio.Event().wait()


class StreamServer:
    """What listens on loopback at `address`, and hands out the connections that come. For `async with`."""

    def __init__(self) -> None:
        self._accepted: "list[Streams]" = []
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> "StreamServer":
        while True:
            # MicroPython cannot tell which port the system gave: ask for one that it does not give.
            seed = os.urandom(2)
            self.port = 20_000 + (seed[0] << 8 | seed[1]) % 10_000
            try:
                self._server = await listen(self._accept, HOST, self.port, 1)
                return self
            except OSError:
                continue

    async def __aexit__(self, *_: object) -> None:
        await close_server(self._server)
        for _reader, writer in self._accepted:
            await close_stream(writer)

    @property
    def address(self) -> str:
        return "%s:%d" % (HOST, self.port)

    async def accept(self) -> "Streams":
        """Return the listening end of the next connection."""
        while not self._accepted:
            self._arrived.clear()
            await within(self._arrived.wait())
        return self._accepted.pop(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        configure_accepted(writer)
        self._accepted.append((reader, writer))
        self._arrived.set()


async def connected_streams() -> "tuple[Streams, Streams]":
    """A TCP connection: the end that dialled and the end that listened."""
    async with StreamServer() as server:
        dialled = await dial(HOST, server.port, 5_000)
        return dialled, await server.accept()


class RawPeer:
    """The far end of a connection, without a Link: it sends bytes and reads messages as told."""

    def __init__(self, streams: "Streams") -> None:
        self._reader, self._writer = streams
        self._parser = MessageLineParser()
        self._found: "list[SocketMessage | ProtocolError]" = []

    async def send(self, data: bytes) -> bool:
        """Sends; false when the connection is gone meanwhile."""
        try:
            self._writer.write(data)
            await within(self._writer.drain())
        except OSError:
            return False
        return True

    async def next(self) -> "SocketMessage | None":
        """The next message, or None at the end of the stream. Raises OSError for a reset."""
        while not self._found:
            piece = await within(self._receive())
            if not piece:
                return None
            self._found = self._parser.feed(piece)
        item = self._found.pop(0)
        assert isinstance(item, SocketMessage), item
        return item

    async def close(self) -> None:
        await close_stream(self._writer)

    async def _receive(self) -> bytes:
        return bytes(await receive(self._reader))


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
        self.near = Link(near[0], near[1], self._near_handlers, "near")
        self.far = Link(far[0], far[1], self._far_handlers, "far", self._admit)
        self.near_run = asyncio.create_task(self.near.run())
        self.far_run = asyncio.create_task(self.far.run())
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
        self.link = Link(far[0], far[1], self._handlers, "link")
        self.run = asyncio.create_task(self.link.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.link.close(ProtocolError(ErrorCode.DISCONNECTED, "the test is over"))
        await within(self.run)
        await self.peer.close()
