"""Sends commands to the peers that they are for, and their answers back; counts what they report.

No command's name stands here: what a word means is known to the peer that serves it.
"""

from snyper.firmware.master.crosstalk import CROSSTALK_MS
from snyper.shared.clock import now_ms, now_us
from snyper.shared.link_core import error_of
from snyper.shared.runtime import Waiter, call_later
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage

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

    def is_undone(self) -> bool:
        """Return whether all peers have answered, and none has done it, for certain."""
        undone = [one for one in self._results if one.error is not None and not one.error.unknown_fate]
        return len(undone) == self._expected

    def cancel(self, message: "SocketMessage | None" = None) -> None:
        """Wait for no further answer. What was sent stays sent. For a caller that stops iterating early. Who
        has it and is no target gets `message`, unless it reads too slowly.
        """
        for peer in self._waiting.values():
            if peer.link is not None:
                peer.link.cancel_request(self._id)
                if message is not None and not peer.is_target:
                    message.id = self._id
                    try:
                        peer.link.send_nowait(message)
                    except ProtocolError:
                        continue
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
        if peer.link is not None:
            peer.link.lines -= 1  # of which it is not the one that causes too many
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
        """Send a command to these peers and return at once; it is the caller's to take the results or to
        cancel it. What goes wrong with a peer is in its result.

        Raises ProtocolError: `bad_message` or `line_too_long` for what the wire does not take.

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
