"""One live connection between two peers: requests and replies, heartbeat, close. The same on both runtimes.

A link has one task that reads, a timer for the heartbeat, and, only while the network does not take what was
written, one that waits for that. Handlers run in tasks of their own, so none of them can hold up the others.
"""

import asyncio

from snyper.shared.clock import now_ms, now_us
from snyper.shared.log import log, log_exception
from snyper.shared.runtime import (
    Waiter,
    call_later,
    close_stream,
    end_task,
    is_drained,
    receive,
    sleep_ms,
)
from snyper.shared.socket_protocol import (
    DEAD_AFTER_BEATS,
    MAX_LINE_BYTES,
    MAX_WORD_CHARS,
    STREAM_TYPES,
    ErrorCode,
    MessageLineParser,
    MessageType,
    ProtocolError,
    SocketMessage,
    clip,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from snyper.shared.runtime import Timer

    Handler = Callable[["Link", SocketMessage], Awaitable[SocketMessage | None]]
    OnReply = Callable[[Any, "SocketMessage | ProtocolError"], None]

# With 100 bytes a line about the 1.5 kB that lwIP holds unacknowledged for one connection.
MAX_QUEUED_LINES = 16
MAX_HANDLERS = 8  # requests of one peer under way at once
# Ids of requests that are no longer waited for: as many replies as a peer of this project can still owe.
_MAX_LATE_IDS = MAX_HANDLERS
ANY_FOR_ANOTHER = "*"  # in `handlers`: what serves every other message that has a `target_id`
ITEMS_PER_TURN = 8  # of one piece that was read, before other tasks get their turn
# Of what a peer says went wrong: it is kept, and may become part of a line that has at least 1,024.
_MAX_REASON_BYTES = 256
LINGER_MS = 1_000  # after a fatal error the peer has this long to read it before the socket goes


class CloseReason:
    """Why a link has ended, in a word."""

    SILENT = "silent"  # nothing came for DEAD_AFTER_BEATS heartbeats
    CLOSED = "closed"  # the peer hung up
    BROKEN = "broken"  # the network says so
    REFUSED = "refused"  # for what the peer says, or does not read
    FAULT = "fault"  # of this side: a defect, or no memory
    STOPPING = "stopping"  # this side ends in an orderly way


class Link:
    """A connection made of an asyncio stream's two ends.

    `handlers` maps a request's type to a coroutine function `(link, message) -> SocketMessage | None` whose
    result is sent; a ProtocolError that it raises is sent as an `error`, and a type that is not in it is
    `unknown_type`. `admit` is for the side that listens: till it sets `admitted`, it is called with the link
    and every request, and no handler is. `health` gives the `data` of every `pong`; `on_health` sees each
    `ping` of the peer and each answer to this side's own heartbeat, `on_stream` every `target`, `result` and
    `event` in order, `on_close` the end of the link as soon as it is known; none of these may wait. `name` is
    for the log. All may be replaced at any time.
    """

    # Here, and not in each link: on a board every attribute that is set takes memory.
    health: "Callable[[], dict[str, object]] | None" = None
    on_health: "Callable[[SocketMessage], None] | None" = None
    on_stream: "Callable[[SocketMessage], None] | None" = None
    on_close: "Callable[[Link, ProtocolError], None] | None" = None
    peer_max_line_bytes = MAX_LINE_BYTES
    round_trip_us: "int | None" = None
    received_us = 0  # when the last bytes were read, by `now_us()`
    close_error: "ProtocolError | None" = None
    close_reason = ""  # of CloseReason, once `close_error` is set
    _last_word: "ProtocolError | None" = None
    _next_id = 0
    _late_ids: "list[str | int] | None" = None
    _heartbeat_ms = 0
    _ping_after_ms = 0
    _look_ms = 0
    _timer: "Timer | None" = None
    # While the network does not take what was written: the task that waits for it, the lines behind it, and
    # what whoever wants to send waits for.
    _drain_task: "asyncio.Task[None] | None" = None
    _queue: "list[bytes] | None" = None
    _room: "asyncio.Event | None" = None

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        handlers: "dict[str, Handler]",
        name: str,
        admit: "Callable[[Link, SocketMessage], None] | None" = None,
    ) -> None:
        self.handlers = handlers
        self.name = name
        self.admitted = admit is None
        self.opened_ms = now_ms()
        self.admit = admit
        self._reader = reader
        self._writer = writer
        self._parser = MessageLineParser()
        self._ended = asyncio.Event()
        self._pending: "dict[str | int, tuple[OnReply, object]]" = {}
        self._handler_tasks: "list[asyncio.Task[None]]" = []
        self._received_ms = now_ms()

    # --- what the owner calls

    async def run(self) -> ProtocolError:
        """Serve the connection until it ends, however it ends, and return why.

        When it returns or is cancelled, the socket, the tasks and every pending request are gone.
        """
        tasks = [asyncio.create_task(self._read())]
        try:
            await self._ended.wait()
        finally:
            error = ProtocolError(ErrorCode.DISCONNECTED, "this side ended the link")
            self.close(error, reason=CloseReason.STOPPING)
            self._stop_timer()
            tasks.extend(self._handler_tasks)
            if self._drain_task is not None:
                tasks.append(self._drain_task)
            for task in tasks:
                task.cancel()
            try:
                for task in tasks:
                    await end_task(task)
            finally:
                await close_stream(self._writer)
                # MicroPython's scheduler may keep a task that has ended, and with it this link, for minutes.
                del self._reader, self._writer, self._parser, self.admit
                self.handlers = {}
        assert self.close_error is not None
        return self.close_error

    def start_heartbeat(self, heartbeat_ms: int, ping_after_ms: int) -> None:
        """Start the heartbeat: the peer is given up as dead after DEAD_AFTER_BEATS × `heartbeat_ms` of
        silence, and asked with a PING after `ping_after_ms` of it.
        """
        self._heartbeat_ms = heartbeat_ms
        self._ping_after_ms = ping_after_ms
        self._received_ms = now_ms()
        self._look_ms = self._received_ms
        if self.close_error is None:
            self._stop_timer()
            self._look()

    def is_alive(self) -> bool:
        """Return whether the heartbeat does its work: a silent peer is given up long before this is false."""
        return (
            not self._heartbeat_ms or now_ms() - self._received_ms < 3 * DEAD_AFTER_BEATS * self._heartbeat_ms
        )

    def new_id(self) -> int:
        """Return an id that no request under way on this side has."""
        self._next_id += 1
        while self._next_id in self._pending:
            self._next_id += 1
        return self._next_id

    def send_nowait(self, message: SocketMessage) -> None:
        """Send `message` at once.

        Raises ProtocolError: `bad_message` or `line_too_long` for what the wire or the peer does not take,
        `busy` when the peer reads too slowly, `disconnected`.
        """
        self.send_line_nowait(message.to_line())

    def send_line_nowait(self, line: bytes) -> None:
        """Send an encoded line at once: one line for many links is encoded once.

        Raises ProtocolError: `line_too_long` for more than the peer takes, `busy` when it reads too slowly,
        `disconnected`.
        """
        if self.close_error is not None:
            raise ProtocolError(ErrorCode.DISCONNECTED, "the link is closed")
        if len(line) > self.peer_max_line_bytes:
            raise ProtocolError(ErrorCode.LINE_TOO_LONG, "the peer takes %d bytes" % self.peer_max_line_bytes)
        if self._queue is not None:
            if len(self._queue) >= MAX_QUEUED_LINES:
                raise ProtocolError(ErrorCode.BUSY, "the peer reads too slowly")
            self._queue.append(line)
            return
        # Never during a drain: on MicroPython what is written then is lost.
        try:
            self._writer.write(line)
        except OSError as error:
            self._lose(error)
            raise ProtocolError(ErrorCode.DISCONNECTED, "the link broke: %r" % error) from None
        if not is_drained(self._writer):
            self._queue = []
            self._room = asyncio.Event()
            self._drain_task = asyncio.create_task(self._drain(self._queue, self._room))

    async def send(self, message: SocketMessage) -> None:
        """Send `message`, once the queue has place for it: it is full while the peer reads slowly.

        Raises ProtocolError: `bad_message` or `line_too_long` for what the wire or the peer does not take,
        `disconnected`. May be cancelled.
        """
        while self._room is not None and self.close_error is None:
            await self._room.wait()
        self.send_nowait(message)

    def start_request(self, id: "str | int", line: bytes, on_reply: "OnReply", token: object) -> None:
        """Send a request and return. `on_reply(token, reply)` is called once, with a SocketMessage or, when
        the link ends first, a ProtocolError; never after `cancel_request(id)`.

        Raises ProtocolError: `line_too_long` for more than the peer takes, `busy` when it reads too slowly or
        when a request with this id is under way, `disconnected`.
        """
        if id in self._pending:
            raise ProtocolError(ErrorCode.BUSY, "a request with this id is under way", id)
        self.send_line_nowait(line)
        self._pending[id] = (on_reply, token)

    def cancel_request(self, id: "str | int") -> None:
        """Stop waiting for the reply to `id`; one that still comes is dropped."""
        if self._pending.pop(id, None) is not None:
            # Not in place: an empty list is one more thing that each link of a board would keep.
            self._late_ids = ((self._late_ids or []) + [id])[-_MAX_LATE_IDS:]

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
        self._handler_tasks.append(asyncio.create_task(self._handle(message)))

    def close(
        self,
        error: ProtocolError,
        linger: bool = False,
        quiet: bool = False,
        reason: str = CloseReason.REFUSED,
    ) -> None:
        """End the link; `run` then returns `error`. Only the first call counts. `quiet` leaves the log out.

        With `linger` the peer gets up to LINGER_MS to hang up first: a socket that is closed with unread
        bytes in it takes back what was sent last, which here says why.
        """
        if self.close_error is not None:
            return
        self.close_error = error
        self.close_reason = reason
        if not quiet:
            log(self.name, "closed: %s" % error)
        self._stop_timer()
        if linger:
            self._timer = call_later(LINGER_MS, self._ended.set)
        else:
            self._ended.set()
        if self._room is not None:
            self._room.set()
        pending = self._pending
        self._pending = {}
        for id in pending:
            on_reply, token = pending[id]
            on_reply(
                token, ProtocolError(ErrorCode.DISCONNECTED, "the link ended before the answer", id, True)
            )
        if self.on_close is not None:
            self.on_close(self, error)

    # --- reading

    async def _read(self) -> None:
        try:
            while True:
                piece = await receive(self._reader)
                if not piece:
                    break
                self.received_us = now_us()
                self._received_ms = now_ms()
                await self._take(piece)
            end = ProtocolError(ErrorCode.DISCONNECTED, "the peer closed the connection")
            self.close(self._last_word or end, reason=CloseReason.CLOSED)
        except ProtocolError as error:
            self.close(error)
        except OSError as error:
            self._lose(error)
        except Exception as error:
            self._fail(error)
        finally:
            self._ended.set()

    async def _take(self, piece: "bytes | memoryview") -> None:
        """Handle one piece that was read. Apart from `_read`, which would keep the last message while it
        waits for the next. The parser copies the piece before it gives the first message.
        """
        for count, item in enumerate(self._parser.read(piece), 1):
            if count % ITEMS_PER_TURN == 0:
                await sleep_ms(0)
            if self._room is not None:
                await self._room.wait()
            if self.close_error is not None:
                break
            if isinstance(item, ProtocolError):
                self._refuse(item)
            else:
                self._dispatch(item)

    def _dispatch(self, message: SocketMessage) -> None:
        message_type = message.type
        self._last_word = None
        id = message.id
        if id is not None and id in self._pending and self._may_be_reply(message):
            on_reply, token = self._pending.pop(id)
            on_reply(token, message)
        elif message_type == MessageType.ERROR:
            error = error_of(message)
            log(self.name, "the peer reports %s" % error)
            if message.id is None:
                self._last_word = error  # why it hangs up, if it does so now
        elif self._is_late(message):
            return
        elif not self.admitted and self.admit is not None:
            self.admit(self, message)
        elif message_type == MessageType.PING and message.target_id is None:
            self.send_nowait(message.reply(MessageType.PONG, "alive", self.health() if self.health else None))
            if self.on_health is not None:
                self.on_health(message)
        elif self.on_stream is not None and message_type in STREAM_TYPES:
            self.on_stream(message)
        elif self._handler_of(message) is None:
            error = ProtocolError(
                ErrorCode.UNKNOWN_TYPE, "nobody here answers `%s`" % message_type, message.id
            )
            self._refuse(error)
        elif len(self._handler_tasks) >= MAX_HANDLERS:
            self._refuse(ProtocolError(ErrorCode.BUSY, "too many requests under way", message.id))
        else:
            self.handle(message)

    def _may_be_reply(self, message: SocketMessage) -> bool:
        """Return whether a message with an id that is waited for is that reply: what this side serves is a
        request of a peer that uses the same id, and an item of a stream has its reply still to come.
        """
        return not (
            self._handler_of(message) or message.type in STREAM_TYPES or message.type == MessageType.PING
        )

    def _is_late(self, message: SocketMessage) -> bool:
        """Return whether `message` is a reply that nobody waits for any more: no request of an unknown
        type.
        """
        if message.type in (MessageType.REPLY, MessageType.PONG):
            return True
        if not self._late_ids or message.id not in self._late_ids or not self._may_be_reply(message):
            return False
        self._late_ids.remove(message.id)
        return True

    def _handler_of(self, message: SocketMessage) -> "Handler | None":
        return self.handlers.get(message.type) or (
            None if message.target_id is None else self.handlers.get(ANY_FOR_ANOTHER)
        )

    def _refuse(self, error: ProtocolError) -> None:
        self.send_nowait(error.to_message())
        if error.code == ErrorCode.LINE_TOO_LONG:
            self.close(error, linger=True)

    async def _handle(self, message: SocketMessage) -> None:
        try:
            try:
                handler = self._handler_of(message)
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
            self._handler_tasks.remove(asyncio.current_task())  # type: ignore[arg-type]

    async def _send_reply(self, message: SocketMessage, reply: SocketMessage) -> None:
        try:
            await self.send(reply)
        except ProtocolError as error:
            if error.code not in (ErrorCode.LINE_TOO_LONG, ErrorCode.BAD_MESSAGE):
                raise
            await self.send(error.to_message(message.id, message.target_id))

    # --- writing

    async def _drain(self, queue: "list[bytes]", room: asyncio.Event) -> None:
        try:
            await self._writer.drain()
            while queue:  # line by line: joined they would need one large piece of memory
                self._writer.write(queue.pop(0))
                await self._writer.drain()
            self._queue = self._room = self._drain_task = None
            room.set()
        except OSError as error:
            self._lose(error)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        log_exception(self.name, error)
        why = ProtocolError(ErrorCode.INTERNAL, "a defect, or no memory: %r" % error)
        self.close(why, reason=CloseReason.FAULT)

    def _lose(self, error: OSError) -> None:
        why = ProtocolError(ErrorCode.DISCONNECTED, "the connection broke: %r" % error)
        self.close(why, reason=CloseReason.BROKEN)

    # --- heartbeat

    def _look(self) -> None:
        """Do what is due, and set the timer for the next time."""
        self._timer = None
        # Time in which this process did not run (a flash write, a suspended laptop) is not the peer's.
        overslept_ms = now_ms() - self._look_ms
        if overslept_ms > self._heartbeat_ms:
            self._received_ms += overslept_ms
        try:
            wait_ms = self._beat()
            self._look_ms = now_ms() + wait_ms
            self._timer = call_later(wait_ms, self._look)
        except ProtocolError as error:
            silent = error.code == ErrorCode.TIMEOUT
            self.close(error, reason=CloseReason.SILENT if silent else CloseReason.REFUSED)
        except Exception as error:
            self._fail(error)

    def _beat(self) -> int:
        """Ping a silent peer, and return in how many ms to check again. Raises ProtocolError to give it
        up.
        """
        silence_ms = now_ms() - self._received_ms
        dead_after_ms = DEAD_AFTER_BEATS * self._heartbeat_ms
        if silence_ms >= dead_after_ms:
            raise ProtocolError(ErrorCode.TIMEOUT, "silent for %d ms" % silence_ms)
        if silence_ms < self._ping_after_ms:
            return min(self._ping_after_ms, dead_after_ms) - silence_ms
        if self._queue is None:
            id = self.new_id()
            self.start_request(id, SocketMessage(MessageType.PING, id).to_line(), self._on_pong, now_us())
        return min(self._heartbeat_ms, dead_after_ms - silence_ms)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_pong(self, sent_us: int, reply: object) -> None:
        if isinstance(reply, SocketMessage):
            self.round_trip_us = now_us() - sent_us
            if self.on_health is not None:
                self.on_health(reply)


def error_of(message: SocketMessage) -> ProtocolError:
    """Convert an `error` message to a ProtocolError."""
    data = message.data or {}
    return ProtocolError(
        str(data.get("code", ErrorCode.INTERNAL))[:MAX_WORD_CHARS],
        clip(str(data.get("message", ""))[:_MAX_REASON_BYTES], _MAX_REASON_BYTES),
        message.id,
        message.status == "unknown",
    )
