"""Streams, timers, clock and log on CPython. `runtime_micropython.py` has the same names."""

import asyncio
import logging
import os
import socket
import sys
import threading
import time
import traceback
import unicodedata
from errno import EADDRNOTAVAIL, EAFNOSUPPORT
from socket import AF_INET, AF_INET6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from snyper.shared.runtime import StreamOwner, Timer

    OnConnection = Callable[["Stream"], Coroutine[Any, Any, None]]

MAX_CHUNK_BYTES = 65_536  # that may follow a line: what others say waits half a second at 1 Mbit/s
_MAX_DATAGRAM_BYTES = 512  # of DNS: RFC 1035

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

    async def wait(self, timeout_ms: "int | None" = None) -> object:
        """Wait for the value; return None when it has not come within `timeout_ms`."""
        if timeout_ms is None:
            return await self._future
        timer = call_later(timeout_ms, lambda: self.set(None))
        try:
            return await self._future
        finally:
            timer.cancel()


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


# Windows has neither.
_readv: "Any" = getattr(os, "readv", None)
_writev: "Any" = getattr(os, "writev", None)
# Of a connection, before others get their turn, with at least so many for each read.
_BYTES_PER_TURN = 2 << 20
_BYTES_PER_READ = 262_144
# That are read behind what the owner has a buffer for.
_MIN_AHEAD_BYTES = 4_096
_MAX_AHEAD_BYTES = 131_072
_PIECE_BYTES = 16_384  # that the transport is given at a time of what has not left
_LOOK_S = 0.25  # between two looks at whether a peer reads what waits for it


class _OfThread(threading.local):
    """A buffer for all connections of a thread: what it holds is copied at once."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(_MAX_AHEAD_BYTES))


_of_thread = _OfThread()


class Stream(asyncio.BufferedProtocol):
    """A TCP connection that belongs to a StreamOwner, its `owner`."""

    def __init__(self, on_connection: "OnConnection | None" = None) -> None:
        self._on_connection = on_connection
        self.owner: "StreamOwner | None" = None
        self.buffer: "memoryview | None" = None  # where the owner wants the next bytes put
        # Takes instead of the owner what came into its buffer, and what came behind that.
        self.take: "Callable[[memoryview | None, memoryview], None] | None" = None
        self._view = _of_thread.view[:_MIN_AHEAD_BYTES]  # what is read behind that buffer
        self.address = ""  # of the peer, without its port
        self._attached: "StreamOwner | None" = None
        self._fileno = -1  # where there are scattered reads and gathered writes
        self._rest = memoryview(b"")  # what goes after that which the transport has
        self._has_left = True  # all that was written
        self._resumes = False  # within the transport's own writing
        self._look_timer: "asyncio.TimerHandle | None" = None  # while not, and a look longer
        self._looked_us = 0
        self._waits: "int | None" = None  # bytes, at the last look
        self.taken_us = 0  # while something has not left: when the peer last took some of it

    def attach(self, owner: "StreamOwner") -> None:
        """Begin to read, for `owner`."""
        self.owner = self._attached = owner
        if self._closed.done():
            owner.connection_lost(None)
        else:
            self._transport.resume_reading()

    def write(self, data: "bytes | bytearray", following: "Any" = None) -> bool:
        """Write `data`, and what is `following`; return whether all of it has left. If not, the owner's
        `resume_writing` is called once it has, and nothing may be written before that. Raises OSError when
        the connection is lost.
        """
        transport = self._transport
        if (following is not None or self._resumes) and self._may_write_now():
            # Of a write of its own that fails while it resumes, the transport would end the connection twice.
            has_left = self._write_both(data, following or b"")
        else:
            transport.write(data if following is None else bytes(data) + following)
            has_left = not transport.get_write_buffer_size()
        if not has_left and self._has_left:
            self._has_left = False
            self._waits = None
            self.taken_us = now_us()
            if self._look_timer is None:
                self._look_later()
        return has_left

    def _may_write_now(self) -> bool:
        """Tell whether what is written past the transport comes in its turn."""
        transport = self._transport
        return self._fileno >= 0 and not (transport.is_closing() or transport.get_write_buffer_size())

    def _write_both(self, data: "bytes | bytearray", following: "Any") -> bool:
        """Write both in one go, without joining them first; return whether they have left. Raises OSError."""
        count = self._write_now((data, following)) - len(data)
        if count == len(following):
            return True
        if count < 0:
            return self._write_rest(memoryview(bytes(data[count:]) + following))
        rest = memoryview(following)[count:]
        # Whoever has given a view may change what is in it.
        return self._write_rest(memoryview(bytes(rest)) if type(following) is memoryview else rest)

    def _write_now(self, pieces: "tuple[Any, ...]") -> int:
        """Write what the system takes, without joining it first; return how many bytes. Raises OSError."""
        try:
            return _writev(self._fileno, pieces)  # type: ignore[no-any-return]
        except (BlockingIOError, InterruptedError):
            return 0

    def _write_rest(self, rest: memoryview) -> bool:
        """Write what the system did not take; return whether it has left. The transport copies what it is
        given, more than once: that is a piece at a time, after which it calls. Raises OSError.
        """
        while rest:
            self._transport.write(rest[:_PIECE_BYTES])
            rest = rest[_PIECE_BYTES:]
            if self._transport.get_write_buffer_size():
                self._rest = rest
                return False
            rest = rest[self._write_now((rest,)) :]
        return True

    def read_ahead(self, count: int) -> None:
        """Read about `count` bytes, 4 to 128 KiB, in one go with what the owner has a buffer for."""
        count = min(max(count, _MIN_AHEAD_BYTES), _MAX_AHEAD_BYTES)
        if count != len(self._view):
            self._view = _of_thread.view[:count]

    def pause_reading(self) -> None:
        """Read no more. May be repeated."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on. May be repeated."""
        self._transport.resume_reading()

    async def close(self) -> None:
        """Close the socket at once; what was not sent is lost."""
        self._transport.abort()
        await asyncio.wait((self._closed,))

    # --- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.address = (transport.get_extra_info("peername") or [""])[0]
        transport.set_write_buffer_limits(high=0)
        transport.pause_reading()  # until somebody is attached
        sock = transport.get_extra_info("socket")
        if sock is not None and _readv is not None:  # there is none of a transport that is not the system's
            self._fileno = sock.fileno()
        self._closed = asyncio.get_running_loop().create_future()
        if self._on_connection is not None:
            self._task = asyncio.get_running_loop().create_task(self._on_connection(self))
            self._task.add_done_callback(self._on_served)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view if self.buffer is None else self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        assert self.owner is not None
        try:
            buffer, view = self.buffer, self._view
            self._give(buffer, nbytes)
            has_more = self.take is not None and nbytes == len(view)
            if self._fileno >= 0 and (has_more or self.buffer is not None or buffer is not None):
                self._read_on()
        except Exception as error:
            self.owner.connection_lost(error)

    def _read_on(self) -> None:
        """Read what the owner has a buffer for, and what comes behind it, as long as there is more: bytes
        after a line come in many pieces, for each of which the loop would turn once.
        """
        left = _BYTES_PER_TURN
        while left > 0 and self._transport.is_reading():
            buffer, view = self.buffer, self._view
            try:
                count = _readv(self._fileno, (view,) if buffer is None else (buffer, view))
            except (BlockingIOError, InterruptedError):
                return
            if not count:
                return  # the end, which the transport finds too
            self._give(buffer, count)
            if count < len(view) + (0 if buffer is None else len(buffer)):
                return  # that was all
            left -= max(count, _BYTES_PER_READ)

    def _give(self, buffer: "memoryview | None", count: int) -> None:
        """Give the owner so many bytes: those in its buffer, and those that came behind it."""
        filled = None if buffer is None else buffer[:count]
        behind = self._view[: count if filled is None else count - len(filled)]
        if self.take is not None:
            self.take(filled, behind)
            return
        if filled is not None:
            self.owner.data_received(filled)  # type: ignore[union-attr]
        if behind:
            self.owner.data_received(bytes(behind))  # type: ignore[union-attr]

    def eof_received(self) -> bool:
        self.owner.connection_lost(None)  # type: ignore[union-attr]
        return True  # what is on its way out may still arrive, until `close`

    def resume_writing(self) -> None:
        rest, self._rest = self._rest, memoryview(b"")
        try:
            if rest and not self._write_rest(rest[self._write_now((rest,)) :]):
                return
        except OSError as error:
            self.owner.connection_lost(error)  # type: ignore[union-attr]
            return
        self._has_left = self._resumes = True
        try:
            self.owner.resume_writing()  # type: ignore[union-attr]
        finally:
            self._resumes = False

    def connection_lost(self, exc: "Exception | None") -> None:
        if self._look_timer is not None:
            self._look_timer.cancel()
            self._look_timer = None
        if not self._closed.done():
            self._closed.set_result(None)
        if self.owner is not None:
            self.owner.connection_lost(exc)

    # --- whether a slow peer reads: the transport calls nobody before a large part of it all has left

    def _look_later(self) -> None:
        self._looked_us = now_us()
        self._look_timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        if self._has_left:
            self._look_timer = None
            return
        waits = _untaken_bytes(self._transport) + len(self._rest)
        if self._waits is not None and waits < self._waits and self._attached is not None:
            self.taken_us = self._looked_us
            self._attached.write_progressed(self._looked_us)
        self._waits = waits
        self._look_later()

    def _on_served(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception() is not None:
            self._transport.abort()
            task.get_loop().call_exception_handler(
                {"message": "a connection is not served", "exception": task.exception(), "task": task}
            )


def _untaken_bytes(transport: asyncio.Transport) -> int:
    """Return how many of the bytes written the peer's computer has not taken, as far as this one knows."""
    count = transport.get_write_buffer_size()
    try:
        from fcntl import ioctl
        from termios import TIOCOUTQ

        sock = transport.get_extra_info("socket")
        if sock is None or sock.fileno() < 0:  # there is none, or none any more
            return count
        outgoing = ioctl(sock.fileno(), TIOCOUTQ, bytes(4))
    except (ImportError, OSError):  # on Windows, and where sockets do not say it
        return count
    return count + int.from_bytes(outgoing, sys.byteorder)


async def dial(host: str, port: int, timeout_ms: int) -> Stream:
    """Connect within `timeout_ms`. Raises OSError. May be cancelled."""
    async with asyncio.timeout(timeout_ms / 1000):  # its TimeoutError is an OSError
        _, stream = await asyncio.get_running_loop().create_connection(Stream, host, port)
    return stream


async def exchange_datagrams(
    host: str, port: int, request: bytes, timeout_ms: int, from_anybody: bool = False
) -> bytes:
    """Send one UDP datagram to an IPv4 address, and return the first answer from there, or `from_anybody` as
    to multicast; empty when none comes in time. Raises OSError. May be cancelled.
    """
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        await loop.sock_sendto(sock, request, (host, port))
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                while True:
                    answer, sender = await loop.sock_recvfrom(sock, _MAX_DATAGRAM_BYTES)
                    if sender == (host, port) or from_anybody:
                        return answer
        except TimeoutError:
            return b""


_REFUSED_S = 0.02  # until somebody is accepted again where nobody may be
_ACCEPTS_PER_TURN = 4  # before those who are connected get theirs
_SPARE_DESCRIPTORS = 32  # which connections leave to all else that this process opens
_FULL_LOG_S = 60.0


class _Server:
    """A listening socket for each address."""

    def __init__(
        self, sockets: "list[socket.socket]", on_connection: "OnConnection", may_accept: "Callable[[], bool]"
    ) -> None:
        self.sockets = sockets
        self._on_connection = on_connection
        self._may_accept = may_accept
        self._full_logged_s = -_FULL_LOG_S
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._accept_all(sock)) for sock in sockets]
        self._begun: "set[asyncio.Task[Any]]" = set()

    async def close(self) -> None:
        for task in self._tasks:
            await end_task(task)
        for sock in self.sockets:
            sock.close()

    async def _accept_all(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            readable = loop.create_future()
            loop.add_reader(sock, _set, readable)
            try:
                await readable
            finally:
                loop.remove_reader(sock)
            try:
                for _ in range(_ACCEPTS_PER_TURN):
                    if not self._may_accept():
                        await asyncio.sleep(_REFUSED_S)
                        break
                    self._serve(sock.accept()[0])
            except (BlockingIOError, ConnectionAbortedError):
                continue
            except OSError as error:
                self._log_full(repr(error))
                await asyncio.sleep(_REFUSED_S)

    def _serve(self, accepted: socket.socket) -> None:
        # The system gives the lowest number that is free.
        if accepted.fileno() >= _max_descriptors() - _SPARE_DESCRIPTORS:
            accepted.close()
            self._log_full("this process may open no more files")
            return
        accepted.setblocking(False)
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.connect_accepted_socket(lambda: Stream(self._on_connection), accepted))
        self._begun.add(task)
        task.add_done_callback(self._on_begun)

    def _on_begun(self, task: "asyncio.Task[Any]") -> None:
        self._begun.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _logger.info("hub: a connection was gone before it began: %r", task.exception())

    def _log_full(self, why: str) -> None:
        if time.monotonic() - self._full_logged_s >= _FULL_LOG_S:
            self._full_logged_s = time.monotonic()
            _logger.error(
                "hub: takes no more connections: %s; raise the limit of open files (ulimit -n)", why
            )


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _max_descriptors() -> int:
    try:
        import resource
    except ImportError:  # on Windows
        return 1 << 30
    soft: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft if soft != resource.RLIM_INFINITY else 1 << 30


def _bound(family: int, address: "Any") -> socket.socket:
    # The protocol too: asyncio looks for it before it sets TCP_NODELAY on what is accepted.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it means that two may listen
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


async def listen(
    on_connection: "OnConnection", host: str, port: int, backlog: int, may_accept: "Callable[[], bool]"
) -> _Server:
    """Accept connections on `host`, or on every address, IPv6 too, where it is empty, whenever `may_accept()`
    is true; the others wait. `on_connection` runs in a task of its own for each. Raises OSError.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: "list[socket.socket]" = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                sockets.append(_bound(family, address))
            except OSError as error:
                # A system without IPv6 has names for it all the same.
                if host or family != AF_INET6 or error.errno not in (EADDRNOTAVAIL, EAFNOSUPPORT):
                    raise
        for sock in sockets:
            sock.listen(backlog)
        return _Server(sockets, on_connection, may_accept)
    except OSError:
        for sock in sockets:
            sock.close()
        raise


def bound_port(server: _Server, port: int) -> int:
    """Return the port that `server` listens on, also where `listen` was given 0."""
    # For 0 each address of a host gets a port of its own; a peer that dials a name tries IPv4 in any case.
    first = min(server.sockets, key=lambda sock: sock.family != AF_INET)
    bound: int = first.getsockname()[1]
    return bound


async def close_server(server: _Server) -> None:
    """Stop listening; live connections stay."""
    await server.close()


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


def write_log(entry: str, is_defect: bool = False, is_repeated: bool = False) -> None:
    """Give an entry of the log to the logger `snyper`, which has a time of its own."""
    level = logging.ERROR if is_defect else logging.DEBUG if is_repeated else logging.INFO
    _logger.log(level, "%s", entry.partition(" ")[2])


def traceback_of(error: BaseException) -> str:
    """Return an exception with where it came from. Raises MemoryError."""
    return "".join(traceback.format_exception(error)).rstrip()


def print_traceback(error: BaseException) -> None:
    """Print an exception with where it came from."""
    traceback.print_exception(error)
