"""Commands on their way to the peers that they are for, and the answers on their way back.

No command's name stands here: what a word means is known to the peer that serves it.
"""

import asyncio
import hashlib

from snyper.shared.clock import now_us
from snyper.shared.link import error_of
from snyper.shared.runtime import call_later
from snyper.shared.socket_protocol import (
    ALL_TARGETS,
    GROUP_PREFIX,
    MAX_AHEAD_MS,
    MAX_ID_CHARS,
    MAX_INTEGER,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    integer_field,
)
from snyper.shared.vocabulary import COMMAND_TIMEOUT_MS, MAX_TIMEOUT_MS, MIN_TIMEOUT_MS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from snyper.firmware.master.controller import HubController
    from snyper.firmware.master.registry import Entry
    from snyper.shared.link import Link
    from snyper.shared.runtime import Timer

MAX_ITEMS = 8  # of one command that wait until the peer that asked takes them


class Result:
    """The result of a command at one peer. `reply` is its own answer, or None where `error` says why not."""

    def __init__(
        self,
        target_id: str,
        reply: "SocketMessage | None",
        error: "ProtocolError | None",
        round_trip_us: int,
    ) -> None:
        self.target_id = target_id
        self.reply = reply
        self.error = error
        self.round_trip_us = round_trip_us

    @property
    def ok(self) -> bool:
        return self.error is None


class Command:
    """One command on its way to some peers. Iterate over it (`async for`) for the results in the order in
    which they come in, or `await command.results()` for all of them; `await command.next_answer()` gives the
    `item` messages too that may come before them. One timer serves all its deadlines.
    """

    _items: "list[SocketMessage] | None" = None  # that nobody has taken yet

    def __init__(
        self,
        message: SocketMessage,
        entries: "list[Entry]",
        timeout_ms: int,
        on_answer: "Callable[[Entry, SocketMessage], None]",
    ) -> None:
        """Send `message` to `entries`; the answer of each is due within `timeout_ms`. `on_answer` is called
        with what went well.

        Raises ProtocolError: `bad_message` or `line_too_long` for what the wire does not take.
        """
        assert message.id is not None
        self._id = message.id
        self._on_answer = on_answer
        self._results: "list[Result]" = []
        self._expected = len(entries)
        self._taken = 0
        self._wake_at = 1
        self._waiting: "dict[str, Entry]" = {}
        self._changed = asyncio.Event()
        self._timeout_ms = timeout_ms
        self._timer: "Timer | None" = None
        self._sent_us = now_us()
        self._send(message.to_line(), entries)
        if self._waiting:
            self._timer = call_later(timeout_ms, self._expire)

    async def results(self) -> "list[Result]":
        """Return every result, once the last is in; at the latest after the command's timeout. May be
        cancelled.
        """
        self._wake_at = self._expected
        try:
            while len(self._results) < self._expected:
                self._changed.clear()
                await self._changed.wait()
        finally:
            self.cancel()
        return self._results

    def __aiter__(self) -> "Command":
        return self

    async def __anext__(self) -> Result:
        while True:
            answer = await self.next_answer()
            if answer is None:
                raise StopAsyncIteration
            if isinstance(answer, Result):
                return answer

    async def next_answer(self) -> "Result | SocketMessage | None":
        """Wait for the next result, or `item` of a peer whose result comes later; None after the last. May be
        cancelled.
        """
        while True:
            if self._items:
                return self._items.pop(0)
            if self._taken < len(self._results):
                self._taken += 1
                return self._results[self._taken - 1]
            if self._taken == self._expected:
                return None
            self._changed.clear()
            await self._changed.wait()

    def cancel(self) -> None:
        """Wait for no further answer. What was sent stays sent. For a caller that stops iterating early."""
        for entry in self._waiting.values():
            if entry.link is not None:
                entry.link.cancel_request(self._id)
        self._waiting = {}
        self._stop_timer()

    def on_item(self, entry: "Entry", item: SocketMessage) -> None:
        """Keep one of many answers of a peer, up to MAX_ITEMS; more than that, and it has failed."""
        if entry.target_id not in self._waiting:
            return
        if self._items is None:
            self._items = []
        if len(self._items) < MAX_ITEMS:
            item.target_id = entry.target_id
            self._items.append(item)
            self._changed.set()
            return
        del self._waiting[entry.target_id]
        if entry.link is not None:
            entry.link.cancel_request(self._id)
        too_fast = ProtocolError(ErrorCode.BUSY, "its items come faster than they are read", None, True)
        self._fail(entry, too_fast)

    def _send(self, line: bytes, entries: "list[Entry]") -> None:
        for entry in entries:
            if entry.link is None:
                self._fail(entry, ProtocolError(ErrorCode.DISCONNECTED, "the target is away"))
                continue
            try:
                entry.link.start_request(self._id, line, self._on_reply, entry)
                self._waiting[entry.target_id] = entry
            except ProtocolError as error:
                self._fail(entry, error)

    def _on_reply(self, entry: "Entry", reply: "SocketMessage | ProtocolError") -> None:
        self._waiting.pop(entry.target_id, None)
        if isinstance(reply, ProtocolError):
            self._fail(entry, reply)
        elif reply.type == MessageType.ERROR:
            self._fail(entry, error_of(reply))
        else:
            self._add(Result(entry.target_id, reply, None, now_us() - self._sent_us))
            self._on_answer(entry, reply)

    def _fail(self, entry: "Entry", error: ProtocolError) -> None:
        self._add(Result(entry.target_id, None, error, now_us() - self._sent_us))

    def _add(self, result: Result) -> None:
        self._results.append(result)
        if len(self._results) >= self._wake_at:
            self._changed.set()
        if len(self._results) == self._expected:
            self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        late = list(self._waiting.values())
        self.cancel()
        for entry in late:
            self._fail(
                entry,
                ProtocolError(
                    ErrorCode.TIMEOUT, "no answer within %d ms" % self._timeout_ms, unknown_fate=True
                ),
            )


async def forward(
    controller: "HubController", id_prefix: str, link: "Link", message: SocketMessage
) -> "SocketMessage | None":
    """Send `message` on to whom its `target_id` means, and what they answer back over `link`; return what is
    still to be said after that. `id_prefix` makes the ids of this connection its own: a peer answers one that
    is repeated again, and does not take another connection's for it.

    Raises ProtocolError: `unknown_target`, `bad_message`, `line_too_long`, where nothing was sent. May be
    cancelled; what was sent stays sent.
    """
    selector = message.target_id
    assert selector is not None
    is_for_many = selector == ALL_TARGETS or selector.startswith(GROUP_PREFIX)
    data = dict(message.data or {})
    timeout_ms = integer_field(data, "timeout_ms", COMMAND_TIMEOUT_MS, MIN_TIMEOUT_MS, MAX_TIMEOUT_MS)
    data.pop("timeout_ms", None)  # which is for the hub
    _set_instant(data)
    id = _peer_side_id(id_prefix, message.id)
    command = controller.start(message.type, selector, data or None, timeout_ms, id)
    controller.under_way.setdefault(id, command)
    failed: "list[Result]" = []
    kind, ok = MessageType.ERROR, 0
    try:
        while True:
            answer = await command.next_answer()
            if answer is None:
                break
            if isinstance(answer, SocketMessage):
                await _send_item(link, message, answer)
                continue
            reply = _own_answer(message, answer)
            if not is_for_many:
                await _send_answer(link, reply, answer)
                return None
            said = reply.status or reply.type
            result = SocketMessage(MessageType.RESULT, message.id, answer.target_id, said, reply.data)
            await _send_answer(link, result, answer)
            if answer.reply is None:
                failed.append(answer)
            else:
                kind = kind if ok else answer.reply.type
                ok += 1
    finally:
        command.cancel()
        if controller.under_way.get(id) is command:
            del controller.under_way[id]
    counts: "dict[str, object]" = {"ok": ok, "failed": len(failed)}
    if not ok:
        assert failed[0].error is not None
        counts["code"] = failed[0].error.code
        counts["message"] = "none of %d did it" % len(failed)
    return message.reply(kind, "failed" if not ok else "partial" if failed else "ok", counts)


def _peer_side_id(prefix: str, id: "str | int | None") -> str:
    long_id = prefix + repr(id)
    if len(long_id) <= MAX_ID_CHARS:
        return long_id
    digest: str = hashlib.sha256(long_id.encode()).digest().hex()
    return digest[:32]


def _set_instant(data: "dict[str, object]") -> None:
    """Turn `in_ms`, which is for the hub, into one `at_us` for all. One that is over is for the peers to
    refuse: they may have carried out this very command.
    """
    if "in_ms" in data:
        if "at_us" in data:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "`at_us` or `in_ms`, not both")
        data["at_us"] = now_us() + integer_field(data, "in_ms", 0, 0, MAX_AHEAD_MS) * 1000
        del data["in_ms"]
    elif "at_us" in data:
        at_us = integer_field(data, "at_us", 0, 0, MAX_INTEGER)
        if at_us - now_us() > MAX_AHEAD_MS * 1000:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "`at_us` is at most %d ms ahead" % MAX_AHEAD_MS)


def _times(result: Result) -> "dict[str, object]":
    return {"round_trip_ms": (result.round_trip_us + 999) // 1000, "round_trip_us": result.round_trip_us}


def _own_answer(message: SocketMessage, result: Result) -> SocketMessage:
    """Return the answer of the one peer that was meant, with the id of the request."""
    if result.reply is None:
        assert result.error is not None
        answer = result.error.to_message(message.id, message.target_id)
    else:
        answer = message.reply(result.reply.type, result.reply.status, result.reply.data)
    answer.data = dict(answer.data or {})
    answer.data.update(_times(result))
    return answer


async def _send_item(link: "Link", message: SocketMessage, item: SocketMessage) -> None:
    item.id = message.id
    try:
        await link.send(item)
    except ProtocolError as error:
        error.unknown_fate = True  # of the command, which is under way
        raise


async def _send_answer(link: "Link", answer: SocketMessage, result: Result) -> None:
    """Send what a peer answers; without its `data` where that would make the line too long."""
    try:
        await link.send(answer)
    except ProtocolError as error:
        if error.code != ErrorCode.LINE_TOO_LONG:
            raise
        answer.data = _times(result)
        answer.data["left_out"] = True
        await link.send(answer)
