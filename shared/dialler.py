"""What this side begins: connections, and single datagrams with their answers. On both runtimes."""

import asyncio
import socket

from snyper.shared.runtime import MICROPYTHON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

_MAX_DATAGRAM_BYTES = 512  # of DNS: RFC 1035

if MICROPYTHON:
    from errno import EINPROGRESS, ETIMEDOUT

    from snyper.shared.runtime import set_nodelay

    def _writable(sock: "socket.socket") -> "Generator[None, None, None]":
        yield asyncio.core._io_queue.queue_write(sock)  # type: ignore[attr-defined]

    def _readable(sock: "socket.socket") -> "Generator[None, None, None]":
        yield asyncio.core._io_queue.queue_read(sock)  # type: ignore[attr-defined]

    async def _dial(host: str, port: int) -> "tuple[asyncio.StreamReader, asyncio.StreamWriter]":
        address = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]
        sock = socket.socket(address[0], address[1], address[2])
        try:
            sock.setblocking(False)
            set_nodelay(sock)
            try:
                sock.connect(address[-1])
            except OSError as error:
                if error.errno != EINPROGRESS:
                    raise
            await _writable(sock)  # type: ignore[misc]
        except BaseException:
            # The runtime's own `open_connection` leaves it open, and a Pico W has five.
            sock.close()
            raise
        stream: Any = asyncio.StreamReader(sock)
        return stream, stream

    async def dial(
        host: str, port: int, timeout_ms: int
    ) -> "tuple[asyncio.StreamReader, asyncio.StreamWriter]":
        """Connects within `timeout_ms`. Raises OSError; a refusal can show only at the first read. Resolving
        a name blocks the loop: give an address where that matters. May be cancelled.
        """
        try:
            return await asyncio.wait_for_ms(_dial(host, port), timeout_ms)
        except asyncio.TimeoutError:
            raise OSError(ETIMEDOUT, "no answer")

    async def _exchange(sock: "socket.socket", address: "Any", request: bytes) -> bytes:
        sock.setblocking(False)
        sock.sendto(request, address)
        await _readable(sock)  # type: ignore[misc]
        return sock.recv(_MAX_DATAGRAM_BYTES)

    async def exchange_datagrams(host: str, port: int, request: bytes, timeout_ms: int) -> bytes:
        """Sends one UDP datagram to an IPv4 address; the first answer, empty when none comes in time. Raises
        OSError. May be cancelled.
        """
        address = socket.getaddrinfo(host, port)[0][-1]  # lwIP takes no hint but SOCK_STREAM
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            return await asyncio.wait_for_ms(_exchange(sock, address, request), timeout_ms)
        except asyncio.TimeoutError:
            return b""
        finally:
            sock.close()

else:
    from snyper.shared.runtime import configure_stream

    async def dial(
        host: str, port: int, timeout_ms: int
    ) -> "tuple[asyncio.StreamReader, asyncio.StreamWriter]":
        """Connects within `timeout_ms`. Raises OSError. May be cancelled."""
        async with asyncio.timeout(timeout_ms / 1000):  # its TimeoutError is an OSError
            reader, writer = await asyncio.open_connection(host, port)
        configure_stream(writer)
        return reader, writer

    async def exchange_datagrams(host: str, port: int, request: bytes, timeout_ms: int) -> bytes:
        """Sends one UDP datagram to an IPv4 address; the first answer, empty when none comes in time. Raises
        OSError. May be cancelled.
        """
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            await loop.sock_sendto(sock, request, (host, port))
            try:
                async with asyncio.timeout(timeout_ms / 1000):
                    return await loop.sock_recv(sock, _MAX_DATAGRAM_BYTES)
            except TimeoutError:
                return b""
