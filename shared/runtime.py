"""Where MicroPython and CPython differ, and nowhere else: streams, waiting, Unicode."""

import asyncio
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, Protocol

    class Timer(Protocol):
        """What `call_later` gives."""

        def cancel(self) -> None: ...


MICROPYTHON = sys.implementation.name == "micropython"

if MICROPYTHON:
    import gc
    import socket
    from sys import modules
    from time import sleep_us, ticks_add, ticks_diff, ticks_ms

    # The unix port has no names for these, and on lwIP TCP_NODELAY is another number than on Linux.
    _IPPROTO_TCP = getattr(socket, "IPPROTO_TCP", 6)
    _TCP_NODELAY = getattr(socket, "TCP_NODELAY", 1)

    sleep_ms = asyncio.sleep_ms

    async def sleep_rest_us(duration_us: int) -> None:
        """The end of an exact wait, less than a millisecond. A board does nothing else meanwhile."""
        sleep_us(duration_us)

    async def end_task(task: "asyncio.Task[Any]") -> None:
        """Cancels `task` and returns when it has ended; one that has ended before may be given too."""
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return

    _received = bytearray(256)  # one for all connections: see `receive`

    async def receive(reader: asyncio.StreamReader) -> memoryview:
        """The next bytes, empty at the end of the stream; to be copied before anything is waited for. Raises
        OSError when the connection is lost.
        """
        while True:
            count = await reader.readinto(_received)
            if count is not None:
                return memoryview(_received)[:count]

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
        """Calls `callback` in `delay_ms`, at most 6 days, unless the timer's `cancel()` comes first."""
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
            """Hands the value over; only the first counts."""
            if not self._event.is_set():
                self._value = value
                self._event.set()

        async def wait(self, timeout_ms: int) -> object:
            """The value, or None when it has not come within `timeout_ms`."""
            timer = call_later(timeout_ms, lambda: self.set(None))
            try:
                await self._event.wait()
                return self._value
            finally:
                timer.cancel()

    def is_drained(writer: asyncio.StreamWriter) -> bool:
        """Whether all that was written has left for the network stack."""
        return not writer.out_buf  # type: ignore[attr-defined]

    async def close_stream(writer: asyncio.StreamWriter) -> None:
        """Closes the socket at once; what was not sent is lost."""
        writer.close()
        await writer.wait_closed()

    def set_nodelay(sock: "socket.socket") -> None:
        """One small write is one packet, now: Nagle's algorithm costs a request 40 ms."""
        sock.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)

    def collect_garbage() -> None:
        """Frees what is unused, in 2 to 17 ms: for a moment when nothing is timed."""
        gc.collect()

    def forget(*names: str) -> None:
        """Gives back the memory of modules that are needed seldom; an import brings them back."""
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
        """What is free of the heap once it is collected, in some 20 ms; None where that is not known."""
        gc.collect()
        free_bytes: int = gc.mem_free()
        return free_bytes

    def composed(text: str) -> str:
        """`text` as it is: Unicode's tables would take a board's flash."""
        return text

else:
    import unicodedata

    _RECEIVE_BYTES = 4_096

    async def sleep_ms(duration_ms: int) -> None:
        await asyncio.sleep(duration_ms / 1000)

    async def sleep_rest_us(duration_us: int) -> None:
        """The end of an exact wait, less than a millisecond. A board does nothing else meanwhile."""
        await asyncio.sleep(duration_us / 1_000_000)

    async def end_task(task: "asyncio.Task[Any]") -> None:
        """Cancels `task` and returns when it has ended; one that has ended before may be given too."""
        task.cancel()
        await asyncio.wait((task,))  # not `await task`: that could not tell its cancellation from ours

    def receive(reader: asyncio.StreamReader) -> "Awaitable[bytes]":
        """The next bytes, empty at the end of the stream; to be copied before anything is waited for. Raises
        OSError when the connection is lost.
        """
        return reader.read(_RECEIVE_BYTES)

    def call_later(delay_ms: int, callback: "Callable[[], None]") -> "Timer":
        """Calls `callback` in `delay_ms`, at most 6 days, unless the timer's `cancel()` comes first."""
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

    def configure_stream(writer: asyncio.StreamWriter) -> None:
        """Lets `drain` wait until all has left, as on a board. TCP_NODELAY is asyncio's own choice."""
        writer.transport.set_write_buffer_limits(high=0)
        if hasattr(writer.transport, "max_size"):
            # Else every read takes 256 KiB from the system and gives it back, for a line of 100 bytes.
            writer.transport.max_size = _RECEIVE_BYTES

    def collect_garbage() -> None:
        """Nothing to do: by itself it is cheap here, and on demand dear with many boards in one process."""

    def forget(*names: str) -> None:
        """Nothing to do: there is memory enough, and a module that comes twice is two."""

    def heap_free_bytes() -> "int | None":
        """What is free of the heap once it is collected, in some 20 ms; None where that is not known."""
        return None

    def composed(text: str) -> str:
        """`text` in Unicode's normal form NFC."""
        return unicodedata.normalize("NFC", text)
