"""One live connection between two peers: LinkCore over a Stream, with handlers in tasks of their own.

A link has no timer of its own: one looks after the silence of all. The stream calls it when there are bytes.
What takes long is a task: a handler, or whoever waits for a reply.
"""

import asyncio

from snyper.shared.clock import now_ms, now_us
from snyper.shared.link_core import (
    CloseReason,
    LinkCore,
    State,
    error_of,
)
from snyper.shared.log import log, log_exception
from snyper.shared.runtime import MAX_CHUNK_BYTES, Stream, Waiter, call_later, end_task
from snyper.shared.socket_protocol import (
    DEAD_AFTER_BEATS,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from typing import Any

    from snyper.shared.sealed_stream import SealedStream

    Handler = Callable[["Link", SocketMessage], Awaitable[SocketMessage | None]]

# With 100 bytes a line about the 1.5 kB that lwIP holds unacknowledged for one connection.
MAX_QUEUED_LINES = 16
MAX_QUEUED_CHUNKS = 4  # with bytes after it a line is queued among the first only
ITEMS_PER_TURN = 8  # of one piece that was read, before other tasks get their turn
CHECK_MS = 100  # between two looks at the links: a dead peer is found that much later at most


class Link(LinkCore):
    """A connection that serves and asks.

    `handlers` maps a request's type to a coroutine function `(link, message) -> SocketMessage | None` whose
    result is sent; a ProtocolError that it raises is sent as an `error`, and a type that is not in it is
    `unknown_type`. `name` is for the log. None of the callbacks of LinkCore may wait.
    """

    max_chunk_bytes = MAX_CHUNK_BYTES
    # While the network does not take what was written: the lines behind it, and what whoever wants to send
    # waits for.
    _queue: "list[bytes] | None" = None
    _drained: "asyncio.Event | None" = None
    _on_closed: "Callable[[Link], None] | None" = None
    ending: "asyncio.Task[None] | None" = None  # of whoever started it: what lets go of it
    sealed: "SealedStream | None" = None  # in between, where all that goes and comes is sealed
    _requests: "Iterator[SocketMessage | None] | None" = None  # of what was read, what is not served yet
    is_quiet = False  # so that the log is not full of it
    # Also while the peer does not read: where both may have much to say each would wait for the other.
    reads_always = False
    # Called when the network has taken all that was written, after it had not.
    on_drained: "Callable[[Link], None] | None" = None
    # Sees each request before its handler does; what ProtocolError it raises is the answer.
    on_request: "Callable[[SocketMessage], None] | None" = None

    def __init__(
        self,
        stream: Stream,
        handlers: "dict[str, Handler]",
        name: str,
        admit: "Callable[[Link, SocketMessage], None] | None" = None,
    ) -> None:
        super().__init__(handlers, name, now_us(), admit)
        self.opened_ms = now_ms()
        self._stream: "Any" = stream  # a Stream, or a SealedStream over it
        self._handler_tasks: "list[asyncio.Task[None]]" = []

    # --- what the owner calls

    def start(self, on_closed: "Callable[[Link], None]") -> None:
        """Serve the connection from now on. `on_closed(link)` is called when it is closed or has ended by
        itself, and again until `let_go` is awaited.

        A task that waited for the end would take a sixth of a connection's memory on a board.
        """
        self._on_closed = on_closed
        _watch(self)
        try:
            self._stream.attach(self)
        except Exception as error:
            self.connection_lost(error)

    async def let_go(self) -> None:
        """Let go of the socket and all tasks, once it is closed. To be awaited once, however it ends."""
        _unwatch(self)
        tasks = self._handler_tasks[:]
        for task in tasks:
            task.cancel()
        try:
            for task in tasks:
                await end_task(task)
        finally:
            await self._stream.close()
            # MicroPython's scheduler may keep a task that has ended, and with it this link, for minutes.
            del self._stream, self._parser
            self.handlers = {}
            self.admit = self._requests = self._on_closed = None

    def start_heartbeat(self, heartbeat_ms: int, ping_after_ms: int) -> None:
        """Give the peer up as dead, from now on, after DEAD_AFTER_BEATS x `heartbeat_ms` of silence, and ask
        it with a PING after `ping_after_ms` of it.
        """
        self.set_heartbeat(heartbeat_ms, ping_after_ms, now_us())

    def is_alive(self) -> bool:
        """Tell whether the heartbeat does its work: a silent peer is given up long before this is false."""
        silence_ms = (now_us() - self.received_us) // 1000
        return not self._heartbeat_ms or silence_ms < 3 * DEAD_AFTER_BEATS * self._heartbeat_ms

    async def send(self, message: SocketMessage) -> None:
        """Send `message`, once the queue has place for it: it is full while the peer reads slowly.

        Raises ProtocolError: `bad_message` or `line_too_long` for what the wire or the peer does not take,
        `disconnected`. May be cancelled.
        """
        if self._queue is not None:
            await self.drain()
        self.send_nowait(message)

    async def drain(self) -> None:
        """Wait until the network has taken what was written, or the link has ended. May be cancelled."""
        while self._queue is not None and self.close_error is None:
            if self._drained is None:
                self._drained = asyncio.Event()
            await self._drained.wait()

    async def request(self, message: SocketMessage, timeout_ms: int) -> SocketMessage:
        """Send `message` and return the reply.

        Raises ProtocolError: the code of an `error` reply; `timeout` after `timeout_ms`, `disconnected` when
        the link ends, both with `unknown_fate` where the peer may have carried it out; `bad_message`,
        `line_too_long`, `busy` where nothing was sent. May be cancelled; not repeated by itself.
        """
        reply = await self.exchange(message, timeout_ms)
        if reply.type == MessageType.ERROR:
            raise error_of(reply)
        return reply

    async def exchange(self, message: SocketMessage, timeout_ms: int) -> SocketMessage:
        """Send `message` and return the reply, whatever its type: an `error` too.

        Raises ProtocolError: `timeout` after `timeout_ms` and `disconnected` when the link ends, both with
        `unknown_fate` where the peer may have carried it out; `bad_message`, `line_too_long`, `busy` where
        nothing was sent. May be cancelled; not repeated by itself.
        """
        waiter = Waiter()
        assert message.id is not None
        self.start_request(message.id, message.to_line(), Waiter.set, waiter)
        try:
            reply = await waiter.wait(timeout_ms)
        finally:
            self.cancel_request(message.id)
        if isinstance(reply, SocketMessage):
            return reply
        if isinstance(reply, ProtocolError):
            raise reply
        raise ProtocolError(
            ErrorCode.TIMEOUT, "no answer within %d ms" % timeout_ms, message.id, unknown_fate=True
        )

    def handle(self, message: SocketMessage) -> None:
        """Have the handler of its type serve `message`, in a task that ends with the link."""
        self.under_way += 1
        self._handler_tasks.append(asyncio.create_task(self._handle(message)))

    # --- what the stream calls

    def data_received(self, data: "bytes | memoryview") -> None:
        """Take the next bytes. What it raises is the stream's to give to `connection_lost`: a function that
        catches has its state on a board's heap.
        """
        if self.close_error is not None:
            self._stream.pause_reading()  # it has been told why: more of it is not read
            return
        requests = self.receive_data(data, now_us())
        if requests:
            self._requests = requests
            self._serve()
        elif self._stream.buffer is not self._parser.buffer:
            self._stream.buffer = self._parser.buffer

    def resume_writing(self) -> None:
        """Go on, now that all that was written has left."""
        self.received_us = now_us()  # who reads is there
        queue = self._queue
        try:
            while queue:  # line by line: joined they would need one large piece of memory
                if not self._stream.write(queue.pop(0)):
                    return
        except Exception as error:
            self.connection_lost(error)
            return
        self._queue = None
        self.writable = True
        if self._drained is not None:
            self._drained.set()
        if self.on_drained is not None:
            self.on_drained(self)
        self._serve()

    def write_progressed(self, at_us: int) -> None:
        """Take that the peer has read some of what was written, at that instant or later."""
        self.received_us = max(self.received_us, at_us)

    def connection_lost(self, error: "Exception | None") -> None:
        """End the link for what was raised; for None when the peer hung up."""
        if error is None:
            self.end()
        elif isinstance(error, ProtocolError):
            self.close(error)
        elif isinstance(error, OSError):
            why = ProtocolError(ErrorCode.DISCONNECTED, "the connection broke: %r" % error)
            self.end(why, CloseReason.BROKEN)
        else:
            log_exception(self.name, error)
            why = ProtocolError(ErrorCode.INTERNAL, "a defect, or no memory: %r" % error)
            self.end(why, CloseReason.FAULT)

    # --- what LinkCore calls

    def transmit(self, line: bytes, following: "Any" = None) -> None:
        """Write a line, or queue it behind those that the network does not take yet. Of the bytes that may be
        `following` it a view is the caller's again when this returns.
        """
        if self._queue is not None:
            if following is not None:
                line += following
            has_bytes = line.find(b"\n") < len(line) - 1
            if len(self._queue) >= (MAX_QUEUED_CHUNKS if has_bytes else MAX_QUEUED_LINES):
                raise ProtocolError(ErrorCode.BUSY, "the peer reads too slowly")
            self._queue.append(line)
            return
        try:
            write = self._stream.write
            has_left = write(line) if following is None else write(line, following)
        except Exception as error:
            self.connection_lost(error)
            raise ProtocolError(ErrorCode.DISCONNECTED, "the link broke: %r" % error) from None
        if not has_left:
            self._queue = []
            self._drained = None
            self.writable = False
            if not self.reads_always:  # who asks and does not read is not read either
                self._stream.pause_reading()

    def on_state(self) -> None:
        """End what waits for the new state."""
        if self.state == State.CLOSED and self._on_closed is not None:
            self._on_closed(self)
        if self._drained is not None:
            self._drained.set()

    def log(self, text: str) -> None:
        """Log `text` of this link, unless it is quiet."""
        if not self.is_quiet:
            log(self.name, text)

    # ---

    def _serve(self) -> None:
        """Serve what was read: a few lines, and the rest later, so that others get their turn."""
        if self.close_error is not None or not (self.writable or self.reads_always):
            return
        if self._requests is not None:
            count = 0
            try:
                for request in self._requests:
                    if request is not None:
                        self.handle(request)
                    count += 1
                    if not (self.writable or self.reads_always):
                        return
                    if count >= ITEMS_PER_TURN:
                        self._stream.pause_reading()
                        call_later(0, self._serve)
                        return
            except Exception as error:
                self.connection_lost(error)
                return
            self._requests = None
            if self._stream.buffer is not self._parser.buffer:  # most have none, and need no memory for that
                self._stream.buffer = self._parser.buffer
        if self.close_error is None:
            self._stream.resume_reading()

    async def _handle(self, message: SocketMessage) -> None:
        try:
            try:
                if self.on_request is not None:
                    self.on_request(message)
                handler = self.handler_of(message)
                assert handler is not None
                reply = await handler(self, message)
            except ProtocolError as error:
                reply = error.to_message(message.id, message.target_id)
            except Exception as error:
                log_exception(self.name, error)
                reply = ProtocolError(ErrorCode.INTERNAL, "a defect, see its log").to_message(message.id)
            if reply is not None and self.close_error is None:
                await self._send_reply(message, reply)
        except ProtocolError as error:
            log(self.name, "the reply to `%s` could not be sent: %s" % (message.type, error))
        finally:
            self.under_way -= 1
            self._handler_tasks.remove(asyncio.current_task())  # type: ignore[arg-type]

    async def _send_reply(self, message: SocketMessage, reply: SocketMessage) -> None:
        try:
            await self.send(reply)
        except ProtocolError as error:
            if error.code not in (ErrorCode.LINE_TOO_LONG, ErrorCode.BAD_MESSAGE):
                raise
            await self.send(error.to_message(message.id, message.target_id))


# One timer for the silence of all links of a loop: a look at each costs less than a timer for each.
_watched: "dict[object, list[Link]]" = {}


def _watch(link: Link) -> None:
    loop = asyncio.get_event_loop()
    if loop not in _watched:
        links: "list[Link]" = []
        call_later(CHECK_MS, lambda: _check(links))
        _watched[loop] = links
    _watched[loop].append(link)


def _unwatch(link: Link) -> None:
    loop = asyncio.get_event_loop()
    _watched[loop].remove(link)
    if not _watched[loop]:
        del _watched[loop]


def _check(links: "list[Link]") -> None:
    if not links:
        return
    error: "Exception | None" = None
    try:
        call_later(CHECK_MS, lambda: _check(links))
    except MemoryError as full:
        error = full  # nobody would look at them again
    now = now_us()
    for link in links[:]:
        try:
            if error is not None:
                raise error
            if link.state == State.CLOSED:
                link.on_state()  # there was no memory for letting go
            elif 0 < link.due_us <= now:
                link.check(now)
        except Exception as failure:
            link.connection_lost(failure)
