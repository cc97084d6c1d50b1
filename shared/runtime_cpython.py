"""Streams, timers, clock and log on CPython. `runtime_micropython.py` has the same names."""

import asyncio
import logging
import socket
import time
import traceback
import unicodedata
from errno import EADDRNOTAVAIL, EAFNOSUPPORT
from socket import AF_INET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from snyper.shared.runtime import Timer

    OnConnection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_MAX_DATAGRAM_BYTES = 512  # of DNS: RFC 1035
_RECEIVE_BYTES = 4_096

_logger = logging.getLogger("snyper")


async def sleep_ms(duration_ms: int) -> None:
    await asyncio.sleep(duration_ms / 1000)


async def sleep_rest_us(duration_us: int) -> None:
    """Wait for the rest of an exact instant, less than a millisecond. A board does nothing else meanwhile."""
    await asyncio.sleep(duration_us / 1_000_000)


async def end_task(task: "asyncio.Task[Any]") -> None:
    """Cancel `task`, and return when it has ended; one that has ended before may be given too."""
    task.cancel()
    await asyncio.wait((task,))  # not `await task`: that could not tell its cancellation from ours


def receive(reader: asyncio.StreamReader) -> "Awaitable[bytes]":
    """Read the next bytes, empty at the end of the stream; to be copied before anything is waited for. Raises
    OSError when the connection is lost.
    """
    return reader.read(_RECEIVE_BYTES)


def call_later(delay_ms: int, callback: "Callable[[], None]") -> "Timer":
    """Call `callback` in `delay_ms`, at most 6 days, unless the timer's `cancel()` comes first."""
    return asyncio.get_running_loop().call_later(delay_ms / 1000, callback)


class Waiter:
    """One value that one task waits for."""

    def __init__(self) -> None:
        self._future = asyncio.get_running_loop().create_future()

    def set(self, value: object) -> None:
        """Set the value; only the first counts."""
        if not self._future.done():
            self._future.set_result(value)

    async def wait(self, timeout_ms: int) -> object:
        """Wait for the value; return None when it has not come within `timeout_ms`."""
        timer = call_later(timeout_ms, lambda: self.set(None))
        try:
            return await self._future
        finally:
            timer.cancel()


def is_drained(writer: asyncio.StreamWriter) -> bool:
    """Return whether all that was written has left for the network stack."""
    return not writer.transport.get_write_buffer_size()


async def close_stream(writer: asyncio.StreamWriter) -> None:
    """Close the socket at once; what was not sent is lost."""
    writer.transport.abort()
    try:
        await writer.wait_closed()
    except OSError:
        return  # it was lost already: that is closed too


def configure_stream(writer: asyncio.StreamWriter) -> None:
    """Configure a stream: `drain` waits until all has left, as on a board. TCP_NODELAY is asyncio's own
    choice.
    """
    writer.transport.set_write_buffer_limits(high=0)
    if hasattr(writer.transport, "max_size"):
        # Else every read takes 256 KiB from the system and gives it back, for a line of 100 bytes.
        writer.transport.max_size = _RECEIVE_BYTES


def collect_garbage() -> None:
    """Do nothing: by itself it is cheap here, and on demand dear with many boards in one process."""


def unload(*names: str) -> None:
    """Do nothing: there is memory enough, and a module that is loaded twice is two."""


def heap_free_bytes() -> "int | None":
    """Collect garbage, and return the free bytes of the heap, in some 20 ms; None where that is not known."""
    return None


def composed(text: str) -> str:
    """Return `text` in Unicode's normal form NFC."""
    return unicodedata.normalize("NFC", text)


async def dial(host: str, port: int, timeout_ms: int) -> "tuple[asyncio.StreamReader, asyncio.StreamWriter]":
    """Open a TCP connection within `timeout_ms`. Raises OSError. May be cancelled."""
    async with asyncio.timeout(timeout_ms / 1000):  # its TimeoutError is an OSError
        reader, writer = await asyncio.open_connection(host, port)
    configure_stream(writer)
    return reader, writer


async def exchange_datagrams(host: str, port: int, request: bytes, timeout_ms: int) -> bytes:
    """Send one UDP datagram to an IPv4 address, and return the first answer, empty when none comes in time.
    Raises OSError. May be cancelled.
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


async def listen(on_connection: "OnConnection", host: str, port: int, backlog: int) -> asyncio.Server:
    """Listen on a TCP address: `host`, or every address, IPv6 too, where it is empty. `on_connection`
    calls `configure_accepted` first. Raises OSError.
    """
    try:
        return await asyncio.start_server(on_connection, host or None, port, backlog=backlog)
    except OSError as error:
        if host or error.errno not in (EADDRNOTAVAIL, EAFNOSUPPORT):
            raise
        # A system without IPv6.
        return await asyncio.start_server(on_connection, "0.0.0.0", port, backlog=backlog)


def configure_accepted(writer: asyncio.StreamWriter) -> None:
    """Configure an accepted connection: one small write is one packet, at once, and `drain` waits until all
    has left. Raises OSError.
    """
    configure_stream(writer)


def bound_port(server: asyncio.Server, port: int) -> int:
    """Return the port that `server` listens on, also where `listen` was given 0."""
    # For 0 each address of a host gets a port of its own; a peer that dials a name tries IPv4 in any case.
    first = min(server.sockets, key=lambda sock: sock.family != AF_INET)
    bound: int = first.getsockname()[1]
    return bound


async def close_server(server: asyncio.Server) -> None:
    """Stop listening; live connections stay."""
    server.close()


def ticks_us() -> int:
    """Return a count of microseconds for `ticks_diff` alone: on a board it wraps, and needs no memory."""
    return time.monotonic_ns() // 1000


def ticks_diff(later: int, earlier: int) -> int:
    """Return the microseconds between two of `ticks_us`, at most 9 minutes apart."""
    return later - earlier


def now_us() -> int:
    """Return the microseconds since some fixed instant."""
    return time.monotonic_ns() // 1000


def now_ms() -> int:
    """Return the milliseconds since the same instant."""
    return now_us() // 1000


def write_log(entry: str, is_defect: bool = False) -> None:
    """Give an entry of the log to the logger `snyper`, which has a time of its own."""
    _logger.log(logging.ERROR if is_defect else logging.INFO, "%s", entry.partition(" ")[2])


def traceback_of(error: BaseException) -> str:
    """Return an exception with where it came from. Raises MemoryError."""
    return "".join(traceback.format_exception(error)).rstrip()


def print_traceback(error: BaseException) -> None:
    """Print an exception with where it came from."""
    traceback.print_exception(error)
