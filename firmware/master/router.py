"""Sends commands to the peers that they are for, and their answers back; counts what they report.

No command's name stands here: what a word means is known to the peer that serves it.
"""

import hashlib

from snyper.firmware.master.crosstalk import CROSSTALK_MS
from snyper.shared.clock import now_ms, now_us
from snyper.shared.link_core import error_of
from snyper.shared.runtime import Waiter, call_later
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
    from collections.abc import Sequence
    from typing import Any

    from snyper.firmware.master.cease_fire import CeaseFire
    from snyper.firmware.master.events import EventLog
    from snyper.firmware.master.registry import Peer, Registry
    from snyper.shared.link import Link
    from snyper.shared.runtime import Timer

MAX_REPORT_BYTES = 512  # a hit has some 100; a hub board keeps its last events
MAX_SENT = 16  # commands of a connection, as many as a target remembers
MAX_ITEMS = 8  # for each peer of a command, that wait until the one that asked takes them


def is_reading(word: str) -> bool:
    """Return whether a message of this type changes nothing, so that who may only read may send it: `ping`,
    `subscribe`, and what begins with `list_`, `get_` or `read_`.
    """
    return (
        word in (MessageType.PING, MessageType.SUBSCRIBE)
        or word.startswith("list_")
        or word.startswith("get_")
        or word.startswith("read_")
    )


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
    `item` messages too that may come before them.
    """

    _items: "list[SocketMessage] | None" = None  # that nobody has taken yet
    _waiter: "Waiter | None" = None  # of whoever waits for more
    asked = ""  # what it was sent on for: its type and whom it is for

    def __init__(
        self,
        message: SocketMessage,
        peers: "Sequence[Peer]",
        timeout_ms: int,
        router: "Router",
        refusal: "ProtocolError | None" = None,
    ) -> None:
        """Send `message` to `peers`; the answer of each is due within `timeout_ms`, for `router` to tell. For
        a `refusal` no target gets it.

        Raises ProtocolError: `bad_message` or `line_too_long` for what the wire does not take.
        """
        assert message.id is not None
        self._id = message.id
        self._results: "list[Result]" = []
        self._expected = len(peers)
        self._taken = 0
        self._wake_at = 1
        self._waiting: "dict[str, Peer]" = {}
        self._timeout_ms = timeout_ms
        self._router = router
        self._sent_us = now_us()
        self._send(message.to_line(), peers, refusal)
        if self._waiting:
            router.set_deadline(self, self._sent_us + timeout_ms * 1000)

    async def results(self) -> "list[Result]":
        """Return every result, once the last is in; at the latest after the command's timeout. May be
        cancelled.
        """
        self._wake_at = self._expected
        try:
            while len(self._results) < self._expected:
                self._waiter = Waiter()
                await self._waiter.wait()
        finally:
            if self._waiting:
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
            self._waiter = Waiter()
            await self._waiter.wait()

    def cancel(self) -> None:
        """Wait for no further answer. What was sent stays sent. For a caller that stops iterating early."""
        for peer in self._waiting.values():
            if peer.link is not None:
                peer.link.cancel_request(self._id)
        self._waiting = {}
        self._router.drop_deadline(self)

    def on_item(self, peer: "Peer", item: SocketMessage) -> None:
        """Keep one of many answers of a peer, up to MAX_ITEMS for each; more than that, and it has failed."""
        if self._waiting.get(peer.target_id) is not peer:  # a console may have the name of a target
            return
        if self._items is None:
            self._items = []
        if len(self._items) < MAX_ITEMS * self._expected:
            item.target_id = peer.target_id
            self._items.append(item)
            self._wake()
            return
        del self._waiting[peer.target_id]
        if peer.link is not None:
            peer.link.cancel_request(self._id)
        too_fast = ProtocolError(ErrorCode.BUSY, "its items come faster than they are read", None, True)
        self._fail(peer, too_fast)

    def _send(self, line: bytes, peers: "Sequence[Peer]", refusal: "ProtocolError | None") -> None:
        for peer in peers:
            if refusal is not None and peer.is_target:
                self._fail(peer, refusal)
                continue
            if peer.link is None:
                self._fail(peer, ProtocolError(ErrorCode.DISCONNECTED, "the %s is away" % peer.role))
                continue
            try:
                peer.link.start_request(self._id, line, self._on_reply, peer)
                self._waiting[peer.target_id] = peer
            except ProtocolError as error:
                self._fail(peer, error)

    def _on_reply(self, peer: "Peer", reply: "SocketMessage | ProtocolError") -> None:
        self._waiting.pop(peer.target_id, None)
        if isinstance(reply, ProtocolError):
            self._fail(peer, reply)
        elif reply.type == MessageType.ERROR:
            self._fail(peer, error_of(reply))
        else:
            self._add(Result(peer.target_id, reply, None, now_us() - self._sent_us))
            peer.on_answer(reply)

    def _fail(self, peer: "Peer", error: ProtocolError) -> None:
        self._add(Result(peer.target_id, None, error, now_us() - self._sent_us))

    def _add(self, result: Result) -> None:
        self._results.append(result)
        if len(self._results) >= self._wake_at:
            self._wake()
        if len(self._results) == self._expected:
            self._router.drop_deadline(self)

    def _wake(self) -> None:
        if self._waiter is not None:
            self._waiter.set(True)
            self._waiter = None

    def expire(self) -> None:
        """Fail at the peers that have not answered in time."""
        late = list(self._waiting.values())
        self.cancel()
        for peer in late:
            self._fail(
                peer,
                ProtocolError(
                    ErrorCode.TIMEOUT, "no answer within %d ms" % self._timeout_ms, unknown_fate=True
                ),
            )


class Router:
    """Commands to the hub's peers, and the record of what they report: who wants to hear of that listens to
    `events`. `boot_id` makes this hub's command ids its own: a target remembers the ids it has carried out.

    One timer serves the deadlines of all commands: nearly every one has its answers long before, and leaves
    the timer as it is.
    """

    cease_fire: "CeaseFire | None" = None  # while one holds: it says what no target is told
    _timer: "Timer | None" = None
    _timer_us = 0

    def __init__(
        self, registry: "Registry", events: "EventLog", boot_id: str, crosstalk_ms: int = CROSSTALK_MS
    ) -> None:
        self.registry = registry
        self.events = events
        self.crosstalk_us = crosstalk_ms * 1000
        self.hits: "list[Any]" = []  # the last ones, as crosstalk.py has them
        self._id_prefix = boot_id + "-"
        self._commands = 0
        self._due_us: "dict[Command, int]" = {}
        self.under_way: "dict[str | int, Command]" = {}  # what the router has sent on, by the id of it

    def on_item(self, peer: "Peer", message: SocketMessage) -> None:
        """Pass an `item` of a peer on to the command that it answers; others are dropped."""
        command = self.under_way.get(message.id)  # type: ignore[arg-type]
        if command is not None and message.type == MessageType.ITEM:
            command.on_item(peer, message)

    def start(
        self,
        message_type: str,
        target: str,
        data: "dict[str, Any] | None",
        timeout_ms: int,
        id: "str | None" = None,
        attachment: "bytes | bytearray | None" = None,
        sent_us: "int | None" = None,
    ) -> Command:
        """Send a command to `target` (a name, `group:NAME` or `all`) and return at once; it is the caller's
        to take the results or to cancel it. Raises ProtocolError `unknown_target`; whatever else goes wrong
        is in the results, one for each target.

        A target does not carry out an `id` twice; by default every command has one of its own. With `at_us`
        in `data` the time counts from that instant. `sent_us` is when it was first sent, if that is not now.
        """
        peers = self.registry.select(target)
        return self.send(message_type, peers, data, timeout_ms, id, attachment, sent_us)

    def send(
        self,
        message_type: str,
        peers: "Sequence[Peer]",
        data: "dict[str, Any] | None",
        timeout_ms: int,
        id: "str | None" = None,
        attachment: "bytes | bytearray | None" = None,
        sent_us: "int | None" = None,
    ) -> Command:
        """Send a command to these peers and return at once. Raises nothing: what goes wrong is in the
        results.

        A target does not carry out an `id` twice; by default every command has one of its own. With `at_us`
        in `data` the time counts from that instant. `sent_us` is when it was first sent, if that is not now.
        """
        now = now_us()
        if data is not None and "at_us" in data:
            timeout_ms += max(0, data["at_us"] - now) // 1000
        if peers and peers[0].is_target and not is_reading(message_type):
            data = dict(data or {})
            data["sent_us"] = now if sent_us is None else sent_us
            data["until_us"] = data["sent_us"] + timeout_ms * 1000
        if id is None:
            self._commands += 1
            id = self._id_prefix + str(self._commands)
        message = SocketMessage(message_type, id, None, None, data, attachment)
        refusal = None if self.cease_fire is None else self.cease_fire.refusal(message_type)
        return Command(message, peers, timeout_ms, self, refusal)

    def set_deadline(self, command: Command, due_us: int) -> None:
        """Have `command` expire at `due_us`."""
        self._due_us[command] = due_us
        if self._timer is None or due_us < self._timer_us:
            self._set_timer(due_us)

    def drop_deadline(self, command: Command) -> None:
        """Let `command` not expire. May be repeated."""
        self._due_us.pop(command, None)

    def _set_timer(self, due_us: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_us = due_us
        self._timer = call_later(max(0, (due_us - now_us() + 999) // 1000), self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = now_us()
        try:
            for command in [command for command in self._due_us if self._due_us[command] <= now]:
                command.expire()
        finally:  # where there was no memory for one, the others are due all the same
            if self._timer is None and self._due_us:
                self._set_timer(min(self._due_us.values()))

    def on_close(self, peer: "Peer", link: "Link", why: ProtocolError) -> None:
        """Take note that the link of a peer has ended, unless it has come back over another."""
        if self.registry.lose(peer, link, now_ms()):
            peer.on_lost(why, link.close_reason)

    async def record_report(self, peer: "Peer", report: SocketMessage) -> None:
        """Count a report of a peer, one of its role's words, unless it was before; then it may be
        acknowledged. May be cancelled: the peer sends it again.

        Raises ProtocolError: `bad_message` for one of more than MAX_REPORT_BYTES, `fault` while no disk takes
        it, though it may be counted.
        """
        assert report.id is not None
        if len(report.to_line()) > MAX_REPORT_BYTES:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "a report has at most %d bytes" % MAX_REPORT_BYTES)
        key = peer.report_key(report.id) if self.events.journal else ""
        if self.events.journal and await self.events.is_known(key):
            return
        if peer.is_new_report(report.id):
            # Not the message's own word, which would take memory for each event.
            word = peer.reports[peer.reports.index(report.type)]
            peer.record(word, report.data or {}, key)
        await self.events.flush()


async def forward(
    router: Router, id_prefix: str, sent: "list[Any]", link: "Link", message: SocketMessage
) -> "SocketMessage | None":
    """Send `message` on to whom its `target_id` means, and what they answer back over `link`; return what is
    still to be said after that. `id_prefix` makes the ids of this connection its own: a peer answers one that
    is repeated again, and does not take another connection's for it. `sent` has the ids of this connection's
    last commands, each with its instant, for the next call: one that is repeated is as old as the first time.

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
    asked = message.type + " " + selector
    earlier = router.under_way.get(id)
    if earlier is not None and earlier.asked == asked:
        return None  # repeated before it was answered: the one answer that comes is for both
    sent_us = _first_sent_us(sent, message.id)
    command = router.start(message.type, selector, data or None, timeout_ms, id, message.attachment, sent_us)
    command.asked = asked
    message.attachment = None  # whoever waits for the answer keeps no bytes
    router.under_way.setdefault(id, command)
    failed: "list[Result]" = []
    kind, ok = MessageType.ERROR, 0
    is_undone = True  # for certain, by all: then it may be tried again under its id
    try:
        while True:
            answer = await command.next_answer()
            if answer is None:
                break
            if isinstance(answer, SocketMessage):
                await _send_item(link, message, answer)
                continue
            reply = _own_answer(message, answer)
            if answer.error is None or answer.error.unknown_fate:
                is_undone = False
            if not is_for_many:
                await _send_answer(link, reply, answer)
                return None
            said = reply.status or reply.type
            result = SocketMessage(MessageType.RESULT, message.id, answer.target_id, said, reply.data)
            result.attachment = reply.attachment
            await _send_answer(link, result, answer)
            if answer.reply is None:
                failed.append(answer)
            else:
                kind = kind if ok else answer.reply.type
                ok += 1
    finally:
        command.cancel()
        if router.under_way.get(id) is command:
            del router.under_way[id]
        if is_undone:
            _forget_sent(sent, message.id)
    counts: "dict[str, object]" = {"ok": ok, "failed": len(failed)}
    if not ok:
        assert failed[0].error is not None
        counts["code"] = failed[0].error.code
        counts["message"] = "none of %d did it" % len(failed)
    return message.reply(kind, "failed" if not ok else "partial" if failed else "ok", counts)


def _first_sent_us(sent: "list[Any]", id: "str | int | None") -> int:
    """Return when a command was sent for the first time, and remember it."""
    if id in sent[::2]:
        first_us: int = sent[2 * sent[::2].index(id) + 1]
        return first_us
    if len(sent) >= 2 * MAX_SENT:
        sent.pop(0)
        sent.pop(0)
    sent_us = now_us()
    sent.append(id)
    sent.append(sent_us)
    return sent_us


def _forget_sent(sent: "list[Any]", id: "str | int | None") -> None:
    if id in sent[::2]:
        at = 2 * sent[::2].index(id)
        sent.pop(at)
        sent.pop(at)


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
        answer.attachment = result.reply.attachment
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
    """Send what a peer answers; without its data and bytes where they would be too long."""
    try:
        await link.send(answer)
    except ProtocolError as error:
        if error.code != ErrorCode.LINE_TOO_LONG:
            raise
        answer.attachment = None
        answer.data = _times(result)
        answer.data["left_out"] = True
        await link.send(answer)
