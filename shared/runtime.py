"""Where MicroPython and CPython differ, and nowhere else: streams and waiting."""

import asyncio
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from typing import Any

    Timer = asyncio.Task[None] | asyncio.TimerHandle
    OnConnection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

MICROPYTHON = sys.implementation.name == "micropython"
_MAX_DATAGRAM_BYTES = 512  # of DNS: RFC 1035

if MICROPYTHON:
    import gc
    import select
    from errno import EINPROGRESS, ETIMEDOUT

    # The unix port has no names for these, and on lwIP TCP_NODELAY is another number than on Linux.
    _IPPROTO_TCP = getattr(socket, "IPPROTO_TCP", 6)
    _TCP_NODELAY = getattr(socket, "TCP_NODELAY", 1)

    sleep_ms = asyncio.sleep_ms

    async def end_task(task: "asyncio.Task[Any]") -> None:
        """Cancels `task` and returns when it has ended; one that has ended before may be given too."""
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return

    def receive_buffer() -> bytearray:
        """What `receive` reads into: made once for a connection."""
        return bytearray(256)

    async def receive(reader: asyncio.StreamReader, buffer: bytearray) -> memoryview:
        """The next bytes, empty at the end of the stream. Raises OSError when the connection is lost."""
        while True:
            count = await reader.readinto(buffer)
            if count is not None:
                return memoryview(buffer)[:count]

    async def wait_event(event: asyncio.Event, timeout_ms: int) -> bool:
        """Waits for `event`; false when it is not set within `timeout_ms`."""
        try:
            await asyncio.wait_for_ms(event.wait(), timeout_ms)
        except asyncio.TimeoutError:
            return False
        return True

    async def _call_after(delay_ms: int, callback: "Callable[[], None]") -> None:
        await asyncio.sleep_ms(delay_ms)
        callback()

    def call_later(delay_ms: int, callback: "Callable[[], None]") -> "Timer":
        """Calls `callback` in `delay_ms`, unless the timer's `cancel()` comes first."""
        return asyncio.create_task(_call_after(delay_ms, callback))

    class Waiter:
        """One value that one task waits for."""

        def __init__(self) -> None:
            self._event = asyncio.Event()
            self._value: object = None

        def set(self, value: object) -> None:
            """Hands the value over; only the first counts."""
            if not self._event.is_set():
                self._value = value
                self._event.set()

        async def wait(self, timeout_ms: int) -> object:
            """The value, or None when it has not come within `timeout_ms`."""
            await wait_event(self._event, timeout_ms)
            return self._value

    def is_drained(writer: asyncio.StreamWriter) -> bool:
        """Whether all that was written has left for the network stack."""
        return not writer.out_buf  # type: ignore[attr-defined]

    async def close_stream(writer: asyncio.StreamWriter) -> None:
        """Closes the socket at once; what was not sent is lost."""
        writer.close()
        await writer.wait_closed()

    def _set_nodelay(sock: "socket.socket") -> None:
        """One small write is one packet, now: Nagle's algorithm costs a request 40 ms."""
        sock.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)

    def _is_alive(sock: "socket.socket") -> bool:
        """False for a connection that was reset: on lwIP it has no control block left to set an option in."""
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        lost = select.POLLERR | select.POLLHUP
        return not [entry for entry in poller.poll(0) if entry[1] & lost]

    def collect_garbage() -> None:
        """Frees what is unused, in 2 to 17 ms: for a moment when nothing is timed."""
        gc.collect()

    def _writable(sock: "socket.socket") -> "Generator[None, None, None]":
        yield asyncio.core._io_queue.queue_write(sock)  # type: ignore[attr-defined]

    def _readable(sock: "socket.socket") -> "Generator[None, None, None]":
        yield asyncio.core._io_queue.queue_read(sock)  # type: ignore[attr-defined]

    async def _dial(host: str, port: int) -> "tuple[asyncio.StreamReader, asyncio.StreamWriter]":
        address = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]
        sock = socket.socket(address[0], address[1], address[2])
        try:
            sock.setblocking(False)
            _set_nodelay(sock)
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
        address = socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM)[0]
        sock = socket.socket(address[0], address[1], address[2])
        try:
            return await asyncio.wait_for_ms(_exchange(sock, address[-1], request), timeout_ms)
        except asyncio.TimeoutError:
            return b""
        finally:
            sock.close()

    async def listen(on_connection: "OnConnection", host: str, port: int, backlog: int) -> asyncio.Server:
        """Accepts connections on `host`, or on every IPv4 address where it is empty. Raises OSError."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if _is_alive(writer.s):  # type: ignore[attr-defined]
                _set_nodelay(writer.s)  # type: ignore[attr-defined]
            await on_connection(reader, writer)

        return await asyncio.start_server(accept, host or "0.0.0.0", port, backlog)

    def bound_port(server: asyncio.Server, port: int) -> int:
        """The port that `listen` was given: the runtime cannot tell which one it got for 0."""
        return port

    async def close_server(server: asyncio.Server) -> None:
        """Stops listening; live connections stay."""
        server.close()
        await server.wait_closed()

else:
    from errno import EADDRNOTAVAIL, EAFNOSUPPORT

    _RECEIVE_BYTES = 4_096

    async def sleep_ms(duration_ms: int) -> None:
        await asyncio.sleep(duration_ms / 1000)

    async def end_task(task: "asyncio.Task[Any]") -> None:
        """Cancels `task` and returns when it has ended; one that has ended before may be given too."""
        task.cancel()
        await asyncio.wait((task,))  # not `await task`: that could not tell its cancellation from ours

    def receive_buffer() -> bytearray:
        """What `receive` reads into: here the stream has its own."""
        return bytearray()

    def receive(reader: asyncio.StreamReader, buffer: bytearray) -> "Awaitable[bytes]":
        """The next bytes, empty at the end of the stream. Raises OSError when the connection is lost."""
        return reader.read(_RECEIVE_BYTES)

    async def wait_event(event: asyncio.Event, timeout_ms: int) -> bool:
        """Waits for `event`; false when it is not set within `timeout_ms`."""
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await event.wait()
        except TimeoutError:
            return False
        return True

    def call_later(delay_ms: int, callback: "Callable[[], None]") -> "Timer":
        """Calls `callback` in `delay_ms`, unless the timer's `cancel()` comes first."""
        return asyncio.get_running_loop().call_later(delay_ms / 1000, callback)

    class Waiter:
        """One value that one task waits for."""

        def __init__(self) -> None:
            self._future = asyncio.get_running_loop().create_future()

        def set(self, value: object) -> None:
            """Hands the value over; only the first counts."""
            if not self._future.done():
                self._future.set_result(value)

        async def wait(self, timeout_ms: int) -> object:
            """The value, or None when it has not come within `timeout_ms`."""
            timer = call_later(timeout_ms, lambda: self.set(None))
            try:
                return await self._future
            finally:
                timer.cancel()

    def is_drained(writer: asyncio.StreamWriter) -> bool:
        """Whether all that was written has left for the network stack."""
        return not writer.transport.get_write_buffer_size()

    async def close_stream(writer: asyncio.StreamWriter) -> None:
        """Closes the socket at once; what was not sent is lost."""
        writer.transport.abort()
        try:
            await writer.wait_closed()
        except OSError:
            return  # it was lost already: that is closed too

    def _tune(writer: asyncio.StreamWriter) -> None:
        """Lets `drain` wait until all has left, as on a board. TCP_NODELAY is asyncio's own choice."""
        writer.transport.set_write_buffer_limits(high=0)
        if hasattr(writer.transport, "max_size"):
            # Else every read takes 256 KiB from the system and gives it back, for a line of 100 bytes.
            writer.transport.max_size = _RECEIVE_BYTES

    def collect_garbage() -> None:
        """Nothing to do: by itself it is cheap here, and on demand dear with many boards in one process."""

    async def dial(
        host: str, port: int, timeout_ms: int
    ) -> "tuple[asyncio.StreamReader, asyncio.StreamWriter]":
        """Connects within `timeout_ms`. Raises OSError. May be cancelled."""
        async with asyncio.timeout(timeout_ms / 1000):  # its TimeoutError is an OSError
            reader, writer = await asyncio.open_connection(host, port)
        _tune(writer)
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

    async def listen(on_connection: "OnConnection", host: str, port: int, backlog: int) -> asyncio.Server:
        """Accepts connections on `host`, or on every address, IPv6 too, where it is empty. Raises OSError."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            _tune(writer)
            await on_connection(reader, writer)

        try:
            return await asyncio.start_server(accept, host or None, port, backlog=backlog)
        except OSError as error:
            if host or error.errno not in (EADDRNOTAVAIL, EAFNOSUPPORT):
                raise
            # A system without IPv6.
            return await asyncio.start_server(accept, "0.0.0.0", port, backlog=backlog)

    def bound_port(server: asyncio.Server, port: int) -> int:
        """The port that `server` listens on, also where `listen` was given 0."""
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    async def close_server(server: asyncio.Server) -> None:
        """Stops listening; live connections stay."""
        server.close()
