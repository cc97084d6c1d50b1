"""Streams, timers, clock and log on MicroPython. `runtime_cpython.py` has the same names."""

import asyncio
import gc
import io
import select
import socket
import sys
from errno import EINPROGRESS, ETIMEDOUT
from sys import modules
from time import sleep_us, ticks_add, ticks_diff as ticks_diff, ticks_ms, ticks_us as ticks_us

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from typing import Any

    from snyper.shared.runtime import StreamOwner, Timer

    OnConnection = Callable[["Stream"], Coroutine[Any, Any, None]]

MAX_CHUNK_BYTES = 1_024  # that may follow a line: some more than the 800 of a packet, and no load for a heap
_MAX_DATAGRAM_BYTES = 512  # of DNS: RFC 1035

# The unix port has no names for these, and on lwIP TCP_NODELAY is another number than on Linux.
_IPPROTO_TCP = getattr(socket, "IPPROTO_TCP", 6)
_TCP_NODELAY = getattr(socket, "TCP_NODELAY", 1)

sleep_ms = asyncio.sleep_ms


async def sleep_rest_us(duration_us: int) -> None:
    """Wait for the rest of an exact instant, less than a millisecond. A board does nothing else meanwhile."""
    sleep_us(duration_us)


async def end_task(task: "asyncio.Task[Any]") -> None:
    """Cancel `task`, and return when it has ended; one that has ended before may be given too."""
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return


class _Timer:
    def __init__(self, due_ms: "Any", callback: "Callable[[], None]") -> None:
        self.due_ms = due_ms  # in ticks, which wrap
        self.callback = callback

    def cancel(self) -> None:
        if self in _timers:
            _timers.remove(self)


# One task for all timers. Each task of its own would take 300 bytes, and be kept when it has ended for as
# long as the scheduler's heap of tasks, where pointers get old, happens to point at it.
_timers: "list[_Timer]" = []  # the next one first
_ticker: "asyncio.Task[None] | None" = None
_is_asleep = False  # till the next one is due


async def _tick() -> None:
    global _ticker, _is_asleep
    try:
        while _timers:
            _is_asleep = True
            try:
                await asyncio.sleep_ms(ticks_diff(_timers[0].due_ms, ticks_ms()))
            except asyncio.CancelledError:
                continue  # another one is the next now
            finally:
                _is_asleep = False
            if _timers and ticks_diff(_timers[0].due_ms, ticks_ms()) <= 0:
                _timers.pop(0).callback()
    finally:
        # Timers are left where a callback has raised: that is its own matter.
        _ticker = None  # should there be no memory for another one
        if _timers:
            _ticker = asyncio.create_task(_tick())


def call_later(delay_ms: int, callback: "Callable[[], None]") -> "Timer":
    """Call `callback` in `delay_ms`, at most 6 days, unless the timer's `cancel()` comes first."""
    global _ticker, _is_asleep
    if _ticker is None:  # first: without memory for it no timer is left
        _ticker = asyncio.create_task(_tick())
    timer = _Timer(ticks_add(ticks_ms(), delay_ms), callback)
    at = len(_timers)
    while at and ticks_diff(_timers[at - 1].due_ms, timer.due_ms) > 0:
        at -= 1
    _timers.insert(at, timer)
    if not at and _is_asleep:
        _is_asleep = False
        _ticker.cancel()
    return timer


class Waiter:
    """One value that one task waits for."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._value: object = None

    def set(self, value: object) -> None:
        """Set the value; only the first counts."""
        if not self._event.is_set():
            self._value = value
            self._event.set()

    async def wait(self, timeout_ms: "int | None" = None) -> object:
        """Wait for the value; return None when it has not come within `timeout_ms`."""
        timer = None if timeout_ms is None else call_later(timeout_ms, lambda: self.set(None))
        try:
            await self._event.wait()
            return self._value
        finally:
            if timer is not None:
                timer.cancel()


def set_nodelay(sock: "socket.socket") -> None:
    """Set TCP_NODELAY, so that one small write is one packet, at once: Nagle's algorithm costs a request 40
    ms.
    """
    sock.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)


def collect_garbage() -> None:
    """Collect garbage, in 2 to 17 ms: for a moment when nothing is timed. From then on it is collected as
    often as half of what is free has been taken: where each piece is taken before any is given back, what
    stays comes to lie all over the heap, and no large piece is left.
    """
    gc.collect()
    gc.threshold(gc.mem_free() // 2)


def unload(*names: str) -> None:
    """Unload modules that are needed seldom; an import loads them again."""
    for name in names:
        package, _, own = name.rpartition(".")
        # A dict keeps the value of what is removed in its slot until that is used again: None then.
        if name in modules:
            modules[name] = None  # type: ignore[assignment]
            del modules[name]
        if hasattr(modules[package], own):
            setattr(modules[package], own, None)
            delattr(modules[package], own)


def heap_free_bytes() -> "int | None":
    """Collect garbage, and return the free bytes of the heap, in some 20 ms; None where that is not known."""
    gc.collect()
    free_bytes: int = gc.mem_free()
    return free_bytes


def composed(text: str) -> str:
    """Return `text` unchanged: Unicode's tables would take a board's flash."""
    return text


def _writable(sock: "socket.socket") -> "Generator[None, None, None]":
    yield asyncio.core._io_queue.queue_write(sock)  # type: ignore[attr-defined]


def _readable(sock: "socket.socket") -> "Generator[None, None, None]":
    yield asyncio.core._io_queue.queue_read(sock)  # type: ignore[attr-defined]


_SPARE_BYTES = 64  # for a line that gets longer, as numbers do
_buffer = bytearray(256)  # one for all connections: what it holds is copied at once
_view = memoryview(_buffer)
_joined: "memoryview | None" = None  # one for all connections, too: what was last written in two parts


class Stream:
    """A TCP connection that belongs to a StreamOwner, its `owner`. Its methods are called inside of tasks."""

    owner: "StreamOwner | None" = None
    _reader: "asyncio.Task[None] | None" = None
    _writer: "asyncio.Task[None] | None" = None  # while something has not left
    _rest: "memoryview | None" = None
    buffer: "memoryview | None" = None  # where the owner wants the next bytes put
    address: "Any" = ""  # of the peer, without its port; whatever the runtime has for it

    def __init__(self, sock: "socket.socket") -> None:
        self._sock = sock

    def attach(self, owner: "StreamOwner") -> None:
        """Begin to read, for `owner`."""
        self.owner = owner
        self.resume_reading()

    def write(self, data: "Any", following: "Any" = None) -> bool:
        """Write `data`, and what is `following`; return whether all of it has left. If not, the owner's
        `resume_writing` is called once it has, and nothing may be written before that. Raises OSError when
        the connection is lost.
        """
        global _joined
        out: "memoryview | None" = None
        if following is not None:
            # One write is one packet, and a new piece of memory for each takes longer than all the rest.
            size = len(data)
            end = size + len(following)
            out, _joined = _joined, None
            if out is None or len(out) < end:
                out = None
                out = memoryview(bytearray(end + _SPARE_BYTES))
            out[:size] = data
            out[size:end] = following
            data = out[:end]
        elif type(data) is not bytes:  # whoever has it may change it; and an array is not counted in bytes
            data = bytes(data)
        count: "int | None" = self._sock.write(data)
        if count == len(data):
            _joined = out or _joined
            return True
        self._rest = memoryview(data)[count or 0 :]
        self._writer = asyncio.create_task(self._drain(out))
        return False

    def pause_reading(self) -> None:
        """Read no more. May be repeated."""
        reader = self._reader
        self._reader = None
        if reader is not None and reader is not asyncio.current_task():
            reader.cancel()

    def resume_reading(self) -> None:
        """Read on. May be repeated."""
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())

    async def close(self) -> None:
        """Close the socket at once; what was not sent is lost."""
        for task in (self._reader, self._writer):
            if task is not None:
                await end_task(task)
        self._sock.close()
        # The scheduler may keep a task that has ended, and with it this, for minutes.
        self.owner = self._reader = self._writer = None
        if self.buffer is not None:
            self.buffer = None
        await asyncio.sleep_ms(0)  # for a reader that was told to pause

    # Both are generators and not coroutines: one object for each wait less.

    def _read(self) -> "Generator[None, None, None]":
        me = asyncio.current_task()
        sock = self._sock
        error: "Exception | None" = None
        try:
            while self._reader is me:
                yield asyncio.core._io_queue.queue_read(sock)  # type: ignore[attr-defined]
                count = sock.readinto(self.buffer or _buffer)
                if count:  # what is given here is in no variable: that would keep it until the next comes
                    self.owner.data_received(  # type: ignore[union-attr]
                        self.buffer[:count] if self.buffer else bytes(_view[:count])
                    )
                elif count is not None:
                    break
            else:
                return
        except Exception as lost:
            error = lost
        self._reader = None
        self.owner.connection_lost(error)  # type: ignore[union-attr]

    def _drain(self, out: "memoryview | None") -> "Generator[None, None, None]":
        global _joined
        try:
            while len(self._rest):  # type: ignore[arg-type]
                yield asyncio.core._io_queue.queue_write(self._sock)  # type: ignore[attr-defined]
                count = self._sock.write(self._rest)
                self._rest = self._rest[count or 0 :]  # type: ignore[index]
        except Exception as error:
            self._writer = None
            self.owner.connection_lost(error)  # type: ignore[union-attr]
            return
        self._writer = self._rest = None
        _joined = out or _joined  # each a new one would leave no large piece of memory
        self.owner.resume_writing()  # type: ignore[union-attr]


async def _dial(host: str, port: int) -> Stream:
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
    return Stream(sock)


async def dial(host: str, port: int, timeout_ms: int) -> Stream:
    """Open a TCP connection within `timeout_ms`. Raises OSError; a refusal can show only at the first read.
    Resolving a name blocks the loop: give an address where that matters. May be cancelled.
    """
    try:
        return await asyncio.wait_for_ms(_dial(host, port), timeout_ms)
    except asyncio.TimeoutError:
        raise OSError(ETIMEDOUT, "no answer")


async def _exchange(sock: "socket.socket", address: "Any", request: bytes, from_anybody: bool) -> bytes:
    sock.setblocking(False)
    sock.sendto(request, address)
    while True:
        await _readable(sock)  # type: ignore[misc]
        answer, sender = sock.recvfrom(_MAX_DATAGRAM_BYTES)
        if sender == address or from_anybody:
            return answer


async def exchange_datagrams(
    host: str, port: int, request: bytes, timeout_ms: int, from_anybody: bool = False
) -> bytes:
    """Send one UDP datagram to an IPv4 address, and return the first answer from there, or `from_anybody` as
    to multicast; empty when none comes in time. Raises OSError. May be cancelled.
    """
    address = socket.getaddrinfo(host, port)[0][-1]  # lwIP takes no hint but SOCK_STREAM
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        return await asyncio.wait_for_ms(_exchange(sock, address, request, from_anybody), timeout_ms)
    except asyncio.TimeoutError:
        return b""
    finally:
        sock.close()


def _is_alive(sock: "socket.socket") -> bool:
    """Return False for a connection that was reset: on lwIP it has no control block left to set an
    option in.
    """
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    lost = select.POLLERR | select.POLLHUP
    return not [entry for entry in poller.poll(0) if entry[1] & lost]


_REFUSED_MS = 50  # until somebody is accepted again where nobody may be


async def _accept(
    sock: "socket.socket", on_connection: "OnConnection", may_accept: "Callable[[], bool]"
) -> None:
    try:
        while True:
            await _readable(sock)  # type: ignore[misc]
            if not may_accept():
                await asyncio.sleep_ms(_REFUSED_MS)
                continue
            try:
                accepted, address = sock.accept()
            except OSError:
                await asyncio.sleep_ms(_REFUSED_MS)
                continue
            try:
                accepted.setblocking(False)
                if _is_alive(accepted):
                    set_nodelay(accepted)
                stream = Stream(accepted)
                # A board's own port says an address as text, the unix port as the system has it: a
                # `sockaddr_in`, or the longer one of IPv6.
                if type(address) is tuple:
                    stream.address = address[0]
                else:
                    stream.address = bytes(address[8:24] if len(address) > 16 else address[4:8])
                asyncio.create_task(on_connection(stream))  # noqa: RUF006 # a board's loop keeps it
            except (MemoryError, OSError):
                accepted.close()
    finally:
        sock.close()


async def listen(
    on_connection: "OnConnection", host: str, port: int, backlog: int, may_accept: "Callable[[], bool]"
) -> "asyncio.Task[None]":
    """Accept connections on `host`, or on every IPv4 address where it is empty, whenever `may_accept()` is
    true; the others wait. `on_connection` runs in a task of its own for each. Raises OSError.
    """
    found = socket.getaddrinfo(host or "0.0.0.0", port)[0]
    sock = socket.socket(found[0])  # of the address's family
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(found[-1])
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return asyncio.create_task(_accept(sock, on_connection, may_accept))


def bound_port(server: "asyncio.Task[None]", port: int) -> int:
    """Return the port that `listen` was given: the runtime cannot tell which one it got for 0."""
    return port


async def close_server(server: "asyncio.Task[None]") -> None:
    """Stop listening; live connections stay."""
    await end_task(server)


# The counter wraps every 18 minutes (2^30 µs), so it must be read every 9. A live link does so all the time.
_ticks_us = ticks_us()
_now_ms = 0
_rest_us = 0  # beyond the whole milliseconds


def now_us() -> int:
    """Return the microseconds since some fixed instant. After 18 minutes a board allocates memory for
    each.
    """
    return now_ms() * 1000 + _rest_us


def now_ms() -> int:
    """Return the milliseconds since the same instant. For the first 12 days a board needs no memory for
    one.
    """
    global _now_ms, _rest_us, _ticks_us
    ticks = ticks_us()
    _rest_us += ticks_diff(ticks, _ticks_us)
    _ticks_us = ticks
    _now_ms += _rest_us // 1000
    _rest_us %= 1000
    return _now_ms


def write_log(entry: str, is_defect: bool = False, is_repeated: bool = False) -> None:
    """Print an entry of the log."""
    print(entry)


def traceback_of(error: BaseException) -> str:
    """Return an exception with where it came from. Raises MemoryError."""
    text = io.StringIO()
    sys.print_exception(error, text)
    return str(text.getvalue()).rstrip()


def print_traceback(error: BaseException) -> None:
    """Print an exception with where it came from, which needs no memory."""
    sys.print_exception(error)
